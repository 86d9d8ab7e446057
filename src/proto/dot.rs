//! Message data on the wire: the decoder for SMTP's DATA and the encoder for POP3's RETR and TOP.
//!
//! Both are small state machines whose output does not depend on how the input is cut. A stored message has
//! LF line ends. On the wire, line ends are CRLF, a dot at the beginning of a line is doubled, and a lone dot
//! ends the message (RFC 5321 section 4.5.2, RFC 1939 section 3).

use serde::{Deserialize, Serialize};

/// The octets that count as a line end, and thus can end a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineEndings {
    /// Only CRLF. The decoder records a lone CR or LF, and the message is refused at its true end.
    #[default]
    Strict,
    /// Like strict, but a lone LF inside a text becomes CRLF. An exception is an LF next to a dot at the
    /// beginning of a line, because there two servers could disagree about the end of the message
    /// (smuggling).
    Normalise,
    /// LF ends a line as CRLF does, also around the final dot. For telnet and classroom clients.
    Lenient,
}

/// Decodes message data from the wire: removes dot-stuffing, converts line ends to LF, and finds the end.
#[derive(Debug)]
pub struct Decoder {
    endings: LineEndings,
    state: Decoding,
    /// True if the last octet that was stored is a bare CR. A CRLF after it is stored as it is, because `CR LF` in a file is one
    /// line end.
    stored_cr: bool,
    bare: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decoding {
    LineStart,
    /// Normalise: at the start of a line, after a lone LF.
    AfterBareLf,
    Text,
    /// After a CR that may be half a line end. It is not stored yet.
    Cr,
    /// After a dot at the beginning of a line. It is not stored, because it is either stuffing or the end.
    Dot,
    DotCr,
    Ended,
}

impl Decoder {
    /// A decoder for the octets after the 354 reply.
    pub fn new(endings: LineEndings) -> Self {
        Self { endings, state: Decoding::LineStart, stored_cr: false, bare: false }
    }

    /// Decodes `wire` into `stored`, at most up to the end of the message, and returns the number of octets
    /// read. Octets after the end stay unread.
    pub fn decode(&mut self, wire: &[u8], stored: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while at < wire.len() && self.state != Decoding::Ended {
            if self.state == Decoding::Text {
                let text = &wire[at..];
                let length = memchr::memchr2(b'\r', b'\n', text).unwrap_or(text.len());
                stored.extend_from_slice(&text[..length]);
                self.stored_cr &= length == 0;
                at += length;
                if at == wire.len() {
                    break;
                }
            }
            self.octet(wire[at], stored);
            at += 1;
        }
        at
    }

    fn octet(&mut self, octet: u8, stored: &mut Vec<u8>) {
        use Decoding::{AfterBareLf, Cr, Dot, DotCr, Ended, LineStart, Text};
        let lenient = self.endings == LineEndings::Lenient;
        self.state = match (self.state, octet) {
            (DotCr, b'\n') => Ended,
            (Dot, b'\n') if lenient => Ended,
            (Cr, b'\n') => {
                if std::mem::take(&mut self.stored_cr) {
                    stored.push(b'\r');
                }
                stored.push(b'\n');
                LineStart
            }
            (Dot, b'\r') => DotCr,
            (Cr | DotCr, _) => {
                self.bare |= !lenient;
                stored.push(b'\r');
                self.stored_cr = true;
                self.state = Text;
                return self.octet(octet, stored);
            }
            (_, b'\r') => Cr,
            (Dot, b'\n') => {
                self.bare = true;
                stored.push(b'\n');
                Text
            }
            (_, b'\n') => {
                stored.push(b'\n');
                match self.endings {
                    LineEndings::Lenient => LineStart,
                    LineEndings::Normalise => AfterBareLf,
                    LineEndings::Strict => {
                        self.bare = true;
                        Text
                    }
                }
            }
            (LineStart, b'.') => Dot,
            (AfterBareLf, b'.') => {
                self.bare = true;
                stored.push(b'.');
                Text
            }
            (_, octet) => {
                stored.push(octet);
                self.stored_cr = false;
                Text
            }
        };
    }

    /// True if the end of the message was read.
    pub fn ended(&self) -> bool {
        self.state == Decoding::Ended
    }

    /// True if there was a CR or LF that this decoder does not allow. The message must then be refused.
    pub fn saw_bare_line_end(&self) -> bool {
        self.bare
    }
}

/// Encodes a stored message for the wire: CRLF line ends, dot-stuffing, and the final dot.
#[derive(Debug)]
pub struct Encoder {
    line: LineSoFar,
    last: Option<u8>,
    octets: u64,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineSoFar {
    Empty,
    OnlyCr,
    Text,
}

/// Most mail has longer lines (RFC 5322 section 2.1.1 recommends 78 octets), so a CR for each fits in the reserve.
const USUAL_LINE_LENGTH: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// TOP: inside the header, with the number of body lines to send after it.
    Header(u64),
    /// TOP: inside the body, with the number of lines left to send.
    Body(u64),
}

impl Encoder {
    /// An encoder for a whole message (RETR).
    pub fn whole() -> Self {
        Self { line: LineSoFar::Empty, last: None, octets: 0, part: Part::Whole }
    }

    /// An encoder for the header, the blank line and the first `lines` lines of the body (TOP).
    pub fn top(lines: u64) -> Self {
        Self { part: Part::Header(lines), ..Self::whole() }
    }

    /// Encodes the next bytes of the file.
    pub fn encode(&mut self, stored: &[u8], wire: &mut Vec<u8>) {
        if self.part == Part::Whole {
            wire.reserve(stored.len() + stored.len() / USUAL_LINE_LENGTH);
        }
        let mut start = 0;
        for line_end in memchr::memchr_iter(b'\n', stored) {
            if self.is_done() {
                return;
            }
            self.encode_line(&stored[start..line_end], wire);
            start = line_end + 1;
        }
        if start < stored.len() && !self.is_done() {
            self.encode_text(&stored[start..], wire);
        }
    }

    /// Encodes the rest of a line, and its end.
    fn encode_line(&mut self, text: &[u8], wire: &mut Vec<u8>) {
        let part_before = self.last;
        self.stuff(text.first().unwrap_or(&b'\n'), wire);
        wire.extend_from_slice(text);
        self.octets += text.len() as u64 + 1;
        if text.last().copied().or(part_before) != Some(b'\r') {
            self.octets += 1;
            wire.push(b'\r');
        }
        wire.push(b'\n');
        self.end_line(text);
        self.last = Some(b'\n');
    }

    /// Encodes octets of a line that goes on.
    fn encode_text(&mut self, text: &[u8], wire: &mut Vec<u8>) {
        self.stuff(&text[0], wire);
        wire.extend_from_slice(text);
        self.octets += text.len() as u64;
        self.line = self.line_with(text);
        self.last = text.last().copied();
    }

    fn stuff(&self, first: &u8, wire: &mut Vec<u8>) {
        if self.line == LineSoFar::Empty && *first == b'.' {
            wire.push(b'.');
        }
    }

    fn line_with(&self, text: &[u8]) -> LineSoFar {
        match (self.line, text) {
            (line, b"") => line,
            (LineSoFar::Empty, b"\r") => LineSoFar::OnlyCr,
            _ => LineSoFar::Text,
        }
    }

    fn end_line(&mut self, text: &[u8]) {
        let blank = self.line_with(text) != LineSoFar::Text;
        self.line = LineSoFar::Empty;
        self.part = match self.part {
            Part::Header(lines) if blank => Part::Body(lines),
            Part::Body(lines) => Part::Body(lines - 1),
            part => part,
        };
    }

    /// True if the encoder needs no further byte of the file. Only TOP can be done before the end of the
    /// file.
    pub fn is_done(&self) -> bool {
        self.part == Part::Body(0)
    }

    /// Ends the message: adds a line end if the file lacks one, then the final dot. Returns the octets of the
    /// message as sent, without dot-stuffing and the final dot line.
    pub fn finish_message(self, wire: &mut Vec<u8>) -> u64 {
        let missing_end = !matches!(self.last, None | Some(b'\n'));
        if missing_end {
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b".\r\n");
        self.octets + if missing_end { 2 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire_size::wire_size;

    const MODES: [LineEndings; 3] = [LineEndings::Strict, LineEndings::Normalise, LineEndings::Lenient];

    struct Decoded {
        stored: Vec<u8>,
        used: usize,
        ended: bool,
        bare: bool,
    }

    fn decode(endings: LineEndings, pieces: &[&[u8]]) -> Decoded {
        let mut decoder = Decoder::new(endings);
        let mut stored = Vec::new();
        let used = pieces.iter().map(|piece| decoder.decode(piece, &mut stored)).sum();
        Decoded { stored, used, ended: decoder.ended(), bare: decoder.saw_bare_line_end() }
    }

    fn encode(mut encoder: Encoder, pieces: &[&[u8]]) -> (Vec<u8>, u64) {
        let mut wire = Vec::new();
        for piece in pieces {
            encoder.encode(piece, &mut wire);
        }
        let octets = encoder.finish_message(&mut wire);
        (wire, octets)
    }

    /// Faults S01 to S12: sequences that another server may take for the end.
    const FALSE_ENDS: [&[u8]; 13] = [
        b"\n.\n",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r.\n",
        b"\r.\r\n",
        b"\n.\r",
        b"\r\n.\rx",
        b"\r\r\n.\r\r\n",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\r\n. \r\n",
        b"\r\n.\t\r\n",
    ];

    #[test]
    fn s01_to_s12_only_crlf_dot_crlf_ends_strict_data() {
        for mode in [LineEndings::Strict, LineEndings::Normalise] {
            for false_end in FALSE_ENDS {
                let wire = [b"a", false_end, b"QUIT\r\n.\r\nREST"].concat();
                let got = decode(mode, &[&wire]);
                assert!(got.ended, "{mode:?} {false_end:?}");
                assert_eq!(got.used, wire.len() - 4, "{mode:?} {false_end:?}");
            }
        }
    }

    #[test]
    fn strict_data_with_a_bare_cr_or_lf_is_marked() {
        for bare in &FALSE_ENDS[..9] {
            let wire = [b"a", *bare, b"b\r\n.\r\n"].concat();
            assert!(decode(LineEndings::Strict, &[&wire]).bare, "{bare:?}");
            assert!(decode(LineEndings::Normalise, &[&wire]).bare, "{bare:?}");
        }
        for clean in &FALSE_ENDS[9..] {
            let wire = [b"a", *clean, b"b\r\n.\r\n"].concat();
            assert!(!decode(LineEndings::Strict, &[&wire]).bare, "{clean:?}");
        }
    }

    #[test]
    fn normalise_mends_a_lone_lf_inside_the_text_only() {
        let got = decode(LineEndings::Normalise, &[b"a\nb\r\n.\r\n"]);
        assert_eq!((got.stored.as_slice(), got.bare, got.ended), (&b"a\nb\n"[..], false, true));
    }

    #[test]
    fn lenient_data_ends_at_every_kind_of_dot_line() {
        for end in [&b"\n.\n"[..], b"\n.\r\n", b"\r\n.\n", b"\r\n.\r\n"] {
            let got = decode(LineEndings::Lenient, &[b"a", end, b"REST"]);
            assert_eq!((got.stored.as_slice(), got.ended), (&b"a\n"[..], true), "{end:?}");
        }
    }

    #[test]
    fn s15_an_empty_message_and_a_first_line_of_dots() {
        for (wire, stored) in [
            (&b".\r\n"[..], &b""[..]),
            (b"..\r\n.\r\n", b".\n"),
            (b"..x\r\n.\r\n", b".x\n"),
            (b".x\r\n.\r\n", b"x\n"),
            (b"\r\n.\r\n", b"\n"),
        ] {
            let got = decode(LineEndings::Strict, &[wire]);
            assert_eq!((got.stored.as_slice(), got.ended), (stored, true), "{wire:?}");
        }
    }

    #[test]
    fn top_stops_after_the_body_lines_asked_for() {
        let file = b"A: 1\nB: 2\n\none\n.two\nthree";
        for (lines, wire) in [
            (0, &b"A: 1\r\nB: 2\r\n\r\n.\r\n"[..]),
            (1, b"A: 1\r\nB: 2\r\n\r\none\r\n.\r\n"),
            (2, b"A: 1\r\nB: 2\r\n\r\none\r\n..two\r\n.\r\n"),
        ] {
            for cut in 0..file.len() {
                let (head, tail) = file.split_at(cut);
                assert_eq!(encode(Encoder::top(lines), &[head, tail]).0, wire, "{lines} cut {cut}");
            }
        }
        assert_eq!(encode(Encoder::top(u64::MAX), &[file]), encode(Encoder::whole(), &[file]));
    }

    /// Bytes with many CRs, LFs and dots.
    fn awkward() -> impl Strategy<Value = Vec<u8>> {
        let octet = prop_oneof![
            3 => Just(b'\n'), 3 => Just(b'\r'), 3 => Just(b'.'), 1 => Just(0), 1 => any::<u8>(),
        ];
        prop::collection::vec(octet, 0..80)
    }

    proptest! {
        #[test]
        fn decoding_does_not_depend_on_the_pieces(wire in awkward(), cuts in prop::collection::vec(0usize..80, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(wire.len())).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &wire[ends[0]..ends[1]]).collect();
            for mode in MODES {
                let (whole, cut) = (decode(mode, &[&wire]), decode(mode, &pieces));
                prop_assert_eq!(whole.stored, cut.stored);
                prop_assert_eq!((whole.used, whole.ended, whole.bare), (cut.used, cut.ended, cut.bare));
            }
        }

        #[test]
        fn encoding_does_not_depend_on_the_pieces(file in awkward(), cut in 0usize..80, lines in 0u64..5) {
            let (head, tail) = file.split_at(cut.min(file.len()));
            prop_assert_eq!(encode(Encoder::whole(), &[&file]), encode(Encoder::whole(), &[head, tail]));
            prop_assert_eq!(encode(Encoder::top(lines), &[&file]), encode(Encoder::top(lines), &[head, tail]));
        }

        #[test]
        fn the_octets_announced_are_the_octets_sent(file in awkward()) {
            let (wire, counted) = encode(Encoder::whole(), &[&file]);
            prop_assert_eq!(counted, wire_size(&file));
            let stuffed = wire.split_inclusive(|b| *b == b'\n').filter(|line| line.starts_with(b".")).count() as u64;
            prop_assert_eq!(wire.len() as u64 - stuffed - 2, counted);
        }

        #[test]
        fn what_was_encoded_decodes_to_itself(file in awkward()) {
            let mut file: Vec<u8> = file.into_iter().filter(|b| *b != b'\r').collect();
            if file.last().is_some_and(|b| *b != b'\n') {
                file.push(b'\n');
            }
            let (wire, _) = encode(Encoder::whole(), &[&file]);
            for mode in MODES {
                let got = decode(mode, &[&wire]);
                prop_assert_eq!(&got.stored, &file);
                prop_assert!(got.ended && !got.bare && got.used == wire.len());
            }
        }
    }
}
