//! The index of one mailbox: its messages on the disk, as workers have last seen them and sessions have changed them.
//!
//! Messages with the flag T are in a list of their own: IMAP shows them, POP3 and the web API do not.

use super::{message_list::MessageList, name_set::NameSet};
use crate::maildir::{
    Change, FileName, FileVersion, MessageEntry, Subdir, name,
    scan::{DirTimes, MAX_KNOWN},
};

/// The messages of a mailbox, and the directory times that they match.
#[derive(Debug, Default)]
pub struct MailboxIndex {
    list: MessageList,
    /// The messages that wait for their owner's mail reader to remove them (flag T).
    trashed: MessageList,
    /// The times of `new/` and `cur/` before the last scan or recheck: the list has every older change.
    times: DirTimes,
    /// True if the times are so young that a later change may leave the same ones.
    racy: bool,
}

impl MailboxIndex {
    /// Creates an index from the result of a full scan.
    pub fn new(list: MessageList, times: DirTimes, racy: bool) -> Self {
        Self { list, trashed: MessageList::default(), times, racy }
    }

    /// The same with these messages with the flag T.
    #[must_use]
    pub fn with_trashed(self, trashed: MessageList) -> Self {
        Self { trashed, ..self }
    }

    /// The messages, in the order of POP3 numbers.
    pub fn list(&self) -> &MessageList {
        &self.list
    }

    /// The messages with the flag T, in the same order.
    pub fn trashed(&self) -> &MessageList {
        &self.trashed
    }

    /// The number of changes to the list. A session that has seen this revision has seen all changes.
    pub fn revision(&self) -> u64 {
        self.list.revision()
    }

    /// The number of changes to both lists.
    pub fn folder_revision(&self) -> u64 {
        self.list.revision() + self.trashed.revision()
    }

    /// Goes on with the numbers of an earlier index of the mailbox.
    pub(super) fn continue_revisions(&mut self, before: Option<&Self>) {
        let next = |list: fn(&Self) -> &MessageList| before.map_or(0, |before| list(before).revision()) + 1;
        self.list.set_revision(next(Self::list));
        self.trashed.set_revision(next(Self::trashed));
    }

    /// Octets of memory that the messages take.
    pub(super) fn memory(&self) -> usize {
        self.list.memory_of() + self.trashed.memory_of()
    }

    /// The list that has the messages with names like this one.
    fn list_for(&self, name: &[u8]) -> &MessageList {
        if name::is_trashed(name) { &self.trashed } else { &self.list }
    }

    fn list_for_mut(&mut self, name: &[u8]) -> &mut MessageList {
        if name::is_trashed(name) { &mut self.trashed } else { &mut self.list }
    }

    fn upsert(&mut self, entry: MessageEntry) {
        self.list_for_mut(&entry.name).upsert(entry);
    }

    /// Whether one of the lists has a file.
    fn has_file(&self, identity: &[u8], inode: u64) -> bool {
        [&self.list, &self.trashed].into_iter().any(|list| list.find_file(identity, inode).is_some())
    }

    /// Returns the list, and drops the times.
    pub fn into_list(self) -> MessageList {
        self.list
    }

    /// Adds or updates the messages that a recheck has found. The registry removes the missing ones later, because one
    /// of them may have been renamed.
    pub fn apply_present(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Present(entry) = change {
                self.upsert(entry.clone());
            }
        }
    }

    /// Keeps those of the messages missing from a full scan that may have been renamed during the scan: inotify has
    /// reported a name of the same identity (`reported`). They keep their old names, which the function returns, so
    /// that a worker rechecks them.
    pub fn keep_maybe_renamed(&mut self, missing: Vec<MessageEntry>, reported: &NameSet) -> Vec<FileName> {
        let mut kept = Vec::new();
        for entry in missing {
            let identity = name::identity(&entry.name);
            if reported.has_identity(identity) && !self.has_file(identity, entry.version.inode) {
                kept.push((entry.subdir, entry.name.clone()));
                self.upsert(entry);
            }
        }
        kept
    }

    /// Removes the messages of names that no longer exist. A message that has another name by now stays.
    pub fn remove(&mut self, gone: &[FileName]) {
        for (subdir, name) in gone {
            self.list_for_mut(name).remove(*subdir, name);
        }
    }

    /// Applies changes by the committer or by a session. Another program may have renamed a new message before the
    /// registry hears of it, so a file that is in the list already keeps its name there.
    pub fn apply_own_changes<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) {
        for change in changes {
            match change {
                Change::Present(entry) => {
                    if !self.has_file(name::identity(&entry.name), entry.version.inode) {
                        self.upsert(entry.clone());
                    }
                }
                Change::Absent { subdir, name } => self.list_for_mut(name).remove(*subdir, name),
            }
        }
    }

    /// Records the times of the directories, as a worker read them before a recheck or a session's update.
    pub fn set_times(&mut self, times: DirTimes, racy: bool) {
        (self.times, self.racy) = (times, racy);
    }

    /// The directory times that the list matches.
    pub fn times(&self) -> DirTimes {
        self.times
    }

    /// The directory times, unless a later change may leave the same ones. If the directories still have trusted times,
    /// a full scan is unnecessary.
    pub fn trusted_times(&self) -> Option<DirTimes> {
        (!self.racy).then_some(self.times)
    }

    /// Versions and octets of known files with the identity of `name`, so that a worker need not count a renamed file
    /// again: the file of that name, and up to [`MAX_KNOWN`] others.
    pub fn known_files(&self, subdir: Subdir, name: &[u8]) -> Vec<(FileVersion, u64)> {
        let identity = name::identity(name);
        let others =
            self.list.of_identity(identity).chain(self.trashed.of_identity(identity)).take(MAX_KNOWN);
        self.list_for(name)
            .find_named(subdir, name)
            .into_iter()
            .chain(others)
            .map(|entry| (entry.version, entry.octets))
            .collect()
    }

    /// True if the list has this version of the file under this name.
    pub fn has_version(&self, entry: &MessageEntry) -> bool {
        let known = self.list_for(&entry.name).find_named(entry.subdir, &entry.name);
        known.is_some_and(|known| known.version == entry.version)
    }

    /// True if a message has this identity.
    pub fn has_identity(&self, identity: &[u8]) -> bool {
        [&self.list, &self.trashed].into_iter().any(|list| list.of_identity(identity).next().is_some())
    }
}
