//! A session deletes at its end, and other programs are at work.

use super::*;

/// A session that has three messages before it.
fn session() -> Desk {
    let mut desk = Desk::new();
    ["new/1.a", "new/2.b", "new/3.c"].into_iter().for_each(|name| desk.put(name));
    desk.log_in();
    assert_eq!(desk.settle().served, served(&["1.a", "2.b", "3.c"]));
    desk
}

impl Desk {
    /// A worker begins to delete for the session; `true`: it is to end the watch.
    fn update(&mut self, names: usize) -> bool {
        let unwatch = self.registry.updating(&self.mailbox, self.maildir.key(), names);
        assert!(unwatch.is_none_or(|id| id == self.id()));
        unwatch.is_some()
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.file(name)).unwrap();
    }

    /// The worker is done, and makes a mark.
    fn updated(&mut self, gone: &[&str]) {
        let gone = gone.iter().map(|name| named(name)).collect();
        let seen = Some((self.times(), false));
        let done = Done { gone, touched: Vec::new(), seen, mark: self.mark() };
        self.registry.updated(&self.mailbox, self.maildir.key(), done);
        self.registry.logout(&self.mailbox);
    }
}

#[test]
fn what_a_session_deleted_and_the_watch_told_so_is_not_looked_at() {
    let mut desk = session();
    assert!(!desk.update(2));
    for name in ["new/1.a", "new/3.c"] {
        desk.remove(name);
        desk.tell_removed(name);
    }
    assert_eq!(desk.settle(), Told::default());
    desk.updated(&["new/1.a", "new/3.c"]);
    assert_eq!(desk.settle(), Told::default());
    desk.tell_marks();
    desk.log_in();
    assert_eq!(desk.settle(), Told { served: served(&["2.b"]), ..Told::default() });
    // Nor are its changes found by comparing times.
    desk.later(61);
    desk.later(62);
    assert_eq!(desk.settle(), Told::default());
}

#[test]
fn a_login_right_after_a_deletion_waits_until_all_of_it_is_told() {
    let mut desk = session();
    desk.update(1);
    desk.remove("new/1.a");
    desk.updated(&["new/1.a"]);
    desk.put("new/4.d");
    desk.log_in_unmarked();
    desk.tell_removed("new/1.a");
    desk.tell("new/4.d");
    assert_eq!(desk.settle(), Told::default());
    desk.tell_marks();
    assert_eq!(desk.settle(), Told { served: served(&["2.b", "3.c", "4.d"]), looks: 1, ..Told::default() });
}

#[test]
fn nothing_is_looked_at_during_a_deletion_and_all_that_others_did_is_afterwards() {
    let mut desk = session();
    desk.put("new/4.d");
    desk.tell("new/4.d");
    desk.update(1);
    desk.put("new/5.e");
    desk.tell("new/5.e");
    std::fs::rename(desk.file("new/2.b"), desk.file("cur/2.b:2,S")).unwrap();
    desk.tell("new/2.b");
    desk.tell("cur/2.b:2,S");
    desk.remove("new/3.c");
    desk.tell_removed("new/3.c");
    desk.remove("new/1.a");
    desk.tell_removed("new/1.a");
    assert_eq!(desk.settle(), Told::default());
    desk.updated(&["new/1.a"]);
    desk.tell_marks();
    desk.log_in();
    assert_eq!(desk.settle(), Told { served: served(&["2.b", "4.d", "5.e"]), looks: 1, ..Told::default() });
}

#[test]
fn a_file_that_takes_a_name_that_was_deleted_is_found_whenever_that_is_told() {
    for told_before in 0..3 {
        let mut desk = session();
        desk.update(1);
        desk.remove("new/1.a");
        desk.put("new/1.a");
        let tell = [Desk::tell_removed as fn(&mut Desk, &str), Desk::tell];
        tell.iter().take(told_before).for_each(|tell| tell(&mut desk, "new/1.a"));
        desk.updated(&["new/1.a"]);
        tell.iter().skip(told_before).for_each(|tell| tell(&mut desk, "new/1.a"));
        desk.tell_marks();
        desk.log_in();
        assert_eq!(desk.settle().served, served(&["1.a", "2.b", "3.c"]), "{told_before} told before");
    }
}

#[test]
fn a_name_that_the_worker_calls_gone_and_the_watch_does_not_is_looked_at() {
    let mut desk = session();
    // It was moved, and another file has its name: all this is told and seen before the deletion.
    std::fs::rename(desk.file("new/1.a"), desk.file("cur/1.a:2,S")).unwrap();
    desk.put("new/1.a");
    ["new/1.a", "cur/1.a:2,S"].into_iter().for_each(|name| desk.tell(name));
    assert_eq!(desk.settle().looks, 1);
    desk.update(1);
    desk.remove("cur/1.a:2,S");
    desk.tell_removed("cur/1.a:2,S");
    desk.updated(&["cur/1.a:2,S", "new/1.a"]);
    desk.tell_marks();
    desk.log_in();
    assert_eq!(desk.settle(), Told { served: served(&["1.a", "2.b", "3.c"]), looks: 1, ..Told::default() });
}

#[test]
fn a_look_that_was_under_way_does_not_bring_back_what_was_deleted() {
    let mut desk = session();
    desk.tell("new/1.a");
    desk.registry.settle();
    let Order::Look(id, maildir, looks) = desk.order() else { panic!() };
    let (times, mark) = (desk.times(), desk.mark());
    let (changes, left_out) = scan::look(&maildir, &looks, &mut Turn::endless(u64::MAX)).unwrap().unwrap();
    desk.update(1);
    desk.remove("new/1.a");
    desk.tell_removed("new/1.a");
    desk.updated(&["new/1.a"]);
    desk.tell_marks();
    desk.registry.looked(id, Ok(Looked { times, young: false, changes, left_out, mark }));
    desk.log_in();
    assert_eq!(desk.settle().served, served(&["2.b", "3.c"]));
}

#[test]
fn what_was_missed_during_a_deletion_is_found_by_a_walk_after_it() {
    for is_over in [false, true] {
        let mut desk = session();
        desk.update(1);
        desk.remove("new/1.a");
        desk.put("new/4.d");
        if !is_over {
            desk.registry.missed();
            assert_eq!(desk.settle(), Told::default());
        }
        desk.updated(&["new/1.a"]);
        if is_over {
            desk.registry.missed();
        }
        desk.log_in();
        assert_eq!(
            desk.settle(),
            Told { served: served(&["2.b", "3.c", "4.d"]), walks: 1, ..Told::default() }
        );
    }
}

#[test]
fn a_watch_that_is_silent_about_a_deletion_is_not_trusted() {
    let mut desk = session();
    desk.update(1);
    desk.remove("new/1.a");
    desk.later(100); // however long it takes
    assert_eq!(desk.settle(), Told::default());
    desk.put("new/4.d");
    desk.updated(&["new/1.a"]);
    desk.log_in_unmarked();
    desk.later(101);
    assert_eq!(desk.settle(), Told { served: served(&["2.b", "3.c", "4.d"]), walks: 1, ..Told::default() });
}

#[test]
fn a_deletion_that_nobody_tells_the_end_of_is_looked_through() {
    let mut desk = session();
    desk.update(1);
    desk.remove("new/1.a");
    desk.tell_removed("new/1.a");
    desk.registry.logout(&desk.mailbox); // the job panicked, or was not taken
    desk.log_in();
    assert_eq!(desk.settle(), Told { served: served(&["2.b", "3.c"]), walks: 1, ..Told::default() });
}

#[test]
fn without_a_watch_every_name_is_looked_at() {
    let mut desk = Desk::new();
    desk.watchable = false;
    desk.put("new/1.a");
    desk.log_in();
    desk.settle();
    assert!(!desk.update(5000), "there is no watch to end");
    desk.remove("new/1.a");
    desk.put("new/1.a");
    desk.updated(&["new/1.a"]);
    assert_eq!(desk.settle(), Told { looks: 1, ..Told::default() });
    desk.log_in();
    assert_eq!(desk.settle().served, served(&["1.a"]));
}

#[test]
fn many_deletions_end_the_watch_and_the_walk_after_them_begins_it_anew() {
    let mut desk = session();
    assert!(desk.update(1001));
    desk.remove("new/1.a");
    desk.put("new/4.d"); // nobody tells
    assert_eq!(desk.settle(), Told::default());
    desk.updated(&["new/1.a"]);
    desk.registry.settle();
    let Order::Load(id, load) = desk.order() else { panic!() };
    assert!(load.watch);
    desk.work(Order::Load(id, load));
    desk.log_in();
    assert_eq!(desk.settle(), Told { served: served(&["2.b", "3.c", "4.d"]), ..Told::default() });
}

#[test]
fn a_watch_that_an_earlier_walk_began_is_not_relied_on_after_many_deletions() {
    for is_over in [false, true] {
        let mut desk = session();
        desk.registry.notice(Notice::Lost(desk.id()));
        desk.registry.settle();
        let Order::Load(id, load) = desk.order() else { panic!() };
        assert!(load.watch);
        assert!(desk.update(1001));
        // The worker ends this watch, or begins it after that: it can't be told.
        let walk = Order::Load(id, load);
        if is_over {
            desk.updated(&[]);
            desk.work(walk);
        } else {
            desk.work(walk);
            desk.updated(&[]);
        }
        desk.registry.settle();
        let again = desk.registry.orders().into_iter().find_map(|order| match order {
            Order::Load(_, load) => Some(load.watch),
            _ => None,
        });
        assert_eq!(again, Some(true), "the update was over first: {is_over}");
    }
}

#[test]
fn many_deletions_of_a_session_are_left_to_a_walk_that_the_next_login_waits_for() {
    let mut desk = open_mailbox();
    std::fs::remove_file(desk.file("new/1.a")).unwrap();
    let named = |n: usize| (Place::New, format!("{n}.a").into_bytes().into());
    let done = Done { gone: (1..2000).map(named).collect(), ..Done::default() };
    desk.registry.updated(&desk.mailbox, desk.maildir.key(), done);
    desk.log_in();
    assert_eq!(desk.settle(), Told { served: served(&[]), walks: 1, ..Told::default() });
}

#[test]
fn what_happens_under_a_walk_is_not_lost() {
    let mut desk = open_mailbox();
    desk.put("new/2.b");
    let found = desk.found("new/2.b");
    desk.registry.missed();
    desk.registry.settle();
    let Order::Load(id, load) = desk.order() else { panic!() };
    // The walk has seen neither the delivery nor the deletion.
    let one = scan::scan(&desk.maildir, [], &mut Turn::endless(u64::MAX)).unwrap().unwrap().found;
    let before = one.into_iter().filter(|found| *found.name == *b"1.a").collect();
    std::fs::remove_file(desk.file("new/1.a")).unwrap();
    desk.registry.delivered(&desk.mailbox, desk.maildir.key(), found);
    let gone = vec![(Place::New, b"1.a".as_slice().into())];
    desk.registry.updated(&desk.mailbox, desk.maildir.key(), Done { gone, ..Done::default() });
    desk.log_in();
    let index = Some(Index::new(List::of(before), desk.times(), false));
    desk.registry.loaded(id, Ok(loaded(load.maildir, index)));
    assert_eq!(desk.settle().served, served(&["2.b"]));
}
