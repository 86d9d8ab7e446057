//! The memory and the files of inbound messages. Pure state: the time is an argument.
//!
//! The rule: only octets that are held count, not sessions at DATA. Under pressure the largest messages are spilled
//! to files; if that is not enough, the slowest is evicted. A quarter of everything is reserved for users who have
//! logged in, for trusted clients, and for servers of this site.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    time::Duration,
};

use crate::{
    capacity::{GradualMap, Shrinker},
    proto::{BodyProgress, request::ConnId},
};

/// The memory and the files of all inbound messages together.
#[derive(Debug, Default)]
pub(super) struct BodyMemory {
    /// Octets of memory for the message data that sessions hold. Workers and the committer may hold as much again.
    limit: u64,
    /// Files in `tmp/`, for all messages together.
    max_files: usize,
    abandoned_octets: u64,
    pressure_since: Option<Duration>,
    trusted: HashSet<ConnId>,
    entries: GradualMap<ConnId, BodyEntry>,
    /// Octets held by sessions, and by workers or the committer: first for other clients, then for trusted ones.
    total: [MemoryUse; 2],
    /// Files of other clients, then of trusted ones.
    files: [usize; 2],
    /// Octets of bodies that sessions hold whole, until they are handed over.
    whole: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct MemoryUse {
    in_sessions: u64,
    handed_over: u64,
}

#[derive(Debug, Default)]
struct BodyEntry {
    is_trusted: bool,
    body: Option<BodyProgress>,
    octets: MemoryUse,
    has_file: bool,
    /// Octets that are reserved for a body that its session holds whole.
    whole: u64,
}

/// The actions that free memory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MemoryRelief {
    /// Messages to spill to files.
    pub spill: Vec<ConnId>,
    /// Messages whose connections are to end.
    pub evict: Vec<ConnId>,
}

impl BodyMemory {
    pub(super) fn new(max: u64, max_files: usize) -> Self {
        Self { limit: max / 2, max_files, ..Self::default() }
    }

    pub(super) fn set_limit(&mut self, max: u64, max_files: usize) {
        (self.limit, self.max_files) = (max / 2, max_files);
    }

    /// Whether `id` may begin another message. It may not if message data has waited for the disk for a long time.
    pub(super) fn can_begin(&self, id: ConnId, now: Duration) -> bool {
        let waits_for_long = self.pressure_since.is_some_and(|since| since + PRESSURE_TIMEOUT <= now);
        !waits_for_long || !self.is_limit_exceeded(self.trusted.contains(&id))
    }

    /// Whether the message data of `id` is not read until some of the held octets are out of memory.
    pub(super) fn is_under_pressure(&self, id: ConnId) -> bool {
        self.is_limit_exceeded(self.entries.get(&id).is_some_and(|entry| entry.is_trusted))
    }

    /// Whether the memory for other clients, or for trusted ones, is in use.
    fn is_limit_exceeded(&self, is_trusted: bool) -> bool {
        let all: u64 = self.total.iter().map(|octets| octets.in_sessions + octets.handed_over).sum();
        all + self.abandoned_octets > self.limit_for(is_trusted, self.limit * 2)
    }

    /// Called at the end of a turn. `abandoned_octets`: octets of abandoned messages, in memory until the disk is done.
    pub(super) fn update_pressure(&mut self, now: Duration, abandoned_octets: u64) {
        self.abandoned_octets = abandoned_octets;
        self.pressure_since = self.is_limit_exceeded(false).then(|| self.pressure_since.unwrap_or(now));
    }

    pub(super) fn begin(&mut self, id: ConnId) {
        let is_trusted = self.trusted.contains(&id);
        self.entries.get_or_default(id).is_trusted = is_trusted;
    }

    /// Whether there is room for a body that its session holds whole: together they have half of the memory that sessions
    /// have, and one alone may have more.
    pub(super) fn has_room_for_whole(&self, octets: u64) -> bool {
        self.whole == 0 || self.whole + octets <= self.limit / 2
    }

    /// Reserves memory for a body that its session holds whole, after [`BodyMemory::begin`].
    pub(super) fn reserve_whole(&mut self, id: ConnId, octets: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        self.whole += octets;
        entry.whole = octets;
        entry.octets.in_sessions = octets;
        self.total[usize::from(entry.is_trusted)].in_sessions += octets;
    }

    /// Records the octets that a session holds, and whether its client is trusted.
    pub(super) fn record_progress(&mut self, id: ConnId, is_trusted: bool, body: Option<BodyProgress>) {
        if is_trusted {
            self.trusted.insert(id);
        } else {
            self.trusted.remove(&id);
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let octets = body.map_or(0, |body| body.memory_octets as u64).max(entry.whole);
        let total = &mut self.total[usize::from(entry.is_trusted)];
        total.in_sessions = total.in_sessions - entry.octets.in_sessions + octets;
        entry.octets.in_sessions = octets;
        entry.body = body;
    }

    /// Records that a worker or the committer holds this many octets of a message.
    pub(super) fn hand_over(&mut self, id: ConnId, octets: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let total = &mut self.total[usize::from(entry.is_trusted)];
        total.handed_over = total.handed_over - entry.octets.handed_over + octets;
        total.in_sessions -= std::mem::take(&mut entry.octets.in_sessions);
        entry.octets.handed_over = octets;
        self.whole -= std::mem::take(&mut entry.whole);
    }

    /// The number of messages that have a file.
    pub(super) fn files(&self) -> usize {
        self.files.iter().sum()
    }

    /// Reserves a file for a message, if it may have one.
    pub(super) fn reserve_file(&mut self, id: ConnId, being_removed: usize) -> bool {
        let share = self
            .limit_for(self.entries.get(&id).is_some_and(|entry| entry.is_trusted), self.max_files as u64);
        let in_use = self.files() + being_removed;
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        if !entry.has_file && in_use as u64 >= share {
            return false;
        }
        if !std::mem::replace(&mut entry.has_file, true) {
            self.files[usize::from(entry.is_trusted)] += 1;
        }
        true
    }

    pub(super) fn end(&mut self, id: ConnId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        let of = usize::from(entry.is_trusted);
        self.total[of].in_sessions -= entry.octets.in_sessions;
        self.total[of].handed_over -= entry.octets.handed_over;
        self.files[of] -= usize::from(entry.has_file);
        self.whole -= entry.whole;
    }

    pub(super) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.trusted).shrink(&mut self.entries);
    }

    pub(super) fn remove(&mut self, id: ConnId) {
        self.trusted.remove(&id);
    }

    /// Plans the actions for too little memory. Octets with workers and the committer are leaving memory: they count
    /// only once all octets together exceed twice the limit.
    pub(super) fn plan_relief(&self, now: Duration, being_removed: usize) -> MemoryRelief {
        let [untrusted, trusted] = self.total;
        let in_sessions = untrusted.in_sessions + trusted.in_sessions;
        let all = in_sessions + untrusted.handed_over + trusted.handed_over;
        let (threshold, max_files) =
            (self.limit_for(false, self.limit), self.limit_for(false, self.max_files as u64));
        let files = (self.files[0] + self.files[1] + being_removed) as u64;
        let mut relief = MemoryRelief::default();
        // Files are taken one at a time: the slowest message that has a file makes room for the next.
        if self.files[0] > 0 && files >= max_files {
            let is_slow = |entry: &BodyEntry, now| entry.has_file && entry.is_slow(now);
            relief.evict.extend(self.slowest(now, is_slow).next());
        }
        let beyond = all.saturating_sub(self.limit * 2);
        if in_sessions <= threshold && beyond == 0 {
            return relief;
        }
        let mut files_left = max_files.saturating_sub(files);
        let can_spill = |entry: &BodyEntry| entry.can_spill() && (entry.has_file || files_left > 0);
        let largest = self.entries.iter().filter(|(_, entry)| can_spill(entry));
        let mut largest: BinaryHeap<_> =
            largest.map(|(id, entry)| (entry.octets.in_sessions, Reverse(*id), entry.has_file)).collect();
        let mut spilled = 0;
        while in_sessions - spilled > threshold
            && let Some((octets, Reverse(id), has_file)) = largest.pop()
        {
            if has_file || files_left > 0 {
                files_left -= u64::from(!has_file);
                spilled += octets;
                relief.spill.push(id);
            }
        }
        let of_untrusted = untrusted.in_sessions.saturating_sub(threshold);
        let over = of_untrusted.max(in_sessions.saturating_sub(self.limit));
        let mut over = over.saturating_sub(spilled).max(beyond);
        let is_spilled: HashSet<ConnId> = relief.spill.iter().copied().collect();
        for id in self.slowest(now, |entry, _| entry.octets.in_sessions > 0) {
            if over == 0 {
                break;
            }
            if !is_spilled.contains(&id) {
                let octets = self.entries.get(&id).map_or(0, |entry| entry.octets.in_sessions);
                over = over.saturating_sub(octets);
                relief.evict.push(id);
            }
        }
        relief
    }

    /// The messages of other clients by octets a second, the slowest first and new ones last. The order is computed
    /// only as far as the caller asks, because there may be one message per connection.
    fn slowest(
        &self,
        now: Duration,
        which: fn(&BodyEntry, Duration) -> bool,
    ) -> impl Iterator<Item = ConnId> + use<> {
        let candidates = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.is_trusted && entry.octets.handed_over == 0 && which(entry, now));
        let pace = |(id, entry): (&ConnId, &BodyEntry)| {
            let body = entry.body?;
            let taken = now.saturating_sub(body.started_at);
            let rate = u128::from(body.octets) * 1_000_000 / taken.as_millis().max(1);
            Some(Reverse((taken < NEW_BODY_GRACE, rate, *id)))
        };
        let mut slowest: BinaryHeap<_> = candidates.filter_map(pace).collect();
        std::iter::from_fn(move || slowest.pop().map(|Reverse((_, _, id))| id))
    }

    fn limit_for(&self, is_trusted: bool, of: u64) -> u64 {
        if is_trusted { of } else { of - of / 4 }
    }
}

impl BodyEntry {
    fn can_spill(&self) -> bool {
        self.octets.handed_over == 0 && self.octets.in_sessions >= MIN_SPILL && self.whole == 0
    }

    /// Whether fewer octets have arrived than a client with the expected rate would have sent.
    fn is_slow(&self, now: Duration) -> bool {
        self.body.is_some_and(|body| body.rate_deadline() + NEW_BODY_GRACE <= now)
    }
}

/// Time that message data may wait for the disk before the next message is refused.
const PRESSURE_TIMEOUT: Duration = Duration::from_secs(10);
/// Fewer octets are not worth a file.
const MIN_SPILL: u64 = 4096;
/// Time for which a new message is not among the slowest.
const NEW_BODY_GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn body(started_at: u64, octets: u64, in_memory: u64) -> Option<BodyProgress> {
        Some(BodyProgress {
            started_at: at(started_at),
            octets,
            memory_octets: in_memory as usize,
            rate: 500,
        })
    }

    /// Messages that began at 0, with the octets that each holds and has sent.
    fn bodies(max: u64, files: usize, of: &[(bool, u64, u64)]) -> BodyMemory {
        let mut bodies = BodyMemory::new(2 * max, files);
        for (n, (is_trusted, in_memory, octets)) in of.iter().enumerate() {
            let id = ConnId(n as u64);
            bodies.record_progress(id, *is_trusted, None);
            bodies.begin(id);
            bodies.record_progress(id, *is_trusted, body(0, *octets, *in_memory));
        }
        bodies
    }

    fn ids(numbers: &[u64]) -> Vec<ConnId> {
        numbers.iter().copied().map(ConnId).collect()
    }

    #[test]
    fn who_stands_at_data_and_sends_nothing_keeps_no_one_out() {
        let bodies = bodies(256 * KIB, 4, &[(false, 300, 0); 500]);
        assert!(bodies.can_begin(ConnId(1000), at(60)));
        assert_eq!(bodies.plan_relief(at(60), 0), MemoryRelief::default());
    }

    #[test]
    fn under_pressure_the_largest_are_spilled_and_no_more_than_needed() {
        let mut bodies =
            bodies(400 * KIB, 9, &[(false, 100 * KIB, 1), (false, 150 * KIB, 1), (true, 120 * KIB, 1)]);
        assert_eq!(bodies.plan_relief(at(9), 0), MemoryRelief { spill: ids(&[1]), evict: Vec::new() });
        // While a worker writes it, no other message is spilled.
        bodies.hand_over(ConnId(1), 150 * KIB);
        assert_eq!(bodies.plan_relief(at(9), 0), MemoryRelief::default());
        bodies.hand_over(ConnId(1), 0);
        bodies.end(ConnId(0));
        assert_eq!(bodies.plan_relief(at(9), 0), MemoryRelief::default());
    }

    #[test]
    fn when_all_is_held_in_pieces_too_small_for_files_the_slowest_ends() {
        let untrusted = |n: u64| (false, 4000, if n == 7 { 10 } else { 4000 + n });
        let of: Vec<_> = (0..100).map(untrusted).collect();
        let bodies = bodies(500_000, 9, &of);
        assert_eq!(
            bodies.plan_relief(at(60), 0),
            MemoryRelief { spill: Vec::new(), evict: ids(&[7, 0, 1, 2, 3, 4, 5]) }
        );
    }

    #[test]
    fn where_no_file_is_left_the_slowest_end_instead_of_going_to_one() {
        let bodies = bodies(
            400 * KIB,
            4,
            &[
                (false, 80 * KIB, 5),
                (false, 80 * KIB, 4),
                (false, 80 * KIB, 3),
                (false, 80 * KIB, 2),
                (false, 80 * KIB, 1),
                (false, 80 * KIB, 9),
            ],
        );
        assert_eq!(bodies.plan_relief(at(60), 2), MemoryRelief { spill: ids(&[0]), evict: ids(&[4, 3]) });
        assert_eq!(bodies.plan_relief(at(60), 0), MemoryRelief { spill: ids(&[0, 1, 2]), evict: ids(&[]) });
    }

    #[test]
    fn users_are_not_ended_and_have_a_share_that_strangers_cannot_take() {
        let mut bodies = bodies(100 * KIB, 9, &[(true, 4000, 0), (false, 4000, 99_999)]);
        bodies.record_progress(ConnId(3), true, None);
        for n in 10..30 {
            bodies.record_progress(ConnId(n), false, None);
            bodies.begin(ConnId(n));
            bodies.record_progress(ConnId(n), false, body(0, 4000, 4000));
        }
        let relief = bodies.plan_relief(at(9), 0);
        assert!(!relief.evict.contains(&ConnId(0)) && !relief.evict.is_empty());
        // Octets that the disk has not taken for a while first delay unknown clients, then refuse them.
        (10..30).for_each(|n| bodies.hand_over(ConnId(n), 8000));
        bodies.update_pressure(at(9), 0);
        assert!(bodies.is_under_pressure(ConnId(10)) && !bodies.is_under_pressure(ConnId(0)));
        assert!(bodies.can_begin(ConnId(10), at(10)) && !bodies.can_begin(ConnId(10), at(20)));
        assert!(bodies.can_begin(ConnId(3), at(20)));
    }

    #[test]
    fn files_have_a_bound_and_the_slowest_that_has_one_makes_room() {
        let mut bodies = bodies(
            KIB * KIB,
            4,
            &[(false, 9, 9_000_000), (false, 9, 10), (false, 9, 9_000_000), (true, 9, 1), (false, 9, 1)],
        );
        assert!((0..3).all(|n| bodies.reserve_file(ConnId(n), 0)));
        assert!(!bodies.reserve_file(ConnId(4), 0), "a quarter of the files is not for strangers");
        assert!(bodies.reserve_file(ConnId(1), 0), "it has one already");
        assert_eq!(bodies.plan_relief(at(60), 0).evict, ids(&[1]));
        bodies.end(ConnId(1));
        assert_eq!(bodies.plan_relief(at(60), 0).evict, ids(&[]), "the others keep the expected rate");
        assert!(!bodies.reserve_file(ConnId(4), 1), "its file is still being removed");
        assert!(bodies.reserve_file(ConnId(4), 0) && bodies.reserve_file(ConnId(3), 0));
    }

    #[test]
    fn nothing_is_left_of_messages_that_have_ended() {
        let mut bodies = bodies(100 * KIB, 9, &[(false, 4000, 5), (true, 5000, 5)]);
        bodies.reserve_file(ConnId(0), 0);
        bodies.hand_over(ConnId(0), 77);
        for n in 0..2 {
            bodies.end(ConnId(n));
            bodies.remove(ConnId(n));
        }
        assert!(bodies.entries.is_empty() && bodies.trusted.is_empty() && bodies.files == [0, 0]);
        assert!(bodies.total.iter().all(|octets| octets.in_sessions == 0 && octets.handed_over == 0));
    }
}
