//! The beginning of a file of mail: an mbox, one message (RFC 5322), or something else.

use super::{
    Format, OtherFormat,
    from_line::{FROM, Reading},
    header_below::begins_with_message_header,
};

/// The content of a file, by its first octets.
#[derive(Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Nothing, or only empty lines.
    Empty,
    /// A From_ line.
    Mbox,
    /// The header of a message.
    Message(LineEnds),
    /// Neither.
    Other(OtherFormat),
}

/// The line ends of a file with one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnds {
    /// LF, which stays; so does a CR in such a file.
    Lf,
    /// CRLF, which becomes LF.
    CrLf,
    /// CR alone, which becomes LF.
    Cr,
}

/// The octets before a header that are no part of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SkippedStart {
    /// True if a byte order mark was there.
    pub byte_order_mark: bool,
    /// Number of empty lines.
    pub empty_lines: u64,
}

impl SkippedStart {
    /// True if the file begins with its header.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl Beginning {
    /// Recognizes a file by its first octets, after a byte order mark and empty lines.
    pub(super) fn of(first: &[u8]) -> Self {
        let other = || Self::Other(OtherFormat::of(&first[..first.len().min(MAX_MARKED)]));
        if first.is_empty() {
            return Self::Empty;
        }
        if first.starts_with(FROM) {
            let end = memchr::memchr(b'\n', first).map_or(first.len(), |end| end + 1);
            let (line, next) = first.split_at(end);
            let is_mbox = Reading::of(line, next, true, Format::Auto).from.is_some();
            return if is_mbox { Self::Mbox } else { other() };
        }
        if OtherFormat::by_mark(first).is_some() {
            return other();
        }
        let line_ends = LineEnds::of(first);
        let is_message = match line_ends {
            LineEnds::Lf | LineEnds::CrLf => begins_with_message_header(first),
            LineEnds::Cr => {
                let lines: Vec<u8> = first.iter().map(|b| if *b == b'\r' { b'\n' } else { *b }).collect();
                begins_with_message_header(&lines)
            }
        };
        if is_message { Self::Message(line_ends) } else { other() }
    }
}

impl LineEnds {
    /// The line ends of a text that begins with a header. Each line of the header ends in CR if the header has no LF.
    fn of(first: &[u8]) -> Self {
        let line = memchr::memchr(b'\n', first).map(|end| &first[..end]);
        let text = line.unwrap_or(first);
        let ends_before_lf = memchr::memmem::find(text.trim_ascii_end(), b"\r\r").is_some();
        match line {
            _ if ends_before_lf => Self::Cr,
            None if memchr::memchr(b'\r', text).is_some() => Self::Cr,
            Some([.., b'\r']) => Self::CrLf,
            _ => Self::Lf,
        }
    }
}

/// Octets of a file in which its beginning is looked for.
pub(super) const BEGINNING: usize = 64 * 1024;
/// Octets in which the marks of other formats stand.
const MAX_MARKED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u85_one_message_is_known_by_its_header_with_any_line_ends() {
        for (first, expected) in [
            (&b"Subject: a\nTo: b\n\nx"[..], Some(LineEnds::Lf)),
            (b"Subject: a\r\nTo: b\r\n\r\nx", Some(LineEnds::CrLf)),
            (b"Subject: a\rTo: b\r\rx", Some(LineEnds::Cr)),
            (b"Subject: a\rTo: b\r\rx\n", Some(LineEnds::Cr)),
            (b"Subject: a\r", Some(LineEnds::Cr)),
            (b"Subject: a\r\r\nTo: b\r\r\n", Some(LineEnds::CrLf)),
            (b"Subject: a\rb\nTo: b\n\nx\r\ry", Some(LineEnds::Lf)),
            (b"Subject: a", Some(LineEnds::Lf)),
            (b"X-Long: y\nSubject: a\n", Some(LineEnds::Lf)),
            (b"Note: a\n\nSubject: b\n", None),
            (b"text\nSubject: b\n", None),
        ] {
            let found = match Beginning::of(first) {
                Beginning::Message(line_ends) => Some(line_ends),
                _ => None,
            };
            assert_eq!(found, expected, "{}", first.escape_ascii());
        }
        assert_eq!(Beginning::of(b""), Beginning::Empty);
        assert_eq!(Beginning::of(b"From a@b Sat Jan  3 01:05:34 1996\nA: b\n"), Beginning::Mbox);
        assert!(matches!(Beginning::of(b"From my window\nthe sea\n"), Beginning::Other(_)));
    }
}
