//! FETCH and SEARCH.

use super::*;

#[test]
fn messages_are_fetched_and_found_by_workers() {
    let mut bench = Bench::with_messages(&["cur/1.a:2,S", "new/2.b"]);
    let state = bench.state(CLIENT, ImapRequest::Refresh);
    let fetch = Fetch {
        state: Arc::clone(&state),
        uids: uids(&[1, 2]),
        items: vec![FetchItem::Uid, FetchItem::Flags, FetchItem::Size],
        recent: uids(&[2]),
        position: FetchPosition::default(),
    };
    let Response::Imap(ImapResponse::Fetched(piece)) = bench.ask(CLIENT, ImapRequest::Fetch(Box::new(fetch)))
    else {
        panic!("nothing is fetched")
    };
    let text = String::from_utf8(piece.octets).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("FLAGS (\\Recent)"), "{text}");
    assert!(text.contains("* 1 FETCH") && text.contains("FLAGS (\\Seen)") && piece.next.is_none(), "{text}");
    let search = Search { state, recent: Default::default(), key: SearchKey::Flag(b"\\Seen".to_vec()) };
    let response = bench.ask(CLIENT, ImapRequest::Search(Box::new(search)));
    assert!(
        matches!(response, Response::Imap(ImapResponse::Found { uids: found, has_gone: false }) if found == uids(&[1]))
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
