//! The work that is pending for a mailbox in use, as data: the job in flight, the logins that wait, the update of a
//! session.

use std::{collections::HashSet, time::Duration, vec};

use super::MailboxIndex;
use crate::{
    maildir::{FileName, MessageEntry, scan::DirTimes},
    proto::request::ConnId,
};

/// The job in flight for a mailbox, until the index has its result.
#[derive(Debug)]
pub(super) enum InFlight {
    /// A full scan, with the event count at its start.
    FullScan(u64),
    /// A recheck of some names.
    Recheck,
    /// The job is done, and the barrier that the worker created after it is not reached yet.
    AwaitingBarrier(FinishedJob, AwaitedBarrier),
    /// The index takes in the result.
    Reconciling(Unreconciled),
    /// A recheck without names: it compares the times of the directories.
    CheckTimes,
}

impl InFlight {
    /// The messages of a full scan that are to take the place of the index.
    pub(super) fn scanned(&self) -> Option<&MailboxIndex> {
        match self {
            Self::AwaitingBarrier(FinishedJob::FullScan { index, .. }, _)
            | Self::Reconciling(Unreconciled::Missing { index, .. } | Unreconciled::Own(index)) => {
                index.as_deref()
            }
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ScanNeed {
    No,
    IfChanged,
    Yes,
}

/// A finished recheck or full scan. It may have missed files that were moving at that time.
#[derive(Debug)]
pub(super) enum FinishedJob {
    /// Names that the recheck did not find.
    Recheck(Vec<FileName>),
    FullScan {
        events_at_start: u64,
        /// Known messages that the scan did not see: it reads each name at another moment.
        missing: Vec<MessageEntry>,
        /// The messages that it saw. `None`: it found no difference.
        index: Option<Box<MailboxIndex>>,
    },
}

impl FinishedJob {
    /// Whether events before the barrier may change the meaning of the result.
    pub(super) fn must_wait(&self) -> bool {
        match self {
            Self::Recheck(gone) => !gone.is_empty(),
            Self::FullScan { index, .. } => index.is_some(),
        }
    }
}

/// An awaited barrier, and the start of the wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct AwaitedBarrier {
    pub(super) number: u64,
    pub(super) since: Duration,
}

/// A login that waits until the index has every event from before it: first for its barrier, if the mailbox is
/// watched, and then for `needed_event`.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingLogin {
    pub(super) session: ConnId,
    pub(super) needed_event: u64,
    pub(super) barrier: Option<AwaitedBarrier>,
    /// The times of the directories before the barrier, unless a later change may leave the same ones.
    pub(super) times: Option<DirTimes>,
}

/// The part of a result that is not taken in yet. Until all of a full scan is, its messages are beside the index, which nobody
/// sees without those that are moving or are our own.
#[derive(Debug)]
pub(super) enum Unreconciled {
    /// A full scan.
    Missing {
        events_at_start: u64,
        /// Messages that it did not see.
        missing: vec::IntoIter<MessageEntry>,
        /// Those that it saw. `None`: it found no difference.
        index: Option<Box<MailboxIndex>>,
    },
    /// Names that rechecks did not find, and whether one of them is reported as moving and is nowhere in the index.
    Gone(vec::IntoIter<FileName>, bool),
    /// Our own changes, which the job may or may not have seen, for the messages of a full scan or else for the index.
    Own(Option<Box<MailboxIndex>>),
}

/// The watch's reports during an update, and the worker's result until its barrier is reached.
#[derive(Debug)]
pub(super) struct SessionUpdate {
    /// The session that ends with it.
    pub(super) session: ConnId,
    /// Names reported as removed since the update began.
    pub(super) removed: HashSet<FileName>,
    /// `None` until the worker is done.
    pub(super) result: Option<UpdateResult>,
}

/// The worker's result of a session update.
#[derive(Debug)]
pub(super) struct UpdateResult {
    pub(super) deleted: Vec<FileName>,
    pub(super) times: DirTimes,
    pub(super) racy: bool,
    pub(super) barrier: AwaitedBarrier,
}

impl SessionUpdate {
    /// An update that a worker is about to begin for a session.
    pub(super) fn of(session: ConnId) -> Self {
        Self { session, removed: HashSet::new(), result: None }
    }

    /// The barrier that the update waits for.
    pub(super) fn barrier(&self) -> Option<AwaitedBarrier> {
        self.result.as_ref().map(|result| result.barrier)
    }
}

/// The longest time that new directory times may stand without an event that explains them.
pub(super) const EVENT_GRACE: Duration = Duration::from_secs(1);
