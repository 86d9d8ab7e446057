//! Jobs for the threads that may wait, and their completions. Each carries its addressee and owns what it needs.

use std::{
    fmt,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{AckToken, CompletionSender, spill::SpilledMessage, storage::Storage};
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
        /// The connection that gave it.
        conn: ConnId,
        /// The hash to compare with, and the mailbox behind it.
        credential: Box<Credential>,
        /// The password as the client gave it.
        password: Secret,
        /// The file in which an old hash is replaced, if accounts come from a file.
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
        /// The connection that asked.
        conn: ConnId,
        /// The mailbox.
        maildir: Arc<Maildir>,
        /// The messages that the session has listed.
        snapshot: Arc<Snapshot>,
        /// Position in the snapshot.
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
    /// Append the last bytes to a message in `tmp/`, make its content durable and close it, so that no round of the
    /// committer has to wait for a big one.
    Seal {
        /// The connection that the message comes from.
        conn: ConnId,
        /// The file.
        spilled: Box<SpilledMessage>,
        /// The last bytes.
        bytes: Vec<u8>,
        /// The message.
        token: AckToken,
    },
    /// Count the contents of mailboxes for their quotas, before a message is delivered to them.
    CountUsage {
        /// The connection that the message comes from.
        conn: ConnId,
        /// The message.
        token: AckToken,
        /// The mailboxes.
        mailboxes: Vec<Mailbox>,
    },
    /// Scan a mailbox.
    Scan(IndexId, Box<ScanJob>),
    /// Look at some names in a mailbox again.
    Recheck(IndexId, Arc<Maildir>, Vec<Recheck>),
    /// Ask for the times of the directories of a mailbox.
    CheckTimes(IndexId, Arc<Maildir>),
    /// Drop a value whose end may wait for a disk, or frees much memory.
    Release(Release),
    /// Ask the file system for free space, and whether the spool is in its place.
    CheckSpool,
    /// Remove leftovers from `tmp/` that are older than `age` at `date`, and note that date as known to be good.
    Tidy {
        /// The least age.
        age: Duration,
        /// The date of today.
        date: SystemTime,
    },
    /// Log the figures, some of which the kernel has to be asked for.
    LogStatus,
}

/// The changes of a session that said QUIT.
#[derive(Debug)]
pub struct Update {
    /// The connection that said QUIT.
    pub conn: ConnId,
    /// The mailbox.
    pub maildir: Arc<Maildir>,
    /// The messages that the session has listed.
    pub snapshot: Arc<Snapshot>,
    /// Positions to delete.
    pub delete: Vec<usize>,
    /// Positions to mark as seen.
    pub seen: Vec<usize>,
    /// The index whose watch ends first.
    pub unwatch: Option<IndexId>,
    /// The lock of the mailbox.
    pub lock: DeferredDrop<MailboxLock>,
}

/// What came of a [`Job`] or a delivery, on its way to the event loop.
#[derive(Debug)]
pub enum Completion {
    /// Of [`Job::Verify`].
    Verified(ConnId, Result<Verdict, Failure>),
    /// Of [`Job::Lock`].
    Locked(ConnId, Result<LockedMaildir, Failure>),
    /// Of [`Job::Read`], with the position of the message.
    Read(ConnId, usize, Result<MessageChunk, Failure>),
    /// Of [`Job::Update`]: the names that changed, and whether everything was done.
    Updated(ConnId, registry::SessionChanges, Result<(), Failure>),
    /// The lock of a mailbox is closed.
    Unlocked(Mailbox),
    /// Of [`Job::Spill`].
    Spilled(ConnId, Result<Box<SpilledMessage>, Failure>),
    /// Of [`Job::Seal`].
    Sealed(ConnId, AckToken, Result<Box<SpilledMessage>, Failure>),
    /// Of [`Job::CountUsage`]: those mailboxes that could be counted.
    Counted(ConnId, AckToken, Result<Vec<(Mailbox, Usage)>, Failure>),
    /// Of a delivery.
    Delivered(ConnId, AckToken, Result<DeliveryReceipt, Failure>),
    /// Of [`Job::Scan`]: the contents, or a scan to be continued after others had their turn.
    Scanned(IndexId, Result<ControlFlow<ScanResult, Box<ScanJob>>, Failure>),
    /// Of [`Job::Recheck`].
    Rechecked(IndexId, Result<RecheckResult, Failure>),
    /// Of [`Job::CheckTimes`].
    TimesChecked(IndexId, Result<DirTimes, Failure>),
    /// Accounts that were read anew and are in force from now on.
    AccountsLoaded(Box<Accounts>),
}

/// A value to be dropped by a worker.
pub struct Release {
    _value: Box<dyn Send>,
}

impl Release {
    /// Has `value` dropped where waiting is allowed.
    pub fn job(value: impl Send + 'static) -> Job {
        Job::Release(Self { _value: Box::new(value) })
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
    /// For each recipient the failure that kept the message out of its mailbox, if there was one.
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

/// A mailbox locked.
#[derive(Debug)]
pub struct LockedMaildir {
    /// Its directories.
    pub maildir: Arc<Maildir>,
    /// The times of the directories under the lock.
    pub times: DirTimes,
    /// The lock.
    pub lock: Lock,
    /// The number of a barrier that was made after the lock was taken.
    pub barrier: Option<u64>,
}

/// A piece of a message.
#[derive(Debug)]
pub struct MessageChunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether they end the message.
    pub last: bool,
    /// The message, if there is more to be read.
    pub open: Option<OpenMessage>,
}

/// The lock of a mailbox that a session has open. When it is dropped, the lock is closed, and after that the backend
/// hears [`Completion::Unlocked`]: no login finds the lock of its predecessor.
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

/// Stops watching a mailbox when it is dropped.
#[derive(Debug)]
pub struct Unwatch {
    storage: Arc<Storage>,
    id: IndexId,
    maildir: Arc<Maildir>,
}

impl Unwatch {
    /// Of the mailbox of that index.
    pub fn new(storage: &Arc<Storage>, id: IndexId, maildir: Arc<Maildir>) -> Self {
        Self { storage: Arc::clone(storage), id, maildir }
    }
}

impl Drop for Unwatch {
    fn drop(&mut self) {
        self.storage.watcher.unwatch(self.id, &self.maildir);
    }
}

impl Job {
    /// The completion of this job if it is never done: its queue was full, or it panicked.
    pub fn lost(&self, failure: Failure) -> Option<Completion> {
        Some(match self {
            Self::Verify { conn, .. } => Completion::Verified(*conn, Err(failure)),
            Self::Lock { conn, .. } => Completion::Locked(*conn, Err(failure)),
            Self::Read { conn, message, .. } => Completion::Read(*conn, *message, Err(failure)),
            Self::Update(update) => {
                Completion::Updated(update.conn, registry::SessionChanges::default(), Err(failure))
            }
            Self::Spill { conn, .. } => Completion::Spilled(*conn, Err(failure)),
            Self::Seal { conn, token, .. } => Completion::Sealed(*conn, token.clone(), Err(failure)),
            Self::CountUsage { conn, token, .. } => Completion::Counted(*conn, token.clone(), Err(failure)),
            Self::Scan(id, _) => Completion::Scanned(*id, Err(failure)),
            Self::Recheck(id, ..) => Completion::Rechecked(*id, Err(failure)),
            Self::CheckTimes(id, _) => Completion::TimesChecked(*id, Err(failure)),
            Self::Release(_) | Self::CheckSpool | Self::Tidy { .. } | Self::LogStatus => return None,
        })
    }
}

impl Completion {
    /// The connection that it is for, if it is for one.
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
