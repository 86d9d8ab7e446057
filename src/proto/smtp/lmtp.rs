//! Where LMTP (RFC 2033) differs from SMTP: at the end of a message every RCPT that was accepted gets a reply
//! of its own, and its recipients may fare differently.

use super::{
    reply::{self, Reply},
    state::{Delivering, Smtp},
};
use crate::proto::{ask::Fault, buf::Outbox, event::Event};

impl Smtp {
    /// The same reply for every RCPT that was accepted.
    pub(super) fn say_of_each(&self, reply: &Reply, out: &mut Outbox) {
        for (address, _) in &self.accepted {
            reply.about(address).write(out);
        }
    }

    /// Tells client and log which recipients have the message: `faults` has one item for each of the envelope.
    pub(super) fn delivered_partly(
        &mut self,
        message: Delivering,
        faults: &[Option<Fault>],
        out: &mut Outbox,
    ) {
        let mut to = Vec::new();
        for (address, recipients) in &self.accepted {
            // One of them without it is enough for a fault: twice is better than never.
            let fault = |recipient: &usize| faults.get(*recipient).copied().unwrap_or(Some(Fault::Broken));
            match recipients.iter().find_map(fault) {
                None => {
                    message.queued.about(address).write(out);
                    if to.len() < Event::MOST_SHOWN {
                        to.push(address.to_string());
                    }
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
}
