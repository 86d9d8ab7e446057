//! Events for the sessions that have a mailbox open.

use super::*;
use crate::index::job::MailboxChange;

/// A watched mailbox with one message, open in two sessions that know it.
fn mailbox_in_two_sessions() -> Fixture {
    let mut backend = open_mailbox();
    backend.log_in();
    backend.settle();
    let times = backend.times();
    let barrier = backend.create_barrier();
    backend.registry.login(&backend.mailbox, &backend.maildir, (times, true), barrier, OTHER);
    backend.registry.barrier_reached(backend.barriers);
    backend.registry.apply_events();
    let served = |output: &Output| matches!(output, Output::Served(OTHER, _));
    assert!(backend.outputs().iter().any(served), "a second session beside the first");
    assert_eq!(backend.registry.take_changes(), []);
    backend
}

const OTHER: ConnId = ConnId(8);

fn sessions(mut change: MailboxChange) -> (usize, Vec<ConnId>) {
    change.sessions.sort_unstable();
    (change.messages, change.sessions)
}

#[test]
fn a_thousand_deliveries_of_a_turn_are_one_event_for_each_session() {
    let mut backend = mailbox_in_two_sessions();
    backend.registry.begin_turn();
    for n in 0..1000 {
        let found = MessageEntry {
            name: format!("{}.M1.host", 1_700_000_000 + n).into_bytes().into(),
            subdir: Subdir::New,
            version: crate::maildir::FileVersion { inode: n + 100, bytes: 2, modified: (0, 0) },
            octets: 3,
        };
        backend.registry.message_delivered(&backend.mailbox, backend.maildir.id(), found);
    }
    backend.registry.apply_events();
    let changes: Vec<_> = backend.registry.take_changes().into_iter().map(sessions).collect();
    assert_eq!(changes, [(1001, vec![CLIENT, OTHER])]);
    assert_eq!(backend.registry.take_changes(), [], "nothing more");
}

#[test]
fn a_change_of_another_program_is_an_event_after_the_index_has_it() {
    let mut backend = mailbox_in_two_sessions();
    backend.put("new/2.b");
    backend.report_changed("new/2.b");
    backend.registry.apply_events();
    assert_eq!(backend.registry.take_changes(), [], "not before the recheck");
    backend.settle();
    let changes: Vec<_> = backend.registry.take_changes().into_iter().map(sessions).collect();
    assert_eq!(changes, [(2, vec![CLIENT, OTHER])]);
}

#[test]
fn an_event_that_changes_no_message_reaches_no_session() {
    let mut backend = mailbox_in_two_sessions();
    backend.report_changed("new/1.a");
    backend.settle();
    assert_eq!(backend.registry.take_changes(), []);
}

#[test]
fn a_session_that_has_ended_gets_no_event() {
    let mut backend = mailbox_in_two_sessions();
    backend.registry.logout(&backend.mailbox, CLIENT);
    backend.put("new/2.b");
    backend.report_changed("new/2.b");
    backend.settle();
    let changes: Vec<_> = backend.registry.take_changes().into_iter().map(sessions).collect();
    assert_eq!(changes, [(2, vec![OTHER])]);
    backend.registry.logout(&backend.mailbox, OTHER);
    backend.put("new/3.c");
    backend.report_changed("new/3.c");
    backend.settle();
    assert_eq!(backend.registry.take_changes(), []);
}

/// The files of the folder as IMAP is told of them.
fn folder_files(backend: &Fixture) -> usize {
    backend.registry.folder_snapshot(&backend.mailbox).unwrap().1.len()
}

#[test]
fn y140_a_message_that_moves_during_a_scan_stays_for_imap_too() {
    let mut backend = mailbox_in_two_sessions();
    let version = backend.registry.version(&backend.mailbox);
    backend.registry.events_lost();
    backend.registry.apply_events();
    let Output::Scan(id, load) = backend.output() else { panic!() };
    // The file was in cur/ while the scan read new/, and the other way round.
    let missing = load.known.difference(&MessageList::default());
    let index = Some(MailboxIndex::new(MessageList::default(), backend.times(), false));
    let barrier = backend.create_barrier();
    std::fs::rename(backend.file("new/1.a"), backend.file("cur/1.a:2,S")).unwrap();
    backend.scanned(id, Ok(ScanResult { barrier, missing, ..loaded(load.maildir, index) }));
    assert_eq!((backend.registry.take_changes(), folder_files(&backend)), (vec![], 1));
    assert_eq!(backend.registry.version(&backend.mailbox), version);
    backend.report_changed("new/1.a");
    backend.report_changed("cur/1.a:2,S");
    backend.reach_barriers();
    assert_eq!(folder_files(&backend), 1);
    backend.settle();
    let (later, snapshot) = backend.registry.folder_snapshot(&backend.mailbox).unwrap();
    assert_eq!((snapshot.len(), &*snapshot.entry(0).unwrap().name), (1, &b"1.a:2,S"[..]));
    assert!(Some(later) > version, "the flag is news");
}

#[test]
fn y140_copies_made_during_a_scan_stay_for_imap_however_many_they_are() {
    let mut backend = mailbox_in_two_sessions();
    backend.registry.events_lost();
    backend.registry.apply_events();
    let Output::Scan(id, load) = backend.output() else { panic!() };
    let scanned = load.known.iter().cloned().collect();
    let copy = |n: u64| MessageEntry {
        name: format!("{}.M1.host", 1_700_000_000 + n).into_bytes().into(),
        subdir: Subdir::Cur,
        version: crate::maildir::FileVersion { inode: n + 100, bytes: 2, modified: (0, 0) },
        octets: 3,
    };
    let copies: Vec<Change> = (0..2500).map(|n| Change::Present(copy(n))).collect();
    for some in copies.chunks(250) {
        backend.registry.names_changed(&backend.mailbox, backend.maildir.id(), some.to_vec());
    }
    assert_eq!(folder_files(&backend), 2501);
    let index = Some(MailboxIndex::new(MessageList::from_messages(scanned), backend.times(), false));
    backend.scanned(id, Ok(loaded(load.maildir, index)));
    for _ in 0..5 {
        assert_eq!(folder_files(&backend), 2501);
        backend.registry.begin_turn();
        backend.registry.apply_events();
    }
}
