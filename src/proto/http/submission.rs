//! `POST /api/v1/send`: a message that a client describes in JSON, on the way of every other message.
//!
//! The rule: the user has the rights of a submission by SMTP and no more, and the response comes when the message is durable.
//! Room is reserved before the body is read, a worker writes the message, and each recipient costs a step.

use std::{collections::VecDeque, mem};

use serde::Serialize;

use super::{
    BODY_PIECE,
    api::{ApiAction, Document, Draft, MailboxScope},
    state::{Addressing, Delivering, Exchange, HttpSession, Stage, State, Submission},
    status::{Refusal, SPOOL_MOVED, Status},
};
use crate::{
    printable,
    proto::{
        BodyProgress, Context, SessionPhase, SessionStage, Step,
        buffer::{Inbox, Outbox},
        event::Event,
        fault_injection::hint_for_recipient,
        injection::InjectedFault,
        recipients::{KnownMailboxes, NotAdded, RecipientBounds},
        request::{Envelope, Failure, Lookup, Mailbox, ReceiveRequest, Request, Response},
        smtp::trace,
    },
    wire_size::wire_size,
};

/// The answer for a message that was sent.
#[derive(Serialize)]
struct Sent<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    /// A sentence for a tester whose address resembles one with a fault.
    #[serde(rename = "Hint", skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl HttpSession {
    /// Asks for room for a message, before its body is read.
    pub(super) fn begin_submission(
        &mut self,
        cx: &Context<'_>,
        exchange: Box<Exchange>,
        (scope, user): (MailboxScope, Option<Mailbox>),
    ) -> Step {
        let size = exchange.head.content_length.unwrap_or(0);
        let started_at = cx.now.monotonic;
        self.submit(Submission { exchange, scope, user, started_at, stage: Stage::Space });
        Step::Request(Request::Receive(ReceiveRequest::CheckSpace { size }))
    }

    fn submit(&mut self, submission: Submission) {
        self.state = State::Submitting(Box::new(submission));
    }

    /// Takes the next step of a message that waits for no response.
    pub(super) fn submission_step(
        &mut self,
        cx: &Context<'_>,
        mut submission: Submission,
        inbox: &mut Inbox,
    ) -> Step {
        match submission.stage {
            Stage::Body { mut body, mut left } => {
                let here = inbox.octets(left);
                let length = here.len();
                body.extend_from_slice(here);
                inbox.consume(length);
                let before = left;
                left -= length as u64;
                if left > 0 {
                    submission.stage = Stage::Body { body, left };
                    self.submit(submission);
                    // The time for a body begins again with each piece, and not with each octet.
                    return if before / BODY_PIECE == left / BODY_PIECE {
                        Step::Idle
                    } else {
                        Step::Continue
                    };
                }
                let scope = submission.scope.clone();
                submission.stage = Stage::Composing { octets: body.capacity() };
                self.submit(submission);
                let action = ApiAction::Compose { body, date: cx.now.wall };
                self.ask(scope, action)
            }
            Stage::Addressing(addressing) => {
                submission.stage = Stage::Begin;
                self.address(cx, submission, addressing)
            }
            // The others wait for a response.
            stage => {
                submission.stage = stage;
                self.submit(submission);
                Step::Idle
            }
        }
    }

    pub(super) fn submission_response(
        &mut self,
        cx: &Context<'_>,
        mut submission: Submission,
        answer: Response,
        out: &mut Outbox,
    ) -> Step {
        match (mem::replace(&mut submission.stage, Stage::Begin), answer) {
            (Stage::Space, Response::Done) => {
                let octets = submission.exchange.head.content_length.unwrap_or(0);
                self.submit(submission);
                Step::Request(Request::Receive(ReceiveRequest::BeginWhole {
                    octets,
                    user: self.user.clone(),
                }))
            }
            (Stage::Begin, Response::Failed(Failure::Busy | Failure::Full)) => {
                let again = Some(("Retry-After", "10"));
                self.refuse(&submission.exchange.head, &NO_MEMORY, again, out)
            }
            (Stage::Space | Stage::Begin, Response::Failed(failure)) => {
                self.refuse(&submission.exchange.head, &delivery_refusal(failure), None, out)
            }
            (Stage::Begin, Response::Done) => {
                if submission.exchange.head.expects_continue {
                    out.line("HTTP/1.1 100 Continue\r\n");
                }
                let left = submission.exchange.head.content_length.unwrap_or(0);
                // Its memory is reserved, and a vector that grows would have up to twice as much.
                let body = Vec::with_capacity(usize::try_from(left).unwrap_or(0));
                submission.stage = Stage::Body { body, left };
                self.submit(submission);
                Step::Continue
            }
            (Stage::Composing { .. }, Response::Composed(Ok(draft))) => self.composed(cx, submission, *draft),
            (Stage::Composing { .. }, Response::Composed(Err(why))) => {
                self.discard(submission, Refusal::saying(Status::BAD_REQUEST, why))
            }
            (Stage::Composing { .. }, Response::Failed(failure)) => {
                self.discard(submission, delivery_refusal(failure))
            }
            (Stage::Delivering(delivering), Response::Done) => self.deliver(submission, delivering),
            (Stage::Delivering(delivering), Response::Stored(id)) => {
                out.push_event(delivering.accepted);
                self.accepted_messages += 1;
                let sent = Sent { id: &id, hint: delivering.hint.as_deref() };
                let document = Document::json(printable::json(&sent, false));
                if let Some(hint) = delivering.hint {
                    out.push_event(Event::NoFault(hint));
                }
                self.send_document(submission.exchange, submission.scope, document, out)
            }
            (Stage::Delivering(delivering), Response::Failed(failure)) if delivering.envelope.is_some() => {
                self.discard(submission, delivery_refusal(failure)) // a piece could not be spilled
            }
            (Stage::Delivering(_), Response::Failed(failure)) => {
                let keep_alive = submission.exchange.head.keep_alive;
                let refusal = delivery_refusal(failure);
                self.refuse_exchange(&submission.exchange.head, &refusal, None, keep_alive, out)
            }
            (Stage::Discarding(refusal), Response::Done) => {
                let keep_alive = submission.exchange.head.keep_alive;
                self.refuse_exchange(&submission.exchange.head, &refusal, None, keep_alive, out)
            }
            // No other response follows a request of a submission.
            _ => Step::Abort,
        }
    }

    /// Refuses a message whose body was read, after the backend has released its memory.
    fn discard(&mut self, mut submission: Submission, refusal: Refusal) -> Step {
        submission.stage = Stage::Discarding(refusal);
        self.submit(submission);
        Step::Request(Request::Receive(ReceiveRequest::Discard))
    }

    /// A worker has written the message: checks its size, and the right of the user to its sender.
    fn composed(&mut self, cx: &Context<'_>, mut submission: Submission, draft: Draft) -> Step {
        let limits = &self.config.limits.smtp;
        if draft.octets > limits.max_message_size.0 {
            return self.discard(submission, LONG_MESSAGE);
        }
        let most = if submission.user.is_some() {
            limits.max_recipients
        } else {
            limits.max_recipients_unauthenticated
        };
        if draft.to.len() > most {
            let why = format!("A message has {most} recipients at most: send the others in a second message");
            return self.discard(submission, Refusal::saying(Status::BAD_REQUEST, why));
        }
        let sender = &draft.from;
        if submission.user.as_ref().is_some_and(|user| !cx.directory.may_send_as(user, sender)) {
            let why = format!("From.Email: {sender} is not an address of yours: write one of your own");
            return self.discard(submission, Refusal::saying(Status::FORBIDDEN, why));
        }
        let keeps = |user: &&Mailbox| cx.directory.wants_sent_copy(user);
        let envelope = Envelope {
            id: format!("{}-{}", self.id, self.accepted_messages + 1),
            from: Some(draft.from.clone()),
            utf8: !draft.to.iter().chain([&draft.from]).all(|address| address.to_string().is_ascii()),
            to: Vec::new(),
            has_several_addresses: false,
            sent_copy_for: submission.user.as_ref().filter(keeps).cloned(),
        };
        let known = KnownMailboxes::default();
        submission.stage =
            Stage::Addressing(Box::new(Addressing { draft, next: 0, envelope, known, hint: None }));
        self.submit(submission);
        Step::Continue
    }

    /// Looks the next recipient up, as RCPT does. After the last one the message goes on.
    fn address(
        &mut self,
        cx: &Context<'_>,
        mut submission: Submission,
        mut addressing: Box<Addressing>,
    ) -> Step {
        let Addressing { draft, next, envelope, known, hint } = &mut *addressing;
        let Some(address) = draft.to.get(*next) else {
            return self.dispatch_message(cx, submission, *addressing);
        };
        let mut asked_for = Vec::new();
        if self.config.protocol.has_faults {
            asked_for = InjectedFault::all_in(address.local());
            *hint = hint.take().or_else(|| hint_for_recipient(address.local()));
        }
        let lookup = match (cx.directory.lookup(address), InjectedFault::refusal(&asked_for)) {
            (Lookup::Local(_), Some(code)) => Lookup::Refused(code),
            (Lookup::Local(to), None) if !asked_for.is_empty() => Lookup::Local(to.without_folder()),
            (lookup, _) => lookup,
        };
        let refusal = match lookup {
            Lookup::Local(destinations) => {
                let limits = &self.config.limits.smtp;
                let max_mailboxes = limits.max_mailboxes;
                let bounds = RecipientBounds { most: limits.max_recipients, max_mailboxes };
                let (examined, added) = known.add(envelope, (address, &destinations), bounds, cx.directory);
                self.work += examined;
                match added {
                    Ok(()) => None,
                    Err(NotAdded::Full) => Some(delivery_refusal(Failure::Quota)),
                    Err(NotAdded::TooMany) => Some(TOO_MANY),
                    Err(NotAdded::ListTooLong) => Some(LIST_TOO_LONG),
                }
            }
            Lookup::Foreign => Some(Refusal::saying(
                Status::BAD_REQUEST,
                format!("{address} is no address of this server, which delivers to its own users only"),
            )),
            Lookup::Unknown => {
                Some(Refusal::saying(Status::BAD_REQUEST, format!("There is no user {address} here")))
            }
            Lookup::Refused(code) => Some(Refusal::saying(
                if code < 500 { Status::UNAVAILABLE } else { Status::BAD_REQUEST },
                format!("{address} asks for the fault {code}"),
            )),
        };
        if let Some(refusal) = refusal {
            return self.discard(submission, refusal);
        }
        *next += 1;
        submission.stage = Stage::Addressing(addressing);
        self.submit(submission);
        Step::Continue
    }

    /// Adds the trace header to a message whose recipients are known, and passes it on.
    fn dispatch_message(
        &mut self,
        cx: &Context<'_>,
        submission: Submission,
        Addressing { draft: Draft { from, to, octets, message }, envelope, hint, .. }: Addressing,
    ) -> Step {
        let hop = trace::Hop {
            // HTTP has no name of the client.
            client: &trace::address_literal(self.peer),
            peer: self.peer,
            hostname: &self.config.hostname,
            protocol: trace::Protocol {
                http: true,
                encrypted: self.is_encrypted,
                ..trace::Protocol::default()
            },
        };
        let mut header = trace::header(&envelope, &hop, cx.now.wall).into_bytes();
        let listed = to.iter().take(Event::MAX_LISTED + 1);
        let accepted = Event::Accepted {
            id: envelope.id.clone(),
            from: format!("<{from}>"),
            to: listed.map(ToString::to_string).collect(),
            recipients: envelope.to.len(),
            octets: wire_size(&header) + octets,
        };
        // A large message is written to its file before the committer gets it, and is copied nowhere on the way.
        let is_large = message.len() >= self.config.limits.delivery.spill_threshold.as_len();
        let pieces = if is_large {
            VecDeque::from([header, message, Vec::new()])
        } else {
            header.extend(message);
            VecDeque::from([header])
        };
        self.deliver(submission, Box::new(Delivering { envelope: Some(envelope), pieces, accepted, hint }))
    }

    /// Requests the spill of the next piece, or the delivery of the last one.
    fn deliver(&mut self, mut submission: Submission, mut delivering: Box<Delivering>) -> Step {
        let Delivering { envelope, pieces, .. } = &mut *delivering;
        let Some(bytes) = pieces.pop_front() else { return Step::Abort };
        let request = if !pieces.is_empty() {
            // The file is made with the first piece of three.
            let to = envelope.iter().filter(|_| pieces.len() > 1).flat_map(|envelope| &envelope.to);
            let mailboxes = to.map(|recipient| recipient.mailbox.clone()).collect();
            ReceiveRequest::Spill { mailboxes, bytes }
        } else if let Some(envelope) = envelope.take() {
            ReceiveRequest::Deliver { envelope, bytes, partial_ok: false, wants_id: true }
        } else {
            return Step::Abort;
        };
        submission.stage = Stage::Delivering(delivering);
        self.submit(submission);
        Step::Request(Request::Receive(request))
    }
}

impl Submission {
    pub(super) fn session_phase(&self) -> SessionPhase {
        match self.stage {
            Stage::Body { .. } => SessionPhase::RequestBody,
            _ => SessionPhase::Pending,
        }
    }

    /// The stage of the session. The octets of the body count until the message is with the committer, also those that came
    /// in the turn in which a worker got them.
    pub(super) fn session_stage(&self, needs_login: bool, rate: u64) -> SessionStage {
        let (octets, memory_octets) = match &self.stage {
            Stage::Body { body, .. } => (body.len() as u64, body.capacity()),
            Stage::Composing { octets } => (*octets as u64, *octets),
            // The last number holds until the committer has the message.
            _ => return SessionStage::Delivering,
        };
        let body = BodyProgress { started_at: self.started_at, octets, memory_octets, rate: rate.max(1) };
        if needs_login { SessionStage::Trusted(Some(body)) } else { SessionStage::Body(body) }
    }

    /// True if the message may become durable at any time, so its sender must hear of it.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.stage, Stage::Delivering(_) | Stage::Discarding(_))
    }
}

/// The refusal of a message for which the backend reported a failure.
fn delivery_refusal(failure: Failure) -> Refusal {
    match failure {
        Failure::Full => {
            Refusal::saying(Status::NO_STORAGE, "There is no room for the message: delete others")
        }
        Failure::Quota => Refusal::saying(
            Status::NO_STORAGE,
            "The mailbox of a recipient is over its quota: delete mail there",
        ),
        Failure::MailboxUnusable => Refusal::saying(
            Status::UNAVAILABLE,
            "The mailbox of a recipient cannot be used as it is configured",
        ),
        Failure::SpoolMoved => SPOOL_MOVED,
        _ => Refusal::saying(Status::UNAVAILABLE, "The message could not be stored: send it again"),
    }
}

pub(super) const LONG_MESSAGE: Refusal =
    Refusal::new(Status::TOO_LARGE, "The message is larger than this server takes: leave an attachment out");
const NO_MEMORY: Refusal =
    Refusal::new(Status::UNAVAILABLE, "The server has no memory for the message now: send it again");
const TOO_MANY: Refusal =
    Refusal::new(Status::BAD_REQUEST, "Too many recipients: send the others in a second message");
const LIST_TOO_LONG: Refusal = Refusal::new(
    Status::UNAVAILABLE,
    "A list among the recipients has more mailboxes than the server has descriptors for",
);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::http::{head::Head, routes};

    #[test]
    fn a_body_counts_as_memory_while_a_worker_composes_the_message() {
        let head = b"POST /api/v1/send HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n";
        let Ok(head) = Head::parse(head) else { panic!("the head is one") };
        let Ok(found) = routes::find(head.method, &head.target.segments) else { panic!("it has a route") };
        let stage = |stage| {
            let exchange = Exchange::new(&head, &found);
            let (scope, started_at) = (MailboxScope::All, Duration::ZERO);
            let submission = Submission { exchange, scope, user: None, started_at, stage };
            submission.session_stage(false, 1)
        };
        let body = BodyProgress { started_at: Duration::ZERO, octets: 7, memory_octets: 7, rate: 1 };
        assert_eq!(stage(Stage::Composing { octets: 7 }), SessionStage::Body(body));
        assert_eq!(stage(Stage::Begin), SessionStage::Delivering);
    }
}
