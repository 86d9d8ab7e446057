//! BDAT (RFC 3030): message data in chunks with announced sizes.
//!
//! The rule: even if a BDAT is refused, the session reads the announced octets before it replies, and never
//! runs them as commands. If the size is unknown, the session ends.

use std::mem;

use super::{
    command::{self, Chunk},
    message_body::{Framing, MessageBody, is_endless},
    reply::{self, Reply},
    session_config::Persona,
    state::{ADVANCE_BODY, AfterReplies, ChunkContext, RefusedChunk, SmtpSession, State},
};
use crate::proto::{
    Context, Step,
    bdat_decoder::BdatDecoder,
    buffer::{Inbox, Outbox},
    dot::LineEndings,
    is_slow,
    request::{ReceiveRequest, Request},
};

impl SmtpSession {
    pub(super) fn bdat(&mut self, line: &[u8], out: &mut Outbox) -> Step {
        if self.config.protocol.persona == Persona::Rfc821 {
            return self.close_with(out, "BDAT not offered", &reply::NOT_IMPLEMENTED);
        }
        let is_taken = !self.config.pedantic || command::is_exact_bdat(line);
        let Some(chunk) = command::bdat(line).filter(|_| is_taken) else {
            return self.close_with(out, "invalid BDAT size", &reply::BAD_CHUNK);
        };
        let Chunk { size, last } = chunk;
        let before = match &self.state {
            State::RefusedMessage(_, octets) => *octets,
            State::Chunks(body) => body.wire(),
            _ => 0,
        };
        if is_endless(before.saturating_add(size), &self.config.limits) {
            return self.close_with(out, "message without end", &reply::TOO_BIG);
        }
        let empty = size == 0 && !last;
        if empty && self.is_over_junk_limit() {
            return self.close_with(out, "junk commands", &reply::TOO_MUCH);
        }
        match mem::replace(&mut self.state, State::Idle) {
            State::Transaction(transaction) if !transaction.envelope.to.is_empty() && !empty => {
                self.state = State::AwaitingBegin(transaction.envelope, Some(chunk));
                Step::Request(Request::Receive(ReceiveRequest::Begin))
            }
            State::Transaction(_) => {
                let reply = if empty { reply::EMPTY_CHUNK } else { self.no_recipients() };
                self.skip_chunk(size, reply, ChunkContext::Message { last })
            }
            State::Chunks(_) if empty => self.discard_message(reply::EMPTY_CHUNK, false, out),
            State::Chunks(mut body) => {
                body.chunk(size, last);
                self.state = State::Data(body);
                Step::Continue
            }
            State::RefusedMessage(reply, octets) => {
                self.skip_chunk(size, reply, ChunkContext::RefusedMessage { last, octets })
            }
            _ => {
                let reply =
                    self.config.command(b"BDAT").map_or(reply::BAD_SEQUENCE, |rule| self.out_of_order(rule));
                self.skip_chunk(size, reply, ChunkContext::Nothing)
            }
        }
    }

    fn skip_chunk(&mut self, size: u64, reply: Reply, of: ChunkContext) -> Step {
        self.state = State::SkippingChunk(Box::new(RefusedChunk {
            size,
            started_at: None,
            left: size,
            reply,
            context: of,
        }));
        Step::Continue
    }

    pub(super) fn skip_chunk_step(
        &mut self,
        cx: &Context<'_>,
        mut chunk: Box<RefusedChunk>,
        inbox: &mut Inbox,
        out: &mut Outbox,
    ) -> Step {
        let here = inbox.skip(chunk.left);
        chunk.left -= here;
        if chunk.left > 0 {
            let taken = cx.now.monotonic.saturating_sub(*chunk.started_at.get_or_insert(cx.now.monotonic));
            if is_slow(chunk.size - chunk.left, taken, self.config.limits.smtp.min_data_rate) {
                return self.close_with(out, "data too slow", &reply::TOO_SLOW);
            }
            self.state = State::SkippingChunk(chunk);
            return if here == 0 { Step::Idle } else { Step::Continue };
        }
        let RefusedChunk { size, reply, context: of, .. } = *chunk;
        match of {
            ChunkContext::Nothing | ChunkContext::Message { last: true } => self.refuse(out, b"BDAT", &reply),
            ChunkContext::Message { last: false } => {
                self.state = State::RefusedMessage(reply.clone(), size);
                self.refuse(out, b"BDAT", &reply)
            }
            ChunkContext::RefusedMessage { last, octets } => {
                if last {
                    return self.reply_to_message(reply, AfterReplies::Nothing, out);
                }
                reply.write(out);
                self.state = State::RefusedMessage(reply, octets + size);
                Step::Continue
            }
        }
    }

    pub(super) fn end_of_chunk(&mut self, mut body: Box<MessageBody>, out: &mut Outbox) -> Step {
        if let Some(refusal) = body.refusal() {
            return self.discard_message(refusal, false, out);
        }
        body.end_chunk();
        self.record_advance(ADVANCE_BODY);
        self.state = State::Chunks(body);
        reply::CHUNK_OK.write(out);
        Step::Continue
    }

    /// A bare LF in counted data can hide no end of the message, so that only a pedantic listener refuses it. Some
    /// senders leave it where CHUNKING is offered.
    pub(super) fn bdat_framing(&self, Chunk { size, last }: Chunk) -> Framing {
        let line_endings = match self.config.line_endings {
            LineEndings::Strict if !self.config.pedantic => LineEndings::Normalise,
            line_endings => line_endings,
        };
        Framing::Bdat(BdatDecoder::new(line_endings, size, last))
    }
}
