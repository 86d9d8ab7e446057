//! A hash map that grows and shrinks a few entries at a time.
//!
//! The rule: no call moves more than a bounded number of entries. A plain hash map moves all of them when it is full,
//! and also now and then while entries come and go, which takes milliseconds for ten thousand connections.

use std::{collections::HashMap, hash::Hash};

use super::{Capacity, KEPT};

/// A hash map for the event loop.
#[derive(Debug)]
pub(crate) struct GradualMap<K, V> {
    /// Receives every new entry.
    current: HashMap<K, V>,
    /// Entries that are still to be moved to `current`, in the table that was too small or too large.
    former: HashMap<K, V>,
}

impl<K, V> Default for GradualMap<K, V> {
    fn default() -> Self {
        Self { current: HashMap::new(), former: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> GradualMap<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.current.len() + self.former.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.current.get(key).or_else(|| self.former.get(key))
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match self.current.get_mut(key) {
            Some(value) => Some(value),
            None => self.former.get_mut(key),
        }
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Inserts a value, and returns the one that it replaces.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.make_room();
        let moved = self.former.remove(&key);
        self.current.insert(key, value).or(moved)
    }

    /// The value of that key, after the insertion of a default if there is none.
    pub(crate) fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.get_or_insert_with(key, V::default)
    }

    /// The value of that key, after the insertion of another if there is none.
    pub(crate) fn get_or_insert_with(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        self.make_room();
        let moved = self.former.remove(&key);
        self.current.entry(key).or_insert_with(|| moved.unwrap_or_else(new))
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.move_some(MOVED_PER_CALL);
        self.current.remove(key).or_else(|| self.former.remove(key))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.current.iter().chain(&self.former)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Makes room for one more entry.
    fn make_room(&mut self) {
        self.move_some(MOVED_PER_CALL);
        // A table may be full before its capacity is used, because entries that are gone leave traces.
        if self.current.len() == self.current.capacity()
            && self.current.len() > KEPT
            && self.former.is_empty()
        {
            self.begin_move(self.current.len() * 2);
        }
    }

    fn begin_move(&mut self, capacity: usize) {
        self.former = std::mem::replace(&mut self.current, HashMap::with_capacity(capacity));
    }

    /// Moves up to `max` entries to the current table, and returns their number. The memory of the former table is freed
    /// after the last.
    fn move_some(&mut self, max: usize) -> usize {
        if self.former.capacity() == 0 {
            return 0;
        }
        let before = self.former.len();
        self.current.extend(self.former.extract_if(|_, _| true).take(max));
        if self.former.is_empty() {
            self.former = HashMap::new();
        }
        before - self.former.len()
    }
}

impl<K: Eq + Hash, V> Capacity for GradualMap<K, V> {
    fn len(&self) -> usize {
        self.len()
    }

    /// While there is a former table, the capacity is without bound, so that the shrinker completes the move.
    fn capacity(&self) -> usize {
        if self.former.capacity() == 0 { self.current.capacity() } else { usize::MAX }
    }

    fn shrink_to(&mut self, capacity: usize, max_moved: usize) -> usize {
        if self.former.is_empty() {
            self.begin_move(capacity);
        }
        self.move_some(max_moved)
    }
}

/// Entries that one insertion or removal moves. The table that receives them has room for all, and for as many new ones.
const MOVED_PER_CALL: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capacity::{MAX_MOVED, Shrinker};

    #[derive(Debug, Clone)]
    enum Call {
        Insert(u16),
        Add(u16),
        Remove(u16),
        /// Inserts so many new keys.
        Rush(u16),
        /// Removes the keys below this.
        Leave(u16),
        Shrink,
    }

    fn call() -> impl Strategy<Value = Call> {
        prop_oneof![
            (0..3000_u16).prop_map(Call::Insert),
            (0..3000_u16).prop_map(Call::Add),
            (0..3000_u16).prop_map(Call::Remove),
            (0..1500_u16).prop_map(Call::Rush),
            (0..3000_u16).prop_map(Call::Leave),
            Just(Call::Shrink),
        ]
    }

    proptest! {
        #[test]
        fn answers_are_those_of_a_hash_map(calls in prop::collection::vec(call(), 1..40)) {
            let (mut map, mut model) = (GradualMap::<u16, usize>::default(), HashMap::<u16, usize>::new());
            for (n, call) in calls.into_iter().enumerate() {
                match call {
                    Call::Insert(key) => prop_assert_eq!(map.insert(key, n), model.insert(key, n)),
                    Call::Add(key) => {
                        *map.get_or_default(key) += 1;
                        *model.entry(key).or_default() += 1;
                    }
                    Call::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    Call::Rush(most) => {
                        for key in 0..most {
                            prop_assert_eq!(map.insert(key * 2, n), model.insert(key * 2, n));
                        }
                    }
                    Call::Leave(end) => {
                        for key in 0..end {
                            prop_assert_eq!(map.remove(&key), model.remove(&key));
                        }
                    }
                    Call::Shrink => _ = Shrinker::default().shrink(&mut map),
                }
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.is_empty(), model.is_empty());
                for key in 0..3000 {
                    prop_assert_eq!(map.get(&key), model.get(&key));
                    prop_assert_eq!(map.get_mut(&key), model.get_mut(&key));
                }
                let mut all: Vec<_> = map.iter().collect();
                all.sort_unstable();
                let mut expected: Vec<_> = model.iter().collect();
                expected.sort_unstable();
                prop_assert_eq!(all, expected);
            }
        }
    }

    /// Runs `call`, and returns the number of entries that it has moved.
    fn moved(map: &mut GradualMap<usize, usize>, call: impl FnOnce(&mut GradualMap<usize, usize>)) -> usize {
        let before = map.former.len();
        let table = map.current.capacity();
        call(map);
        // A full table becomes the former one, and one that was emptied is gone.
        let began = map.current.capacity() != table;
        if began { 0 } else { before.saturating_sub(map.former.len()) }
    }

    #[test]
    fn r13_no_insertion_moves_more_than_a_few_however_many_there_are() {
        for most in [1000, 100_000] {
            let mut map = GradualMap::default();
            let mut grown = 0;
            for n in 0..most {
                let (buckets, was_moving) = (map.current.capacity(), !map.former.is_empty());
                assert!(moved(&mut map, |map| assert_eq!(map.insert(n, n), None)) <= MOVED_PER_CALL + 1);
                if map.current.capacity() > buckets && n > KEPT {
                    assert!(!was_moving && map.current.len() == 1, "{n}: the table grew by itself");
                    grown += 1;
                }
            }
            assert!(grown >= 3, "{grown}");
            assert!((0..most).all(|n| map.get(&n) == Some(&n)) && map.len() == most);
        }
    }

    #[test]
    fn r13_entries_that_come_and_go_never_move_all_others() {
        let mut map: GradualMap<usize, usize> = GradualMap::default();
        (0..10_000).for_each(|n| _ = map.insert(n, n));
        for n in 10_000..200_000 {
            assert!(
                moved(&mut map, |map| assert_eq!(map.remove(&(n - 10_000)), Some(n - 10_000)))
                    <= MOVED_PER_CALL + 1
            );
            let full = map.current.len() == map.current.capacity();
            assert!(!full || map.former.is_empty(), "{n}: a full table has taken in the former one");
            assert!(moved(&mut map, |map| assert_eq!(map.insert(n, n), None)) <= MOVED_PER_CALL + 1);
        }
        assert_eq!(map.len(), 10_000);
        assert!(map.current.capacity() < 100_000, "{}", map.current.capacity());
    }

    #[test]
    fn a_map_that_a_rush_has_left_shrinks_some_entries_at_a_time() {
        let mut map: GradualMap<usize, usize> = GradualMap::default();
        (0..400_000).for_each(|n| _ = map.insert(n, n));
        (10_000..400_000).for_each(|n| _ = map.remove(&n));
        let mut turns = 0;
        while turns == 0 || map.former.capacity() > 0 {
            let before = if turns == 0 { 0 } else { map.current.len() };
            assert!(Shrinker::default().shrink(&mut map).moved <= MAX_MOVED);
            assert!(map.current.len() - before <= MAX_MOVED);
            turns += 1;
        }
        assert_eq!(turns, 3);
        assert!((0..10_000).all(|n| map.get(&n) == Some(&n)) && map.current.capacity() < 40_000);
    }
}
