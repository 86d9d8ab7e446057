//! The keys of a configuration that a running server cannot change. It can change all others.

use super::Config;
use crate::limits::Limits;

impl Config {
    /// The first key that differs from the `running` configuration and must not change while it runs.
    /// Otherwise mail would be filed where it is not looked for, or reach the wrong user.
    pub fn changed_fixed_key(&self, running: &Self) -> Option<&'static str> {
        [
            ("spool", self.spool != running.spool),
            ("shared_spool", self.shared_spool != running.shared_spool),
            ("unknown", self.unknown != running.unknown),
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
            ("limits.disk_workers", &mut new.disk_workers, &old.disk_workers),
            ("limits.password_workers", &mut new.password_workers, &old.password_workers),
            ("limits.scan_workers", &mut new.scan_workers, &old.scan_workers),
            ("limits.work_queue", &mut new.work_queue, &old.work_queue),
            ("limits.password_queue", &mut new.password_queue, &old.password_queue),
            ("limits.delivery_queue", &mut new.delivery_queue, &old.delivery_queue),
            ("limits.delivery_batch", &mut new.delivery_batch, &old.delivery_batch),
            ("limits.watch_queue", &mut new.watch_queue, &old.watch_queue),
            ("limits.created_mailboxes", &mut new.created_mailboxes, &old.created_mailboxes),
            ("limits.transcripts", &mut new.transcripts, &old.transcripts),
        ] {
            retain(key, new, old, &mut waiting);
        }
        for (key, new, old) in [
            ("limits.read_chunk", &mut new.read_chunk, &old.read_chunk),
            ("limits.transcript", &mut new.transcript, &old.transcript),
            ("limits.transcripts_size", &mut new.transcripts_size, &old.transcripts_size),
            ("limits.transcript_queue", &mut new.transcript_queue, &old.transcript_queue),
        ] {
            retain(key, new, old, &mut waiting);
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
        assert_eq!(change(|config| config.unknown = UnknownRecipients::Create).0, Some("unknown"));
        assert_eq!(change(|config| config.watch = ChangeDetection::Poll), (None, vec!["watch"], true));
        let threads = change(|config| config.limits.disk_workers += 1);
        assert_eq!(threads, (None, vec!["limits.disk_workers"], true));
        assert_eq!(change(|config| config.limits.errors += 1), (None, vec![], false));
    }
}
