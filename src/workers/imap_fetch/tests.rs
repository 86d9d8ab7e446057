//! Responses to FETCH, whole and in pieces.

use std::{fs, path::Path, sync::Arc};

use imap_codec::{ResponseCodec, decode::Decoder};

use super::*;
use crate::{
    proto::imap::{
        fetch_item::{BodyName, Section},
        flags::Flags,
        request::FolderState,
        response::structure::tests::PIECES,
        sequence_set::NumberSet,
    },
    workers::imap_message::{corpus::corpus, tests::TestFolder},
};

fn uids(uids: &[u32]) -> NumberSet {
    let mut set = NumberSet::default();
    uids.iter().for_each(|uid| set.push(*uid));
    set
}

fn request(folder: &TestFolder, wanted: &[u32], items: &[FetchItem]) -> Fetch {
    let state = Arc::clone(&folder.sequence.state);
    let (uids, recent) = (Arc::new(uids(wanted)), Arc::new(uids(&[20])));
    Fetch { state, uids, items: items.into(), recent, position: FetchPosition::default() }
}

/// All pieces, and whether a message was gone. `between` runs after each piece but the last. No file stays open.
fn fetch(
    folder: &TestFolder,
    request: Fetch,
    max: usize,
    between: impl FnMut(&FetchedPiece),
) -> Result<(Vec<Vec<u8>>, bool), Failure> {
    fetch_with(folder, request, max, &PieceFiles::default(), between)
}

/// The same with places for files.
fn fetch_with(
    folder: &TestFolder,
    mut request: Fetch,
    max: usize,
    files: &PieceFiles,
    mut between: impl FnMut(&FetchedPiece),
) -> Result<(Vec<Vec<u8>>, bool), Failure> {
    let (mut pieces, mut has_gone, mut unfinished) = (Vec::new(), false, None);
    loop {
        let (piece, next) =
            fetch_piece(&folder.maildir, &folder.sequence, &request, max, (unfinished, files))?;
        unfinished = next;
        has_gone |= piece.has_gone;
        if piece.next.is_some() {
            between(&piece);
        }
        pieces.push(piece.octets);
        match piece.next {
            Some(next) => {
                assert_ne!(next, request.position, "it goes on");
                request.position = next;
            }
            None => return Ok((pieces, has_gone)),
        }
    }
}

fn whole(folder: &TestFolder, wanted: &[u32], items: &[FetchItem]) -> String {
    let (pieces, has_gone) = fetch(folder, request(folder, wanted, items), 1 << 18, |_| {}).unwrap();
    assert!(!has_gone);
    String::from_utf8(pieces.concat()).unwrap()
}

/// One piece, whose file does not stay open.
fn piece_of(folder: &TestFolder, request: &Fetch, max: usize) -> Result<FetchedPiece, Failure> {
    let files = (None, &PieceFiles::default());
    Ok(fetch_piece(&folder.maildir, &folder.sequence, request, max, files)?.0)
}

/// Octets of the messages that the client has whole after it.
fn read_whole(folder: &TestFolder, max: usize, items: &[FetchItem]) -> Vec<u64> {
    let mut read = Vec::new();
    let mut request = request(folder, &[10, 20], items);
    loop {
        let piece = piece_of(folder, &request, max).unwrap();
        read.extend(piece.whole);
        let Some(next) = piece.next else { return read };
        request.position = next;
    }
}

#[test]
fn a_message_is_read_once_its_last_octet_is_sent() {
    let long = [b"Subject: a\n\n".as_slice(), &[b'x'; 20_000]].concat();
    let folder = TestFolder::new(&[&long, b""]);
    let octets = long.len() as u64 + 4;
    assert_eq!(folder.sequence.message(10).unwrap().1.octets, octets);
    let all = body(SectionText::Whole, None);
    for max in [1, 5000, 1 << 18] {
        assert_eq!(read_whole(&folder, max, &[all.clone(), FetchItem::Flags, all.clone()]), [octets, 0]);
        assert_eq!(read_whole(&folder, max, &[body(SectionText::Whole, Some((10_000, 20_000)))]), [octets]);
    }
    let others = [
        FetchItem::Envelope,
        body(SectionText::Header, None),
        body(SectionText::Text, None),
        body(SectionText::Whole, Some((0, 20_000))),
        body(SectionText::Whole, Some((30_000, 10))),
    ];
    assert!(read_whole(&folder, 1 << 18, &others).is_empty());
}

fn body(text: SectionText, partial: Option<(u32, u32)>) -> FetchItem {
    let section = Section { path: Vec::new(), text };
    FetchItem::Body(Body { section, partial, marks_seen: false, name: BodyName::Body })
}

#[test]
fn messages_have_their_numbers_and_items_their_order() {
    let folder = TestFolder::new(&[b"Subject: a\n\nx\n", b"Subject: b\n\ny\n", b"Subject: c\n\nz"]);
    assert_eq!(
        whole(&folder, &[10, 30], &[FetchItem::Uid, FetchItem::Flags, FetchItem::Size, FetchItem::ModSeq]),
        "* 1 FETCH (UID 10 FLAGS (\\Seen) RFC822.SIZE 17 MODSEQ (11))\r\n\
         * 3 FETCH (UID 30 FLAGS (\\Seen) RFC822.SIZE 17 MODSEQ (31))\r\n"
    );
    assert_eq!(
        whole(
            &folder,
            &[20],
            &[
                body(SectionText::Whole, None),
                FetchItem::Structure { extended: false },
                FetchItem::Envelope,
                body(SectionText::Text, Some((1, 9))),
                body(SectionText::Text, Some((7, 9))),
            ]
        ),
        "* 2 FETCH (BODY[] {17}\r\nSubject: b\r\n\r\ny\r\n \
         BODY (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 1) \
         ENVELOPE (NIL \"b\" NIL NIL NIL NIL NIL NIL NIL NIL) BODY[TEXT]<1> {2}\r\n\r\n BODY[TEXT]<7> {0}\r\n)\r\n"
    );
    let date = whole(&folder, &[10], &[FetchItem::InternalDate]);
    assert!(date.contains(" FETCH (INTERNALDATE \"") && date.ends_with(" +0000\")\r\n"), "{date}");
}

#[test]
fn facts_of_the_index_open_no_file() {
    let folder = TestFolder::new(&[b"a\n\n"]);
    fs::remove_file(folder.path(10)).unwrap();
    let facts =
        [FetchItem::Flags, FetchItem::Uid, FetchItem::Size, FetchItem::InternalDate, FetchItem::ModSeq];
    assert!(whole(&folder, &[10], &facts).starts_with("* 1 FETCH (FLAGS"));
}

#[test]
fn y09_a_message_that_is_gone_is_left_out_and_the_others_are_served() {
    let folder = TestFolder::new(&[b"A: a\n\nx\n", b"A: b\n\ny\n", b"A: c\n\nz\n"]);
    fs::remove_file(folder.path(20)).unwrap();
    let items = [FetchItem::Uid, body(SectionText::Text, None)];
    let request = request(&folder, &[10, 20, 30], &items);
    let (pieces, has_gone) = fetch(&folder, request, 1 << 18, |_| {}).unwrap();
    assert!(has_gone);
    let text = String::from_utf8(pieces.concat()).unwrap();
    assert_eq!(
        text,
        "* 1 FETCH (UID 10 BODY[TEXT] {3}\r\nx\r\n)\r\n* 3 FETCH (UID 30 BODY[TEXT] {3}\r\nz\r\n)\r\n"
    );
}

#[test]
fn pieces_join_to_the_whole_response_whatever_their_size_is() {
    let large = format!("Subject: large\n\n{}", "0123456789\0\n".repeat(9000));
    let folder = TestFolder::new(&[b"a\n\nx\n", large.as_bytes(), b"c\n\nz\n"]);
    let items = [
        body(SectionText::Whole, None),
        FetchItem::Uid,
        body(SectionText::Text, Some((500, 70_000))),
        FetchItem::Flags,
    ];
    let request = || request(&folder, &[10, 20, 30], &items);
    let (one, _) = fetch(&folder, request(), usize::MAX, |_| {}).unwrap();
    assert_eq!(one.len(), 1);
    let text = String::from_utf8_lossy(&one[0]);
    assert!(
        text.contains("* 2 FETCH (BODY[] {117018}\r\n")
            && text.contains(" UID 20 BODY[TEXT]<500> {70000}\r\n")
    );
    assert!(text.contains(" FLAGS (\\Recent \\Seen))\r\n* 3 FETCH (BODY[] {"));
    for max in [1, 4096, 5000, 65_536] {
        let (pieces, _) = fetch(&folder, request(), max, |piece| {
            assert!(piece.octets.len() <= max + 2 * MIN_PART + 200, "{} of {max}", piece.octets.len());
        })
        .unwrap();
        assert!(pieces.len() > 2 && pieces.concat() == one[0], "{max}");
    }
}

#[test]
fn y13_a_client_that_asks_for_one_header_a_hundred_times_gets_it_in_pieces() {
    let header = format!("Subject: x\n{}\n", "X-Field: value\n".repeat(5000));
    let folder = TestFolder::new(&[header.as_bytes()]);
    let fields = SectionText::Fields { names: vec![b"none".to_vec()], is_except: true };
    let items = vec![body(fields, None); 100];
    let (pieces, _) = fetch(&folder, request(&folder, &[10], &items), 100_000, |piece| {
        assert!(piece.octets.len() < 200_000, "{}", piece.octets.len());
    })
    .unwrap();
    let all = pieces.concat();
    assert!(all.starts_with(b"* 1 FETCH (BODY[HEADER.FIELDS.NOT (none)] {80014}\r\nSubject: x\r\n"));
    assert!(all.ends_with(b"\r\n\r\n)\r\n") && all.len() > 8_000_000);
}

#[test]
fn y10_a_file_that_changes_within_a_literal_is_a_failure() {
    let large = format!("Subject: large\n\n{}", "0123456789\n".repeat(20_000));
    let items = [body(SectionText::Whole, None), FetchItem::Uid];
    let changes: [Change; 3] = [
        ("it is gone", |path| fs::remove_file(path).unwrap()),
        ("it is shorter", |path| fs::write(path, "Subject: large\n").unwrap()),
        ("another content", |path| {
            let text = fs::read_to_string(path).unwrap();
            fs::write(path, format!("{text}more\n")).unwrap();
        }),
    ];
    for (name, change) in changes {
        let folder = TestFolder::new(&[large.as_bytes(), b"b\n\n"]);
        let mut position = None;
        let result = fetch(&folder, request(&folder, &[10, 20], &items), 30_000, |piece| {
            if position.is_none() {
                position = piece.next;
                change(&folder.path(10));
            }
        });
        assert!(matches!(result, Err(Failure::Gone | Failure::Changed | Failure::Truncated)), "{name}");
        assert!(position.is_some_and(|position| position.is_within_message()), "{name}");
    }
}

#[test]
fn a_message_that_another_program_replaced_within_a_literal_is_a_failure() {
    let large = format!("Subject: large\n\n{}", "0123456789\n".repeat(20_000));
    let folder = TestFolder::new(&[large.as_bytes()]);
    let mut request = request(&folder, &[10], &[body(SectionText::Whole, None)]);
    let piece = piece_of(&folder, &request, 30_000).unwrap();
    request.position = piece.next.unwrap();
    // The store has listed another file under that UID meanwhile.
    let other = TestFolder::new(&[large.replace('0', "x").as_bytes()]);
    let result = piece_of(&other, &request, 30_000);
    assert_eq!(result, Err(Failure::Changed));
}

/// A program that changes the file of a message.
type Change = (&'static str, fn(&Path));

#[test]
fn y226_a_message_that_loses_its_name_within_its_response_is_sent_whole() {
    let large = format!("Subject: large\n\n{}", "0123456789\n".repeat(20_000));
    let items = [body(SectionText::Whole, None), FetchItem::InternalDate, body(SectionText::Text, None)];
    let changes: [Change; 3] = [
        ("it is removed", |path| fs::remove_file(path).unwrap()),
        ("it is renamed", |path| fs::rename(path, path.with_file_name("other")).unwrap()),
        ("it is replaced", |path| {
            fs::write(path.with_file_name("next"), "Subject: next\n\n").unwrap();
            fs::rename(path.with_file_name("next"), path).unwrap();
        }),
    ];
    for (name, change) in changes {
        let folder = TestFolder::new(&[large.as_bytes(), b"b\n\n"]);
        let (all, _) = fetch(&folder, request(&folder, &[10, 20], &items), 1 << 20, |_| {}).unwrap();
        let files = PieceFiles::new(1);
        let mut change = Some(change);
        let (pieces, has_gone) =
            fetch_with(&folder, request(&folder, &[10, 20], &items), 30_000, &files, |piece| {
                assert_eq!(files.taken(), usize::from(piece.next.unwrap().is_within_message()), "{name}");
                change.take().into_iter().for_each(|change| change(&folder.path(10)));
            })
            .unwrap();
        assert!(pieces.len() > 10 && pieces.concat() == all.concat() && !has_gone, "{name}");
        assert_eq!(files.taken(), 0, "{name}");
    }
}

#[test]
fn y226_a_message_that_another_session_removes_within_its_response_is_sent_whole() {
    let large = format!("Subject: large\n\n{}", "0123456789\n".repeat(20_000));
    let folder = TestFolder::new(&[large.as_bytes(), b"b\n\n"]);
    let items = [body(SectionText::Whole, None), FetchItem::Flags, FetchItem::Size];
    let (all, _) = fetch(&folder, request(&folder, &[10], &items), 1 << 20, |_| {}).unwrap();
    let (files, mut request) = (PieceFiles::new(1), request(&folder, &[10, 20], &items));
    let first = fetch_piece(&folder.maildir, &folder.sequence, &request, 30_000, (None, &files)).unwrap();
    fs::remove_file(folder.path(10)).unwrap();
    // Nothing is left in the folder.
    request.position = first.0.next.unwrap();
    let rest =
        fetch_piece(&folder.maildir, &Sequence::default(), &request, 1 << 20, (first.1, &files)).unwrap();
    assert!([first.0.octets, rest.0.octets].concat() == all.concat());
    assert!(rest.0.has_gone && rest.0.next.is_none() && files.taken() == 0);
}

#[test]
fn y226_a_file_that_is_written_to_while_it_is_open_is_a_failure() {
    let large = format!("Subject: large\n\n{}", "0123456789\n".repeat(20_000));
    let changes: [Change; 2] = [
        ("it is shorter", |path| fs::write(path, "Subject: large\n").unwrap()),
        ("it is longer", |path| {
            let text = fs::read_to_string(path).unwrap();
            fs::write(path, format!("{text}more\n")).unwrap();
        }),
    ];
    for (name, change) in changes {
        let (folder, files) = (TestFolder::new(&[large.as_bytes()]), PieceFiles::new(1));
        let request = request(&folder, &[10], &[body(SectionText::Whole, None)]);
        let result = fetch_with(&folder, request, 30_000, &files, |_| change(&folder.path(10)));
        assert_eq!(result, Err(Failure::Changed), "{name}");
        assert_eq!(files.taken(), 0, "{name}");
    }
}

#[test]
fn y227_files_beyond_the_places_for_them_are_opened_again() {
    let large = format!("Subject: large\n\n{}", "0123456789\n".repeat(20_000));
    let (folder, files) = (TestFolder::new(&[large.as_bytes()]), PieceFiles::new(1));
    let first = request(&folder, &[10], &[body(SectionText::Whole, None)]);
    let next = |unfinished| {
        let files = (unfinished, &files);
        fetch_piece(&folder.maildir, &folder.sequence, &first, 30_000, files).unwrap().1
    };
    let kept = next(None);
    assert!(kept.is_some() && next(None).is_none() && files.taken() == 1);
    let (pieces, _) = fetch_with(&folder, first.clone(), 30_000, &files, |_| {}).unwrap();
    assert_eq!(pieces.concat(), whole(&folder, &[10], &first.items).into_bytes());
    drop(kept);
    assert!(files.taken() == 0 && next(None).is_some());
}

#[test]
fn many_messages_are_several_pieces_that_end_between_two() {
    let messages: Vec<Vec<u8>> = (0..50).map(|n| format!("Subject: {n}\n\n").into_bytes()).collect();
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let folder = TestFolder::new(&messages);
    let all: Vec<u32> = (1..=50).map(|n| n * 10).collect();
    let (pieces, _) = fetch(&folder, request(&folder, &all, &[FetchItem::Envelope]), 500, |piece| {
        assert!(piece.octets.ends_with(b")\r\n"));
        assert!(!piece.next.unwrap().is_within_message());
    })
    .unwrap();
    assert!(pieces.len() > 5);
    assert_eq!(String::from_utf8(pieces.concat()).unwrap().lines().count(), 50);
}

#[test]
fn y06_another_reader_of_imap_reads_every_response() {
    let mut messages: Vec<Vec<u8>> = corpus().into_iter().map(|(_, message)| message).collect();
    // The same ones at each run: a simple generator of numbers chooses the pieces.
    let mut seed = 12_345_u64;
    let mut next = |most: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % most
    };
    for _ in 0..500 {
        let count = next(30);
        messages.push((0..count).flat_map(|_| PIECES[next(PIECES.len())]).copied().collect());
    }
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let folder = TestFolder::new(&messages);
    let fields = |is_except| SectionText::Fields { names: vec![b"to".to_vec(), b"x y".to_vec()], is_except };
    let at = |path: &[u32], text| {
        let section = Section { path: path.to_vec(), text };
        FetchItem::Body(Body { section, partial: None, marks_seen: false, name: BodyName::Body })
    };
    let items = [
        FetchItem::Uid,
        FetchItem::Flags,
        FetchItem::InternalDate,
        FetchItem::Size,
        FetchItem::Envelope,
        FetchItem::Structure { extended: true },
        FetchItem::Structure { extended: false },
        body(SectionText::Whole, None),
        body(SectionText::Header, Some((3, 10))),
        body(fields(true), None),
        at(&[1], SectionText::Whole),
        at(&[1], SectionText::Mime),
        at(&[2, 1], SectionText::Whole),
        at(&[2], fields(false)),
        FetchItem::ModSeq,
    ];
    let uids: Vec<u32> = (1..=u32::try_from(messages.len()).unwrap()).map(|at| at * 10).collect();
    let (pieces, _) = fetch(&folder, request(&folder, &uids, &items), 1 << 18, |_| {}).unwrap();
    let all = pieces.concat();
    let (mut rest, mut read) = (&all[..], 0);
    while !rest.is_empty() {
        let Ok((after, _)) = ResponseCodec::default().decode(rest) else {
            panic!("{}", rest[..rest.len().min(3000)].escape_ascii());
        };
        (rest, read) = (after, read + 1);
    }
    assert_eq!(read, messages.len());
}

/// The responses of a thread that must not wait, if it finds the files of these messages in memory.
fn cached(folder: &TestFolder, request: &Fetch, in_memory: &[u32]) -> Option<FetchedPiece> {
    let content = |uid: &u32| fs::read(folder.path(*uid)).unwrap();
    let known: Vec<_> =
        in_memory.iter().map(|uid| (folder.sequence.message(*uid).unwrap().1, content(uid))).collect();
    let mut read = |entry: &MessageEntry| Some(known.iter().find(|(known, _)| *known == entry)?.1.clone());
    fetch_cached(&folder.maildir, &folder.sequence, request, 1 << 18, &mut read)
}

#[test]
fn facts_and_small_messages_in_memory_need_no_worker() {
    let folder = TestFolder::new(&[b"Subject: a\n\nx\n", b"Subject: b\n\ny", b"c\n\nz\n"]);
    let plain = |text| body(text, None);
    let facts =
        [FetchItem::Uid, FetchItem::Flags, FetchItem::Size, FetchItem::InternalDate, FetchItem::ModSeq];
    for (items, in_memory) in [
        (&facts[..], &[][..]),
        (&[FetchItem::Uid, plain(SectionText::Whole)], &[10, 20, 30]),
        (&[plain(SectionText::Header), plain(SectionText::Text)], &[10, 20, 30]),
        (&[body(SectionText::Whole, Some((3, 5)))], &[10, 20, 30]),
    ] {
        let request = request(&folder, &[10, 20, 30], items);
        let (pieces, _) = fetch(&folder, request.clone(), 1 << 18, |_| {}).unwrap();
        let piece = cached(&folder, &request, in_memory).unwrap();
        assert_eq!((&piece.octets, piece.next), (&pieces[0], None), "{items:?}");
    }
}

#[test]
fn y228_a_worker_renders_what_must_be_parsed_read_from_a_disk_or_sent_in_pieces() {
    let large = format!("Subject: large\n\n{}", "0123456789\n".repeat(20_000));
    let folder = TestFolder::new(&[b"a\n\nx\n", b"b\n\ny\n", large.as_bytes(), b"d", b"e"]);
    let whole = [FetchItem::Uid, body(SectionText::Whole, None)];
    let part = Body {
        section: Section { path: vec![1], text: SectionText::Whole },
        partial: None,
        marks_seen: false,
        name: BodyName::Body,
    };
    let all = [10, 20, 30, 40, 50];
    for (wanted, items) in [
        (&[10][..], &[FetchItem::Envelope][..]),
        (&[10], &[FetchItem::Structure { extended: false }]),
        (&[10], &[FetchItem::Body(part)]),
        (&all, &whole),
    ] {
        assert_eq!(cached(&folder, &request(&folder, wanted, items), &all), None, "{items:?}");
    }
    assert_eq!(cached(&folder, &request(&folder, &[10], &whole), &[]), None, "its file is not in memory");
    // The first of two is there.
    let mut fetch = request(&folder, &[10, 20], &whole);
    let piece = cached(&folder, &fetch, &[10]).unwrap();
    assert_eq!(piece.octets, b"* 1 FETCH (UID 10 BODY[] {8}\r\na\r\n\r\nx\r\n)\r\n");
    assert_eq!(piece.next, Some(FetchPosition { uid: 20, ..FetchPosition::default() }));
    fetch.position = piece.next.unwrap();
    assert_eq!(cached(&folder, &fetch, &[10]), None);
    // A worker keeps the file open that the rest of a response needs.
    let twice = [&whole[..], &whole[..]].concat();
    let long = TestFolder::new(&[&[b'x'; 200_000]]);
    assert!(cached(&long, &request(&long, &[10], &whole), &[10]).is_some());
    assert_eq!(cached(&long, &request(&long, &[10], &twice), &[10]), None);
    // Within a message, the file has to be the same one still.
    fetch.position = FetchPosition { uid: 20, item: 1, octets: 3, stamp: 0 };
    assert_eq!(cached(&folder, &fetch, &[10, 20]), None);
}

#[test]
fn y110_all_pieces_share_the_set_of_a_command_and_begin_where_the_last_one_ended() {
    let folder = TestFolder::new(&vec![&b"a\n\n"[..]; 200]);
    let all: Vec<u32> = (1..=200).map(|at| at * 10).collect();
    let request = request(&folder, &all, &[FetchItem::Flags]);
    let next = request.clone();
    assert!(Arc::ptr_eq(&request.uids, &next.uids) && Arc::ptr_eq(&request.items, &next.items));
    assert_eq!(request.uids.ranges_from(1995).count(), 1);
    let (pieces, _) = fetch(&folder, request, 500, |_| {}).unwrap();
    assert!(pieces.len() > 10);
    assert_eq!(String::from_utf8(pieces.concat()).unwrap().lines().count(), 200);
}

#[test]
fn y112_thousands_of_messages_that_the_folder_does_not_have_any_more_are_passed_in_one_piece() {
    let folder = TestFolder::new(&[b"a\n\n"]);
    let mut state = FolderState { ..FolderState::default() };
    state.messages.extend((11..2000).map(|uid| MessageState { uid, flags: Flags::SEEN, modseq: 1 }));
    let uids: Vec<u32> = (11..2000).collect();
    let fetched =
        Fetch { state: Arc::new(state), ..request(&folder, &uids, &[body(SectionText::Whole, None)]) };
    let (pieces, has_gone) = fetch(&folder, fetched, 1 << 18, |_| {}).unwrap();
    assert!(has_gone);
    assert_eq!(pieces, [b""], "no worker has to be asked twice");
}
