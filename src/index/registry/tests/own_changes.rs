//! Our own changes during a recheck that has seen the names before them.

use super::{
    turns::{mailbox_of, many_identities},
    *,
};

/// A recheck of a message, which a worker has begun.
fn begin_recheck(backend: &mut Fixture, message: &MessageEntry) -> IndexId {
    let id = backend.id();
    backend.registry.on_event(MailboxEvent::NameChanged(id, message.subdir, message.name.clone()));
    backend.registry.begin_turn();
    backend.registry.apply_events();
    let outputs = backend.outputs();
    assert!(matches!(&outputs[..], [Output::Recheck(..)]), "{outputs:?}");
    id
}

/// A job of ours has changed these names.
fn change(backend: &mut Fixture, changes: Vec<Change>) {
    for some in changes.chunks(700) {
        backend.registry.begin_turn();
        backend.registry.names_changed(&backend.mailbox, backend.maildir.id(), some.to_vec());
    }
}

/// The recheck is done, and has seen these changes. Returns the names of the index after each turn of the loop.
fn turns_after(backend: &mut Fixture, id: IndexId, changes: Vec<Change>) -> Vec<Vec<MessageEntry>> {
    backend.registry.begin_turn();
    let (times, skipped) = (backend.times(), Vec::new());
    let recheck = RecheckResult { times, racy: false, changes, skipped, barrier: None };
    backend.registry.recheck_finished(id, Ok(recheck));
    let mut turns = Vec::new();
    loop {
        let entry = &backend.registry.entries[&id];
        turns.push(entry.index.as_ref().unwrap().list().iter().cloned().collect());
        if matches!(entry.in_flight, Some(InFlight::Recheck)) {
            return turns; // the next recheck
        }
        assert!(turns.len() < 100, "the turns end");
        backend.registry.begin_turn();
        backend.registry.apply_events();
    }
}

#[test]
fn y171_thousands_of_messages_that_are_expunged_during_a_recheck_do_not_come_back() {
    let (mut backend, found) = mailbox_of(3000, &many_identities);
    let last = found.last().unwrap().clone();
    let id = begin_recheck(&mut backend, &last);
    let absent =
        |message: &MessageEntry| Change::Absent { subdir: message.subdir, name: message.name.clone() };
    change(&mut backend, found.iter().map(absent).collect());
    for (turn, left) in turns_after(&mut backend, id, vec![Change::Present(last)]).iter().enumerate() {
        assert!(left.is_empty(), "turn {turn}: {}", left.len());
    }
}

#[test]
fn y171_flags_that_are_changed_there_and_back_during_a_recheck_stay_as_they_are() {
    let (mut backend, found) = mailbox_of(1500, &many_identities);
    let id = begin_recheck(&mut backend, &found[0]);
    let there = |message: &MessageEntry| {
        let name = [&message.name[..], b"T"].concat().into();
        MessageEntry { name, ..message.clone() }
    };
    let renamed = |from: &MessageEntry, to: MessageEntry| {
        [Change::Absent { subdir: from.subdir, name: from.name.clone() }, Change::Present(to)]
    };
    change(&mut backend, found.iter().flat_map(|message| renamed(message, there(message))).collect());
    change(
        &mut backend,
        found.iter().flat_map(|message| renamed(&there(message), message.clone())).collect(),
    );
    // The recheck has looked between the two changes.
    let name = found[0].name.clone();
    let seen = vec![Change::Absent { subdir: found[0].subdir, name }, Change::Present(there(&found[0]))];
    for (turn, now) in turns_after(&mut backend, id, seen).iter().enumerate() {
        assert!(*now == found, "turn {turn}: {} messages", now.len());
    }
}

#[test]
fn y172_more_names_than_the_loop_may_take_in_at_once_are_left_to_a_full_scan() {
    let (mut backend, found) = mailbox_of(3000, &many_identities);
    let id = backend.id();
    backend.registry.begin_turn();
    let absent =
        |message: &MessageEntry| Change::Absent { subdir: message.subdir, name: message.name.clone() };
    let undone = found.iter().map(absent).collect();
    backend.registry.names_changed(&backend.mailbox, backend.maildir.id(), undone);
    let entry = &backend.registry.entries[&id];
    assert_eq!((entry.index.as_ref().unwrap().list().len(), entry.dirty_names.len()), (3000, 0));
    backend.registry.apply_events();
    let outputs = backend.outputs();
    assert!(matches!(&outputs[..], [Output::Scan(..)]), "{outputs:?}");
}
