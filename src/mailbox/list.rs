//! The messages of a mailbox in order, in a list that can be copied at the price of its chunks and changed
//! at the price of one of them: a session keeps its copy while the list goes on changing.

use std::{collections::HashMap, sync::Arc};

use crate::maildir::{Found, Place, message::Named, name};

/// Messages in the order of [`name::order`], by identity, then inode.
#[derive(Debug, Clone, Default)]
pub struct List {
    chunks: Vec<Arc<Chunk>>,
    /// Further names of a file, by its inode: a mover that links first and unlinks then leaves two for a
    /// moment, and a file is one message however many names of one identity it has.
    further: HashMap<u64, Vec<Named>>,
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
        // The numbers are read out of each name once, and not at each comparison.
        let numbers = |found: &Found| (order(found).0, order(found).1);
        messages.sort_by_cached_key(numbers);
        for tied in messages.chunk_by_mut(|a, b| numbers(a) == numbers(b)) {
            tied.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        }
        let mut further: HashMap<u64, Vec<Named>> = HashMap::new();
        messages.dedup_by(|second, first| {
            let same = key(second) == key(first);
            if same && !is_named(second, first.place, &first.name) {
                let name = (second.place, std::mem::take(&mut second.name));
                further.entry(first.stamp.inode).or_default().push(name);
            }
            same
        });
        let (total, length) =
            (messages.iter().map(|message| message.octets).fold(0, u64::wrapping_add), messages.len());
        let memory = messages.iter().map(memory).sum();
        let mut chunks = Vec::with_capacity(length / FULL + 1);
        let mut rest = messages.into_iter().peekable();
        while rest.peek().is_some() {
            // Half full, so that there is room for what comes.
            chunks.push(Arc::new(Chunk { messages: rest.by_ref().take(FULL / 2).collect() }));
        }
        Self { chunks, further, total, length, memory }
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

    /// Puts a message in its place. A file that is there by another name gets this one; another file of
    /// this name goes. Twice the same does nothing.
    pub fn put(&mut self, found: Found) {
        let (inode, identity) = (found.stamp.inode, name::identity(&found.name));
        let has_its_name =
            |other: &Found| other.stamp.inode != inode && self.has_name(other, found.place, &found.name);
        if self.find(identity, has_its_name).is_some() {
            self.remove(found.place, &found.name);
        }
        if let Some(at) = self.find(identity, |other| other.stamp.inode == inode) {
            if self.get(at) == Some(&found) {
                return;
            }
            let Found { name, place, .. } = self.take(at);
            if (place, &name) != (found.place, &found.name) {
                self.further.entry(inode).or_default().push((place, name));
                self.take_further(inode, |(place, name)| is_named(&found, *place, name));
            }
        }
        self.insert(found);
    }

    /// Takes out what has that name in that place: nothing, if it is known by another name now.
    pub fn remove(&mut self, place: Place, name: &[u8]) {
        let identity = name::identity(name);
        if let Some(at) = self.find(identity, |found| is_named(found, place, name)) {
            let gone = self.take(at);
            // A hard link of another identity is another message, with further names of its own.
            let is_its = |(_, other): &Named| name::identity(other) == identity;
            if let Some((place, name)) = self.take_further(gone.stamp.inode, is_its) {
                self.insert(Found { place, name, ..gone });
            }
            return;
        }
        let bearer = self.find(identity, |found| self.has_name(found, place, name));
        if let Some(inode) = bearer.and_then(|at| Some(self.get(at)?.stamp.inode)) {
            self.take_further(inode, |(other, other_name)| (*other, &**other_name) == (place, name));
        }
    }

    /// Whether the file bears that name, as the listed or as a further one.
    fn has_name(&self, found: &Found, place: Place, name: &[u8]) -> bool {
        let mut further = self.further.get(&found.stamp.inode).into_iter().flatten();
        is_named(found, place, name)
            || further.any(|(other, other_name)| (*other, &**other_name) == (place, name))
    }

    /// The messages of an identity.
    pub fn of_identity<'a>(&'a self, identity: &'a [u8]) -> impl Iterator<Item = &'a Found> {
        let first = self.find(identity, |_| true);
        let (chunk, offset) = first.unwrap_or((self.chunks.len(), 0));
        let chunks = self.chunks.get(chunk..).unwrap_or_default().iter();
        let messages = chunks.flat_map(|chunk| &chunk.messages).skip(offset);
        messages.take_while(move |found| name::identity(&found.name) == identity)
    }

    /// The identities that more than one message has.
    pub fn doubles(&self) -> impl Iterator<Item = &[u8]> {
        let identities = || self.iter().map(|found| name::identity(&found.name));
        identities().zip(identities().skip(1)).filter(|(one, next)| one == next).map(|(one, _)| one)
    }

    /// Takes a further name of a file that is such a one.
    fn take_further(&mut self, inode: u64, is: impl Fn(&Named) -> bool) -> Option<Named> {
        let names = self.further.get_mut(&inode)?;
        let name = names.iter().position(is).map(|at| names.swap_remove(at));
        if names.is_empty() {
            self.further.remove(&inode);
        }
        name
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

    fn take(&mut self, (chunk, offset): At) -> Found {
        let messages = &mut Arc::make_mut(&mut self.chunks[chunk]).messages;
        let gone = messages.remove(offset);
        if messages.is_empty() {
            self.chunks.remove(chunk);
        }
        self.total = self.total.wrapping_sub(gone.octets);
        self.length -= 1;
        self.memory -= memory(&gone);
        gone
    }

    fn insert(&mut self, found: Found) {
        self.total = self.total.wrapping_add(found.octets);
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

fn is_named(found: &Found, place: Place, name: &[u8]) -> bool {
    found.place == place && *found.name == *name
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
    use std::collections::{BTreeMap, BTreeSet};

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
        assert!(list.is_empty() && list.further.is_empty());
        list.check();
    }

    #[test]
    fn a_file_with_two_names_is_one_message_until_both_are_gone() {
        let (new, cur) = (found("1.x", Place::New, 7, 10), found("1.x:2,S", Place::Cur, 7, 10));
        let scanned = List::of(vec![new.clone(), cur.clone(), new.clone()]);
        let mut told = List::default();
        told.put(new.clone());
        told.put(cur.clone());
        for mut list in [scanned, told] {
            assert_eq!((list.len(), list.total()), (1, 10));
            list.remove(cur.place, &cur.name);
            assert_eq!(names(&list), ["1.x"]);
            list.remove(new.place, &new.name);
            assert!(list.is_empty() && list.further.is_empty());
            list.check();
        }
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
    fn a_file_that_is_two_messages_is_not_three_when_one_of_them_moves() {
        let mut list = List::of(vec![found("1.x", Place::New, 7, 10), found("2.y:2,S", Place::Cur, 7, 10)]);
        list.put(found("1.x:2,S", Place::Cur, 7, 10));
        list.remove(Place::Cur, b"2.y:2,S");
        assert_eq!(names(&list), ["1.x:2,S"]);
        list.remove(Place::New, b"1.x");
        assert_eq!(names(&list), ["1.x:2,S"]);
        list.check();
    }

    #[test]
    fn a_list_of_many_is_in_the_order_of_one_that_grew() {
        let names = ["7.M2.x", "y", "7.M2.a", "10.x", "7.M10.a", "x", "7.x", "007.M2.a", "7.M2.x:2,S"];
        let files: Vec<Found> =
            (0..).zip(names).map(|(inode, name)| found(name, Place::New, 9 - inode, 1)).collect();
        let mut grown = List::default();
        files.iter().for_each(|file| grown.put(file.clone()));
        let list = List::of(files);
        list.check();
        assert!(list.iter().eq(grown.iter()), "{:?} {:?}", self::names(&list), self::names(&grown));
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
        fn any_changes_lead_to_what_a_plain_set_of_names_says(steps in prop::collection::vec((0u64..300, 0u8..4, any::<bool>(), 0u64..2), 0..1500)) {
            let mut list = List::default();
            let mut plain = BTreeMap::new();
            for (id, what, flagged, file) in steps {
                let (place, name) = if flagged { (Place::Cur, format!("{id}.x:2,S")) } else { (Place::New, format!("{id}.x")) };
                if what == 0 {
                    list.remove(place, name.as_bytes());
                    plain.remove(&(place, name));
                } else {
                    let inode = 2 * id + file;
                    list.put(found(&name, place, inode, inode));
                    plain.insert((place, name), inode);
                }
            }
            list.check();
            let files: BTreeSet<u64> = plain.values().copied().collect();
            prop_assert_eq!(list.iter().map(|found| found.stamp.inode).collect::<BTreeSet<_>>(), files.clone());
            prop_assert_eq!(list.len(), files.len());
            for found in list.iter() {
                let name = String::from_utf8(found.name.to_vec()).unwrap();
                prop_assert_eq!(plain.get(&(found.place, name)), Some(&found.stamp.inode));
            }
        }
    }
}
