//! The header of a stored message: its end and its fields.

pub(crate) use crate::mime::header::{Field, fields};

/// Collects the first octets of a message until its header is complete or too long to hold.
#[derive(Debug, Default)]
pub(crate) struct HeaderReader {
    bytes: Vec<u8>,
    searched: usize,
    fields: Option<usize>,
}

impl HeaderReader {
    /// Adds the next octets. Returns true once the header is complete or too long.
    pub(crate) fn feed(&mut self, text: &[u8]) -> bool {
        self.bytes.extend_from_slice(text);
        if self.fields.is_none() {
            self.fields = empty_line(&self.bytes, self.searched);
            // The end of the text may be half a line end or half an empty line.
            self.searched = self.bytes.len().saturating_sub(2);
        }
        self.fields.is_some() || self.bytes.len() > MAX_HEADER + 2
    }

    /// Ends a message that has only a header. A lone CR in the last line is half an empty line: a line end
    /// after it, which an added field needs, would complete it.
    pub(crate) fn end(&mut self) {
        let half = matches!(*self.bytes, [b'\r'] | [.., b'\n', b'\r']);
        self.fields.get_or_insert(self.bytes.len() - usize::from(half));
    }

    /// The lines of the header; `None` if it is too long to hold.
    pub(crate) fn fields(&self) -> Option<&[u8]> {
        self.fields.filter(|end| *end <= MAX_HEADER).map(|end| &self.bytes[..end])
    }

    /// All octets added so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Octets of the longest header that is parsed.
pub(crate) const MAX_HEADER: usize = 1 << 20;

/// Finds the beginning of the first empty line at or after `from`.
fn empty_line(text: &[u8], from: usize) -> Option<usize> {
    let is_empty = |at: usize| matches!(&text[at..], [b'\n', ..] | [b'\r', b'\n', ..]);
    if from == 0 && is_empty(0) {
        return Some(0);
    }
    memchr::memchr_iter(b'\n', &text[from..]).map(|at| from + at + 1).find(|at| is_empty(*at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_at_the_first_empty_line_however_it_comes() {
        for (text, expected) in [
            ("A: b\nC: d\n\nbody\n\n", Some("A: b\nC: d\n")),
            ("A: b\r\nC: d\r\n\r\nbody", Some("A: b\r\nC: d\r\n")),
            ("\nbody", Some("")),
            ("\r\nbody", Some("")),
            ("A: b\n", None),
        ] {
            for step in 1..=text.len() {
                let mut head = HeaderReader::default();
                for piece in text.as_bytes().chunks(step) {
                    head.feed(piece);
                }
                assert_eq!(head.fields(), expected.map(str::as_bytes), "{text:?} in steps of {step}");
                head.end();
                assert_eq!(head.fields(), Some(expected.unwrap_or(text).as_bytes()), "{text:?}");
            }
        }
    }

    #[test]
    fn half_an_empty_line_at_the_end_is_no_part_of_the_header() {
        for (text, expected) in [("A: b\n\r", "A: b\n"), ("\r", ""), ("A: b\r", "A: b\r")] {
            let mut head = HeaderReader::default();
            head.feed(text.as_bytes());
            head.end();
            assert_eq!(
                (head.fields(), head.bytes()),
                (Some(expected.as_bytes()), text.as_bytes()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_header_that_is_too_long_is_not_looked_into() {
        let mut head = HeaderReader::default();
        assert!(head.feed(&vec![b'x'; MAX_HEADER + 3]) && head.fields().is_none());
    }
}
