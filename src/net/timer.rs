//! Deadlines, in a heap. A deadline that moves is not searched for: its old entry comes up, is compared with
//! the deadline that the owner has now, and is put back if it was early.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

/// Who is to be woken at which time.
#[derive(Debug)]
pub struct Timers<T> {
    heap: BinaryHeap<Reverse<(Duration, T)>>,
}

impl<T: Ord + Copy> Timers<T> {
    /// No deadlines.
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    /// Wakes `who` at `when`, on the steady clock.
    pub fn set(&mut self, when: Duration, who: T) {
        self.heap.push(Reverse((when, who)));
    }

    /// How long until the next entry, if there is one.
    pub fn next_in(&self, now: Duration) -> Option<Duration> {
        self.heap.peek().map(|Reverse((when, _))| when.saturating_sub(now))
    }

    /// Takes an entry whose time has come.
    pub fn due(&mut self, now: Duration) -> Option<T> {
        let Reverse((when, _)) = self.heap.peek()?;
        if *when > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, who))| who)
    }
}

impl<T: Ord + Copy> Default for Timers<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l12_entries_come_up_in_time_and_not_before() {
        let at = Duration::from_secs;
        let mut timers = Timers::new();
        timers.set(at(5), 'b');
        timers.set(at(3), 'a');
        assert_eq!(timers.next_in(at(1)), Some(at(2)));
        assert_eq!(timers.due(at(2)), None);
        assert_eq!(timers.due(at(5)), Some('a'));
        assert_eq!(timers.due(at(5)), Some('b'));
        assert_eq!((timers.due(at(9)), timers.next_in(at(9))), (None, None));
    }
}
