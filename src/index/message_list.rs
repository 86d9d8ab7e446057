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
mod tests;
