//! The messages of a mailbox in order, in a list that can be copied at the price of its chunks and changed
//! at the price of one of them: a session keeps its copy while the list goes on changing.

use std::sync::Arc;

use crate::maildir::{Found, Place, name};

/// Messages in the order of [`name::order`], by identity, then inode.
#[derive(Debug, Clone, Default)]
pub struct List {
    chunks: Vec<Arc<Chunk>>,
    total: u64,
    length: usize,
    memory: usize,
}

/// Some neighbours; never empty.
#[derive(Debug, Clone)]
struct Chunk {
    messages: Vec<Found>,
}

/// Where a message is: chunk, and position in it.
type At = (usize, usize);

impl List {
    /// The list of these messages.
    pub fn of(mut messages: Vec<Found>) -> Self {
        messages.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        let (total, length) = (messages.iter().map(|message| message.octets).sum(), messages.len());
        let memory = messages.iter().map(memory).sum();
        let mut chunks = Vec::with_capacity(length / FULL + 1);
        let mut rest = messages.into_iter().peekable();
        while rest.peek().is_some() {
            // Half full, so that there is room for what comes.
            chunks.push(Arc::new(Chunk { messages: rest.by_ref().take(FULL / 2).collect() }));
        }
        Self { chunks, total, length, memory }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Octets of all messages together.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes of memory that the messages take.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// The messages in order.
    pub fn iter(&self) -> impl Iterator<Item = &Found> {
        self.chunks.iter().flat_map(|chunk| &chunk.messages)
    }

    /// Where each chunk begins, counted in messages.
    pub(super) fn starts(&self) -> Vec<usize> {
        let lengths = self.chunks.iter().map(|chunk| chunk.messages.len());
        lengths.scan(0, |start, length| Some(std::mem::replace(start, *start + length))).collect()
    }

    /// The message at a position of a chunk.
    pub(super) fn get(&self, (chunk, offset): At) -> Option<&Found> {
        self.chunks.get(chunk)?.messages.get(offset)
    }

    /// Puts a message in its place. It takes the place of what has its identity and its inode, or its very
    /// name: twice the same does nothing.
    pub fn put(&mut self, found: Found) {
        let same = |other: &Found| {
            other.stamp.inode == found.stamp.inode || (other.place == found.place && other.name == found.name)
        };
        while let Some(at) = self.find(name::identity(&found.name), same) {
            // More than one can fit: a name that now belongs to the file that another name had.
            if self.get(at) == Some(&found) {
                return;
            }
            self.take(at);
        }
        self.insert(found);
    }

    /// Takes out what has that name in that place: nothing, if it is known by another name now.
    pub fn remove(&mut self, place: Place, name: &[u8]) {
        if let Some(at) =
            self.find(name::identity(name), |found| found.place == place && *found.name == *name)
        {
            self.take(at);
        }
    }

    /// The first message of an identity that `is` it.
    fn find(&self, identity: &[u8], is: impl Fn(&Found) -> bool) -> Option<At> {
        let first = name::order(identity);
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk.messages.last().is_some_and(|last| order(last) < first));
        let offset = self.chunks.get(chunk)?.messages.partition_point(|found| order(found) < first);
        let mut at = (chunk, offset);
        while at.0 < self.chunks.len() {
            match self.get(at) {
                Some(found) if order(found) != first => return None,
                Some(found) if is(found) => return Some(at),
                Some(_) => at.1 += 1,
                None => at = (at.0 + 1, 0),
            }
        }
        None
    }

    fn take(&mut self, (chunk, offset): At) {
        let messages = &mut Arc::make_mut(&mut self.chunks[chunk]).messages;
        let gone = messages.remove(offset);
        if messages.is_empty() {
            self.chunks.remove(chunk);
        }
        self.total -= gone.octets;
        self.length -= 1;
        self.memory -= memory(&gone);
    }

    fn insert(&mut self, found: Found) {
        self.total += found.octets;
        self.length += 1;
        self.memory += memory(&found);
        let after = self
            .chunks
            .partition_point(|chunk| chunk.messages.last().is_some_and(|last| key(last) < key(&found)));
        // What is newer than everything goes to the end of the last chunk.
        let at = after.min(self.chunks.len().saturating_sub(1));
        let Some(chunk) = self.chunks.get_mut(at).map(Arc::make_mut) else {
            self.chunks.push(Arc::new(Chunk { messages: vec![found] }));
            return;
        };
        let offset = chunk.messages.partition_point(|other| key(other) < key(&found));
        chunk.messages.insert(offset, found);
        if chunk.messages.len() > FULL {
            let upper = chunk.messages.split_off(FULL / 2);
            self.chunks.insert(at + 1, Arc::new(Chunk { messages: upper }));
        }
    }

    /// Checks what must always hold.
    pub fn check(&self) {
        debug_assert_eq!(self.length, self.iter().count());
        debug_assert_eq!(self.total, self.iter().map(|message| message.octets).sum::<u64>());
        debug_assert_eq!(self.memory, self.iter().map(memory).sum::<usize>());
        debug_assert!(self.chunks.iter().all(|chunk| (1..=FULL).contains(&chunk.messages.len())));
        debug_assert!(self.iter().map(key).is_sorted());
    }
}

/// The order of messages with one identity among all.
fn order(found: &Found) -> (u64, u64, &[u8]) {
    name::order(name::identity(&found.name))
}

/// The order of messages: it does not change with flags and moves.
fn key(found: &Found) -> ((u64, u64, &[u8]), u64) {
    (order(found), found.stamp.inode)
}

fn memory(found: &Found) -> usize {
    size_of::<Found>() + found.name.len()
}

/// Messages in a chunk at most: what one change copies while a session holds the list.
const FULL: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::maildir::scan::Stamp;

    fn found(name: &str, place: Place, inode: u64, octets: u64) -> Found {
        Found {
            name: name.as_bytes().into(),
            place,
            stamp: Stamp { inode, bytes: octets, modified: (0, 0) },
            octets,
        }
    }

    fn names(list: &List) -> Vec<String> {
        list.iter().map(|found| String::from_utf8_lossy(&found.name).into_owned()).collect()
    }

    #[test]
    fn a_message_put_twice_is_there_once_under_its_latest_name() {
        let mut list = List::default();
        list.put(found("1.M1.h", Place::New, 7, 10));
        list.put(found("1.M1.h", Place::New, 7, 10));
        list.put(found("1.M1.h:2,S", Place::Cur, 7, 10));
        list.check();
        assert_eq!((names(&list), list.total()), (vec!["1.M1.h:2,S".to_string()], 10));
        list.remove(Place::New, b"1.M1.h"); // the late half of the move
        assert_eq!(list.len(), 1);
        list.remove(Place::Cur, b"1.M1.h:2,S");
        assert!(list.is_empty());
        list.check();
    }

    #[test]
    fn a_file_that_replaces_another_takes_its_place() {
        let mut list = List::of(vec![found("1.x", Place::New, 7, 10)]);
        list.put(found("1.x", Place::New, 8, 20));
        assert_eq!((list.len(), list.total()), (1, 20));
        list.check();
    }

    #[test]
    fn two_files_of_one_identity_are_two_messages() {
        let mut list = List::of(vec![found("1.x", Place::New, 7, 10)]);
        list.put(found("1.x:2,S", Place::Cur, 8, 20));
        list.check();
        assert_eq!(names(&list), ["1.x", "1.x:2,S"]);
    }

    #[test]
    fn a_copy_does_not_see_what_comes_after_it() {
        let mut list = List::of((0..2000).map(|n| found(&format!("{n}.x"), Place::New, n, 1)).collect());
        let copy = list.clone();
        list.put(found("700.M5.y", Place::New, 9999, 1));
        list.remove(Place::New, b"3.x");
        assert_eq!((copy.len(), list.len()), (2000, 2000));
        assert!(copy.iter().all(|found| found.stamp.inode != 9999));
        list.check();
        copy.check();
    }

    proptest! {
        #[test]
        fn any_changes_lead_to_what_a_plain_map_says(steps in prop::collection::vec((0u64..300, 0u8..4, any::<bool>()), 0..1500)) {
            let mut list = List::default();
            let mut plain = std::collections::BTreeMap::new();
            for (id, what, flagged) in steps {
                let (place, name) = if flagged { (Place::Cur, format!("{id}.x:2,S")) } else { (Place::New, format!("{id}.x")) };
                if what == 0 {
                    list.remove(place, name.as_bytes());
                    if plain.get(&id) == Some(&name) {
                        plain.remove(&id);
                    }
                } else {
                    list.put(found(&name, place, id, id));
                    plain.insert(id, name);
                }
            }
            list.check();
            prop_assert_eq!(names(&list), plain.into_values().collect::<Vec<_>>());
        }
    }
}
