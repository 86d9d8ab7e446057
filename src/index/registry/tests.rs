mod events;
mod output;
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
        size_counter::CountingTurn,
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
    marks: u64,
    now: Duration,
}

const CLIENT: ConnId = ConnId(7);

impl Fixture {
    fn new() -> Self {
        Self::with(&Limits::default(), 10)
    }

    fn with(limits: &Limits, most: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let maildir = Arc::new(spool.open_or_create_maildir("bob").unwrap());
        let registry = Registry::new(limits, most);
        let mailbox = Mailbox::named("bob").unwrap();
        Self { _dir: dir, spool, registry, maildir, mailbox, watchable: true, marks: 0, now: Duration::ZERO }
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
    fn log_in_unmarked(&mut self) {
        let (mark, times) = (self.mark(), self.times());
        self.registry.login(&self.mailbox, &self.maildir, times, mark, CLIENT);
    }

    fn log_in(&mut self) {
        self.log_in_unmarked();
        self.tell_marks();
    }

    fn mark(&mut self) -> Option<u64> {
        self.marks += 1;
        self.watchable.then_some(self.marks)
    }

    /// Reaches every barrier created so far.
    fn tell_marks(&mut self) {
        self.registry.barrier_reached(self.marks);
        self.registry.apply_events();
    }

    fn id(&self) -> IndexId {
        self.registry.ids[&self.mailbox]
    }

    fn tell(&mut self, name: &str) {
        let (place, name) = named(name);
        self.registry.on_event(MailboxEvent::NameChanged(self.id(), place, name));
    }

    fn tell_removed(&mut self, name: &str) {
        let (place, name) = named(name);
        self.registry.on_event(MailboxEvent::NameRemoved(self.id(), place, name));
    }

    fn found(&self, name: &str) -> MessageEntry {
        let (place, name) = name.split_once('/').unwrap();
        assert_eq!(place, "new");
        let scan = scan::scan(&self.maildir, [], &mut CountingTurn::unbounded(u64::MAX)).unwrap().unwrap();
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
                let young = scan::is_racy(&times, self.date());
                let index = (load.unless != Some(times)).then(|| {
                    let scan = scan::scan(&load.maildir, [], &mut CountingTurn::unbounded(u64::MAX))
                        .unwrap()
                        .unwrap();
                    MailboxIndex::new(MessageList::from_messages(scan.messages), times, young)
                });
                let watched = load.watch && self.watchable;
                let mark = self.mark();
                self.scanned(id, Ok(ScanResult { watched, barrier: mark, ..loaded(load.maildir, index) }));
                self.tell_marks();
            }
            Output::Recheck(id, maildir, looks) => {
                let times = scan::dir_times(&maildir).unwrap();
                let seen = scan::recheck(&maildir, &looks, &mut CountingTurn::unbounded(u64::MAX)).unwrap();
                let (changes, left_out) = seen.unwrap();
                let young = scan::is_racy(&times, self.date());
                let mark = self.mark();
                self.registry.recheck_finished(
                    id,
                    Ok(RecheckResult { times, racy: young, changes, skipped: left_out, barrier: mark }),
                );
            }
            Output::CheckTimes(id, maildir) => {
                let times = scan::dir_times(&maildir).map_err(|_| Failure::Broken);
                let (changes, skipped) = Default::default();
                let found =
                    times.map(|times| RecheckResult { times, racy: false, changes, skipped, barrier: None });
                self.registry.complete(id, IndexResult::Rechecked(found));
            }
            other => panic!("not for a worker: {other:?}"),
        }
    }

    /// Carries out all orders. Returns the replies to clients, and the number of scans and rechecks.
    fn settle(&mut self) -> Told {
        let mut told = Told::default();
        loop {
            self.registry.begin_turn();
            self.registry.apply_events();
            let orders = self.outputs();
            if orders.is_empty() && !self.registry.is_spent() {
                return told;
            }
            for order in orders {
                match order {
                    Output::Served(to, snapshot) => {
                        assert_eq!(to, CLIENT);
                        told.served = Some(ids(&snapshot));
                    }
                    Output::Refused(fault) => told.failed = Some(fault),
                    Output::Unwatch(..) => told.unwatched += 1,
                    Output::Scan(..) => {
                        told.walks += 1;
                        self.work(order);
                    }
                    Output::Recheck(..) => {
                        told.looks += 1;
                        self.work(order);
                        self.tell_marks();
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
    let (place, name) = name.split_once('/').unwrap();
    (if place == "new" { Subdir::New } else { Subdir::Cur }, name.as_bytes().into())
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
struct Told {
    served: Option<Vec<String>>,
    failed: Option<Failure>,
    walks: usize,
    looks: usize,
    unwatched: usize,
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
    assert_eq!(backend.settle(), Told { served: served(&["1.a"]), walks: 1, ..Told::default() });
    backend.registry.logout(&backend.mailbox, CLIENT);
    backend
}

#[test]
fn a_login_to_a_watched_mailbox_costs_no_look_at_the_disk() {
    let mut backend = open_mailbox();
    backend.log_in();
    assert_eq!(backend.settle(), Told { served: served(&["1.a"]), ..Told::default() });
}

#[test]
fn a_login_sees_what_was_told_before_its_mark() {
    let mut backend = open_mailbox();
    backend.put("new/2.b");
    backend.tell("new/2.b");
    backend.log_in();
    assert_eq!(backend.settle(), Told { served: served(&["1.a", "2.b"]), looks: 1, ..Told::default() });
}

#[test]
fn a_login_waits_for_its_mark_and_for_nothing_that_comes_after_it() {
    let mut backend = open_mailbox();
    backend.log_in_unmarked();
    backend.put("new/2.b");
    backend.tell("new/2.b");
    backend.registry.apply_events();
    let look = backend.output();
    backend.work(look);
    assert!(backend.outputs().is_empty(), "served before its mark");
    backend.tell_marks();
    backend.put("new/3.c");
    backend.tell("new/3.c");
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
    backend.log_in_unmarked();
    assert_eq!(backend.settle(), Told::default());
    backend.later(1);
    assert_eq!(backend.settle(), Told { served: served(&["1.a", "2.b"]), walks: 1, ..Told::default() });
}

#[test]
fn what_was_missed_is_found_by_a_walk() {
    let mut backend = open_mailbox();
    backend.put("new/2.b");
    backend.registry.events_lost();
    backend.log_in();
    assert_eq!(backend.settle(), Told { served: served(&["1.a", "2.b"]), walks: 1, ..Told::default() });
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
    assert_eq!(backend.settle(), Told { served: served(&["1.a"]), walks: 1, ..Told::default() });
}

#[test]
fn a_delivery_is_seen_at_once_and_its_notice_changes_nothing() {
    let mut backend = open_mailbox();
    backend.put("new/2.b");
    let found = backend.found("new/2.b");
    backend.registry.message_delivered(&backend.mailbox, backend.maildir.id(), found);
    backend.tell("new/2.b");
    backend.log_in();
    assert_eq!(backend.settle(), Told { served: served(&["1.a", "2.b"]), looks: 1, ..Told::default() });
}

#[test]
fn a_delivery_that_a_look_has_seen_already_is_not_looked_at_again() {
    let mut backend = open_mailbox();
    backend.put("new/2.b");
    let found = backend.found("new/2.b");
    backend.tell("new/2.b");
    assert_eq!(backend.settle().looks, 1);
    backend.registry.message_delivered(&backend.mailbox, backend.maildir.id(), found);
    backend.log_in();
    assert_eq!(backend.settle(), Told { served: served(&["1.a", "2.b"]), ..Told::default() });
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
        backend.tell(name);
        moved_to.into_iter().for_each(|to| backend.tell(to));
        backend.settle();
        backend.registry.message_delivered(&backend.mailbox, backend.maildir.id(), found);
        backend.settle();
    }
    backend.log_in();
    assert_eq!(backend.settle().served, served(&["1.a", "2.b"]));
    std::fs::remove_file(backend.file("cur/2.b:2,S")).unwrap();
    backend.tell("cur/2.b:2,S");
    backend.settle();
    backend.registry.logout(&backend.mailbox, CLIENT);
    backend.log_in();
    assert_eq!(backend.settle().served, served(&["1.a"]));
}

#[test]
fn a_message_on_its_way_from_name_to_name_is_never_missing() {
    let mut backend = open_mailbox();
    std::fs::rename(backend.file("new/1.a"), backend.file("cur/1.a:2,")).unwrap();
    backend.tell("new/1.a");
    backend.log_in();
    let Output::Recheck(id, maildir, looks) = backend.output() else { panic!() };
    backend.work(Output::Recheck(id, maildir, looks));
    // The old name is gone, and the new one has no report yet.
    assert!(backend.outputs().is_empty(), "served without a message that is there");
    backend.tell("cur/1.a:2,");
    backend.tell_marks();
    let told = backend.settle();
    assert_eq!((told.served, told.walks), (served(&["1.a"]), 0));
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
    let mark = backend.mark();
    backend.scanned(id, Ok(ScanResult { barrier: mark, missing, ..loaded(load.maildir, index) }));
    assert!(backend.outputs().is_empty());
    backend.tell("new/1.a");
    backend.tell_marks();
    assert_eq!(backend.settle(), Told { served: served(&["1.a"]), looks: 1, ..Told::default() });
}

#[test]
fn a_session_that_doubts_a_message_has_it_looked_at() {
    let mut backend = open_mailbox();
    std::fs::remove_file(backend.file("new/1.a")).unwrap();
    backend.registry.recheck_message(&backend.mailbox, Subdir::New, b"1.a");
    assert_eq!(backend.settle().looks, 1);
    backend.log_in();
    assert_eq!(backend.settle().served, served(&[]));
}

#[test]
fn more_names_than_messages_are_found_by_a_walk() {
    let mut backend = open_mailbox();
    (0..10_001).for_each(|n| backend.tell(&format!("new/{n}.gone")));
    assert_eq!(backend.settle(), Told { walks: 1, ..Told::default() });
}

#[test]
fn many_names_of_one_identity_are_looked_at_some_at_a_time_and_a_login_waits_for_all_of_them() {
    let mut backend = Fixture::new();
    let name = |n: usize| format!("new/1700000000.same.host:2,a{n}");
    (0..2500).for_each(|n| backend.put(&name(n)));
    backend.log_in();
    assert_eq!(backend.settle().walks, 1);
    backend.registry.logout(&backend.mailbox, CLIENT);
    for n in 0..2500 {
        std::fs::remove_file(backend.file(&name(n))).unwrap();
        backend.tell(&name(n));
    }
    backend.log_in();
    assert_eq!(backend.settle(), Told { served: served(&[]), looks: 5, ..Told::default() });
}

#[test]
fn a_mailbox_that_was_replaced_is_another_one() {
    let mut backend = open_mailbox();
    let (before, late) = (Arc::clone(&backend.maildir), backend.id());
    std::fs::rename(backend.maildir.path(), backend.maildir.path().with_file_name("away")).unwrap();
    backend.maildir = Arc::new(backend.spool.open_or_create_maildir("bob").unwrap());
    backend.put("new/9.z");
    backend.log_in();
    let told = backend.settle();
    assert_eq!((told.served, told.walks, told.unwatched), (served(&["9.z"]), 1, 1));
    // A late result for the old index has no effect, and leaves no watch.
    backend.scanned(late, Ok(ScanResult { watched: true, ..loaded(before, None) }));
    assert_eq!(backend.settle(), Told { unwatched: 1, ..Told::default() });
}

#[test]
fn a_mailbox_that_cannot_be_looked_through_fails_the_login_and_the_next_one_begins_anew() {
    let mut backend = Fixture::new();
    backend.log_in();
    let Output::Scan(id, _) = backend.output() else { panic!() };
    backend.scanned(id, Err(Failure::Unusable));
    assert_eq!(backend.settle(), Told { failed: Some(Failure::Unusable), unwatched: 1, ..Told::default() });
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
    for (limits, most) in
        [(Limits::default(), 2), (Limits { index_memory: Size(200), ..Limits::default() }, 10)]
    {
        let mut backend = Fixture::with(&limits, most);
        for name in ["a", "b", "c"] {
            backend.mailbox = Mailbox::named(name).unwrap();
            backend.maildir = Arc::new(backend.spool.open_or_create_maildir(name).unwrap());
            backend.put("new/1.x");
            backend.log_in();
            assert_eq!(backend.settle().served, served(&["1.x"]));
            backend.registry.logout(&backend.mailbox, CLIENT);
            backend.later(1);
        }
        let held: BTreeSet<&str> = backend.registry.ids.keys().map(Mailbox::as_str).collect();
        assert_eq!(held, BTreeSet::from(["b", "c"]));
    }
}
