//! The parts of an input: first the octets that select a case, then the text.

use std::slice;

/// The part of an input that is not read yet.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next octet, or 0 at the end of the input.
    pub(crate) fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// One of several.
    pub(crate) fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.octet()) % from.len()]
    }

    pub(crate) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Lines with their ends, each in pieces of that size: a peer that waits for every reply, over any network.
pub(crate) fn lines_in_pieces(wire: &[u8], size: usize) -> impl Iterator<Item = &[u8]> {
    wire.split_inclusive(|octet| *octet == b'\n').flat_map(move |line| line.chunks(size))
}

/// Reads a text in pieces.
pub(crate) struct Pieces<'a>(slice::Chunks<'a, u8>);

impl<'a> Pieces<'a> {
    pub(crate) fn of(text: &'a [u8], size: usize) -> Self {
        Self(text.chunks(size))
    }
}

impl std::io::Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let Some(piece) = self.0.next() else { return Ok(0) };
        into[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
    }
}

/// Whether a character is a control, or changes the direction of writing: a terminal, a log or a header may
/// get none from a stranger.
pub(crate) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
