//! The commands of IMAP as values (RFC 9051 section 6, and the extensions that the server announces).

use super::{mailbox_name::MailboxName, search_key::SearchKey, sequence_set::SequenceSet};
use crate::proto::{imap::fetch_item::FetchItem, secret::Secret};

/// A command and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// CAPABILITY
    Capability,
    /// NOOP
    Noop,
    /// LOGOUT
    Logout,
    /// ID (RFC 2971): what the client says of itself.
    Id(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    /// STARTTLS
    StartTls,
    /// AUTHENTICATE, perhaps with an initial response (RFC 4959).
    Authenticate {
        /// The mechanism, in capitals.
        mechanism: String,
        /// The response in base64, or `=` for an empty one.
        initial: Option<Vec<u8>>,
    },
    /// LOGIN
    Login {
        /// The user name.
        user: Vec<u8>,
        /// The password.
        password: Secret,
    },
    /// LANGUAGE (RFC 5255) with the tags of languages, the best first. Empty: asks for the list.
    Language(Vec<Vec<u8>>),
    /// ENABLE (RFC 5161): names of extensions in capitals.
    Enable(Vec<String>),
    /// SELECT and EXAMINE
    Select {
        /// The mailbox.
        mailbox: MailboxName,
        /// Whether the client only reads it: EXAMINE.
        read_only: bool,
        /// Whether the client asks for modification sequences (RFC 7162 section 3.1.8).
        condstore: bool,
    },
    /// CREATE, perhaps for a special use (RFC 6154 section 3), like `\Sent`.
    Create(MailboxName, Option<Vec<u8>>),
    /// DELETE
    Delete(MailboxName),
    /// RENAME
    Rename(MailboxName, MailboxName),
    /// SUBSCRIBE
    Subscribe(MailboxName),
    /// UNSUBSCRIBE
    Unsubscribe(MailboxName),
    /// LIST and LSUB
    List(List),
    /// NAMESPACE
    Namespace,
    /// STATUS
    Status(MailboxName, Vec<StatusItem>),
    /// APPEND. The literal with the message follows the command.
    Append(Append),
    /// IDLE (RFC 2177)
    Idle,
    /// GETQUOTA with the name of a quota root (RFC 9208)
    GetQuota(Vec<u8>),
    /// GETQUOTAROOT
    GetQuotaRoot(MailboxName),
    /// CHECK
    Check,
    /// CLOSE
    Close,
    /// UNSELECT (RFC 3691)
    Unselect,
    /// EXPUNGE, or UID EXPUNGE with UIDs (RFC 4315)
    Expunge(Option<SequenceSet>),
    /// SEARCH
    Search(Search),
    /// FETCH
    Fetch(Fetch),
    /// STORE
    Store(Store),
    /// COPY
    Copy(Messages, MailboxName),
    /// MOVE (RFC 6851)
    Move(Messages, MailboxName),
}

/// The messages that a command names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// The numbers.
    pub set: SequenceSet,
    /// Whether they are UIDs.
    pub by_uid: bool,
}

/// The arguments of FETCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The messages.
    pub messages: Messages,
    /// The items to send of each.
    pub items: Vec<FetchItem>,
    /// Only messages that have changed since that modification sequence (RFC 7162 section 3.1.4).
    pub changed_since: Option<u64>,
}

/// The arguments of STORE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The messages.
    pub messages: Messages,
    /// The change.
    pub change: FlagChange,
    /// The flags, as the client wrote them.
    pub flags: Vec<Vec<u8>>,
    /// Whether the client wants no response for each message.
    pub silent: bool,
    /// Only messages that have not changed since that modification sequence (RFC 7162 section 3.1.3).
    pub unchanged_since: Option<u64>,
}

/// The change of flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagChange {
    /// FLAGS
    Replace,
    /// +FLAGS
    Add,
    /// -FLAGS
    Remove,
}

/// The arguments of SEARCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Whether the answer has UIDs.
    pub by_uid: bool,
    /// The results to return as ESEARCH (RFC 4731). `None`: the answer is a plain SEARCH.
    pub returned: Option<Vec<SearchReturn>>,
    /// The character set of the strings, in capitals.
    pub charset: Option<String>,
    /// The condition.
    pub key: SearchKey,
}

/// A result of SEARCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchReturn {
    /// The lowest number.
    Min,
    /// The highest number.
    Max,
    /// All numbers.
    All,
    /// The number of messages.
    Count,
}

/// The arguments of LIST (RFC 9051 section 6.3.9) and LSUB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Whether the command is LSUB.
    pub is_lsub: bool,
    /// Only mailboxes with these properties.
    pub select: Vec<ListSelect>,
    /// The name before the patterns.
    pub reference: Vec<u8>,
    /// The patterns, with `*` for any characters and `%` for any in one level.
    pub patterns: Vec<Vec<u8>>,
    /// The properties to return.
    pub returned: Vec<ListReturn>,
    /// The items of STATUS to return for each mailbox (RFC 5819).
    pub status: Vec<StatusItem>,
}

impl List {
    /// Whether the command has the form of RFC 5258, so that its client knows the attributes there.
    pub(super) fn is_extended(&self) -> bool {
        let has_options = !self.select.is_empty() || !self.returned.is_empty() || !self.status.is_empty();
        has_options || self.patterns.len() != 1
    }

    /// Whether the response may have a parent in place of the mailboxes below it.
    pub(super) fn shows_parents(&self) -> bool {
        let has_level = |pattern: &Vec<u8>| pattern.contains(&b'%');
        if self.is_lsub {
            self.patterns.iter().any(has_level)
        } else {
            self.select.contains(&ListSelect::RecursiveMatch)
        }
    }
}

/// A condition of LIST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListSelect {
    /// Subscribed mailboxes, whether they exist or not.
    Subscribed,
    /// Mailboxes of other servers too: there are none.
    Remote,
    /// Parents of matching mailboxes too.
    RecursiveMatch,
    /// Mailboxes with a special use.
    SpecialUse,
}

/// A property that LIST returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListReturn {
    /// Whether the client has subscribed.
    Subscribed,
    /// Whether there are mailboxes below.
    Children,
    /// The special use.
    SpecialUse,
}

/// An item of STATUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusItem {
    /// The number of messages.
    Messages,
    /// Messages that no session knows yet.
    Recent,
    /// The UID of the next message.
    UidNext,
    /// The value with which UIDs stay valid.
    UidValidity,
    /// The number of messages without `\Seen`.
    Unseen,
    /// The number of messages with `\Deleted`.
    Deleted,
    /// The octets of all messages (RFC 8438).
    Size,
    /// The highest modification sequence (RFC 7162).
    HighestModSeq,
}

/// The arguments of APPEND before its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// The flags, as the client wrote them.
    pub flags: Vec<Vec<u8>>,
    /// The internal date, in seconds since 1970.
    pub date: Option<i64>,
}
