//! A mailbox in which a session deletes and marks messages at its end.
//!
//! The watcher reports each name that our own worker removes. Until the worker is done and its barrier is reached,
//! no recheck and no scan begins. Then a name that the worker removed, and for which the watcher reported a removal
//! and nothing else, is known to be gone: a later file of that name has a later event. A worker rechecks all other
//! names.

use std::{collections::HashSet, time::Duration};

use super::{
    entry::MailboxEntry,
    job::SessionChanges,
    pending_work::{AwaitedBarrier, ScanNeed, SessionUpdate, UpdateResult},
};
use crate::{
    maildir::{Change, FileName, Subdir},
    proto::request::ConnId,
};

impl MailboxEntry {
    /// Begins an update of so many names. Returns `true` if they are so many that a full scan follows, and no event
    /// is needed until then: the worker must end the watch, because the kernel might lose events of all mailboxes
    /// otherwise.
    pub(super) fn begin_update(&mut self, session: ConnId, names: usize) -> bool {
        // One that is left waits for its barrier only, because one session at a time has exclusive access.
        self.resume_after_update();
        let unwatch = names > MAX_APPLIED_CHANGES && self.is_maybe_watched();
        if unwatch {
            (self.watched, self.rewatch_needed) = (false, true);
            self.fall_back_to_scan();
        }
        self.session_update = Some(SessionUpdate::of(session));
        unwatch
    }

    /// Handles the removal of a name.
    pub(super) fn name_removed(&mut self, subdir: Subdir, name: Box<[u8]>) {
        match &mut self.session_update {
            Some(update) if self.scan_need < ScanNeed::Yes && update.removed.len() < MAX_APPLIED_CHANGES => {
                update.removed.insert((subdir, name));
            }
            _ => self.name_changed(subdir, name),
        }
    }

    /// Handles the end of the worker's job. `last_barrier` is the last barrier reached.
    pub(super) fn update_finished(
        &mut self,
        session: ConnId,
        done: SessionChanges,
        last_barrier: u64,
        now: Duration,
    ) {
        let SessionChanges { deleted, changed, dir_times, barrier } = done;
        changed.into_iter().for_each(|(subdir, name)| self.name_changed(subdir, name));
        let absent = |(subdir, name): FileName| Change::Absent { subdir, name };
        self.apply_own_changes(deleted.iter().cloned().map(absent).collect());
        let update = self.session_update.get_or_insert_with(|| SessionUpdate::of(session));
        if let (Some((times, racy)), Some(number), true) = (dir_times, barrier, self.watched) {
            let barrier = AwaitedBarrier { number, since: now };
            update.result = Some(UpdateResult { deleted, times, racy, barrier });
            self.barrier_reached(last_barrier);
        } else {
            update.removed.extend(deleted);
            self.resume_after_update();
        }
    }

    /// Handles the end of a session whose update has no result, if it has one: the worker failed.
    pub(super) fn update_lost(&mut self, session: ConnId) {
        let is_lost = |update: &SessionUpdate| update.session == session && update.result.is_none();
        if self.session_update.as_ref().is_some_and(is_lost) {
            self.require_scan(ScanNeed::Yes);
            self.resume_after_update();
        }
    }

    /// Begins the work that waited for the update: rechecks the names that another program may have changed.
    pub(super) fn resume_after_update(&mut self) {
        let Some(SessionUpdate { mut removed, result, .. }) = self.session_update.take() else { return };
        if self.scan_need == ScanNeed::Yes {
            return; // the full scan sees the changes of these names
        }
        // A job in flight may have seen the mailbox before this update.
        let is_alone = self.in_flight.is_none();
        if let (Some(result), Some(index)) = (result, &mut self.index) {
            if is_alone {
                index.set_times(result.times, result.racy);
                self.events_only_since.get_or_insert(result.barrier.since);
                self.times_mismatch_since = None;
            }
            let deleted: HashSet<FileName> = result.deleted.into_iter().collect();
            removed = if is_alone { &removed ^ &deleted } else { &removed | &deleted };
        }
        removed.into_iter().for_each(|(subdir, name)| self.name_changed(subdir, name));
    }
}

/// The most names that a session has deleted or marked and that are removed one by one. More are left to a full
/// scan, because they cost the loop too much time at once.
pub(super) const MAX_APPLIED_CHANGES: usize = 1000;
