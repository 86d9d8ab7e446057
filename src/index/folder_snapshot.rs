//! A folder at one moment as IMAP shows it: also with the messages that wait for their owner's mail reader to remove them.

use super::{MailboxIndex, MessageList, Snapshot};
use crate::{
    maildir::{MessageEntry, Scan, name},
    proto::request::Maildrop,
};

/// The messages of a folder at one moment. The positions of those with the flag T follow those of the others.
#[derive(Debug, Default)]
pub struct FolderSnapshot {
    listed: Snapshot,
    trashed: Snapshot,
}

impl FolderSnapshot {
    /// Copies both lists as they are now.
    pub fn new(index: &MailboxIndex) -> Self {
        Self { listed: Snapshot::new(index.list()), trashed: Snapshot::new(index.trashed()) }
    }

    /// The messages that a scan has found.
    pub fn of_scan(scan: Scan) -> Self {
        let list = |messages| Snapshot::new(&MessageList::from_messages(messages));
        Self { listed: list(scan.messages), trashed: list(scan.trashed) }
    }

    /// A message, or `None` if no message has that position.
    pub fn entry(&self, position: usize) -> Option<&MessageEntry> {
        let listed = self.listed.len();
        if position < listed { self.listed.entry(position) } else { self.trashed.entry(position - listed) }
    }

    /// The number of positions. A file that has a name with the flag T and one without it has two.
    pub fn len(&self) -> usize {
        self.listed.len() + self.trashed.len()
    }

    /// Whether it has no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The octets of the messages at these positions. All without the flag T are among them.
    pub(super) fn octets(&self, positions: &[u32]) -> u64 {
        let listed = self.listed.len();
        let trashed = positions.iter().filter_map(|at| usize::try_from(*at).ok()?.checked_sub(listed));
        let of_trashed = trashed.filter_map(|at| self.trashed.entry(at)).map(|entry| entry.octets);
        self.listed.list().total() + of_trashed.sum::<u64>()
    }

    /// The messages without the flag T, then those with it.
    pub(super) fn lists(&self) -> [&MessageList; 2] {
        [self.listed.list(), self.trashed.list()]
    }

    /// Whether several files have this identity.
    pub(super) fn is_shared(&self, identity: &[u8]) -> bool {
        let mut inodes = self.of_identity(identity).map(|entry| entry.version.inode);
        let first = inodes.next();
        inodes.any(|inode| Some(inode) != first)
    }

    /// The messages of an identity.
    pub(super) fn of_identity<'a>(&'a self, identity: &'a [u8]) -> impl Iterator<Item = &'a MessageEntry> {
        self.lists().into_iter().flat_map(move |list| list.of_identity(identity))
    }

    /// The position of a file.
    pub(super) fn position(&self, identity: &[u8], inode: u64) -> Option<usize> {
        let listed = self.listed.position_of(identity, inode);
        listed.or_else(|| Some(self.listed.len() + self.trashed.position_of(identity, inode)?))
    }

    /// Whether a message with the flag T is the file of one without it, whose place it takes as soon as that name is gone.
    pub(super) fn is_covered(&self, trashed: &MessageEntry) -> bool {
        let identity = name::identity(&trashed.name);
        self.listed.list().find_file(identity, trashed.version.inode).is_some()
    }
}
