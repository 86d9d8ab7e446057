//! Messages on their way out: the lists of them, RETR and TOP.

use super::{
    maildrop_view::{Column, Transfer, Visit},
    reply,
    state::{Pop3, State},
};
use crate::{
    proto::{
        Step,
        buffer::Outbox,
        event::Event,
        request::{Ask, Fault},
    },
    wire_size::octets,
};

impl Pop3 {
    pub(super) fn list_step(&mut self, visit: Visit, column: Column, from: usize, out: &mut Outbox) -> Step {
        let to = visit.maildrop.len().min(from + LINES_A_STEP);
        (from..to)
            .filter(|message| !visit.deleted.contains(message))
            .for_each(|message| visit.line(message, column, out));
        if to == visit.maildrop.len() {
            out.line(".");
            self.state = State::Transaction(visit);
        } else {
            self.state = State::Listing(visit, column, to);
        }
        Step::Again
    }

    pub(super) fn read(&mut self, visit: Visit, transfer: Transfer) -> Step {
        let ask = Ask::Read { message: transfer.message, from: transfer.from };
        self.state = State::AwaitingRead(visit, transfer);
        Step::Ask(ask)
    }

    pub(super) fn send(
        &mut self,
        mut visit: Visit,
        mut transfer: Transfer,
        bytes: &[u8],
        last: bool,
        out: &mut Outbox,
    ) -> Step {
        let announced = visit.maildrop.octets(transfer.message);
        if transfer.from == 0 {
            if transfer.whole && last && octets(bytes) != announced {
                return self.not_sent(visit, transfer, Fault::Changed, out);
            }
            if transfer.whole {
                out.line(&format!("+OK {announced} octets"));
            } else {
                reply::TOP_FOLLOWS.ok(self.language, out);
            }
        }
        transfer.from += bytes.len() as u64;
        transfer.encoder.encode(bytes, out.buffer());
        if !last && !transfer.encoder.satisfied() {
            self.state = State::Sending(visit, transfer);
            return Step::Again;
        }
        let sent = transfer.encoder.finish(out.buffer());
        if transfer.whole && sent != announced {
            out.tell(Event::Ended { why: "message is not as long as announced" });
            return Step::Abort;
        }
        if transfer.whole {
            visit.retrieved.insert(transfer.message);
            out.tell(Event::Read { octets: announced });
        }
        visit.highest = visit.highest.max(transfer.message + 1);
        self.state = State::Transaction(visit);
        Step::Again
    }

    /// Before the `+OK` it is a refusal. After it the client would take anything we say for the message,
    /// and a final dot for its end: all we can do is to hang up, so that it does not delete the only copy.
    pub(super) fn not_sent(
        &mut self,
        visit: Visit,
        transfer: Transfer,
        fault: Fault,
        out: &mut Outbox,
    ) -> Step {
        if transfer.from == 0 {
            self.state = State::Transaction(visit);
            self.refuse(out, "message", reply::fault(fault))
        } else {
            out.tell(Event::Ended { why: "message could not be read to its end" });
            Step::Abort
        }
    }
}

/// Lines of a listing between two looks at the outbox.
const LINES_A_STEP: usize = 64;
