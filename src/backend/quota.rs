//! A cache of mailbox usage.
//!
//! A worker counts a mailbox that has a quota before the first delivery to it, and again when the count is old. In
//! between, each delivery and each COPY is added before it is made, so that no two of them use the same room. The next
//! count finds the changes by other programs.
//!
//! The rule: mail on its way keeps its room whatever happens to the count, and mail that lands while a worker counts is
//! in the count at least once.

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

#[derive(Debug, Default)]
struct CachedUsage {
    /// The last count with all that has landed since, and the time of the count.
    counted: Option<(Usage, Duration)>,
    /// Mail on its way, which no count has.
    in_flight: Usage,
    /// Mail that has landed while there was no valid count, and the last time of that.
    landed: (Usage, Duration),
}

/// The fate of mail that was on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Landed,
    Refused,
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

    /// The usage of the mailbox with all mail on its way, if the count is still valid.
    pub(super) fn usage(&self, mailbox: &Mailbox, now: Duration) -> Option<Usage> {
        let cached = self.entries.get(mailbox)?;
        self.counted(cached, now).map(|usage| usage.plus(cached.in_flight))
    }

    fn counted(&self, cached: &CachedUsage, now: Duration) -> Option<Usage> {
        let (usage, counted_at) = cached.counted?;
        (now < counted_at + self.max_age).then_some(usage)
    }

    /// Stores a count that began at `began` or later. An earlier valid count stays, because it already includes the mail
    /// since.
    pub(super) fn insert(&mut self, mailbox: Mailbox, usage: Usage, began: Duration, now: Duration) {
        if self.usage(&mailbox, now).is_some() {
            return;
        }
        if self.entries.len() >= self.capacity {
            self.entries.retain(|_, cached| cached.in_flight != Usage::default());
        }
        let cached = self.entries.entry(mailbox).or_default();
        let (landed, landed_at) = std::mem::take(&mut cached.landed);
        let missed = if began <= landed_at { landed } else { Usage::default() };
        cached.counted = Some((usage.plus(missed), now));
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.entries);
    }

    /// Forgets the count, because messages were removed from the mailbox.
    pub(super) fn invalidate(&mut self, mailbox: &Mailbox) {
        if let Some(cached) = self.entries.get_mut(mailbox) {
            cached.counted = None;
        }
    }

    /// Mail for which room was reserved has landed, or has not.
    pub(super) fn settle(&mut self, mailbox: &Mailbox, amount: Usage, fate: Fate, now: Duration) {
        let max_age = self.max_age;
        let Some(cached) = self.entries.get_mut(mailbox) else { return };
        cached.in_flight = cached.in_flight.minus(amount);
        match &mut cached.counted {
            _ if fate == Fate::Refused => {}
            Some((usage, counted_at)) if now < *counted_at + max_age => *usage = usage.plus(amount),
            _ => cached.landed = (cached.landed.0.plus(amount), now),
        }
    }

    /// Whether the mailbox has a quota and no valid count.
    pub(super) fn needs_recount(&self, mailbox: &Mailbox, accounts: &Accounts, now: Duration) -> bool {
        accounts.quota(mailbox) != Quota::default() && self.usage(mailbox, now).is_none()
    }

    /// Reserves room for mail in the mailbox, or returns `false` if there is none. A mailbox without a count is
    /// not regarded as full.
    pub(super) fn reserve(
        &mut self,
        mailbox: &Mailbox,
        amount: Usage,
        accounts: &Accounts,
        now: Duration,
    ) -> bool {
        let quota = accounts.quota(mailbox);
        if quota == Quota::default() {
            return true;
        }
        let cached = self.entries.get(mailbox);
        let counted = cached.and_then(|cached| self.counted(cached, now)).unwrap_or_default();
        let in_flight = cached.map(|cached| cached.in_flight).unwrap_or_default();
        let fits = !exceeds(counted.plus(in_flight).plus(amount), quota);
        if fits {
            let cached = self.entries.entry(mailbox.clone()).or_default();
            cached.in_flight = cached.in_flight.plus(amount);
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
    use crate::accounts::Sources;

    const MINUTE: Duration = Duration::from_secs(60);

    fn bob() -> Mailbox {
        Mailbox::named("bob@example.test").unwrap()
    }

    fn mail(bytes: u64) -> Usage {
        Usage { bytes, messages: 1 }
    }

    /// Accounts in which bob has room for 100 octets.
    fn accounts() -> (tempfile::TempDir, Accounts) {
        let home = tempfile::tempdir().unwrap();
        let users = home.path().join("users.json");
        let hash = r#""password_hash": "c8dae1c50e092f3d877192fc555b1dcf""#;
        std::fs::write(
            &users,
            format!(r#"{{"bob@example.test": {{{hash}, "quota": {{"bytes": "100 B"}}}}}}"#),
        )
        .unwrap();
        let sources = Sources { users, domains: vec!["example.test".into()], ..Sources::default() };
        (home, sources.load().unwrap())
    }

    #[test]
    fn a_count_is_believed_for_a_while_and_mail_is_added_to_it() {
        let (_home, accounts) = accounts();
        let mut cache = QuotaCache::new(10, MINUTE);
        cache.insert(bob(), Usage { bytes: 10, messages: 1 }, MINUTE, MINUTE);
        for (bytes, fate) in [(5, Fate::Landed), (7, Fate::Refused)] {
            assert!(cache.reserve(&bob(), mail(bytes), &accounts, MINUTE));
            cache.settle(&bob(), mail(bytes), fate, MINUTE);
        }
        let now = Some(Usage { bytes: 15, messages: 2 });
        assert_eq!(cache.usage(&bob(), MINUTE * 2 - Duration::from_nanos(1)), now);
        assert_eq!(cache.usage(&bob(), MINUTE * 2), None);
        cache.insert(bob(), Usage::default(), MINUTE, MINUTE);
        assert_eq!(cache.usage(&bob(), MINUTE), now, "a count that comes late undoes nothing");
        cache.invalidate(&bob());
        assert_eq!(cache.usage(&bob(), MINUTE), None);
    }

    #[test]
    fn y104_mail_on_its_way_keeps_its_room_whatever_becomes_of_the_count() {
        let (_home, accounts) = accounts();
        let mut cache = QuotaCache::new(10, MINUTE);
        cache.insert(bob(), mail(10), MINUTE, MINUTE);
        assert!(cache.reserve(&bob(), mail(60), &accounts, MINUTE));
        // A message is expunged, so a worker counts anew, and does not see the mail on its way.
        cache.invalidate(&bob());
        assert!(!cache.reserve(&bob(), mail(41), &accounts, MINUTE));
        cache.insert(bob(), mail(5), MINUTE, MINUTE);
        assert!(!cache.reserve(&bob(), mail(36), &accounts, MINUTE));
        assert!(cache.reserve(&bob(), mail(35), &accounts, MINUTE));
        // The same for mail that lands while a worker counts.
        cache.invalidate(&bob());
        cache.settle(&bob(), mail(60), Fate::Landed, MINUTE * 2);
        cache.insert(bob(), mail(5), MINUTE * 2, MINUTE * 2);
        assert_eq!(cache.usage(&bob(), MINUTE * 2).unwrap().bytes, 100);
        cache.invalidate(&bob());
        cache.insert(bob(), mail(65), MINUTE * 3, MINUTE * 3);
        assert_eq!(
            cache.usage(&bob(), MINUTE * 3).unwrap().bytes,
            100,
            "the mail that landed is counted once"
        );
    }

    #[test]
    fn the_memory_of_counts_is_bounded() {
        let mut cache = QuotaCache::new(2, MINUTE);
        for name in ["a", "b", "c"] {
            cache.insert(Mailbox::named(name).unwrap(), Usage::default(), MINUTE, MINUTE);
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
