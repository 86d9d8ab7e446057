//! A mailbox in which a session deletes and marks messages at its end.
//!
//! The watch tells of each name that our own worker removes. Nobody looks at the mailbox meanwhile, nor until everything
//! is told that had happened by the end. Then a name that the worker removed, and of which the watch told that it was
//! removed and nothing else, is known to be gone: whatever takes that name afterwards is told afterwards. All others are
//! looked at.

use std::{collections::HashSet, time::Duration};

use super::entry::{BarrierWait, MailboxEntry, ScanNeed, SessionChanges};
use crate::maildir::{Change, Subdir, message::FileName, scan::DirTimes};

/// What is known of an update that is under way, or of one that is done until all of it is told.
#[derive(Debug, Default)]
pub(super) struct SessionUpdate {
    /// Names of which it was told that they were removed since it began.
    removed: HashSet<FileName>,
    /// There once it is done.
    result: Option<UpdateResult>,
}

/// What the worker tells.
#[derive(Debug)]
struct UpdateResult {
    gone: Vec<FileName>,
    times: DirTimes,
    racy: bool,
    barrier: BarrierWait,
}

impl SessionUpdate {
    /// The mark that is waited for.
    pub(super) fn barrier(&self) -> Option<BarrierWait> {
        self.result.as_ref().map(|ended| ended.barrier)
    }
}

impl MailboxEntry {
    /// A session begins to change so many names. `true`: they are so many that a walk follows, and nothing needs to be
    /// told until then: the worker is to end the watch, since the kernel might lose events of all mailboxes otherwise.
    pub(super) fn begin_update(&mut self, names: usize) -> bool {
        self.resume_after_update(); // invariant: there is none, a mailbox has one session
        let unwatch = names > MAX_APPLIED_CHANGES && self.is_maybe_watched();
        if unwatch {
            (self.watched, self.rewatch_needed) = (false, true);
            self.fall_back_to_scan();
        }
        self.session_update = Some(SessionUpdate::default());
        unwatch
    }

    /// A name was removed.
    pub(super) fn name_removed(&mut self, place: Subdir, name: Box<[u8]>) {
        match &mut self.session_update {
            Some(updating)
                if self.scan_need < ScanNeed::Yes && updating.removed.len() < MAX_APPLIED_CHANGES =>
            {
                updating.removed.insert((place, name));
            }
            _ => self.name_changed(place, name),
        }
    }

    /// The worker is done; `told` is the last mark that was told.
    pub(super) fn update_finished(&mut self, done: SessionChanges, told: u64, now: Duration) {
        let SessionChanges { gone, touched, seen, barrier: mark } = done;
        touched.into_iter().for_each(|(place, name)| self.name_changed(place, name));
        let absent = |(place, name): FileName| Change::Absent { place, name };
        self.apply_own(gone.iter().cloned().map(absent).collect());
        let updating = self.session_update.get_or_insert_default();
        if let (Some((times, young)), Some(number), true) = (seen, mark, self.watched) {
            let mark = BarrierWait { number, since: now };
            updating.result = Some(UpdateResult { gone, times, racy: young, barrier: mark });
            self.barrier_reached(told);
        } else {
            updating.removed.extend(gone);
            self.resume_after_update();
        }
    }

    /// Nobody knows what became of an update.
    pub(super) fn update_lost(&mut self) {
        if self.session_update.as_ref().is_some_and(|updating| updating.result.is_none()) {
            self.require_scan(ScanNeed::Yes);
            self.resume_after_update();
        }
    }

    /// Begins what was held back: looks at the names that something else may have happened to.
    pub(super) fn resume_after_update(&mut self) {
        let Some(SessionUpdate { mut removed, result: ended }) = self.session_update.take() else { return };
        if self.scan_need == ScanNeed::Yes {
            return; // which sees what happened to them
        }
        // A look that was under way may have seen the mailbox before this.
        let is_alone = self.in_flight.is_none();
        if let (Some(ended), Some(index)) = (ended, &mut self.index) {
            if is_alone {
                index.rechecked(ended.times, ended.racy);
                self.explained_since.get_or_insert(ended.barrier.since);
                self.suspect_since = None;
            }
            let gone: HashSet<FileName> = ended.gone.into_iter().collect();
            removed = if is_alone { &removed ^ &gone } else { &removed | &gone };
        }
        removed.into_iter().for_each(|(place, name)| self.name_changed(place, name));
    }
}

/// Names that a session has deleted or marked which are taken out one by one. More are left to a walk: they cost the
/// loop too much time at once.
pub(super) const MAX_APPLIED_CHANGES: usize = 1000;
