//! Message data on the wire. The end is where the RFC has it and nowhere else, however the data is split; encoded data
//! decodes to the original; and a more lenient reader sees no other end.

use restante::{wire_size::wire_size, proto::dot::{Decoder, Encoder, LineEndings}};

use super::owned;
use crate::{Target, bytes::Bytes};

/// This target.
pub const TARGET: Target = Target { name: "dot", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    owned([
        &b"\x00\x03text\r\n.\r\nQUIT\r\n"[..],
        b"\x01\x01..two\r\n.\rx\r\n\n.\r\n.\n.\r\n",
        b"\x02\x02\n.\n",
        b"\x00\x05a: b\n\n.\nlast\r",
        b"\x01\x05\r\r\n.\r\n",
    ])
}

fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let endings = input.choose(&[LineEndings::Strict, LineEndings::Normalise, LineEndings::Lenient]);
    let size = usize::from(input.octet()).max(1);
    decode(endings, input.0, size);
    encode(input.0, size);
}

fn decode(endings: LineEndings, wire: &[u8], size: usize) {
    let whole = decoded(endings, wire, wire.len().max(1));
    assert_eq!(whole, decoded(endings, wire, size), "it depends on the pieces");
    let end = end(endings, wire);
    assert_eq!((whole.ended, whole.read), (end.is_some(), end.unwrap_or(wire.len())), "another end");
    assert!(whole.stored.len() <= whole.read);
    assert!(!(endings == LineEndings::Lenient && whole.bare), "lenient, and refused");
    if whole.ended && !whole.bare && endings != LineEndings::Lenient {
        let again = encoded(&whole.stored, size);
        let read = decoded(LineEndings::Lenient, &again.wire, size);
        assert_eq!((read.ended, read.read), (true, again.wire.len()), "two readers see two ends");
    }
}

/// Offset after the end of a message, by the words of RFC 5321 section 4.1.1.4 and of [`LineEndings`].
fn end(endings: LineEndings, wire: &[u8]) -> Option<usize> {
    let lenient = endings == LineEndings::Lenient;
    (0..wire.len()).find_map(|at| {
        let (before, from) = wire.split_at(at);
        let begins_line =
            before.is_empty() || before.ends_with(b"\r\n") || (lenient && before.ends_with(b"\n"));
        match from {
            _ if !begins_line => None,
            [b'.', b'\r', b'\n', ..] => Some(at + 3),
            [b'.', b'\n', ..] if lenient => Some(at + 2),
            _ => None,
        }
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    stored: Vec<u8>,
    read: usize,
    ended: bool,
    bare: bool,
}

fn decoded(endings: LineEndings, wire: &[u8], size: usize) -> Decoded {
    let (mut decoder, mut stored, mut read) = (Decoder::new(endings), Vec::new(), 0);
    for piece in wire.chunks(size) {
        read += decoder.decode(piece, &mut stored);
    }
    Decoded { stored, read, ended: decoder.ended(), bare: decoder.saw_bare_line_end() }
}

#[derive(Debug, PartialEq, Eq)]
struct Encoded {
    wire: Vec<u8>,
    octets: u64,
}

fn encode(message: &[u8], size: usize) {
    let whole = encoded(message, message.len().max(1));
    assert_eq!(whole, encoded(message, size), "it depends on the pieces");
    assert_eq!(whole.octets, wire_size(message), "RETR announces another size");
    let read = decoded(LineEndings::Strict, &whole.wire, size);
    assert_eq!((read.ended, read.read), (true, whole.wire.len()), "it ends somewhere else");
    assert_eq!(read.stored, with_lf(message));
    top(message, size, &whole.wire);
}

/// TOP with more lines than there are is RETR, and with fewer the beginning of it.
fn top(message: &[u8], size: usize, whole: &[u8]) {
    for lines in [0, 1, u64::MAX] {
        let (mut encoder, mut wire) = (Encoder::top(lines), Vec::new());
        message.chunks(size).for_each(|piece| encoder.encode(piece, &mut wire));
        encoder.finish_message(&mut wire);
        if lines == u64::MAX {
            assert_eq!(wire, whole);
        }
        let text = wire.strip_suffix(b".\r\n").expect("a final dot");
        assert!(whole.starts_with(text), "TOP shows what RETR does not");
    }
}

fn encoded(message: &[u8], size: usize) -> Encoded {
    let (mut encoder, mut wire) = (Encoder::whole(), Vec::new());
    message.chunks(size).for_each(|piece| encoder.encode(piece, &mut wire));
    let octets = encoder.finish_message(&mut wire);
    Encoded { wire, octets }
}

/// The message with LF line ends, and one at its end. A CRLF after a bare CR stays, because `CR LF` in a file is one line end.
fn with_lf(message: &[u8]) -> Vec<u8> {
    let mut stored = Vec::new();
    let mut before = None;
    for (at, octet) in message.iter().copied().enumerate() {
        let is_of_line_end = octet == b'\r' && message.get(at + 1) == Some(&b'\n');
        if !is_of_line_end || before == Some(b'\r') {
            stored.push(octet);
        }
        before = Some(octet);
    }
    match stored.last() {
        None | Some(b'\n') => {}
        Some(b'\r') => stored.extend_from_slice(b"\r\n"),
        Some(_) => stored.push(b'\n'),
    }
    stored
}
