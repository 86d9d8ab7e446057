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
