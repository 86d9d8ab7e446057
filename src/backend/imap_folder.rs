//! One folder in use: its sessions, its newest state, its UIDs, and the requests that wait for them.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use super::{effects::Effects, imap_context::FolderContext, quota::Fate};
use crate::{
    deferred_drop::drop_deferred,
    index::{Sequence, UidBook, registry::IndexVersion},
    maildir::{Maildir, MessageEntry, Usage},
    proto::{
        imap::{
            flags::Flags,
            request::{FolderState, ImapRequest, ImapResponse, Interruption},
            sequence_set::NumberSet,
        },
        request::{ConnId, Failure, Mailbox, Response},
    },
    workers::{
        Job,
        folder_job::{
            ChangeOutcome, ChangeRequest, Changed, FolderChange, FolderId, FolderJob, FolderWork, Needs,
            Transfer,
        },
        job::Changes,
    },
};

/// A folder, from the first request that needs its UIDs (SELECT, and COPY or APPEND to it) until no session has it, no request waits
/// and its index is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) id: FolderId,
    /// Its open directories, which its sessions hold.
    pub(super) maildir: Weak<Maildir>,
    /// Its sessions, and the number of the state that each has. `None`: SELECT is not answered yet.
    pub(super) sessions: BTreeMap<ConnId, Option<u64>>,
    pub(super) book: BookState,
    /// The newest state, and the version of the index that it has.
    pub(super) sequence: Arc<Sequence>,
    pub(super) version: Option<IndexVersion>,
    /// The number of that state.
    pub(super) state_number: u64,
    pub(super) retry: RefreshRetry,
    /// Requests that need the UIDs, in their order.
    pub(super) pending: VecDeque<WaitingRequest>,
}

/// The UIDs of a folder.
#[derive(Debug)]
pub(super) enum BookState {
    /// The next job reads them.
    NotLoaded,
    /// No job has them.
    Idle(Box<UidBook>),
    /// A job has them, perhaps for the first request that waits.
    InJob { is_for_first: bool },
}

impl BookState {
    /// The state after a job has given the UIDs back, or has not read them.
    pub(super) fn after_job(book: Option<Box<UidBook>>) -> Self {
        book.map_or(Self::NotLoaded, Self::Idle)
    }

    /// Whether another job may begin.
    pub(super) fn is_free(&self) -> bool {
        !matches!(self, Self::InJob { .. })
    }
}

/// The tries since the state of a folder was last up to date.
#[derive(Debug, Default)]
pub(super) struct RefreshRetry {
    tries: u32,
    /// The time of the next one on the steady clock.
    next: Duration,
}

impl RefreshRetry {
    /// Whether a try is due. If so, the next one is due after twice the time.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + FIRST_WAIT.saturating_mul(1 << self.tries.min(MAX_DOUBLINGS)).min(LONGEST_WAIT);
        self.tries += 1;
        true
    }
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct WaitingRequest {
    pub(super) conn: ConnId,
    pub(super) step: NextStep,
}

/// The next step of a request.
#[derive(Debug)]
pub(super) enum NextStep {
    /// A job changes the files of a slice.
    Change(Box<FolderChange>),
    /// The response tells a state with at least this version of the index.
    Respond(IndexVersion, Answer),
    /// The change begins with a state that has at least this version, because the state in memory lacks earlier changes.
    ChangeAfter(IndexVersion, Box<FolderChange>),
    /// A job copies a slice of another folder's messages to this one.
    Transfer(Box<Transfer>),
    /// A job gives letters to the keywords of a message of APPEND.
    Letters(Box<PendingAppend>),
    /// A job gives a UID to a message of APPEND.
    Number(Box<MessageEntry>),
    /// A job has all that the request needs.
    InJob,
    /// A worker has said what a COPY needs of the quota.
    Measured(Box<Transfer>, Needs),
    /// DELETE or RENAME of the folder, or of one above it, or RENAME of INBOX.
    NameChange,
}

/// A message of APPEND whose keywords have no letters yet.
#[derive(Debug)]
pub(super) struct PendingAppend {
    pub(super) flags: Flags,
    pub(super) keywords: Vec<String>,
    pub(super) date: Option<SystemTime>,
    pub(super) bytes: Vec<u8>,
}

/// A response without its state.
#[derive(Debug)]
pub(super) enum Answer {
    State,
    /// The response to a change, which an earlier job has made, whole or up to a failure.
    Changed(DurableChange, Option<Interruption>),
}

/// A change of messages that is on the disk.
#[derive(Debug)]
pub(super) enum DurableChange {
    Expunged { removed: u64 },
    Stored { modified: NumberSet, is_partial: bool },
    Copied { uid_validity: u32, messages: u64, from: NumberSet, to: NumberSet },
}

/// A change of the name of a folder and of all folders below it, or RENAME of INBOX.
#[derive(Debug)]
pub(super) struct NameChange {
    /// The session that asks for it, which makes one request at a time.
    pub(super) conn: ConnId,
    pub(super) folder: Mailbox,
    /// `None`: a worker has it.
    pub(super) request: Option<ImapRequest>,
}

impl NameChange {
    /// Whether the jobs of a folder and the change wait for each other: if it is the one that changes, or stands below it. The
    /// messages of INBOX come into another folder, and MOVE and COPY of them are jobs of any folder of the user.
    pub(super) fn covers(&self, mailbox: &Mailbox) -> bool {
        if self.is_of_inbox() { self.is_of_owner(mailbox) } else { self.folder.covers(mailbox) }
    }

    /// Whether the messages of INBOX move, and no folder loses its name.
    pub(super) fn is_of_inbox(&self) -> bool {
        self.folder.folder().is_none()
    }

    pub(super) fn is_of_owner(&self, mailbox: &Mailbox) -> bool {
        mailbox.as_str() == self.folder.as_str()
    }

    /// Those of the folders that it covers.
    pub(super) fn among<'a>(
        &'a self,
        folders: &'a BTreeMap<Mailbox, Folder>,
    ) -> impl Iterator<Item = (&'a Mailbox, &'a Folder)> {
        let of_owner =
            folders.range(self.folder.clone()..).take_while(|(mailbox, _)| self.is_of_owner(mailbox));
        of_owner.filter(|(mailbox, _)| self.covers(mailbox))
    }
}

/// Room that the COPY of a session has in the quota of a user, and its fate once that is known.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) owner: Mailbox,
    pub(super) amount: Usage,
    pub(super) fate: Option<Fate>,
}

impl Folder {
    pub(super) fn new(id: FolderId) -> Self {
        Self {
            id,
            maildir: Weak::new(),
            sessions: BTreeMap::new(),
            book: BookState::NotLoaded,
            sequence: Arc::default(),
            version: None,
            state_number: 0,
            retry: RefreshRetry::default(),
            pending: VecDeque::new(),
        }
    }

    /// Begins to give the messages of the index their UIDs. Returns `false` if the index is dropped.
    pub(super) fn refresh(
        &mut self,
        mailbox: &Mailbox,
        is_for_first: bool,
        cx: &mut FolderContext<'_>,
    ) -> bool {
        let Some((version, snapshot)) = cx.index.folder_snapshot(mailbox) else { return false };
        self.run(mailbox, FolderWork::Refresh(version, snapshot), is_for_first, cx)
    }

    /// Runs a job. Returns `false` if no session holds the directories any more.
    pub(super) fn run(
        &mut self,
        mailbox: &Mailbox,
        work: FolderWork,
        is_for_first: bool,
        cx: &mut FolderContext<'_>,
    ) -> bool {
        let Some(maildir) = self.maildir.upgrade() else { return false };
        self.run_in(mailbox, work, is_for_first, Some(maildir), cx)
    }

    /// Runs a job. Without open directories, nobody knows whether the folder is the same one still: the job opens it and reads its
    /// UIDs.
    pub(super) fn run_in(
        &mut self,
        mailbox: &Mailbox,
        work: FolderWork,
        is_for_first: bool,
        maildir: Option<Arc<Maildir>>,
        cx: &mut FolderContext<'_>,
    ) -> bool {
        let book = match mem::replace(&mut self.book, BookState::InJob { is_for_first }) {
            BookState::NotLoaded => None,
            BookState::Idle(book) => Some(book),
            BookState::InJob { .. } => return false, // invariant: the caller has looked
        };
        let book = match maildir {
            Some(_) => book,
            None => {
                drop_deferred(book);
                None
            }
        };
        let key = (mailbox.clone(), self.id);
        cx.effects.run(Job::Folder(Box::new(FolderJob { key, maildir, book, work })));
        true
    }

    /// A job has changed a slice for the first request: the next slice follows, or the response.
    pub(super) fn slice_changed(
        &mut self,
        mailbox: &Mailbox,
        outcome: ChangeOutcome,
        cx: &mut FolderContext<'_>,
    ) -> Changes {
        let ChangeOutcome { change, names, end } = outcome;
        let has_names = !names.is_empty();
        if let Some(maildir) = self.maildir.upgrade() {
            cx.index.names_changed(mailbox, maildir.id(), names);
        }
        let changes = match change.request {
            ChangeRequest::Store(_) => Changes::Marks,
            ChangeRequest::Expunge(_) => Changes::Deletions(vec![mailbox.clone().without_folder()]),
        };
        let Some(WaitingRequest { conn, .. }) = self.pending.pop_front() else { return changes };
        let step = match (end, cx.index.version(mailbox)) {
            (None, _) => NextStep::Change(change),
            (Some(Err(Interruption { done: 0, failure })), _) if !has_names => {
                cx.effects.fail(conn, failure);
                return changes;
            }
            (Some(end), Some(version)) => NextStep::Respond(version, Answer::to(*change, end.err())),
            (Some(end), None) => {
                Answer::to(*change, end.err()).fail((conn, Failure::TempFail), cx.effects);
                return changes;
            }
        };
        self.pending.push_front(WaitingRequest { conn, step });
        changes
    }
}

impl WaitingRequest {
    /// Responds to a request that cannot be served.
    pub(super) fn fail(self, failure: Failure, effects: &mut Effects) {
        match self.step {
            NextStep::Respond(_, answer) => answer.fail((self.conn, failure), effects),
            _ => effects.fail(self.conn, failure),
        }
    }

    pub(super) fn is_name_change(&self) -> bool {
        matches!(self.step, NextStep::NameChange)
    }
}

impl Answer {
    /// The response to a change that is done, or was interrupted.
    fn to(FolderChange { request, done, .. }: FolderChange, interruption: Option<Interruption>) -> Self {
        let Changed { messages, modified, is_partial } = done;
        let change = match request {
            ChangeRequest::Store(_) => DurableChange::Stored { modified, is_partial },
            ChangeRequest::Expunge(_) => DurableChange::Expunged { removed: messages },
        };
        Self::Changed(change, interruption)
    }

    pub(super) fn with(self, state: Arc<FolderState>) -> ImapResponse {
        match self {
            Self::State => ImapResponse::State(state),
            Self::Changed(change, interruption) => change.response(Some(state), interruption),
        }
    }

    /// Responds if the folder has no state to tell. A change is durable and has succeeded all the same: a client that reads NO
    /// would copy the messages again, and show flags that they do not have.
    pub(super) fn fail(self, (conn, failure): (ConnId, Failure), effects: &mut Effects) {
        match self {
            Self::State => effects.fail(conn, failure),
            Self::Changed(change, interruption) => {
                effects.respond(conn, Response::Imap(change.response(None, interruption)));
            }
        }
    }
}

impl DurableChange {
    fn response(self, state: Option<Arc<FolderState>>, interruption: Option<Interruption>) -> ImapResponse {
        match self {
            Self::Expunged { removed } => ImapResponse::Expunged { state, removed, interruption },
            Self::Stored { modified, is_partial } => {
                ImapResponse::Stored { state, modified, is_partial, interruption }
            }
            Self::Copied { uid_validity, messages, from, to } => {
                ImapResponse::Copied { state, uid_validity, messages, from, to, interruption }
            }
        }
    }
}

/// The time between the first two tries.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest time between two tries. A tick comes every 20 seconds at least.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Doublings of the first time that reach the longest.
const MAX_DOUBLINGS: u32 = 4;
