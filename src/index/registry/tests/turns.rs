//! The part of a large change that one turn of the loop takes in.

use super::*;

/// A watched mailbox of so many messages, with one identity or many, and a login that was served.
pub(super) fn mailbox_of(files: usize, name: &dyn Fn(usize) -> String) -> (Fixture, Vec<MessageEntry>) {
    let mut backend = Fixture::new();
    backend.log_in();
    let Output::Scan(id, load) = backend.output() else { panic!("no walk") };
    let found: Vec<MessageEntry> = (0..files)
        .map(|n| MessageEntry {
            name: name(n).into_bytes().into(),
            subdir: Subdir::Cur,
            version: crate::maildir::FileVersion { inode: n as u64 + 1, bytes: 2, modified: (0, 0) },
            octets: 3,
        })
        .collect();
    let index = Some(MailboxIndex::new(MessageList::from_messages(found.clone()), backend.times(), false));
    backend.scanned(id, Ok(ScanResult { watched: true, ..loaded(load.maildir, index) }));
    assert_eq!(backend.settle().served.map(|ids| ids.len()), Some(files));
    backend.registry.logout(&backend.mailbox, CLIENT);
    (backend, found)
}

/// The messages of the index, or those that are to take its place.
fn messages(backend: &Fixture, id: IndexId) -> usize {
    let entry = &backend.registry.entries[&id];
    let scanned = entry.in_flight.as_ref().and_then(InFlight::scanned);
    scanned.or(entry.index.as_ref()).unwrap().list().len()
}

fn one_identity(n: usize) -> String {
    format!("1700000000.same.host:2,a{n}")
}

pub(super) fn many_identities(n: usize) -> String {
    format!("{}.M1.host:2,S", 1_700_000_000 + n)
}

/// Runs turns until a login is served. Returns how many messages fewer the index has after each.
fn turns(backend: &mut Fixture, mut orders: impl FnMut(&mut Fixture, Output)) -> Vec<usize> {
    let mut turns = Vec::new();
    let length = |backend: &Fixture| {
        let entry = backend.registry.entries.values().next().unwrap();
        entry.index.as_ref().map_or(0, |index| index.list().len())
    };
    loop {
        let before = length(backend);
        backend.registry.begin_turn();
        backend.registry.apply_events();
        let mut is_served = false;
        for order in backend.outputs() {
            match order {
                Output::Served(..) => is_served = true,
                order => orders(backend, order),
            }
        }
        turns.push(before.abs_diff(length(backend)));
        if is_served {
            return turns;
        }
        assert!(turns.len() < 10_000, "no login is served");
    }
}

fn is_bounded_and_linear(what: &str, counted: &[(usize, Vec<usize>)]) {
    for (files, turns) in counted {
        assert!(turns.iter().all(|taken| *taken <= MAX_NAMES_PER_TURN), "{what}, {files}: {turns:?}");
        assert!(turns.len() <= 4 + 4 * files / MAX_NAMES_PER_TURN, "{what}, {files}: {} turns", turns.len());
    }
}

#[test]
fn r13_what_a_walk_misses_is_decided_some_at_a_time_and_a_login_waits_for_all_of_it() {
    for name in [one_identity, many_identities] {
        let counted = [1500, 3000, 6000].map(|files| {
            let (mut backend, found) = mailbox_of(files, &name);
            backend.registry.events_lost();
            backend.log_in();
            backend.registry.begin_turn();
            let walk = backend.outputs().into_iter().find_map(|order| match order {
                Output::Scan(id, load) => Some((id, load)),
                _ => None,
            });
            let (id, load) = walk.expect("a walk");
            // An event reports another name of each message: all are moving and stay.
            for found in &found {
                let moved = [&found.name[..], b"T"].concat();
                backend.registry.on_event(MailboxEvent::NameChanged(id, Subdir::Cur, moved.into()));
            }
            let index = Some(MailboxIndex::new(MessageList::default(), backend.times(), false));
            let missing = ScanResult { missing: found, ..loaded(load.maildir, index) };
            backend.registry.begin_turn();
            backend.scanned(id, Ok(missing));
            let kept = messages(&backend, id);
            assert!((1..=MAX_NAMES_PER_TURN).contains(&kept), "{kept} at once");
            // Then each recheck finds that neither name is there.
            let gone = |backend: &mut Fixture, order: Output| {
                let Output::Recheck(id, _, rechecks) = order else { panic!("{order:?}") };
                let changes = rechecks
                    .into_iter()
                    .map(|recheck| Change::Absent { subdir: recheck.subdir, name: recheck.name });
                let (times, changes) = (backend.times(), changes.collect());
                let recheck =
                    RecheckResult { times, racy: false, changes, skipped: Vec::new(), barrier: None };
                backend.registry.recheck_finished(id, Ok(recheck));
            };
            let turns = turns(&mut backend, gone);
            assert_eq!(messages(&backend, id), 0);
            (files, turns)
        });
        for (files, turns) in &counted {
            assert!(turns.iter().all(|taken| *taken <= MAX_NAMES_PER_TURN), "{files}: {turns:?}");
        }
        // Twice as many names are twice as many turns.
        let [few, more, most] = counted.map(|(_, turns)| turns.len());
        assert!(more <= 2 * few + 4 && most <= 2 * more + 4, "{few}, {more}, {most}");
    }
}

#[test]
fn r13_deliveries_under_a_walk_are_taken_in_again_some_at_a_time() {
    let counted = [2000, 4000].map(|files| {
        let (mut backend, found) = mailbox_of(files, &many_identities);
        backend.registry.events_lost();
        backend.registry.apply_events();
        let walk = backend.outputs().into_iter().find_map(|order| match order {
            Output::Scan(id, load) => Some((id, load)),
            _ => None,
        });
        let (id, load) = walk.expect("a walk");
        for mut found in found {
            found.version.inode += 1_000_000; // other files than those that the index has
            backend.registry.message_delivered(&backend.mailbox, backend.maildir.id(), found);
        }
        let index = Some(MailboxIndex::new(MessageList::default(), backend.times(), false));
        backend.registry.begin_turn();
        backend.scanned(id, Ok(loaded(load.maildir, index)));
        backend.outputs();
        let mut turns = Vec::new();
        while messages(&backend, id) < files {
            let before = messages(&backend, id);
            backend.registry.begin_turn();
            backend.registry.apply_events();
            turns.push(messages(&backend, id) - before);
        }
        (files, turns)
    });
    is_bounded_and_linear("deliveries", &counted);
}

#[test]
fn r13_what_a_walk_left_out_is_told_to_the_log_some_at_a_time() {
    let mut backend = Fixture::new();
    backend.log_in();
    let Output::Scan(id, load) = backend.output() else { panic!("no walk") };
    let skipped = |n: usize| Skipped {
        name: format!("{n}").into_bytes().into(),
        subdir: Subdir::New,
        why: "not a regular file",
        bytes: 0,
    };
    let index = Some(MailboxIndex::new(MessageList::default(), backend.times(), false));
    let found = ScanResult { skipped: (0..5000).map(skipped).collect(), ..loaded(load.maildir, index) };
    backend.registry.begin_turn();
    backend.scanned(id, Ok(found));
    let said = |backend: &Fixture| backend.registry.entries[&id].logged.len();
    assert!((1..=MAX_NAMES_PER_TURN).contains(&said(&backend)), "{} at once", said(&backend));
    assert_eq!(backend.settle().served, served(&[]));
    assert_eq!(said(&backend), 5000);
}

#[test]
fn r13_a_mailbox_that_always_has_work_holds_up_no_other() {
    let (mut backend, found) = mailbox_of(3000, &many_identities);
    backend.registry.events_lost();
    backend.registry.begin_turn();
    backend.registry.apply_events();
    let (id, load) = match backend.outputs().pop() {
        Some(Output::Scan(id, load)) => (id, load),
        other => panic!("{other:?}"),
    };
    let index = Some(MailboxIndex::new(MessageList::default(), backend.times(), false));
    backend.scanned(id, Ok(ScanResult { missing: found, ..loaded(load.maildir, index) }));
    assert!(backend.registry.is_spent());
    // The login of another mailbox is served at the latest in the turn after next.
    let other = Mailbox::named("carol").unwrap();
    let maildir = Arc::new(backend.spool.open_or_create_maildir("carol").unwrap());
    let times = scan::dir_times(&maildir).unwrap();
    backend.registry.login(&other, &maildir, (times, true), None, ConnId(8));
    let walk = backend.outputs().into_iter().find_map(|order| match order {
        Output::Scan(id, load) => Some((id, load)),
        _ => None,
    });
    let (id, load) = walk.expect("a walk");
    let index = Some(MailboxIndex::new(MessageList::default(), times, false));
    backend.scanned(id, Ok(loaded(load.maildir, index)));
    let mut turns = 0;
    while !backend.outputs().iter().any(|order| matches!(order, Output::Served(ConnId(8), _))) {
        backend.registry.begin_turn();
        backend.registry.apply_events();
        turns += 1;
        assert!(turns <= 2, "it waits for the other");
    }
}

#[test]
fn what_was_delivered_under_a_check_does_not_come_back_after_another_program_has_removed_it() {
    let mut backend = open_mailbox();
    backend.later(60);
    let check = backend.output();
    backend.put("new/2.b");
    let found = backend.found("new/2.b");
    backend.registry.message_delivered(&backend.mailbox, backend.maildir.id(), found);
    backend.work(check);
    backend.settle();
    std::fs::remove_file(backend.file("new/2.b")).unwrap();
    backend.report_changed("new/2.b");
    backend.log_in();
    assert_eq!(backend.settle().served, served(&["1.a"]));
}

#[test]
fn a_walk_whose_turn_is_over_is_queued_again_while_its_mailbox_is_held() {
    let mut backend = Fixture::new();
    backend.put("new/1.a");
    backend.log_in();
    let Output::Scan(id, load) = backend.output() else { panic!("no walk") };
    backend.registry.continue_scan(id, load);
    assert_eq!(backend.settle(), Tally { served: served(&["1.a"]), scans: 1, ..Tally::default() });
    backend.registry.on_event(MailboxEvent::DirectoryLost(id));
    backend.registry.apply_events();
    let load = backend.outputs().into_iter().find_map(|order| match order {
        Output::Scan(_, load) => Some(load),
        _ => None,
    });
    backend.registry.drop_entry(id, Failure::TempFail);
    backend.outputs();
    backend.registry.continue_scan(id, load.expect("a walk"));
    let orders = backend.outputs();
    assert!(matches!(&orders[..], [Output::Unwatch(other)] if *other == id), "{orders:?}");
}
