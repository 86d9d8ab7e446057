//! The messages of a mailbox in order, in a list that can be copied at the price of its chunks and changed
//! at the price of one of them: a session keeps its copy while the list goes on changing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::maildir::{Found, Place, message::Named, name};

/// Messages in the order of [`name::order`], by identity, then inode.
#[derive(Debug, Clone, Default)]
pub struct List {
    chunks: Vec<Arc<Chunk>>,
    /// Names of identities that have several.
    names: Arc<Names>,
    total: u64,
    length: usize,
    memory: usize,
}

/// The names of identities that have more than one, so that the price of a change does not grow with them: anybody
/// who may write to a mailbox can give one identity to as many files as it holds.
#[derive(Debug, Clone, Default)]
struct Names {
    /// Further names of a file, by its inode and identity: a mover that links first and unlinks then leaves two
    /// for a moment, and a file is one message however many names of one identity it has.
    further: BTreeMap<(u64, Box<[u8]>), BTreeSet<Named>>,
    /// The inode that bears a name, by its place: of every message that is not the only one of its identity, and
    /// of every further name.
    bearers: [BTreeMap<Box<[u8]>, u64>; 2],
}

impl Names {
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.further.is_empty() && self.bearers.iter().all(BTreeMap::is_empty)
    }

    fn bearer(&self, place: Place, name: &[u8]) -> Option<u64> {
        self.bearers[place as usize].get(name).copied()
    }

    fn bear(&mut self, place: Place, name: &[u8], inode: u64) {
        self.bearers[place as usize].insert(name.into(), inode);
    }

    fn add_further(&mut self, inode: u64, (place, name): Named) {
        self.bear(place, &name, inode);
        self.further.entry((inode, name::identity(&name).into())).or_default().insert((place, name));
    }

    fn remove_further(&mut self, inode: u64, name: &Named) {
        let key = (inode, name::identity(&name.1).into());
        if let Some(names) = self.further.get_mut(&key)
            && names.remove(name)
        {
            self.bearers[name.0 as usize].remove(&name.1);
            if names.is_empty() {
                self.further.remove(&key);
            }
        }
    }

    /// Takes any further name of a file out.
    fn take_further(&mut self, inode: u64, identity: &[u8]) -> Option<Named> {
        let key = (inode, identity.into());
        let names = self.further.get_mut(&key)?;
        let name = names.pop_first();
        if names.is_empty() {
            self.further.remove(&key);
        }
        if let Some((place, name)) = &name {
            self.bearers[*place as usize].remove(name);
        }
        name
    }
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
        let mut names = Names::default();
        messages.dedup_by(|second, first| {
            let same = key(second) == key(first);
            if same && !is_named(second, first.place, &first.name) {
                names.add_further(first.stamp.inode, (second.place, std::mem::take(&mut second.name)));
            }
            same
        });
        // A name that was given to another file under the walk is borne by one of them.
        let doubled: Vec<bool> = {
            let same = |one: &Found, other: &Found| name::identity(&one.name) == name::identity(&other.name);
            let next = messages.windows(2).map(|pair| same(&pair[0], &pair[1])).chain([false]);
            let mut last = false;
            next.map(|next| std::mem::replace(&mut last, next) || next).collect()
        };
        let mut doubled = doubled.into_iter();
        messages.retain(|found| {
            if !doubled.next().unwrap_or(false) {
                return true;
            }
            let is_free = names.bearer(found.place, &found.name).is_none();
            if is_free {
                names.bear(found.place, &found.name, found.stamp.inode);
            }
            is_free
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
        Self { chunks, names: Arc::new(names), total, length, memory }
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

    /// A copy for somebody who reads messages and changes nothing: names of several stay behind, so that a
    /// change costs no copy of them.
    #[must_use]
    pub fn to_read(&self) -> Self {
        Self { names: Arc::default(), chunks: self.chunks.clone(), ..*self }
    }

    /// What is in this list and not in `other`.
    pub fn without(&self, other: &Self) -> Vec<Found> {
        let mut others = other.iter().peekable();
        let is_missing = |found: &&Found| {
            while others.next_if(|other| key(other) < key(found)).is_some() {}
            others.peek().is_none_or(|other| key(other) != key(found))
        };
        self.iter().filter(is_missing).cloned().collect()
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
        if self.bearer(found.place, &found.name).is_some_and(|other| other != inode) {
            self.remove(found.place, &found.name);
        }
        if let Some(at) = self.find(identity, inode) {
            if self.get(at) == Some(&found) {
                return;
            }
            let Found { name, place, .. } = self.take(at);
            if (place, &name) != (found.place, &found.name) {
                let names = Arc::make_mut(&mut self.names);
                names.remove_further(inode, &(found.place, found.name.clone()));
                names.add_further(inode, (place, name));
            }
        }
        self.insert(found);
    }

    /// Takes out what has that name in that place: nothing, if it is known by another name now.
    pub fn remove(&mut self, place: Place, name: &[u8]) {
        let Some(inode) = self.bearer(place, name) else { return };
        let identity = name::identity(name);
        let Some(at) = self.find(identity, inode) else { return };
        if self.get(at).is_some_and(|found| is_named(found, place, name)) {
            let gone = self.take(at);
            // A hard link of another identity is another message, with further names of its own.
            let next = (!self.names.further.is_empty())
                .then(|| Arc::make_mut(&mut self.names).take_further(inode, identity));
            if let Some((place, name)) = next.flatten() {
                self.insert(Found { place, name, ..gone });
            }
        } else {
            Arc::make_mut(&mut self.names).remove_further(inode, &(place, name.into()));
        }
    }

    /// The inode of the file that bears that name, as the listed or as a further one.
    fn bearer(&self, place: Place, name: &[u8]) -> Option<u64> {
        let first = self.get(self.first(name::identity(name))?)?;
        if is_named(first, place, name) {
            return Some(first.stamp.inode);
        }
        self.names.bearer(place, name)
    }

    /// The message of that identity that is this file.
    pub fn file(&self, identity: &[u8], inode: u64) -> Option<&Found> {
        self.get(self.find(identity, inode)?)
    }

    /// The message that has that name now, or has it too.
    pub fn named(&self, place: Place, name: &[u8]) -> Option<&Found> {
        self.file(name::identity(name), self.bearer(place, name)?)
    }

    /// The messages of an identity.
    pub fn of_identity<'a>(&'a self, identity: &'a [u8]) -> impl Iterator<Item = &'a Found> {
        let (chunk, offset) = self.first(identity).unwrap_or((self.chunks.len(), 0));
        let chunks = self.chunks.get(chunk..).unwrap_or_default().iter();
        let messages = chunks.flat_map(|chunk| &chunk.messages).skip(offset);
        messages.take_while(move |found| name::identity(&found.name) == identity)
    }

    /// The identities that more than one message has.
    pub fn doubles(&self) -> impl Iterator<Item = &[u8]> {
        let identities = || self.iter().map(|found| name::identity(&found.name));
        identities().zip(identities().skip(1)).filter(|(one, next)| one == next).map(|(one, _)| one)
    }

    /// The first message of an identity.
    fn first(&self, identity: &[u8]) -> Option<At> {
        let at = self.position((name::order(identity), 0))?;
        (name::identity(&self.get(at)?.name) == identity).then_some(at)
    }

    fn find(&self, identity: &[u8], inode: u64) -> Option<At> {
        let wanted = (name::order(identity), inode);
        self.position(wanted).filter(|at| self.get(*at).is_some_and(|found| key(found) == wanted))
    }

    /// Where the first message is that is not before that one.
    fn position(&self, wanted: ((u64, u64, &[u8]), u64)) -> Option<At> {
        let before = |found: &Found| key(found) < wanted;
        let chunk = self.chunks.partition_point(|chunk| chunk.messages.last().is_some_and(before));
        Some((chunk, self.chunks.get(chunk)?.messages.partition_point(before)))
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
        if self.names.bearer(gone.place, &gone.name).is_some() {
            Arc::make_mut(&mut self.names).bearers[gone.place as usize].remove(&gone.name);
        }
        gone
    }

    /// Notes by name the message of an identity that has come, and the one that was alone until then.
    fn note_doubles(&mut self, found: &Found) {
        let (two, were_alone) = {
            let mut others = self.of_identity(name::identity(&found.name));
            let (Some(first), Some(second)) = (others.next(), others.next()) else { return };
            let two = [first, second].map(|found| (found.place, found.name.clone(), found.stamp.inode));
            (two, others.next().is_none())
        };
        let names = Arc::make_mut(&mut self.names);
        for (place, name, inode) in two.into_iter().filter(|_| were_alone) {
            names.bear(place, &name, inode);
        }
        names.bear(found.place, &found.name, found.stamp.inode);
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
        chunk.messages.insert(offset, found.clone());
        if chunk.messages.len() > FULL {
            let upper = chunk.messages.split_off(FULL / 2);
            self.chunks.insert(at + 1, Arc::new(Chunk { messages: upper }));
        }
        self.note_doubles(&found);
    }

    /// Checks what must always hold.
    pub fn check(&self) {
        debug_assert_eq!(self.length, self.iter().count());
        debug_assert_eq!(self.total, self.iter().map(|message| message.octets).sum::<u64>());
        debug_assert_eq!(self.memory, self.iter().map(memory).sum::<usize>());
        debug_assert!(self.chunks.iter().all(|chunk| (1..=FULL).contains(&chunk.messages.len())));
        debug_assert!(self.iter().map(key).is_sorted());
        let is_double = |found: &Found| self.of_identity(name::identity(&found.name)).nth(1).is_some();
        let bears = |found: &Found| self.names.bearer(found.place, &found.name) == Some(found.stamp.inode);
        debug_assert!(self.iter().filter(|found| is_double(found)).all(bears));
        let further =
            || self.names.further.iter().flat_map(|((inode, _), names)| names.iter().map(|n| (*inode, n)));
        debug_assert!(further().all(|(inode, (place, name))| self.names.bearer(*place, name) == Some(inode)));
        debug_assert!(
            self.names.bearers.iter().map(BTreeMap::len).sum::<usize>() <= self.length + further().count()
        );
    }
}

fn is_named(found: &Found, place: Place, name: &[u8]) -> bool {
    found.place == place && *found.name == *name
}

/// The order of messages with one identity among all.
fn order(found: &Found) -> (u64, u64, &[u8]) {
    #[cfg(test)]
    tests::ORDERS.set(tests::ORDERS.get() + 1);
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
    use std::{
        cell::Cell,
        collections::{BTreeMap, BTreeSet},
    };

    use proptest::prelude::*;

    use super::*;
    use crate::{
        mailbox::{Index, names::Names as DirtyNames},
        maildir::scan::{MOST_KNOWN, Stamp},
    };

    thread_local! {
        /// How many messages were compared.
        pub(super) static ORDERS: Cell<u64> = const { Cell::new(0) };
    }

    /// Messages compared by each of so many changes, at most about.
    fn compared(changes: u64, change: impl FnOnce()) -> u64 {
        let before = ORDERS.get();
        change();
        (ORDERS.get() - before) / changes
    }

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
        assert!(list.is_empty() && list.names.is_empty());
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
            assert!(list.is_empty() && list.names.is_empty());
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
    fn a_change_costs_no_more_the_more_files_one_identity_has() {
        for files in [512, 1024, 2048, 4096_u64] {
            let name = |n: u64, flags: &str| format!("1700000000.same.host:2,a{n}{flags}");
            let file = |n: u64, flags: &str| found(&name(n, flags), Place::Cur, n, 1);
            let mut list = List::of((0..files).map(|n| file(n, "")).collect());
            let most = 16 * u64::from(files.ilog2());
            let moved = compared(files, || (0..files).rev().for_each(|n| list.put(file(n, "S"))));
            let late =
                compared(files, || (0..files).for_each(|n| list.remove(Place::Cur, name(n, "").as_bytes())));
            list.check();
            assert_eq!((list.len() as u64, list.names.further.is_empty()), (files, true));
            let gone =
                compared(files, || (0..files).for_each(|n| list.remove(Place::Cur, name(n, "S").as_bytes())));
            assert!(list.is_empty() && list.names.is_empty());
            assert!(moved < most && late < most && gone < most, "{files}: {moved}, {late}, {gone} of {most}");
        }
    }

    #[test]
    fn what_a_walk_missed_is_kept_and_removed_at_a_price_that_grows_with_it_only() {
        for files in [2000, 4000_u64] {
            let name = |n: u64| format!("1700000000.same.host:2,a{n}");
            let file = |n: u64| found(&name(n), Place::Cur, n, 1);
            let before = List::of((0..files).map(file).collect());
            let named = |n: u64| (Place::Cur, name(n).into_bytes().into());
            let told: Vec<Named> = (0..files).map(named).collect();
            let mut dirty = DirtyNames::default();
            dirty.extend(told.iter().cloned());
            let most = 16 * u64::from(files.ilog2());
            let (mut index, mut missing, mut kept) = (Index::default(), Vec::new(), Vec::new());
            let missed = compared(files, || missing = before.without(index.list()));
            let keeping = compared(files, || kept = index.keep_moving(missing, &dirty));
            assert_eq!((kept.len(), index.list().len()), (told.len(), told.len()));
            let seen = compared(files, || assert!(before.without(index.list()).is_empty()));
            let looking = compared(files, || {
                let all_few =
                    told.iter().all(|(place, name)| index.known(*place, name).len() <= 1 + MOST_KNOWN);
                assert!(all_few);
            });
            let gone = compared(files, || index.remove(&told));
            assert!(index.list().is_empty());
            let prices = [missed, keeping, seen, looking, gone];
            assert!(prices.iter().all(|price| *price < most), "{files}: {prices:?} of {most}");
        }
    }

    #[test]
    fn a_file_of_many_names_is_one_message_until_the_last_of_them_is_gone() {
        const NAMES: u64 = 5000;
        let name = |n: u64| format!("1.same:2,a{n}");
        let scanned = List::of((0..NAMES).map(|n| found(&name(n), Place::Cur, 7, 10)).collect());
        let mut told = List::default();
        (0..NAMES).for_each(|n| told.put(found(&name(n), Place::Cur, 7, 10)));
        for mut list in [scanned, told] {
            assert_eq!((list.len(), list.total()), (1, 10));
            (0..NAMES - 1).for_each(|n| list.remove(Place::Cur, name(n).as_bytes()));
            assert_eq!(names(&list), [name(NAMES - 1)]);
            list.remove(Place::Cur, name(NAMES - 1).as_bytes());
            assert!(list.is_empty() && list.names.is_empty());
        }
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
