//! Message data, from the reply 354 to its end.

use super::{
    body_check::BodyCheck,
    message_body::{BodyRead, Framing, MessageBody},
    reply,
    state::{SmtpSession, State},
    trace,
};
use crate::proto::{
    Context, Step,
    buffer::{Inbox, Outbox},
    request::{Envelope, ReceiveRequest, Request},
};

impl SmtpSession {
    pub(super) fn begin_data(
        &mut self,
        cx: &Context<'_>,
        envelope: Envelope,
        framing: Framing,
    ) -> Box<MessageBody> {
        let client = self.client.as_ref();
        let hop = trace::Hop {
            client: client.map_or("unknown", |client| &client.name),
            peer: self.peer,
            hostname: &self.config.hostname,
            protocol: trace::Protocol {
                http: false,
                lmtp: self.config.is_lmtp(),
                extended: client.is_some_and(|client| client.extended),
                utf8: envelope.utf8,
                encrypted: self.is_encrypted,
                authenticated: self.user.is_some(),
            },
        };
        let bytes = trace::header(&envelope, &hop, cx.now.wall).into_bytes();
        let check = self.config.pedantic.then(|| BodyCheck::new(self.eight_bit));
        Box::new(MessageBody::new(envelope, bytes, framing, cx.now.monotonic, check))
    }

    pub(super) fn data_step(
        &mut self,
        cx: &Context<'_>,
        mut body: Box<MessageBody>,
        inbox: &mut Inbox,
        out: &mut Outbox,
    ) -> Step {
        let ask = match body.read(inbox, &self.config.limits, cx.now.monotonic) {
            BodyRead::Empty => {
                self.state = State::Data(body);
                return Step::Idle;
            }
            BodyRead::Data => {
                self.state = State::Data(body);
                return Step::Continue;
            }
            BodyRead::End => return self.end_of_data(*body, out),
            BodyRead::ChunkEnd => return self.end_of_chunk(body, out),
            BodyRead::Endless => return self.close_with(out, "message without end", &reply::TOO_BIG),
            BodyRead::TooSlow => return self.close_with(out, "data too slow", &reply::TOO_SLOW),
            BodyRead::TooBig => Request::Receive(ReceiveRequest::Discard),
            BodyRead::Spill { mailboxes, bytes } => {
                Request::Receive(ReceiveRequest::Spill { mailboxes, bytes })
            }
        };
        self.state = State::AwaitingSpill(body);
        Step::Request(ask)
    }

    /// Requests a spill of the message data in memory, between two chunks.
    pub(super) fn spill_now(&mut self, mut body: Box<MessageBody>) -> Step {
        let (mailboxes, bytes) = body.take_spillable();
        self.state = State::AwaitingSpill(body);
        Step::Request(Request::Receive(ReceiveRequest::Spill { mailboxes, bytes }))
    }
}
