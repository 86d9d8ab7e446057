mod stories;
mod times;
mod turns;
mod updates;

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::index::List;
use crate::{
    limits::Size,
    maildir::{Spool, scan, size_counter::Turn},
    proto::request::Maildrop,
};

/// A registry, one mailbox, and the worker that carries orders out when it is told to.
struct Desk {
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

impl Desk {
    fn new() -> Self {
        Self::with(&Limits::default(), 10)
    }

    fn with(limits: &Limits, most: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let maildir = Arc::new(spool.maildir_or_new("bob").unwrap());
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

    fn times(&self) -> Times {
        scan::times(&self.maildir).unwrap()
    }

    /// A login that makes a mark, which is not told yet.
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

    /// Everything that happened so far has been told.
    fn tell_marks(&mut self) {
        self.registry.told(self.marks);
        self.registry.settle();
    }

    fn id(&self) -> IndexId {
        self.registry.ids[&self.mailbox]
    }

    fn tell(&mut self, name: &str) {
        let (place, name) = named(name);
        self.registry.notice(Notice::Name(self.id(), place, name));
    }

    fn tell_removed(&mut self, name: &str) {
        let (place, name) = named(name);
        self.registry.notice(Notice::Removed(self.id(), place, name));
    }

    fn found(&self, name: &str) -> Found {
        let (place, name) = name.split_once('/').unwrap();
        assert_eq!(place, "new");
        let scan = scan::scan(&self.maildir, [], &mut Turn::endless(u64::MAX)).unwrap().unwrap();
        scan.found.into_iter().find(|found| *found.name == *name.as_bytes()).unwrap()
    }

    fn work(&mut self, order: Order) {
        match order {
            Order::Load(id, load) => {
                let times = scan::times(&load.maildir).unwrap();
                let young = scan::is_young(&times, self.date());
                let index = (load.unless != Some(times)).then(|| {
                    let scan = scan::scan(&load.maildir, [], &mut Turn::endless(u64::MAX)).unwrap().unwrap();
                    Index::new(List::of(scan.found), times, young)
                });
                let watched = load.watch && self.watchable;
                let mark = self.mark();
                self.registry.loaded(id, Ok(Loaded { watched, mark, ..loaded(load.maildir, index) }));
                self.tell_marks();
            }
            Order::Look(id, maildir, looks) => {
                let times = scan::times(&maildir).unwrap();
                let seen = scan::look(&maildir, &looks, &mut Turn::endless(u64::MAX)).unwrap();
                let (changes, left_out) = seen.unwrap();
                let young = scan::is_young(&times, self.date());
                let mark = self.mark();
                self.registry.looked(id, Ok(Looked { times, young, changes, left_out, mark }));
            }
            Order::Check(id, maildir) => {
                let times = scan::times(&maildir).map_err(|_| Fault::Broken);
                self.registry.checked(id, times);
            }
            other => panic!("not for a worker: {other:?}"),
        }
    }

    /// Carries everything out, and returns what was said to clients, and how many walks and looks it took.
    fn settle(&mut self) -> Told {
        let mut told = Told::default();
        loop {
            self.registry.begin_turn();
            self.registry.settle();
            let orders = self.registry.orders();
            if orders.is_empty() && !self.registry.is_spent() {
                return told;
            }
            for order in orders {
                match order {
                    Order::Serve(to, snapshot) => {
                        assert_eq!(to, CLIENT);
                        told.served = Some(ids(&snapshot));
                    }
                    Order::Fail(_, fault) => told.failed = Some(fault),
                    Order::Unwatch(..) => told.unwatched += 1,
                    Order::Free(_) => {}
                    Order::Load(..) => {
                        told.walks += 1;
                        self.work(order);
                    }
                    Order::Look(..) => {
                        told.looks += 1;
                        self.work(order);
                        self.tell_marks();
                    }
                    Order::Check(..) => self.work(order),
                }
            }
        }
    }

    /// The one order that there is.
    fn order(&mut self) -> Order {
        let mut orders = self.registry.orders();
        assert_eq!(orders.len(), 1, "{orders:?}");
        orders.remove(0)
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.registry.tick(self.now);
    }

    /// Long after every change of the files.
    fn date(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1 << 34)
    }
}

fn named(name: &str) -> (Place, Box<[u8]>) {
    let (place, name) = name.split_once('/').unwrap();
    (if place == "new" { Place::New } else { Place::Cur }, name.as_bytes().into())
}

fn loaded(maildir: Arc<Maildir>, index: Option<Index>) -> Loaded {
    Loaded {
        maildir,
        index,
        watched: false,
        left_out: Vec::new(),
        missing: Vec::new(),
        doubles: Vec::new(),
        mark: None,
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    served: Option<Vec<String>>,
    failed: Option<Fault>,
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

/// A mailbox that was looked through, and its session is over.
fn open_mailbox() -> Desk {
    let mut desk = Desk::new();
    desk.put("new/1.a");
    desk.log_in();
    assert_eq!(desk.settle(), Told { served: served(&["1.a"]), walks: 1, ..Told::default() });
    desk.registry.logout(&desk.mailbox);
    desk
}

#[test]
fn a_login_to_a_watched_mailbox_costs_no_look_at_the_disk() {
    let mut desk = open_mailbox();
    desk.log_in();
    assert_eq!(desk.settle(), Told { served: served(&["1.a"]), ..Told::default() });
}

#[test]
fn a_login_sees_what_was_told_before_its_mark() {
    let mut desk = open_mailbox();
    desk.put("new/2.b");
    desk.tell("new/2.b");
    desk.log_in();
    assert_eq!(desk.settle(), Told { served: served(&["1.a", "2.b"]), looks: 1, ..Told::default() });
}

#[test]
fn a_login_waits_for_its_mark_and_for_nothing_that_comes_after_it() {
    let mut desk = open_mailbox();
    desk.log_in_unmarked();
    desk.put("new/2.b");
    desk.tell("new/2.b");
    desk.registry.settle();
    let look = desk.order();
    desk.work(look);
    assert!(desk.registry.orders().is_empty(), "served before its mark");
    desk.tell_marks();
    desk.put("new/3.c");
    desk.tell("new/3.c");
    desk.registry.settle();
    let [Order::Serve(_, snapshot), Order::Look(..)] = &desk.registry.orders()[..] else {
        panic!("not served at once")
    };
    assert_eq!(ids(snapshot), ["1.a", "2.b"]);
}

#[test]
fn a_watch_that_is_silent_is_not_trusted() {
    let mut desk = open_mailbox();
    desk.put("new/2.b");
    desk.log_in_unmarked();
    assert_eq!(desk.settle(), Told::default());
    desk.later(1);
    assert_eq!(desk.settle(), Told { served: served(&["1.a", "2.b"]), walks: 1, ..Told::default() });
}

#[test]
fn what_was_missed_is_found_by_a_walk() {
    let mut desk = open_mailbox();
    desk.put("new/2.b");
    desk.registry.missed();
    desk.log_in();
    assert_eq!(desk.settle(), Told { served: served(&["1.a", "2.b"]), walks: 1, ..Told::default() });
}

#[test]
fn what_was_missed_under_the_walk_that_begins_to_watch_is_found_by_another() {
    let mut desk = Desk::new();
    desk.log_in();
    let Order::Load(id, load) = desk.order() else { panic!() };
    let index = Some(Index::new(List::default(), desk.times(), false));
    desk.put("new/1.a"); // after the walk has been there, and the notice of it is lost
    desk.registry.missed();
    desk.registry.loaded(id, Ok(Loaded { watched: true, ..loaded(load.maildir, index) }));
    assert_eq!(desk.settle(), Told { served: served(&["1.a"]), walks: 1, ..Told::default() });
}

#[test]
fn a_delivery_is_seen_at_once_and_its_notice_changes_nothing() {
    let mut desk = open_mailbox();
    desk.put("new/2.b");
    let found = desk.found("new/2.b");
    desk.registry.delivered(&desk.mailbox, desk.maildir.key(), found);
    desk.tell("new/2.b");
    desk.log_in();
    assert_eq!(desk.settle(), Told { served: served(&["1.a", "2.b"]), looks: 1, ..Told::default() });
}

#[test]
fn a_delivery_that_a_look_has_seen_already_is_not_looked_at_again() {
    let mut desk = open_mailbox();
    desk.put("new/2.b");
    let found = desk.found("new/2.b");
    desk.tell("new/2.b");
    assert_eq!(desk.settle().looks, 1);
    desk.registry.delivered(&desk.mailbox, desk.maildir.key(), found);
    desk.log_in();
    assert_eq!(desk.settle(), Told { served: served(&["1.a", "2.b"]), ..Told::default() });
}

#[test]
fn a_delivery_that_others_have_moved_or_removed_before_we_learn_of_it_does_not_come_back() {
    let mut desk = open_mailbox();
    for (name, moved_to) in [("new/2.b", Some("cur/2.b:2,S")), ("new/3.c", None)] {
        desk.put(name);
        let found = desk.found(name);
        match moved_to {
            Some(to) => std::fs::rename(desk.file(name), desk.file(to)).unwrap(),
            None => std::fs::remove_file(desk.file(name)).unwrap(),
        }
        desk.tell(name);
        moved_to.into_iter().for_each(|to| desk.tell(to));
        desk.settle();
        desk.registry.delivered(&desk.mailbox, desk.maildir.key(), found);
        desk.settle();
    }
    desk.log_in();
    assert_eq!(desk.settle().served, served(&["1.a", "2.b"]));
    std::fs::remove_file(desk.file("cur/2.b:2,S")).unwrap();
    desk.tell("cur/2.b:2,S");
    desk.settle();
    desk.registry.logout(&desk.mailbox);
    desk.log_in();
    assert_eq!(desk.settle().served, served(&["1.a"]));
}

#[test]
fn a_message_on_its_way_from_name_to_name_is_never_missing() {
    let mut desk = open_mailbox();
    std::fs::rename(desk.file("new/1.a"), desk.file("cur/1.a:2,")).unwrap();
    desk.tell("new/1.a");
    desk.log_in();
    let Order::Look(id, maildir, looks) = desk.order() else { panic!() };
    desk.work(Order::Look(id, maildir, looks));
    // Nothing is there by its old name, and its new one has not been told yet.
    assert!(desk.registry.orders().is_empty(), "served without a message that is there");
    desk.tell("cur/1.a:2,");
    desk.tell_marks();
    let told = desk.settle();
    assert_eq!((told.served, told.walks), (served(&["1.a"]), 0));
}

#[test]
fn a_message_that_moved_under_a_walk_is_never_missing() {
    let mut desk = open_mailbox();
    desk.registry.missed();
    desk.log_in();
    let Order::Load(id, load) = desk.order() else { panic!() };
    // It was in cur/ while new/ was walked through, and the other way round.
    let missing = load.known.without(&List::default());
    let index = Some(Index::new(List::default(), desk.times(), false));
    let mark = desk.mark();
    desk.registry.loaded(id, Ok(Loaded { mark, missing, ..loaded(load.maildir, index) }));
    desk.registry.orders().into_iter().for_each(|order| assert!(matches!(order, Order::Free(_))));
    desk.tell("new/1.a");
    desk.tell_marks();
    assert_eq!(desk.settle(), Told { served: served(&["1.a"]), looks: 1, ..Told::default() });
}

#[test]
fn a_session_that_doubts_a_message_has_it_looked_at() {
    let mut desk = open_mailbox();
    std::fs::remove_file(desk.file("new/1.a")).unwrap();
    desk.registry.doubt(&desk.mailbox, Place::New, b"1.a");
    assert_eq!(desk.settle().looks, 1);
    desk.log_in();
    assert_eq!(desk.settle().served, served(&[]));
}

#[test]
fn more_names_than_messages_are_found_by_a_walk() {
    let mut desk = open_mailbox();
    (0..10_001).for_each(|n| desk.tell(&format!("new/{n}.gone")));
    assert_eq!(desk.settle(), Told { walks: 1, ..Told::default() });
}

#[test]
fn many_names_of_one_identity_are_looked_at_some_at_a_time_and_a_login_waits_for_all_of_them() {
    let mut desk = Desk::new();
    let name = |n: usize| format!("new/1700000000.same.host:2,a{n}");
    (0..2500).for_each(|n| desk.put(&name(n)));
    desk.log_in();
    assert_eq!(desk.settle().walks, 1);
    desk.registry.logout(&desk.mailbox);
    for n in 0..2500 {
        std::fs::remove_file(desk.file(&name(n))).unwrap();
        desk.tell(&name(n));
    }
    desk.log_in();
    assert_eq!(desk.settle(), Told { served: served(&[]), looks: 5, ..Told::default() });
}

#[test]
fn a_mailbox_that_was_replaced_is_another_one() {
    let mut desk = open_mailbox();
    let (before, late) = (Arc::clone(&desk.maildir), desk.id());
    std::fs::rename(desk.maildir.path(), desk.maildir.path().with_file_name("away")).unwrap();
    desk.maildir = Arc::new(desk.spool.maildir_or_new("bob").unwrap());
    desk.put("new/9.z");
    desk.log_in();
    let told = desk.settle();
    assert_eq!((told.served, told.walks, told.unwatched), (served(&["9.z"]), 1, 1));
    // A late result for the old one finds nobody, and leaves no watch behind.
    desk.registry.loaded(late, Ok(Loaded { watched: true, ..loaded(before, None) }));
    assert_eq!(desk.settle(), Told { unwatched: 1, ..Told::default() });
}

#[test]
fn a_mailbox_that_cannot_be_looked_through_fails_the_login_and_the_next_one_begins_anew() {
    let mut desk = Desk::new();
    desk.log_in();
    let Order::Load(id, _) = desk.order() else { panic!() };
    desk.registry.loaded(id, Err(Fault::Unusable));
    assert_eq!(desk.settle(), Told { failed: Some(Fault::Unusable), unwatched: 1, ..Told::default() });
    desk.put("new/1.a");
    desk.log_in();
    assert_eq!(desk.settle().served, served(&["1.a"]));
}

#[test]
fn what_nobody_uses_is_forgotten_after_a_while_and_what_a_session_has_open_is_not() {
    let mut desk = open_mailbox();
    desk.log_in();
    desk.settle();
    desk.later(3600);
    desk.settle();
    assert_eq!(desk.registry.len(), 1);
    desk.registry.logout(&desk.mailbox);
    desk.later(1799);
    assert_eq!(desk.settle().unwatched, 0);
    desk.later(1);
    assert_eq!(desk.settle().unwatched, 1);
    assert_eq!(desk.registry.len(), 0);
}

#[test]
fn the_mailbox_not_used_for_longest_makes_room() {
    for (limits, most) in
        [(Limits::default(), 2), (Limits { index_memory: Size(200), ..Limits::default() }, 10)]
    {
        let mut desk = Desk::with(&limits, most);
        for name in ["a", "b", "c"] {
            desk.mailbox = Mailbox::named(name).unwrap();
            desk.maildir = Arc::new(desk.spool.maildir_or_new(name).unwrap());
            desk.put("new/1.x");
            desk.log_in();
            assert_eq!(desk.settle().served, served(&["1.x"]));
            desk.registry.logout(&desk.mailbox);
            desk.later(1);
        }
        let held: BTreeSet<&str> = desk.registry.ids.keys().map(Mailbox::as_str).collect();
        assert_eq!(held, BTreeSet::from(["b", "c"]));
    }
}

#[test]
fn a_walk_whose_turn_is_over_is_queued_again_while_its_mailbox_is_held() {
    let mut desk = Desk::new();
    desk.put("new/1.a");
    desk.log_in();
    let Order::Load(id, load) = desk.order() else { panic!("no walk") };
    desk.registry.unfinished(id, load);
    assert_eq!(desk.settle(), Told { served: served(&["1.a"]), walks: 1, ..Told::default() });
    desk.registry.notice(Notice::Lost(id));
    desk.registry.settle();
    let load = desk.registry.orders().into_iter().find_map(|order| match order {
        Order::Load(_, load) => Some(load),
        _ => None,
    });
    desk.registry.failed(id);
    desk.registry.orders();
    desk.registry.unfinished(id, load.expect("a walk"));
    let orders = desk.registry.orders();
    assert!(matches!(&orders[..], [Order::Unwatch(other, _), Order::Free(_)] if *other == id), "{orders:?}");
}
