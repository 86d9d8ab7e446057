//! The difference between two snapshots of a folder, at the cost of the parts that they do not share.

use std::collections::HashMap;

use super::flag_letters::FlagLetters;
use crate::{
    index::{
        folder_snapshot::FolderSnapshot,
        message_list::{MessageList, sort_key},
    },
    maildir::{MessageEntry, name},
    proto::imap::flags::Flags,
};

/// The numbers of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Assigned {
    /// Its UID. 0: it has none yet, or is shown by another name.
    pub(super) uid: u32,
    pub(super) flags: Flags,
    /// The modification sequence of its last change.
    pub(super) modseq: u64,
}

/// A message that had no numbers in the earlier snapshot, and its place in the later one.
#[derive(Debug)]
pub(super) struct Unnumbered<'a> {
    /// The number of the list: 1 for messages with the flag T.
    pub(super) list: usize,
    pub(super) position: usize,
    pub(super) entry: &'a MessageEntry,
}

/// Messages that are gone, or have moved to the other list, by identity and inode, with their numbers.
#[derive(Debug, Default)]
pub(super) struct Gone<'a>(HashMap<(&'a [u8], u64), (&'a MessageEntry, Assigned)>);

impl<'a> Gone<'a> {
    fn insert(&mut self, entry: &'a MessageEntry, assigned: Assigned) {
        if assigned.uid > 0 {
            self.0.insert((name::identity(&entry.name), entry.version.inode), (entry, assigned));
        }
    }

    /// Takes the numbers of a file that is in the other list now, with the same content.
    pub(super) fn take_moved(&mut self, entry: &'a MessageEntry) -> Option<Assigned> {
        let key = (name::identity(&entry.name), entry.version.inode);
        let (before, assigned) = *self.0.get(&key)?;
        if before.version.bytes != entry.version.bytes {
            return None;
        }
        self.0.remove(&key);
        Some(assigned)
    }

    /// The UIDs of the messages that are gone.
    pub(super) fn into_uids(self) -> impl Iterator<Item = u32> {
        self.0.into_values().map(|(_, assigned)| assigned.uid)
    }
}

/// The way in which the later snapshot is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) letters: FlagLetters,
    /// Whether the earlier snapshot was read with the same letters.
    pub(super) is_same: bool,
    /// The modification sequence of changed flags.
    pub(super) modseq: u64,
}

/// The difference between two snapshots.
#[derive(Debug, Default)]
pub(super) struct Comparison<'a> {
    /// The numbers of each message of the later snapshot, as far as they are known.
    pub(super) assigned: [Vec<Assigned>; 2],
    /// The messages whose numbers are not.
    pub(super) unnumbered: Vec<Unnumbered<'a>>,
    /// The messages of the earlier snapshot that are not in their place any more.
    pub(super) gone: Gone<'a>,
    /// Messages with other flags, and their numbers now.
    pub(super) changed: Vec<(&'a MessageEntry, Assigned)>,
}

impl<'a> Comparison<'a> {
    /// Compares a snapshot, whose messages have these numbers, with a later one.
    pub(super) fn of(
        (before, numbers): (&'a FolderSnapshot, &[Vec<Assigned>; 2]),
        now: &'a FolderSnapshot,
        reading: Reading,
    ) -> Self {
        let mut comparison = Self::default();
        for (list, (before, later)) in before.lists().into_iter().zip(now.lists()).enumerate() {
            let is_covered = |entry: &MessageEntry| list == TRASHED && now.is_covered(entry);
            let lists = (Cursor::new(before), Cursor::new(later));
            comparison.compare(list, lists, (&numbers[list], reading), is_covered);
        }
        comparison
    }

    fn compare(
        &mut self,
        list: usize,
        (mut before, mut now): (Cursor<'a>, Cursor<'a>),
        (numbers, reading): (&[Assigned], Reading),
        is_covered: impl Fn(&MessageEntry) -> bool,
    ) {
        let Reading { letters, is_same, modseq } = reading;
        loop {
            // A message with the flag T may be covered by a change of the other list.
            if list != TRASHED
                && is_same
                && let Some(length) = before.common_chunk(&now)
            {
                self.assigned[list].extend_from_slice(&numbers[before.position..][..length]);
                before.skip_chunk();
                now.skip_chunk();
                continue;
            }
            let order = match (before.entry(), now.entry()) {
                (None, None) => return,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(before), Some(now)) => sort_key(before).cmp(&sort_key(now)),
            };
            let known =
                before.entry().filter(|_| order.is_le()).map(|entry| (entry, numbers[before.position]));
            let entry = now.entry().filter(|_| order.is_ge());
            if known.is_some() {
                before.advance();
            }
            if entry.is_some() {
                now.advance();
            }
            let Some(entry) = entry.filter(|entry| !is_covered(entry)) else {
                known.into_iter().for_each(|(before, numbers)| self.gone.insert(before, numbers));
                self.assigned[list].extend(entry.map(|_| Assigned::default()));
                continue;
            };
            match known {
                Some((before, numbers)) if numbers.uid > 0 && before.version.bytes == entry.version.bytes => {
                    let flags = letters.flags_of(entry);
                    let is_changed = flags != numbers.flags;
                    let numbers = if is_changed { Assigned { flags, modseq, ..numbers } } else { numbers };
                    self.changed.extend(is_changed.then_some((entry, numbers)));
                    self.assigned[list].push(numbers);
                }
                known => {
                    known.into_iter().for_each(|(before, numbers)| self.gone.insert(before, numbers));
                    let position = self.assigned[list].len();
                    self.unnumbered.push(Unnumbered { list, position, entry });
                    self.assigned[list].push(Assigned::default());
                }
            }
        }
    }
}

/// A place in a list.
struct Cursor<'a> {
    chunks: Vec<&'a [MessageEntry]>,
    chunk: usize,
    offset: usize,
    /// The number of messages before it.
    position: usize,
}

impl<'a> Cursor<'a> {
    fn new(list: &'a MessageList) -> Self {
        Self { chunks: list.chunks().collect(), chunk: 0, offset: 0, position: 0 }
    }

    fn entry(&self) -> Option<&'a MessageEntry> {
        self.chunks.get(self.chunk)?.get(self.offset)
    }

    fn advance(&mut self) {
        self.offset += 1;
        self.position += 1;
        if self.chunks.get(self.chunk).is_none_or(|chunk| self.offset == chunk.len()) {
            (self.chunk, self.offset) = (self.chunk + 1, 0);
        }
    }

    /// The length of the chunk that begins here in both lists.
    fn common_chunk(&self, other: &Self) -> Option<usize> {
        let (mine, others) = (self.chunks.get(self.chunk)?, other.chunks.get(other.chunk)?);
        let is_common = self.offset == 0 && other.offset == 0 && std::ptr::eq(*mine, *others);
        is_common.then_some(mine.len())
    }

    fn skip_chunk(&mut self) {
        self.position += self.chunks.get(self.chunk).map_or(0, |chunk| chunk.len());
        self.chunk += 1;
    }
}

/// The list of messages with the flag T.
const TRASHED: usize = 1;
