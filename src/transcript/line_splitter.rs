//! Splits octets that arrive in pieces into lines.

use std::mem;

/// Collects octets until their line ends. It searches no octet twice.
#[derive(Debug)]
pub(super) struct LineSplitter {
    end: &'static [u8],
    partial: Vec<u8>,
}

impl LineSplitter {
    /// A splitter for lines with this end: an LF, perhaps with octets before it.
    pub(super) fn new(end: &'static [u8]) -> Self {
        Self { end, partial: Vec::new() }
    }

    /// Adds octets and returns the lines that are now complete, including their ends.
    pub(super) fn feed(&mut self, new: &[u8]) -> Vec<Vec<u8>> {
        let (mut lines, mut start, mut searched) = (Vec::new(), 0, self.partial.len());
        self.partial.extend_from_slice(new);
        while let Some(at) = memchr::memchr(b'\n', &self.partial[searched..]) {
            searched += at + 1;
            let line = &self.partial[start..searched];
            if line.ends_with(self.end) {
                lines.push(line.to_vec());
                start = searched;
            }
        }
        self.partial.drain(..start);
        lines
    }

    /// Returns the beginning of an unfinished line if the line is too long to hold. A final CR stays, because
    /// it may be half of the line end.
    pub(super) fn too_long(&mut self) -> Option<Vec<u8>> {
        let length = self.partial.len() - usize::from(self.partial.ends_with(b"\r"));
        (length >= MAX_PARTIAL).then(|| {
            let after = self.partial.split_off(length);
            mem::replace(&mut self.partial, after)
        })
    }

    /// Returns the unfinished line, which may be empty.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        mem::take(&mut self.partial)
    }

    /// True if no line is unfinished.
    pub(super) fn is_empty(&self) -> bool {
        self.partial.is_empty()
    }
}

/// The largest number of octets of an unfinished line that are held.
const MAX_PARTIAL: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_without_end_is_given_away_in_parts_and_a_cr_waits_for_its_lf() {
        let mut lines = LineSplitter::new(b"\r\n");
        for _ in 0..1000 {
            assert!(lines.feed(&[b'x'; MAX_PARTIAL - 1]).is_empty());
            assert_eq!(lines.too_long(), None);
            assert!(lines.feed(b"x\r").is_empty());
            assert_eq!(lines.too_long().unwrap().len(), MAX_PARTIAL);
            assert_eq!(lines.feed(b"\n"), [b"\r\n"]);
        }
        assert!(lines.is_empty());
    }

    proptest! {
        #[test]
        fn lines_are_the_same_in_any_pieces(
            pieces in prop::collection::vec("[a\r\n]{0,6}", 0..20),
            end in prop::sample::select(vec![&b"\n"[..], b"\r\n"]),
        ) {
            let (mut whole, mut cut) = (LineSplitter::new(end), LineSplitter::new(end));
            let lines = whole.feed(pieces.concat().as_bytes());
            let of_pieces: Vec<_> = pieces.iter().flat_map(|piece| cut.feed(piece.as_bytes())).collect();
            prop_assert_eq!(&lines, &of_pieces);
            let rest = whole.rest();
            prop_assert_eq!(&rest, &cut.rest());
            prop_assert_eq!([lines.concat(), rest].concat(), pieces.concat().into_bytes());
        }
    }
}
