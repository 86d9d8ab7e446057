//! The keys of a configuration that a running server cannot change. It can change all others.

use super::{Config, ListenerConfig};
use crate::limits::Limits;

impl Config {
    /// The first key that differs from the `running` configuration and must not change while it runs.
    /// Otherwise mail would be filed where it is not looked for, or reach the wrong user.
    pub fn changed_fixed_key(&self, running: &Self) -> Option<&'static str> {
        [
            ("spool", self.spool != running.spool),
            ("shared_spool", self.shared_spool != running.shared_spool),
            ("unknown_recipients", self.unknown_recipients != running.unknown_recipients),
        ]
        .into_iter()
        .find_map(|(key, differs)| differs.then_some(key))
    }

    /// Keeps the `running` values of the keys that its threads and queues were created with, and returns the
    /// keys that differ. All other keys take effect without them.
    pub fn retain_restart_only(&mut self, running: &Self) -> Vec<&'static str> {
        let mut waiting = Vec::new();
        retain("watch", &mut self.watch, &running.watch, &mut waiting);
        retain("user", &mut self.user, &running.user, &mut waiting);
        retain("sandbox", &mut self.sandbox, &running.sandbox, &mut waiting);
        retain("metrics", &mut self.metrics, &running.metrics, &mut waiting);
        retain("transcripts", &mut self.transcripts, &running.transcripts, &mut waiting);
        retain("transcript_bodies", &mut self.transcript_bodies, &running.transcript_bodies, &mut waiting);
        let (new, old): (&mut Limits, &Limits) = (&mut self.limits, &running.limits);
        for (key, new, old) in [
            ("limits.disk.workers", &mut new.disk.workers, &old.disk.workers),
            ("limits.auth.workers", &mut new.auth.workers, &old.auth.workers),
            ("limits.index.scan_workers", &mut new.index.scan_workers, &old.index.scan_workers),
            ("limits.disk.queue_size", &mut new.disk.queue_size, &old.disk.queue_size),
            ("limits.auth.queue_size", &mut new.auth.queue_size, &old.auth.queue_size),
            ("limits.delivery.queue_size", &mut new.delivery.queue_size, &old.delivery.queue_size),
            ("limits.delivery.batch_size", &mut new.delivery.batch_size, &old.delivery.batch_size),
            (
                "limits.delivery.max_created_mailboxes",
                &mut new.delivery.max_created_mailboxes,
                &old.delivery.max_created_mailboxes,
            ),
            ("limits.transcripts.max_count", &mut new.transcripts.max_count, &old.transcripts.max_count),
        ] {
            retain(key, new, old, &mut waiting);
        }
        for (key, new, old) in [
            ("limits.disk.read_size", &mut new.disk.read_size, &old.disk.read_size),
            ("limits.transcripts.max_size", &mut new.transcripts.max_size, &old.transcripts.max_size),
            (
                "limits.transcripts.max_total_size",
                &mut new.transcripts.max_total_size,
                &old.transcripts.max_total_size,
            ),
            ("limits.transcripts.queue_size", &mut new.transcripts.queue_size, &old.transcripts.queue_size),
        ] {
            retain(key, new, old, &mut waiting);
        }
        // A listener at the same address keeps its socket, and this process may not be allowed to change its group.
        for listen in &mut self.listen {
            let same = |held: &&ListenerConfig| held.address == listen.address;
            if let Some(held) = running.listen.iter().find(same) {
                retain("listen.socket_group", &mut listen.socket_group, &held.socket_group, &mut waiting);
            }
        }
        waiting
    }
}

fn retain<T: PartialEq + Clone>(key: &'static str, new: &mut T, old: &T, waiting: &mut Vec<&'static str>) {
    if new != old {
        *new = old.clone();
        waiting.push(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        ChangeDetection, UnknownRecipients,
        tests::{GOOD, load},
    };

    #[test]
    fn what_cannot_change_is_named_and_what_waits_stays_as_it_was() {
        let running = load(GOOD).unwrap();
        assert_eq!(running.changed_fixed_key(&running), None);
        let change = |change: fn(&mut Config)| {
            let mut config = running.clone();
            change(&mut config);
            (config.changed_fixed_key(&running), config.retain_restart_only(&running), config == running)
        };
        assert_eq!(change(|config| config.spool = "/elsewhere".into()).0, Some("spool"));
        assert_eq!(change(|config| config.shared_spool = true).0, Some("shared_spool"));
        assert_eq!(
            change(|config| config.unknown_recipients = UnknownRecipients::Create).0,
            Some("unknown_recipients")
        );
        assert_eq!(change(|config| config.watch = ChangeDetection::Poll), (None, vec!["watch"], true));
        let threads = change(|config| config.limits.disk.workers += 1);
        assert_eq!(threads, (None, vec!["limits.disk.workers"], true));
        assert_eq!(change(|config| config.limits.smtp.hard_error_limit += 1), (None, vec![], false));
    }
}
