mod events;
mod output;
mod own_changes;
mod stories;
mod times;
mod turns;
mod updates;

use std::time::{SystemTime, UNIX_EPOCH};

use output::Output;

use super::*;
use crate::index::{MailboxIndex, MessageList};
use crate::{
    limits::Size,
    maildir::{
        Spool,
        scan::{self, Skipped},
        size_counter::CountSlice,
    },
    proto::request::Maildrop,
};

/// A registry, one mailbox, and a worker that carries out orders when the test says so.
struct Fixture {
    _dir: tempfile::TempDir,
    spool: Spool,
    registry: Registry,
    maildir: Arc<Maildir>,
    mailbox: Mailbox,
    watchable: bool,
    barriers: u64,
    now: Duration,
}

const CLIENT: ConnId = ConnId(7);

impl Fixture {
    fn new() -> Self {
        Self::with(&Limits::default(), 10)
    }

    fn with(limits: &Limits, max: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let maildir = Arc::new(spool.open_or_create_maildir("bob").unwrap());
        let registry = Registry::new(limits, max);
        let mailbox = Mailbox::named("bob").unwrap();
        let (watchable, barriers, now) = (true, 0, Duration::ZERO);
        Self { _dir: dir, spool, registry, maildir, mailbox, watchable, barriers, now }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.maildir.path().join(name)
    }

    fn put(&self, name: &str) {
        std::fs::write(self.file(name), "x\n").unwrap();
    }

    fn times(&self) -> DirTimes {
        scan::dir_times(&self.maildir).unwrap()
    }

    /// A login with a barrier that is not reached yet.
    fn log_in_without_barrier(&mut self) {
        let (barrier, times) = (self.create_barrier(), self.times());
        self.registry.login(&self.mailbox, &self.maildir, (times, true), barrier, CLIENT);
    }

    fn log_in(&mut self) {
        self.log_in_without_barrier();
        self.reach_barriers();
    }

    fn create_barrier(&mut self) -> Option<u64> {
        self.barriers += 1;
        self.watchable.then_some(self.barriers)
    }

    /// Reaches every barrier created so far.
    fn reach_barriers(&mut self) {
        self.registry.barrier_reached(self.barriers);
        self.registry.apply_events();
    }

    fn id(&self) -> IndexId {
        self.registry.ids[&self.mailbox]
    }

    fn report_changed(&mut self, name: &str) {
        let (subdir, name) = named(name);
        self.registry.on_event(MailboxEvent::NameChanged(self.id(), subdir, name));
    }

    fn report_removed(&mut self, name: &str) {
        let (subdir, name) = named(name);
        self.registry.on_event(MailboxEvent::NameRemoved(self.id(), subdir, name));
    }

    fn found(&self, name: &str) -> MessageEntry {
        let (subdir, name) = name.split_once('/').unwrap();
        assert_eq!(subdir, "new");
        let scan = scan::scan(&self.maildir, [], &mut CountSlice::unbounded(u64::MAX)).unwrap().unwrap();
        scan.messages.into_iter().find(|found| *found.name == *name.as_bytes()).unwrap()
    }

    fn outputs(&mut self) -> Vec<Output> {
        output::take(&mut self.registry)
    }

    fn scanned(&mut self, id: IndexId, result: Result<ScanResult, Failure>) {
        self.registry.complete(id, IndexResult::Scanned(result.map(ControlFlow::Break)));
    }

    fn work(&mut self, order: Output) {
        match order {
            Output::Scan(id, load) => {
                let times = scan::dir_times(&load.maildir).unwrap();
                let racy = scan::is_racy(&times, self.date());
                let index = (load.skip_if_times != Some(times)).then(|| {
                    let scan =
                        scan::scan(&load.maildir, [], &mut CountSlice::unbounded(u64::MAX)).unwrap().unwrap();
                    MailboxIndex::new(MessageList::from_messages(scan.messages), times, racy)
                });
                let watched = load.watch && self.watchable;
                let barrier = self.create_barrier();
                self.scanned(id, Ok(ScanResult { watched, barrier, ..loaded(load.maildir, index) }));
                self.reach_barriers();
            }
            Output::Recheck(id, maildir, rechecks) => {
                let times = scan::dir_times(&maildir).unwrap();
                let seen = scan::recheck(&maildir, &rechecks, &mut CountSlice::unbounded(u64::MAX)).unwrap();
                let (changes, skipped) = seen.unwrap();
                let racy = scan::is_racy(&times, self.date());
                let barrier = self.create_barrier();
                self.registry
                    .recheck_finished(id, Ok(RecheckResult { times, racy, changes, skipped, barrier }));
            }
            Output::CheckTimes(id, maildir) => {
                let times = scan::dir_times(&maildir).map_err(|_| Failure::TempFail);
                let (changes, skipped) = Default::default();
                let found =
                    times.map(|times| RecheckResult { times, racy: false, changes, skipped, barrier: None });
                self.registry.complete(id, IndexResult::Rechecked(found));
            }
            other => panic!("not for a worker: {other:?}"),
        }
    }

    /// Carries out all orders. Returns the replies to clients, and the number of scans and rechecks.
    fn settle(&mut self) -> Tally {
        let mut tally = Tally::default();
        loop {
            self.registry.begin_turn();
            self.registry.apply_events();
            let orders = self.outputs();
            if orders.is_empty() && !self.registry.is_spent() {
                return tally;
            }
            for order in orders {
                match order {
                    Output::Served(to, snapshot) => {
                        assert_eq!(to, CLIENT);
                        tally.served = Some(ids(&snapshot));
                    }
                    Output::Refused(failure) => tally.failed = Some(failure),
                    Output::Unwatch(..) => tally.unwatched += 1,
                    Output::Keep => tally.kept += 1,
                    Output::Scan(..) => {
                        tally.scans += 1;
                        self.work(order);
                    }
                    Output::Recheck(..) => {
                        tally.rechecks += 1;
                        self.work(order);
                        self.reach_barriers();
                    }
                    Output::CheckTimes(..) => self.work(order),
                }
            }
        }
    }

    /// The only order.
    fn output(&mut self) -> Output {
        let mut orders = self.outputs();
        assert_eq!(orders.len(), 1, "{orders:?}");
        orders.remove(0)
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.registry.tick(self.now);
    }

    /// A moment long after every change.
    fn date(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1 << 34)
    }
}

fn named(name: &str) -> (Subdir, Box<[u8]>) {
    let (subdir, name) = name.split_once('/').unwrap();
    (if subdir == "new" { Subdir::New } else { Subdir::Cur }, name.as_bytes().into())
}

fn loaded(maildir: Arc<Maildir>, index: Option<MailboxIndex>) -> ScanResult {
    ScanResult {
        maildir,
        index,
        watched: false,
        skipped: Vec::new(),
        missing: Vec::new(),
        duplicates: Vec::new(),
        barrier: None,
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    served: Option<Vec<String>>,
    failed: Option<Failure>,
    scans: usize,
    rechecks: usize,
    unwatched: usize,
    kept: usize,
}

fn ids(snapshot: &Snapshot) -> Vec<String> {
    (0..snapshot.len()).map(|message| snapshot.unique_id(message).into_owned()).collect()
}

fn served(ids: &[&str]) -> Option<Vec<String>> {
    Some(ids.iter().map(|id| (*id).to_owned()).collect())
}

/// A mailbox after a full scan and the end of its session.
fn open_mailbox() -> Fixture {
    let mut backend = Fixture::new();
    backend.put("new/1.a");
    backend.log_in();
    assert_eq!(backend.settle(), Tally { served: served(&["1.a"]), scans: 1, ..Tally::default() });
    backend.registry.logout(&backend.mailbox, CLIENT);
    backend
}

#[test]
fn a_login_to_a_watched_mailbox_costs_no_look_at_the_disk() {
    let mut backend = open_mailbox();
    backend.log_in();
    assert_eq!(backend.settle(), Tally { served: served(&["1.a"]), ..Tally::default() });
}

#[test]
fn a_login_sees_what_was_told_before_its_mark() {
    let mut backend = open_mailbox();
    backend.put("new/2.b");
    backend.report_changed("new/2.b");
    backend.log_in();
    assert_eq!(backend.settle(), Tally { served: served(&["1.a", "2.b"]), rechecks: 1, ..Tally::default() });
}

#[test]
fn a_login_waits_for_its_mark_and_for_nothing_that_comes_after_it() {
    let mut backend = open_mailbox();
    backend.log_in_without_barrier();
    backend.put("new/2.b");
    backend.report_changed("new/2.b");
    backend.registry.apply_events();
    let recheck = backend.output();
    backend.work(recheck);
    assert!(backend.outputs().is_empty(), "served before its barrier");
    backend.reach_barriers();
    backend.put("new/3.c");
    backend.report_changed("new/3.c");
    backend.registry.apply_events();
    let [Output::Served(_, snapshot), Output::Recheck(..)] = &backend.outputs()[..] else {
        panic!("not served at once")
    };
    assert_eq!(ids(snapshot), ["1.a", "2.b"]);
}

#[test]
fn a_watch_that_is_silent_is_not_trusted() {
    let mut backend = open_mailbox();
    backend.put("new/2.b");
    backend.log_in_without_barrier();
    assert_eq!(backend.settle(), Tally::default());
    backend.later(1);
    assert_eq!(backend.settle(), Tally { served: served(&["1.a", "2.b"]), scans: 1, ..Tally::default() });
}

#[test]
fn what_was_missed_is_found_by_a_walk() {
    let mut backend = open_mailbox();
    backend.put("new/2.b");
    backend.registry.events_lost();
    backend.log_in();
    assert_eq!(backend.settle(), Tally { served: served(&["1.a", "2.b"]), scans: 1, ..Tally::default() });
}

#[test]
fn what_was_missed_under_the_walk_that_begins_to_watch_is_found_by_another() {
    let mut backend = Fixture::new();
    backend.log_in();
    let Output::Scan(id, load) = backend.output() else { panic!() };
    let index = Some(MailboxIndex::new(MessageList::default(), backend.times(), false));
    backend.put("new/1.a"); // after the scan has been there, and its event is lost
    backend.registry.events_lost();
    backend.scanned(id, Ok(ScanResult { watched: true, ..loaded(load.maildir, index) }));
    assert_eq!(backend.settle(), Tally { served: served(&["1.a"]), scans: 1, ..Tally::default() });
}

#[test]
fn a_delivery_is_seen_at_once_and_its_notice_changes_nothing() {
    let mut backend = open_mailbox();
    backend.put("new/2.b");
    let found = backend.found("new/2.b");
    backend.registry.message_delivered(&backend.mailbox, backend.maildir.id(), found);
    backend.report_changed("new/2.b");
    backend.log_in();
    assert_eq!(backend.settle(), Tally { served: served(&["1.a", "2.b"]), rechecks: 1, ..Tally::default() });
}

#[test]
fn a_delivery_that_a_look_has_seen_already_is_not_looked_at_again() {
    let mut backend = open_mailbox();
    backend.put("new/2.b");
    let found = backend.found("new/2.b");
    backend.report_changed("new/2.b");
    assert_eq!(backend.settle().rechecks, 1);
    backend.registry.message_delivered(&backend.mailbox, backend.maildir.id(), found);
    backend.log_in();
    assert_eq!(backend.settle(), Tally { served: served(&["1.a", "2.b"]), ..Tally::default() });
}

#[test]
fn a_delivery_that_others_have_moved_or_removed_before_we_learn_of_it_does_not_come_back() {
    let mut backend = open_mailbox();
    for (name, moved_to) in [("new/2.b", Some("cur/2.b:2,S")), ("new/3.c", None)] {
        backend.put(name);
        let found = backend.found(name);
        match moved_to {
            Some(to) => std::fs::rename(backend.file(name), backend.file(to)).unwrap(),
            None => std::fs::remove_file(backend.file(name)).unwrap(),
        }
        backend.report_changed(name);
        moved_to.into_iter().for_each(|to| backend.report_changed(to));
        backend.settle();
        backend.registry.message_delivered(&backend.mailbox, backend.maildir.id(), found);
        backend.settle();
    }
    backend.log_in();
    assert_eq!(backend.settle().served, served(&["1.a", "2.b"]));
    std::fs::remove_file(backend.file("cur/2.b:2,S")).unwrap();
    backend.report_changed("cur/2.b:2,S");
    backend.settle();
    backend.registry.logout(&backend.mailbox, CLIENT);
    backend.log_in();
    assert_eq!(backend.settle().served, served(&["1.a"]));
}

#[test]
fn a_message_on_its_way_from_name_to_name_is_never_missing() {
    let mut backend = open_mailbox();
    std::fs::rename(backend.file("new/1.a"), backend.file("cur/1.a:2,")).unwrap();
    backend.report_changed("new/1.a");
    backend.log_in();
    let Output::Recheck(id, maildir, rechecks) = backend.output() else { panic!() };
    backend.work(Output::Recheck(id, maildir, rechecks));
    // The old name is gone, and the new one has no report yet.
    assert!(backend.outputs().is_empty(), "served without a message that is there");
    backend.report_changed("cur/1.a:2,");
    backend.reach_barriers();
    let tally = backend.settle();
    assert_eq!((tally.served, tally.scans), (served(&["1.a"]), 0));
}

#[test]
fn a_message_that_moved_under_a_walk_is_never_missing() {
    let mut backend = open_mailbox();
    backend.registry.events_lost();
    backend.log_in();
    let Output::Scan(id, load) = backend.output() else { panic!() };
    // The file was in cur/ while the scan read new/, and the other way round.
    let missing = load.known.difference(&MessageList::default());
    let index = Some(MailboxIndex::new(MessageList::default(), backend.times(), false));
    let barrier = backend.create_barrier();
    backend.scanned(id, Ok(ScanResult { barrier, missing, ..loaded(load.maildir, index) }));
    assert!(backend.outputs().is_empty());
    backend.report_changed("new/1.a");
    backend.reach_barriers();
    assert_eq!(backend.settle(), Tally { served: served(&["1.a"]), rechecks: 1, ..Tally::default() });
}

#[test]
fn a_session_that_doubts_a_message_has_it_looked_at() {
    let mut backend = open_mailbox();
    std::fs::remove_file(backend.file("new/1.a")).unwrap();
    backend.registry.recheck_message(&backend.mailbox, Subdir::New, b"1.a");
    assert_eq!(backend.settle().rechecks, 1);
    backend.log_in();
    assert_eq!(backend.settle().served, served(&[]));
}

#[test]
fn more_names_than_messages_are_found_by_a_walk() {
    let mut backend = open_mailbox();
    (0..10_001).for_each(|n| backend.report_changed(&format!("new/{n}.gone")));
    assert_eq!(backend.settle(), Tally { scans: 1, ..Tally::default() });
}

#[test]
fn many_names_of_one_identity_are_looked_at_some_at_a_time_and_a_login_waits_for_all_of_them() {
    let mut backend = Fixture::new();
    let name = |n: usize| format!("new/1700000000.same.host:2,a{n}");
    (0..2500).for_each(|n| backend.put(&name(n)));
    backend.log_in();
    assert_eq!(backend.settle().scans, 1);
    backend.registry.logout(&backend.mailbox, CLIENT);
    for n in 0..2500 {
        std::fs::remove_file(backend.file(&name(n))).unwrap();
        backend.report_changed(&name(n));
    }
    backend.log_in();
    assert_eq!(backend.settle(), Tally { served: served(&[]), rechecks: 5, ..Tally::default() });
}

#[test]
fn a_mailbox_that_was_replaced_is_another_one() {
    let mut backend = open_mailbox();
    let (before, late) = (Arc::clone(&backend.maildir), backend.id());
    std::fs::rename(backend.maildir.path(), backend.maildir.path().with_file_name("away")).unwrap();
    backend.maildir = Arc::new(backend.spool.open_or_create_maildir("bob").unwrap());
    backend.put("new/9.z");
    backend.log_in();
    let tally = backend.settle();
    assert_eq!((tally.served, tally.scans, tally.unwatched), (served(&["9.z"]), 1, 1));
    // A late result for the old index has no effect, and leaves no watch.
    backend.scanned(late, Ok(ScanResult { watched: true, ..loaded(before, None) }));
    assert_eq!(backend.settle(), Tally { unwatched: 1, ..Tally::default() });
}

#[test]
fn a_mailbox_that_cannot_be_looked_through_fails_the_login_and_the_next_one_begins_anew() {
    let mut backend = Fixture::new();
    backend.log_in();
    let Output::Scan(id, _) = backend.output() else { panic!() };
    backend.scanned(id, Err(Failure::MailboxUnusable));
    assert_eq!(
        backend.settle(),
        Tally { failed: Some(Failure::MailboxUnusable), unwatched: 1, ..Tally::default() }
    );
    backend.put("new/1.a");
    backend.log_in();
    assert_eq!(backend.settle().served, served(&["1.a"]));
}

#[test]
fn what_nobody_uses_is_forgotten_after_a_while_and_what_a_session_has_open_is_not() {
    let mut backend = open_mailbox();
    backend.log_in();
    backend.settle();
    backend.later(3600);
    backend.settle();
    assert_eq!(backend.registry.len(), 1);
    backend.registry.logout(&backend.mailbox, CLIENT);
    backend.later(1799);
    assert_eq!(backend.settle().unwatched, 0);
    backend.later(1);
    assert_eq!(backend.settle().unwatched, 1);
    assert_eq!(backend.registry.len(), 0);
}

#[test]
fn the_mailbox_not_used_for_longest_makes_room() {
    let mut little = Limits::default();
    little.index.max_memory = Size(200);
    for (limits, max) in [(Limits::default(), 2), (little, 10)] {
        let mut backend = Fixture::with(&limits, max);
        for name in ["a", "b", "c"] {
            backend.mailbox = Mailbox::named(name).unwrap();
            backend.maildir = Arc::new(backend.spool.open_or_create_maildir(name).unwrap());
            backend.put("new/1.x");
            backend.log_in();
            assert_eq!(backend.settle().served, served(&["1.x"]));
            backend.registry.logout(&backend.mailbox, CLIENT);
            backend.later(1);
        }
        let entry: BTreeSet<&str> = backend.registry.ids.keys().map(Mailbox::as_str).collect();
        assert_eq!(entry, BTreeSet::from(["b", "c"]));
    }
}
