//! The events that a session logs, as data. `logging` formats them.

use super::{injection::InjectedFault, request::Mailbox};

/// An event for the log. Its text is as the peer sent it; the log escapes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message is durable, and the client has its reply.
    Accepted {
        /// The id in the reply and in `Received:`.
        id: String,
        /// The reverse path, with its angle brackets.
        from: String,
        /// The first addresses of RCPT, each once. One more than [`Event::MAX_LISTED`] tells that there are more.
        to: Vec<String>,
        /// The number of mailboxes that have the message.
        recipients: usize,
        /// Octets on the wire.
        octets: u64,
    },
    /// The server refused a command or message.
    Refused {
        /// The refused command line without secrets, or a word like "data".
        what: String,
        /// The reply: code and enhanced code.
        reply: String,
    },
    /// A client tried to log in.
    Login {
        /// The name that the client gave.
        user: String,
        /// The mechanism: "PLAIN", "LOGIN", or "USER" for the POP3 commands.
        mechanism: &'static str,
        /// True if the login succeeded.
        ok: bool,
    },
    /// A session has opened a mailbox.
    Opened {
        /// The mailbox, or the folder of it, that the login opened.
        mailbox: Mailbox,
        /// The number of messages in it.
        messages: usize,
        /// The size of its messages, in octets. `None`: the session does not count them.
        octets: Option<u64>,
    },
    /// A command of IMAP has changed messages.
    FolderChanged {
        /// The command.
        command: ChangeCommand,
        /// The mailbox, or the folder of it, whose messages were named.
        mailbox: Mailbox,
        /// The folder that has got them, by COPY or MOVE.
        to: Option<Mailbox>,
        /// The number of messages.
        messages: u64,
    },
    /// A mailbox changed while a session had it open.
    MailboxChanged {
        /// The mailbox, or the folder of it, that has changed.
        mailbox: Mailbox,
        /// The number of messages in it now.
        messages: usize,
    },
    /// A client has received a whole message, by POP3, IMAP or HTTP.
    Read {
        /// The size of the message, in octets.
        octets: u64,
    },
    /// A POP3 session ended with QUIT.
    Updated {
        /// The number of messages deleted.
        deleted: usize,
        /// The number of messages marked as seen.
        seen: usize,
    },
    /// The session ended without QUIT.
    Ended {
        /// The reason, as in the log and in the metric.
        why: &'static str,
    },
    /// The session ended because of a fault on demand.
    Injected(InjectedFault),
    /// A tag of an address looks like a fault on demand, and is none here: a sentence that says so.
    NoFault(String),
}

/// A command of IMAP that changes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeCommand {
    /// APPEND.
    Append,
    /// COPY.
    Copy,
    /// EXPUNGE, or the deletions of CLOSE.
    Expunge,
    /// MOVE.
    Move,
    /// STORE.
    Store,
}

impl ChangeCommand {
    /// The word for what the command has done.
    pub fn done(self) -> &'static str {
        match self {
            Self::Append => "appended",
            Self::Copy => "copied",
            Self::Expunge => "expunged",
            Self::Move => "moved",
            Self::Store => "stored",
        }
    }
}

impl Event {
    /// The largest number of recipients that the log shows for a message.
    pub const MAX_LISTED: usize = 8;

    /// The same event for a message that only some recipients have. `to` lists the first of those recipients.
    pub fn for_recipients(self, to: Vec<String>, recipients: usize) -> Self {
        match self {
            Self::Accepted { id, from, octets, .. } => Self::Accepted { id, from, to, recipients, octets },
            other => other,
        }
    }
}
