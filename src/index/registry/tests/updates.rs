//! A session deletes at its end while other programs are at work.

use super::*;

/// A session with three messages.
fn session() -> Fixture {
    let mut backend = Fixture::new();
    ["new/1.a", "new/2.b", "new/3.c"].into_iter().for_each(|name| backend.put(name));
    backend.log_in();
    assert_eq!(backend.settle().served, served(&["1.a", "2.b", "3.c"]));
    backend
}

impl Fixture {
    /// A worker begins to delete for the session. `true`: the worker must end the watch.
    fn update(&mut self, names: usize) -> bool {
        let unwatch = self.registry.session_updating(&self.mailbox, self.maildir.id(), (CLIENT, names));
        assert!(unwatch.is_none_or(|id| id == self.id()));
        unwatch.is_some()
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.file(name)).unwrap();
    }

    /// The worker is done and creates a barrier.
    fn updated(&mut self, gone: &[&str]) {
        let gone = gone.iter().map(|name| named(name)).collect();
        let seen = Some((self.times(), false));
        let done = SessionChanges {
            deleted: gone,
            changed: Vec::new(),
            dir_times: seen,
            barrier: self.create_barrier(),
        };
        self.registry.session_updated(&self.mailbox, self.maildir.id(), (CLIENT, done));
        self.registry.logout(&self.mailbox, CLIENT);
    }
}

#[test]
fn what_a_session_deleted_and_the_watch_told_so_is_not_looked_at() {
    let mut backend = session();
    assert!(!backend.update(2));
    for name in ["new/1.a", "new/3.c"] {
        backend.remove(name);
        backend.report_removed(name);
    }
    assert_eq!(backend.settle(), Tally::default());
    backend.updated(&["new/1.a", "new/3.c"]);
    assert_eq!(backend.settle(), Tally::default());
    backend.reach_barriers();
    backend.log_in();
    assert_eq!(backend.settle(), Tally { served: served(&["2.b"]), ..Tally::default() });
    // A comparison of the times does not find its changes either.
    backend.later(61);
    backend.later(62);
    assert_eq!(backend.settle(), Tally::default());
}

#[test]
fn a_login_right_after_a_deletion_waits_until_all_of_it_is_told() {
    let mut backend = session();
    backend.update(1);
    backend.remove("new/1.a");
    backend.updated(&["new/1.a"]);
    backend.put("new/4.d");
    backend.log_in_without_barrier();
    backend.report_removed("new/1.a");
    backend.report_changed("new/4.d");
    assert_eq!(backend.settle(), Tally::default());
    backend.reach_barriers();
    assert_eq!(
        backend.settle(),
        Tally { served: served(&["2.b", "3.c", "4.d"]), rechecks: 1, ..Tally::default() }
    );
}

#[test]
fn nothing_is_looked_at_during_a_deletion_and_all_that_others_did_is_afterwards() {
    let mut backend = session();
    backend.put("new/4.d");
    backend.report_changed("new/4.d");
    backend.update(1);
    backend.put("new/5.e");
    backend.report_changed("new/5.e");
    std::fs::rename(backend.file("new/2.b"), backend.file("cur/2.b:2,S")).unwrap();
    backend.report_changed("new/2.b");
    backend.report_changed("cur/2.b:2,S");
    backend.remove("new/3.c");
    backend.report_removed("new/3.c");
    backend.remove("new/1.a");
    backend.report_removed("new/1.a");
    assert_eq!(backend.settle(), Tally::default());
    backend.updated(&["new/1.a"]);
    backend.reach_barriers();
    backend.log_in();
    assert_eq!(
        backend.settle(),
        Tally { served: served(&["2.b", "4.d", "5.e"]), rechecks: 1, ..Tally::default() }
    );
}

#[test]
fn a_file_that_takes_a_name_that_was_deleted_is_found_whenever_that_is_told() {
    for told_before in 0..3 {
        let mut backend = session();
        backend.update(1);
        backend.remove("new/1.a");
        backend.put("new/1.a");
        let tell = [Fixture::report_removed as fn(&mut Fixture, &str), Fixture::report_changed];
        tell.iter().take(told_before).for_each(|tell| tell(&mut backend, "new/1.a"));
        backend.updated(&["new/1.a"]);
        tell.iter().skip(told_before).for_each(|tell| tell(&mut backend, "new/1.a"));
        backend.reach_barriers();
        backend.log_in();
        assert_eq!(backend.settle().served, served(&["1.a", "2.b", "3.c"]), "{told_before} told before");
    }
}

#[test]
fn a_name_that_the_worker_calls_gone_and_the_watch_does_not_is_looked_at() {
    let mut backend = session();
    // The file was moved, and another file has its name: the events and the recheck come before the deletion.
    std::fs::rename(backend.file("new/1.a"), backend.file("cur/1.a:2,S")).unwrap();
    backend.put("new/1.a");
    ["new/1.a", "cur/1.a:2,S"].into_iter().for_each(|name| backend.report_changed(name));
    assert_eq!(backend.settle().rechecks, 1);
    backend.update(1);
    backend.remove("cur/1.a:2,S");
    backend.report_removed("cur/1.a:2,S");
    backend.updated(&["cur/1.a:2,S", "new/1.a"]);
    backend.reach_barriers();
    backend.log_in();
    assert_eq!(
        backend.settle(),
        Tally { served: served(&["1.a", "2.b", "3.c"]), rechecks: 1, ..Tally::default() }
    );
}

#[test]
fn a_look_that_was_under_way_does_not_bring_back_what_was_deleted() {
    let mut backend = session();
    backend.report_changed("new/1.a");
    backend.registry.apply_events();
    let Output::Recheck(id, maildir, rechecks) = backend.output() else { panic!() };
    let (times, barrier) = (backend.times(), backend.create_barrier());
    let (changes, skipped) =
        scan::recheck(&maildir, &rechecks, &mut CountSlice::unbounded(u64::MAX)).unwrap().unwrap();
    backend.update(1);
    backend.remove("new/1.a");
    backend.report_removed("new/1.a");
    backend.updated(&["new/1.a"]);
    backend.reach_barriers();
    backend
        .registry
        .recheck_finished(id, Ok(RecheckResult { times, racy: false, changes, skipped, barrier }));
    backend.log_in();
    assert_eq!(backend.settle().served, served(&["2.b", "3.c"]));
}

#[test]
fn what_was_missed_during_a_deletion_is_found_by_a_walk_after_it() {
    for is_over in [false, true] {
        let mut backend = session();
        backend.update(1);
        backend.remove("new/1.a");
        backend.put("new/4.d");
        if !is_over {
            backend.registry.events_lost();
            assert_eq!(backend.settle(), Tally::default());
        }
        backend.updated(&["new/1.a"]);
        if is_over {
            backend.registry.events_lost();
        }
        backend.log_in();
        assert_eq!(
            backend.settle(),
            Tally { served: served(&["2.b", "3.c", "4.d"]), scans: 1, ..Tally::default() }
        );
    }
}

#[test]
fn a_watch_that_is_silent_about_a_deletion_is_not_trusted() {
    let mut backend = session();
    backend.update(1);
    backend.remove("new/1.a");
    backend.later(100); // after any time
    assert_eq!(backend.settle(), Tally::default());
    backend.put("new/4.d");
    backend.updated(&["new/1.a"]);
    backend.log_in_without_barrier();
    backend.later(101);
    assert_eq!(
        backend.settle(),
        Tally { served: served(&["2.b", "3.c", "4.d"]), scans: 1, ..Tally::default() }
    );
}

#[test]
fn a_deletion_that_nobody_tells_the_end_of_is_looked_through() {
    let mut backend = session();
    backend.update(1);
    backend.remove("new/1.a");
    backend.report_removed("new/1.a");
    backend.registry.logout(&backend.mailbox, CLIENT); // the job panicked, or was not taken
    backend.log_in();
    assert_eq!(backend.settle(), Tally { served: served(&["2.b", "3.c"]), scans: 1, ..Tally::default() });
}

#[test]
fn without_a_watch_every_name_is_looked_at() {
    let mut backend = Fixture::new();
    backend.watchable = false;
    backend.put("new/1.a");
    backend.log_in();
    backend.settle();
    assert!(!backend.update(5000), "there is no watch to end");
    backend.remove("new/1.a");
    backend.put("new/1.a");
    backend.updated(&["new/1.a"]);
    assert_eq!(backend.settle(), Tally { rechecks: 1, ..Tally::default() });
    backend.log_in();
    assert_eq!(backend.settle().served, served(&["1.a"]));
}

#[test]
fn many_deletions_end_the_watch_and_the_walk_after_them_begins_it_anew() {
    let mut backend = session();
    assert!(backend.update(1001));
    backend.remove("new/1.a");
    backend.put("new/4.d"); // without an event
    assert_eq!(backend.settle(), Tally::default());
    backend.updated(&["new/1.a"]);
    backend.registry.apply_events();
    let Output::Scan(id, load) = backend.output() else { panic!() };
    assert!(load.watch);
    backend.work(Output::Scan(id, load));
    backend.log_in();
    assert_eq!(backend.settle(), Tally { served: served(&["2.b", "3.c", "4.d"]), ..Tally::default() });
}

#[test]
fn a_watch_that_an_earlier_walk_began_is_not_relied_on_after_many_deletions() {
    for is_over in [false, true] {
        let mut backend = session();
        backend.registry.on_event(MailboxEvent::DirectoryLost(backend.id()));
        backend.registry.apply_events();
        let Output::Scan(id, load) = backend.output() else { panic!() };
        assert!(load.watch);
        assert!(backend.update(1001));
        // The worker ends this watch, or begins it after that: the registry can't know.
        let walk = Output::Scan(id, load);
        if is_over {
            backend.updated(&[]);
            backend.work(walk);
        } else {
            backend.work(walk);
            backend.updated(&[]);
        }
        backend.registry.apply_events();
        let again = backend.outputs().into_iter().find_map(|order| match order {
            Output::Scan(_, load) => Some(load.watch),
            _ => None,
        });
        assert_eq!(again, Some(true), "the update was over first: {is_over}");
    }
}

#[test]
fn many_deletions_of_a_session_are_left_to_a_walk_that_the_next_login_waits_for() {
    let mut backend = open_mailbox();
    std::fs::remove_file(backend.file("new/1.a")).unwrap();
    let named = |n: usize| (Subdir::New, format!("{n}.a").into_bytes().into());
    let done = SessionChanges { deleted: (1..2000).map(named).collect(), ..SessionChanges::default() };
    backend.registry.session_updated(&backend.mailbox, backend.maildir.id(), (CLIENT, done));
    backend.log_in();
    assert_eq!(backend.settle(), Tally { served: served(&[]), scans: 1, ..Tally::default() });
}

#[test]
fn what_happens_under_a_walk_is_not_lost() {
    let mut backend = open_mailbox();
    backend.put("new/2.b");
    let found = backend.found("new/2.b");
    backend.registry.events_lost();
    backend.registry.apply_events();
    let Output::Scan(id, load) = backend.output() else { panic!() };
    // The scan has seen neither the delivery nor the deletion.
    let one =
        scan::scan(&backend.maildir, [], &mut CountSlice::unbounded(u64::MAX)).unwrap().unwrap().messages;
    let before = one.into_iter().filter(|found| *found.name == *b"1.a").collect();
    std::fs::remove_file(backend.file("new/1.a")).unwrap();
    backend.registry.message_delivered(&backend.mailbox, backend.maildir.id(), found);
    let gone = vec![(Subdir::New, b"1.a".as_slice().into())];
    backend.registry.session_updated(
        &backend.mailbox,
        backend.maildir.id(),
        (CLIENT, SessionChanges { deleted: gone, ..SessionChanges::default() }),
    );
    backend.log_in();
    let index = Some(MailboxIndex::new(MessageList::from_messages(before), backend.times(), false));
    backend.scanned(id, Ok(loaded(load.maildir, index)));
    assert_eq!(backend.settle().served, served(&["2.b"]));
}

#[test]
fn a_reader_that_ends_while_another_session_deletes_begins_no_scan() {
    let mut backend = session();
    let (times, barrier, reader) = (backend.times(), backend.create_barrier(), ConnId(8));
    backend.registry.login(&backend.mailbox, &backend.maildir, (times, true), barrier, reader);
    backend.reach_barriers();
    let [Output::Served(_, _)] = &backend.outputs()[..] else { panic!("the reader is not served") };
    backend.update(1);
    backend.registry.logout(&backend.mailbox, reader);
    assert_eq!(backend.settle(), Tally::default(), "the update still runs");
    backend.remove("new/1.a");
    backend.report_removed("new/1.a");
    backend.updated(&["new/1.a"]);
    backend.reach_barriers();
    backend.log_in();
    assert_eq!(backend.settle(), Tally { served: served(&["2.b", "3.c"]), ..Tally::default() });
}
