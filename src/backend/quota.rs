//! A cache of mailbox usage.
//!
//! A worker counts a mailbox that has a quota before the first delivery to it, and again when the count is old. In
//! between, each delivery is added before it is made, so that two deliveries cannot use the same room. The next count
//! finds the changes by other programs.

use std::{collections::HashMap, time::Duration};

use crate::{
    accounts::Accounts,
    capacity::Shrinker,
    maildir::Usage,
    proto::request::{AccountDirectory, Mailbox, Quota},
};

/// The usage of recently counted mailboxes.
#[derive(Debug)]
pub(super) struct QuotaCache {
    entries: HashMap<Mailbox, CachedUsage>,
    capacity: usize,
    max_age: Duration,
}

#[derive(Debug)]
struct CachedUsage {
    usage: Usage,
    /// The time of the count.
    counted_at: Duration,
}

impl QuotaCache {
    /// A cache of at most `capacity` mailboxes, in which a count is valid for `max_age`.
    pub(super) fn new(capacity: usize, max_age: Duration) -> Self {
        Self { entries: HashMap::new(), capacity, max_age }
    }

    /// Applies reloaded bounds, from the next access on.
    pub(super) fn reconfigure(&mut self, capacity: usize, max_age: Duration) {
        (self.capacity, self.max_age) = (capacity, max_age);
    }

    /// The usage of the mailbox, if the count is still valid.
    pub(super) fn usage(&self, mailbox: &Mailbox, now: Duration) -> Option<Usage> {
        let cached = self.entries.get(mailbox)?;
        (now < cached.counted_at + self.max_age).then_some(cached.usage)
    }

    /// Stores a count. An earlier valid count stays, because it already includes the deliveries since.
    pub(super) fn insert(&mut self, mailbox: Mailbox, usage: Usage, now: Duration) {
        if self.usage(&mailbox, now).is_some() {
            return;
        }
        if self.entries.len() >= self.capacity {
            self.entries.clear();
        }
        self.entries.insert(mailbox, CachedUsage { usage, counted_at: now });
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.entries);
    }

    /// Forgets the count, because messages were removed from the mailbox.
    pub(super) fn invalidate(&mut self, mailbox: &Mailbox) {
        self.entries.remove(mailbox);
    }

    /// Adds a message of this many octets that is about to be delivered.
    pub(super) fn add(&mut self, mailbox: &Mailbox, bytes: u64) {
        if let Some(cached) = self.entries.get_mut(mailbox) {
            cached.usage = cached.usage.with(bytes);
        }
    }

    /// Undoes [`Self::add`] for a message that was not delivered.
    pub(super) fn unreserve(&mut self, mailbox: &Mailbox, bytes: u64) {
        if let Some(cached) = self.entries.get_mut(mailbox) {
            cached.usage = cached.usage.without(bytes);
        }
    }

    /// Whether the mailbox has a quota and no valid count.
    pub(super) fn needs_recount(&self, mailbox: &Mailbox, accounts: &Accounts, now: Duration) -> bool {
        accounts.quota(mailbox) != Quota::default() && self.usage(mailbox, now).is_none()
    }

    /// Reserves room for a message in the mailbox, or returns `false` if there is none. A mailbox without a count is
    /// not regarded as full.
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

    /// Whether the mailbox is known to be full.
    pub(super) fn is_full(&self, mailbox: &Mailbox, accounts: &Accounts, now: Duration) -> bool {
        let usage = self.usage(mailbox, now);
        usage.is_some_and(|usage| exceeds(usage.with(1), accounts.quota(mailbox)))
    }
}

/// Whether the usage is more than the quota allows.
fn exceeds(usage: Usage, quota: Quota) -> bool {
    let over = |used: u64, max: Option<u64>| max.is_some_and(|max| used > max);
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
