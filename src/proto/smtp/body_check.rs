//! Checks message data on a pedantic listener, for 8-bit octets that were not announced and for lines that
//! are too long.

use super::reply::Reply;

/// Checks message data against the announced parameters and the limit of text lines.
#[derive(Debug)]
pub(super) struct BodyCheck {
    /// True if MAIL had BODY=8BITMIME.
    eight_bit: bool,
    /// Octets of the line so far, as stored.
    line: usize,
    /// True if there was an octet above 0x7f that was not announced.
    above_ascii: bool,
    /// True if a line exceeded the limit.
    too_long: bool,
}

impl BodyCheck {
    pub(super) fn new(eight_bit: bool) -> Self {
        Self { eight_bit, line: 0, above_ascii: false, too_long: false }
    }

    /// Checks the next bytes of the message as stored.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.above_ascii |= !self.eight_bit && !bytes.is_ascii();
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            let ends = line.ends_with(b"\n");
            self.line += line.len() - usize::from(ends);
            self.too_long |= self.line > TEXT_LINE;
            self.line = if ends { 0 } else { self.line };
        }
    }

    /// The reason for refusing the message. If there are two reasons, the result must not depend on their
    /// order, because then it would depend on the pieces in which the message arrives.
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

/// The longest line of text without its line end, in octets (RFC 5321 section 4.5.3.1.6).
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
