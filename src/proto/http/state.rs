//! The state of an HTTP session. The other files of this directory operate on it.

use std::{collections::VecDeque, net::IpAddr, rc::Rc, time::Duration};

use super::{
    api::{ApiAction, ApiRequest, Document, Draft, MailChange, MailEvent, MailboxScope, SharedOctets},
    head::Head,
    routes::{Endpoint, Match, RouteAccess},
    session_config::SessionConfig,
    status::Refusal,
};
use crate::proto::{
    HeldDocument, Step,
    event::Event,
    recipients::KnownMailboxes,
    request::{ConnId, Envelope, Mailbox, Request},
    sasl::{Credentials, FailedCredentials},
};

/// The server side of an HTTP session.
pub struct HttpSession {
    pub(super) config: Rc<SessionConfig>,
    pub(super) peer: IpAddr,
    pub(super) id: ConnId,
    pub(super) state: State,
    pub(super) is_encrypted: bool,
    pub(super) failed_credentials: FailedCredentials,
    /// The user of the last request.
    pub(super) user: Option<String>,
    /// Number of whole requests.
    pub(super) requests: usize,
    pub(super) logins: usize,
    /// Number of messages that were sent.
    pub(super) accepted_messages: usize,
    /// Mailboxes examined since the last call of [`Session::take_work`](crate::proto::Session::take_work).
    pub(super) work: usize,
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
    /// A message is on its way in.
    Submitting(Box<Submission>),
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
    /// `/api/v1/events`: new messages are sent as they come.
    Streaming(Box<MessageStream>),
    /// The stream waits for its next message.
    AwaitingStreamed(Box<MessageStream>),
    /// The session has ended, and takes no further step.
    Over,
}

/// A request that is being served.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) head: Head,
    pub(super) endpoint: Endpoint,
    pub(super) access: RouteAccess,
    /// The address after `/box/`.
    pub(super) address: Option<String>,
    pub(super) id: Option<String>,
    pub(super) part: Option<String>,
    /// True if its reader may read all mail, and so may know the paths of files.
    pub(super) tells_paths: bool,
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
            tells_paths: false,
        })
    }

    /// The words of a search, if the path names the newest message that they match.
    pub(super) fn search_of_latest(&self) -> Option<&str> {
        let query = self.head.target.parameter("query")?.trim();
        (self.id.as_deref() == Some("latest") && !query.is_empty()).then_some(query)
    }
}

/// A message on its way in.
pub(super) struct Submission {
    pub(super) exchange: Box<Exchange>,
    pub(super) scope: MailboxScope,
    pub(super) user: Option<Mailbox>,
    pub(super) started_at: Duration,
    pub(super) stage: Stage,
}

/// The progress of a [`Submission`], by the request that it waits for.
pub(super) enum Stage {
    /// `ReceiveRequest::CheckSpace`.
    Space,
    /// `ReceiveRequest::BeginWhole`.
    Begin,
    /// None: the body is being read, and `left` octets of it are missing.
    Body { body: Vec<u8>, left: u64 },
    /// `ApiAction::Compose` of a body of this many octets, which a worker holds.
    Composing { octets: usize },
    /// None: the recipients are being looked up, one in a step.
    Addressing(Box<Addressing>),
    /// `ReceiveRequest::Spill` of the pieces before the last one, then `ReceiveRequest::Deliver`.
    Delivering(Box<Delivering>),
    /// `ReceiveRequest::Discard`, before this refusal.
    Discarding(Refusal),
}

/// A composed message whose recipients are being looked up.
pub(super) struct Addressing {
    pub(super) draft: Draft,
    /// The recipient that comes next.
    pub(super) next: usize,
    pub(super) envelope: Envelope,
    pub(super) known: KnownMailboxes,
    /// A sentence about an address that resembles one with a fault.
    pub(super) hint: Option<String>,
}

/// A message that goes to the committer.
pub(super) struct Delivering {
    pub(super) envelope: Option<Envelope>,
    /// The last one is delivered, those before it are spilled.
    pub(super) pieces: VecDeque<Vec<u8>>,
    pub(super) accepted: Event,
    /// The sentence of [`Addressing`].
    pub(super) hint: Option<String>,
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

/// The stream of new messages of a client. Each is read when the one before it is on its way.
#[derive(Debug)]
pub(super) struct MessageStream {
    pub(super) scope: MailboxScope,
    /// The ids of messages that are still to be sent.
    pub(super) ids: VecDeque<String>,
    /// The JSON of the event that is being sent, and the octets of it that are in the outbox.
    pub(super) event: Option<SharedOctets>,
    pub(super) at: usize,
    /// Pauses since the last octets.
    pub(super) pauses: u32,
    /// The end of the login, on the monotonic clock.
    pub(super) until: Option<Duration>,
    /// True if the stream cannot tell of each message: the client does not read, or too many have come at once.
    pub(super) is_lagging: bool,
}

impl MessageStream {
    pub(super) fn new(scope: MailboxScope, until: Option<Duration>) -> Self {
        Self { scope, ids: VecDeque::new(), event: None, at: 0, pauses: 0, until, is_lagging: false }
    }

    /// The mailboxes have changed.
    pub(super) fn changed(&mut self, event: &MailEvent) {
        match event.kind {
            MailChange::New => self.push(&event.id),
            MailChange::Prune => self.is_lagging = true,
            MailChange::Update | MailChange::Delete => {}
        }
    }

    /// The memory of the stream: the event and the ids, or what its client has not read.
    pub(super) fn held(&self, pending: usize) -> HeldDocument {
        let ids = self.ids.len() * OCTETS_OF_ID;
        match &self.event {
            None => HeldDocument::new(pending + ids, 0),
            Some(event) => HeldDocument { shared: Some(event.size()), ..HeldDocument::new(ids, self.at) },
        }
    }

    fn push(&mut self, id: &str) {
        self.is_lagging |= self.ids.len() >= MAX_PENDING;
        if !self.is_lagging {
            self.ids.push_back(id.to_owned());
        }
    }
}

impl HttpSession {
    /// A session with the client at `peer`. `id` names the connection in the ids of messages.
    pub fn new(config: Rc<SessionConfig>, peer: IpAddr, id: ConnId) -> Self {
        Self {
            config,
            peer,
            id,
            state: State::Head { searched: 0 },
            is_encrypted: false,
            failed_credentials: FailedCredentials::default(),
            user: None,
            requests: 0,
            logins: 0,
            accepted_messages: 0,
            work: 0,
        }
    }

    /// Requests an action of the web API, in the name of the user of this request.
    pub(super) fn ask(&self, scope: MailboxScope, action: ApiAction) -> Step {
        self.ask_for(ApiRequest::new(scope, action))
    }

    /// Requests the same in a time zone.
    pub(super) fn ask_for(&self, request: ApiRequest) -> Step {
        Step::Request(Request::Api(ApiRequest { user: self.user.clone(), ..request }))
    }
}

/// Messages that may wait for a client. One with more has stopped reading.
const MAX_PENDING: usize = 10_000;
/// Octets of memory of an id that waits, about.
const OCTETS_OF_ID: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v53_a_client_that_does_not_read_is_closed() {
        let mut stream = MessageStream::new(MailboxScope::All, None);
        (0..MAX_PENDING).for_each(|_| stream.push("a1"));
        assert!(!stream.is_lagging);
        stream.push("a1");
        assert!(stream.is_lagging && stream.ids.len() == MAX_PENDING);
    }

    #[test]
    fn v94_the_event_and_the_ids_of_a_stream_count_as_its_memory() {
        let mut stream = MessageStream::new(MailboxScope::All, None);
        assert_eq!(stream.held(7), HeldDocument::new(7, 0));
        (0..1000).for_each(|_| stream.push("a1"));
        assert_eq!(stream.held(7), HeldDocument::new(7 + 1000 * OCTETS_OF_ID, 0));
        let event = SharedOctets { number: 3, octets: vec![b'x'; 500].into() };
        (stream.event, stream.at) = (Some(event), 100);
        let held = HeldDocument { shared: Some((3, 500)), ..HeldDocument::new(1000 * OCTETS_OF_ID, 100) };
        assert_eq!(stream.held(7), held);
    }
}
