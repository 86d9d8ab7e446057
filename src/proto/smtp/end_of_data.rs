//! The end of message data: the request to deliver or to discard it, and the reply when that is done. The 250 of
//! SMTP is said here; LMTP's replies, one for every RCPT, are in `lmtp`.

use super::{
    receiving::Receiving,
    reply::{self, Reply},
    state::{Delivering, Smtp, State},
};
use crate::proto::{
    Step,
    ask::{Answer, Ask, Fault},
    buf::Outbox,
    event::Event,
};

impl Smtp {
    pub(super) fn end_of_data(&mut self, body: Receiving, out: &mut Outbox) -> Step {
        if let Some(refusal) = body.refusal() {
            return self.discard(refusal, true, out);
        }
        let accepted = body.accepted();
        let (envelope, bytes) = body.into_parts();
        let queued = reply::queued(&envelope.id);
        self.state = State::AwaitingDelivery(Delivering { accepted, queued });
        Step::Ask(Ask::Deliver { envelope, bytes, partly: self.rules.is_lmtp() })
    }

    /// Refuses the message, of which more may come when this was not its last chunk.
    pub(super) fn discard(&mut self, reply: Reply, last: bool, out: &mut Outbox) -> Step {
        let reply = self.citing(&reply, b"");
        out.tell(Event::Refused { what: "data".into(), reply: reply.codes() });
        self.state = State::AwaitingDiscard { reply, last };
        Step::Ask(Ask::Discard)
    }

    /// Tells client and log what the world answered.
    pub(super) fn delivered(&mut self, message: Delivering, answer: &Answer, out: &mut Outbox) {
        match answer {
            Answer::Delivered => {
                self.say_of_message(&message.queued, out); // 250: durable and visible
                self.count_message();
                out.tell(message.accepted);
            }
            Answer::Partly(faults) if self.rules.is_lmtp() => self.delivered_partly(message, faults, out),
            Answer::Failed(fault) => self.not_delivered(*fault, out),
            _ => self.not_delivered(Fault::Broken, out),
        }
    }

    fn not_delivered(&self, fault: Fault, out: &mut Outbox) {
        let reply = reply::fault(fault);
        self.say_of_message(&reply, out);
        out.tell(Event::Refused { what: "message".into(), reply: reply.codes() });
    }

    /// The reply to the whole of a message: one line, or in LMTP one for every RCPT that was accepted.
    pub(super) fn say_of_message(&self, reply: &Reply, out: &mut Outbox) {
        if self.accepted.is_empty() {
            reply.write(out);
        } else {
            self.say_of_each(reply, out);
        }
    }

    pub(super) fn after_message(&self, out: &mut Outbox) -> Step {
        if !self.stopping {
            return Step::Again;
        }
        reply::SHUTTING_DOWN.write(out);
        Step::Close
    }
}
