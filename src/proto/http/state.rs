//! The state of an HTTP session. The other files of this directory operate on it.

use std::{rc::Rc, time::Duration};

use super::{
    api::{Document, MailboxScope},
    head::Head,
    routes::{Access, Endpoint, Match},
    session_config::SessionConfig,
};
use crate::proto::{
    request::Mailbox,
    sasl::{Credentials, FailedCredentials},
};

/// The server side of an HTTP session.
pub struct HttpSession {
    pub(super) config: Rc<SessionConfig>,
    pub(super) state: State,
    pub(super) is_encrypted: bool,
    pub(super) failed_credentials: FailedCredentials,
    /// The user of the last request.
    pub(super) user: Option<String>,
    /// Number of whole requests.
    pub(super) requests: usize,
    pub(super) logins: usize,
}

/// The state of the session. Requests are boxed, because thousands of sessions are idle or wait for events.
pub(super) enum State {
    /// The session reads the head of a request. `searched` octets of it have no end; 0 before the first octet.
    Head { searched: usize },
    /// The credentials of a request wait for `Request::Verify`.
    AwaitingVerify(Box<Exchange>, Credentials),
    /// The response to a wrong password is delayed.
    DelayingRefusal(Box<Exchange>),
    /// The session reads the body of a request.
    Body { exchange: Box<Exchange>, user: Option<Mailbox>, body: Vec<u8>, left: u64 },
    /// A request waits for its document.
    AwaitingDocument(Box<Exchange>, MailboxScope),
    /// A document is on its way to the client, between two pieces.
    Sending(Box<Transfer>),
    /// The rest of a message waits for the next piece.
    AwaitingPiece(Box<Transfer>),
    /// `/wait` or `/api/events` waits for its subscription.
    AwaitingSubscription(Box<Exchange>, MailboxScope, Duration),
    /// `/wait` waits for the result of a search.
    Searching(Box<Wait>),
    /// `/wait` waits for a change.
    Waiting(Box<Wait>),
    /// `/api/events`, `/sessions/events`: changes are sent as they happen. `lagging`: the client does not read
    /// them. `until`: the end of the login, on the monotonic clock.
    Events { lagging: bool, until: Option<Duration> },
    /// The session has ended, and takes no further step.
    Over,
}

/// A request that is being served.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) head: Head,
    pub(super) endpoint: Endpoint,
    pub(super) access: Access,
    /// The address after `/box/`.
    pub(super) address: Option<String>,
    pub(super) id: Option<String>,
    pub(super) part: Option<String>,
}

impl Exchange {
    /// A request with its route.
    pub(super) fn new(head: &Head, found: &Match<'_>) -> Box<Self> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Box::new(Self {
            head: head.clone(),
            endpoint: found.endpoint,
            access: found.access,
            address: owned(found.address),
            id: owned(found.id),
            part: owned(found.part),
        })
    }
}

/// A document on its way to the client.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) exchange: Box<Exchange>,
    pub(super) scope: MailboxScope,
    pub(super) document: Document,
    /// Octets of `document.bytes` that are in the outbox.
    pub(super) at: usize,
    /// Octets of the content that are in the outbox.
    pub(super) sent: u64,
}

/// A long poll.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) exchange: Box<Exchange>,
    pub(super) scope: MailboxScope,
    /// The end of the wait, on the monotonic clock.
    pub(super) deadline: Duration,
    /// The time of the last response.
    pub(super) since: Duration,
    /// True if messages have arrived since the last search began.
    pub(super) changed: bool,
    /// The response at the end of the wait, if the last search could not read every mailbox.
    pub(super) unreadable: Option<Document>,
}

impl HttpSession {
    /// A session with the configuration of its listener.
    pub fn new(config: Rc<SessionConfig>) -> Self {
        Self {
            config,
            state: State::Head { searched: 0 },
            is_encrypted: false,
            failed_credentials: FailedCredentials::default(),
            user: None,
            requests: 0,
            logins: 0,
        }
    }
}
