//! The listings of messages, RETR and TOP.

use super::{
    maildrop_view::{Column, MaildropView, Transfer},
    reply,
    state::{Pop3Session, State},
};
use crate::{
    proto::{
        Step,
        buffer::Outbox,
        event::Event,
        request::{Failure, MaildropRequest, Request},
    },
    wire_size::wire_size,
};

impl Pop3Session {
    pub(super) fn list_step(
        &mut self,
        visit: Box<MaildropView>,
        column: Column,
        from: usize,
        out: &mut Outbox,
    ) -> Step {
        let to = visit.maildrop.len().min(from + LINES_PER_STEP);
        (from..to)
            .filter(|message| !visit.deleted.contains(message))
            .for_each(|message| visit.write_line(message, column, out));
        if to == visit.maildrop.len() {
            out.line(".");
            self.state = State::Transaction(visit);
        } else {
            self.state = State::Listing(visit, column, to);
        }
        Step::Continue
    }

    pub(super) fn request_chunk(&mut self, visit: Box<MaildropView>, transfer: Transfer) -> Step {
        let ask = Request::Maildrop(MaildropRequest::Read { message: transfer.message, from: transfer.from });
        self.state = State::AwaitingRead(visit, transfer);
        Step::Request(ask)
    }

    pub(super) fn send_chunk(
        &mut self,
        mut visit: Box<MaildropView>,
        mut transfer: Transfer,
        bytes: &[u8],
        last: bool,
        out: &mut Outbox,
    ) -> Step {
        let announced = visit.maildrop.octets(transfer.message);
        if transfer.from == 0 {
            if transfer.whole && last && wire_size(bytes) != announced {
                return self.read_failed(visit, transfer, Failure::Changed, out);
            }
            if transfer.whole {
                // Always the plural: fetchmail searches this line for " octets" to learn the size.
                out.line(&format!("+OK {announced} octets"));
            } else {
                reply::TOP_FOLLOWS.write_ok(self.language, out);
            }
        }
        transfer.from += bytes.len() as u64;
        transfer.encoder.encode(bytes, out.buffer());
        if !last && !transfer.encoder.is_done() {
            self.state = State::Sending(visit, transfer);
            return Step::Continue;
        }
        let sent = transfer.encoder.finish_message(out.buffer());
        if transfer.whole && sent != announced {
            out.push_event(Event::Ended { why: "message is not as long as announced" });
            return Step::Abort;
        }
        if transfer.whole {
            visit.retrieved.insert(transfer.message);
            out.push_event(Event::Read { octets: announced });
        }
        visit.highest = visit.highest.max(transfer.message + 1);
        self.state = State::Transaction(visit);
        Step::Continue
    }

    /// Handles a failed read. Before the `+OK`, the session refuses the command. After it, the client would
    /// take any further text for the message, and a final dot for its end. The session can then only abort
    /// the connection, so that the client does not delete the only copy.
    pub(super) fn read_failed(
        &mut self,
        visit: Box<MaildropView>,
        transfer: Transfer,
        failure: Failure,
        out: &mut Outbox,
    ) -> Step {
        if transfer.from == 0 {
            self.state = State::Transaction(visit);
            self.refuse(out, "message", reply::failure_text(failure))
        } else {
            out.push_event(Event::Ended { why: "message could not be read to its end" });
            Step::Abort
        }
    }
}

/// Lines of a listing that one step writes.
const LINES_PER_STEP: usize = 64;
