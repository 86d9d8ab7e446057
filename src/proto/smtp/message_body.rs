//! A message on its way in, from the reply 354 or the first BDAT to its end.

use std::{mem, time::Duration};

use super::{
    bdat_decoder::BdatDecoder,
    body_check::BodyCheck,
    reply::{self, Reply},
    trace::{self, HopCounter},
};
use crate::{
    limits::Limits,
    proto::{
        BodyProgress,
        buffer::Inbox,
        dot::Decoder,
        event::Event,
        request::{Envelope, Mailbox},
    },
    wire_size::{WireSizeCounter, wire_size},
};

/// A message on its way in.
pub(super) struct MessageBody {
    envelope: Envelope,
    framing: Framing,
    /// What is not spilled yet, our own header lines first.
    bytes: Vec<u8>,
    /// Octets of our own header lines.
    added: u64,
    /// Octets of what the client sent, as a message.
    octets: WireSizeCounter,
    hops: HopCounter,
    /// Where every rule holds: what is looked at for it.
    check: Option<BodyCheck>,
    /// Octets taken off the wire.
    wire: u64,
    began: Duration,
    /// Memory is wanted: what is held goes to the file.
    spill_requested: bool,
    /// It has a file, or had asked for one.
    spilled: bool,
    /// The last chunk of BDAT has had its reply, and the next one has not begun.
    between_chunks: bool,
    /// Set once the message can't be taken any more: the rest is read and thrown away.
    refusal: Option<Reply>,
}

/// What tells where the message ends.
pub(super) enum Framing {
    /// The lone dot of DATA.
    Dot(Decoder),
    /// The counts of BDAT.
    Bdat(BdatDecoder),
}

/// What came of a look at the inbox.
pub(super) enum BodyStep {
    /// Nothing was there.
    Nothing,
    /// Message data.
    Some,
    /// The end of the message.
    End,
    /// The end of a chunk that is not the last.
    ChunkEnd,
    /// The message has just become too big: what was spilled of it is of no use.
    TooBig,
    /// As much as may be held in memory: the next part of the file, in one of those mailboxes.
    Spill { mailboxes: Vec<Mailbox>, bytes: Vec<u8> },
    /// A message that is too big goes on and on.
    Endless,
    /// The client sends too few octets a second.
    TooSlow,
}

impl MessageBody {
    /// A message whose header lines of ours are `header`.
    pub(super) fn new(
        envelope: Envelope,
        header: Vec<u8>,
        framing: Framing,
        now: Duration,
        check: Option<BodyCheck>,
    ) -> Self {
        Self {
            added: wire_size(&header),
            bytes: header,
            envelope,
            framing,
            octets: WireSizeCounter::default(),
            hops: HopCounter::new(),
            wire: 0,
            began: now,
            check,
            spill_requested: false,
            spilled: false,
            between_chunks: false,
            refusal: None,
        }
    }

    /// Whether it comes by BDAT.
    pub(super) fn is_bdat(&self) -> bool {
        matches!(self.framing, Framing::Bdat(_))
    }

    /// The next chunk of a message that comes by BDAT.
    pub(super) fn chunk(&mut self, size: u64, last: bool) {
        self.between_chunks = false;
        if let Framing::Bdat(counted) = &mut self.framing {
            counted.chunk(size, last);
        }
    }

    /// The chunk has had its reply.
    pub(super) fn end_chunk(&mut self) {
        self.between_chunks = true;
    }

    pub(super) fn is_between_chunks(&self) -> bool {
        self.between_chunks
    }

    /// Takes what is in the inbox, up to the end of the message or of the chunk.
    pub(super) fn read(&mut self, inbox: &mut Inbox, limits: &Limits, now: Duration) -> BodyStep {
        let before = self.bytes.len();
        let used = self.framing.decode(inbox.unread(), &mut self.bytes);
        inbox.consume(used);
        let new = &self.bytes[before..];
        self.octets.feed(new);
        self.hops.feed(new);
        if let Some(check) = &mut self.check {
            check.feed(new);
        }
        self.wire += used as u64;

        // Read on to the end even when the message is refused: whatever is left unread would be
        // taken for commands. RFC 5321 section 4.1.1.4, RFC 3030 section 2.
        let too_big = self.refusal.is_none() && self.octets.total() > limits.message.0;
        if too_big {
            self.refusal = Some(reply::TOO_BIG);
        }
        if self.refusal().is_some() {
            self.bytes = Vec::new();
        }
        if self.framing.ended() {
            BodyStep::End
        } else if is_endless(self.wire, limits) {
            BodyStep::Endless
        } else if self.is_slower_than(limits.data_rate, now) {
            BodyStep::TooSlow
        } else if too_big {
            BodyStep::TooBig
        } else if self.bytes.len() >= limits.body_in_memory.as_len() || self.is_spill_requested() {
            let (mailboxes, bytes) = self.take_spillable();
            BodyStep::Spill { mailboxes, bytes }
        } else if self.framing.chunk_ended() {
            BodyStep::ChunkEnd
        } else if used == 0 {
            BodyStep::Nothing
        } else {
            BodyStep::Some
        }
    }

    /// What is to be spilled, and the mailboxes of which one takes it; a file that was begun is in one of them.
    pub(super) fn take_spillable(&mut self) -> (Vec<Mailbox>, Vec<u8>) {
        self.spill_requested = false;
        let is_begun = mem::replace(&mut self.spilled, true);
        let to = if is_begun { &[][..] } else { &self.envelope.to };
        let mailboxes = to.iter().map(|recipient| recipient.mailbox.clone()).collect();
        (mailboxes, mem::take(&mut self.bytes))
    }

    pub(super) fn request_spill(&mut self) {
        self.spill_requested = true;
    }

    /// Whether something is to be spilled before its time.
    pub(super) fn is_spill_requested(&self) -> bool {
        self.spill_requested && !self.bytes.is_empty()
    }

    /// Octets taken off the wire.
    pub(super) fn wire(&self) -> u64 {
        self.wire
    }

    /// How it gets on.
    pub(super) fn progress(&self, rate: u64) -> BodyProgress {
        let rate = if rate == 0 { Limits::default().data_rate } else { rate };
        BodyProgress { began: self.began, octets: self.wire, held: self.bytes.capacity(), rate }
    }

    /// Whether the message comes in at fewer octets a second than `rate`, after a minute of grace.
    fn is_slower_than(&self, rate: u64, now: Duration) -> bool {
        is_slow(self.wire, now.saturating_sub(self.began), rate)
    }

    /// The message can't be stored: what still comes of it is thrown away.
    pub(super) fn refuse(&mut self, reply: Reply) {
        self.refusal = Some(reply);
        self.bytes = Vec::new();
    }

    /// Why the message is refused, as far as is known by now.
    pub(super) fn refusal(&self) -> Option<Reply> {
        if self.refusal.is_some() {
            self.refusal.clone()
        } else if self.framing.saw_bare_line_end() {
            Some(reply::BARE_LINE_END)
        } else if self.hops.count() > trace::MAX_HOPS {
            Some(reply::LOOP)
        } else {
            self.check.as_ref().and_then(BodyCheck::broken)
        }
    }

    /// What the log will say when the message is durable.
    pub(super) fn accepted(&self) -> Event {
        let Envelope { id, from, to, .. } = &self.envelope;
        Event::Accepted {
            id: id.clone(),
            from: format!("<{}>", from.as_ref().map(ToString::to_string).unwrap_or_default()),
            to: to.iter().take(Event::MAX_LISTED).map(|to| to.address.to_string()).collect(),
            recipients: to.len(),
            octets: self.added + self.octets.total(),
        }
    }

    /// The envelope, and the bytes that are not spilled.
    pub(super) fn into_parts(self) -> (Envelope, Vec<u8>) {
        (self.envelope, self.bytes)
    }
}

impl Framing {
    fn decode(&mut self, wire: &[u8], stored: &mut Vec<u8>) -> usize {
        match self {
            Self::Dot(decoder) => decoder.decode(wire, stored),
            Self::Bdat(counted) => counted.decode(wire, stored),
        }
    }

    fn ended(&self) -> bool {
        match self {
            Self::Dot(decoder) => decoder.ended(),
            Self::Bdat(counted) => counted.ended(),
        }
    }

    fn chunk_ended(&self) -> bool {
        matches!(self, Self::Bdat(counted) if counted.chunk_ended())
    }

    fn saw_bare_line_end(&self) -> bool {
        match self {
            Self::Dot(decoder) => decoder.saw_bare_line_end(),
            Self::Bdat(counted) => counted.saw_bare_line_end(),
        }
    }
}

/// Whether a message has so many octets that nobody reads on to its end: twice what it may have.
pub(super) fn is_endless(octets: u64, limits: &Limits) -> bool {
    octets >= limits.message.0.saturating_mul(2)
}

/// Whether so many octets in that time are fewer than `rate` a second, after a minute of grace.
pub(super) fn is_slow(octets: u64, taken: Duration, rate: u64) -> bool {
    taken > GRACE && octets < taken.as_secs().saturating_mul(rate)
}

/// How long a message may be slow.
const GRACE: Duration = Duration::from_secs(60);
