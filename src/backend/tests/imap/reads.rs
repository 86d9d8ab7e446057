//! FETCH and SEARCH.

use super::*;

/// The responses to FETCH, and the jobs that they took.
#[track_caller]
fn fetch(bench: &mut Bench, wanted: &[u32], items: &[FetchItem]) -> (String, usize) {
    let state = bench.state(CLIENT, ImapRequest::Refresh);
    let position = FetchPosition::default();
    let recent = Arc::new(uids(&[2]));
    let fetch = Fetch { state, uids: Arc::new(uids(wanted)), items: items.into(), recent, position };
    let before = bench.reads;
    let Response::Imap(ImapResponse::Fetched(piece)) = bench.ask(CLIENT, ImapRequest::Fetch(Box::new(fetch)))
    else {
        panic!("nothing is fetched")
    };
    assert!(piece.next.is_none());
    (String::from_utf8(piece.octets).unwrap(), bench.reads - before)
}

#[test]
fn messages_are_fetched_and_found_by_workers() {
    let mut bench = Bench::with_messages(&["cur/1.a:2,S", "new/2.b"]);
    let (text, jobs) = fetch(&mut bench, &[1, 2], &[FetchItem::Uid, FetchItem::Envelope, FetchItem::Flags]);
    assert_eq!((text.lines().count(), jobs), (2, 1), "{text}");
    assert!(text.contains("FLAGS (\\Recent)"), "{text}");
    assert!(text.contains("* 1 FETCH") && text.contains("FLAGS (\\Seen)"), "{text}");
    let state = bench.state(CLIENT, ImapRequest::Refresh);
    let search = Search { state, recent: Default::default(), key: SearchKey::Flag(b"\\Seen".to_vec()) };
    let response = bench.ask(CLIENT, ImapRequest::Search(Box::new(search)));
    assert!(
        matches!(response, Response::Imap(ImapResponse::Found { uids: found, has_gone: false, .. }) if found == uids(&[1]))
    );
}

#[test]
fn y131_sessions_open_a_folder_at_once_that_none_has_open() {
    let mut bench = Bench::new();
    bench.write("new/1.a");
    let ids = [CLIENT, OTHER, ConnId(77)];
    ids.iter().for_each(|id| bench.request(*id, ImapRequest::Select { folder: mailbox("ann") }));
    bench.settle();
    let mut answered = Vec::new();
    while let Some((id, response)) = bench.clients.next_response() {
        assert!(
            matches!(&response, Response::Imap(ImapResponse::State(state)) if state.messages.len() == 1),
            "{response:?}"
        );
        answered.push(id);
    }
    answered.sort_unstable();
    assert_eq!(answered, ids);
}

#[test]
fn flags_are_fetched_without_a_worker_and_small_messages_too_if_they_are_in_memory() {
    let mut bench = Bench::with_messages(&["cur/1.a:2,S", "new/2.b"]);
    let (text, jobs) = fetch(&mut bench, &[1, 2], &[FetchItem::Uid, FetchItem::Flags, FetchItem::Size]);
    assert_eq!((text.lines().count(), jobs), (2, 0), "{text}");
    let section = Section::default();
    let body = Body { section, partial: None, marks_seen: false, name: BodyName::Body };
    let (text, jobs) = fetch(&mut bench, &[2], &[FetchItem::Body(body)]);
    assert_eq!(text, "* 2 FETCH (BODY[] {9}\r\nnew/2.b\r\n)\r\n");
    let has_cached_reads = bench.fixture.storage.maildir(&mailbox("ann")).unwrap().has_cached_reads();
    assert_eq!(jobs, usize::from(!has_cached_reads));
}

/// The folder `Work`, with a message of 600,000 octets, which CLIENT has selected.
fn with_large_message() -> (Bench, Mailbox) {
    let mut bench = Bench::new();
    let work = mailbox("ann").in_folder(Folder::from_name("Work").unwrap());
    let create = ImapRequest::Create { folder: work.clone(), special_use: None };
    assert!(matches!(bench.ask(CLIENT, create), Response::Imap(_)));
    fs::write(bench.path(".Work/new/1.a"), "x".repeat(600_000)).unwrap();
    bench.state(CLIENT, ImapRequest::Select { folder: work.clone() });
    (bench, work)
}

/// A request for the whole message.
fn whole_message(bench: &mut Bench) -> Fetch {
    let state = bench.state(CLIENT, ImapRequest::Refresh);
    let body = Body { section: Section::default(), partial: None, marks_seen: false, name: BodyName::Body };
    Fetch {
        state,
        uids: Arc::new(uids(&[1])),
        items: [FetchItem::Body(body)].into(),
        recent: Arc::new(uids(&[])),
        position: FetchPosition::default(),
    }
}

/// The next piece. `None`: it cannot be had.
fn next_piece(bench: &mut Bench, fetch: &mut Fetch) -> Option<Vec<u8>> {
    match bench.ask(CLIENT, ImapRequest::Fetch(Box::new(fetch.clone()))) {
        Response::Imap(ImapResponse::Fetched(piece)) => {
            fetch.position = piece.next.unwrap_or_default();
            Some(piece.octets)
        }
        Response::Failed(_) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn y226_the_rest_of_a_message_is_sent_although_its_folder_is_gone() {
    for is_rename in [true, false] {
        let (mut bench, work) = with_large_message();
        let mut fetch = whole_message(&mut bench);
        let mut octets = next_piece(&mut bench, &mut fetch).unwrap();
        let change = match is_rename {
            true => ImapRequest::Rename {
                from: work,
                to: mailbox("ann").in_folder(Folder::from_name("X").unwrap()),
            },
            false => ImapRequest::Delete { folder: work },
        };
        assert!(matches!(bench.ask(OTHER, change), Response::Imap(ImapResponse::Done)));
        while fetch.position.is_within_message() {
            octets.extend(next_piece(&mut bench, &mut fetch).unwrap());
        }
        assert!(octets.ends_with(b"x\r\n)\r\n") && octets.len() > 600_000, "{}", octets.len());
        // Nothing else of the folder is there.
        fetch.position = FetchPosition::default();
        assert_eq!(next_piece(&mut bench, &mut fetch), None);
    }
}

#[test]
fn y227_the_file_of_a_message_is_closed_with_its_folder() {
    let (mut bench, _) = with_large_message();
    let mut fetch = whole_message(&mut bench);
    assert!(next_piece(&mut bench, &mut fetch).is_some());
    assert_eq!(bench.fixture.storage.piece_files.taken(), 1);
    assert!(matches!(bench.ask(CLIENT, ImapRequest::Unselect), Response::Imap(ImapResponse::Done)));
    assert_eq!(bench.fixture.storage.piece_files.taken(), 0);
}

#[track_caller]
fn search(bench: &mut Bench, key: SearchKey) -> String {
    let state = bench.state(CLIENT, ImapRequest::Refresh);
    let search = Search { state, recent: Default::default(), key };
    match bench.ask(CLIENT, ImapRequest::Search(Box::new(search))) {
        Response::Imap(ImapResponse::Found { uids, .. }) => uids.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn y269_the_forwarded_flag_of_dovecot_is_found_and_changed_as_one_flag() {
    let mut bench = Bench::new();
    fs::write(bench.path("dovecot-keywords"), "0 $Forwarded\n1 todo\n").unwrap();
    let names = ["cur/1.a:2,Sa", "cur/2.b:2,PSab", "cur/3.c:2,PS", "cur/4.d:2,Sb"];
    names.iter().for_each(|name| bench.write(name));
    assert_eq!(text(&bench.select(CLIENT)), "1PS 2PSb 3PS 4Sb");
    let (fetched, _) = fetch(&mut bench, &[1], &[FetchItem::Flags]);
    assert!(fetched.contains("FLAGS (\\Seen $Forwarded)"), "{fetched}");
    let forwarded = || SearchKey::Flag(b"$forwarded".to_vec());
    assert_eq!(search(&mut bench, forwarded()), "1:3");
    assert_eq!(search(&mut bench, SearchKey::Not(Box::new(forwarded()))), "4");

    let (state, ..) = bench.store(change(&[1, 2], FlagChange::Remove, Flags::FORWARDED));
    assert_eq!(state, "1S 2Sb 3PS 4Sb");
    assert_eq!(bench.names(), ["cur/1.a:2,S", "cur/2.b:2,Sb", "cur/3.c:2,PS", "cur/4.d:2,Sb"]);
    let (state, ..) = bench.store(change(&[1, 3, 4], FlagChange::Add, Flags::FORWARDED));
    assert_eq!(state, "1PS 2Sb 3PS 4PSb");
    assert_eq!(bench.names(), ["cur/1.a:2,Sa", "cur/2.b:2,Sb", "cur/3.c:2,PS", "cur/4.d:2,Sab"]);
    let (state, ..) = bench.store(change(&[1, 3], FlagChange::Add, Flags::FLAGGED));
    assert_eq!(state, "1FPS 2Sb 3FPS 4PSb");
    assert_eq!(bench.names(), ["cur/1.a:2,FSa", "cur/2.b:2,Sb", "cur/3.c:2,FSa", "cur/4.d:2,Sab"]);
    let (state, ..) = bench.store(change(&[1, 3, 4], FlagChange::Replace, Flags::SEEN));
    assert_eq!(state, "1S 2Sb 3S 4S");
}
