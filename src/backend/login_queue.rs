//! Password checks that wait for a worker, fair to each address and to each user. Plain data.
//!
//! The rules: addresses take turns, however many checks each has queued. Addresses with an earlier login come first,
//! then those without a failure; at a fixed interval the order is reversed, so that no check waits for ever. If the
//! queue is full, the address or the user name with the most checks in the worst non-empty lane loses its newest: a
//! thousand addresses that guess at one name keep no other user out. A check that may not begin yet is parked and asked
//! again after another check ends. No step calls `may_begin` more than [`MAX_ASKED_PER_STEP`] times.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use crate::{
    accounts::AddressReputation,
    capacity::{GradualMap, Shrinker},
    proto::request::ConnId,
};

#[derive(Debug)]
pub(super) struct LoginQueue<T> {
    /// By reputation, the best first.
    lanes: [Lane<T>; 3],
    /// The lane, the address and the number of each check.
    positions: GradualMap<ConnId, (usize, IpAddr, u64)>,
    capacity: usize,
    dequeued: usize,
    /// The last number given to a check or a turn.
    last_number: u64,
}

/// The checks of one reputation.
#[derive(Debug)]
struct Lane<T> {
    /// The addresses with a check that is ready, the next one first.
    round_robin: BTreeMap<u64, IpAddr>,
    by_address: HashMap<IpAddr, AddressQueue<T>>,
    /// The addresses by their number of checks.
    by_len: BTreeSet<(usize, IpAddr)>,
    /// The checks of each user name, the oldest first, with their addresses.
    by_user: HashMap<String, BTreeMap<u64, IpAddr>>,
    /// The user names by their number of checks.
    by_user_len: BTreeSet<(usize, String)>,
    /// The checks that may not begin yet, the oldest first.
    parked: BTreeMap<u64, IpAddr>,
}

/// A password check that waits for a worker.
#[derive(Debug)]
struct Queued<T> {
    id: ConnId,
    /// The name that the client gave.
    user: String,
    check: T,
}

/// The checks of one address, the oldest first.
#[derive(Debug)]
struct AddressQueue<T> {
    /// Valid only while a check is ready.
    round_robin_key: u64,
    ready: BTreeMap<u64, Queued<T>>,
    parked: BTreeMap<u64, Queued<T>>,
}

/// The next check to begin, as [`LoginQueue::next`] returns it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    Check(ConnId, T),
    /// Enough checks were asked in this step; another may be able to begin.
    Later,
    /// No check may begin until another has ended.
    Nothing,
}

impl<T> LoginQueue<T> {
    /// An empty queue with room for `capacity`.
    pub(super) fn new(capacity: usize) -> Self {
        let lane = || Lane {
            round_robin: BTreeMap::new(),
            by_address: HashMap::new(),
            by_len: BTreeSet::new(),
            by_user: HashMap::new(),
            by_user_len: BTreeSet::new(),
            parked: BTreeMap::new(),
        };
        Self {
            lanes: [lane(), lane(), lane()],
            positions: GradualMap::default(),
            capacity,
            dequeued: 0,
            last_number: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    /// Queues a check, and returns the check that loses its place, which may be the new one.
    pub(super) fn push(
        &mut self,
        reputation: AddressReputation,
        (from, user): (IpAddr, &str),
        id: ConnId,
        check: T,
    ) -> Option<(ConnId, T)> {
        self.last_number += 1;
        let lane = reputation as usize;
        let check = Queued { id, user: user.to_owned(), check };
        self.lanes[lane].add(from, self.last_number, check, true);
        self.positions.insert(id, (lane, from, self.last_number));
        if self.positions.len() <= self.capacity {
            return None;
        }
        let lane = self.lanes.iter_mut().rev().find(|lane| !lane.by_address.is_empty())?;
        let (loser, newest) = lane.most_queued(from, user)?;
        let lost = lane.take(loser, newest)?;
        self.positions.remove(&lost.id);
        Some((lost.id, lost.check))
    }

    /// Takes the next check that may begin.
    pub(super) fn next(&mut self, mut may_begin: impl FnMut(&mut T) -> bool) -> Next<T> {
        let mut order = [0, 1, 2];
        if self.dequeued % WORST_LANE_FIRST_EVERY == WORST_LANE_FIRST_EVERY - 1 {
            order.reverse();
        }
        let mut left = MAX_ASKED_PER_STEP;
        for lane in order {
            let lane = &mut self.lanes[lane];
            while let Some((from, number)) = lane.first() {
                if left == 0 {
                    return Next::Later;
                }
                left -= 1;
                let Some(mut queued) = lane.take(from, number) else { break }; // invariant: it is there
                if may_begin(&mut queued.check) {
                    self.last_number += 1;
                    lane.rotate(from, self.last_number);
                    self.positions.remove(&queued.id);
                    self.dequeued = self.dequeued.wrapping_add(1);
                    return Next::Check(queued.id, queued.check);
                }
                lane.add(from, number, queued, false);
            }
        }
        Next::Nothing
    }

    /// Asks some of the parked checks again, because a check has ended.
    pub(super) fn unpark(&mut self) {
        for _ in 0..MAX_ASKED_PER_STEP {
            let mut lanes = self.lanes.iter_mut();
            let Some((lane, from, number)) = lanes.find_map(|lane| {
                let (number, from) = lane.parked.first_key_value().map(|(number, from)| (*number, *from))?;
                Some((lane, from, number))
            }) else {
                return;
            };
            if let Some(check) = lane.take(from, number) {
                lane.add(from, number, check, true);
            }
        }
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.positions);
        for lane in &mut self.lanes {
            shrinker.shrink(&mut lane.by_address).shrink(&mut lane.by_user);
        }
    }

    /// Removes the check of a closed connection.
    pub(super) fn remove(&mut self, id: ConnId) -> Option<T> {
        let (lane, from, number) = self.positions.remove(&id)?;
        self.lanes[lane].take(from, number).map(|queued| queued.check)
    }
}

impl<T> AddressQueue<T> {
    fn len(&self) -> usize {
        self.ready.len() + self.parked.len()
    }

    /// The newest check of the user name that has the most among the newest checks; on a tie, the newest of all.
    fn newest_of_most_queued_user(&self) -> Option<u64> {
        let mut by_user: HashMap<&str, (usize, u64)> = HashMap::new();
        for checks in [&self.ready, &self.parked] {
            for (number, queued) in checks.iter().rev().take(MAX_COMPARED) {
                let (count, newest) = by_user.entry(&queued.user).or_default();
                (*count, *newest) = (*count + 1, *number.max(newest));
            }
        }
        by_user.into_values().max().map(|(_, newest)| newest)
    }
}

impl<T> Lane<T> {
    /// Adds a check that is ready, or one that may not begin yet.
    fn add(&mut self, from: IpAddr, number: u64, check: Queued<T>, is_ready: bool) {
        self.update_user(&check.user, |numbers| {
            numbers.insert(number, from);
        });
        let new =
            || AddressQueue { round_robin_key: number, ready: BTreeMap::new(), parked: BTreeMap::new() };
        let waiting = self.by_address.entry(from).or_insert_with(new);
        self.by_len.remove(&(waiting.len(), from));
        if is_ready {
            if waiting.ready.is_empty() {
                waiting.round_robin_key = number;
                self.round_robin.insert(number, from);
            }
            waiting.ready.insert(number, check);
        } else {
            waiting.parked.insert(number, check);
            self.parked.insert(number, from);
        }
        self.by_len.insert((waiting.len(), from));
    }

    /// The oldest ready check of the address whose turn it is.
    fn first(&self) -> Option<(IpAddr, u64)> {
        let (_, from) = self.round_robin.first_key_value()?;
        let (number, _) = self.by_address.get(from)?.ready.first_key_value()?;
        Some((*from, *number))
    }

    /// Moves the address to the end of the turns.
    fn rotate(&mut self, from: IpAddr, key: u64) {
        let Some(waiting) = self.by_address.get_mut(&from).filter(|waiting| !waiting.ready.is_empty()) else {
            return;
        };
        self.round_robin.remove(&std::mem::replace(&mut waiting.round_robin_key, key));
        self.round_robin.insert(key, from);
    }

    /// The newest check of the address or the user with the most checks; on a tie, the newcomer's.
    fn most_queued(&self, newcomer: IpAddr, newcomer_user: &str) -> Option<(IpAddr, u64)> {
        let (most, fullest) = *self.by_len.last()?;
        let (most_of_user, user) = self.by_user_len.last()?;
        if *most_of_user > most {
            let newcomer_checks =
                self.by_user.get(newcomer_user).filter(|numbers| numbers.len() == *most_of_user);
            let numbers = newcomer_checks.or_else(|| self.by_user.get(user))?;
            return numbers.last_key_value().map(|(number, from)| (*from, *number));
        }
        let loser = if self.by_len.contains(&(most, newcomer)) { newcomer } else { fullest };
        Some((loser, self.by_address.get(&loser)?.newest_of_most_queued_user()?))
    }

    /// Changes the checks of a user, and counts them.
    fn update_user(&mut self, user: &str, change: impl FnOnce(&mut BTreeMap<u64, IpAddr>)) {
        let numbers = self.by_user.entry(user.to_owned()).or_default();
        let before = numbers.len();
        change(numbers);
        let after = numbers.len();
        self.by_user_len.remove(&(before, user.to_owned()));
        if after > 0 {
            self.by_user_len.insert((after, user.to_owned()));
        } else {
            self.by_user.remove(user);
        }
    }

    fn take(&mut self, from: IpAddr, number: u64) -> Option<Queued<T>> {
        let waiting = self.by_address.get_mut(&from)?;
        let len = waiting.len();
        let found = match waiting.ready.remove(&number) {
            Some(check) => {
                if waiting.ready.is_empty() {
                    self.round_robin.remove(&waiting.round_robin_key);
                }
                check
            }
            None => {
                self.parked.remove(&number);
                waiting.parked.remove(&number)?
            }
        };
        self.by_len.remove(&(len, from));
        if len > 1 {
            self.by_len.insert((len - 1, from));
        } else {
            self.by_address.remove(&from);
        }
        self.update_user(&found.user, |numbers| {
            numbers.remove(&number);
        });
        Some(found)
    }
}

/// Checks that one step asks whether they may begin. Each question looks up the failures of an address and of a user.
const MAX_ASKED_PER_STEP: usize = 64;
/// Checks of one address among which the user name with the most is looked for.
const MAX_COMPARED: usize = 64;
/// Once in this many times the worst reputation comes first.
const WORST_LANE_FIRST_EVERY: usize = 4;

#[cfg(test)]
mod tests {
    use super::{
        AddressReputation::{Clean, Known, Suspect},
        *,
    };

    fn ip(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    /// Pushes a check that is identified by number.
    fn push(queue: &mut LoginQueue<u64>, reputation: AddressReputation, from: u8, n: u64) -> Option<u64> {
        queue.push(reputation, (ip(from), &n.to_string()), ConnId(n), n).map(|(_, n)| n)
    }

    fn next(queue: &mut LoginQueue<u64>, may_begin: impl FnMut(&mut u64) -> bool) -> Option<u64> {
        match queue.next(may_begin) {
            Next::Check(_, n) => Some(n),
            Next::Later | Next::Nothing => None,
        }
    }

    fn drain(queue: &mut LoginQueue<u64>) -> Vec<u64> {
        std::iter::from_fn(|| next(queue, |_| true)).collect()
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

    /// X8: 200 slow guessers filled the whole queue of 64, and the first login of a user was refused.
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
        assert_eq!(next(&mut queue, |n| *n != 10), Some(11));
        assert_eq!(next(&mut queue, |n| *n == 20), Some(20));
        assert_eq!(queue.next(|_| panic!("it was asked, and no check has ended")), Next::Nothing);
        assert_eq!(queue.len(), 1);
        queue.unpark();
        assert_eq!((queue.next(|_| false), queue.len()), (Next::Nothing, 1));
        queue.unpark();
        assert_eq!(drain(&mut queue), [10]);
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
        assert_is_empty(&queue);
    }

    #[track_caller]
    fn assert_is_empty(queue: &LoginQueue<u64>) {
        let is_empty = |lane: &Lane<_>| {
            lane.round_robin.is_empty()
                && lane.by_address.is_empty()
                && lane.by_len.is_empty()
                && lane.parked.is_empty()
        };
        assert!(queue.positions.is_empty() && queue.lanes.iter().all(is_empty), "{queue:?}");
    }

    #[test]
    fn thousands_that_have_to_wait_are_asked_some_at_a_time_and_again_when_a_check_has_ended() {
        for most in [1000, 10_000] {
            let mut queue = LoginQueue::new(most as usize);
            (0..most).for_each(|n| assert_eq!(push(&mut queue, Clean, (n % 200) as u8, n), None));
            let (mut asked, mut steps) = (0, 0);
            let mut ask = |queue: &mut LoginQueue<u64>| {
                let before = asked;
                let found = queue.next(|_| {
                    asked += 1;
                    false
                });
                assert!(asked - before <= 64);
                found
            };
            while ask(&mut queue) == Next::Later {
                steps += 1;
            }
            assert_eq!(steps, most / 64);
            queue.unpark();
            assert_eq!(ask(&mut queue), Next::Nothing);
            assert_eq!((asked, queue.len()), (most + 64, most as usize));
            // Parked checks keep their places: a full queue still takes from the address with the most.
            assert!(push(&mut queue, Clean, 250, most).is_some_and(|lost| lost < most));
            assert_eq!(next(&mut queue, |_| true), Some(most));
            for n in 0..most {
                queue.remove(ConnId(n));
            }
            assert_is_empty(&queue);
        }
    }

    #[test]
    fn many_addresses_that_guess_at_one_user_displace_no_other_user() {
        let mut queue = LoginQueue::new(3);
        let guess = |queue: &mut LoginQueue<u64>, from: u8| {
            queue.push(Clean, (ip(from), "root"), ConnId(from.into()), from.into()).map(|(_, n)| n)
        };
        assert_eq!([1, 2, 3].map(|from| guess(&mut queue, from)), [None; 3]);
        assert_eq!(guess(&mut queue, 4), Some(4), "the newest guess");
        assert_eq!(push(&mut queue, Clean, 5, 50), Some(3), "another user takes its place");
        assert_eq!(push(&mut queue, Clean, 6, 60), Some(2));
        assert_eq!(guess(&mut queue, 7), Some(7), "a name with two checks has the most again");
        assert_eq!(drain(&mut queue), [1, 50, 60]);
    }

    #[test]
    fn guesses_at_one_user_displace_no_other_user_of_the_same_address() {
        let mut queue = LoginQueue::new(3);
        for n in 1..=3 {
            assert_eq!(queue.push(Known, (ip(1), "root"), ConnId(n), n), None);
        }
        assert_eq!(push(&mut queue, Known, 1, 50), Some(3), "the newest guess makes room");
        assert_eq!(queue.push(Known, (ip(1), "root"), ConnId(4), 4).map(|(_, n)| n), Some(4));
        assert_eq!(drain(&mut queue), [1, 2, 50]);
    }
}
