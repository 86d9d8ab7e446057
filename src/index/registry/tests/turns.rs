//! How much of a large change one turn of the loop takes in.

use super::*;

/// A mailbox of so many messages of one identity or of many, watched, with a login that was served.
fn mailbox_of(files: usize, name: &dyn Fn(usize) -> String) -> (Desk, Vec<Found>) {
    let mut desk = Desk::new();
    desk.log_in();
    let Order::Load(id, load) = desk.order() else { panic!("no walk") };
    let found: Vec<Found> = (0..files)
        .map(|n| Found {
            name: name(n).into_bytes().into(),
            place: Place::Cur,
            stamp: scan::Stamp { inode: n as u64 + 1, bytes: 2, modified: (0, 0) },
            octets: 3,
        })
        .collect();
    let index = Some(Index::new(List::of(found.clone()), desk.times(), false));
    desk.registry.loaded(id, Ok(Loaded { watched: true, ..loaded(load.maildir, index) }));
    assert_eq!(desk.settle().served.map(|ids| ids.len()), Some(files));
    desk.registry.logout(&desk.mailbox);
    (desk, found)
}

fn one_identity(n: usize) -> String {
    format!("1700000000.same.host:2,a{n}")
}

fn many_identities(n: usize) -> String {
    format!("{}.M1.host:2,S", 1_700_000_000 + n)
}

/// Turns until a login is served, and how many messages fewer the index has after each.
fn turns(desk: &mut Desk, mut orders: impl FnMut(&mut Desk, Order)) -> Vec<usize> {
    let mut turns = Vec::new();
    let length = |desk: &Desk| {
        let held = desk.registry.held.values().next().unwrap();
        held.index.as_ref().map_or(0, |index| index.list().len())
    };
    loop {
        let before = length(desk);
        desk.registry.begin_turn();
        desk.registry.settle();
        let mut is_served = false;
        for order in desk.registry.orders() {
            match order {
                Order::Serve(..) => is_served = true,
                Order::Free(_) => {}
                order => orders(desk, order),
            }
        }
        turns.push(before.abs_diff(length(desk)));
        if is_served {
            return turns;
        }
        assert!(turns.len() < 10_000, "no login is served");
    }
}

fn is_bounded_and_linear(what: &str, counted: &[(usize, Vec<usize>)]) {
    for (files, turns) in counted {
        assert!(turns.iter().all(|taken| *taken <= NAMES_A_TURN), "{what}, {files}: {turns:?}");
        assert!(turns.len() <= 4 + 4 * files / NAMES_A_TURN, "{what}, {files}: {} turns", turns.len());
    }
}

#[test]
fn r13_what_a_walk_misses_is_decided_some_at_a_time_and_a_login_waits_for_all_of_it() {
    for name in [one_identity, many_identities] {
        let counted = [1500, 3000, 6000].map(|files| {
            let (mut desk, found) = mailbox_of(files, &name);
            desk.registry.missed();
            desk.log_in();
            desk.registry.begin_turn();
            let walk = desk.registry.orders().into_iter().find_map(|order| match order {
                Order::Load(id, load) => Some((id, load)),
                _ => None,
            });
            let (id, load) = walk.expect("a walk");
            // Another name of each message is told: all are moving, and are kept.
            for found in &found {
                let moved = [&found.name[..], b"T"].concat();
                desk.registry.notice(Notice::Name(id, Place::Cur, moved.into()));
            }
            let index = Some(Index::new(List::default(), desk.times(), false));
            let missing = Loaded { missing: found, ..loaded(load.maildir, index) };
            desk.registry.begin_turn();
            desk.registry.loaded(id, Ok(missing));
            let kept = desk.registry.held[&id].index.as_ref().unwrap().list().len();
            assert!((1..=NAMES_A_TURN).contains(&kept), "{kept} at once");
            // Then each look finds that neither is there.
            let gone = |desk: &mut Desk, order: Order| {
                let Order::Look(id, _, looks) = order else { panic!("{order:?}") };
                let changes =
                    looks.into_iter().map(|look| Change::Absent { place: look.place, name: look.name });
                let (times, changes) = (desk.times(), changes.collect());
                let looked = Looked { times, young: false, changes, left_out: Vec::new(), mark: None };
                desk.registry.looked(id, Ok(looked));
            };
            let turns = turns(&mut desk, gone);
            assert_eq!(desk.registry.held[&id].index.as_ref().unwrap().list().len(), 0);
            (files, turns)
        });
        for (files, turns) in &counted {
            assert!(turns.iter().all(|taken| *taken <= NAMES_A_TURN), "{files}: {turns:?}");
        }
        // Twice as many names are twice as many turns.
        let [few, more, most] = counted.map(|(_, turns)| turns.len());
        assert!(more <= 2 * few + 4 && most <= 2 * more + 4, "{few}, {more}, {most}");
    }
}

#[test]
fn r13_deliveries_under_a_walk_are_taken_in_again_some_at_a_time() {
    let counted = [2000, 4000].map(|files| {
        let (mut desk, found) = mailbox_of(files, &many_identities);
        desk.registry.missed();
        desk.registry.settle();
        let walk = desk.registry.orders().into_iter().find_map(|order| match order {
            Order::Load(id, load) => Some((id, load)),
            _ => None,
        });
        let (id, load) = walk.expect("a walk");
        for mut found in found {
            found.stamp.inode += 1_000_000; // other files than those that the index has
            desk.registry.delivered(&desk.mailbox, desk.maildir.key(), found);
        }
        let index = Some(Index::new(List::default(), desk.times(), false));
        desk.registry.begin_turn();
        desk.registry.loaded(id, Ok(loaded(load.maildir, index)));
        desk.registry.orders();
        let mut turns = Vec::new();
        while desk.registry.held[&id].index.as_ref().unwrap().list().len() < files {
            let before = desk.registry.held[&id].index.as_ref().unwrap().list().len();
            desk.registry.begin_turn();
            desk.registry.settle();
            turns.push(desk.registry.held[&id].index.as_ref().unwrap().list().len() - before);
        }
        (files, turns)
    });
    is_bounded_and_linear("deliveries", &counted);
}

#[test]
fn r13_what_a_walk_left_out_is_told_to_the_log_some_at_a_time() {
    let mut desk = Desk::new();
    desk.log_in();
    let Order::Load(id, load) = desk.order() else { panic!("no walk") };
    let left_out = |n: usize| LeftOut {
        name: format!("{n}").into_bytes().into(),
        place: Place::New,
        why: "not a regular file",
    };
    let index = Some(Index::new(List::default(), desk.times(), false));
    let found = Loaded { left_out: (0..5000).map(left_out).collect(), ..loaded(load.maildir, index) };
    desk.registry.begin_turn();
    desk.registry.loaded(id, Ok(found));
    let said = |desk: &Desk| desk.registry.held[&id].said.len();
    assert!((1..=NAMES_A_TURN).contains(&said(&desk)), "{} at once", said(&desk));
    assert_eq!(desk.settle().served, served(&[]));
    assert_eq!(said(&desk), 5000);
}

#[test]
fn r13_a_mailbox_that_always_has_work_holds_up_no_other() {
    let (mut desk, found) = mailbox_of(3000, &many_identities);
    desk.registry.missed();
    desk.registry.begin_turn();
    desk.registry.settle();
    let (id, load) = match desk.registry.orders().pop() {
        Some(Order::Load(id, load)) => (id, load),
        other => panic!("{other:?}"),
    };
    let index = Some(Index::new(List::default(), desk.times(), false));
    desk.registry.loaded(id, Ok(Loaded { missing: found, ..loaded(load.maildir, index) }));
    assert!(desk.registry.is_spent());
    // Another mailbox: its login is served in the next turn but one at the latest.
    let other = Mailbox::named("carol").unwrap();
    let maildir = Arc::new(desk.spool.maildir_or_new("carol").unwrap());
    let times = scan::times(&maildir).unwrap();
    desk.registry.login(&other, &maildir, times, None, ConnId(8));
    let walk = desk.registry.orders().into_iter().find_map(|order| match order {
        Order::Load(id, load) => Some((id, load)),
        _ => None,
    });
    let (id, load) = walk.expect("a walk");
    let index = Some(Index::new(List::default(), times, false));
    desk.registry.loaded(id, Ok(loaded(load.maildir, index)));
    let mut turns = 0;
    while !desk.registry.orders().iter().any(|order| matches!(order, Order::Serve(ConnId(8), _))) {
        desk.registry.begin_turn();
        desk.registry.settle();
        turns += 1;
        assert!(turns <= 2, "it waits for the other");
    }
}

#[test]
fn what_was_delivered_under_a_check_does_not_come_back_after_another_program_has_removed_it() {
    let mut desk = open_mailbox();
    desk.later(60);
    let check = desk.order();
    desk.put("new/2.b");
    let found = desk.found("new/2.b");
    desk.registry.delivered(&desk.mailbox, desk.maildir.key(), found);
    desk.work(check);
    desk.settle();
    std::fs::remove_file(desk.file("new/2.b")).unwrap();
    desk.tell("new/2.b");
    desk.log_in();
    assert_eq!(desk.settle().served, served(&["1.a"]));
}
