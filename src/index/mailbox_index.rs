//! The live contents of one mailbox: what the disk was last seen to hold.

use super::{message_list::MessageList, name_set::NameSet};
use crate::maildir::{
    Change, MessageEntry, Subdir,
    message::FileName,
    name,
    scan::{DirTimes, FileVersion, MAX_KNOWN},
};

/// What a mailbox holds, and when it was looked at.
#[derive(Debug, Default)]
pub struct MailboxIndex {
    list: MessageList,
    /// The times that its directories had before the last look: what is older is in the list.
    times: DirTimes,
    /// Whether another change might bear the same times.
    racy: bool,
}

impl MailboxIndex {
    /// An index of what a walk has found.
    pub fn new(list: MessageList, times: DirTimes, young: bool) -> Self {
        Self { list, times, racy: young }
    }

    /// The messages.
    pub fn list(&self) -> &MessageList {
        &self.list
    }

    /// Gives the messages away.
    pub fn into_list(self) -> MessageList {
        self.list
    }

    /// Takes in what was seen to be there, in one of the names it has now.
    pub fn apply_present(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Present(found) = change {
                self.list.upsert(found.clone());
            }
        }
    }

    /// Keeps what was known before a walk and is `missing` since, if it was told to be moving: some name of its
    /// identity is among `told`. Returns the names that it is kept by, to be looked at.
    pub fn retain_moving(&mut self, missing: Vec<MessageEntry>, told: &NameSet) -> Vec<FileName> {
        let mut kept = Vec::new();
        for found in missing {
            let identity = name::identity(&found.name);
            if told.has_identity(identity) && self.list.find_file(identity, found.version.inode).is_none() {
                kept.push((found.subdir, found.name.clone()));
                self.list.upsert(found);
            }
        }
        kept
    }

    /// Takes out names that are gone. A file that is known by another name stays.
    pub fn remove(&mut self, gone: &[FileName]) {
        for (place, name) in gone {
            self.list.remove(*place, name);
        }
    }

    /// Takes in what we did ourselves, as we learn of it: others may have seen a message of ours and moved
    /// it before that, so that a file that is there already keeps its name.
    pub fn apply_own(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Present(found) => {
                    if self.list.find_file(name::identity(&found.name), found.version.inode).is_none() {
                        self.list.upsert(found.clone());
                    }
                }
                Change::Absent { place, name } => self.list.remove(*place, name),
            }
        }
    }

    /// Names have been looked at, after the directories were seen to have these times.
    pub fn rechecked(&mut self, times: DirTimes, young: bool) {
        (self.times, self.racy) = (times, young);
    }

    /// The times of the directories that the list is as new as.
    pub fn times(&self) -> DirTimes {
        self.times
    }

    /// The same, if no later change can hide behind them.
    pub fn trusted_times(&self) -> Option<DirTimes> {
        (!self.racy).then_some(self.times)
    }

    /// What is known of the files of a name's identity, so that a file that only moved is not counted again: of
    /// the one that bears the name, and of some others where there are many.
    pub fn known_files(&self, place: Subdir, name: &[u8]) -> Vec<(FileVersion, u64)> {
        let others = self.list.of_identity(name::identity(name)).take(MAX_KNOWN);
        self.list
            .find_named(place, name)
            .into_iter()
            .chain(others)
            .map(|found| (found.version, found.octets))
            .collect()
    }

    /// Whether that file has that name, and the content that it had.
    pub fn has(&self, found: &MessageEntry) -> bool {
        self.list.find_named(found.subdir, &found.name).is_some_and(|known| known.version == found.version)
    }

    /// Whether a message has that identity.
    pub fn has_identity(&self, identity: &[u8]) -> bool {
        self.list.of_identity(identity).next().is_some()
    }
}
