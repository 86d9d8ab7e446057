//! The time of the last login to each mailbox, for the least time between two logins (RFC 2449 section 6.5).

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use crate::{capacity::Shrinker, proto::request::Mailbox};

/// The recent logins: at most one for each mailbox, and none older than the delay.
#[derive(Debug, Clone, Default)]
pub struct LoginDelay {
    delay: Duration,
    times: VecDeque<(Duration, Mailbox)>,
    recent: HashSet<Mailbox>,
}

impl LoginDelay {
    /// Requires that much time between two logins to one mailbox, or none if it is zero.
    pub fn new(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// Requires another delay from now on.
    pub fn reconfigure(&mut self, delay: Duration) {
        self.delay = delay;
    }

    /// Whether a mailbox may be opened at `now`, on the steady clock.
    pub fn is_allowed(&mut self, mailbox: &Mailbox, now: Duration) -> bool {
        while let Some((_, old)) = self.times.pop_front_if(|(time, _)| *time + self.delay <= now) {
            self.recent.remove(&old);
        }
        !self.recent.contains(mailbox)
    }

    /// Gives back room for expired logins.
    pub(crate) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.times).shrink(&mut self.recent);
    }

    /// Records that a mailbox was opened at `now`. A refused login, or one that found the mailbox locked, does not
    /// count.
    pub fn record(&mut self, mailbox: Mailbox, now: Duration) {
        if !self.delay.is_zero() && self.recent.insert(mailbox.clone()) {
            self.times.push_back((now, mailbox));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(name: &str) -> Mailbox {
        Mailbox::named(name).unwrap()
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_mailbox_is_open_again_when_its_delay_is_over() {
        let mut logins = LoginDelay::new(secs(60));
        let (alice, bob) = (mailbox("alice"), mailbox("bob"));
        assert!(logins.is_allowed(&bob, secs(100)));
        logins.record(bob.clone(), secs(100));
        assert!(!logins.is_allowed(&bob, secs(100)));
        assert!(!logins.is_allowed(&bob, secs(159)));
        assert!(logins.is_allowed(&alice, secs(159)));
        assert!(logins.is_allowed(&bob, secs(160)));
    }

    #[test]
    fn a_folder_has_a_delay_of_its_own() {
        let mut logins = LoginDelay::new(secs(60));
        logins.record(mailbox("bob"), secs(0));
        let sent = crate::proto::folder::Folder::from_name("Sent").unwrap();
        assert!(logins.is_allowed(&mailbox("bob").in_folder(sent), secs(1)));
    }

    #[test]
    fn without_a_delay_nothing_is_kept() {
        let mut logins = LoginDelay::new(Duration::ZERO);
        logins.record(mailbox("bob"), secs(1));
        assert!(logins.is_allowed(&mailbox("bob"), secs(1)));
        assert!(logins.times.is_empty() && logins.recent.is_empty());
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut logins = LoginDelay::new(secs(60));
        for n in 0..10_000 {
            let name = mailbox(&format!("u{n}"));
            assert!(logins.is_allowed(&name, secs(n)));
            logins.record(name, secs(n));
            assert_eq!(logins.times.len(), logins.recent.len());
            assert!(logins.times.len() <= 60);
        }
    }
}
