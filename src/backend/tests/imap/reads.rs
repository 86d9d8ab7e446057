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
