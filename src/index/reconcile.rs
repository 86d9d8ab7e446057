//! The index takes in the result of a full scan or recheck, some names in each turn of the loop: a mailbox may lose
//! all its messages at once, and clients may have sent any number meanwhile.
//!
//! The registry serves no login between two of these turns. An event between them makes a message stay for another
//! recheck at most. The messages of a full scan take the place of the index after the last of these turns, so that no IMAP
//! session is told meanwhile that a message is gone.

use std::vec;

use super::{
    MailboxIndex,
    budget::Budget,
    entry::MailboxEntry,
    pending_work::{FinishedJob, InFlight, ScanNeed, Unreconciled},
};
use crate::{
    deferred_drop::drop_deferred,
    maildir::{FileName, MessageEntry, name},
};

impl MailboxEntry {
    /// Begins to take in the result of a job, after every event during the job has been reported.
    pub(super) fn begin_to_reconcile(&mut self, done: FinishedJob) {
        let rest = match done {
            FinishedJob::FullScan { events_at_start, missing, index } => {
                if index.is_some() {
                    let all = self.events_seen;
                    self.logins.iter_mut().for_each(|login| login.needed_event = all);
                }
                Unreconciled::Missing { events_at_start, missing: missing.into_iter(), index }
            }
            FinishedJob::Recheck(gone) => Unreconciled::Gone(gone.into_iter(), false),
        };
        self.in_flight = Some(InFlight::Reconciling(rest));
    }

    /// Continues with the result. Returns `false` if the budget of this turn is spent before the end.
    pub(super) fn reconcile(&mut self, budget: &mut Budget) -> bool {
        let Some(InFlight::Reconciling(rest)) = &mut self.in_flight else { return true };
        let mut rest = std::mem::replace(rest, Unreconciled::Own(None));
        let is_done = match &mut rest {
            Unreconciled::Missing { events_at_start, missing, index } => {
                self.keep_maybe_renamed((*events_at_start, missing), index.as_deref_mut(), budget)
            }
            Unreconciled::Gone(gone, is_lost) => self.remove_gone(gone, is_lost, budget),
            Unreconciled::Own(_) => true,
        };
        if !is_done {
            self.in_flight = Some(InFlight::Reconciling(rest));
            return false;
        }
        let mut scanned = match rest {
            Unreconciled::Missing { index, .. } | Unreconciled::Own(index) => index,
            Unreconciled::Gone(..) => None,
        };
        if !self.log_skipped_slice(budget) || !self.reapply_own_changes(scanned.as_deref_mut(), budget) {
            self.in_flight = Some(InFlight::Reconciling(Unreconciled::Own(scanned)));
            return false;
        }
        if let Some(index) = scanned {
            drop_deferred(self.replace_index(*index));
        }
        self.in_flight = None;
        true
    }

    /// Keeps a message that a full scan did not see, if a name of its identity was reported: the message is moving.
    fn keep_maybe_renamed(
        &mut self,
        (from, missing): (u64, &mut vec::IntoIter<MessageEntry>),
        scanned: Option<&mut MailboxIndex>,
        budget: &mut Budget,
    ) -> bool {
        let Some(index) = scanned.or(self.index.as_mut()) else { return true };
        let some = missing.take(budget.take(missing.len())).collect();
        self.dirty_names.extend(index.keep_maybe_renamed(some, &self.dirty_names));
        let is_done = missing.len() == 0;
        if is_done {
            (self.failed_rechecks, self.events_applied) = (0, from);
        }
        is_done
    }

    /// Removes the message of a name that is gone, unless another name of its identity was reported: then the
    /// message is moving, and a worker rechecks its old name together with the new one.
    fn remove_gone(
        &mut self,
        gone: &mut vec::IntoIter<FileName>,
        is_lost: &mut bool,
        budget: &mut Budget,
    ) -> bool {
        let Some(index) = &mut self.index else { return true };
        let some = gone.take(budget.take(gone.len()));
        let is_moving = |(_, name): &FileName| self.dirty_names.has_identity(name::identity(name));
        // A job of ours may have given a message that name again since the recheck.
        let own = &self.own_changes;
        let some = some.filter(|(subdir, name)| !own.has_made(*subdir, name));
        let (later, now): (Vec<FileName>, Vec<FileName>) = some.partition(is_moving);
        if self.scan_need < ScanNeed::Yes {
            index.remove(&now); // else some events are unknown: the full scan decides
        }
        *is_lost |= later.iter().any(|(_, name)| !index.has_identity(name::identity(name)));
        self.dirty_names.extend(later);
        if gone.len() > 0 {
            return false;
        }
        // A message that no recheck found under its reported name gets another recheck before it is left out.
        if *is_lost && self.failed_rechecks < MAX_FAILED_RECHECKS {
            self.failed_rechecks += 1;
        } else {
            (self.failed_rechecks, self.events_applied) = (0, self.rechecking_event);
        }
        true
    }

    /// Logs some of the files that a full scan skipped.
    fn log_skipped_slice(&mut self, budget: &mut Budget) -> bool {
        let some =
            self.skipped_to_log.split_off(self.skipped_to_log.len() - budget.take(self.skipped_to_log.len()));
        self.log_skipped(&some);
        self.skipped_to_log.is_empty()
    }

    fn reapply_own_changes(&mut self, scanned: Option<&mut MailboxIndex>, budget: &mut Budget) -> bool {
        let some = self.own_changes.take(budget.take(self.own_changes.len()));
        if let Some(index) = scanned.or(self.index.as_mut()) {
            index.apply_own_changes(&some);
        }
        self.own_changes.is_empty()
    }
}

/// The most rechecks in a row for a message that moves all the time.
const MAX_FAILED_RECHECKS: usize = 10;
