//! Our own changes during a job that may or may not have seen them.
//!
//! Another job's result must not undo them, however many they are: not even for a moment, because an IMAP session may look at
//! the index between any two turns of the loop, and a message that comes back gets another UID.

use std::collections::{HashMap, VecDeque};

use crate::{
    deferred_drop::drop_deferred,
    maildir::{Change, MessageEntry, Subdir},
};

/// Changes in their order, and the last one of each name.
#[derive(Debug, Default)]
pub(super) struct OwnChanges {
    changes: VecDeque<Change>,
    /// Whether a message has the name after the last change of it, by the directory of the name.
    is_there: [HashMap<Box<[u8]>, bool>; 2],
}

impl OwnChanges {
    pub(super) fn extend(&mut self, changes: Vec<Change>) {
        for change in &changes {
            let (subdir, name, is_there) = parts(change);
            self.is_there[subdir as usize].insert(name.into(), is_there);
        }
        self.changes.extend(changes);
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether we have changed a name since, so that it is not as a job has seen it.
    pub(super) fn contradicts(&self, seen: &Change) -> bool {
        let (subdir, name, is_there) = parts(seen);
        self.last(subdir, name).is_some_and(|last| last != is_there)
    }

    /// Whether we have given a message that name, and not taken it since.
    pub(super) fn has_made(&self, subdir: Subdir, name: &[u8]) -> bool {
        self.last(subdir, name) == Some(true)
    }

    fn last(&self, subdir: Subdir, name: &[u8]) -> Option<bool> {
        self.is_there[subdir as usize].get(name).copied()
    }

    /// Takes the first `max` changes, without those that a later one has undone.
    pub(super) fn take(&mut self, max: usize) -> Vec<Change> {
        let some: Vec<Change> = self.changes.drain(..max.min(self.changes.len())).collect();
        let some = some.into_iter().filter(|change| !self.contradicts(change)).collect();
        if self.is_empty() {
            self.clear();
        }
        some
    }

    pub(super) fn clear(&mut self) {
        if self.is_there.iter().any(|names| !names.is_empty()) {
            drop_deferred(std::mem::take(self));
        }
    }
}

fn parts(change: &Change) -> (Subdir, &[u8], bool) {
    match change {
        Change::Present(MessageEntry { subdir, name, .. }) => (*subdir, name, true),
        Change::Absent { subdir, name } => (*subdir, name, false),
    }
}
