//! A mailbox in which a session deletes and marks messages at its end.
//!
//! The watch tells of each name that our own worker removes. Nobody looks at the mailbox meanwhile, nor until everything
//! is told that had happened by the end. Then a name that the worker removed, and of which the watch told that it was
//! removed and nothing else, is known to be gone: whatever takes that name afterwards is told afterwards. All others are
//! looked at.

use std::{collections::HashSet, time::Duration};

use super::entry::{Done, Held, Mark, Walk};
use crate::maildir::{Change, Place, message::Named, scan::Times};

/// What is known of an update that is under way, or of one that is done until all of it is told.
#[derive(Debug, Default)]
pub(super) struct Updating {
    /// Names of which it was told that they were removed since it began.
    removed: HashSet<Named>,
    /// There once it is done.
    ended: Option<Ended>,
}

/// What the worker tells.
#[derive(Debug)]
struct Ended {
    gone: Vec<Named>,
    times: Times,
    young: bool,
    mark: Mark,
}

impl Updating {
    /// The mark that is waited for.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.ended.as_ref().map(|ended| ended.mark)
    }
}

impl Held {
    /// A session begins to change so many names. `true`: they are so many that a walk follows, and nothing needs to be
    /// told until then: the worker is to end the watch, since the kernel might lose events of all mailboxes otherwise.
    pub(super) fn begin_update(&mut self, names: usize) -> bool {
        self.end_update(); // invariant: there is none, a mailbox has one session
        let unwatch = names > MOST_APPLIED && self.may_be_watched();
        if unwatch {
            (self.watched, self.watch_anew) = (false, true);
            self.walk_instead();
        }
        self.updating = Some(Updating::default());
        unwatch
    }

    /// A name was removed.
    pub(super) fn note_removed(&mut self, place: Place, name: Box<[u8]>) {
        match &mut self.updating {
            Some(updating) if self.walk < Walk::Yes && updating.removed.len() < MOST_APPLIED => {
                updating.removed.insert((place, name));
            }
            _ => self.note_name(place, name),
        }
    }

    /// The worker is done; `told` is the last mark that was told.
    pub(super) fn take_update(&mut self, done: Done, told: u64, now: Duration) {
        let Done { gone, touched, seen, mark } = done;
        touched.into_iter().for_each(|(place, name)| self.note_name(place, name));
        let absent = |(place, name): Named| Change::Absent { place, name };
        self.own(gone.iter().cloned().map(absent).collect());
        let updating = self.updating.get_or_insert_default();
        if let (Some((times, young)), Some(number), true) = (seen, mark, self.watched) {
            let mark = Mark { number, since: now };
            updating.ended = Some(Ended { gone, times, young, mark });
            self.told(told);
        } else {
            updating.removed.extend(gone);
            self.end_update();
        }
    }

    /// Nobody knows what became of an update.
    pub(super) fn lose_update(&mut self) {
        if self.updating.as_ref().is_some_and(|updating| updating.ended.is_none()) {
            self.note_walk(Walk::Yes);
            self.end_update();
        }
    }

    /// Begins what was held back: looks at the names that something else may have happened to.
    pub(super) fn end_update(&mut self) {
        let Some(Updating { mut removed, ended }) = self.updating.take() else { return };
        if self.walk == Walk::Yes {
            return; // which sees what happened to them
        }
        // A look that was under way may have seen the mailbox before this.
        let is_alone = self.under_way.is_none();
        if let (Some(ended), Some(index)) = (ended, &mut self.index) {
            if is_alone {
                index.looked(ended.times, ended.young);
                self.explained.get_or_insert(ended.mark.since);
                self.suspect = None;
            }
            let gone: HashSet<Named> = ended.gone.into_iter().collect();
            removed = if is_alone { &removed ^ &gone } else { &removed | &gone };
        }
        removed.into_iter().for_each(|(place, name)| self.note_name(place, name));
    }
}

/// Names that a session has deleted or marked which are taken out one by one. More are left to a walk: they cost the
/// loop too much time at once.
pub(super) const MOST_APPLIED: usize = 1000;
