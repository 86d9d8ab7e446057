//! Message data at a listener where every rule holds: octets that were not announced, and lines that are too long.

use super::reply::Reply;

/// Looks at message data for what was not announced.
#[derive(Debug)]
pub(super) struct BodyCheck {
    /// BODY=8BITMIME.
    eight_bit: bool,
    /// Octets of the line so far, as stored.
    line: usize,
    /// An octet above 0x7f that was not announced.
    above_ascii: bool,
    /// A line beyond the limit.
    too_long: bool,
}

impl BodyCheck {
    pub(super) fn new(eight_bit: bool) -> Self {
        Self { eight_bit, line: 0, above_ascii: false, too_long: false }
    }

    /// Takes the next bytes of the message as stored.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.above_ascii |= !self.eight_bit && !bytes.is_ascii();
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            let ends = line.ends_with(b"\n");
            self.line += line.len() - usize::from(ends);
            self.too_long |= self.line > TEXT_LINE;
            self.line = if ends { 0 } else { self.line };
        }
    }

    /// Why the message is refused. Of two reasons it is always the same one, whichever came first: the pieces that the
    /// message came in must not decide.
    pub(super) fn broken(&self) -> Option<Reply> {
        match self {
            Self { above_ascii: true, .. } => Some(NOT_EIGHT_BIT),
            Self { too_long: true, .. } => Some(TEXT_LINE_TOO_LONG),
            _ => None,
        }
    }
}

const NOT_EIGHT_BIT: Reply =
    Reply::new(554, "5.6.1", "RFC 6152 3: octets above 0x7f are announced with BODY=8BITMIME");
const TEXT_LINE_TOO_LONG: Reply =
    Reply::new(554, "5.6.0", "RFC 5321 4.5.3.1.6: a line of text has at most 998 octets before its line end");

/// Octets of a line of text, without its line end (RFC 5321 section 4.5.3.1.6).
const TEXT_LINE: usize = 998;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_text_are_measured_in_any_pieces() {
        for (length, broken) in [(998, None), (999, Some(TEXT_LINE_TOO_LONG))] {
            let message = [b"x\n".as_slice(), &b"y".repeat(length), b"\nz\n"].concat();
            for size in [1, 7, message.len()] {
                let mut text = BodyCheck::new(false);
                message.chunks(size).for_each(|piece| text.feed(piece));
                assert_eq!(text.broken(), broken, "{length} in pieces of {size}");
            }
        }
        let both = [b"y".repeat(999).as_slice(), "\né\n".as_bytes()].concat();
        for (message, size) in [("é\n".as_bytes(), 3), (&both, 1), (&both, both.len())] {
            let mut text = BodyCheck::new(false);
            message.chunks(size).for_each(|piece| text.feed(piece));
            assert_eq!(text.broken(), Some(NOT_EIGHT_BIT));
        }
    }
}
