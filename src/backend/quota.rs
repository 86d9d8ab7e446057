//! What the desk knows of how full mailboxes are.
//!
//! A mailbox that has a quota is counted by a worker before the first delivery to it, and again when the count
//! is old. In between our own deliveries are added, before they are made, so that two at a time can't use the
//! same room; what others add or remove is seen by the next count.

use std::{collections::HashMap, time::Duration};

use crate::{
    accounts::Accounts,
    capacity::Shrinker,
    maildir::Usage,
    proto::request::{Directory, Mailbox, Quota},
};

/// How full some mailboxes are.
#[derive(Debug)]
pub(super) struct QuotaCache {
    entries: HashMap<Mailbox, CachedUsage>,
    most: usize,
    believed: Duration,
}

#[derive(Debug)]
struct CachedUsage {
    usage: Usage,
    /// When it was counted.
    since: Duration,
}

impl QuotaCache {
    /// Of at most so many mailboxes, each count to be believed for so long.
    pub(super) fn new(most: usize, believed: Duration) -> Self {
        Self { entries: HashMap::new(), most, believed }
    }

    /// Other bounds are in force from now on.
    pub(super) fn reconfigure(&mut self, most: usize, believed: Duration) {
        (self.most, self.believed) = (most, believed);
    }

    /// What the mailbox holds, if that was counted lately.
    pub(super) fn usage(&self, mailbox: &Mailbox, now: Duration) -> Option<Usage> {
        let known = self.entries.get(mailbox)?;
        (now < known.since + self.believed).then_some(known.usage)
    }

    /// A mailbox has been counted. Another count that came first is as good, and has been added to since.
    pub(super) fn insert(&mut self, mailbox: Mailbox, usage: Usage, now: Duration) {
        if self.usage(&mailbox, now).is_some() {
            return;
        }
        if self.entries.len() >= self.most {
            self.entries.clear();
        }
        self.entries.insert(mailbox, CachedUsage { usage, since: now });
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.entries);
    }

    /// Messages have been taken out of the mailbox.
    pub(super) fn invalidate(&mut self, mailbox: &Mailbox) {
        self.entries.remove(mailbox);
    }

    /// A message of so many octets is about to be put into the mailbox.
    pub(super) fn add(&mut self, mailbox: &Mailbox, bytes: u64) {
        if let Some(known) = self.entries.get_mut(mailbox) {
            known.usage = known.usage.with(bytes);
        }
    }

    /// It was not put there after all.
    pub(super) fn unreserve(&mut self, mailbox: &Mailbox, bytes: u64) {
        if let Some(known) = self.entries.get_mut(mailbox) {
            known.usage = known.usage.without(bytes);
        }
    }

    /// Whether a quota of that mailbox asks for a count.
    pub(super) fn is_to_be_counted(&self, mailbox: &Mailbox, accounts: &Accounts, now: Duration) -> bool {
        accounts.quota(mailbox) != Quota::default() && self.usage(mailbox, now).is_none()
    }

    /// Makes room for a message in the mailbox. `false`: there is none. A mailbox that could not be counted is not
    /// known to be full.
    pub(super) fn reserve(
        &mut self,
        mailbox: &Mailbox,
        bytes: u64,
        accounts: &Accounts,
        now: Duration,
    ) -> bool {
        let usage = self.usage(mailbox, now).unwrap_or_default();
        let fits = !exceeds(usage.with(bytes), accounts.quota(mailbox));
        if fits {
            self.add(mailbox, bytes);
        }
        fits
    }

    /// Whether the mailbox is known to be full by now.
    pub(super) fn is_full(&self, mailbox: &Mailbox, accounts: &Accounts, now: Duration) -> bool {
        let usage = self.usage(mailbox, now);
        usage.is_some_and(|usage| exceeds(usage.with(1), accounts.quota(mailbox)))
    }
}

/// Whether that much is more than the quota allows.
fn exceeds(usage: Usage, quota: Quota) -> bool {
    let over = |used: u64, most: Option<u64>| most.is_some_and(|most| used > most);
    over(usage.bytes, quota.octets) || over(usage.messages, quota.messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn bob() -> Mailbox {
        Mailbox::named("bob").unwrap()
    }

    #[test]
    fn a_count_is_believed_for_a_while_and_deliveries_are_added_to_it() {
        let mut cache = QuotaCache::new(10, MINUTE);
        cache.insert(bob(), Usage { bytes: 10, messages: 1 }, MINUTE);
        cache.add(&bob(), 5);
        cache.add(&bob(), 7);
        cache.unreserve(&bob(), 7);
        let now = Some(Usage { bytes: 15, messages: 2 });
        assert_eq!(cache.usage(&bob(), MINUTE * 2 - Duration::from_nanos(1)), now);
        assert_eq!(cache.usage(&bob(), MINUTE * 2), None);
        cache.insert(bob(), Usage::default(), MINUTE);
        assert_eq!(cache.usage(&bob(), MINUTE), now, "a count that comes late undoes nothing");
        cache.invalidate(&bob());
        assert_eq!(cache.usage(&bob(), MINUTE), None);
    }

    #[test]
    fn the_memory_of_counts_is_bounded() {
        let mut cache = QuotaCache::new(2, MINUTE);
        for name in ["a", "b", "c"] {
            cache.insert(Mailbox::named(name).unwrap(), Usage::default(), MINUTE);
            assert!(cache.entries.len() <= 2);
        }
        assert!(cache.usage(&Mailbox::named("c").unwrap(), MINUTE).is_some());
    }

    #[test]
    fn a_quota_is_full_when_one_more_is_too_much() {
        let usage = Usage { bytes: 100, messages: 3 };
        for (octets, messages, over) in [
            (None, None, false),
            (Some(100), None, false),
            (Some(99), None, true),
            (None, Some(3), false),
            (Some(1000), Some(2), true),
        ] {
            assert_eq!(exceeds(usage, Quota { octets, messages }), over, "{octets:?} {messages:?}");
        }
    }
}
