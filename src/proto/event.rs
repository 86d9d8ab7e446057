//! What a session wants the log to know: data, written out by `logging`.

use super::{injection::InjectedFault, request::Mailbox};

/// Something worth a line in the log. Text in it is as the peer sent it: the log escapes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message is durable, and the client was told.
    Accepted {
        /// The id in the reply and in `Received:`.
        id: String,
        /// The reverse path, with its angle brackets.
        from: String,
        /// The first of its recipients.
        to: Vec<String>,
        /// How many mailboxes have it.
        recipients: usize,
        /// Octets on the wire.
        octets: u64,
    },
    /// The client was told no.
    Refused {
        /// What it wanted: a command line without secrets, or a word like "data".
        what: String,
        /// The reply: code and enhanced code.
        reply: String,
    },
    /// Somebody tried to log in.
    Login {
        /// The name given.
        user: String,
        /// How: "PLAIN", "LOGIN", or "USER" for the commands of POP3.
        mechanism: &'static str,
        /// Whether it worked.
        ok: bool,
    },
    /// A POP3 session has a mailbox open.
    Opened {
        /// Which one.
        mailbox: Mailbox,
        /// Messages in it.
        messages: usize,
        /// Octets in it.
        octets: u64,
    },
    /// A message was sent whole.
    Read {
        /// Octets of it.
        octets: u64,
    },
    /// A POP3 session ended with QUIT.
    Updated {
        /// Messages deleted.
        deleted: usize,
        /// Messages marked as seen.
        seen: usize,
    },
    /// The session ended for another reason than QUIT.
    Ended {
        /// The reason.
        why: &'static str,
    },
    /// The session ended because a tester wanted it to.
    Injected(InjectedFault),
}

impl Event {
    /// How many recipients of a message the log shows.
    pub const MAX_LISTED: usize = 8;

    /// The same of a message that not all of its recipients have: `to` are the first of those who do.
    pub fn for_recipients(self, to: Vec<String>, recipients: usize) -> Self {
        match self {
            Self::Accepted { id, from, octets, .. } => Self::Accepted { id, from, to, recipients, octets },
            other => other,
        }
    }
}
