//! The state of an IMAP session. The other files of this directory operate on it.

use std::rc::Rc;

use super::{
    command_reader::CommandReader,
    command_table::CommandPhase,
    reply::{ReplyText, Status},
    session_config::SessionConfig,
};
use crate::proto::{
    dot::LineEndings,
    pop3::reply::Language,
    request::Mailbox,
    sasl::{Credentials, FailedCredentials},
};

/// The tag of a command, which its replies repeat.
pub(super) type Tag = Vec<u8>;

/// The server side of an IMAP session.
pub struct ImapSession {
    pub(super) config: Rc<SessionConfig>,
    pub(super) language: Language,
    pub(super) reader: CommandReader,
    pub(super) state: State,
    /// The mailbox of the user who has logged in.
    pub(super) user: Option<Mailbox>,
    pub(super) is_encrypted: bool,
    /// Errors before the login; after it, malformed commands since the last good one.
    pub(super) errors: usize,
    pub(super) failed_credentials: FailedCredentials,
    /// Number of steps towards the login.
    pub(super) login_steps: usize,
    pub(super) logins: usize,
}

/// The activity of the session.
pub(super) enum State {
    /// The session reads a command.
    Ready,
    /// AUTHENTICATE PLAIN waits for the client's response.
    Plain { tag: Tag },
    /// LOGIN or AUTHENTICATE waits for `Request::Verify`.
    AwaitingVerify { tag: Tag, credentials: Credentials },
    /// The login waits for `ImapRequest::Prepare`.
    AwaitingPrepare { tag: Tag, user: Mailbox },
    /// The rest of a refused command is read.
    Discarding(Box<Discarding>),
    /// The reply to a wrong password is delayed.
    DelayingReply { tag: Tag, last: bool },
    /// The session has ended, and takes no further step.
    Over,
}

/// A refused command whose rest is still to come.
pub(super) struct Discarding {
    pub(super) tag: Tag,
    pub(super) status: Status,
    /// The command, for the log.
    pub(super) what: &'static str,
    pub(super) text: ReplyText,
    /// Octets of the present literal that have not been read.
    pub(super) left: u64,
    /// Octets of all its literals.
    pub(super) octets: u64,
}

impl ImapSession {
    /// A session with the configuration of its listener.
    pub fn new(config: Rc<SessionConfig>) -> Self {
        Self {
            config,
            language: Language::En,
            reader: CommandReader::default(),
            state: State::Ready,
            user: None,
            is_encrypted: false,
            errors: 0,
            failed_credentials: FailedCredentials::default(),
            login_steps: 0,
            logins: 0,
        }
    }

    pub(super) fn lenient(&self) -> bool {
        self.config.line_endings == LineEndings::Lenient && !self.config.pedantic
    }

    pub(super) fn phase(&self) -> CommandPhase {
        match self.user {
            None => CommandPhase::NotAuthenticated,
            Some(_) => CommandPhase::Authenticated,
        }
    }

    /// True if the client may send a password on this connection.
    pub(super) fn passwords_allowed(&self) -> bool {
        self.config.protocol.plaintext_auth || self.is_encrypted
    }
}
