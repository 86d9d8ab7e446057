//! The failures of every address, network and user, in a bounded number of counts.
//!
//! The rule: one more attempt costs the same however many counts there are. Old ones, and where there is still no room
//! those that failed least, are forgotten some at a time.

use std::{collections::BTreeSet, hash::Hash, time::Duration};

use super::failures::Failures;
use crate::capacity::{GradualMap, Shrinker};

/// Failures by whose they are.
#[derive(Debug)]
pub(super) struct Counts<K> {
    of: GradualMap<K, Failures>,
    /// By how many failures there are and when the last one was: the first are forgotten first.
    by_weight: BTreeSet<(usize, Duration, K)>,
    by_age: BTreeSet<(Duration, K)>,
    /// Counts that are still to be forgotten for want of room.
    surplus: usize,
}

impl<K: Copy + Ord + Hash> Counts<K> {
    pub(super) fn new() -> Self {
        Self { of: GradualMap::default(), by_weight: BTreeSet::new(), by_age: BTreeSet::new(), surplus: 0 }
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.of);
    }

    pub(super) fn get(&self, key: &K) -> Option<&Failures> {
        self.of.get(key)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = &Failures> {
        self.of.values()
    }

    /// The failures of one, of which none is added or taken away.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut Failures> {
        self.of.get_mut(key)
    }

    /// Changes those of one, which has none before the first change, and is forgotten when there is none left.
    pub(super) fn change(&mut self, key: K, change: impl FnOnce(&mut Failures)) {
        let mut failures = self.take(&key).unwrap_or_default();
        change(&mut failures);
        if let Some(last) = failures.last() {
            self.by_weight.insert((failures.len(), last, key));
            self.by_age.insert((last, key));
            self.of.insert(key, failures);
        }
    }

    fn take(&mut self, key: &K) -> Option<Failures> {
        let failures = self.of.remove(key)?;
        if let Some(last) = failures.last() {
            self.by_weight.remove(&(failures.len(), last, *key));
            self.by_age.remove(&(last, *key));
        }
        Some(failures)
    }

    /// Sees that there are `most` at most with `more` new ones: forgets those without a failure since `over`, and then
    /// an eighth of all over the next attempts. Returns how many were forgotten now.
    pub(super) fn evict(&mut self, more: usize, most: usize, over: Option<Duration>) -> usize {
        let before = self.of.len();
        let at_a_time = MAX_EVICTED_AT_ONCE.max(more);
        let is_full = |counts: &Self| counts.of.len() + more > most;
        let forgets_more = |counts: &Self| before - counts.of.len() < at_a_time;
        if is_full(self) {
            while forgets_more(self)
                && let Some((last, key)) = self.by_age.first().copied()
                && over.is_some_and(|over| last <= over)
            {
                self.take(&key);
            }
        }
        if is_full(self) {
            self.surplus = self.surplus.max(self.of.len() / 8);
        }
        // If the bound has become smaller, there may be many more than it says.
        while (self.surplus > 0 || is_full(self)) && forgets_more(self) {
            self.surplus = self.surplus.saturating_sub(1);
            let Some((_, _, key)) = self.by_weight.first().copied() else { break };
            self.take(&key);
        }
        before - self.of.len()
    }
}

/// Counts that one attempt forgets at most.
const MAX_EVICTED_AT_ONCE: usize = 64;

#[cfg(test)]
mod tests {
    use super::{super::failures::RateLimit, *};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn fail(counts: &mut Counts<usize>, key: usize, password_key: u64, now: Duration) {
        let bounds = [RateLimit { window: DAY, max: 100 }];
        counts.change(key, |failures| failures.begin(1, password_key, &bounds, now));
    }

    /// Sorting all of them for an attempt, or looking through all for old ones, held the loop at 100,000.
    #[test]
    fn one_more_attempt_forgets_some_however_many_there_are() {
        for most in [1000, 10_000] {
            let (mut counts, mut worst, mut forgotten) = (Counts::new(), 0, 0);
            for n in 0..most * 3 {
                let now = Duration::from_secs(n as u64);
                let some = counts.evict(3, most, now.checked_sub(DAY));
                fail(&mut counts, n, 1, now);
                assert!(counts.len() <= most);
                assert_eq!(counts.by_weight.len(), counts.len());
                assert_eq!(counts.by_age.len(), counts.len());
                (worst, forgotten) = (worst.max(some), forgotten + some);
            }
            assert_eq!(worst, 64);
            assert!((most * 2..most * 2 + most / 4).contains(&forgotten), "{forgotten} of {most}");
        }
    }

    #[test]
    fn old_ones_go_first_and_then_those_that_failed_least() {
        let mut counts = Counts::new();
        (0..50).for_each(|password_key| fail(&mut counts, 0, password_key, DAY / 2));
        (1..100).for_each(|key| fail(&mut counts, key, 1, DAY + DAY / 4));
        fail(&mut counts, 100, 1, DAY / 2);
        fail(&mut counts, 100, 2, DAY / 2);
        assert_eq!(counts.evict(1, 101, Some(DAY / 2)), 2, "those of the first day");
        (0..50).for_each(|password_key| fail(&mut counts, 0, password_key, DAY + DAY / 2));
        assert_eq!(counts.evict(1, 100, Some(DAY / 2)), 12, "an eighth");
        assert!(counts.get(&0).is_some() && counts.get(&1).is_none() && counts.get(&13).is_some());
        counts.change(0, |failures| failures.remove_address_and_user(1));
        assert!(counts.get(&0).is_none(), "nothing is left of it");
    }

    #[test]
    fn a_smaller_bound_is_come_to_some_at_a_time() {
        let mut counts = Counts::new();
        (0..1000).for_each(|key| fail(&mut counts, key, 1, DAY));
        let steps = std::iter::from_fn(|| Some(counts.evict(3, 100, None)).filter(|some| *some > 0));
        assert!(steps.inspect(|some| assert!(*some <= 64)).count() >= 14);
        assert!(counts.len() <= 97);
    }
}
