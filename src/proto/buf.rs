//! What came in and was not read yet, and what waits to go out. Both give their memory back when they are
//! empty, so that an idle connection costs none.

use super::event::Event;

/// Octets from the peer, in order.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// Where the unread part begins.
    start: usize,
    /// How far from `start` a line end was already looked for.
    searched: usize,
    /// Octets thrown away of a line that has no end yet.
    discarded: usize,
    ended: bool,
    /// What was read since somebody has asked for it.
    tap: Option<Vec<u8>>,
}

/// What [`Inbox::line`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line, with its LF and the CR before it, if there is one.
    Full(Vec<u8>),
    /// No line end yet.
    Partial,
    /// A line longer than the limit came to its end, and is gone.
    TooLong,
    /// A line went on past the discard limit without an end.
    Endless,
}

impl Inbox {
    /// Takes octets from the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Remembers that the peer will send no more.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Whether the peer will send no more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The unread octets.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// How many octets are unread.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether nothing is unread.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From here on, keeps what is read for [`Inbox::tapped`].
    pub fn tap(&mut self) {
        self.tap = Some(Vec::new());
    }

    /// What was read since [`Inbox::tap`], which ends with this.
    pub fn tapped(&mut self) -> Vec<u8> {
        self.tap.take().unwrap_or_default()
    }

    /// Marks the first `n` unread octets as read.
    pub fn consume(&mut self, n: usize) {
        if let Some(tap) = &mut self.tap {
            tap.extend_from_slice(&self.bytes[self.start..(self.start + n).min(self.bytes.len())]);
        }
        self.start = (self.start + n).min(self.bytes.len());
        self.searched = 0;
        if self.start == self.bytes.len() {
            self.start = 0;
            // An idle connection must cost nothing; a busy one keeps a small buffer.
            if self.bytes.capacity() > KEPT { self.bytes = Vec::new() } else { self.bytes.clear() }
        } else if self.start > COMPACT {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Gives back the memory of an empty inbox.
    pub fn rest(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.start = 0;
        }
    }

    /// Reads one line that ends in LF. Of a line longer than `max` octets (line end included) nothing is
    /// kept; after `discard` octets of it without an end the answer is [`Line::Endless`].
    pub fn line(&mut self, max: usize, discard: usize) -> Line {
        let from = self.searched;
        let Some(at) = memchr::memchr(b'\n', &self.unread()[from..]) else {
            let unread = self.len();
            if unread > max || self.discarded > 0 {
                self.discarded += unread;
                self.consume(unread);
            } else {
                self.searched = unread;
            }
            return if self.discarded > discard { Line::Endless } else { Line::Partial };
        };
        let length = from + at + 1;
        let too_long = length > max || self.discarded > 0;
        let line = if too_long { Line::TooLong } else { Line::Full(self.unread()[..length].to_vec()) };
        self.discarded = 0;
        self.consume(length);
        line
    }
}

/// Octets for the peer, in order, and what the log should know.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    events: Vec<Event>,
}

impl Outbox {
    /// Adds octets.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds a line and its CRLF.
    pub fn line(&mut self, text: &str) {
        self.push(text.as_bytes());
        self.push(b"\r\n");
    }

    /// The buffer itself, to be appended to.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What waits to be sent.
    pub fn waiting(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    /// Marks the first `n` waiting octets as sent.
    pub fn sent(&mut self, n: usize) {
        self.sent += n;
        if self.sent >= self.bytes.len() {
            self.sent = 0;
            if self.bytes.capacity() > KEPT { self.bytes = Vec::new() } else { self.bytes.clear() }
        }
    }

    /// Gives back the memory of an empty outbox.
    pub fn rest(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.sent = 0;
        }
    }

    /// Throws away what waits to be sent. What the log should know stays.
    pub fn discard(&mut self) {
        self.bytes = Vec::new();
        self.sent = 0;
    }

    /// Says something to the log.
    pub fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Takes what the log should know.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

/// Buffers up to this capacity are kept between two rounds of a busy connection.
const KEPT: usize = 4096;

/// Read octets in front of unread ones that are worth moving the unread ones for.
const COMPACT: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox(bytes: &[u8]) -> Inbox {
        let mut inbox = Inbox::default();
        inbox.push(bytes);
        inbox
    }

    #[test]
    fn lines_come_whole_or_not_at_all() {
        let mut inbox = inbox(b"NOOP\r\nQU");
        assert_eq!(inbox.line(10, 100), Line::Full(b"NOOP\r\n".to_vec()));
        assert_eq!(inbox.line(10, 100), Line::Partial);
        inbox.push(b"IT\n");
        assert_eq!(inbox.line(10, 100), Line::Full(b"QUIT\n".to_vec()));
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
            assert_eq!(seen, [Line::TooLong, Line::Full(b"NOOP\r\n".to_vec())], "pieces of {size}");
        }
    }

    #[test]
    fn c02_an_endless_line_ends_the_patience_and_costs_no_memory() {
        let mut inbox = Inbox::default();
        let mut pushed = 0;
        while inbox.line(10, 1000) != Line::Endless {
            inbox.push(&[b'x'; 50]);
            pushed += 50;
            assert!(pushed <= 1100, "the limit was not seen");
        }
        assert_eq!(inbox.len(), 0);
    }

    #[test]
    fn empty_buffers_hold_no_memory() {
        let mut inbox = inbox(&[b'x'; 9000]);
        inbox.consume(9000);
        inbox.rest();
        assert_eq!(inbox.bytes.capacity(), 0);
        let mut out = Outbox::default();
        out.line("250 ok");
        out.sent(8);
        out.rest();
        assert_eq!(out.bytes.capacity(), 0);
    }
}
