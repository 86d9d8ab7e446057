//! STORE and EXPUNGE beside troubles that come after the change.

use super::*;

/// The response to a change that is durable, without its state.
#[track_caller]
fn untold(bench: &mut Bench, request: ImapRequest) -> String {
    match bench.ask(CLIENT, request) {
        Response::Imap(ImapResponse::Stored { state: None, modified, is_partial }) => {
            format!("stored, modified {modified}, partial {is_partial}")
        }
        Response::Imap(ImapResponse::Expunged { state: None, removed }) => format!("removed {removed}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn y170_a_change_that_is_durable_is_no_no_because_its_state_cannot_be_told() {
    let mut bench = Bench::with_messages(&["new/1.a", "new/2.b", "new/3.c"]);
    bench.select(OTHER);
    let before = bench.state(CLIENT, ImapRequest::Refresh).highest_modseq;
    bench.store(change(&[3], FlagChange::Add, Flags::FLAGGED));
    bench.turn();
    bench.loses_refreshes = true;
    let mut store = change(&[1, 3], FlagChange::Add, Flags::DELETED);
    store.unchanged_since = Some(before);
    assert_eq!(untold(&mut bench, ImapRequest::Store(Box::new(store))), "stored, modified 3, partial false");
    assert_eq!(bench.names(), ["cur/1.a:2,T", "cur/3.c:2,F", "new/2.b"]);
    // Nothing has changed, and NO says so.
    let response = bench.ask(CLIENT, ImapRequest::Expunge { uids: None });
    assert!(matches!(response, Response::Failed(Failure::TempFail)), "{response:?}");
    assert_eq!(bench.names().len(), 3);
    // The next request or change tries again, and each session hears of the flags.
    bench.loses_refreshes = false;
    bench.deliver("4.d");
    let events = bench.events();
    let is_told = |event: &String| event[2..].starts_with(": 1T 2 3F ");
    assert!(events.len() == 2 && events.iter().all(is_told), "{events:?}");

    bench.loses_refreshes = true;
    assert_eq!(untold(&mut bench, ImapRequest::Expunge { uids: None }), "removed 1");
    assert_eq!(bench.names(), ["cur/3.c:2,F", "new/2.b", "new/4.d"]);
    bench.loses_refreshes = false;
    let state = text(&bench.state(CLIENT, ImapRequest::Refresh));
    assert!(state.starts_with("2 3F "), "{state}");
    assert_eq!(bench.events(), [format!("c2: {state}")]);
}

#[test]
fn y170_expunge_finds_the_flags_of_a_store_whose_state_could_not_be_told() {
    let mut bench = Bench::with_messages(&["new/1.a", "new/2.b"]);
    bench.loses_refreshes = true;
    let store = change(&[1], FlagChange::Add, Flags::DELETED);
    untold(&mut bench, ImapRequest::Store(Box::new(store)));
    bench.loses_refreshes = false;
    assert_eq!(text(&bench.state(CLIENT, ImapRequest::Expunge { uids: None })), "2");
    assert_eq!(bench.names(), ["new/2.b"]);
}
