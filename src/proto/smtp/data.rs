//! Message data: from the go-ahead to its end.

use super::{
    body_check::BodyCheck,
    message_body::{Framing, Receiving, Taken},
    reply,
    state::{Smtp, State},
    trace,
};
use crate::proto::{
    Cx, Step,
    buffer::{Inbox, Outbox},
    request::{Ask, Envelope},
};

impl Smtp {
    pub(super) fn begin(&mut self, cx: &Cx<'_>, envelope: Envelope, framing: Framing) -> Box<Receiving> {
        let client = self.client.as_ref();
        let hop = trace::Hop {
            client: client.map_or("unknown", |client| &client.name),
            peer: self.peer,
            hostname: &self.rules.hostname,
            protocol: trace::Protocol {
                lmtp: self.rules.is_lmtp(),
                extended: client.is_some_and(|client| client.extended),
                utf8: envelope.utf8,
                encrypted: self.encryption.is_some(),
                authenticated: self.user.is_some(),
            },
        };
        let bytes = trace::header(&envelope, &hop, cx.now.date).into_bytes();
        let check = self.rules.pedantic.then(|| BodyCheck::new(self.eight_bit));
        Box::new(Receiving::new(envelope, bytes, framing, cx.now.steady, check))
    }

    pub(super) fn data_step(
        &mut self,
        cx: &Cx<'_>,
        mut body: Box<Receiving>,
        inbox: &mut Inbox,
        out: &mut Outbox,
    ) -> Step {
        let ask = match body.take(inbox, &self.rules.limits, cx.now.steady) {
            Taken::Nothing => {
                self.state = State::Data(body);
                return Step::Idle;
            }
            Taken::Some => {
                self.state = State::Data(body);
                return Step::Again;
            }
            Taken::End => return self.end_of_data(*body, out),
            Taken::ChunkEnd => return self.end_of_chunk(body, out),
            Taken::Endless => return self.hang_up(out, "message without end", &reply::TOO_BIG),
            Taken::TooSlow => return self.hang_up(out, "data too slow", &reply::TOO_SLOW),
            Taken::TooBig => Ask::Discard,
            Taken::Enough { mailboxes, bytes } => Ask::Spill { mailboxes, bytes },
        };
        self.state = State::AwaitingSpill(body);
        Step::Ask(ask)
    }

    /// Has what is held of a message put into its file, between two chunks.
    pub(super) fn spill_now(&mut self, mut body: Box<Receiving>) -> Step {
        let (mailboxes, bytes) = body.take_spillable();
        self.state = State::AwaitingSpill(body);
        Step::Ask(Ask::Spill { mailboxes, bytes })
    }
}
