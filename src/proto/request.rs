//! The requests of a session to the backend, and the responses. They are data, so that a test can print,
//! compare and replay them.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    chaos::ChaosPoint,
    destinations::Destinations,
    folder::Folder,
    http::api::{ApiRequest, Document, Draft, SharedOctets},
    imap::request::{ImapRequest, ImapResponse},
    smtp::address::{Address, ReversePath},
    tagged::TaggedAddress,
};
pub use super::{
    conn_id::ConnId,
    mailbox::{Destination, Mailbox},
    secret::Secret,
};

/// A request of a session, by the part of the backend that serves it.
#[derive(Debug)]
pub enum Request {
    /// Checks a password. The response is the same for a wrong password and an unknown user.
    Verify {
        /// The user name as the client gave it.
        user: String,
        /// The password as the client gave it.
        password: Secret,
    },
    /// Receives or stores a message.
    Receive(ReceiveRequest),
    /// Reads or changes a mailbox.
    Maildrop(MaildropRequest),
    /// Reads or changes the messages of one mailbox, or of all, for the web API.
    Api(ApiRequest),
    /// Reads or changes the folders of a user, or the messages of one.
    Imap(ImapRequest),
}

/// A request about an inbound message.
#[derive(Debug)]
pub enum ReceiveRequest {
    /// MAIL: checks that there is room for a message.
    CheckSpace {
        /// Octets announced with SIZE; 0 if the client announced none.
        size: u64,
    },
    /// DATA: checks that a message body may begin.
    Begin,
    /// The same for a body that the session holds whole in memory. The response comes when there is room for it.
    BeginWhole {
        /// Octets of the body.
        octets: u64,
        /// The name with which its user has logged in; `None` without a login.
        user: Option<String>,
    },
    /// Appends message data to this session's file in `tmp/`, to limit the use of memory.
    Spill {
        /// The destinations of the message. The backend creates the file in the first one that accepts it.
        /// Empty if the file exists.
        mailboxes: Vec<Mailbox>,
        /// The next bytes of the message, as stored.
        bytes: Vec<u8>,
    },
    /// Discards the message body and its file. The backend responds at once.
    Discard,
    /// Makes a message durable and visible. `bytes` follows the data spilled before, or is the whole message.
    Deliver {
        /// The sender and the recipients.
        envelope: Envelope,
        /// The last bytes of the message, as stored.
        bytes: Vec<u8>,
        /// True if some recipients may get the message and others not, as in LMTP. Otherwise all or none get
        /// it.
        partial_ok: bool,
        /// True if the response is [`Response::Stored`], for the web API.
        wants_id: bool,
    },
}

/// A request about a mailbox that the session has open, or opens.
#[derive(Debug)]
pub enum MaildropRequest {
    /// Opens a mailbox and lists its messages. The session gets an event after each change until it ends.
    Open {
        /// The mailbox of a user whose password was just verified, or a folder of it.
        mailbox: Mailbox,
        /// Whether to lock it against other sessions.
        access: Access,
        /// The time of the request on the monotonic clock, for the minimum delay between two logins.
        now: Duration,
    },
    /// Reads a message of the mailbox that this session has open.
    Read {
        /// Position in the [`Maildrop`], from 0.
        message: usize,
        /// Offset in the file, in bytes as stored.
        from: u64,
    },
    /// QUIT: deletes and marks messages, then releases the mailbox.
    Update {
        /// Positions of the messages to delete.
        delete: Vec<usize>,
        /// Positions of the messages that were read whole and stay.
        seen: Vec<usize>,
    },
}

/// The access of a session to a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The session may delete and mark messages. It locks the mailbox against every other exclusive session, of this
    /// server or another.
    Exclusive,
    /// The session has the mailbox open beside any others, also beside the exclusive one: IMAP.
    Shared,
}

/// The backend's response to a [`Request`].
#[derive(Debug)]
pub enum Response {
    /// Success of [`ReceiveRequest::CheckSpace`], [`ReceiveRequest::Begin`], [`ReceiveRequest::BeginWhole`],
    /// [`ReceiveRequest::Spill`],
    /// [`ReceiveRequest::Discard`], [`MaildropRequest::Update`] or a subscription to events.
    Done,
    /// The message is durable and visible for every recipient without a failure. The items are in the order of the
    /// envelope. The list may be empty if there is no failure.
    Delivered(Vec<Option<Failure>>),
    /// The message is durable and visible for every recipient. This is its id in the web API.
    Stored(String),
    /// The message of a request of the web API, or a sentence that tells its sender what to correct.
    Composed(Result<Box<Draft>, String>),
    /// The password is right. This is the user's mailbox.
    Verified(Mailbox),
    /// The mailbox is locked for this session.
    Opened(Arc<dyn Maildrop>),
    /// Bytes of a message file.
    Chunk {
        /// The bytes at the requested offset.
        bytes: Vec<u8>,
        /// True if they end the file.
        last: bool,
    },
    /// The content of a response of the web API.
    Document(Document),
    /// A message for a stream of events of the web API.
    Item(SharedOctets),
    /// The response to a request about folders.
    Imap(ImapResponse),
    /// The request failed, and the backend keeps nothing of it.
    Failed(Failure),
}

impl Response {
    /// The octets of mail in it.
    pub(crate) fn mail_octets(&self) -> usize {
        match self {
            Self::Chunk { bytes, .. } | Self::Document(Document { bytes, .. }) => bytes.len(),
            Self::Item(item) => item.octets.len(),
            Self::Composed(Ok(draft)) => draft.message.len(),
            Self::Imap(ImapResponse::Fetched(piece)) => piece.octets.len(),
            _ => 0,
        }
    }
}

/// The reason for a failure. It selects a reply, and reveals no detail of the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The disk, a directory or the memory is full.
    Full,
    /// The user's quota is used up.
    Quota,
    /// The disk takes no changes.
    ReadOnly,
    /// The disk or the machine failed, or is overloaded.
    TempFail,
    /// The mailbox is unusable: wrong permissions, or not a Maildir.
    MailboxUnusable,
    /// Another session has locked the mailbox.
    InUse,
    /// The limit of open mailboxes is reached.
    TooManyOpen,
    /// The last login to the mailbox was too recent.
    LoginDelay,
    /// The mailbox has no such folder.
    NoFolder,
    /// Wrong user, wrong password, or disabled account: the same failure, so that the reply does not reveal
    /// which.
    AuthFailed {
        /// The time that the session waits before its reply.
        delay: Duration,
    },
    /// Too many password checks are in progress.
    Busy,
    /// The message no longer exists.
    Gone,
    /// The message differs from the one that was listed.
    Changed,
    /// The file ended or failed before the end of the message.
    Truncated,
}

impl Failure {
    /// Every failure; a wrong password without a delay.
    pub const ALL: [Self; 14] = [
        Self::Full,
        Self::Quota,
        Self::ReadOnly,
        Self::TempFail,
        Self::MailboxUnusable,
        Self::InUse,
        Self::TooManyOpen,
        Self::LoginDelay,
        Self::NoFolder,
        Self::AuthFailed { delay: Duration::ZERO },
        Self::Busy,
        Self::Gone,
        Self::Changed,
        Self::Truncated,
    ];

    /// The word for it in transcripts and dialogues. These words stay, because kept transcripts have them.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "Full",
            Self::Quota => "Quota",
            Self::ReadOnly => "ReadOnly",
            Self::TempFail => "Broken",
            Self::MailboxUnusable => "Unusable",
            Self::InUse => "InUse",
            Self::TooManyOpen => "Crowded",
            Self::LoginDelay => "TooSoon",
            Self::NoFolder => "NoFolder",
            Self::AuthFailed { .. } => "Denied",
            Self::Busy => "Busy",
            Self::Gone => "Gone",
            Self::Changed => "Changed",
            Self::Truncated => "Cut",
        }
    }
}

/// Looks up local addresses and mailboxes. It runs on the loop thread, from memory.
pub trait AccountDirectory {
    /// The destinations of the mail for an address.
    fn lookup(&self, address: &Address) -> Lookup;

    /// The whole address, if it has a tag that means nothing to the accounts: its mailboxes are those of the address without
    /// the tag.
    fn tagged(&self, _address: &Address) -> Option<TaggedAddress> {
        None
    }

    /// True if a user may use the address in MAIL FROM: mail for it must reach the user's mailbox.
    fn may_send_as(&self, user: &Mailbox, from: &Address) -> bool {
        match self.lookup(from) {
            Lookup::Local(to) => to.contains(user),
            Lookup::Unknown | Lookup::Foreign | Lookup::Refused(_) => false,
        }
    }

    /// The date before which messages may be deleted by age: `date`, unless the clock may be wrong.
    fn expiry_date(&self, date: SystemTime) -> SystemTime {
        date
    }

    /// The limits on a mailbox, all its folders together.
    fn quota(&self, _mailbox: &Mailbox) -> Quota {
        Quota::default()
    }

    /// True if messages that the user submits are also filed in the user's folder `Sent`.
    fn wants_sent_copy(&self, _user: &Mailbox) -> bool {
        true
    }

    /// True if the user may read and change the mail of all users.
    fn is_admin(&self, _user: &Mailbox) -> bool {
        false
    }

    /// True if the mailbox is already known to be full. False guarantees nothing, because the check at the
    /// end of the message decides.
    fn is_full(&self, _mailbox: &Mailbox) -> bool {
        false
    }

    /// The code of the reply, if the command of a client shall fail by chance now. Only sessions that cause faults on
    /// demand ask for it.
    fn chaos(&self, _at: ChaosPoint) -> Option<u16> {
        None
    }
}

/// A lookup function alone is a directory of accounts without a quota or other settings. Calls that look up no address,
/// and tests, need no more.
impl<F: Fn(&Address) -> Lookup> AccountDirectory for F {
    fn lookup(&self, address: &Address) -> Lookup {
        self(address)
    }
}

/// The limits on the mail in a mailbox; `None` means unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Octets of all files together.
    pub octets: Option<u64>,
    /// Messages in all folders together.
    pub messages: Option<u64>,
}

/// The result of an [`AccountDirectory`] lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// A local address, with at least one destination and none twice.
    Local(Destinations),
    /// The domain is local, but the user is unknown.
    Unknown,
    /// The domain is not local.
    Foreign,
    /// Refused with this code, by a fault on demand.
    Refused(u16),
}

impl Lookup {
    /// A local address with one mailbox as its destination, and no folder.
    pub fn local_mailbox(mailbox: Mailbox) -> Self {
        Self::Local(Destination { mailbox, folder: None }.into())
    }
}

/// The sender and the recipients of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The id of the message in the reply, the `Received:` line and the log.
    pub id: String,
    /// The address of MAIL FROM.
    pub from: ReversePath,
    /// True if MAIL had SMTPUTF8: the addresses and the header may be UTF-8 (RFC 6531).
    pub utf8: bool,
    /// The accepted recipients, each mailbox and folder once.
    pub to: Vec<Recipient>,
    /// True if the client named another address beside that of the first recipient, perhaps of the same mailbox.
    pub has_several_addresses: bool,
    /// The mailbox of the submitting user, if a copy is filed in the folder `Sent`.
    pub sent_copy_for: Option<Mailbox>,
}

/// A recipient that RCPT accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The address of RCPT TO.
    pub address: Address,
    /// The mailbox that receives the mail.
    pub mailbox: Mailbox,
    /// The folder that receives the mail instead, if it exists.
    pub folder: Option<Folder>,
}

impl Recipient {
    /// The owner of a mailbox or of a folder, for a message that its owner puts there.
    pub fn owner_of(mailbox: Mailbox) -> Self {
        let (local, domain) = mailbox.address_parts();
        let folder = mailbox.folder().cloned();
        Self { address: Address::of_parts(local, domain), mailbox: mailbox.without_folder(), folder }
    }
}

/// A mailbox as one POP3 session sees it: fixed at login, numbered from 0.
pub trait Maildrop: fmt::Debug + Send + Sync {
    /// Number of messages; positions are below it.
    fn len(&self) -> usize;

    /// True if there is no message.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets of all messages together. It must be known without a walk through the messages, because STAT
    /// needs it.
    fn total(&self) -> u64;

    /// Octets of a message on the wire, without dot-stuffing.
    fn octets(&self, message: usize) -> u64;

    /// The unique id of a message: 1 to 70 characters from 0x21 to 0x7e.
    fn unique_id(&self, message: usize) -> Cow<'_, str>;

    /// The delivery time of a message, in seconds since 1970. Messages are deleted by this time, so it may be
    /// too late but never too early.
    fn delivered_at(&self, message: usize) -> u64;
}
