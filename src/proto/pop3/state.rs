//! The state of a POP3 session. The other files of this directory operate on it.

use std::{rc::Rc, time::Duration};

use super::{
    command_table::CommandPhase,
    maildrop_view::{Column, MaildropView, Transfer},
    session_config::SessionConfig,
};
use crate::{
    language::Language,
    proto::{
        dot::LineEndings,
        request::Mailbox,
        sasl::{Credentials, FailedCredentials},
    },
};

/// The server side of a POP3 session.
pub struct Pop3Session {
    pub(super) config: Rc<SessionConfig>,
    pub(super) language: Language,
    pub(super) state: State,
    pub(super) is_encrypted: bool,
    pub(super) errors: usize,
    pub(super) failed_credentials: FailedCredentials,
    /// True if USER was accepted since the last password.
    pub(super) user_given: bool,
    /// Number of steps towards the login.
    pub(super) login_steps: usize,
    pub(super) logins: usize,
}

/// The state of the session. The view of the mailbox is boxed, because thousands of sessions have not logged in.
pub(super) enum State {
    /// AUTHORIZATION, with the name from USER if it was given.
    Authorization { user: Option<String> },
    /// AUTH PLAIN waits for the client's response.
    Plain,
    /// PASS or AUTH waits for `Request::Verify`.
    AwaitingVerify(Credentials),
    /// The reply to a wrong password is delayed.
    DelayingReply { last: bool },
    /// The login waits for `MaildropRequest::Open`.
    AwaitingOpen { mailbox: Mailbox, since: Duration },
    /// The login waits until another session releases the mailbox.
    WaitingForLock { mailbox: Mailbox, since: Duration },
    /// TRANSACTION: the session waits for a command.
    Transaction(Box<MaildropView>),
    /// LIST or UIDL without an argument, at the next message to list.
    Listing(Box<MaildropView>, Column, usize),
    /// RETR or TOP, between two parts of the message.
    Sending(Box<MaildropView>, Transfer),
    /// RETR or TOP waits for `MaildropRequest::Read`.
    AwaitingRead(Box<MaildropView>, Transfer),
    /// QUIT searches for messages delivered before a date, in seconds since 1970, beginning at `next`.
    Expiring { visit: Box<MaildropView>, before: u64, next: usize },
    /// UPDATE: QUIT waits for `MaildropRequest::Update`.
    AwaitingUpdate { deleted: usize, seen: usize },
    /// The session has ended, and takes no further step.
    Over,
}

impl Pop3Session {
    /// A session with the configuration of its listener.
    pub fn new(rules: Rc<SessionConfig>) -> Self {
        let state = State::Authorization { user: None };
        Self {
            config: rules,
            language: Language::English,
            state,
            is_encrypted: false,
            errors: 0,
            failed_credentials: FailedCredentials::default(),
            user_given: false,
            login_steps: 0,
            logins: 0,
        }
    }

    pub(super) fn lenient(&self) -> bool {
        self.config.line_endings == LineEndings::Lenient && !self.config.pedantic
    }

    pub(super) fn phase(&self) -> CommandPhase {
        if matches!(self.state, State::Transaction(_)) {
            CommandPhase::Transaction
        } else {
            CommandPhase::Authorization
        }
    }
}
