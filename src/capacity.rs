//! Returns the capacity of maps and queues that a rush has left unused, and keeps each step of that short. A leaf: imports
//! no other module of the crate.
//!
//! The rule: a collection that uses less than a quarter of its capacity keeps twice its length. It neither grows nor
//! shrinks again before its length has doubled or halved, so the cost of moving the entries is spread over as many
//! insertions or removals.

mod gradual_map;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
};

pub(crate) use gradual_map::GradualMap;

/// A collection that may have room for more entries than it holds.
pub(crate) trait Capacity {
    fn len(&self) -> usize;
    /// The number of entries that it has room for.
    fn capacity(&self) -> usize;
    /// Reallocates, with room for `capacity` entries. Returns the number of entries that it has moved: all, or no more
    /// than `max_moved` if the collection can continue in another turn.
    fn shrink_to(&mut self, capacity: usize, max_moved: usize) -> usize;
}

/// Shrinks the collections of the event loop, and bounds the entries that are moved in one turn.
#[derive(Debug, Default)]
pub(crate) struct Shrinker {
    moved: usize,
}

impl Shrinker {
    /// Whether it has moved entries: more may be left to move in another turn.
    pub(crate) fn has_moved(&self) -> bool {
        self.moved > 0
    }

    /// Shrinks the collection if most of its capacity is unused. After [`MAX_MOVED`] entries the next collection
    /// waits for another turn.
    pub(crate) fn shrink(&mut self, collection: &mut impl Capacity) -> &mut Self {
        let (len, capacity) = (collection.len(), collection.capacity());
        if capacity > KEPT && len < capacity / 4 && self.moved < MAX_MOVED {
            let left = MAX_MOVED - self.moved;
            self.moved += collection.shrink_to((len * 2).max(KEPT), left);
        }
        self
    }
}

macro_rules! capacity {
    ($([$($generics:tt)*] $collection:ty;)*) => {$(
        impl<$($generics)*> Capacity for $collection {
            fn len(&self) -> usize {
                self.len()
            }

            fn capacity(&self) -> usize {
                self.capacity()
            }

            fn shrink_to(&mut self, capacity: usize, _: usize) -> usize {
                self.shrink_to(capacity);
                self.len()
            }
        }
    )*};
}

capacity! {
    [K: Eq + Hash, V] HashMap<K, V>;
    [T: Eq + Hash] HashSet<T>;
    [T] VecDeque<T>;
}

/// A capacity up to this is not worth returning.
const KEPT: usize = 64;
/// Entries that may be moved in one turn of the loop. The next collection then waits for another turn.
const MAX_MOVED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: usize) -> HashMap<usize, usize> {
        (0..entries).map(|n| (n, n)).collect()
    }

    #[test]
    fn a_map_gives_back_what_a_rush_has_left_and_keeps_its_entries() {
        let mut map = map(10_000);
        map.retain(|n, _| *n < 100);
        Shrinker::default().shrink(&mut map);
        assert!(map.capacity() < 500, "{}", map.capacity());
        assert!((0..100).all(|n| map.get(&n) == Some(&n)) && map.len() == 100);
        let before = map.capacity();
        map.clear();
        Shrinker::default().shrink(&mut map);
        assert!(map.capacity() < before, "{}", map.capacity());
    }

    #[test]
    fn sets_and_queues_shrink_as_maps_do() {
        let mut set: HashSet<usize> = (0..10_000).collect();
        let mut queue: VecDeque<usize> = (0..10_000).collect();
        set.clear();
        queue.truncate(1);
        Shrinker::default().shrink(&mut set).shrink(&mut queue);
        assert!(set.capacity() <= 2 * KEPT && queue.capacity() <= 2 * KEPT);
        assert_eq!(queue, [0]);
    }

    #[test]
    fn a_map_that_is_used_or_small_stays_as_it_is() {
        for (most, left) in [(10_000, 4000), (60, 0)] {
            let mut map = map(most);
            map.retain(|n, _| *n < left);
            let before = map.capacity();
            Shrinker::default().shrink(&mut map);
            assert_eq!(map.capacity(), before);
        }
    }

    #[test]
    fn a_map_that_has_shrunk_takes_as_many_again_before_it_grows() {
        let mut map = map(10_000);
        map.retain(|n, _| *n < 1000);
        let mut shrinker = Shrinker::default();
        shrinker.shrink(&mut map);
        let (shrunk, moved) = (map.capacity(), shrinker.moved);
        assert!(shrunk < 10_000 && moved == 1000);
        shrinker.shrink(&mut map);
        assert_eq!((map.capacity(), shrinker.moved), (shrunk, moved), "shrunk once is shrunk");
        map.extend((1000..2000).map(|n| (n, n)));
        assert_eq!(map.capacity(), shrunk);
    }

    #[test]
    fn the_entries_moved_in_a_turn_are_bounded() {
        let mut maps = [map(50_000), map(50_000), map(50_000)];
        maps.iter_mut().for_each(|map| map.retain(|n, _| *n < 3000));
        let big = |maps: &[HashMap<usize, usize>]| maps.iter().filter(|map| map.capacity() > 10_000).count();
        for left in [1, 0] {
            let mut shrinker = Shrinker::default();
            maps.iter_mut().for_each(|map| _ = shrinker.shrink(map));
            assert_eq!(big(&maps), left);
            assert!(shrinker.moved < MAX_MOVED + 3000);
        }
    }
}
