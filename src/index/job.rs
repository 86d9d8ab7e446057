//! The jobs that the registry requests for the mailboxes in use, their results, the changes that a session makes, and
//! the changes that sessions hear of. Plain data: a worker runs a job, and [`Registry::complete`](super::Registry::complete) takes its result.

use std::{fmt, ops::ControlFlow, sync::Arc};

use super::{MailboxIndex, MessageList};
use crate::{
    maildir::{
        Change, CountProgress, FileName, Maildir, MessageEntry,
        scan::{DirTimes, Recheck, Skipped},
    },
    proto::request::{ConnId, Failure, Mailbox},
};

/// The number of an index. It is never used twice, so a late result for a dropped index has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexId(pub u64);

impl fmt::Display for IndexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

/// A job for one mailbox.
#[derive(Debug)]
pub enum IndexJob {
    /// Run a full scan, or one slice of it.
    Scan(Box<ScanJob>),
    /// Read the times of the directories, then recheck these names, if there are any.
    Recheck(Arc<Maildir>, Vec<Recheck>),
    /// Stop watching the mailbox. This job has no result.
    Unwatch,
    /// Write the messages down for the next start of the server. This job has no result.
    Keep(KeepJob),
}

/// The result of an [`IndexJob`].
#[derive(Debug)]
pub enum IndexResult {
    /// The result of a full scan, or a scan to be continued after other jobs.
    Scanned(Result<ControlFlow<ScanResult, Box<ScanJob>>, Failure>),
    /// The result of a recheck.
    Rechecked(Result<RecheckResult, Failure>),
}

impl IndexJob {
    /// The result of this job if it never runs to its end.
    pub fn result_if_lost(&self, failure: Failure) -> Option<IndexResult> {
        match self {
            Self::Scan(_) => Some(IndexResult::Scanned(Err(failure))),
            Self::Recheck(..) => Some(IndexResult::Rechecked(Err(failure))),
            Self::Unwatch | Self::Keep(_) => None,
        }
    }
}

/// The instructions for a full scan.
#[derive(Debug)]
pub struct ScanJob {
    /// The open directories of the mailbox.
    pub maildir: Arc<Maildir>,
    /// Begin to watch the mailbox first.
    pub watch: bool,
    /// Skip the scan if the directories have these times.
    pub skip_if_times: Option<DirTimes>,
    /// The messages known so far.
    pub known: MessageList,
    /// Those with the flag T.
    pub known_trashed: MessageList,
    /// The sizes that earlier slices have counted.
    pub progress: CountProgress,
}

/// The messages of a mailbox that has been quiet for some time.
#[derive(Debug)]
pub struct KeepJob {
    /// The open directories of the mailbox.
    pub maildir: Arc<Maildir>,
    /// The messages, without the flag T and with it.
    pub lists: [MessageList; 2],
    /// The directory times that the messages match.
    pub times: DirTimes,
}

/// The changes that a worker made to a mailbox at the end of a session: names, with their subdirectories.
#[derive(Debug, Default)]
pub struct SessionChanges {
    /// Names of messages that are gone, because the session deleted them or found them missing.
    pub deleted: Vec<FileName>,
    /// Names that appeared, disappeared or changed in another way.
    pub changed: Vec<FileName>,
    /// The times of the directories afterwards, and whether another change might have the same times.
    pub dir_times: Option<(DirTimes, bool)>,
    /// The barrier that the worker created after that.
    pub barrier: Option<u64>,
}

/// The result of a full scan.
#[derive(Debug)]
pub struct ScanResult {
    /// The open directories of the mailbox.
    pub maildir: Arc<Maildir>,
    /// The messages, or `None` if nothing has changed.
    pub index: Option<MailboxIndex>,
    /// Whether the mailbox is watched from now on. Only set if the job asked for it.
    pub watched: bool,
    /// Files that the scan skipped.
    pub skipped: Vec<Skipped>,
    /// Known messages that the scan did not see.
    pub missing: Vec<MessageEntry>,
    /// Identities that several messages have, or some of them if there are many.
    pub duplicates: Vec<Box<[u8]>>,
    /// The barrier that the worker created afterwards.
    pub barrier: Option<u64>,
}

/// The result of a recheck.
#[derive(Debug)]
pub struct RecheckResult {
    /// The times of the directories before the recheck.
    pub times: DirTimes,
    /// Whether another change might have the same times.
    pub racy: bool,
    /// Names that exist, and names that do not.
    pub changes: Vec<Change>,
    /// Files that the recheck skipped.
    pub skipped: Vec<Skipped>,
    /// The barrier that the worker created afterwards.
    pub barrier: Option<u64>,
}

/// A mailbox that has changed, and the sessions that have it open and do not know that yet. They are none if only messages
/// with the flag T have changed.
#[derive(Debug, PartialEq, Eq)]
pub struct MailboxChange {
    /// The mailbox, or the folder of it, that has changed.
    pub mailbox: Mailbox,
    /// The number of messages in it now.
    pub messages: usize,
    /// The sessions that have it open and have not had this event.
    pub sessions: Vec<ConnId>,
}
