//! The jobs for one folder of IMAP, and their results, as data.

use std::{sync::Arc, time::Duration};

use crate::{
    index::{FolderSnapshot, Sequence, UidBook, registry::IndexVersion},
    maildir::{Change, Maildir, MessageEntry, Usage},
    proto::{
        imap::{
            flags::Flags,
            request::{Interruption, Refusal, Store},
            sequence_set::NumberSet,
        },
        request::{Failure, Mailbox},
    },
};

/// The number of a folder in use. It is never used twice, so a late result for a folder that was dropped has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderId(pub u64);

/// The addressee of a result.
pub type FolderKey = (Mailbox, FolderId);

/// A job for a folder.
#[derive(Debug)]
pub struct FolderJob {
    /// The folder that gets the result.
    pub key: FolderKey,
    /// Its open directories. `None`: no session has selected it, and the job opens it.
    pub maildir: Option<Arc<Maildir>>,
    /// Its UIDs. `None`: the job reads them.
    pub book: Option<Box<UidBook>>,
    /// The work.
    pub work: FolderWork,
}

/// The work of a [`FolderJob`].
#[derive(Debug)]
pub enum FolderWork {
    /// Give the messages of the index their UIDs.
    Refresh(IndexVersion, Arc<FolderSnapshot>),
    /// Change or remove messages.
    Change(Box<FolderChange>),
    /// Copy messages of another folder to it, or move them.
    Transfer(Box<Transfer>),
    /// Give letters to keywords, for a message of APPEND.
    Letters(Flags, Vec<String>),
    /// Give a UID to a message of APPEND.
    Number(Box<MessageEntry>),
}

/// A part of the messages of a folder, in the order of their UIDs.
#[derive(Debug, Clone)]
pub struct Slice {
    /// The messages.
    pub sequence: Arc<Sequence>,
    /// The first UID.
    pub from: u32,
}

/// The result of a [`FolderJob`].
#[derive(Debug)]
pub struct FolderResult {
    /// The UIDs. `None`: the job did not run to its end, so that the next one reads them again.
    pub book: Option<Box<UidBook>>,
    /// The result of the work.
    pub outcome: FolderOutcome,
}

/// The result of the work of a [`FolderJob`].
#[derive(Debug)]
pub enum FolderOutcome {
    /// Of [`FolderWork::Refresh`].
    Refreshed(IndexVersion, Arc<Sequence>),
    /// Of a change.
    Changed(Box<ChangeOutcome>),
    /// Of [`FolderWork::Transfer`].
    Transferred(Box<TransferOutcome>),
    /// The same: the room of the messages is to be reserved first.
    Measured(Box<Transfer>, Needs),
    /// The folder that was to get the messages does not allow that. The changes of names there are of copies that were removed.
    TransferRefused(Refusal, (u64, u64), Vec<Change>),
    /// Of [`FolderWork::Letters`]: those of the flags and of the keywords.
    Letters(Vec<u8>),
    /// Of [`FolderWork::Number`]: the UID validity of the folder and the UID of the message. `None`: no UID lasts there.
    Numbered(Option<(u32, u32)>),
    /// The job failed, and has changed nothing.
    Failed(Failure),
    /// The client asked for something that the folder does not allow. Nothing has changed.
    Refused(Refusal),
}

/// A change of messages. It moves between the backend and its jobs, each of which does a slice, so that the loop copies no set.
#[derive(Debug)]
pub struct FolderChange {
    /// The change.
    pub request: ChangeRequest,
    /// The messages that are left.
    pub slice: Slice,
    /// The result so far.
    pub done: Changed,
}

/// The request of a [`FolderChange`].
#[derive(Debug)]
pub enum ChangeRequest {
    /// Change flags of some messages.
    Store(Box<Store>),
    /// Remove some of the messages with `\Deleted`: all, or those with these UIDs.
    Expunge(Option<NumberSet>),
}

/// The result of a [`FolderChange`] for its client.
#[derive(Debug, Default)]
pub struct Changed {
    /// The number of messages that have the flags of the request now, or were removed.
    pub messages: u64,
    /// UIDs of messages that another program has changed meanwhile.
    pub modified: NumberSet,
    /// Whether a message could not be changed, because it is gone or cannot have the name.
    pub is_partial: bool,
}

/// The result of a slice of a change.
#[derive(Debug)]
pub struct ChangeOutcome {
    /// The change and what is left of it.
    pub change: Box<FolderChange>,
    /// The changes of names in this slice, for the index.
    pub names: Vec<Change>,
    /// Whether all is done and durable, or the failure that prevented the rest.
    pub end: Option<Result<(), Interruption>>,
}

impl FolderChange {
    /// A change of messages of that state.
    pub fn new(request: ChangeRequest, sequence: Arc<Sequence>) -> Self {
        Self { request, slice: Slice { sequence, from: 1 }, done: Changed::default() }
    }
}

impl FolderOutcome {
    /// The number of names that have changed.
    pub fn names(&self) -> usize {
        match self {
            Self::Changed(done) => done.names.len(),
            Self::Transferred(done) => done.arrivals.len() + done.departures.len(),
            Self::TransferRefused(_, _, names) => names.len(),
            _ => 0,
        }
    }
}

/// Messages on their way to another folder.
#[derive(Debug)]
pub struct Transfer {
    /// The folder of the messages.
    pub from: Mailbox,
    /// Its open directories.
    pub source: Arc<Maildir>,
    /// The messages that are left.
    pub slice: Slice,
    /// The UIDs of the wanted ones.
    pub uids: Arc<NumberSet>,
    /// Whether they leave their folder.
    pub is_move: bool,
    /// The name of this host, for the names of the copies.
    pub host: Arc<str>,
    /// The room of the copies in the quota of the user.
    pub room: Room,
    /// The time of the request on the steady clock.
    pub began: Duration,
    /// The copies so far.
    pub done: Transferred,
}

/// The room of copies in a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is no quota, or the mailbox of the user becomes no larger.
    Unlimited,
    /// The first job tells how much they need, and perhaps how much of the quota is in use.
    Unknown {
        /// Whether the job counts that.
        needs_count: bool,
    },
    /// They have it.
    Reserved,
}

/// The room that messages need in a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// All messages.
    pub amount: Usage,
    /// The use of the quota, if it was counted.
    pub counted: Option<Usage>,
}

/// Messages that are in the other folder.
#[derive(Debug, Default)]
pub struct Transferred {
    /// The UID validity of that folder.
    pub uid_validity: u32,
    /// Their number, also of those whose UIDs nobody knows.
    pub messages: u64,
    /// The UIDs that they had.
    pub from: NumberSet,
    /// The UIDs that they have.
    pub to: NumberSet,
    /// The copies of all slices, in case that a later one fails.
    pub copies: Vec<MessageEntry>,
}

/// The result of a slice.
#[derive(Debug)]
pub struct TransferOutcome {
    /// The messages and what is left of them.
    pub transfer: Box<Transfer>,
    /// The device and inode of the folder that has got them.
    pub target: (u64, u64),
    /// Changes of names in that folder.
    pub arrivals: Vec<Change>,
    /// Changes of names in the folder of the messages.
    pub departures: Vec<Change>,
    /// Whether all is done, or the reason why the rest cannot be done.
    pub end: Option<Result<(), Failure>>,
}
