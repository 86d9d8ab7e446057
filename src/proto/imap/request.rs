//! The requests of an IMAP session to the backend, and the responses, as plain data.
//!
//! A session numbers the messages of its folder by its view: the [`FolderState`] that its client knows. The backend has a newer state
//! after each change. So a request names messages by UID, and a message that is gone by then is left out.

use std::sync::Arc;

use super::{
    command::{FlagChange, StatusItem},
    fetch_item::FetchItem,
    flags::Flags,
    recent::RecentMark,
    search_key::SearchKey,
    sequence_set::NumberSet,
};
use crate::{
    proto::{failure::Failure, mailbox::Mailbox},
    special_use::SpecialUse,
};

/// A request about the folders of a user, or the messages of the folder that the session has selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImapRequest {
    /// SELECT, EXAMINE: opens a folder beside any other sessions. Response: [`ImapResponse::State`]. From then on the
    /// session gets [`SessionEvent::FolderChanged`](crate::proto::SessionEvent::FolderChanged) after each change.
    Select {
        /// The folder, or the mailbox itself: INBOX.
        folder: Mailbox,
    },
    /// CLOSE, UNSELECT, or another SELECT: the session has no folder any more. Response: [`ImapResponse::Done`].
    Unselect,
    /// NOOP, and other commands that may send updates. Response: [`ImapResponse::State`].
    Refresh,
    /// FETCH. Response: [`ImapResponse::Fetched`], as often as the session asks with the position of the last one.
    Fetch(Box<Fetch>),
    /// SEARCH. Response: [`ImapResponse::Found`].
    Search(Box<Search>),
    /// STORE. Response: [`ImapResponse::Stored`].
    Store(Box<Store>),
    /// EXPUNGE, CLOSE: removes messages with `\Deleted`, all or those with these UIDs. Response: [`ImapResponse::Expunged`].
    Expunge {
        /// The UIDs. `None`: all.
        uids: Option<NumberSet>,
    },
    /// COPY, MOVE. Response: [`ImapResponse::Copied`].
    Copy {
        /// The UIDs.
        uids: NumberSet,
        /// The folder that gets the messages.
        to: Mailbox,
        /// Whether the messages leave the selected folder.
        is_move: bool,
    },
    /// APPEND: makes a message durable in a folder. `Spill` requests may have taken its first part. Response:
    /// [`ImapResponse::Appended`].
    Append {
        /// The folder.
        folder: Mailbox,
        /// The flags of the message.
        flags: Flags,
        /// Its keywords.
        keywords: Vec<String>,
        /// The internal date in seconds since 1970. `None`: now.
        date: Option<i64>,
        /// The last octets of the message, as stored.
        bytes: Vec<u8>,
    },
    /// LIST, LSUB: all folders of the user; the session selects among them. Response: [`ImapResponse::Folders`].
    List {
        /// The mailbox of the user.
        mailbox: Mailbox,
        /// The items of STATUS that each folder is to have. Empty: none.
        status: Vec<StatusItem>,
    },
    /// STATUS. Response: [`ImapResponse::Status`].
    Status {
        /// The folder.
        folder: Mailbox,
        /// The items.
        items: Vec<StatusItem>,
    },
    /// CREATE. Response: [`ImapResponse::Created`].
    Create {
        /// The folder.
        folder: Mailbox,
        /// Its special use, like `\Sent`.
        special_use: Option<SpecialUse>,
    },
    /// DELETE. Response: [`ImapResponse::Done`].
    Delete {
        /// The folder.
        folder: Mailbox,
    },
    /// RENAME, with all folders below. Response: [`ImapResponse::Done`].
    Rename {
        /// The folder. INBOX moves its messages.
        from: Mailbox,
        /// Its new name.
        to: Mailbox,
    },
    /// SUBSCRIBE, UNSUBSCRIBE. Response: [`ImapResponse::Done`].
    Subscribe {
        /// The folder, which need not exist.
        folder: Mailbox,
        /// Whether it is subscribed from now on.
        on: bool,
        /// Folders that this session has made since its last request of this kind. They are subscribed to, but a client that
        /// does so by itself wants the others not to be.
        made: Vec<Mailbox>,
    },
    /// GETQUOTA, GETQUOTAROOT. Response: [`ImapResponse::Usage`].
    Usage {
        /// The mailbox of the user.
        mailbox: Mailbox,
    },
    /// A login: takes a place among the sessions of the user, and at the first one makes the folders with a special use that
    /// are missing. Response: [`ImapResponse::Done`].
    Prepare {
        /// The mailbox of the user.
        mailbox: Mailbox,
    },
}

/// The response to an [`ImapRequest`]. The failures of the server and of the disk are those of every request
/// ([`Response::Failed`](crate::proto::request::Response::Failed)).
#[derive(Debug, Clone)]
pub enum ImapResponse {
    /// Success of a request without a result.
    Done,
    /// The folder of CREATE exists, with the parents that it lacked: all that were made.
    Created(Vec<Mailbox>),
    /// The newest state of the selected folder.
    State(Arc<FolderState>),
    /// The result of EXPUNGE.
    Expunged {
        /// The state without the messages. `None`: they are gone, and an event tells the state as soon as it can be had.
        state: Option<Arc<FolderState>>,
        /// The number of messages that were removed.
        removed: u64,
        /// The failure that prevented the rest, if there was one.
        interruption: Option<Interruption>,
    },
    /// A piece of the responses to FETCH.
    Fetched(FetchedPiece),
    /// The messages that a search has found.
    Found {
        /// Their UIDs.
        uids: NumberSet,
        /// The state that the messages were compared in.
        state: Arc<FolderState>,
        /// Whether a message was gone, so that nobody knows whether it would match: `OK [EXPUNGEISSUED]` (RFC 5530).
        has_gone: bool,
    },
    /// The result of STORE.
    Stored {
        /// The state with the new flags. `None`: the messages have them, and an event tells the state as soon as it can be had.
        state: Option<Arc<FolderState>>,
        /// UIDs that another client has changed meanwhile, so that `unchanged_since` kept them as they were.
        modified: NumberSet,
        /// Whether a message could not be changed, because it is gone.
        is_partial: bool,
        /// The failure that prevented the rest, if there was one.
        interruption: Option<Interruption>,
    },
    /// The result of COPY or MOVE.
    Copied {
        /// The state of the selected folder after it. `None`: the folder has another name by then, or is gone.
        state: Option<Arc<FolderState>>,
        /// The UID validity of the folder that got the messages.
        uid_validity: u32,
        /// The number of messages that were copied, also of those whose UIDs nobody knows.
        messages: u64,
        /// The UIDs of the messages that were copied, in their order.
        from: NumberSet,
        /// The UIDs of the copies, in the same order.
        to: NumberSet,
        /// The failure that prevented the rest of a MOVE, if there was one. After that of a COPY there are no copies.
        interruption: Option<Interruption>,
    },
    /// The message of APPEND is durable.
    Appended {
        /// The UID validity of the folder and the UID of the message. `None`: no UID lasts there.
        uid: Option<(u32, u32)>,
    },
    /// The folders of a user, INBOX first.
    Folders(Vec<FolderInfo>),
    /// The state of a folder in numbers.
    Status(FolderStatus),
    /// The use of the quota.
    Usage {
        /// Octets of all files.
        octets: u64,
        /// The number of messages.
        messages: u64,
    },
    /// The client's mistake, with the code of the reply.
    Refused(Refusal),
}

/// A failure in the midst of a change: some messages are changed, and the others are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interruption {
    /// The number of messages that are changed. 0: none is, or nobody knows whether they stay so.
    pub done: u64,
    /// The reason why the others are not.
    pub failure: Failure,
}

/// A reason for NO that is the client's to mend. It selects the text and the code of the reply (RFC 5530).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The folder exists already: `ALREADYEXISTS`.
    Exists,
    /// There is no such folder: `NONEXISTENT`; for COPY and APPEND `TRYCREATE`.
    NoFolder,
    /// The folder has folders below it, so DELETE leaves it.
    HasChildren,
    /// Neither DELETE nor RENAME can have this folder: `CANNOT`.
    Cannot,
    /// STORE would give the folder more keywords than file names have room for: `LIMIT`.
    TooManyKeywords,
    /// The user has as many folders as the server allows: `LIMIT`.
    TooManyFolders,
    /// The file of subscriptions has no room for another name: `LIMIT`.
    TooManySubscriptions,
    /// The user has as many sessions from that address as the server allows: `LIMIT`.
    TooManySessions,
}

/// The messages of a folder at one moment, in the order of their UIDs. Sessions share it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FolderState {
    /// The value with which the UIDs stay valid.
    pub uid_validity: u32,
    /// The UID of the next message, or more.
    pub uid_next: u32,
    /// The modification sequence of the last change.
    pub highest_modseq: u64,
    /// The keywords by their letter, from `a`.
    pub keywords: Vec<Arc<str>>,
    /// Whether another keyword has room.
    pub has_keyword_room: bool,
    /// The messages.
    pub messages: Vec<MessageState>,
    /// The number of the first message without `\Seen`, when the state began. 0: none.
    pub first_unseen: u32,
    /// The mark of the messages that no session knows.
    pub recent: RecentMark,
}

/// A message of a folder as sessions know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageState {
    /// Its UID.
    pub uid: u32,
    /// Its flags and keywords.
    pub flags: Flags,
    /// The modification sequence of its last change.
    pub modseq: u64,
}

/// FETCH of some messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The state by which the client numbers the messages.
    pub state: Arc<FolderState>,
    /// The UIDs. None is above those in `state`, and no message that is not there has one of them. All pieces share them.
    pub uids: Arc<NumberSet>,
    /// The items of each message, in the order of the response. The session has added UID and MODSEQ where they belong.
    pub items: Arc<[FetchItem]>,
    /// The UIDs that have `\Recent` in this session.
    pub recent: Arc<NumberSet>,
    /// The place to go on from; the default at the beginning.
    pub position: FetchPosition,
}

/// The place between two pieces of a response to FETCH.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchPosition {
    /// The UID of the next message, or of the one that is being sent. 0: the first one.
    pub uid: u32,
    /// The number of the item that is being sent.
    pub item: usize,
    /// The octets of this item that have been sent, on the wire. 0 with item 0: nothing of the message. Anything else: the
    /// response has begun, so after a failure the connection has to end.
    pub octets: u64,
    /// A number that another content of the file would not have. 0 with nothing sent.
    pub stamp: u64,
}

impl FetchPosition {
    /// Whether the position is within the response for a message. A failure there ends the connection, because the client waits
    /// for octets that were announced.
    pub fn is_within_message(&self) -> bool {
        self.item > 0 || self.octets > 0
    }
}

/// A piece of the responses to FETCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPiece {
    /// Octets for the client, as they are.
    pub octets: Vec<u8>,
    /// The place to go on from. `None`: all is sent.
    pub next: Option<FetchPosition>,
    /// Whether a message was gone, so that the reply is `NO [EXPUNGEISSUED]` (RFC 5530) unless UIDs were asked for.
    pub has_gone: bool,
    /// Octets of each message that has been sent whole, now that the piece is.
    pub whole: Vec<u64>,
}

/// SEARCH in the selected folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The state by which the client numbers the messages.
    pub state: Arc<FolderState>,
    /// The UIDs that have `\Recent` in this session.
    pub recent: Arc<NumberSet>,
    /// The condition.
    pub key: SearchKey,
}

/// STORE for some messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The UIDs. Between those of two messages in the state of the session may lie others, which no message has.
    pub uids: Arc<NumberSet>,
    /// The change.
    pub change: FlagChange,
    /// The flags that change.
    pub flags: Flags,
    /// The keywords that change, as the client wrote them. Those that are new get a letter.
    pub keywords: Vec<String>,
    /// Only messages that have not changed since that modification sequence.
    pub unchanged_since: Option<u64>,
}

/// A folder in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderInfo {
    /// The mailbox of the user, or the folder of it.
    pub folder: Mailbox,
    /// Whether it exists. A parent of folders may not, and neither may a subscribed name.
    pub exists: bool,
    /// Whether the user has subscribed to it.
    pub is_subscribed: bool,
    /// Its special use.
    pub special_use: Option<SpecialUse>,
    /// Its numbers, if they were asked for and could be had.
    pub status: Option<FolderStatus>,
}

/// The numbers of a folder (RFC 9051 section 6.3.11).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FolderStatus {
    /// The number of messages.
    pub messages: u32,
    /// Messages that no session knows.
    pub recent: u32,
    /// Messages without `\Seen`.
    pub unseen: u32,
    /// Messages with `\Deleted`.
    pub deleted: u32,
    /// Octets of all messages on the wire.
    pub size: u64,
    /// The UID of the next message.
    pub uid_next: u32,
    /// The value with which the UIDs stay valid.
    pub uid_validity: u32,
    /// The modification sequence of the last change.
    pub highest_modseq: u64,
}
