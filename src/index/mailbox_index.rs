//! The live contents of one mailbox: what the disk was last seen to hold.

use super::{message_list::List, name_set::Names};
use crate::maildir::{
    Change, Found, Place,
    message::Named,
    name,
    scan::{MOST_KNOWN, Stamp, Times},
};

/// What a mailbox holds, and when it was looked at.
#[derive(Debug, Default)]
pub struct Index {
    list: List,
    /// The times that its directories had before the last look: what is older is in the list.
    times: Times,
    /// Whether another change might bear the same times.
    young: bool,
}

impl Index {
    /// An index of what a walk has found.
    pub fn new(list: List, times: Times, young: bool) -> Self {
        Self { list, times, young }
    }

    /// The messages.
    pub fn list(&self) -> &List {
        &self.list
    }

    /// Gives the messages away.
    pub fn into_list(self) -> List {
        self.list
    }

    /// Takes in what was seen to be there, in one of the names it has now.
    pub fn apply_present(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Present(found) = change {
                self.list.put(found.clone());
            }
        }
    }

    /// Keeps what was known before a walk and is `missing` since, if it was told to be moving: some name of its
    /// identity is among `told`. Returns the names that it is kept by, to be looked at.
    pub fn keep_moving(&mut self, missing: Vec<Found>, told: &Names) -> Vec<Named> {
        let mut kept = Vec::new();
        for found in missing {
            let identity = name::identity(&found.name);
            if told.has_identity(identity) && self.list.file(identity, found.stamp.inode).is_none() {
                kept.push((found.place, found.name.clone()));
                self.list.put(found);
            }
        }
        kept
    }

    /// Takes out names that are gone. A file that is known by another name stays.
    pub fn remove(&mut self, gone: &[Named]) {
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
                    if self.list.file(name::identity(&found.name), found.stamp.inode).is_none() {
                        self.list.put(found.clone());
                    }
                }
                Change::Absent { place, name } => self.list.remove(*place, name),
            }
        }
    }

    /// Names have been looked at, after the directories were seen to have these times.
    pub fn looked(&mut self, times: Times, young: bool) {
        (self.times, self.young) = (times, young);
    }

    /// The times of the directories that the list is as new as.
    pub fn times(&self) -> Times {
        self.times
    }

    /// The same, if no later change can hide behind them.
    pub fn certain_times(&self) -> Option<Times> {
        (!self.young).then_some(self.times)
    }

    /// What is known of the files of a name's identity, so that a file that only moved is not counted again: of
    /// the one that bears the name, and of some others where there are many.
    pub fn known(&self, place: Place, name: &[u8]) -> Vec<(Stamp, u64)> {
        let others = self.list.of_identity(name::identity(name)).take(MOST_KNOWN);
        self.list
            .named(place, name)
            .into_iter()
            .chain(others)
            .map(|found| (found.stamp, found.octets))
            .collect()
    }

    /// Whether that file has that name, and the content that it had.
    pub fn has(&self, found: &Found) -> bool {
        self.list.named(found.place, &found.name).is_some_and(|known| known.stamp == found.stamp)
    }

    /// Whether a message has that identity.
    pub fn has_identity(&self, identity: &[u8]) -> bool {
        self.list.of_identity(identity).next().is_some()
    }
}
