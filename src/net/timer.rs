//! Deadlines in order, one for each owner, so that an abandoned deadline wakes no owner. A deadline that
//! moves later may stay in the list: its owner compares the time when woken, and sets the next one.

use std::{collections::BTreeSet, hash::Hash, time::Duration};

use crate::capacity::{GradualMap, Shrinker};

/// Deadlines by time and by owner.
#[derive(Debug)]
pub struct Timers<T> {
    in_order: BTreeSet<(Duration, T)>,
    of: GradualMap<T, Duration>,
}

impl<T: Ord + Hash + Copy> Timers<T> {
    pub(crate) fn new() -> Self {
        Self { in_order: BTreeSet::new(), of: GradualMap::default() }
    }

    /// Sets the only deadline of `who`, on the steady clock.
    pub fn set(&mut self, when: Duration, who: T) {
        self.remove(who);
        self.of.insert(who, when);
        self.in_order.insert((when, who));
    }

    /// Sets a deadline for `who`, unless there is an earlier one.
    pub fn set_no_later(&mut self, when: Duration, who: T) {
        if self.of.get(&who).is_none_or(|earlier| when < *earlier) {
            self.set(when, who);
        }
    }

    /// Removes the deadline of `who`.
    pub fn remove(&mut self, who: T) {
        if let Some(when) = self.of.remove(&who) {
            self.in_order.remove(&(when, who));
        }
    }

    /// Gives back room for deadlines that are over.
    pub(crate) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.of);
    }

    /// Time until the next deadline, if there is one.
    pub fn next_in(&self, now: Duration) -> Option<Duration> {
        self.in_order.first().map(|(when, _)| when.saturating_sub(now))
    }

    /// Removes and returns an owner whose deadline has passed.
    pub fn pop_due(&mut self, now: Duration) -> Option<T> {
        let (when, who) = *self.in_order.first()?;
        if when > now {
            return None;
        }
        self.remove(who);
        Some(who)
    }
}

impl<T: Ord + Hash + Copy> Default for Timers<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn l12_entries_come_up_in_time_and_not_before() {
        let mut timers = Timers::new();
        timers.set(at(5), 'b');
        timers.set(at(3), 'a');
        assert_eq!(timers.next_in(at(1)), Some(at(2)));
        assert_eq!(timers.pop_due(at(2)), None);
        assert_eq!(timers.pop_due(at(5)), Some('a'));
        assert_eq!(timers.pop_due(at(5)), Some('b'));
        assert_eq!((timers.pop_due(at(9)), timers.next_in(at(9))), (None, None));
    }

    #[test]
    fn x10_who_is_gone_or_has_another_deadline_is_not_woken_by_the_old_one() {
        let mut timers = Timers::new();
        timers.set(at(3), 'a');
        timers.set(at(4), 'b');
        timers.set(at(7), 'b');
        timers.remove('a');
        assert_eq!((timers.pop_due(at(6)), timers.next_in(at(6))), (None, Some(at(1))));
        timers.set_no_later(at(9), 'b');
        assert_eq!(timers.next_in(at(6)), Some(at(1)));
        timers.set_no_later(at(5), 'b');
        assert_eq!((timers.pop_due(at(5)), timers.pop_due(at(99))), (Some('b'), None));
    }
}
