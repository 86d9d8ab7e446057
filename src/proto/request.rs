//! What a session asks of the world, and what it is answered: data, so that a test can print, compare and
//! replay it.

use std::{
    borrow::Cow,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub use super::mailbox::{Destination, Mailbox};
use super::{
    destinations::Destinations,
    folder::Folder,
    smtp::address::{Address, ReversePath},
};

/// Which connection asked. Never used twice, so that a late answer for a dead connection finds nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:x}", self.0)
    }
}

/// A request of a session.
#[derive(Debug)]
pub enum Request {
    /// MAIL: is there room for a message of that many octets (0 when the client did not say)?
    Room {
        /// Octets announced with SIZE.
        size: u64,
    },
    /// DATA: may a message body begin?
    Begin,
    /// Message data that became too much for memory: append it to this session's file in `tmp/`.
    Spill {
        /// Where the message will go; the file begins in the first one that takes it. None, for a file that was begun.
        mailboxes: Vec<Mailbox>,
        /// The next bytes of the message, as stored.
        bytes: Vec<u8>,
    },
    /// Forget the body that was begun, and its file. Answered at once.
    Discard,
    /// Make a message durable and visible. `bytes` ends what was spilled before, or is everything.
    Deliver {
        /// Who it is from and where it goes.
        envelope: Envelope,
        /// The last bytes of the message, as stored.
        bytes: Vec<u8>,
        /// Whether some recipients may get it and others not, as in LMTP. Else it is all of them or none.
        partly: bool,
    },
    /// Is that the password of this user?
    Verify {
        /// The name as the client gave it.
        user: String,
        /// What the client says the password is.
        password: Secret,
    },
    /// Lock a mailbox and tell what is in it.
    Open {
        /// The mailbox of a user who has just been verified, or a folder of it.
        mailbox: Mailbox,
        /// When it asks, on the steady clock: for the delay between two logins.
        now: Duration,
    },
    /// Bytes of a message of the mailbox that this session has open.
    Read {
        /// Position in the [`Maildrop`], from 0.
        message: usize,
        /// Offset in the file.
        from: u64,
    },
    /// QUIT: delete and mark, then give the mailbox back.
    Update {
        /// Positions to delete.
        delete: Vec<usize>,
        /// Positions that were read whole and stay.
        seen: Vec<usize>,
    },
}

/// The world's answer to a [`Request`].
#[derive(Debug)]
pub enum Response {
    /// Yes; done: [`Request::Room`], [`Request::Begin`], [`Request::Spill`], [`Request::Discard`].
    Ready,
    /// The message is durable and visible.
    Delivered,
    /// It is so for some recipients only: for each of the envelope, in its order, why it is not.
    Partly(Vec<Option<Failure>>),
    /// The password is right, and this is the user's mailbox.
    Welcome(Mailbox),
    /// The password is wrong, or there is no such user, or nobody may log in there. The client is told after
    /// that long.
    Denied {
        /// The wait.
        after: Duration,
    },
    /// The mailbox is locked for this session.
    Opened(Arc<dyn Maildrop>),
    /// Bytes of a message file.
    Chunk {
        /// The bytes at the offset asked for.
        bytes: Vec<u8>,
        /// Whether they end the file.
        last: bool,
    },
    /// Deleted and marked; the mailbox is given back.
    Updated,
    /// It did not work.
    Failed(Failure),
}

/// Why something did not work: chooses a reply, and says nothing of the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No room on the disk, or in a directory, or in memory.
    Full,
    /// The user's quota is used up.
    Quota,
    /// The disk or the machine failed, or has too much to do.
    Broken,
    /// The mailbox can't be used as it is: rights, or not a Maildir.
    Unusable,
    /// Another session holds the mailbox.
    InUse,
    /// As many mailboxes are open as there may be.
    Crowded,
    /// The last login to the mailbox was a moment ago.
    TooSoon,
    /// The mailbox has no such folder.
    NoFolder,
    /// Wrong user, wrong password, or disabled: one fault for all of them.
    Denied,
    /// Too many password checks at once.
    Busy,
    /// The message is not there any more.
    Gone,
    /// The message is not the one that was listed.
    Changed,
    /// The message could not be read to its end.
    Cut,
}

/// Who has a mailbox here: looked up on the loop thread, in memory.
pub trait Directory {
    /// Where mail for that address goes.
    fn lookup(&self, address: &Address) -> Lookup;

    /// Whether the user whose mailbox this is may send with that address in MAIL FROM: one whose mail comes
    /// here.
    fn may_send_as(&self, user: &Mailbox, from: &Address) -> bool {
        match self.lookup(from) {
            Lookup::Local(to) => to.contains(user),
            Lookup::Unknown | Lookup::Foreign | Lookup::Refused(_) => false,
        }
    }

    /// The date by which messages may be deleted for their age: `date`, unless the clock may be wrong.
    fn expiry_date(&self, date: SystemTime) -> SystemTime {
        date
    }

    /// How much mail may be in a mailbox, all its folders together.
    fn quota(&self, _mailbox: &Mailbox) -> Quota {
        Quota::default()
    }

    /// Whether a copy of what the user whose mailbox this is sends is filed there, in the folder `Sent`.
    fn wants_sent_copy(&self, _user: &Mailbox) -> bool {
        true
    }

    /// Whether this mailbox is known to be full by now. That it is not says nothing: the end of the message
    /// decides.
    fn is_full(&self, _mailbox: &Mailbox) -> bool {
        false
    }
}

/// How much mail may be in a mailbox; `None` is any amount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Octets of all files together.
    pub octets: Option<u64>,
    /// Messages.
    pub messages: Option<u64>,
}

/// What a [`Directory`] knows of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Its mail goes there: to one mailbox at least, and to none twice.
    Local(Destinations),
    /// The domain is ours, the user is unknown.
    Unknown,
    /// The domain is not ours.
    Foreign,
    /// Refused with that code: a fault on demand.
    Refused(u16),
}

impl Lookup {
    /// Mail goes to one mailbox, and to no folder of it.
    pub fn to(mailbox: Mailbox) -> Self {
        Self::Local(Destination { mailbox, folder: None }.into())
    }
}

/// Who a message is from and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// What the reply, the `Received:` line and the log call this message.
    pub id: String,
    /// The address of MAIL FROM.
    pub from: ReversePath,
    /// MAIL said SMTPUTF8: the addresses and the header may be UTF-8 (RFC 6531).
    pub utf8: bool,
    /// The recipients that were accepted, each mailbox and folder once.
    pub to: Vec<Recipient>,
    /// The mailbox of the user who submits it, where a copy is filed in the folder `Sent`.
    pub sent_copy_for: Option<Mailbox>,
}

/// One accepted recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The address of RCPT TO.
    pub address: Address,
    /// Where its mail goes.
    pub mailbox: Mailbox,
    /// The folder that gets it instead, if it is there.
    pub folder: Option<Folder>,
}

/// A mailbox as one POP3 session sees it: fixed at login, numbered from 0.
pub trait Maildrop: fmt::Debug + Send + Sync {
    /// How many messages there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets of all messages together: STAT must not walk through them.
    fn total(&self) -> u64;

    /// Octets of a message on the wire, without dot-stuffing.
    fn octets(&self, message: usize) -> u64;

    /// The unique id of a message: 1 to 70 characters from 0x21 to 0x7e.
    fn unique_id(&self, message: usize) -> Cow<'_, str>;

    /// When a message was delivered, in seconds since 1970: rather too late than too early, for it is
    /// deleted by this.
    fn delivered_at(&self, message: usize) -> u64;
}

/// Something that no log, transcript or test output may show.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps what the client sent.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the one who checks them.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }
}
