//! STORE and EXPUNGE beside troubles that come after the change.

use super::*;

/// The response to a change that is durable, without its state.
#[track_caller]
fn untold(bench: &mut Bench, request: ImapRequest) -> String {
    match bench.ask(CLIENT, request) {
        Response::Imap(ImapResponse::Stored { state: None, modified, is_partial, .. }) => {
            format!("stored, modified {modified}, partial {is_partial}")
        }
        Response::Imap(ImapResponse::Expunged { state: None, removed, .. }) => format!("removed {removed}"),
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

/// The number of changed messages that a response tells, and the state with it. A failure without a state tells none.
fn done(response: Response, all: u64) -> (u64, Option<String>) {
    match response {
        Response::Imap(
            ImapResponse::Stored { state, interruption, .. }
            | ImapResponse::Expunged { state, interruption, .. }
            | ImapResponse::Copied { state, interruption, .. },
        ) => (interruption.map_or(all, |it| it.done), state.map(|state| text(&state))),
        Response::Failed(_) => (0, None),
        other => panic!("{other:?}"),
    }
}

/// Makes a change of three messages with an error at each step in turn. `changed` counts the changed messages on the disk.
fn fail_at_each_step(request: &ImapRequest, changed: impl Fn(&Bench) -> usize) -> Vec<&'static str> {
    let mut steps = Vec::new();
    for number in 1.. {
        let mut bench = Bench::with_messages(&["cur/1.a:2,T", "cur/2.b:2,T", "cur/3.c:2,T"]);
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(bench.path(".to").join(part)).unwrap();
        }
        let fault = PlannedFault::new(bench.fixture.home.path(), number, FaultKind::Error);
        let response = bench.ask(CLIENT, request.clone());
        let Some(step) = fault.triggered_at() else { return steps };
        drop(fault);
        steps.push(step);
        let (done, state) = done(response, 3);
        let changed = changed(&bench);
        if step.ends_with(": done") {
            continue; // no system call fails after it has changed a name
        }
        // Messages that a power cut may change back are not promised.
        let is_told = done == changed as u64 || done == 0 && step == "fsync directory";
        assert!(is_told, "{step}: {done} of {changed}");
        let now = text(&bench.state(CLIENT, ImapRequest::Refresh));
        if let Some(told) = state {
            assert_eq!(told, now, "{step}: the response has all that is changed");
        }
    }
    steps
}

#[test]
fn y204_a_change_that_fails_midway_tells_how_many_messages_are_changed_and_their_state() {
    let store = change(&[1, 2, 3], FlagChange::Add, Flags::FLAGGED);
    let flagged = |bench: &Bench| bench.names().iter().filter(|name| name.contains(",F")).count();
    let steps = fail_at_each_step(&ImapRequest::Store(Box::new(store)), flagged);
    assert_eq!(steps[..5], [&["rename flags"; 3][..], &["fsync directory"; 2]].concat(), "{steps:?}");

    let removed = |bench: &Bench| 3 - bench.names().len();
    let steps = fail_at_each_step(&ImapRequest::Expunge { uids: None }, removed);
    assert_eq!(steps[..5], [&["delete trashed"; 3][..], &["fsync directory"; 2]].concat(), "{steps:?}");

    let to = mailbox("ann").in_folder(Folder::from_name("to").unwrap());
    let request = ImapRequest::Copy { uids: uids(&[1, 2, 3]), to, is_move: true };
    let steps = fail_at_each_step(&request, removed);
    assert!(steps.iter().any(|step| ["rename moved", "remove moved"].contains(step)), "{steps:?}");
}
