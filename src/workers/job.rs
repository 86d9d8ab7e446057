//! Jobs for the threads that may wait, and their completions. Each carries its addressee and owns the values it
//! needs.

use std::{
    fmt,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{AckToken, CompletionSender, spill::SpilledMessage};
use crate::{
    accounts::{Accounts, Credential, UserFile, Verdict},
    deferred_drop::DeferredDrop,
    index::{
        Snapshot,
        registry::{self, IndexId, RecheckResult, ScanJob, ScanResult},
    },
    maildir::{
        Maildir, MessageEntry, OpenMessage, Usage,
        lock::Lock,
        scan::{DirTimes, Recheck},
    },
    proto::request::{ConnId, Failure, Mailbox, Secret},
};

pub use super::spill::SpillTarget;

/// A job for a worker.
#[derive(Debug)]
pub enum Job {
    /// Check a password.
    Verify {
        /// The connection that logs in.
        conn: ConnId,
        /// The hash to compare with, and the mailbox of that account.
        credential: Box<Credential>,
        /// The password as the client sent it.
        password: Secret,
        /// The file in which an outdated hash is replaced, if accounts come from a file.
        users: Option<UserFile>,
    },
    /// Lock a mailbox for a POP3 session.
    Lock {
        /// The connection that logs in.
        conn: ConnId,
        /// The mailbox.
        mailbox: Mailbox,
        /// Its directories, if the index has them open.
        known: Option<Arc<Maildir>>,
    },
    /// Read a piece of a message.
    Read {
        /// The connection that reads.
        conn: ConnId,
        /// The mailbox.
        maildir: Arc<Maildir>,
        /// The messages that the session has listed.
        snapshot: Arc<Snapshot>,
        /// The index of the message in the snapshot.
        message: usize,
        /// Offset in the file.
        from: u64,
        /// The message, if an earlier piece left it open.
        open: Option<OpenMessage>,
    },
    /// Delete and mark messages, then release the lock.
    Update(Box<Update>),
    /// Append to a message in `tmp/`.
    Spill {
        /// The connection that the message comes from.
        conn: ConnId,
        /// The file.
        to: SpillTarget,
        /// The next bytes.
        bytes: Vec<u8>,
    },
    /// Append the last bytes to a message in `tmp/`, make its content durable and close it, so that no batch of the
    /// committer waits for a large message.
    Seal {
        /// The connection that the message comes from.
        conn: ConnId,
        /// The file.
        spilled: Box<SpilledMessage>,
        /// The last bytes.
        bytes: Vec<u8>,
        /// The token of the message.
        token: AckToken,
    },
    /// Count the contents of mailboxes for their quotas, before a message is delivered to them.
    CountUsage {
        /// The connection that the message comes from.
        conn: ConnId,
        /// The token of the message.
        token: AckToken,
        /// The mailboxes.
        mailboxes: Vec<Mailbox>,
    },
    /// Scan a mailbox.
    Scan(IndexId, Box<ScanJob>),
    /// Check some names in a mailbox again.
    Recheck(IndexId, Arc<Maildir>, Vec<Recheck>),
    /// Read the times of the directories of a mailbox.
    CheckTimes(IndexId, Arc<Maildir>),
    /// Stop watching a mailbox.
    Unwatch(IndexId, Arc<Maildir>),
    /// Drop a value whose drop may wait for a disk, or frees much memory.
    Release(Release),
    /// Check the free space, and that the spool is in its place.
    CheckSpool,
    /// Remove leftovers from `tmp/` that are older than `age` at `date`, and store that date as a trusted one.
    Tidy {
        /// The least age.
        age: Duration,
        /// Today's date.
        date: SystemTime,
    },
    /// Log the metrics, some of which come from the kernel.
    LogStatus,
}

/// The changes of a session at QUIT.
#[derive(Debug)]
pub struct Update {
    /// The connection that sent QUIT.
    pub conn: ConnId,
    /// The mailbox.
    pub maildir: Arc<Maildir>,
    /// The messages that the session has listed.
    pub snapshot: Arc<Snapshot>,
    /// Indexes of the messages to delete.
    pub delete: Vec<usize>,
    /// Indexes of the messages to mark as seen.
    pub seen: Vec<usize>,
    /// The index whose watch ends before the update.
    pub unwatch: Option<IndexId>,
    /// The lock of the mailbox.
    pub lock: DeferredDrop<MailboxLock>,
}

/// The result of a [`Job`] or a delivery, for the event loop.
#[derive(Debug)]
pub enum Completion {
    /// Of [`Job::Verify`].
    Verified(ConnId, Result<Verdict, Failure>),
    /// Of [`Job::Lock`].
    Locked(ConnId, Result<LockedMaildir, Failure>),
    /// Of [`Job::Read`], with the index of the message.
    Read(ConnId, usize, Result<MessageChunk, Failure>),
    /// Of [`Job::Update`]: the names that changed, and whether every change succeeded.
    Updated(ConnId, Option<registry::SessionChanges>, Result<(), Failure>),
    /// The lock of a mailbox is closed.
    Unlocked(Mailbox),
    /// Of [`Job::Spill`].
    Spilled(ConnId, Result<Box<SpilledMessage>, Failure>),
    /// Of [`Job::Seal`].
    Sealed(ConnId, AckToken, Result<Box<SpilledMessage>, Failure>),
    /// Of [`Job::CountUsage`]: the mailboxes that could be counted.
    Counted(ConnId, AckToken, Result<Vec<(Mailbox, Usage)>, Failure>),
    /// Of a delivery.
    Delivered(ConnId, AckToken, Result<DeliveryReceipt, Failure>),
    /// Of [`Job::Scan`]: the contents, or a scan that continues after other jobs.
    Scanned(IndexId, Result<ControlFlow<ScanResult, Box<ScanJob>>, Failure>),
    /// Of [`Job::Recheck`].
    Rechecked(IndexId, Result<RecheckResult, Failure>),
    /// Of [`Job::CheckTimes`].
    TimesChecked(IndexId, Result<DirTimes, Failure>),
    /// Accounts that were reloaded and are in force from now on.
    AccountsLoaded(Box<Accounts>),
}

/// A value to be dropped by a worker.
pub struct Release {
    _dropped: DeferredDrop<Box<dyn Send>>,
}

impl Release {
    /// Returns a job that drops `value` on a worker.
    pub fn job(value: impl Send + 'static) -> Job {
        Job::Release(Self { _dropped: DeferredDrop::new(Box::new(value)) })
    }
}

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Release")
    }
}

/// A message that is durable in the mailboxes of its recipients, or of some of them.
#[derive(Debug)]
pub struct DeliveryReceipt {
    /// The new files.
    pub arrivals: Vec<DeliveredCopy>,
    /// For each recipient, the failure that kept the message out of its mailbox, if any.
    pub failures: Vec<Option<Failure>>,
}

/// A message that is durable in one of its mailboxes.
#[derive(Debug)]
pub struct DeliveredCopy {
    /// The mailbox.
    pub mailbox: Mailbox,
    /// Device and inode of the Maildir at that time.
    pub maildir: (u64, u64),
    /// The message.
    pub entry: MessageEntry,
}

/// A locked mailbox.
#[derive(Debug)]
pub struct LockedMaildir {
    /// Its directories.
    pub maildir: Arc<Maildir>,
    /// The times of the directories under the lock.
    pub times: DirTimes,
    /// The lock.
    pub lock: Lock,
    /// The number of a barrier that was created after the lock was acquired.
    pub barrier: Option<u64>,
}

/// A piece of a message.
#[derive(Debug)]
pub struct MessageChunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether these bytes end the message.
    pub last: bool,
    /// The open message, if there is more to read.
    pub still_open: Option<OpenMessage>,
}

/// The lock of a mailbox that a session has open. Dropping it closes the lock, and then sends
/// [`Completion::Unlocked`] to the backend, so that the next login never finds the old lock.
#[derive(Debug)]
pub struct MailboxLock {
    mailbox: Mailbox,
    lock: Option<Lock>,
    completions: CompletionSender,
}

impl MailboxLock {
    /// Guards `lock`.
    pub fn new(mailbox: Mailbox, lock: Lock, completions: CompletionSender) -> Self {
        Self { mailbox, lock: Some(lock), completions }
    }
}

impl Drop for MailboxLock {
    fn drop(&mut self) {
        self.lock = None;
        self.completions.send(Completion::Unlocked(self.mailbox.clone()));
    }
}

impl Job {
    /// The completion of this job if it never runs to its end: its queue was full, or it panicked.
    pub fn failure_completion(&self, failure: Failure) -> Option<Completion> {
        Some(match self {
            Self::Verify { conn, .. } => Completion::Verified(*conn, Err(failure)),
            Self::Lock { conn, .. } => Completion::Locked(*conn, Err(failure)),
            Self::Read { conn, message, .. } => Completion::Read(*conn, *message, Err(failure)),
            Self::Update(update) => Completion::Updated(update.conn, None, Err(failure)),
            Self::Spill { conn, .. } => Completion::Spilled(*conn, Err(failure)),
            Self::Seal { conn, token, .. } => Completion::Sealed(*conn, token.clone(), Err(failure)),
            Self::CountUsage { conn, token, .. } => Completion::Counted(*conn, token.clone(), Err(failure)),
            Self::Scan(id, _) => Completion::Scanned(*id, Err(failure)),
            Self::Recheck(id, ..) => Completion::Rechecked(*id, Err(failure)),
            Self::CheckTimes(id, _) => Completion::TimesChecked(*id, Err(failure)),
            Self::Unwatch(..) | Self::Release(_) | Self::CheckSpool | Self::Tidy { .. } | Self::LogStatus => {
                return None;
            }
        })
    }
}

impl Completion {
    /// The connection to which it is addressed, if any.
    pub fn conn(&self) -> Option<ConnId> {
        match self {
            Self::Verified(conn, _)
            | Self::Locked(conn, _)
            | Self::Read(conn, ..)
            | Self::Updated(conn, ..)
            | Self::Spilled(conn, _)
            | Self::Sealed(conn, ..)
            | Self::Counted(conn, ..)
            | Self::Delivered(conn, ..) => Some(*conn),
            Self::Unlocked(_)
            | Self::Scanned(..)
            | Self::Rechecked(..)
            | Self::TimesChecked(..)
            | Self::AccountsLoaded(_) => None,
        }
    }
}
