//! The skeleton on small messages, and against a count of each range.

use proptest::prelude::*;

use super::*;
use crate::{mime::MimeLimits, wire_size::wire_size};

/// The skeleton of a message, after a check of all that must hold of one.
pub(crate) fn skeleton(bytes: &[u8]) -> Skeleton {
    let skeleton = Skeleton::of(&Message::parse(bytes, &MimeLimits::default()), None);
    check(bytes, &skeleton);
    skeleton
}

/// Ranges meet, nest and grow, on both sides, and have the sizes that a count of the octets finds.
fn check(bytes: &[u8], skeleton: &Skeleton) {
    let wire = wire(bytes);
    let root = skeleton.root();
    assert_eq!((root.header.file.start, root.body.file.end), (0, bytes.len() as u64));
    assert_eq!((root.header.wire.start, root.body.wire.end), (0, wire_size(bytes)));
    assert_eq!(wire.len() as u64, wire_size(bytes));
    for (index, part) in skeleton.parts().iter().enumerate() {
        assert_eq!(part.header.file.end, part.body.file.start, "{part:?}");
        assert_eq!(part.header.wire.end, part.body.wire.start, "{part:?}");
        for span in [&part.header, &part.body] {
            let file = span.file.start as usize..span.file.end as usize;
            let on_wire = &wire[span.wire.start as usize..span.wire.end as usize];
            let mut expected = to_wire(&bytes[file.clone()]);
            if file.end == bytes.len() && !file.is_empty() && !bytes.ends_with(b"\n") {
                expected.extend_from_slice(b"\r\n");
            }
            assert_eq!(on_wire, expected, "{part:?}");
        }
        let body = &wire[part.body.wire.start as usize..part.body.wire.end as usize];
        assert_eq!(part.lines, body.iter().filter(|b| **b == b'\n').count() as u64, "{part:?}");
        let inside = |child: usize| {
            assert!(child > index, "{child} in {index}");
            let child = &skeleton.parts()[child];
            assert!(part.body.file.start <= child.header.file.start, "{child:?} in {part:?}");
            assert!(child.body.file.end <= part.body.file.end, "{child:?} in {part:?}");
            child
        };
        match &part.kind {
            Kind::Multipart(children) => {
                assert!(!children.is_empty(), "{part:?}");
                let children: Vec<_> = children.iter().map(|child| inside(*child)).collect();
                for pair in children.windows(2) {
                    assert!(pair[0].body.file.end <= pair[1].header.file.start, "{pair:?}");
                }
            }
            Kind::Message(child) => {
                let child = inside(*child);
                let both = (child.header.wire.start, child.body.wire.end);
                assert_eq!(both, (part.body.wire.start, part.body.wire.end), "{part:?}");
            }
            Kind::Leaf | Kind::Octets => {}
        }
    }
}

/// Each bare LF as CRLF.
fn to_wire(bytes: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (at, octet) in bytes.iter().enumerate() {
        if *octet == b'\n' && (at == 0 || bytes[at - 1] != b'\r') {
            wire.push(b'\r');
        }
        wire.push(*octet);
    }
    wire
}

/// A whole message on the wire.
fn wire(bytes: &[u8]) -> Vec<u8> {
    let mut wire = to_wire(bytes);
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

fn text_at<'a>(bytes: &'a str, skeleton: &Skeleton, path: &[u32]) -> Option<&'a str> {
    let file = &skeleton.at(path)?.body.file;
    Some(&bytes[file.start as usize..file.end as usize])
}

const NESTED: &str = "Subject: a\nContent-Type: multipart/mixed; boundary=b\n\nnotice\n--b\n\none\n--b\n\
    Content-Type: message/rfc822\n\nSubject: inner\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\nin one\n--c\n\
    Content-Type: text/html\n\nin two\n--c--\n--b\nContent-Type: message/rfc822\n\nSubject: plain\n\ntext\n--b--\nend\n";

#[test]
fn parts_have_the_numbers_of_the_rfc() {
    let found = skeleton(NESTED.as_bytes());
    for (path, text) in [
        (&[1][..], Some("one")),
        (&[2, 1], Some("in one")),
        (&[2, 2], Some("in two")),
        (&[3, 1], Some("text")),
        (&[3], Some("Subject: plain\n\ntext")),
        (&[1, 1], None),
        (&[2, 3], None),
        (&[2, 1, 1], None),
        (&[3, 2], None),
        (&[3, 1, 1], None),
        (&[4], None),
        (&[0], None),
        (&[u32::MAX], None),
    ] {
        assert_eq!(text_at(NESTED, &found, path), text, "{path:?}");
    }
    assert!(found.message_at(&[2]).is_some() && found.message_at(&[3]).is_some());
    assert!(found.message_at(&[1]).is_none() && found.message_at(&[3, 1]).is_none());
    assert_eq!(found.message_at(&[]), Some(found.root()));
    let plain = "Subject: a\n\nbody\n";
    let found = skeleton(plain.as_bytes());
    assert_eq!(text_at(plain, &found, &[1]), Some("body\n"));
    assert_eq!((text_at(plain, &found, &[1, 1]), text_at(plain, &found, &[2])), (None, None));
    // The body of this one is a message.
    let wrapped = "Content-Type: message/rfc822\n\nSubject: x\n\ny\n";
    let found = skeleton(wrapped.as_bytes());
    assert_eq!(text_at(wrapped, &found, &[1]), Some("Subject: x\n\ny\n"));
    assert_eq!(text_at(wrapped, &found, &[1, 1]), Some("y\n"));
}

#[test]
fn y04_a_multipart_without_parts_has_one_and_a_part_without_a_body_an_empty_one() {
    for (message, parts) in [
        ("Content-Type: multipart/mixed; boundary=b\n\n", &[""][..]),
        ("Content-Type: multipart/mixed; boundary=b\n\nno boundary comes\n", &["no boundary comes\n"]),
        ("Content-Type: multipart/mixed; boundary=b\n\n--b--\n", &["--b--\n"]),
        ("Content-Type: multipart/mixed; boundary=b\n\n--b--\nafter\n", &["after\n"]),
        ("Content-Type: multipart/mixed; boundary=b", &[""]),
        ("Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\n--b\nX: y\n--b--", &["", "", ""]),
        ("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nnever closed", &["never closed"]),
        ("Content-Type: multipart/digest; boundary=b\n\n--b\n\n--b--\n", &[""]),
    ] {
        let found = skeleton(message.as_bytes());
        let Kind::Multipart(children) = &found.root().kind else { panic!("{message:?}") };
        let texts: Vec<_> =
            (1..=children.len()).filter_map(|at| text_at(message, &found, &[at as u32])).collect();
        assert_eq!(texts, parts, "{message:?}");
    }
    for encoded in ["message/rfc822\nContent-Transfer-Encoding: base64", "message/rfc822"] {
        let found = skeleton(format!("Content-Type: {encoded}\n\n").as_bytes());
        assert!(matches!(found.root().kind, Kind::Octets | Kind::Message(1)), "{encoded}");
    }
}

#[test]
fn y05_parts_and_levels_beyond_the_bounds_are_octets() {
    let mut deep = String::new();
    for level in 0..500 {
        deep += &format!("Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n");
    }
    let found = skeleton(deep.as_bytes());
    assert!(found.parts().len() <= 50 && found.parts().iter().any(|part| part.kind == Kind::Octets));
    let messages = skeleton("Content-Type: message/rfc822\n\n".repeat(500).as_bytes());
    assert!(messages.parts().len() <= 50);
    let wide = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(5000));
    assert!(skeleton(wide.as_bytes()).parts().len() <= MimeLimits::default().parts);
}

#[test]
fn octets_that_were_not_parsed_belong_to_the_parts_that_are_open() {
    let whole = NESTED.repeat(2);
    let (first, rest) = whole.split_at(NESTED.find("in two").unwrap() + 3);
    let message = Message::parse(first.as_bytes(), &MimeLimits::default());
    let before = WireSizeCounter::default();
    let mut counter = before;
    counter.feed(first.as_bytes());
    let octets = wire_size(whole.as_bytes()) - counter.so_far();
    let lines = rest.matches('\n').count() as u64;
    let tail = Tail { bytes: rest.len() as u64, octets, lines };
    let found = Skeleton::of(&message, Some(tail));
    let last = found.at(&[2, 2]).unwrap();
    assert_eq!(last.body.file.end, whole.len() as u64);
    assert_eq!(last.body.wire.end, wire_size(whole.as_bytes()));
    assert_eq!(last.lines, whole[last.body.file.start as usize..].matches('\n').count() as u64);
    assert_eq!(text_at(&whole, &found, &[1]), Some("one"));
    assert_eq!(found.root().body.wire.end, wire_size(whole.as_bytes()));
}

/// Pieces of which messages that are hard to read are made.
const PIECES: [&str; 18] = [
    "Content-Type: multipart/mixed; boundary=b\n",
    "Content-Type: multipart/digest; boundary=\"b\"\r\n",
    "Content-Type: message/rfc822\n",
    "Content-Type: text/plain\n",
    "Content-Transfer-Encoding: base64\n",
    "Subject: x\n",
    "no field\n",
    " folded\n",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "--b\n",
    "--b\r\n",
    "--b--\n",
    "--b-- \n",
    "text\n",
    "last",
];

proptest! {
    #[test]
    fn ranges_nest_and_sizes_are_those_of_a_count(pieces in proptest::collection::vec(0..PIECES.len(), 0..40)) {
        let message: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        skeleton(message.as_bytes());
    }

    #[test]
    fn any_octets_have_a_skeleton(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        skeleton(&bytes);
    }

    #[test]
    fn the_end_of_a_header_depends_on_no_cut(pieces in proptest::collection::vec(0..PIECES.len(), 0..12)) {
        let message: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        let root = &Message::parse(message.as_bytes(), &MimeLimits::default()).parts()[0].clone();
        for end in 0..=message.len() {
            let found = crate::mime::structure::header_end(&message.as_bytes()[..end], end == message.len());
            prop_assert!(found.is_none() || found == Some((root.header.end, root.body.start)));
            prop_assert!(found.is_some() || end < message.len());
        }
    }
}
