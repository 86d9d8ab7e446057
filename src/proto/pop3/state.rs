//! The state of a POP3 session. The other files of this directory act on it.

use std::{rc::Rc, time::Duration};

use super::{
    maildrop_view::{Column, MaildropView, Transfer},
    reply::Language,
    session_config::{Phase, SessionConfig},
};
use crate::proto::{
    Encryption,
    dot::LineEndings,
    request::Mailbox,
    sasl::{Credentials, FailedCredentials},
};

/// One POP3 session.
pub struct Pop3Session {
    pub(super) config: Rc<SessionConfig>,
    pub(super) language: Language,
    pub(super) state: State,
    /// What protects the connection, if anything does.
    pub(super) encryption: Option<Encryption>,
    pub(super) errors: usize,
    pub(super) failed_credentials: FailedCredentials,
    /// Whether USER was taken since the last password.
    pub(super) user_given: bool,
    /// Steps towards the login.
    pub(super) login_steps: usize,
    pub(super) logins: usize,
}

pub(super) enum State {
    /// AUTHORIZATION, perhaps with the name of USER.
    Authorization { user: Option<String> },
    /// AUTH PLAIN waits for the client's only message.
    Plain,
    /// PASS or AUTH waits for `Request::Verify`.
    AwaitingVerify(Credentials),
    /// The answer to a wrong password is being held back.
    DelayingReply { last: bool },
    /// The login waits for `Request::Open`.
    AwaitingOpen { mailbox: Mailbox, since: Duration },
    /// The login waits for another session to leave the mailbox.
    WaitingForLock { mailbox: Mailbox, since: Duration },
    /// TRANSACTION.
    Transaction(MaildropView),
    /// LIST or UIDL of everything, at the message that comes next.
    Listing(MaildropView, Column, usize),
    /// RETR or TOP, between two pieces of the message.
    Sending(MaildropView, Transfer),
    /// RETR or TOP waits for `Request::Read`.
    AwaitingRead(MaildropView, Transfer),
    /// QUIT looks for messages that were delivered before a date, in seconds since 1970, from the `next` on.
    Expiring { visit: MaildropView, before: u64, next: usize },
    /// UPDATE: QUIT waits for `Request::Update`.
    AwaitingUpdate { deleted: usize, seen: usize },
    /// Nothing more to say.
    Over,
}

impl Pop3Session {
    /// A session of a listener with those rules.
    pub fn new(rules: Rc<SessionConfig>) -> Self {
        let state = State::Authorization { user: None };
        Self {
            config: rules,
            language: Language::En,
            state,
            encryption: None,
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

    pub(super) fn phase(&self) -> Phase {
        if matches!(self.state, State::Transaction(_)) { Phase::Transaction } else { Phase::Authorization }
    }
}
