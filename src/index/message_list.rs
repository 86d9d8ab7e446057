//! The messages of a mailbox in order, in chunks. A copy costs one pointer for each chunk, and a change copies one
//! chunk: a session keeps its copy while the list changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::maildir::{FileName, MessageEntry, Subdir, name};

/// Messages in the order of [`name::sort_key`], by identity, then inode.
#[derive(Debug, Clone, Default)]
pub struct MessageList {
    chunks: Vec<Arc<Chunk>>,
    /// The names of identities that have several messages.
    names: Arc<NameIndex>,
    total: u64,
    length: usize,
    memory: usize,
    /// The number of changes so far.
    revision: u64,
}

/// An index of the names whose identity has several. It keeps the cost of a change independent of their number: any user
/// who can write to a mailbox may give all its files the same identity.
#[derive(Debug, Clone, Default)]
struct NameIndex {
    /// Extra names of a file, by its inode and identity. A program that moves a file by link and unlink leaves two names
    /// for a moment. A file with several names of one identity is one message.
    extra_names: BTreeMap<(u64, Box<[u8]>), BTreeSet<FileName>>,
    /// The inode of each name, by subdirectory: for every message that shares its identity, and for every extra
    /// name.
    inodes: [BTreeMap<Box<[u8]>, u64>; 2],
}

impl NameIndex {
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.extra_names.is_empty() && self.inodes.iter().all(BTreeMap::is_empty)
    }

    fn inode_of(&self, subdir: Subdir, name: &[u8]) -> Option<u64> {
        self.inodes[subdir as usize].get(name).copied()
    }

    fn set_inode(&mut self, subdir: Subdir, name: &[u8], inode: u64) {
        self.inodes[subdir as usize].insert(name.into(), inode);
    }

    fn add_extra_name(&mut self, inode: u64, (subdir, name): FileName) {
        self.set_inode(subdir, &name, inode);
        self.extra_names.entry((inode, name::identity(&name).into())).or_default().insert((subdir, name));
    }

    fn remove_extra_name(&mut self, inode: u64, name: &FileName) {
        let key = (inode, name::identity(&name.1).into());
        if let Some(names) = self.extra_names.get_mut(&key)
            && names.remove(name)
        {
            self.inodes[name.0 as usize].remove(&name.1);
            if names.is_empty() {
                self.extra_names.remove(&key);
            }
        }
    }

    /// Removes and returns one extra name of a file.
    fn take_extra_name(&mut self, inode: u64, identity: &[u8]) -> Option<FileName> {
        let key = (inode, identity.into());
        let names = self.extra_names.get_mut(&key)?;
        let name = names.pop_first();
        if names.is_empty() {
            self.extra_names.remove(&key);
        }
        if let Some((subdir, name)) = &name {
            self.inodes[*subdir as usize].remove(name);
        }
        name
    }
}

/// Adjacent messages of the list, at least one.
#[derive(Debug, Clone)]
struct Chunk {
    messages: Vec<MessageEntry>,
}

/// A message whose name is parsed once, and not at each comparison.
struct Parsed {
    /// The seconds and microseconds of the name.
    numbers: (u64, u64),
    identity_length: usize,
    found: MessageEntry,
}

impl From<MessageEntry> for Parsed {
    fn from(found: MessageEntry) -> Self {
        let (seconds, micros, identity) = identity_sort_key(&found);
        Self { numbers: (seconds, micros), identity_length: identity.len(), found }
    }
}

impl Parsed {
    fn identity(&self) -> &[u8] {
        &self.found.name[..self.identity_length]
    }

    /// The same order as that of [`sort_key`].
    fn sort_key(&self) -> ((u64, u64), &[u8], u64) {
        (self.numbers, self.identity(), self.found.version.inode)
    }
}

/// The position of a message: chunk, and index in it.
pub(super) type Position = (usize, usize);

impl MessageList {
    /// Creates the list of these messages.
    pub fn from_messages(messages: Vec<MessageEntry>) -> Self {
        let mut messages: Vec<Parsed> = messages.into_iter().map(Parsed::from).collect();
        messages.sort_unstable_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        let mut names = NameIndex::default();
        messages.dedup_by(|second, first| {
            let same = second.sort_key() == first.sort_key();
            let (second, first) = (&mut second.found, &first.found);
            if same && !is_named(second, first.subdir, &first.name) {
                names.add_extra_name(first.version.inode, (second.subdir, std::mem::take(&mut second.name)));
            }
            same
        });
        // If another program gave the name of one file to a second one during the scan, the scan saw it on both. One of
        // them keeps it here.
        let doubled: Vec<bool> = {
            let same = |one: &Parsed, other: &Parsed| {
                one.numbers == other.numbers && one.identity() == other.identity()
            };
            let next = messages.windows(2).map(|pair| same(&pair[0], &pair[1])).chain([false]);
            let mut last = false;
            next.map(|next| std::mem::replace(&mut last, next) || next).collect()
        };
        let mut doubled = doubled.into_iter();
        messages.retain(|Parsed { found, .. }| {
            if !doubled.next().unwrap_or(false) {
                return true;
            }
            let is_free = names.inode_of(found.subdir, &found.name).is_none();
            if is_free {
                names.set_inode(found.subdir, &found.name, found.version.inode);
            }
            is_free
        });
        let messages = messages.into_iter().map(|message| message.found);
        let length = messages.len();
        let (mut total, mut memory_used) = (0_u64, 0);
        let mut chunks = Vec::with_capacity(length / MAX_CHUNK + 1);
        let mut rest = messages
            .inspect(|message| {
                total = total.wrapping_add(message.octets);
                memory_used += memory(message);
            })
            .peekable();
        while rest.peek().is_some() {
            // Chunks are half full, so that new messages find room.
            chunks.push(Arc::new(Chunk { messages: rest.by_ref().take(MAX_CHUNK / 2).collect() }));
        }
        Self { chunks, names: Arc::new(names), total, length, memory: memory_used, revision: 0 }
    }

    /// The number of changes so far.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.length
    }

    /// True if it has no message.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Octets of all messages together.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes of memory that the messages take.
    pub fn memory_of(&self) -> usize {
        self.memory
    }

    /// Returns a copy for reading only. It lacks the names of shared identities, so that a change of the list does
    /// not copy them.
    #[must_use]
    pub fn read_only_copy(&self) -> Self {
        Self { names: Arc::default(), chunks: self.chunks.clone(), ..*self }
    }

    /// The messages of this list that are not in `other`.
    pub fn difference(&self, other: &Self) -> Vec<MessageEntry> {
        let mut others = other.iter().peekable();
        let is_missing = |found: &&MessageEntry| {
            while others.next_if(|other| sort_key(other) < sort_key(found)).is_some() {}
            others.peek().is_none_or(|other| sort_key(other) != sort_key(found))
        };
        self.iter().filter(is_missing).cloned().collect()
    }

    /// The messages in the order of POP3 numbers.
    pub fn iter(&self) -> impl Iterator<Item = &MessageEntry> {
        self.chunks.iter().flat_map(|chunk| &chunk.messages)
    }

    /// The messages in the same order, some at a time. Two lists that share a part of their messages have the same slices
    /// of memory for it.
    pub(super) fn chunks(&self) -> impl ExactSizeIterator<Item = &[MessageEntry]> {
        self.chunks.iter().map(|chunk| &*chunk.messages)
    }

    /// The number of the first message in each chunk.
    pub(super) fn chunk_starts(&self) -> Vec<usize> {
        let lengths = self.chunks.iter().map(|chunk| chunk.messages.len());
        lengths.scan(0, |start, length| Some(std::mem::replace(start, *start + length))).collect()
    }

    /// The message at a position of a chunk.
    pub(super) fn get(&self, (chunk, offset): Position) -> Option<&MessageEntry> {
        self.chunks.get(chunk)?.messages.get(offset)
    }

    /// Inserts a message in order. If the file is in the list by another name, it gets this one; another file of
    /// this name is removed. A second call with the same message changes nothing.
    pub fn upsert(&mut self, found: MessageEntry) {
        let (inode, identity) = (found.version.inode, name::identity(&found.name));
        if self.inode_of(found.subdir, &found.name).is_some_and(|other| other != inode) {
            self.remove(found.subdir, &found.name);
        }
        if let Some(at) = self.find(identity, inode) {
            if self.get(at) == Some(&found) {
                return;
            }
            let MessageEntry { name, subdir, .. } = self.remove_at(at);
            if (subdir, &name) != (found.subdir, &found.name) {
                let names = Arc::make_mut(&mut self.names);
                names.remove_extra_name(inode, &(found.subdir, found.name.clone()));
                names.add_extra_name(inode, (subdir, name));
            }
        }
        self.insert(found);
    }

    /// Removes the message with that name in that subdirectory. A message that is now listed by another name stays.
    pub fn remove(&mut self, subdir: Subdir, name: &[u8]) {
        let Some(inode) = self.inode_of(subdir, name) else { return };
        let identity = name::identity(name);
        let Some(at) = self.find(identity, inode) else { return };
        if self.get(at).is_some_and(|found| is_named(found, subdir, name)) {
            let gone = self.remove_at(at);
            // A hard link of another identity is another message, with extra names of its own.
            let next = (!self.names.extra_names.is_empty())
                .then(|| Arc::make_mut(&mut self.names).take_extra_name(inode, identity));
            if let Some((subdir, name)) = next.flatten() {
                self.insert(MessageEntry { subdir, name, ..gone });
            }
        } else {
            Arc::make_mut(&mut self.names).remove_extra_name(inode, &(subdir, name.into()));
        }
    }

    /// The inode of the file with that name, listed or extra.
    fn inode_of(&self, subdir: Subdir, name: &[u8]) -> Option<u64> {
        let first = self.get(self.first(name::identity(name))?)?;
        if is_named(first, subdir, name) {
            return Some(first.version.inode);
        }
        self.names.inode_of(subdir, name)
    }

    /// The message with that identity and inode.
    pub fn find_file(&self, identity: &[u8], inode: u64) -> Option<&MessageEntry> {
        self.get(self.find(identity, inode)?)
    }

    /// The message with that name, listed or extra.
    pub fn find_named(&self, subdir: Subdir, name: &[u8]) -> Option<&MessageEntry> {
        self.find_file(name::identity(name), self.inode_of(subdir, name)?)
    }

    /// The messages of an identity.
    pub fn of_identity<'a>(&'a self, identity: &'a [u8]) -> impl Iterator<Item = &'a MessageEntry> {
        let (chunk, offset) = self.first(identity).unwrap_or((self.chunks.len(), 0));
        let chunks = self.chunks.get(chunk..).unwrap_or_default().iter();
        let messages = chunks.flat_map(|chunk| &chunk.messages).skip(offset);
        messages.take_while(move |found| name::identity(&found.name) == identity)
    }

    /// The identities that several messages share.
    pub fn duplicates(&self) -> impl Iterator<Item = &[u8]> {
        let identities = || self.iter().map(|found| name::identity(&found.name));
        identities().zip(identities().skip(1)).filter(|(one, next)| one == next).map(|(one, _)| one)
    }

    /// The first message of an identity.
    fn first(&self, identity: &[u8]) -> Option<Position> {
        let at = self.position((name::sort_key(identity), 0))?;
        (name::identity(&self.get(at)?.name) == identity).then_some(at)
    }

    /// The position of the message with that identity and inode.
    pub(super) fn find(&self, identity: &[u8], inode: u64) -> Option<Position> {
        let wanted = (name::sort_key(identity), inode);
        self.position(wanted).filter(|at| self.get(*at).is_some_and(|found| sort_key(found) == wanted))
    }

    /// The position of the first message that does not sort before `wanted`.
    fn position(&self, wanted: ((u64, u64, &[u8]), u64)) -> Option<Position> {
        let before = |found: &MessageEntry| sort_key(found) < wanted;
        let chunk = self.chunks.partition_point(|chunk| chunk.messages.last().is_some_and(before));
        Some((chunk, self.chunks.get(chunk)?.messages.partition_point(before)))
    }

    fn remove_at(&mut self, (chunk, offset): Position) -> MessageEntry {
        let messages = &mut Arc::make_mut(&mut self.chunks[chunk]).messages;
        let gone = messages.remove(offset);
        if messages.is_empty() {
            self.chunks.remove(chunk);
        }
        self.revision += 1;
        self.total = self.total.wrapping_sub(gone.octets);
        self.length -= 1;
        self.memory -= memory(&gone);
        if self.names.inode_of(gone.subdir, &gone.name).is_some() {
            Arc::make_mut(&mut self.names).inodes[gone.subdir as usize].remove(&gone.name);
        }
        gone
    }

    /// Records the name of a new message that shares its identity, and the name of the message that had it alone
    /// until then.
    fn note_duplicates(&mut self, found: &MessageEntry) {
        let (two, were_alone) = {
            let mut others = self.of_identity(name::identity(&found.name));
            let (Some(first), Some(second)) = (others.next(), others.next()) else { return };
            let two = [first, second].map(|found| (found.subdir, found.name.clone(), found.version.inode));
            (two, others.next().is_none())
        };
        let names = Arc::make_mut(&mut self.names);
        for (subdir, name, inode) in two.into_iter().filter(|_| were_alone) {
            names.set_inode(subdir, &name, inode);
        }
        names.set_inode(found.subdir, &found.name, found.version.inode);
    }

    fn insert(&mut self, found: MessageEntry) {
        self.revision += 1;
        self.total = self.total.wrapping_add(found.octets);
        self.length += 1;
        self.memory += memory(&found);
        let after = self.chunks.partition_point(|chunk| {
            chunk.messages.last().is_some_and(|last| sort_key(last) < sort_key(&found))
        });
        // A message newer than all others goes to the end of the last chunk.
        let at = after.min(self.chunks.len().saturating_sub(1));
        let Some(chunk) = self.chunks.get_mut(at).map(Arc::make_mut) else {
            self.chunks.push(Arc::new(Chunk { messages: vec![found] }));
            return;
        };
        let offset = chunk.messages.partition_point(|other| sort_key(other) < sort_key(&found));
        chunk.messages.insert(offset, found.clone());
        if chunk.messages.len() > MAX_CHUNK {
            let upper = chunk.messages.split_off(MAX_CHUNK / 2);
            self.chunks.insert(at + 1, Arc::new(Chunk { messages: upper }));
        }
        self.note_duplicates(&found);
    }

    /// Checks the invariants in a debug build.
    pub fn check(&self) {
        debug_assert_eq!(self.length, self.iter().count());
        debug_assert_eq!(self.total, self.iter().map(|message| message.octets).sum::<u64>());
        debug_assert_eq!(self.memory, self.iter().map(memory).sum::<usize>());
        debug_assert!(self.chunks.iter().all(|chunk| (1..=MAX_CHUNK).contains(&chunk.messages.len())));
        debug_assert!(self.iter().map(sort_key).is_sorted());
        let is_double = |found: &MessageEntry| self.of_identity(name::identity(&found.name)).nth(1).is_some();
        let has_its_inode = |found: &MessageEntry| {
            self.names.inode_of(found.subdir, &found.name) == Some(found.version.inode)
        };
        debug_assert!(self.iter().filter(|found| is_double(found)).all(has_its_inode));
        let extra = || {
            self.names.extra_names.iter().flat_map(|((inode, _), names)| names.iter().map(|n| (*inode, n)))
        };
        debug_assert!(
            extra().all(|(inode, (subdir, name))| self.names.inode_of(*subdir, name) == Some(inode))
        );
        debug_assert!(
            self.names.inodes.iter().map(BTreeMap::len).sum::<usize>() <= self.length + extra().count()
        );
    }
}

fn is_named(found: &MessageEntry, subdir: Subdir, name: &[u8]) -> bool {
    found.subdir == subdir && *found.name == *name
}

/// The sort key of an identity among all.
fn identity_sort_key(found: &MessageEntry) -> (u64, u64, &[u8]) {
    #[cfg(test)]
    tests::ORDERS.set(tests::ORDERS.get() + 1);
    name::sort_key(name::identity(&found.name))
}

/// The sort key of a message: flags and moves do not change it.
pub(super) fn sort_key(found: &MessageEntry) -> ((u64, u64, &[u8]), u64) {
    (identity_sort_key(found), found.version.inode)
}

fn memory(found: &MessageEntry) -> usize {
    size_of::<MessageEntry>() + found.name.len()
}

/// The largest number of messages in a chunk. A change copies one chunk while a session holds the list.
const MAX_CHUNK: usize = 512;

#[cfg(test)]
mod tests;
