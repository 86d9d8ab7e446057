//! The skeleton of a message for IMAP: ranges meet, nest and grow, sizes match a count of the octets, and every
//! structure that is written has the grammar of IMAP.

use restante::{
    mime::{
        Message, MimeLimits, Skeleton,
        envelope::Envelope,
        skeleton::{Kind, Span},
        structure::header_end,
    },
    proto::imap::response::{envelope, structure, writer::untagged},
    wire_size::wire_size,
};

use super::owned;
use crate::{Target, bytes::Bytes};

/// This target.
pub const TARGET: Target = Target { name: "skeleton", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    owned([
        &b"\x00Subject: a\nContent-Type: multipart/mixed; boundary=b\n\nnotice\n--b\n\none\r\n--b\nContent-Type: message/rfc822\n\n\
           From: g: \"x \\\" y\" <@r:u@v>;\n\n--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nYQ==\n--b--\nend"[..],
        b"\x01Content-Type: multipart/digest; boundary=b; x=\"\xff\"\n\n--b\n\n--b\nContent-Language: ,en\n\ny\n--b--",
        b"\x02Content-Type: multipart/mixed; boundary=b\n--b\nno field\nContent-Type: message/rfc822\n\n--b\r\n\r\n--b--",
        b"\x00Content-Type: multipart/mixed\n\n--b--\n",
        b"\x00To: a, <>, (c\nSubject: \0\n\r\n\r",
    ])
}

fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let limits = match input.octet() % 3 {
        0 => MimeLimits::default(),
        1 => MimeLimits { parts: 4, depth: 3, header: 60 },
        _ => MimeLimits { parts: 0, depth: 0, header: 0 },
    };
    let data = input.0;
    let message = Message::parse(data, &limits);
    let skeleton = Skeleton::of(&message, None);
    ranges(data, &skeleton);
    let root = &message.parts()[0];
    assert_eq!(header_end(data, true), Some((root.header.end, root.body.start)));
    if let Some(found) = header_end(&data[..data.len() / 2], false) {
        assert_eq!(found, (root.header.end, root.body.start));
    }
    for extended in [false, true] {
        let mut out = Vec::new();
        untagged(&mut out, |line| structure::write(line, &message, &skeleton, extended));
        well_formed(&out);
    }
    let mut out = Vec::new();
    untagged(&mut out, |line| envelope::write(line, &Envelope::of(message.header())));
    well_formed(&out);
}

fn ranges(data: &[u8], skeleton: &Skeleton) {
    let root = skeleton.root();
    assert_eq!((root.header.file.start, root.body.file.end), (0, data.len() as u64));
    assert_eq!((root.header.wire.start, root.body.wire.end), (0, wire_size(data)));
    for (index, part) in skeleton.parts().iter().enumerate() {
        assert_eq!((part.header.file.end, part.header.wire.end), (part.body.file.start, part.body.wire.start), "{part:?}");
        [&part.header, &part.body].into_iter().for_each(|span| size(data, span));
        let inside = |child: usize| {
            assert!(child > index, "{child} in {index}");
            let child = &skeleton.parts()[child];
            assert!(part.body.file.start <= child.header.file.start && child.body.file.end <= part.body.file.end, "{child:?}");
            child
        };
        match &part.kind {
            Kind::Multipart(children) => {
                assert!(!children.is_empty());
                let mut end = part.body.file.start;
                for child in children.iter().map(|child| inside(*child)) {
                    assert!(end <= child.header.file.start, "{child:?}");
                    end = child.body.file.end;
                }
            }
            Kind::Message(child) => {
                let child = inside(*child);
                assert_eq!((child.header.wire.start, child.body.wire.end), (part.body.wire.start, part.body.wire.end));
            }
            Kind::Leaf | Kind::Octets => {}
        }
    }
}

/// The octets on the wire are those of the file, one more for each bare line feed, and two for a last line without an end.
fn size(data: &[u8], span: &Span) {
    let (start, end) = (span.file.start as usize, span.file.end as usize);
    let is_bare = |at: &usize| data[*at] == b'\n' && (*at == 0 || data[at - 1] != b'\r');
    let bare = (start..end).filter(is_bare).count();
    let missing = if start < end && end == data.len() && data[end - 1] != b'\n' { 2 } else { 0 };
    assert_eq!(span.octets(), (end - start + bare + missing) as u64, "{span:?}");
}

/// One line with parentheses that match, one blank between items, strings that end, and literals of the announced length.
fn well_formed(line: &[u8]) {
    let mut rest = line.strip_prefix(b"* ").expect("an untagged response");
    let mut depth = 0;
    loop {
        match rest[0] {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'"' => {
                rest = &rest[1..];
                while rest[0] != b'"' {
                    rest = &rest[usize::from(rest[0] == b'\\')..];
                    assert!(rest[0].is_ascii() && !matches!(rest[0], b'\r' | b'\n' | 0));
                    rest = &rest[1..];
                }
            }
            b'{' => {
                let end = rest.iter().position(|b| *b == b'}').expect("an announcement");
                let length: usize = std::str::from_utf8(&rest[1..end]).unwrap().parse().expect("a length");
                let literal = rest[end + 1..].strip_prefix(b"\r\n").expect("the end of an announcement");
                assert!(!literal[..length].contains(&0));
                rest = &literal[length - usize::from(length > 0)..];
                if length == 0 {
                    assert!(depth > 0 && matches!(rest[0], b' ' | b')'));
                    continue;
                }
            }
            b' ' => assert!(!matches!(rest[1], b' ' | b')' | b'\r')),
            b'\r' => break,
            octet => assert!(octet.is_ascii_digit() || b"NIL".contains(&octet), "{octet}"),
        }
        assert!(depth > 0 || rest[0] == b')', "outside of parentheses");
        rest = &rest[1..];
    }
    assert_eq!((depth, rest), (0, &b"\r\n"[..]));
}
