//! Jobs for the threads that may block, and their completions. Each carries its addressee and owns the values it
//! needs.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use super::{
    AckToken, CompletionSender,
    folder_job::{FolderJob, FolderKey, FolderOutcome, FolderResult},
    hierarchy_job::{HierarchyJob, HierarchyResult},
    imap_reads::{ImapRead, ReadOutcome},
    piece_files::KeptFile,
    spill::SpilledMessage,
};
use crate::{
    accounts::{Accounts, Credential, UserFile, Verdict},
    deferred_drop::DeferredDrop,
    index::{
        Snapshot,
        job::{IndexId, IndexJob, IndexResult, SessionChanges},
    },
    maildir::{Maildir, MessageEntry, OpenMessage, Usage, lock::Lock, scan::DirTimes},
    proto::{
        http::api::{ApiRequest, Document, Draft, MailEvent},
        request::{Access, ConnId, Failure, Mailbox, Secret},
    },
    wire_size::WireEncoder,
};

pub use super::spill::SpillTarget;

/// A job for a worker.
#[derive(Debug)]
pub enum Job {
    /// Check a password on a thread that may take the time of a slow hash.
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
    /// Open a mailbox for a session, and lock it if the session is to be the only one.
    Open {
        /// The connection that logs in.
        conn: ConnId,
        /// The mailbox that the login opens, or the folder of it.
        mailbox: Mailbox,
        /// Whether the worker locks the mailbox for this session alone.
        access: Access,
        /// Its directories, if the index has them open.
        known: Option<KnownMaildir>,
    },
    /// Read a piece of a message.
    Read {
        /// The connection that gets the piece.
        conn: ConnId,
        /// The directories of the message, which stay open while the session reads.
        maildir: Arc<Maildir>,
        /// The messages that the session has listed.
        snapshot: Arc<Snapshot>,
        /// The index of the message in the snapshot.
        message: usize,
        /// Offset in the file, in bytes as stored.
        from: u64,
        /// Bytes of the largest piece.
        max: usize,
        /// The message, if an earlier piece left it open.
        open: Option<OpenMessage>,
    },
    /// Let the kernel read messages that a session will probably want next into memory, from where the loop sends them.
    ReadAhead {
        /// The directories of the messages.
        maildir: Arc<Maildir>,
        /// The messages that the session has listed.
        snapshot: Arc<Snapshot>,
        /// Indexes in the snapshot.
        messages: Range<usize>,
        /// Bytes of the largest message that the loop reads.
        max: usize,
    },
    /// Delete and mark messages, then release the lock.
    Update(Box<Update>),
    /// Append to a message in `tmp/`.
    Spill {
        /// The connection that the message comes from.
        conn: ConnId,
        /// A new file, or the one that earlier spills have begun.
        to: SpillTarget,
        /// The next bytes of the message, as stored.
        bytes: Vec<u8>,
        /// The token of the message if these are its last bytes. The worker then makes the content durable and closes
        /// the file, so that no batch of the committer waits for a large message.
        last: Option<AckToken>,
    },
    /// Count the contents of mailboxes for their quotas, before a message is delivered to them.
    CountUsage {
        /// The connection that the message comes from.
        conn: ConnId,
        /// The token of the message.
        token: AckToken,
        /// The mailboxes with a quota whose usage is unknown or old.
        mailboxes: Vec<Mailbox>,
    },
    /// Scan or recheck a mailbox for its index, or stop watching it.
    Index(IndexId, IndexJob),
    /// Give the messages of a folder UIDs, or change some of them.
    Folder(Box<FolderJob>),
    /// Serve a request about the folders of a user.
    Hierarchy(Box<HierarchyJob>),
    /// Read messages of a folder for a client of IMAP.
    Imap(Box<ImapRead>),
    /// Serve a request of the web API.
    Api {
        /// The connection that gets the response.
        conn: ConnId,
        /// The request.
        request: ApiRequest,
        /// The message whose next piece the request is about.
        reading: Option<Box<ReadMessage>>,
        /// Gone once the connection is closed. Then a request that changes nothing need not be served.
        client: Weak<()>,
    },
    /// Compare the mailboxes with the last comparison, for the sessions that have subscribed to changes.
    CompareMailboxes {
        /// Whether there was no subscription before: changes count from now on.
        reset: bool,
    },
    /// Drop a value whose drop may wait for a disk, or frees much memory.
    Release(Release),
    /// Check the free space, and that the spool is in its place.
    CheckSpool {
        /// Whether to log the metrics first, some of which come from the kernel.
        log_status: bool,
    },
    /// Remove leftovers from `tmp/` that are older than `age` at `date`, and store that date as a trusted one.
    Tidy {
        /// Files are leftovers from this age on.
        age: Duration,
        /// The date of the wall clock, unless the trusted date of the spool shows that it is wrong.
        date: SystemTime,
    },
}

/// A mailbox in the index.
#[derive(Debug)]
pub struct KnownMaildir {
    /// Its open directories.
    pub maildir: Arc<Maildir>,
    /// The index is complete if the directories still have these times.
    pub settled_times: Option<DirTimes>,
}

/// The changes of a session at QUIT.
#[derive(Debug)]
pub struct Update {
    /// The connection that sent QUIT.
    pub conn: ConnId,
    /// The mailbox that the session has open.
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
    /// The verdict of [`Job::Verify`]. An error means that the password was not checked.
    Verified(ConnId, Result<Verdict, Failure>),
    /// The result of [`Job::Open`].
    Opened(ConnId, Result<OpenedMaildir, Failure>),
    /// Of [`Job::Read`], with the index of the message.
    Read(ConnId, usize, Result<MessageChunk, Failure>),
    /// Of [`Job::Update`]: the names that changed, and whether every change succeeded.
    Updated(ConnId, Option<SessionChanges>, Result<(), Failure>),
    /// The lock of a mailbox is closed.
    Unlocked(Mailbox),
    /// Of [`Job::Spill`], with the token of the message if the bytes were its last.
    Spilled(ConnId, Option<AckToken>, Result<Box<SpilledMessage>, Failure>),
    /// Of [`Job::CountUsage`]: the mailboxes that could be counted.
    Counted(ConnId, AckToken, Result<Vec<(Mailbox, Usage)>, Failure>),
    /// The result of a delivery: from here on its message is durable and visible, or removed.
    Delivered(ConnId, AckToken, Result<DeliveryReceipt, Failure>),
    /// The result of [`Job::Index`].
    Index(IndexId, IndexResult),
    /// The result of [`Job::Folder`].
    Folder(FolderKey, FolderResult),
    /// The result of [`Job::Hierarchy`].
    Hierarchy(ConnId, Result<HierarchyResult, Failure>),
    /// The result of [`Job::Imap`].
    Imap(ConnId, Result<ReadOutcome, Failure>),
    /// The result of [`Job::Api`].
    Api(ConnId, Result<ApiOutcome, Failure>),
    /// The result of [`Job::CompareMailboxes`].
    MailChanged(Result<Vec<MailEvent>, Failure>),
    /// The transcripts of the last sessions have changed.
    SessionsChanged,
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
    /// The new files, one for each mailbox that has the message.
    pub arrivals: Vec<DeliveredCopy>,
    /// For each recipient, the failure that kept the message out of its mailbox, if any.
    pub failures: Vec<Option<Failure>>,
}

/// A message that is durable in one of its mailboxes.
#[derive(Debug, Clone)]
pub struct DeliveredCopy {
    /// The mailbox, or the folder of it, that has the file.
    pub mailbox: Mailbox,
    /// Device and inode of the Maildir at that time.
    pub maildir: (u64, u64),
    /// The file, as a scan of the mailbox would find it.
    pub entry: MessageEntry,
}

/// A mailbox that is open for a session.
#[derive(Debug)]
pub struct OpenedMaildir {
    /// The open directories of the mailbox.
    pub maildir: Arc<Maildir>,
    /// The times of the directories, under the lock if there is one.
    pub times: DirTimes,
    /// The lock, if the session is the only one.
    pub lock: Option<Lock>,
    /// Whether a later change may leave the same times.
    pub racy: bool,
    /// The number of a barrier that was created after that. A settled mailbox needs none.
    pub barrier: Option<u64>,
}

/// A piece of a message.
#[derive(Debug)]
pub struct MessageChunk {
    /// The bytes as stored, before dot-stuffing and without changed line ends.
    pub bytes: Vec<u8>,
    /// Whether these bytes end the message.
    pub last: bool,
    /// The open message, if there is more to read.
    pub still_open: Option<OpenMessage>,
}

/// The result of a request of the web API.
#[derive(Debug)]
pub enum ApiOutcome {
    /// The content of the response.
    Document {
        /// The content, or its first piece.
        document: Document,
        /// The message, if there is more to read.
        reading: Option<Box<ReadMessage>>,
        /// The changes that the request has made.
        changes: Changes,
    },
    /// The disk or another program prevented a part of the changes.
    PartlyDone {
        /// The reason.
        failure: Failure,
        /// The changes that the request has made all the same.
        changes: Changes,
    },
    /// The message of a description, or a sentence that says what is wrong with it.
    Composed(Result<Box<Draft>, String>),
    /// The next piece of a message.
    Chunk {
        /// The octets on the wire.
        bytes: Vec<u8>,
        /// The message, if there is more to read.
        reading: Option<Box<ReadMessage>>,
    },
}

/// A message that a session of the web API reads in pieces. Each piece comes from the same version of it.
#[derive(Debug)]
pub struct ReadMessage {
    /// The mailbox of the message.
    pub mailbox: Mailbox,
    /// The message, as it was listed.
    pub entry: MessageEntry,
    /// Its file, between two pieces. Any number of clients may be slow, so it may be closed.
    pub file: Option<KeptFile>,
    /// The octets of its file that were read.
    pub read: u64,
    /// The octets on the wire that they made.
    pub written: u64,
    /// The line ends up to there.
    pub encoder: WireEncoder,
}

impl ApiOutcome {
    /// A document that changed nothing.
    pub(crate) fn of(document: Document) -> Self {
        Self::Document { document, reading: None, changes: Changes::None }
    }
}

/// The changes of mailboxes that a request has made.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Changes {
    /// All is as it was.
    #[default]
    None,
    /// Flags have changed, and no mailbox has become smaller.
    Marks,
    /// Messages of these mailboxes are gone.
    Deletions(Vec<Mailbox>),
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
    /// Takes the lock over. `completions` learns when it is closed.
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
            Self::Open { conn, .. } => Completion::Opened(*conn, Err(failure)),
            Self::Read { conn, message, .. } => Completion::Read(*conn, *message, Err(failure)),
            Self::Update(update) => Completion::Updated(update.conn, None, Err(failure)),
            Self::Spill { conn, last, .. } => Completion::Spilled(*conn, last.clone(), Err(failure)),
            Self::CountUsage { conn, token, .. } => Completion::Counted(*conn, token.clone(), Err(failure)),
            Self::Index(id, job) => Completion::Index(*id, job.result_if_lost(failure)?),
            Self::Folder(job) => {
                let outcome = FolderOutcome::Failed(failure);
                Completion::Folder(job.key.clone(), FolderResult { book: None, outcome })
            }
            Self::Hierarchy(job) => Completion::Hierarchy(job.conn, Err(failure)),
            Self::Imap(read) => Completion::Imap(read.conn, Err(failure)),
            Self::Api { conn, .. } => Completion::Api(*conn, Err(failure)),
            Self::CompareMailboxes { .. } => Completion::MailChanged(Err(failure)),
            Self::ReadAhead { .. } | Self::Release(_) | Self::CheckSpool { .. } | Self::Tidy { .. } => {
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
            | Self::Opened(conn, _)
            | Self::Read(conn, ..)
            | Self::Updated(conn, ..)
            | Self::Spilled(conn, ..)
            | Self::Counted(conn, ..)
            | Self::Hierarchy(conn, _)
            | Self::Imap(conn, _)
            | Self::Api(conn, _)
            | Self::Delivered(conn, ..) => Some(*conn),
            Self::Unlocked(_)
            | Self::Index(..)
            | Self::Folder(..)
            | Self::MailChanged(_)
            | Self::SessionsChanged
            | Self::AccountsLoaded(_) => None,
        }
    }
}
