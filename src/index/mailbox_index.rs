//! The live contents of one mailbox: the last state of the disk that a worker saw.

use super::{message_list::MessageList, name_set::NameSet};
use crate::maildir::{
    Change, FileName, FileVersion, MessageEntry, Subdir, name,
    scan::{DirTimes, MAX_KNOWN},
};

/// The messages of a mailbox, and the directory times that they match.
#[derive(Debug, Default)]
pub struct MailboxIndex {
    list: MessageList,
    /// The times of the directories before the last scan or recheck: the list has every older change.
    times: DirTimes,
    /// Whether another change might have the same times.
    racy: bool,
}

impl MailboxIndex {
    /// Creates an index from the result of a full scan.
    pub fn new(list: MessageList, times: DirTimes, racy: bool) -> Self {
        Self { list, times, racy }
    }

    /// The messages, in the order of POP3 numbers.
    pub fn list(&self) -> &MessageList {
        &self.list
    }

    /// The number of changes of the list: a session that knows this revision knows the present contents.
    pub fn revision(&self) -> u64 {
        self.list.revision()
    }

    pub(super) fn set_revision(&mut self, revision: u64) {
        self.list.set_revision(revision);
    }

    /// Returns the messages and drops the rest.
    pub fn into_list(self) -> MessageList {
        self.list
    }

    /// Applies the files that a worker has seen, each under one of its present names.
    pub fn apply_present(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Present(found) = change {
                self.list.upsert(found.clone());
            }
        }
    }

    /// Keeps each known message that a full scan did not see (`missing`), if it is reported as moving: `reported` has a
    /// name of its identity. Returns the names under which it stays, to be rechecked.
    pub fn keep_maybe_renamed(&mut self, missing: Vec<MessageEntry>, reported: &NameSet) -> Vec<FileName> {
        let mut kept = Vec::new();
        for found in missing {
            let identity = name::identity(&found.name);
            if reported.has_identity(identity) && self.list.find_file(identity, found.version.inode).is_none()
            {
                kept.push((found.subdir, found.name.clone()));
                self.list.upsert(found);
            }
        }
        kept
    }

    /// Removes names that are gone. A file that is known by another name stays.
    pub fn remove(&mut self, gone: &[FileName]) {
        for (subdir, name) in gone {
            self.list.remove(*subdir, name);
        }
    }

    /// Applies our own changes when the registry learns of them. Another program may have seen and moved a message
    /// of ours before that, so a file that is in the list already keeps its name.
    pub fn apply_own_changes(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Present(found) => {
                    if self.list.find_file(name::identity(&found.name), found.version.inode).is_none() {
                        self.list.upsert(found.clone());
                    }
                }
                Change::Absent { subdir, name } => self.list.remove(*subdir, name),
            }
        }
    }

    /// Records the times that the directories had before a recheck.
    pub fn rechecked(&mut self, times: DirTimes, racy: bool) {
        (self.times, self.racy) = (times, racy);
    }

    /// The directory times that the list matches.
    pub fn times(&self) -> DirTimes {
        self.times
    }

    /// The same times, if no later change can have them too.
    pub fn trusted_times(&self) -> Option<DirTimes> {
        (!self.racy).then_some(self.times)
    }

    /// The known files of a name's identity, so that a worker does not count a moved file again: the file with that
    /// name, and some others if there are many.
    pub fn known_files(&self, subdir: Subdir, name: &[u8]) -> Vec<(FileVersion, u64)> {
        let others = self.list.of_identity(name::identity(name)).take(MAX_KNOWN);
        self.list
            .find_named(subdir, name)
            .into_iter()
            .chain(others)
            .map(|found| (found.version, found.octets))
            .collect()
    }

    /// Whether that file has that name and still has the same content.
    pub fn has(&self, found: &MessageEntry) -> bool {
        self.list.find_named(found.subdir, &found.name).is_some_and(|known| known.version == found.version)
    }

    /// Whether a message has that identity.
    pub fn has_identity(&self, identity: &[u8]) -> bool {
        self.list.of_identity(identity).next().is_some()
    }
}
