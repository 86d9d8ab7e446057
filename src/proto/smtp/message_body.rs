//! A message that is being received, from the reply 354 or the first BDAT to its end.

use std::{mem, time::Duration};

use super::{
    bdat_decoder::BdatDecoder,
    body_check::BodyCheck,
    opening::Opening,
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
        request::{Envelope, Mailbox, Recipient},
        smtp::address::Address,
    },
    wire_size::{WireSizeCounter, wire_size},
};

pub(super) struct MessageBody {
    envelope: Envelope,
    framing: Framing,
    /// Bytes not spilled yet. The first ones are the server's own header lines.
    bytes: Vec<u8>,
    /// Octets of the lines that the server adds.
    header_octets: u64,
    /// Examines the first line of the data. The data stays in memory until that is done.
    opening: Option<Opening>,
    /// Counts the octets of the client's message.
    octets: WireSizeCounter,
    hops: HopCounter,
    /// The checks of a pedantic listener.
    check: Option<BodyCheck>,
    /// Octets read from the wire.
    wire_octets: u64,
    started_at: Duration,
    /// True if the session must spill the data in memory, to free that memory.
    spill_requested: bool,
    /// True if the message has a file, or has requested one.
    spilled: bool,
    /// True if the last BDAT chunk has its reply, and the next one has not begun.
    between_chunks: bool,
    /// Set when the message cannot be accepted any more. The rest is read and discarded.
    refusal: Option<Reply>,
}

/// The method that finds the end of the message.
pub(super) enum Framing {
    /// The final dot of DATA.
    Dot(Decoder),
    /// The chunk sizes of BDAT.
    Bdat(BdatDecoder),
}

/// The result of reading the inbox.
pub(super) enum BodyRead {
    /// The inbox has no message data yet.
    Empty,
    /// Message data was read, and more will follow.
    Data,
    /// The end of the message.
    End,
    /// The end of a chunk that is not the last.
    ChunkEnd,
    /// The message has just exceeded the size limit, so its file is no longer needed.
    TooBig,
    /// The data in memory has reached its limit, and goes to the file. A new file may be created in any of
    /// these mailboxes.
    Spill { mailboxes: Vec<Mailbox>, bytes: Vec<u8> },
    /// A message that exceeds the size limit continues without end.
    Endless,
    /// The client's rate is below the minimum.
    TooSlow,
}

impl MessageBody {
    /// A message that begins with the server's own lines in `header`.
    pub(super) fn new(
        envelope: Envelope,
        header: Vec<u8>,
        framing: Framing,
        now: Duration,
        check: Option<BodyCheck>,
    ) -> Self {
        Self {
            header_octets: wire_size(&header),
            opening: Some(Opening::after(header.len())),
            bytes: header,
            envelope,
            framing,
            octets: WireSizeCounter::default(),
            hops: HopCounter::new(),
            wire_octets: 0,
            started_at: now,
            check,
            spill_requested: false,
            spilled: false,
            between_chunks: false,
            refusal: None,
        }
    }

    /// True if the message is sent with BDAT.
    pub(super) fn is_bdat(&self) -> bool {
        matches!(self.framing, Framing::Bdat(_))
    }

    /// Begins the next BDAT chunk.
    pub(super) fn chunk(&mut self, size: u64, last: bool) {
        self.between_chunks = false;
        if let Framing::Bdat(decoder) = &mut self.framing {
            decoder.chunk(size, last);
        }
    }

    /// Records that the chunk has its reply.
    pub(super) fn end_chunk(&mut self) {
        self.between_chunks = true;
    }

    pub(super) fn is_between_chunks(&self) -> bool {
        self.between_chunks
    }

    /// Reads the inbox, up to the end of the message or of the chunk.
    pub(super) fn read(&mut self, inbox: &mut Inbox, limits: &Limits, now: Duration) -> BodyRead {
        let before = self.bytes.len();
        let used = self.framing.decode(inbox.unread(), &mut self.bytes);
        inbox.consume(used);
        let new = &self.bytes[before..];
        self.octets.feed(new);
        self.hops.feed(new);
        if let Some(check) = &mut self.check {
            check.feed(new);
        }
        self.wire_octets += used as u64;

        // Read to the end even if the message is refused. Octets left unread would be taken for commands. RFC
        // 5321 section 4.1.1.4, RFC 3030 section 2.
        let too_big = self.refusal.is_none() && self.octets.total() > limits.smtp.max_message_size.0;
        if too_big {
            self.refusal = Some(reply::TOO_BIG);
        }
        if self.refusal().is_some() {
            self.bytes = Vec::new();
            self.opening = None;
        }
        self.examine_opening();
        if self.framing.ended() {
            BodyRead::End
        } else if is_endless(self.wire_octets, limits) {
            BodyRead::Endless
        } else if self.is_slower_than(limits.smtp.min_data_rate, now) {
            BodyRead::TooSlow
        } else if too_big {
            BodyRead::TooBig
        } else if self.opening.is_none()
            && (self.bytes.len() >= limits.delivery.spill_threshold.as_len() || self.is_spill_requested())
        {
            let (mailboxes, bytes) = self.take_spillable();
            BodyRead::Spill { mailboxes, bytes }
        } else if self.framing.chunk_ended() {
            BodyRead::ChunkEnd
        } else if used == 0 {
            BodyRead::Empty
        } else {
            BodyRead::Data
        }
    }

    fn examine_opening(&mut self) {
        let Some(opening) = &mut self.opening else { return };
        let before = wire_size(&self.bytes);
        let done = opening.examine(&mut self.bytes, self.framing.ended());
        self.header_octets += wire_size(&self.bytes) - before;
        if done {
            self.opening = None;
        }
    }

    /// Returns the data to spill, and the mailboxes in which its file may be created. They are empty if the
    /// file exists.
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

    /// True if data must be spilled before the memory limit is reached.
    pub(super) fn is_spill_requested(&self) -> bool {
        self.spill_requested && !self.bytes.is_empty() && self.opening.is_none()
    }

    pub(super) fn wire(&self) -> u64 {
        self.wire_octets
    }

    /// The progress of the message, for eviction.
    pub(super) fn progress(&self, rate: u64) -> BodyProgress {
        let rate = if rate == 0 { Limits::default().smtp.min_data_rate } else { rate };
        BodyProgress {
            started_at: self.started_at,
            octets: self.wire_octets,
            memory_octets: self.bytes.capacity(),
            rate,
        }
    }

    /// True if the client sends fewer octets a second than `rate`, after a minute of grace.
    fn is_slower_than(&self, rate: u64, now: Duration) -> bool {
        is_slow(self.wire_octets, now.saturating_sub(self.started_at), rate)
    }

    /// Refuses a message that cannot be stored. The rest of it is discarded.
    pub(super) fn refuse(&mut self, reply: Reply) {
        self.refusal = Some(reply);
        self.bytes = Vec::new();
        self.opening = None;
    }

    /// The reason for refusing the message, if one is known so far.
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

    /// The event to log when the message is durable.
    pub(super) fn accepted(&self) -> Event {
        let Envelope { id, from, to, .. } = &self.envelope;
        Event::Accepted {
            id: id.clone(),
            from: format!("<{}>", from.as_ref().map(ToString::to_string).unwrap_or_default()),
            to: first_addresses(to),
            recipients: to.len(),
            octets: self.header_octets + self.octets.total(),
        }
    }

    /// The envelope, and the bytes not yet spilled.
    pub(super) fn into_parts(self) -> (Envelope, Vec<u8>) {
        (self.envelope, self.bytes)
    }
}

/// The first addresses of RCPT, each once, as [`Event::Accepted`] has them. An alias has a recipient for each mailbox.
fn first_addresses(to: &[Recipient]) -> Vec<String> {
    let mut first: Vec<&Address> = Vec::new();
    for Recipient { address, .. } in to {
        if first.len() > Event::MAX_LISTED {
            break;
        }
        if !first.contains(&address) {
            first.push(address);
        }
    }
    first.into_iter().map(ToString::to_string).collect()
}

impl Framing {
    fn decode(&mut self, wire: &[u8], stored: &mut Vec<u8>) -> usize {
        match self {
            Self::Dot(decoder) => decoder.decode(wire, stored),
            Self::Bdat(decoder) => decoder.decode(wire, stored),
        }
    }

    fn ended(&self) -> bool {
        match self {
            Self::Dot(decoder) => decoder.ended(),
            Self::Bdat(decoder) => decoder.ended(),
        }
    }

    fn chunk_ended(&self) -> bool {
        matches!(self, Self::Bdat(decoder) if decoder.chunk_ended())
    }

    fn saw_bare_line_end(&self) -> bool {
        match self {
            Self::Dot(decoder) => decoder.saw_bare_line_end(),
            Self::Bdat(decoder) => decoder.saw_bare_line_end(),
        }
    }
}

/// True if a message is too long to read on to its end: it has at least twice the octets allowed.
pub(super) fn is_endless(octets: u64, limits: &Limits) -> bool {
    octets >= limits.smtp.max_message_size.0.saturating_mul(2)
}

/// True if `octets` in the time `taken` are fewer than `rate` a second, after a minute of grace.
pub(super) fn is_slow(octets: u64, taken: Duration, rate: u64) -> bool {
    taken > GRACE && octets < taken.as_secs().saturating_mul(rate)
}

/// The time for which a message may be slow.
const GRACE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(to: &[&str]) -> Vec<String> {
        let mailbox = Mailbox::named("u@here.test").unwrap();
        let recipient = |address: &&str| Recipient {
            address: Address::parse(address).unwrap(),
            mailbox: mailbox.clone(),
            folder: None,
        };
        first_addresses(&to.iter().map(recipient).collect::<Vec<_>>())
    }

    #[test]
    fn u41_the_log_has_each_address_of_rcpt_once() {
        let mut to = vec!["list@here.test"; 20];
        to.push("bob@here.test");
        assert_eq!(addresses(&to), ["list@here.test", "bob@here.test"]);
        let many: Vec<String> = (0..20).map(|n| format!("{n}@here.test")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(addresses(&many).len(), Event::MAX_LISTED + 1);
    }
}
