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
        position: FetchPosition::default(),
    };
    let Response::Imap(ImapResponse::Fetched(piece)) = bench.ask(CLIENT, ImapRequest::Fetch(Box::new(fetch)))
    else {
        panic!("nothing is fetched")
    };
    let text = String::from_utf8(piece.octets).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("* 1 FETCH") && text.contains("FLAGS (\\Seen)") && piece.next.is_none(), "{text}");
    let search = Search { state, key: SearchKey::Flag(b"\\Seen".to_vec()) };
    let response = bench.ask(CLIENT, ImapRequest::Search(Box::new(search)));
    assert!(matches!(response, Response::Imap(ImapResponse::Found(found)) if found == uids(&[1])));
}
