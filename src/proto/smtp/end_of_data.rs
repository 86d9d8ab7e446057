//! The end of message data: the request to deliver or discard the message, and the reply after the response.
//! This file writes the 250 of SMTP; LMTP's replies, one for every RCPT, are in `lmtp`.

use super::{
    message_body::MessageBody,
    reply::{self, Reply},
    state::{AfterReplies, PendingReply, SmtpSession, State},
};
use crate::proto::{
    Step,
    buffer::Outbox,
    event::Event,
    request::{Failure, ReceiveRequest, Request, Response},
};

impl SmtpSession {
    pub(super) fn end_of_data(&mut self, body: MessageBody, out: &mut Outbox) -> Step {
        if let Some(refusal) = body.refusal() {
            return self.discard_message(refusal, true, out);
        }
        let accepted = body.accepted();
        let (envelope, bytes) = body.into_parts();
        let queued = reply::queued(&envelope.id);
        let lmtp = self.config.is_lmtp();
        let to = envelope.to.iter().filter(|_| lmtp).map(|recipient| recipient.mailbox.clone()).collect();
        self.state = State::AwaitingDelivery(Box::new(PendingReply { accepted, queued, to }));
        Step::Request(Request::Receive(ReceiveRequest::Deliver {
            envelope,
            bytes,
            partial_ok: lmtp,
            wants_id: false,
        }))
    }

    /// Refuses the message. More of it may come unless this was its last chunk.
    pub(super) fn discard_message(&mut self, reply: Reply, last: bool, out: &mut Outbox) -> Step {
        let reply = self.with_citation(&reply, b"");
        out.push_event(Event::Refused { what: "data".into(), reply: reply.codes() });
        self.state = State::AwaitingDiscard { reply, last };
        Step::Request(Request::Receive(ReceiveRequest::Discard))
    }

    /// Reports the backend's response to the client and to the log.
    pub(super) fn delivered(&mut self, message: PendingReply, response: &Response, out: &mut Outbox) -> Step {
        let failure = match response {
            Response::Delivered(failures) if failures.iter().all(Option::is_none) => {
                // 250: durable and visible
                return self.reply_to_message(message.queued, AfterReplies::LogForAll(message.accepted), out);
            }
            Response::Delivered(failures) if self.config.is_lmtp() => {
                return self.delivered_partly(message, failures, out);
            }
            Response::Failed(failure) => *failure,
            _ => Failure::TempFail,
        };
        let reply = self.failure_reply(failure);
        let refused = Event::Refused { what: "message".into(), reply: reply.codes() };
        self.reply_to_message(reply, AfterReplies::LogForAll(refused), out)
    }

    /// The reply to a failure of the server. Only a logged-in user is told that the spool was moved, because other servers cannot do
    /// anything about it.
    pub(super) fn failure_reply(&self, failure: Failure) -> Reply {
        match failure {
            Failure::SpoolMoved if self.user.is_some() => reply::SPOOL_MOVED,
            failure => reply::failure_reply(failure),
        }
    }

    /// Writes the reply to a message: one line, or in LMTP one for every accepted RCPT.
    pub(super) fn reply_to_message(&mut self, reply: Reply, then: AfterReplies, out: &mut Outbox) -> Step {
        if !self.accepted.is_empty() {
            return self.write_reply_per_recipient(reply, then, out);
        }
        reply.write(out);
        self.end_of_message(then, Vec::new(), out)
    }

    /// Logs the result after the last reply to a message. `to` lists the first RCPTs whose mail was accepted.
    pub(super) fn end_of_message(&mut self, then: AfterReplies, to: Vec<String>, out: &mut Outbox) -> Step {
        let event = match then {
            AfterReplies::Nothing | AfterReplies::LogForSome(_, 0) => None,
            AfterReplies::LogForAll(event) => Some(event),
            AfterReplies::LogForSome(event, got) => Some(event.for_recipients(to, got)),
        };
        if matches!(event, Some(Event::Accepted { .. })) {
            self.count_message();
        }
        if let Some(event) = event {
            out.push_event(event);
        }
        self.after_message(out)
    }

    pub(super) fn after_message(&self, out: &mut Outbox) -> Step {
        let Some(why) = self.ending else { return Step::Continue };
        reply::farewell(why).write(out);
        Step::Close
    }
}
