//! What the times of the directories say, with a watch and without one.

use super::*;

#[test]
fn a_change_that_no_notice_explains_within_a_second_is_found_by_a_walk() {
    let mut desk = open_mailbox();
    desk.put("new/2.b");
    desk.log_in();
    assert_eq!(desk.settle().served, served(&["1.a"]));
    desk.registry.logout(&desk.mailbox);
    desk.later(1);
    assert_eq!(desk.settle(), Told { walks: 1, ..Told::default() });
    desk.log_in();
    assert_eq!(desk.settle().served, served(&["1.a", "2.b"]));
}

#[test]
fn a_quiet_mailbox_is_checked_every_minute() {
    let mut desk = open_mailbox();
    desk.put("new/2.b");
    desk.later(59);
    assert_eq!(desk.settle(), Told::default());
    desk.later(1);
    assert_eq!(desk.settle(), Told::default()); // a notice may be on its way
    desk.later(1);
    assert_eq!(desk.settle(), Told { walks: 1, ..Told::default() });
}

#[test]
fn a_change_that_a_told_one_hides_is_found_by_a_walk_in_a_quarter_of_an_hour() {
    let mut desk = open_mailbox();
    desk.put("new/2.untold");
    desk.put("new/3.told");
    desk.tell("new/3.told");
    assert_eq!(desk.settle(), Told { looks: 1, ..Told::default() });
    desk.log_in();
    assert_eq!(desk.settle().served, served(&["1.a", "3.told"]));
    for _ in 0..14 {
        desk.later(60);
        assert_eq!(desk.settle(), Told::default());
    }
    desk.registry.logout(&desk.mailbox);
    desk.later(60);
    let walk = desk.order();
    desk.log_in();
    let Order::Serve(_, snapshot) = desk.order() else { panic!("the login waits for the walk") };
    assert_eq!(ids(&snapshot), ["1.a", "3.told"]);
    desk.registry.logout(&desk.mailbox);
    desk.work(walk);
    desk.log_in();
    assert_eq!(desk.settle().served, served(&["1.a", "2.untold", "3.told"]));
}

/// A mailbox that can't be watched and was looked through, and its session is over.
fn unwatched_mailbox() -> Desk {
    let mut desk = Desk::new();
    desk.watchable = false;
    desk.put("new/1.a");
    desk.log_in();
    desk.settle();
    desk.registry.logout(&desk.mailbox);
    desk
}

#[test]
fn without_a_watch_each_login_compares_the_times_and_walks_when_they_differ() {
    let mut desk = unwatched_mailbox();
    desk.log_in();
    let Order::Load(id, load) = desk.order() else { panic!("times not compared") };
    assert_eq!(load.unless, Some(desk.times()));
    desk.work(Order::Load(id, load));
    let Order::Serve(_, snapshot) = desk.order() else { panic!("not served") };
    assert_eq!(ids(&snapshot), ["1.a"]);
    desk.registry.logout(&desk.mailbox);
    desk.put("new/2.b");
    desk.log_in();
    assert_eq!(desk.settle(), Told { served: served(&["1.a", "2.b"]), walks: 1, ..Told::default() });
}

#[test]
fn without_a_watch_a_look_at_one_name_says_nothing_of_the_others() {
    let mut desk = unwatched_mailbox();
    desk.put("new/2.by-another-machine");
    desk.put("new/3.ours");
    let found = desk.found("new/3.ours");
    desk.registry.delivered(&desk.mailbox, desk.maildir.key(), found);
    assert_eq!(desk.settle().looks, 1);
    desk.log_in();
    let all = served(&["1.a", "2.by-another-machine", "3.ours"]);
    assert_eq!(desk.settle(), Told { served: all, walks: 1, ..Told::default() });
}

#[test]
fn times_so_young_that_another_change_may_hide_behind_them_are_taken_for_changed() {
    let mut desk = Desk::new();
    desk.watchable = false;
    desk.log_in();
    let Order::Load(id, load) = desk.order() else { panic!() };
    let index = Some(Index::new(List::default(), desk.times(), true));
    desk.registry.loaded(id, Ok(loaded(load.maildir, index)));
    desk.registry.orders();
    desk.registry.logout(&desk.mailbox);
    desk.log_in();
    let Order::Load(_, load) = desk.order() else { panic!() };
    assert_eq!(load.unless, None);
}
