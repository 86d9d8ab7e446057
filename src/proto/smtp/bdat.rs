//! BDAT (RFC 3030): message data in chunks whose octets the client counts.
//!
//! The rule: whatever is wrong with a BDAT, the octets that it announces are read before anything is answered,
//! and are never taken for commands. Where nobody knows how many there are, the session ends.

use std::mem;

use super::{
    bdat_decoder::BdatDecoder,
    command::{self, Chunk},
    message_body::{Framing, MessageBody, is_endless, is_slow},
    reply::{self, Reply},
    session_config::Persona,
    state::{BODY, Of, Open, Refused, Smtp, State, Then},
};
use crate::proto::{
    Cx, Step,
    buffer::{Inbox, Outbox},
    request::Request,
};

impl Smtp {
    pub(super) fn bdat(&mut self, line: &[u8], out: &mut Outbox) -> Step {
        if self.rules.persona == Persona::Rfc821 {
            return self.hang_up(out, "BDAT not offered", &reply::NOT_IMPLEMENTED);
        }
        let Some(chunk) = command::bdat(line) else {
            return self.hang_up(out, "BDAT that can't be counted", &reply::BAD_CHUNK);
        };
        let Chunk { size, last } = chunk;
        let before = match &self.state {
            State::Refused(_, octets) => *octets,
            State::Chunks(body) => body.wire(),
            _ => 0,
        };
        if is_endless(before.saturating_add(size), &self.rules.limits) {
            return self.hang_up(out, "message without end", &reply::TOO_BIG);
        }
        let empty = size == 0 && !last;
        if empty && self.over_junk() {
            return self.hang_up(out, "junk commands", &reply::TOO_MUCH);
        }
        match mem::replace(&mut self.state, State::Idle) {
            State::Open(Open { envelope, .. }) if !envelope.to.is_empty() && !empty => {
                self.state = State::AwaitingBegin(envelope, Some(chunk));
                Step::Ask(Request::Begin)
            }
            State::Open(_) => {
                let reply = if empty { reply::EMPTY_CHUNK } else { self.no_recipients() };
                self.skip_chunk(size, reply, Of::Message { last })
            }
            State::Chunks(_) if empty => self.discard(reply::EMPTY_CHUNK, false, out),
            State::Chunks(mut body) => {
                body.chunk(size, last);
                self.state = State::Data(body);
                Step::Again
            }
            State::Refused(reply, octets) => {
                self.skip_chunk(size, reply, Of::RefusedMessage { last, octets })
            }
            _ => self.skip_chunk(size, reply::BAD_SEQUENCE, Of::Nothing),
        }
    }

    fn skip_chunk(&mut self, size: u64, reply: Reply, of: Of) -> Step {
        self.state = State::Skipping(Refused { size, began: None, left: size, reply, of });
        Step::Again
    }

    pub(super) fn skip_chunk_step(
        &mut self,
        cx: &Cx<'_>,
        mut chunk: Refused,
        inbox: &mut Inbox,
        out: &mut Outbox,
    ) -> Step {
        let here = inbox.skip(chunk.left);
        chunk.left -= here;
        if chunk.left > 0 {
            let taken = cx.now.monotonic.saturating_sub(*chunk.began.get_or_insert(cx.now.monotonic));
            if is_slow(chunk.size - chunk.left, taken, self.rules.limits.data_rate) {
                return self.hang_up(out, "data too slow", &reply::TOO_SLOW);
            }
            self.state = State::Skipping(chunk);
            return if here == 0 { Step::Idle } else { Step::Again };
        }
        let Refused { size, reply, of, .. } = chunk;
        match of {
            Of::Nothing | Of::Message { last: true } => self.refuse(out, b"BDAT", &reply),
            Of::Message { last: false } => {
                self.state = State::Refused(reply.clone(), size);
                self.refuse(out, b"BDAT", &reply)
            }
            Of::RefusedMessage { last, octets } => {
                if last {
                    return self.say_of_message(reply, Then::Nothing, out);
                }
                reply.write(out);
                self.state = State::Refused(reply, octets + size);
                Step::Again
            }
        }
    }

    pub(super) fn end_of_chunk(&mut self, mut body: Box<MessageBody>, out: &mut Outbox) -> Step {
        if let Some(refusal) = body.refusal() {
            return self.discard(refusal, false, out);
        }
        body.end_chunk();
        self.led_on(BODY);
        self.state = State::Chunks(body);
        reply::CHUNK_OK.write(out);
        Step::Again
    }

    pub(super) fn bdat_framing(&self, Chunk { size, last }: Chunk) -> Framing {
        Framing::Bdat(BdatDecoder::new(self.rules.line_endings, size, last))
    }
}
