//! Where LMTP (RFC 2033) differs from SMTP: at the end of a message every RCPT that was accepted gets a reply
//! of its own, and its recipients may fare differently.

use super::{
    reply::{self, Reply},
    session::Smtp,
};
use crate::proto::{
    ask::{Answer, Fault},
    buf::Outbox,
    event::Event,
};

/// A message that the world was asked to deliver.
pub(super) struct Delivering {
    /// What the log will say when it is durable.
    pub(super) accepted: Event,
    /// What the client will be told then.
    pub(super) queued: Reply,
}

impl Smtp {
    /// The reply to the end of a message.
    pub(super) fn say_of_each(&self, reply: &Reply, out: &mut Outbox) {
        if self.accepted.is_empty() {
            return reply.write(out);
        }
        self.accepted.iter().for_each(|(address, _)| reply.about(address).write(out));
    }

    /// Tells client and log what the world answered.
    pub(super) fn delivered(&mut self, message: Delivering, answer: &Answer, out: &mut Outbox) {
        let fault = match answer {
            Answer::Delivered => None,
            Answer::Partly(faults) if self.rules.is_lmtp() => {
                return self.delivered_partly(message, faults, out);
            }
            Answer::Failed(fault) => Some(*fault),
            _ => Some(Fault::Broken),
        };
        if let Some(fault) = fault {
            let reply = reply::fault(fault);
            self.say_of_each(&reply, out);
            out.tell(Event::Refused { what: "message".into(), reply: reply.codes() });
        } else {
            self.say_of_each(&message.queued, out);
            self.count_message();
            out.tell(message.accepted);
        }
    }

    fn delivered_partly(&mut self, message: Delivering, faults: &[Option<Fault>], out: &mut Outbox) {
        let mut to = Vec::new();
        for (address, recipients) in &self.accepted {
            // One of them without it is enough for a fault: twice is better than never.
            let fault = |recipient: &usize| faults.get(*recipient).copied().unwrap_or(Some(Fault::Broken));
            match recipients.iter().find_map(fault) {
                None => {
                    message.queued.about(address).write(out);
                    to.extend((to.len() < Event::MOST_SHOWN).then(|| address.to_string()));
                }
                Some(fault) => {
                    let reply = reply::fault(fault);
                    reply.about(address).write(out);
                    out.tell(Event::Refused {
                        what: format!("message to <{address}>"),
                        reply: reply.codes(),
                    });
                }
            }
        }
        let got = faults.iter().filter(|fault| fault.is_none()).count();
        if got > 0 {
            self.count_message();
            out.tell(message.accepted.of(to, got));
        }
    }

    fn count_message(&mut self) {
        self.messages += 1;
        self.was_served();
        self.junk = 0;
    }
}
