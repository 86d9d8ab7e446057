//! An HTTP session: reads requests in order, and dispatches them and their responses. All of its files act on `state`;
//! none reads a clock, a socket or a disk.

use std::mem;

use super::{
    BODY_PIECE, MAX_BODY, MAX_HEAD,
    api::{ApiRequest, MailboxScope},
    autoconfig,
    dispatch::{self, Answer},
    fixed, guard,
    head::{self, Head, Method},
    mailhog_routes, page, response,
    routes::{self, Endpoint, NoMatch},
    scope::scope_of,
    session_config::LoginPolicy,
    state::{Exchange, HttpSession, State},
    status::{NO_MATCH, Refusal, Status, read_refusal},
    submission,
};
use crate::proto::{
    Context, Encryption, EndReason, HeldDocument, Progress, ProgressCounts, ResetOn, Session, SessionEvent,
    SessionPhase, SessionStage, Step, TLS_HANDSHAKE, Timeouts,
    buffer::{Inbox, Outbox},
    event::Event,
    request::{Failure, Mailbox, Response},
};

impl HttpSession {
    fn head_step(&mut self, cx: &Context<'_>, searched: usize, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        // Some clients send an empty line after a body (RFC 9112 section 2.2).
        while searched == 0 && inbox.unread().starts_with(b"\r\n") {
            inbox.consume(2);
        }
        let unread = inbox.unread();
        if unread.starts_with(TLS_HANDSHAKE) {
            return self.refuse_and_close("TLS handshake", &NOT_TLS, out);
        }
        let found = head::length(unread, searched);
        if found.unwrap_or(unread.len()) > MAX_HEAD {
            return self.refuse_and_close("long head", &LONG_HEAD, out);
        }
        let Some(length) = found else {
            let is_empty_line = unread == b"\r";
            let has_begun = searched == 0 && !unread.is_empty() && !is_empty_line;
            self.state = State::Head { searched: if is_empty_line { 0 } else { unread.len() } };
            // The time for a head runs from its first octet, and not from the last response.
            return if has_begun { Step::Continue } else { Step::Idle };
        };
        let parsed = Head::parse(&unread[..length]);
        inbox.consume(length);
        self.requests += 1;
        match parsed {
            Ok(head) => self.request(cx, &head, out),
            Err(refusal) => self.refuse_and_close("malformed request", &refusal, out),
        }
    }

    /// Serves a request whose head is there.
    fn request(&mut self, cx: &Context<'_>, head: &Head, out: &mut Outbox) -> Step {
        let found = routes::find(head.method, &head.target.segments);
        let access = found.as_ref().ok().map(|found| found.access);
        let config = &self.config;
        if let Err(refusal) = guard::check_host(&head.host, access, &config.hostname, &config.protocol) {
            return self.refuse(head, &refusal, None, out);
        }
        let found = match found {
            Ok(found) => found,
            Err(no_match) => {
                let allow = if let NoMatch::Method(names) = &no_match {
                    Some(("Allow", names.as_str()))
                } else {
                    None
                };
                let refusal = match &allow {
                    None if fixed::is_known_elsewhere(&head.target.segments) => fixed::NOT_OFFERED,
                    None => Refusal::new(no_match.status(), NO_ROUTE),
                    Some(_) => Refusal::new(no_match.status(), NO_METHOD),
                };
                return self.refuse(head, &refusal, allow, out);
            }
        };
        let names_id = found.id.is_some_and(|id| id != "latest");
        if let Err(refusal) = guard::check_origin(head, found.access, names_id) {
            return self.refuse(head, &refusal, None, out);
        }
        let (most, too_long) = match found.endpoint {
            Endpoint::Send => (self.config.limits.smtp.max_message_size.0, &submission::LONG_MESSAGE),
            Endpoint::Autodiscover => (autoconfig::MAX_REQUEST, &autoconfig::LONG_REQUEST),
            _ => (MAX_BODY, &LONG_BODY),
        };
        if head.content_length.is_some_and(|length| length > most) {
            return self.refuse(head, too_long, None, out);
        }
        let exchange = Exchange::new(head, &found);
        self.authorize(cx, exchange, out)
    }

    /// Begins to read the body of an authorized request.
    pub(super) fn receive_body(
        &mut self,
        cx: &Context<'_>,
        exchange: Box<Exchange>,
        user: Option<Mailbox>,
        out: &mut Outbox,
    ) -> Step {
        let left = exchange.head.content_length.unwrap_or(0);
        if left == 0 {
            return self.run(cx, exchange, user.as_ref(), &[], out);
        }
        if exchange.endpoint == Endpoint::Send {
            return match scope_of(cx, exchange.address.as_deref(), user.as_ref()) {
                Some(scope) => self.begin_submission(cx, exchange, (scope, user)),
                None => self.refuse(&exchange.head, &NO_MAILBOX, None, out),
            };
        }
        if exchange.head.expects_continue {
            out.line("HTTP/1.1 100 Continue\r\n");
        }
        self.state = State::Body { exchange, user, body: Vec::new(), left };
        Step::Continue
    }

    fn body_step(
        &mut self,
        cx: &Context<'_>,
        (exchange, user): (Box<Exchange>, Option<Mailbox>),
        (mut body, mut left): (Vec<u8>, u64),
        inbox: &mut Inbox,
        out: &mut Outbox,
    ) -> Step {
        let here = inbox.octets(left);
        let length = here.len();
        // The body of a request that only reads has no meaning (RFC 9110 section 9.3.1).
        if !exchange.head.method.is_safe() {
            body.extend_from_slice(here);
        }
        inbox.consume(length);
        let before = left;
        left -= length as u64;
        if left > 0 {
            self.state = State::Body { exchange, user, body, left };
            // The time for a body begins again with each piece, and not with each octet.
            return if before / BODY_PIECE == left / BODY_PIECE { Step::Idle } else { Step::Continue };
        }
        self.run(cx, exchange, user.as_ref(), &body, out)
    }

    /// Runs a whole request.
    fn run(
        &mut self,
        cx: &Context<'_>,
        mut exchange: Box<Exchange>,
        user: Option<&Mailbox>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Step {
        let Some(scope) = scope_of(cx, exchange.address.as_deref(), user) else {
            return self.refuse_exchange(&exchange.head, &NO_MAILBOX, None, exchange.head.keep_alive, out);
        };
        let inboxes = scope_of(cx, None, user).unwrap_or_else(|| scope.clone());
        if exchange.endpoint.shows_sessions() && inboxes != MailboxScope::All {
            return self.refuse_exchange(
                &exchange.head,
                &page::ADMINS_ONLY,
                None,
                exchange.head.keep_alive,
                out,
            );
        }
        exchange.tells_paths = inboxes == MailboxScope::All;
        match dispatch::answer(&exchange, inboxes, body, &self.config) {
            Ok(Answer::Document(document)) => self.send_document(exchange, scope, document, out),
            Ok(Answer::Events) if exchange.head.method == Method::Head => {
                let allow = Some(("Allow", "GET"));
                self.refuse_exchange(&exchange.head, &NO_HEAD, allow, exchange.head.keep_alive, out)
            }
            Ok(Answer::Events) => self.subscribe(exchange, scope, out),
            Ok(Answer::Action(action)) => {
                let zone = exchange.head.target.parameter("tz");
                let tells_paths = exchange.tells_paths;
                let request = ApiRequest { tells_paths, ..ApiRequest::new(scope.clone(), action) };
                let request = request.in_zone(zone);
                self.state = State::AwaitingDocument(exchange, scope);
                self.ask_for(request)
            }
            Err(refusal) => {
                self.refuse_exchange(&exchange.head, &refusal, None, exchange.head.keep_alive, out)
            }
        }
    }

    // Refusals

    /// Refuses a request before its body is read. The connection stays open if there is none.
    pub(super) fn refuse(
        &mut self,
        head: &Head,
        refusal: &Refusal,
        extra: Option<(&'static str, &str)>,
        out: &mut Outbox,
    ) -> Step {
        let keep_alive = head.keep_alive && head.content_length.unwrap_or(0) == 0;
        self.refuse_exchange(head, refusal, extra, keep_alive, out)
    }

    /// Refuses a request, and says whether the connection stays open.
    pub(super) fn refuse_exchange(
        &mut self,
        head: &Head,
        refusal: &Refusal,
        extra: Option<(&'static str, &str)>,
        keep_alive: bool,
        out: &mut Outbox,
    ) -> Step {
        // A client of HTTP/1.0 needs no further request after a refusal.
        let keep_alive = keep_alive && !head.announces_keep_alive;
        let what = format!("{} /{}", head.method.name(), head.target.segments.join("/"));
        out.push_event(Event::Refused { what, reply: refusal.status.0.to_string() });
        let reader = page::reader(head);
        response::refuse(refusal, reader, extra, (head.method != Method::Head, keep_alive), out);
        self.finish(keep_alive)
    }

    pub(super) fn refuse_and_close(&mut self, what: &str, refusal: &Refusal, out: &mut Outbox) -> Step {
        out.push_event(Event::Refused { what: what.into(), reply: refusal.status.0.to_string() });
        response::refuse(refusal, None, None, (true, false), out);
        self.finish(false)
    }

    /// Refuses a request for which the backend reported a failure.
    pub(super) fn refuse_failure(&mut self, head: &Head, failure: Failure, out: &mut Outbox) -> Step {
        self.refuse_exchange(head, &read_refusal(failure), None, head.keep_alive, out)
    }

    /// Ends the exchange, and the connection if it does not stay open.
    pub(super) fn finish(&mut self, keep_alive: bool) -> Step {
        if keep_alive {
            self.state = State::Head { searched: 0 };
            Step::Continue
        } else {
            self.state = State::Over;
            Step::Close
        }
    }
}

impl Session for HttpSession {
    fn greet(&mut self, _: &Context<'_>, _: &mut Outbox) -> Step {
        Step::Continue
    }

    fn step(&mut self, cx: &Context<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        match mem::replace(&mut self.state, State::Over) {
            State::Head { searched } => self.head_step(cx, searched, inbox, out),
            State::Body { exchange, user, body, left } => {
                self.body_step(cx, (exchange, user), (body, left), inbox, out)
            }
            State::DelayingRefusal(exchange) => self.refuse_login(&exchange, out),
            State::Sending(transfer) => self.send_piece(transfer, out),
            State::Waiting(wait) => self.wait_step(cx, wait, inbox, out),
            State::Submitting(submission) => self.submission_step(cx, *submission, inbox),
            State::Events { lagging, until } => self.events_step(cx, (lagging, until), inbox, out),
            State::Streaming(stream) => self.stream_step(cx, stream, inbox, out),
            state => {
                self.state = state;
                Step::Idle
            }
        }
    }

    fn respond(&mut self, cx: &Context<'_>, answer: Response, out: &mut Outbox) -> Step {
        match (mem::replace(&mut self.state, State::Over), answer) {
            (State::AwaitingVerify(exchange, credentials), answer) => {
                self.verified(cx, exchange, credentials, answer, out)
            }
            (State::AwaitingDocument(exchange, scope), Response::Document(document)) => {
                let document = mailhog_routes::answer(&exchange, document);
                self.send_document(exchange, scope, document, out)
            }
            (State::AwaitingDocument(exchange, _), Response::Failed(Failure::Gone))
                if exchange.search_of_latest().is_some() =>
            {
                self.refuse_exchange(&exchange.head, &NO_MATCH, None, exchange.head.keep_alive, out)
            }
            (State::AwaitingDocument(exchange, _), Response::Failed(failure)) => {
                self.refuse_failure(&exchange.head, failure, out)
            }
            (State::AwaitingPiece(transfer), answer) => self.piece_arrived(transfer, answer, out),
            (State::Submitting(submission), answer) => self.submission_response(cx, *submission, answer, out),
            (State::AwaitingSubscription(exchange, scope, timeout), Response::Done) => {
                self.subscribed(cx, exchange, scope, timeout, out)
            }
            (State::AwaitingSubscription(exchange, ..), Response::Failed(failure)) => {
                self.refuse_failure(&exchange.head, failure, out)
            }
            (State::Searching(wait), answer) => self.searched(cx, wait, answer, out),
            (State::AwaitingStreamed(stream), answer) => self.streamed(stream, answer),
            // No other response follows a request of this session.
            (_, _) => Step::Abort,
        }
    }

    fn tls_started(&mut self, _: &Context<'_>, _: Encryption) {
        self.is_encrypted = true;
    }

    fn session_phase(&self) -> SessionPhase {
        match &self.state {
            State::Head { .. } => SessionPhase::RequestHead,
            State::Submitting(submission) => submission.session_phase(),
            State::Body { .. } => SessionPhase::RequestBody,
            State::Sending(_)
            | State::AwaitingPiece(_)
            | State::Events { .. }
            | State::Streaming(_)
            | State::AwaitingStreamed(_) => SessionPhase::Sending,
            State::Over => SessionPhase::Ended,
            _ => SessionPhase::Pending,
        }
    }

    fn timeouts(&self) -> Timeouts {
        let limits = &self.config.limits.http;
        let (read, reset_on) = match &self.state {
            State::Body { .. } => (limits.request_timeout.0, ResetOn::Command),
            State::Head { searched: 0 } => (limits.idle_timeout.0, ResetOn::Command),
            State::Waiting(wait) => (wait.deadline.saturating_sub(wait.since), ResetOn::Command),
            _ => (limits.request_timeout.0, ResetOn::Command),
        };
        Timeouts { read, reset_on, write: limits.write_timeout.0, session: None }
    }

    fn progress(&self) -> Progress {
        let needs_login = self.config.protocol.login != LoginPolicy::Off;
        let rate = self.config.limits.smtp.min_data_rate;
        let stage = match &self.state {
            State::Submitting(submission) => submission.session_stage(needs_login, rate),
            _ if needs_login && self.logins == 0 => SessionStage::Unidentified,
            _ if needs_login => SessionStage::Trusted(None),
            _ => SessionStage::Idle,
        };
        let served = if needs_login { self.logins } else { self.requests };
        let counts = ProgressCounts { commands: self.requests, advances: self.requests, served };
        Progress { stage, counts }
    }

    fn take_work(&mut self) -> usize {
        mem::take(&mut self.work)
    }

    fn held_document(&self, pending: usize) -> Option<HeldDocument> {
        match &self.state {
            State::Sending(transfer) => Some(HeldDocument::new(transfer.document.bytes.len(), transfer.at)),
            State::Streaming(stream) | State::AwaitingStreamed(stream) => Some(stream.held(pending)),
            State::Events { .. } => Some(HeldDocument::new(pending, 0)),
            State::Body { body, .. } => Some(HeldDocument::new(body.len(), body.len())),
            _ => None,
        }
    }

    fn notify(&mut self, event: &SessionEvent, out: &mut Outbox) {
        self.changed(event, out);
    }

    fn on_timeout(&mut self, out: &mut Outbox) {
        match mem::replace(&mut self.state, State::Over) {
            // An idle connection ends without a response to no request (RFC 9112 section 9.5).
            State::Head { searched: 0 } => {}
            State::Waiting(wait) => drop(self.wait_timeout(*wait, out)),
            _ => {
                self.refuse_and_close("slow request", &TOO_SLOW, out);
            }
        }
    }

    fn end(&mut self, why: EndReason, out: &mut Outbox) -> Step {
        match &mut self.state {
            _ if why == EndReason::LoginRevoked => self.login_revoked(out),
            State::Submitting(submission) if submission.is_final() => {
                submission.exchange.head.keep_alive = false;
                Step::Idle
            }
            State::Head { searched: 0 }
            | State::Events { .. }
            | State::Streaming(_)
            | State::AwaitingStreamed(_)
            | State::Over => self.finish(false),
            // The client must see that content is missing.
            State::Sending(_) | State::AwaitingPiece(_) => Step::Abort,
            _ => self.refuse_and_close(why.words(), &SHUTTING_DOWN, out),
        }
    }
}

const NO_ROUTE: &str = "There is nothing at this path";
const NO_METHOD: &str = "This path has other methods";
const NO_HEAD: Refusal = Refusal::new(Status::METHOD_NOT_ALLOWED, NO_METHOD);
const NOT_TLS: Refusal = Refusal::new(Status::BAD_REQUEST, "This port does not begin with TLS: use http");
const LONG_HEAD: Refusal = Refusal::new(Status::HEAD_TOO_LARGE, "The head of a request has 16 KiB at most");
const LONG_BODY: Refusal = Refusal::new(Status::TOO_LARGE, "The body of this request has 1 MiB at most");
const NO_MAILBOX: Refusal = Refusal::new(Status::NOT_FOUND, "There is no such mailbox, or it is not yours");
const TOO_SLOW: Refusal = Refusal::new(Status::TIMEOUT, "The request did not arrive in time");
const SHUTTING_DOWN: Refusal = Refusal::new(Status::UNAVAILABLE, "The server is shutting down");
