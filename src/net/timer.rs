//! Deadlines in time and in order: those of a few owners, and those of thousands.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The deadlines of a few owners, one for each.
#[derive(Debug)]
pub struct Timers<T>(BTreeMap<T, Duration>);

impl<T: Ord + Copy> Timers<T> {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Sets the only deadline of `who`, on the steady clock.
    pub fn set(&mut self, when: Duration, who: T) {
        self.0.insert(who, when);
    }

    /// Sets a deadline for `who`, unless there is an earlier one.
    pub fn set_no_later(&mut self, when: Duration, who: T) {
        let deadline = self.0.entry(who).or_insert(when);
        *deadline = when.min(*deadline);
    }

    /// The next deadline, if there is one.
    pub fn next(&self) -> Option<Duration> {
        self.0.values().min().copied()
    }

    /// Removes and returns an owner whose deadline has passed.
    pub fn pop_due(&mut self, now: Duration) -> Option<T> {
        let (who, when) = self.0.iter().min_by_key(|(_, when)| **when)?;
        let due = (*when <= now).then_some(*who)?;
        self.0.remove(&due);
        Some(due)
    }
}

/// The deadlines of thousands of owners. Each owner keeps its own [`Deadline`], by which it is found here, so that an
/// abandoned deadline wakes no owner and no second table is needed.
#[derive(Debug)]
pub struct Deadlines<T>(BTreeSet<(Duration, T)>);

/// The deadline of one owner, if it has one.
#[derive(Debug, Default)]
pub struct Deadline(Option<Duration>);

impl<T: Ord + Copy> Deadlines<T> {
    pub(crate) fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// Sets a deadline for `who`, on the steady clock, unless there is an earlier one: its owner compares the time when
    /// woken, and sets the next one.
    pub fn set_no_later(&mut self, own: &mut Deadline, when: Duration, who: T) {
        if own.0.is_none_or(|earlier| when < earlier) {
            self.remove(own, who);
            own.0 = Some(when);
            self.0.insert((when, who));
        }
    }

    /// Removes the deadline of `who`.
    pub fn remove(&mut self, own: &mut Deadline, who: T) {
        if let Some(when) = own.0.take() {
            self.0.remove(&(when, who));
        }
    }

    /// The next deadline, if there is one.
    pub fn next(&self) -> Option<Duration> {
        self.0.first().map(|(when, _)| *when)
    }

    /// Removes and returns an owner whose deadline has passed. Its own [`Deadline`] is to be set to the default.
    pub fn pop_due(&mut self, now: Duration) -> Option<T> {
        self.0.first().filter(|(when, _)| *when <= now)?;
        self.0.pop_first().map(|(_, who)| who)
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
        assert_eq!(timers.next(), Some(at(3)));
        assert_eq!(timers.pop_due(at(2)), None);
        assert_eq!(timers.pop_due(at(5)), Some('a'));
        assert_eq!(timers.pop_due(at(5)), Some('b'));
        assert_eq!((timers.pop_due(at(9)), timers.next()), (None, None));
        timers.set(at(4), 'b');
        timers.set(at(7), 'b');
        timers.set_no_later(at(9), 'b');
        assert_eq!(timers.next(), Some(at(7)));
        timers.set_no_later(at(5), 'b');
        assert_eq!((timers.pop_due(at(5)), timers.pop_due(at(99))), (Some('b'), None));
    }

    #[test]
    fn x10_who_is_gone_or_has_another_deadline_is_not_woken_by_the_old_one() {
        let mut deadlines = Deadlines::new();
        let (mut a, mut b) = (Deadline::default(), Deadline::default());
        deadlines.set_no_later(&mut a, at(3), 'a');
        deadlines.set_no_later(&mut b, at(7), 'b');
        deadlines.set_no_later(&mut b, at(9), 'b');
        deadlines.remove(&mut a, 'a');
        assert_eq!((deadlines.pop_due(at(6)), deadlines.next()), (None, Some(at(7))));
        deadlines.set_no_later(&mut b, at(5), 'b');
        assert_eq!((deadlines.pop_due(at(4)), deadlines.pop_due(at(5))), (None, Some('b')));
        assert_eq!((deadlines.pop_due(at(99)), deadlines.next()), (None, None));
    }
}
