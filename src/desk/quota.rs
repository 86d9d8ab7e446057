//! What the desk knows of how full mailboxes are.
//!
//! A mailbox that has a quota is counted by a worker before the first delivery to it, and again when the count
//! is old. In between our own deliveries are added, before they are made, so that two at a time can't use the
//! same room; what others add or remove is seen by the next count.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use super::Desk;
use crate::{
    capacity::Shrinker,
    clock::Now,
    maildir::Usage,
    proto::{
        ask::{Directory, Lookup, Mailbox, Quota},
        smtp::address::Address,
    },
};

/// How full some mailboxes are.
#[derive(Debug)]
pub(super) struct Tally {
    known: HashMap<Mailbox, Known>,
    most: usize,
    believed: Duration,
}

#[derive(Debug)]
struct Known {
    usage: Usage,
    /// When it was counted.
    since: Duration,
}

impl Tally {
    /// Of at most so many mailboxes, each count to be believed for so long.
    pub(super) fn new(most: usize, believed: Duration) -> Self {
        Self { known: HashMap::new(), most, believed }
    }

    /// Other bounds are in force from now on.
    pub(super) fn follow(&mut self, most: usize, believed: Duration) {
        (self.most, self.believed) = (most, believed);
    }

    /// What the mailbox holds, if that was counted lately.
    pub(super) fn usage(&self, mailbox: &Mailbox, now: Duration) -> Option<Usage> {
        let known = self.known.get(mailbox)?;
        (now < known.since + self.believed).then_some(known.usage)
    }

    /// A mailbox has been counted. Another count that came first is as good, and has been added to since.
    pub(super) fn learn(&mut self, mailbox: Mailbox, usage: Usage, now: Duration) {
        if self.usage(&mailbox, now).is_some() {
            return;
        }
        if self.known.len() >= self.most {
            self.known.clear();
        }
        self.known.insert(mailbox, Known { usage, since: now });
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.known);
    }

    /// Messages have been taken out of the mailbox.
    pub(super) fn forget(&mut self, mailbox: &Mailbox) {
        self.known.remove(mailbox);
    }

    /// A message of so many octets is about to be put into the mailbox.
    pub(super) fn add(&mut self, mailbox: &Mailbox, bytes: u64) {
        if let Some(known) = self.known.get_mut(mailbox) {
            known.usage = known.usage.with(bytes);
        }
    }

    /// It was not put there after all.
    pub(super) fn take_back(&mut self, mailbox: &Mailbox, bytes: u64) {
        if let Some(known) = self.known.get_mut(mailbox) {
            known.usage = known.usage.without(bytes);
        }
    }
}

/// Whether that much is more than the quota allows.
fn exceeds(usage: Usage, quota: Quota) -> bool {
    let over = |used: u64, most: Option<u64>| most.is_some_and(|most| used > most);
    over(usage.bytes, quota.octets) || over(usage.messages, quota.messages)
}

impl Desk {
    /// Whether a quota of that mailbox asks for a count.
    pub(super) fn is_to_be_counted(&self, mailbox: &Mailbox) -> bool {
        self.accounts.quota(mailbox) != Quota::default() && self.tally.usage(mailbox, self.now).is_none()
    }

    /// Makes room for a message in the mailbox. `false`: there is none. One that could not be counted is not
    /// known to be full.
    pub(super) fn reserve(&mut self, mailbox: &Mailbox, bytes: u64) -> bool {
        let quota = self.accounts.quota(mailbox);
        let usage = self.tally.usage(mailbox, self.now).unwrap_or_default();
        let fits = !exceeds(usage.with(bytes), quota);
        if fits {
            self.tally.add(mailbox, bytes);
        }
        fits
    }
}

/// The accounts, and what the desk knows of their mailboxes.
impl Directory for Desk {
    fn lookup(&self, address: &Address) -> Lookup {
        self.accounts.lookup(address)
    }

    fn may_send_as(&self, user: &Mailbox, from: &Address) -> bool {
        self.accounts.may_send_as(user, from)
    }

    fn expiry_date(&self, date: SystemTime) -> SystemTime {
        self.guard.date(Now { steady: self.now, date })
    }

    fn quota(&self, mailbox: &Mailbox) -> Quota {
        self.accounts.quota(mailbox)
    }

    fn sent_copy(&self, user: &Mailbox) -> bool {
        self.accounts.sent_copy(user)
    }

    fn is_full(&self, mailbox: &Mailbox) -> bool {
        let usage = self.tally.usage(mailbox, self.now);
        usage.is_some_and(|usage| exceeds(usage.with(1), self.quota(mailbox)))
    }
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
        let mut tally = Tally::new(10, MINUTE);
        tally.learn(bob(), Usage { bytes: 10, messages: 1 }, MINUTE);
        tally.add(&bob(), 5);
        tally.add(&bob(), 7);
        tally.take_back(&bob(), 7);
        let now = Some(Usage { bytes: 15, messages: 2 });
        assert_eq!(tally.usage(&bob(), MINUTE * 2 - Duration::from_nanos(1)), now);
        assert_eq!(tally.usage(&bob(), MINUTE * 2), None);
        tally.learn(bob(), Usage::default(), MINUTE);
        assert_eq!(tally.usage(&bob(), MINUTE), now, "a count that comes late undoes nothing");
        tally.forget(&bob());
        assert_eq!(tally.usage(&bob(), MINUTE), None);
    }

    #[test]
    fn the_memory_of_counts_is_bounded() {
        let mut tally = Tally::new(2, MINUTE);
        for name in ["a", "b", "c"] {
            tally.learn(Mailbox::named(name).unwrap(), Usage::default(), MINUTE);
            assert!(tally.known.len() <= 2);
        }
        assert!(tally.usage(&Mailbox::named("c").unwrap(), MINUTE).is_some());
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
