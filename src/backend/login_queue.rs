//! Password checks that wait for a worker, fair by address. Plain data.
//!
//! The rules: addresses take turns, whatever each has waiting. Those that a user has logged in from before come first,
//! then those without a failure, but not every time, so that nobody waits for ever. When the queue is full, the address
//! with the most waiting loses its newest, among those of the worst standing.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use crate::{accounts::Standing, proto::ask::ConnId};

/// Password checks that wait for a worker.
#[derive(Debug)]
pub(super) struct LoginQueue<T> {
    /// By standing, the best first.
    lanes: [Lane<T>; 3],
    most: usize,
    len: usize,
    taken: usize,
}

/// Those of one standing.
#[derive(Debug)]
struct Lane<T> {
    /// The addresses that have something here, the next one first.
    turns: VecDeque<IpAddr>,
    waiting: HashMap<IpAddr, VecDeque<(ConnId, T)>>,
}

impl<T> LoginQueue<T> {
    /// An empty queue with room for `most`.
    pub(super) fn new(most: usize) -> Self {
        let lane = || Lane { turns: VecDeque::new(), waiting: HashMap::new() };
        Self { lanes: [lane(), lane(), lane()], most, len: 0, taken: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Queues a check, and returns the one that loses its place to it: perhaps itself.
    pub(super) fn push(
        &mut self,
        standing: Standing,
        from: IpAddr,
        id: ConnId,
        check: T,
    ) -> Option<(ConnId, T)> {
        self.lanes[standing as usize].push(from, id, check);
        self.len += 1;
        if self.len <= self.most {
            return None;
        }
        let lane = self.lanes.iter_mut().rev().find(|lane| !lane.turns.is_empty())?;
        let loser = lane.longest(from)?;
        self.len -= 1;
        lane.take(loser, |waiting| waiting.len().checked_sub(1))
    }

    /// Takes the next check that may begin.
    pub(super) fn next(&mut self, mut may_begin: impl FnMut(&mut T) -> bool) -> Option<(ConnId, T)> {
        let mut order = [0, 1, 2];
        if self.taken % WORST_FIRST == WORST_FIRST - 1 {
            order.reverse();
        }
        let found = order.into_iter().find_map(|lane| self.lanes[lane].next(&mut may_begin));
        if found.is_some() {
            self.taken = self.taken.wrapping_add(1);
            self.len -= 1;
        }
        found
    }

    /// Takes out the check of a connection that has gone.
    pub(super) fn remove(&mut self, id: ConnId) -> Option<T> {
        let found = self.lanes.iter_mut().find_map(|lane| lane.remove(id))?;
        self.len -= 1;
        Some(found)
    }
}

impl<T> Lane<T> {
    fn push(&mut self, from: IpAddr, id: ConnId, check: T) {
        let waiting = self.waiting.entry(from).or_default();
        if waiting.is_empty() {
            self.turns.push_back(from);
        }
        waiting.push_back((id, check));
    }

    /// The address with the most waiting: `newcomer` among equals.
    fn longest(&self, newcomer: IpAddr) -> Option<IpAddr> {
        let longest = self.waiting.iter().max_by_key(|(from, waiting)| (waiting.len(), **from == newcomer));
        longest.map(|(from, _)| *from)
    }

    fn next(&mut self, may_begin: &mut impl FnMut(&mut T) -> bool) -> Option<(ConnId, T)> {
        for turn in 0..self.turns.len() {
            let from = self.turns[turn];
            let waiting = self.waiting.get_mut(&from)?; // invariant: each with a turn has something
            if let Some(at) = waiting.iter_mut().position(|(_, check)| may_begin(check)) {
                let found = self.take(from, |_| Some(at));
                if self.waiting.contains_key(&from) {
                    self.turns.retain(|other| *other != from);
                    self.turns.push_back(from);
                }
                return found;
            }
        }
        None
    }

    fn remove(&mut self, id: ConnId) -> Option<T> {
        let has = |waiting: &VecDeque<(ConnId, T)>| waiting.iter().position(|(other, _)| *other == id);
        let (from, at) = self.waiting.iter().find_map(|(from, waiting)| Some((*from, has(waiting)?)))?;
        self.take(from, |_| Some(at)).map(|(_, check)| check)
    }

    fn take(
        &mut self,
        from: IpAddr,
        at: impl FnOnce(&VecDeque<(ConnId, T)>) -> Option<usize>,
    ) -> Option<(ConnId, T)> {
        let waiting = self.waiting.get_mut(&from)?;
        let found = waiting.remove(at(waiting)?);
        if waiting.is_empty() {
            self.waiting.remove(&from);
            self.turns.retain(|other| *other != from);
        }
        found
    }
}

/// Every so many times the worst standing comes first.
const WORST_FIRST: usize = 4;

#[cfg(test)]
mod tests {
    use super::{
        Standing::{Clean, Known, Suspect},
        *,
    };

    fn ip(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    /// Pushes checks that are told apart by number.
    fn push(queue: &mut LoginQueue<u64>, standing: Standing, from: u8, n: u64) -> Option<u64> {
        queue.push(standing, ip(from), ConnId(n), n).map(|(_, n)| n)
    }

    fn drain(queue: &mut LoginQueue<u64>) -> Vec<u64> {
        std::iter::from_fn(|| queue.next(|_| true)).map(|(_, n)| n).collect()
    }

    #[test]
    fn addresses_take_turns_however_much_each_has_waiting() {
        let mut queue = LoginQueue::new(100);
        for (from, n) in [(1, 10), (1, 11), (1, 12), (2, 20), (3, 30), (2, 21)] {
            assert_eq!(push(&mut queue, Clean, from, n), None);
        }
        assert_eq!(queue.len(), 6);
        assert_eq!(drain(&mut queue), [10, 20, 30, 11, 21, 12]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn the_known_come_first_and_the_suspect_are_not_forgotten() {
        let mut queue = LoginQueue::new(100);
        for n in 0..4 {
            push(&mut queue, Suspect, 1, 10 + n);
            push(&mut queue, Clean, 2, 20 + n);
            push(&mut queue, Known, 3, 30 + n);
        }
        assert_eq!(drain(&mut queue), [30, 31, 32, 10, 33, 20, 21, 11, 22, 23, 12, 13]);
    }

    #[test]
    fn a_full_queue_takes_from_who_has_most_and_stands_worst() {
        let mut queue = LoginQueue::new(4);
        for n in 10..13 {
            assert_eq!(push(&mut queue, Clean, 1, n), None);
        }
        assert_eq!(push(&mut queue, Clean, 2, 20), None);
        assert_eq!(push(&mut queue, Clean, 3, 30), Some(12), "the longest loses its newest");
        assert_eq!(push(&mut queue, Clean, 1, 13), Some(13), "and nothing to itself");
        assert_eq!(push(&mut queue, Suspect, 4, 40), Some(40), "nor to a worse one");
        assert_eq!(push(&mut queue, Known, 5, 50), Some(11));
        assert_eq!(queue.len(), 4);
        assert_eq!(drain(&mut queue), [50, 10, 20, 30]);
    }

    /// X8: 200 polite guessers had the whole queue of 64, and a first-time user was told to try later.
    #[test]
    fn two_hundred_guessers_leave_room_for_the_first_login_of_a_user() {
        for addresses in [1, 5, 200] {
            let mut queue = LoginQueue::new(64);
            let mut refused = 0;
            for n in 0..200_u64 {
                refused += usize::from(push(&mut queue, Suspect, (n % addresses) as u8, n).is_some());
            }
            assert_eq!((queue.len(), refused), (64, 136));
            assert_ne!(push(&mut queue, Clean, 250, 1000), Some(1000), "of {addresses} addresses");
            assert_ne!(push(&mut queue, Known, 251, 1001), Some(1001));
            let first: Vec<u64> = drain(&mut queue).into_iter().take(2).collect();
            assert_eq!(first, [1001, 1000]);
        }
    }

    #[test]
    fn a_check_that_has_to_wait_holds_up_no_other() {
        let mut queue = LoginQueue::new(10);
        for (from, n) in [(1, 10), (1, 11), (2, 20)] {
            push(&mut queue, Clean, from, n);
        }
        assert_eq!(queue.next(|n| *n != 10).map(|(_, n)| n), Some(11));
        assert_eq!(queue.next(|n| *n == 20).map(|(_, n)| n), Some(20));
        assert_eq!(queue.next(|_| false), None);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_connection_that_goes_takes_its_check_along() {
        let mut queue = LoginQueue::new(10);
        for (from, n) in [(1, 10), (1, 11), (2, 20)] {
            push(&mut queue, Clean, from, n);
        }
        assert_eq!(
            (queue.remove(ConnId(10)), queue.remove(ConnId(20)), queue.remove(ConnId(99))),
            (Some(10), Some(20), None)
        );
        assert_eq!(drain(&mut queue), [11]);
        assert!(queue.lanes.iter().all(|lane| lane.turns.is_empty() && lane.waiting.is_empty()));
    }
}
