//! The buffers of a connection: an inbox for octets received and not yet read, and an outbox for octets not
//! yet sent. Both free their memory when they are empty, so that an idle connection costs none.

use super::event::Event;

/// Octets from the peer, in order.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// Offset of the first unread octet.
    start: usize,
    /// Octets after `start` that were already searched for a line end.
    searched_len: usize,
    /// Octets discarded from a line that has not ended yet.
    discarded: usize,
    ended: bool,
    /// The octets that the session has read since [`Inbox::start_capture`], for its transcript.
    captured: Option<Vec<u8>>,
}

/// A line of the inbox, as far as it has arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line, with its LF and the CR before it, if there is one.
    Complete(Vec<u8>),
    /// The line end has not arrived yet.
    Partial,
    /// A line exceeded the limit. It has ended, and its octets are discarded.
    TooLong,
    /// A line exceeded the discard limit and has not ended.
    NoLineEnd,
}

/// A number of octets of the inbox, as far as they have arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Octets {
    /// All requested octets, taken out of the inbox.
    Full(Vec<u8>),
    /// Some of the octets have not arrived yet. None is read.
    Partial,
    /// The count exceeds the maximum. None is read; [`Inbox::skip`] discards them.
    TooMany,
}

impl Inbox {
    /// Appends octets from the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Records that the peer will send no more.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// True if the peer will send no more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The octets that the session has not read yet.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The unread octets from the beginning of a line. Empty while the rest of a line that is too long is discarded:
    /// octets in the middle of a line must not pass for the beginning of one.
    pub fn line_start(&self) -> &[u8] {
        if self.discarded > 0 { &[] } else { self.unread() }
    }

    /// The number of unread octets.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// True if no octet is unread.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts to copy the octets that are read, until [`Inbox::take_captured`].
    pub fn start_capture(&mut self) {
        self.captured = Some(Vec::new());
    }

    /// Returns the octets read since [`Inbox::start_capture`], and stops copying.
    pub fn take_captured(&mut self) -> Vec<u8> {
        self.captured.take().unwrap_or_default()
    }

    /// Marks the first `n` unread octets as read.
    pub fn consume(&mut self, n: usize) {
        if let Some(tap) = &mut self.captured {
            tap.extend_from_slice(&self.bytes[self.start..(self.start + n).min(self.bytes.len())]);
        }
        self.start = (self.start + n).min(self.bytes.len());
        self.searched_len = 0;
        if self.start == self.bytes.len() {
            self.start = 0;
            // An idle connection must cost no memory; a busy one keeps a small buffer.
            if self.bytes.capacity() > RETAINED_CAPACITY {
                self.bytes = Vec::new()
            } else {
                self.bytes.clear()
            }
        } else if self.start > COMPACT_THRESHOLD {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Reads exactly `n` octets of any value, as for an IMAP literal (RFC 9051 section 4.3). The octets stay
    /// in the inbox until the last one arrives, so `max` must not exceed the size at which the connection
    /// stops reading.
    pub fn take(&mut self, n: u64, max: usize) -> Octets {
        let Some(n) = usize::try_from(n).ok().filter(|n| *n <= max) else { return Octets::TooMany };
        let Some(octets) = self.unread().get(..n).map(<[u8]>::to_vec) else { return Octets::Partial };
        self.consume(n);
        Octets::Full(octets)
    }

    /// The unread octets, at most `max` of them, for counted data that is processed in pieces. They stay
    /// unread until [`Inbox::consume`].
    pub fn octets(&self, max: u64) -> &[u8] {
        let here = usize::try_from(max).map_or(self.len(), |max| max.min(self.len()));
        &self.unread()[..here]
    }

    /// Discards at most `max` unread octets, and returns their number.
    pub fn skip(&mut self, max: u64) -> u64 {
        let here = self.octets(max).len();
        self.consume(here);
        here as u64
    }

    /// Frees the memory of an empty inbox.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.start = 0;
        }
    }

    /// Reads one line that ends in LF. If a line exceeds `max` octets, line end included, its octets are
    /// discarded. If it also exceeds `discard` octets (if that is less than `max`, both together), the result is
    /// [`Line::NoLineEnd`], even if its end has just arrived, because the result must not depend on the pieces in which a
    /// line arrives.
    pub fn line(&mut self, max: usize, discard: usize) -> Line {
        let endless = if discard > max { discard } else { max.saturating_add(discard) };
        let from = self.searched_len;
        let Some(at) = memchr::memchr(b'\n', &self.unread()[from..]) else {
            let unread = self.len();
            if unread > max || self.discarded > 0 {
                self.discarded += unread;
                self.consume(unread);
            } else {
                self.searched_len = unread;
            }
            return if self.discarded > endless { Line::NoLineEnd } else { Line::Partial };
        };
        let length = from + at + 1;
        let too_long = length > max || self.discarded > 0;
        let line = if self.discarded + length > endless {
            Line::NoLineEnd
        } else if too_long {
            Line::TooLong
        } else {
            Line::Complete(self.unread()[..length].to_vec())
        };
        self.discarded = 0;
        self.consume(length);
        line
    }
}

/// Octets to send to the peer, in order, and the events to log.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    events: Vec<Event>,
}

impl Outbox {
    /// Appends octets that the peer has sent.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends octets, without a copy if no others wait.
    pub fn append(&mut self, bytes: Vec<u8>) {
        if self.is_empty() {
            (self.bytes, self.sent) = (bytes, 0);
        } else {
            self.push(&bytes);
        }
    }

    /// Appends a line and its CRLF.
    pub fn line(&mut self, text: &str) {
        self.push(text.as_bytes());
        self.push(b"\r\n");
    }

    /// The buffer itself, for appending.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The octets not yet sent.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// True if every octet is sent.
    pub fn is_empty(&self) -> bool {
        self.pending().is_empty()
    }

    /// Marks the first `n` pending octets as sent.
    pub fn consume(&mut self, n: usize) {
        self.sent += n;
        if self.sent >= self.bytes.len() {
            self.sent = 0;
            if self.bytes.capacity() > RETAINED_CAPACITY {
                self.bytes = Vec::new()
            } else {
                self.bytes.clear()
            }
        }
    }

    /// Frees the memory of an empty outbox.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.sent = 0;
        }
    }

    /// Keeps the first `n` pending octets, and discards the others and the events.
    pub fn truncate(&mut self, n: usize) {
        self.bytes.truncate(self.sent + n);
        self.events.clear();
    }

    /// Discards the octets not yet sent, but keeps the events.
    pub fn discard(&mut self) {
        self.bytes = Vec::new();
        self.sent = 0;
    }

    /// Appends an event for the log.
    pub fn push_event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Removes and returns the events.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

/// A busy connection keeps a buffer of at most this capacity, in octets.
const RETAINED_CAPACITY: usize = 4096;

/// Octets already read, from which on the unread ones are moved to the front.
const COMPACT_THRESHOLD: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A part of a client's input, by the way in which the session reads it.
    #[derive(Debug, Clone)]
    enum Part {
        /// A line of at most ten octets, or one that is too long.
        Line(Vec<u8>),
        /// A literal that is read as a whole.
        Literal(Vec<u8>),
        /// Counted data that is processed in pieces.
        Piecewise(Vec<u8>),
        /// Counted data that is discarded.
        Skipped(Vec<u8>),
    }

    impl Part {
        fn octets(&self) -> &[u8] {
            let (Self::Line(octets)
            | Self::Literal(octets)
            | Self::Piecewise(octets)
            | Self::Skipped(octets)) = self;
            octets
        }
    }

    fn parts() -> impl Strategy<Value = Vec<Part>> {
        // Line ends among counted octets must have no effect.
        let octets =
            || prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..30);
        let line = "[a-z]{0,20}".prop_map(|text| Part::Line(format!("{text}\r\n").into_bytes()));
        let part = prop_oneof![
            line,
            octets().prop_map(Part::Literal),
            octets().prop_map(Part::Piecewise),
            octets().prop_map(Part::Skipped),
        ];
        prop::collection::vec(part, 0..8)
    }

    /// Reads the parts from octets that arrive in pieces of `size`. Returns the result of each read, in the
    /// order of the parts.
    fn read(parts: &[Part], size: usize) -> Vec<String> {
        let wire: Vec<u8> = parts.iter().flat_map(Part::octets).copied().collect();
        let mut pieces = wire.chunks(size);
        let mut inbox = Inbox::default();
        let mut more = |inbox: &mut Inbox| inbox.push(pieces.next().expect("the rest of a part"));
        let mut seen = Vec::new();
        for part in parts {
            let mut left = part.octets().len() as u64;
            let mut piecewise = Vec::new();
            loop {
                match part {
                    Part::Line(_) => match inbox.line(10, 100) {
                        Line::Partial => more(&mut inbox),
                        line => break seen.push(format!("{line:?}")),
                    },
                    Part::Literal(_) => match inbox.take(left, 20) {
                        Octets::Partial => more(&mut inbox),
                        Octets::TooMany => {
                            seen.push("too many".into());
                            while left > 0 {
                                left -= inbox.skip(left);
                                if left > 0 {
                                    more(&mut inbox);
                                }
                            }
                            break;
                        }
                        octets @ Octets::Full(_) => break seen.push(format!("{octets:?}")),
                    },
                    Part::Piecewise(_) => {
                        let here = inbox.octets(left).to_vec();
                        inbox.consume(here.len());
                        left -= here.len() as u64;
                        piecewise.extend(here);
                        if left == 0 {
                            break seen.push(format!("{piecewise:?}"));
                        }
                        more(&mut inbox);
                    }
                    Part::Skipped(_) => {
                        left -= inbox.skip(left);
                        if left == 0 {
                            break;
                        }
                        more(&mut inbox);
                    }
                }
            }
        }
        assert!(inbox.is_empty(), "{:?} is left", inbox.unread());
        seen
    }

    proptest! {
        #[test]
        fn lines_and_counted_octets_are_the_same_in_any_pieces(parts in parts(), size in 1usize..70) {
            let expected: Vec<String> = parts
                .iter()
                .filter_map(|part| match part {
                    Part::Line(line) if line.len() > 10 => Some(format!("{:?}", Line::TooLong)),
                    Part::Line(line) => Some(format!("{:?}", Line::Complete(line.clone()))),
                    Part::Literal(octets) if octets.len() > 20 => Some("too many".into()),
                    Part::Literal(octets) => Some(format!("{:?}", Octets::Full(octets.clone()))),
                    Part::Piecewise(octets) => Some(format!("{octets:?}")),
                    Part::Skipped(_) => None,
                })
                .collect();
            prop_assert_eq!(read(&parts, size), expected);
        }
    }

    #[test]
    fn counted_octets_are_left_alone_until_all_are_there_and_no_count_is_too_large() {
        let mut inbox = inbox(b"12345");
        assert_eq!(inbox.take(6, 10), Octets::Partial);
        assert_eq!(inbox.take(u64::MAX, 10), Octets::TooMany);
        assert_eq!(inbox.take(11, 10), Octets::TooMany);
        assert_eq!((inbox.octets(u64::MAX), inbox.octets(2)), (&b"12345"[..], &b"12"[..]));
        assert_eq!(inbox.take(0, 10), Octets::Full(Vec::new()));
        inbox.push(b"67\n");
        assert_eq!(inbox.take(6, 10), Octets::Full(b"123456".to_vec()));
        assert_eq!(inbox.line(10, 100), Line::Complete(b"7\n".to_vec()));
        assert_eq!(inbox.skip(u64::MAX), 0);
    }

    fn inbox(bytes: &[u8]) -> Inbox {
        let mut inbox = Inbox::default();
        inbox.push(bytes);
        inbox
    }

    #[test]
    fn lines_come_whole_or_not_at_all() {
        let mut inbox = inbox(b"NOOP\r\nQU");
        assert_eq!(inbox.line(10, 100), Line::Complete(b"NOOP\r\n".to_vec()));
        assert_eq!(inbox.line(10, 100), Line::Partial);
        inbox.push(b"IT\n");
        assert_eq!(inbox.line(10, 100), Line::Complete(b"QUIT\n".to_vec()));
        assert!(inbox.is_empty());
    }

    #[test]
    fn c01_a_long_line_is_refused_once_in_any_pieces_and_the_next_one_is_read() {
        let wire = [b"x".repeat(40), b"\r\nNOOP\r\n".to_vec()].concat();
        for size in [1, 3, 7, 60] {
            let mut inbox = Inbox::default();
            let mut seen = Vec::new();
            for piece in wire.chunks(size) {
                inbox.push(piece);
                loop {
                    match inbox.line(10, 100) {
                        Line::Partial => break,
                        other => seen.push(other),
                    }
                }
            }
            assert_eq!(seen, [Line::TooLong, Line::Complete(b"NOOP\r\n".to_vec())], "pieces of {size}");
        }
    }

    #[test]
    fn c02_an_endless_line_ends_the_patience_and_costs_no_memory() {
        let mut inbox = Inbox::default();
        let mut pushed = 0;
        while inbox.line(10, 1000) != Line::NoLineEnd {
            inbox.push(&[b'x'; 50]);
            pushed += 50;
            assert!(pushed <= 1100, "the limit was not seen");
        }
        assert_eq!(inbox.len(), 0);
    }

    #[test]
    fn octets_are_sent_in_their_order_whether_others_wait_or_not() {
        let mut out = Outbox::default();
        out.append(b"one".to_vec());
        out.consume(1);
        out.append(b"two".to_vec());
        assert_eq!(out.pending(), b"netwo");
        out.consume(5);
        out.append(b"three".to_vec());
        out.consume(2);
        assert_eq!(out.pending(), b"ree");
    }

    #[test]
    fn empty_buffers_hold_no_memory() {
        let mut inbox = inbox(&[b'x'; 9000]);
        inbox.consume(9000);
        inbox.shrink();
        assert_eq!(inbox.bytes.capacity(), 0);
        let mut out = Outbox::default();
        out.line("250 ok");
        out.consume(8);
        out.shrink();
        assert_eq!(out.bytes.capacity(), 0);
    }
}
