//! Requests whose response comes with a change: `/wait`, a long poll, and `/api/events` and `/sessions/events`, server-sent
//! events (HTML Living Standard section 9.2).

use std::{mem, time::Duration};

use super::{
    api::{ApiAction, ApiRequest, MailChange, MailboxScope, MessageView, Outcome},
    response::{ContentPolicy, ResponseHead},
    routes::Endpoint,
    session_config::LoginPolicy,
    state::{Exchange, HttpSession, MessageStream, State, Wait},
    status::{Refusal, Status},
};
use crate::{
    limits::Span,
    proto::{
        Context, EndReason, SessionEvent, Step,
        buffer::{Inbox, Outbox},
        event::Event,
        request::{Failure, Response},
    },
};

impl HttpSession {
    /// Requests events of the mailboxes. They must come before the first search, so that no message is missed between.
    pub(super) fn subscribe(
        &mut self,
        exchange: Box<Exchange>,
        scope: MailboxScope,
        out: &mut Outbox,
    ) -> Step {
        let timeout = match exchange.head.target.parameter("timeout") {
            None => DEFAULT_TIMEOUT,
            Some(text) => match parse_timeout(text) {
                Some(timeout) if timeout <= MAX_TIMEOUT => timeout,
                _ => {
                    let keep_alive = exchange.head.keep_alive;
                    return self.refuse_exchange(&exchange.head, &BAD_TIMEOUT, None, keep_alive, out);
                }
            },
        };
        let action = match exchange.endpoint {
            Endpoint::SessionEvents => ApiAction::Watch,
            _ => ApiAction::Subscribe,
        };
        self.state = State::AwaitingSubscription(exchange, scope.clone(), timeout);
        self.ask(scope, action)
    }

    pub(super) fn subscribed(
        &mut self,
        cx: &Context<'_>,
        mut exchange: Box<Exchange>,
        scope: MailboxScope,
        timeout: Duration,
        out: &mut Outbox,
    ) -> Step {
        // The events go on until the connection ends, so it serves no further request.
        exchange.head.keep_alive = false;
        if exchange.endpoint == Endpoint::Wait {
            let now = cx.now.monotonic;
            let deadline = now + timeout;
            let wait = Wait { exchange, scope, deadline, since: now, changed: false, unreadable: None };
            return self.search(Box::new(wait));
        }
        let mut head = ResponseHead::new(Status::OK, ContentPolicy::Nothing);
        head.field("Content-Type", "text/event-stream");
        head.cache(None);
        head.write_without_length(false, out);
        out.line(": restante\r\n");
        let needs_login = self.config.protocol.login != LoginPolicy::Off;
        let until = needs_login.then(|| cx.now.monotonic + MAX_LOGGED_IN);
        if exchange.endpoint == Endpoint::MailHogEvents {
            self.state = State::Streaming(Box::new(MessageStream::new(scope, until)));
            return Step::Continue;
        }
        self.state = State::Events { lagging: false, until };
        Step::Pause(PING_INTERVAL)
    }

    fn search(&mut self, mut wait: Box<Wait>) -> Step {
        wait.changed = false;
        let search = wait.exchange.head.target.parameter("query").unwrap_or_default().to_owned();
        let scope = wait.scope.clone();
        let tells_paths = wait.exchange.tells_paths;
        self.state = State::Searching(wait);
        let action = ApiAction::Find { search, view: MessageView::Object };
        self.ask_for(ApiRequest { tells_paths, ..ApiRequest::new(scope, action) })
    }

    pub(super) fn searched(
        &mut self,
        cx: &Context<'_>,
        mut wait: Box<Wait>,
        answer: Response,
        out: &mut Outbox,
    ) -> Step {
        match answer {
            // The message may be in a mailbox that cannot be read, or come to another one.
            Response::Document(document) if document.outcome == Outcome::Failed => {
                wait.unreadable = Some(document);
                self.wait_on(cx, wait, out)
            }
            Response::Document(document) => self.send_document(wait.exchange, wait.scope, document, out),
            Response::Failed(Failure::Gone) => {
                wait.unreadable = None;
                self.wait_on(cx, wait, out)
            }
            Response::Failed(failure) => self.refuse_failure(&wait.exchange.head, failure, out),
            _ => Step::Abort, // no other response follows a search
        }
    }

    /// The time of a wait is over.
    pub(super) fn wait_timeout(&mut self, wait: Wait, out: &mut Outbox) -> Step {
        let Wait { mut exchange, scope, unreadable, .. } = wait;
        exchange.head.keep_alive = false;
        match unreadable {
            Some(document) => self.send_document(exchange, scope, document, out),
            None => self.refuse_exchange(&exchange.head, &NO_MESSAGE_IN_TIME, None, false, out),
        }
    }

    /// Waits for the next change, or searches again if there was one. The end of the wait comes first: mail may arrive
    /// during each search.
    fn wait_on(&mut self, cx: &Context<'_>, mut wait: Box<Wait>, out: &mut Outbox) -> Step {
        wait.since = cx.now.monotonic;
        if wait.deadline <= wait.since {
            return self.wait_timeout(*wait, out);
        }
        if wait.changed {
            return self.search(wait);
        }
        self.state = State::Waiting(wait);
        Step::Idle
    }

    pub(super) fn wait_step(
        &mut self,
        cx: &Context<'_>,
        wait: Box<Wait>,
        inbox: &Inbox,
        out: &mut Outbox,
    ) -> Step {
        let now = cx.now.monotonic;
        let left = wait.deadline.saturating_sub(now);
        if wait.changed || inbox.has_ended() && left.is_zero() {
            return self.wait_on(cx, wait, out);
        }
        // A client that has shut its side down still reads, but a step that is idle would end its connection.
        if inbox.has_ended() {
            self.state = State::Waiting(Box::new(Wait { since: now, ..*wait }));
            return Step::Pause(left.min(HALF_OPEN_PAUSE));
        }
        self.state = State::Waiting(wait);
        Step::Idle
    }

    /// A comment shows the client, and every proxy between, that the connection is alive.
    pub(super) fn events_step(
        &mut self,
        cx: &Context<'_>,
        (lagging, until): (bool, Option<Duration>),
        inbox: &Inbox,
        out: &mut Outbox,
    ) -> Step {
        if lagging {
            return Step::Abort;
        }
        if inbox.has_ended() || until.is_some_and(|until| until <= cx.now.monotonic) {
            return self.finish(false);
        }
        self.state = State::Events { lagging, until };
        // Output of the last interval is still there: the write timeout decides.
        if !out.is_empty() {
            return Step::Idle;
        }
        out.line(": ping\r\n");
        Step::Pause(PING_INTERVAL)
    }

    /// The login of this connection is no longer valid. Each request has its own login, so a stream or a wait ends, and a request
    /// that has not begun. A request that is in progress goes on to its response, because its change may be made already; the next
    /// one logs in anew.
    pub(super) fn login_revoked(&mut self, out: &mut Outbox) -> Step {
        let why = EndReason::LoginRevoked.words();
        match mem::replace(&mut self.state, State::Over) {
            State::Events { .. } | State::Streaming(_) | State::AwaitingStreamed(_) => {
                out.push_event(Event::Ended { why });
                self.finish(false)
            }
            State::Waiting(wait) | State::Searching(wait) => {
                out.push_event(Event::Ended { why });
                self.refuse_login(&wait.exchange, out)
            }
            // The connection ends, because the response of the backend is outstanding. A wait serves no further request anyway.
            State::AwaitingVerify(mut exchange, _) | State::AwaitingSubscription(mut exchange, ..) => {
                out.push_event(Event::Ended { why });
                exchange.head.keep_alive = false;
                self.refuse_login(&exchange, out)
            }
            state => {
                self.state = state;
                Step::Idle
            }
        }
    }

    /// The mailboxes have changed, or the sessions that a page shows.
    pub(super) fn changed(&mut self, event: &SessionEvent, out: &mut Outbox) {
        let (name, data) = match event {
            SessionEvent::Mail(event) => (event.kind.name(), event.json.as_str()),
            SessionEvent::Sessions => ("sessions", "{}"),
            SessionEvent::MailboxChanged { .. }
            | SessionEvent::FolderChanged(_)
            | SessionEvent::FolderGone(_) => return,
        };
        match &mut self.state {
            State::Searching(wait) | State::Waiting(wait) => {
                // A deletion makes no message match.
                wait.changed |= matches!(
                    event,
                    SessionEvent::Mail(event) if event.kind != MailChange::Delete
                );
            }
            State::Events { lagging, .. } => {
                *lagging |= out.pending().len() > MAX_PENDING_EVENTS;
                if !*lagging {
                    out.line(&format!("event: {name}\r\ndata: {data}\r\n"));
                }
            }
            State::Streaming(stream) | State::AwaitingStreamed(stream) => {
                if let SessionEvent::Mail(event) = event {
                    stream.changed(event);
                }
            }
            _ => {}
        }
    }
}

/// A number of seconds, or a duration as in the configuration.
fn parse_timeout(text: &str) -> Option<Duration> {
    match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => text.parse::<Span>().ok().map(|span| span.0),
    }
}

const NO_MESSAGE_IN_TIME: Refusal = Refusal::new(Status::NOT_FOUND, "No such message came in time");
const BAD_TIMEOUT: Refusal = Refusal::new(
    Status::BAD_REQUEST,
    "The parameter timeout is a time like 10s, or a number of seconds: 5m at most",
);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait. Proxies between end connections without octets after a few minutes.
const MAX_TIMEOUT: Duration = Duration::from_secs(300);
/// The longest time until a client that has shut its side down hears of a change.
const HALF_OPEN_PAUSE: Duration = Duration::from_secs(1);
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// The longest stream of a user. Its client then logs in again, so a disabled account or an old password ends.
const MAX_LOGGED_IN: Duration = Duration::from_secs(600);
/// Octets that may wait for a client of events. A client with more has stopped reading.
const MAX_PENDING_EVENTS: usize = 256 * 1024;
