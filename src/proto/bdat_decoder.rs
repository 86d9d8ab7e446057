//! The decoder of counted message data (BDAT, RFC 3030, and the literal of APPEND). No octets can end the message, so the decoder
//! searches for line ends only.

use std::mem;

use crate::proto::dot::LineEndings;

/// Decodes counted message data chunk by chunk, and stores LF line ends. A CRLF after a bare CR is stored as it is, because
/// `CR LF` in a file is one line end.
#[derive(Debug)]
pub(super) struct BdatDecoder {
    endings: LineEndings,
    /// Octets of the current chunk that have not arrived yet.
    left: u64,
    /// True if the current chunk ends the message.
    last: bool,
    /// True after a CR that may be half a line end. It is not stored yet.
    after_cr: bool,
    /// True if the last octet that was stored is a bare CR.
    stored_cr: bool,
    bare: bool,
}

impl BdatDecoder {
    /// A decoder for a message whose first chunk has `size` octets.
    pub(super) fn new(endings: LineEndings, size: u64, last: bool) -> Self {
        Self { endings, left: size, last, after_cr: false, stored_cr: false, bare: false }
    }

    /// Begins the next chunk of the message, of `size` octets.
    pub(super) fn chunk(&mut self, size: u64, last: bool) {
        self.left = size;
        self.last = last;
    }

    /// Decodes the octets of the current chunk in `wire` into `stored`, and returns the number of octets
    /// read. A line end may be split between two chunks.
    pub(super) fn decode(&mut self, wire: &[u8], stored: &mut Vec<u8>) -> usize {
        let used = usize::try_from(self.left).map_or(wire.len(), |left| left.min(wire.len()));
        let mut rest = &wire[..used];
        while let Some(&first) = rest.first() {
            if mem::take(&mut self.after_cr) {
                if first == b'\n' {
                    if mem::take(&mut self.stored_cr) {
                        stored.push(b'\r');
                    }
                    stored.push(b'\n');
                    rest = &rest[1..];
                    continue;
                }
                self.bare_cr(stored);
            }
            let text = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            stored.extend_from_slice(&rest[..text]);
            self.stored_cr &= text == 0;
            match rest.get(text) {
                Some(b'\r') => self.after_cr = true,
                // A bare LF cannot hide the end of counted data, so `Normalise` converts it at any position.
                Some(_) => {
                    self.bare |= self.endings == LineEndings::Strict;
                    stored.push(b'\n');
                }
                None => break,
            }
            rest = &rest[text + 1..];
        }
        self.left -= used as u64;
        if self.ended() && mem::take(&mut self.after_cr) {
            self.bare_cr(stored);
        }
        used
    }

    fn bare_cr(&mut self, stored: &mut Vec<u8>) {
        self.bare |= self.endings != LineEndings::Lenient;
        self.stored_cr = true;
        stored.push(b'\r');
    }

    /// True if the current chunk is complete.
    pub(super) fn chunk_ended(&self) -> bool {
        self.left == 0
    }

    /// True if the message is complete.
    pub(super) fn ended(&self) -> bool {
        self.last && self.left == 0
    }

    /// True if there was a CR or LF that this listener does not allow. The message must then be refused.
    pub(super) fn saw_bare_line_end(&self) -> bool {
        self.bare
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        proto::dot::{Decoder, Encoder},
        wire_size::on_the_wire,
    };

    const MODES: [LineEndings; 3] = [LineEndings::Strict, LineEndings::Normalise, LineEndings::Lenient];

    /// Decodes a message in chunks of one size that arrives in pieces of another size.
    fn counted(endings: LineEndings, wire: &[u8], chunk: usize, piece: usize) -> (Vec<u8>, bool) {
        let mut stored = Vec::new();
        let mut counted = BdatDecoder::new(endings, 0, wire.is_empty());
        for (n, octets) in wire.chunks(chunk).enumerate() {
            counted.chunk(octets.len() as u64, (n + 1) * chunk >= wire.len());
            for piece in octets.chunks(piece) {
                assert_eq!(counted.decode(piece, &mut stored), piece.len());
            }
            assert!(counted.chunk_ended());
        }
        assert!(counted.ended());
        (stored, counted.saw_bare_line_end())
    }

    #[test]
    fn what_follows_the_last_octet_is_not_touched() {
        let mut counted = BdatDecoder::new(LineEndings::Strict, 5, true);
        let mut stored = Vec::new();
        assert_eq!(counted.decode(b"ab\r\ncQUIT\r\n", &mut stored), 5);
        assert!(counted.ended() && !counted.saw_bare_line_end());
        assert_eq!(stored, b"ab\nc");
        assert_eq!(counted.decode(b"QUIT\r\n", &mut stored), 0);
    }

    #[test]
    fn each_mode_has_its_rule_for_a_cr_or_lf_of_its_own() {
        for (wire, stored, bare) in [
            (&b"a\nb"[..], &b"a\nb"[..], [true, false, false]),
            (b"a\n.\nb", b"a\n.\nb", [true, false, false]),
            (b"a\rb", b"a\rb", [true, true, false]),
            (b"a\r\r\n", b"a\r\r\n", [true, true, false]),
            (b"a\r\r\r\n\r\n", b"a\r\r\r\n\n", [true, true, false]),
            (b"a\r", b"a\r", [true, true, false]),
            (b"a\r\n.\r\nb", b"a\n.\nb", [false, false, false]),
            (b"a\0b", b"a\0b", [false, false, false]),
        ] {
            for (mode, bare) in MODES.into_iter().zip(bare) {
                assert_eq!(counted(mode, wire, 100, 100), (stored.to_vec(), bare), "{mode:?} {wire:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn decoding_depends_neither_on_the_chunks_nor_on_the_pieces(
            wire in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..60),
            chunk in 1usize..70,
            piece in 1usize..70,
        ) {
            for mode in MODES {
                prop_assert_eq!(counted(mode, &wire, chunk, piece), counted(mode, &wire, 100, 100));
            }
        }

        /// Each bare CR stays, because signatures and the sizes of an import count every octet.
        #[test]
        fn a_message_without_a_bare_lf_is_sent_as_it_came(
            parts in prop::collection::vec(prop_oneof![Just("\r"), Just("\r\n"), Just("."), Just("a")], 0..40),
            chunk in 1usize..70,
        ) {
            let sent = parts.concat() + "\r\n";
            let (stored, _) = counted(LineEndings::Lenient, sent.as_bytes(), chunk, 100);
            prop_assert_eq!(on_the_wire(&stored), sent.as_bytes());
            let mut data = Decoder::new(LineEndings::Lenient);
            let (mut stored, mut wire) = (Vec::new(), Vec::new());
            let mut stuffed = Encoder::whole();
            stuffed.encode(sent.as_bytes(), &mut wire);
            stuffed.finish_message(&mut wire);
            data.decode(&wire, &mut stored);
            prop_assert!(data.ended());
            prop_assert_eq!(on_the_wire(&stored), sent.as_bytes());
        }

        #[test]
        fn a_message_is_stored_as_data_stores_it(
            lines in prop::collection::vec("[.\0a-z\u{e9}]{0,4}", 0..12),
            chunk in 1usize..70,
        ) {
            let wire: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let stuffed: String = lines
                .iter()
                .map(|line| format!("{}{line}\r\n", if line.starts_with('.') { "." } else { "" }))
                .collect();
            for mode in MODES {
                let mut data = Decoder::new(mode);
                let mut stored = Vec::new();
                data.decode(format!("{stuffed}.\r\n").as_bytes(), &mut stored);
                prop_assert!(data.ended());
                prop_assert_eq!(counted(mode, wire.as_bytes(), chunk, 100), (stored, data.saw_bare_line_end()));
            }
        }
    }
}
