//! Messages on a disk: their sections, and any range of them on the wire.

use std::{fs, sync::Arc};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    index::{FolderSnapshot, sequence::Sequence},
    maildir::{FileVersion, Scan, Spool, Subdir},
    proto::imap::{
        flags::Flags,
        request::{FolderState, MessageState},
    },
};

/// A folder with messages whose UIDs are 10, 20, 30 and so on.
pub(in crate::workers) struct TestFolder {
    home: TempDir,
    pub(in crate::workers) maildir: Maildir,
    pub(in crate::workers) sequence: Sequence,
}

impl TestFolder {
    pub(in crate::workers) fn new(messages: &[&[u8]]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::open(&home.path().join("spool")).unwrap();
        let maildir = spool.open_or_create_maildir("bob@example.test").unwrap();
        let mut entries = Vec::new();
        let mut states = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            let name = format!("{}.M{at}P1.host:2,S", 1_700_000_000 + at);
            let path = maildir.path().join("cur").join(&name);
            fs::write(&path, message).unwrap();
            let version = FileVersion::of(&rustix::fs::stat(&path).unwrap());
            let name = name.into_bytes().into();
            entries.push(MessageEntry { name, subdir: Subdir::Cur, version, octets: wire_size(message) });
            let uid = u32::try_from(at + 1).unwrap() * 10;
            states.push(MessageState { uid, flags: Flags::SEEN, modseq: u64::from(uid) + 1 });
        }
        let positions = (0..u32::try_from(entries.len()).unwrap()).collect();
        let state = FolderState {
            uid_validity: 7,
            uid_next: 1000,
            highest_modseq: 1000,
            keywords: vec!["Later".into()],
            has_keyword_room: true,
            messages: states,
            first_unseen: 0,
            recent: Default::default(),
        };
        let scan = Scan { messages: entries, ..Scan::default() };
        let snapshot = Arc::new(FolderSnapshot::of_scan(scan));
        Self { home, maildir, sequence: Sequence::new(Arc::new(state), snapshot, positions) }
    }

    /// The file of a message.
    pub(in crate::workers) fn path(&self, uid: u32) -> std::path::PathBuf {
        let (_, entry) = self.sequence.message(uid).unwrap();
        assert!(self.home.path().exists());
        self.maildir.path().join("cur").join(std::str::from_utf8(&entry.name).unwrap())
    }

    fn message(&self) -> ImapMessage<'_> {
        ImapMessage::new(&self.maildir, self.sequence.message(10).unwrap().1)
    }
}

/// Octets of a span on the wire, after others.
fn wire(message: &mut ImapMessage<'_>, span: &Span, skipped: u64, count: u64) -> Vec<u8> {
    let mut out = b"before".to_vec();
    message.read_wire(span, (skipped, count), &mut out).unwrap();
    out.strip_prefix(b"before").unwrap().to_vec()
}

/// The octets of a section on the wire. `None`: there is no such section.
fn section(message: &[u8], path: &[u32], text: SectionText) -> Option<String> {
    let folder = TestFolder::new(&[message]);
    let mut message = folder.message();
    let octets = match message.section(&Section { path: path.to_vec(), text }).unwrap() {
        SectionOctets::None => return None,
        SectionOctets::Octets(octets) => octets,
        SectionOctets::Span(span) => wire(&mut message, &span, 0, span.octets()),
    };
    Some(String::from_utf8(octets).unwrap())
}

const FORWARDED: &[u8] = b"Subject: outer\nTo: a@b.test,\n c@d.test\nX: y\nContent-Type: multipart/mixed; boundary=b\n\n\
    --b\nContent-Type: text/plain\n\none\n\n--b\nContent-Type: message/rfc822\n\nSubject: inner\nFrom: e@f.test\n\nbody\n--b--";

#[test]
fn sections_are_those_of_the_rfc_in_octets_of_the_wire() {
    use SectionText::{Fields, Header, Mime, Text, Whole};
    let fields = |names: &[&str], is_except| Fields {
        names: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
        is_except,
    };
    let whole = String::from_utf8(FORWARDED.to_vec()).unwrap().replace('\n', "\r\n") + "\r\n";
    let (header, body) = whole.split_at(whole.find("\r\n\r\n").unwrap() + 4);
    for (path, text, expected) in [
        (&[][..], Whole, Some(whole.as_str())),
        (&[], Header, Some(header)),
        (&[], Text, Some(body)),
        (&[], fields(&["to", "SUBJECT"], false), {
            Some("Subject: outer\r\nTo: a@b.test,\r\n c@d.test\r\n\r\n")
        }),
        (&[], fields(&["to", "subject", "content-type"], true), Some("X: y\r\n\r\n")),
        (&[], fields(&["cc"], false), Some("\r\n")),
        (&[1], Whole, Some("one\r\n")),
        (&[1], Mime, Some("Content-Type: text/plain\r\n\r\n")),
        (&[1], Header, None),
        (&[1], fields(&["to"], false), None),
        (&[2], Whole, Some("Subject: inner\r\nFrom: e@f.test\r\n\r\nbody")),
        (&[2], Mime, Some("Content-Type: message/rfc822\r\n\r\n")),
        (&[2], Header, Some("Subject: inner\r\nFrom: e@f.test\r\n\r\n")),
        (&[2], fields(&["from"], false), Some("From: e@f.test\r\n\r\n")),
        (&[2], Text, Some("body")),
        (&[2, 1], Whole, Some("body")),
        (&[2, 1], Mime, Some("Subject: inner\r\nFrom: e@f.test\r\n\r\n")),
        (&[3], Whole, None),
    ] {
        assert_eq!(section(FORWARDED, path, text.clone()).as_deref(), expected, "{path:?} {text:?}");
    }
}

#[test]
fn y07_a_message_without_a_line_end_or_a_body_has_sections_that_add_up() {
    for message in
        ["", "\n", "Subject: x", "Subject: x\n", "Subject: x\n\n", "Subject: x\r\n\r\ny", "a\n\nb\r"]
    {
        let part = |text| section(message.as_bytes(), &[], text).unwrap();
        let whole = part(SectionText::Whole);
        assert_eq!(whole.len() as u64, wire_size(message.as_bytes()), "{message:?}");
        assert_eq!(part(SectionText::Header) + &part(SectionText::Text), whole, "{message:?}");
    }
}

#[test]
fn y08_a_large_message_is_read_in_chunks_from_where_the_last_one_ended() {
    let text: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
    let message = format!("Subject: x\n\n{text}");
    let folder = TestFolder::new(&[message.as_bytes()]);
    let expected = message.replace('\n', "\r\n").into_bytes();
    let (mut fetched, mut read) = (Vec::new(), 0);
    while fetched.len() < expected.len() {
        // Each chunk is a command of its own.
        let mut message = folder.message();
        let SectionOctets::Span(span) = message.section(&Section::default()).unwrap() else { panic!() };
        let count = span.octets().min(fetched.len() as u64 + 10_001) - fetched.len() as u64;
        fetched.extend(wire(&mut message, &span, fetched.len() as u64, count));
        read += message.octets_read();
    }
    assert!(fetched == expected);
    let chunks = (expected.len() / 10_001 + 1) as u64;
    let most = chunks * (FIRST_READ + 3 * CHUNK) as u64;
    assert!(read <= most, "{read} octets for {chunks} chunks");
}

#[test]
fn y111_listed_fields_are_the_same_from_the_file_and_from_memory() {
    let messages: Vec<Vec<u8>> = super::corpus::corpus().into_iter().map(|(_, message)| message).collect();
    let folder = TestFolder::new(&messages.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let names = [b"from".to_vec(), b"Subject".to_vec(), b"Content-Type".to_vec(), b"References".to_vec()];
    let section =
        Section { path: Vec::new(), text: SectionText::Fields { names: names.to_vec(), is_except: false } };
    for at in 1..=u32::try_from(messages.len()).unwrap() {
        let (_, entry) = folder.sequence.message(at * 10).unwrap();
        let message = || ImapMessage::new(&folder.maildir, entry);
        let mut reader = message();
        let header = reader.header().unwrap();
        let envelope = Envelope::of(header);
        let header: Vec<u8> = header.raw_fields().flat_map(|field| field.lines.to_vec()).collect();
        let expected = SectionOctets::Octets(chosen_fields(&header, &names, false));
        assert_eq!(message().section(&section).unwrap(), expected, "{at}");
        // The file is not opened again.
        std::fs::remove_file(folder.path(at * 10)).unwrap();
        let mut known = message();
        assert_eq!(known.section(&section).unwrap(), expected, "{at}");
        assert_eq!(known.envelope().unwrap(), envelope, "{at}");
        assert_eq!(known.octets_read(), 0);
    }
}

#[test]
fn y111_another_message_under_the_same_name_is_read_from_its_file() {
    let folder = TestFolder::new(&[b"Subject: a\n\nx\n", b"Subject: b\nTo: c\n\n"]);
    let (_, first) = folder.sequence.message(10).unwrap();
    let subject = |entry: &MessageEntry| ImapMessage::new(&folder.maildir, entry).envelope().unwrap().subject;
    assert_eq!(subject(first), Some(b"a".to_vec()));
    std::fs::rename(folder.path(20), folder.path(10)).unwrap();
    let version = FileVersion::of(&rustix::fs::stat(folder.path(10)).unwrap());
    assert_eq!(subject(&MessageEntry { version, ..first.clone() }), Some(b"b".to_vec()));
}

#[test]
fn a_structure_is_rendered_once() {
    let folder = TestFolder::new(&[FORWARDED]);
    let rendered = |text: &'static str| {
        folder.message().rendered_structure(true, |items, _, _| {
            items.atom(text);
        })
    };
    let first = rendered("first").unwrap();
    assert_eq!(rendered("second").unwrap(), first);
}

#[test]
fn a_header_is_read_and_not_the_text() {
    let message = format!("Subject: x\n\n{}", "text\n".repeat(100_000));
    let folder = TestFolder::new(&[message.as_bytes()]);
    let mut message = folder.message();
    assert_eq!(message.header().unwrap().raw("Subject").as_deref(), Some(&b"x"[..]));
    assert_eq!(message.octets_read(), FIRST_READ as u64);
}

#[test]
fn a_header_may_be_longer_than_the_first_read() {
    let long = format!("Subject: x\n{}Last: y\n\nbody\n", "X-Field: value\n".repeat(5000));
    let fields = SectionText::Fields { names: vec![b"last".to_vec()], is_except: false };
    assert_eq!(section(long.as_bytes(), &[], fields).as_deref(), Some("Last: y\r\n\r\n"));
    assert_eq!(section(long.as_bytes(), &[1], SectionText::Whole).as_deref(), Some("body\r\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_range_is_that_of_the_whole_message(
        lines in proptest::collection::vec("[a-c]{0,9}(\n|\r\n|\r|\n\n)", 0..40),
        first in 0_u64..300, count in 0_u64..300, is_large in any::<bool>(),
    ) {
        let mut message = lines.concat();
        if is_large {
            message = message.repeat(1 + 40_000 / (message.len() + 1));
        }
        let folder = TestFolder::new(&[message.as_bytes()]);
        let mut reader = folder.message();
        let SectionOctets::Span(span) = reader.section(&Section::default()).unwrap() else { panic!() };
        let whole = wire(&mut reader, &span, 0, span.octets());
        prop_assert_eq!(whole.len() as u64, wire_size(message.as_bytes()));
        let first = first * if is_large { 150 } else { 1 } % (span.octets() + 1);
        let count = count.min(span.octets() - first);
        let part = wire(&mut reader, &span, first, count);
        let range = usize::try_from(first).unwrap()..usize::try_from(first + count).unwrap();
        prop_assert_eq!(part, &whole[range]);
    }
}
