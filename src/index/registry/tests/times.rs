//! The meaning of the directory times, with a watch and without one.

use super::*;

#[test]
fn a_change_that_no_notice_explains_within_a_second_is_found_by_a_walk() {
    let mut backend = open_mailbox();
    backend.put("new/2.b");
    backend.log_in();
    assert_eq!(backend.settle().served, served(&["1.a"]));
    backend.registry.logout(&backend.mailbox, CLIENT);
    backend.later(1);
    assert_eq!(backend.settle(), Tally { scans: 1, ..Tally::default() });
    backend.log_in();
    assert_eq!(backend.settle().served, served(&["1.a", "2.b"]));
}

#[test]
fn a_quiet_mailbox_is_checked_every_minute() {
    let mut backend = open_mailbox();
    backend.put("new/2.b");
    backend.later(59);
    assert_eq!(backend.settle(), Tally::default());
    backend.later(1);
    assert_eq!(backend.settle(), Tally::default()); // an event may be on its way
    backend.later(1);
    assert_eq!(backend.settle(), Tally { scans: 1, ..Tally::default() });
}

#[test]
fn y93_a_large_mailbox_is_written_down_once_after_it_was_quiet() {
    let mut backend = Fixture::new();
    (0..1000).for_each(|n| backend.put(&format!("new/{n}.a")));
    backend.log_in();
    backend.settle();
    backend.later(60);
    let kept = Tally { kept: 1, ..Tally::default() };
    assert_eq!(backend.settle(), kept);
    backend.later(60);
    assert_eq!(backend.settle(), Tally::default());
    backend.put("new/9999.b");
    backend.report_changed("new/9999.b");
    assert_eq!(backend.settle(), Tally { rechecks: 1, ..Tally::default() });
    backend.later(60);
    let outputs = backend.outputs();
    let [Output::CheckTimes(..)] = &outputs[..] else { panic!("{outputs:?}") };
    // A name that is reported meanwhile is looked at first.
    backend.report_changed("new/9999.b");
    outputs.into_iter().for_each(|output| backend.work(output));
    assert_eq!(backend.settle(), Tally { rechecks: 1, ..Tally::default() });
    backend.later(60);
    assert_eq!(backend.settle(), kept);
}

#[test]
fn a_change_that_a_told_one_hides_is_found_by_a_walk_in_a_quarter_of_an_hour() {
    let mut backend = open_mailbox();
    backend.put("new/2.untold");
    backend.put("new/3.told");
    backend.report_changed("new/3.told");
    assert_eq!(backend.settle(), Tally { rechecks: 1, ..Tally::default() });
    backend.log_in();
    assert_eq!(backend.settle().served, served(&["1.a", "3.told"]));
    for _ in 0..14 {
        backend.later(60);
        assert_eq!(backend.settle(), Tally::default());
    }
    backend.registry.logout(&backend.mailbox, CLIENT);
    backend.later(60);
    let walk = backend.output();
    backend.log_in();
    let Output::Served(_, snapshot) = backend.output() else { panic!("the login waits for the walk") };
    assert_eq!(ids(&snapshot), ["1.a", "3.told"]);
    backend.registry.logout(&backend.mailbox, CLIENT);
    backend.work(walk);
    backend.log_in();
    assert_eq!(backend.settle().served, served(&["1.a", "2.untold", "3.told"]));
}

/// A mailbox that can't be watched, after a full scan and the end of its session.
fn unwatched_mailbox() -> Fixture {
    let mut backend = Fixture::new();
    backend.watchable = false;
    backend.put("new/1.a");
    backend.log_in();
    backend.settle();
    backend.registry.logout(&backend.mailbox, CLIENT);
    backend
}

#[test]
fn without_a_watch_each_login_compares_the_times_and_walks_when_they_differ() {
    let mut backend = unwatched_mailbox();
    backend.log_in();
    let Output::Scan(id, load) = backend.output() else { panic!("times not compared") };
    assert_eq!(load.skip_if_times, Some(backend.times()));
    backend.work(Output::Scan(id, load));
    let Output::Served(_, snapshot) = backend.output() else { panic!("not served") };
    assert_eq!(ids(&snapshot), ["1.a"]);
    backend.registry.logout(&backend.mailbox, CLIENT);
    backend.put("new/2.b");
    backend.log_in();
    assert_eq!(backend.settle(), Tally { served: served(&["1.a", "2.b"]), scans: 1, ..Tally::default() });
}

#[test]
fn without_a_watch_a_look_at_one_name_says_nothing_of_the_others() {
    let mut backend = unwatched_mailbox();
    backend.put("new/2.by-another-machine");
    backend.put("new/3.ours");
    let found = backend.found("new/3.ours");
    backend.registry.message_delivered(&backend.mailbox, backend.maildir.id(), found);
    assert_eq!(backend.settle().rechecks, 1);
    backend.log_in();
    let all = served(&["1.a", "2.by-another-machine", "3.ours"]);
    assert_eq!(backend.settle(), Tally { served: all, scans: 1, ..Tally::default() });
}

#[test]
fn times_so_young_that_another_change_may_hide_behind_them_are_taken_for_changed() {
    let mut backend = Fixture::new();
    backend.watchable = false;
    backend.log_in();
    let Output::Scan(id, load) = backend.output() else { panic!() };
    let index = Some(MailboxIndex::new(MessageList::default(), backend.times(), true));
    backend.scanned(id, Ok(loaded(load.maildir, index)));
    backend.outputs();
    backend.registry.logout(&backend.mailbox, CLIENT);
    backend.log_in();
    let Output::Scan(_, load) = backend.output() else { panic!() };
    assert_eq!(load.skip_if_times, None);
}

#[test]
fn a_settled_mailbox_needs_no_barrier_until_its_directories_change_or_events_are_lost() {
    let mut backend = open_mailbox();
    let log_in = |backend: &mut Fixture, racy: bool, barrier: Option<u64>| {
        let times = backend.times();
        backend.registry.login(&backend.mailbox, &backend.maildir, (times, racy), barrier, CLIENT);
    };
    let settled = |backend: &Fixture| backend.registry.settled_times(&backend.mailbox);
    for (racy, expected) in [(true, false), (false, true)] {
        let barrier = backend.create_barrier();
        log_in(&mut backend, racy, barrier);
        backend.settle();
        assert_eq!(settled(&backend), None, "the barrier is not reached yet");
        backend.reach_barriers();
        assert_eq!(backend.settle().served, served(&["1.a"]));
        assert_eq!(settled(&backend).is_some(), expected, "a later change may leave the same times: {racy}");
    }
    assert_eq!(settled(&backend), Some(backend.times()));
    log_in(&mut backend, false, None);
    assert_eq!(backend.settle().served, served(&["1.a"]));
    // A name that was reported meanwhile is rechecked first.
    backend.put("new/2.b");
    backend.report_changed("new/2.b");
    log_in(&mut backend, false, None);
    assert_eq!(backend.outputs().iter().filter(|o| matches!(o, Output::Served(..))).count(), 0);
    assert_ne!(settled(&backend), Some(backend.times()), "the next login needs a barrier");
    backend.registry.events_lost();
    assert_eq!(settled(&backend), None);
}
