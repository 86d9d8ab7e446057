//! Other programs at work in the Maildirs, faster than real ones are: a storm of renames, flags, links, copies
//! and deletions while POP3 sessions come and go, more events than the kernel keeps, no watches left. POP3
//! lists exactly the messages on the disk, by names and sizes that this file works out for itself.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::common::{
    AtTheEnd, Maildir, STRICT, Server, Setup,
    client::{Client, deliver},
    dice::Dice,
    eventually,
    inject::{Fault, can_inject},
    skip,
    storm::{Foreigner, Listing, assert_agrees, identity, listed, on_disk, seed},
};
use rustix::process::Signal;

const USERS: [&str; 3] = ["alice@example.test", "bob@example.test", "carol@example.test"];

#[test]
fn g11_m21_in_a_storm_every_login_lists_what_is_on_the_disk() {
    let mut dice = Dice::new(seed("storm"));
    let server = Server::dev();
    let made = AtomicUsize::new(0);
    thread::scope(|scope| {
        for user in USERS {
            deliver(&server, user, b"Subject: first\r\n\r\n");
            let (storm, guest) = (dice.split(), dice.split());
            let (server, made) = (&server, &made);
            scope.spawn(move || storm_over(server, user, made, storm, guest));
        }
    });
}

/// One thousand steps of a storm over one mailbox. Meanwhile a POP3 client reads and deletes there; now and
/// then the storm pauses, and a login has to list exactly the messages on the disk.
fn storm_over(server: &Server, user: &str, made: &AtomicUsize, dice: Dice, mut guest: Dice) {
    let mut foreigner = Foreigner { maildir: server.maildir(user), dice, made };
    for _ in 0..20 {
        assert_agrees(server, user);
        let before = on_disk(&foreigner.maildir);
        let mut seen = Listing::new();
        thread::scope(|scope| {
            scope.spawn(|| (0..50).for_each(|_| foreigner.step()));
            deliver(server, user, b"Subject: in the storm\r\n\r\n");
            seen = visit(server, user, &mut guest);
        });
        // A message that was there before the storm and is there after it was there all the time, under some
        // name.
        let after = on_disk(&foreigner.maildir);
        // A message that was just replaced may be listed beside its old content, each with an id of its own.
        let seen: BTreeSet<&str> =
            seen.keys().map(|id| id.split_once(',').map_or(&**id, |(id, _)| id)).collect();
        let stayed = before.keys().filter(|id| after.contains_key(*id));
        let lost: Vec<&String> = stayed.filter(|id| !seen.contains(&***id)).collect();
        assert!(lost.is_empty(), "{user}: not listed in the storm: {lost:?}");
    }
    assert_agrees(server, user);
}

/// Lists all, reads some, deletes few; sometimes leaves without QUIT. Returns the listing.
fn visit(server: &Server, user: &str, dice: &mut Dice) -> Listing {
    let mut client = Client::pop3(server, user);
    let (ids, sizes) = (client.listing("UIDL"), client.listing("LIST"));
    let listing: Listing = ids.iter().cloned().zip(sizes.iter().map(|size| size.parse().unwrap())).collect();
    assert_eq!(listing.len(), ids.len(), "a unique id is there twice: {ids:?}");
    for _ in 0..5 {
        let number = dice.below(ids.len()) + 1;
        // It may be gone, or have been half written when it was listed. But a message has the announced octets.
        let reply = client.send(&format!("RETR {number}")).reply();
        if let Some(octets) = reply.strip_prefix("+OK ") {
            let text = client.text();
            assert_eq!(octets, format!("{} octets\r\n", text.len()));
            assert_eq!(sizes[number - 1], text.len().to_string());
        } else {
            assert!(reply.starts_with("-ERR "), "{reply:?}");
        }
    }
    if dice.one_in(3) {
        return listing;
    }
    client.send(&format!("DELE {}", dice.below(ids.len()) + 1)).expect("+OK");
    // QUIT does not delete a file whose content has changed since, and says so.
    let reply = client.send("QUIT").reply();
    assert!(["+OK", "-ERR [SYS/TEMP]"].iter().any(|said| reply.starts_with(said)), "{reply:?}");
    listing
}

#[test]
fn m18_what_comes_during_the_first_login_is_not_lost() {
    let mut dice = Dice::new(seed("first login"));
    let server = Server::dev();
    let made = AtomicUsize::new(0);
    for number in 0..30 {
        let user = format!("new{number}@example.test");
        let maildir = server.maildir(&user);
        maildir.put("1700000000.M0P1.elsewhere", b"first\n");
        let mut foreigner = Foreigner { maildir, dice: dice.split(), made: &made };
        thread::scope(|scope| {
            scope.spawn(|| (0..100).for_each(|_| foreigner.step()));
            listed(&server, &user);
        });
        assert_agrees(&server, &user);
    }
}

#[test]
fn m20_no_message_is_missing_or_doubled_while_all_are_renamed() {
    let mut dice = Dice::new(seed("renames"));
    let mut server = Server::dev();
    let maildir = server.maildir(USERS[0]);
    for i in 0..3000 {
        maildir.put(&format!("17{i:08}.M1P1.elsewhere"), b"Subject: x\n\n");
    }
    let expected = on_disk(&maildir);
    let over = AtomicBool::new(false);
    let mut listings = Vec::new();
    thread::scope(|scope| {
        let _over = AtTheEnd(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for (i, file) in [maildir.files("new"), maildir.files("cur")].concat().iter().enumerate() {
                    let flags = ["S", "RS", "F", ""][dice.below(4)];
                    let name = format!("{}:2,{flags}", identity(file));
                    fs::rename(file, maildir.path.join("cur").join(name)).unwrap();
                    if i % 10 == 0 {
                        thread::sleep(Duration::from_millis(1)); // ten thousand a second are a storm
                    }
                }
            }
        });
        for _ in 0..4 {
            // The first login comes to a server that knows nothing of the mailbox yet.
            (0..3).for_each(|_| listings.push(listed(&server, USERS[0])));
            server.restart();
        }
    });
    for listing in listings {
        let missing: Vec<&String> = expected.keys().filter(|id| !listing.contains_key(*id)).collect();
        assert!(missing.is_empty(), "{} missing: {:?} ...", missing.len(), &missing[..missing.len().min(5)]);
        let doubled: Vec<&String> = listing.keys().filter(|id| !expected.contains_key(*id)).collect();
        assert!(doubled.is_empty(), "{} doubled: {:?} ...", doubled.len(), &doubled[..doubled.len().min(5)]);
        assert!(listing == expected, "octets differ");
    }
    assert_agrees(&server, USERS[0]);
}

/// More files than the kernel keeps events for.
const MANY: usize = 20_000;

#[test]
fn m16_after_an_overflow_of_events_a_login_lists_what_is_on_the_disk() {
    let server = Server::dev();
    let (alice, bob) = (server.maildir(USERS[0]), server.maildir(USERS[1]));
    alice.put("1700000000.M0P1.elsewhere", b"first\n");
    bob.put("1700000000.M0P1.elsewhere", b"first\n");
    assert_agrees(&server, USERS[0]);
    assert_agrees(&server, USERS[1]);

    let while_stopped = |act: &dyn Fn()| {
        server.signal(Signal::STOP);
        act();
        server.signal(Signal::CONT);
        assert_agrees(&server, USERS[0]);
        assert_agrees(&server, USERS[1]);
    };
    while_stopped(&|| {
        for i in 0..MANY {
            fs::write(alice.path.join(format!("new/17{i:08}.M1P1.elsewhere")), "x\n").unwrap();
        }
        // The events of another mailbox are lost with these.
        bob.put("1700000001.M1P1.elsewhere", b"second\n");
        fs::remove_file(bob.path.join("new/1700000000.M0P1.elsewhere")).unwrap();
    });
    while_stopped(&|| {
        for i in 0..MANY {
            fs::remove_file(alice.path.join(format!("new/17{i:08}.M1P1.elsewhere"))).unwrap();
        }
        bob.put("1700000002.M1P1.elsewhere", b"third\n");
    });
    // The server gets later events again.
    alice.put("1700000003.M1P1.elsewhere", b"fourth\n");
    fs::remove_file(bob.path.join("new/1700000002.M1P1.elsewhere")).unwrap();
    assert_agrees(&server, USERS[0]);
    assert_agrees(&server, USERS[1]);
}

/// Files of one identity: every program that may write to a mailbox can make them.
const OF_ONE_IDENTITY: usize = 10_000;

#[test]
fn r13_thousands_of_files_of_one_identity_are_listed_deleted_and_removed_while_others_are_answered() {
    let server = Server::dev();
    let maildir = server.maildir(USERS[0]);
    let file = |n: usize| maildir.path.join(format!("new/1700000000.same.host:2,a{n}"));
    maildir.put("1700000000.same.host:2,a0", b"Subject: x\n\n");
    (1..OF_ONE_IDENTITY).for_each(|n| fs::write(file(n), "Subject: x\n\n").unwrap());
    let over = AtomicBool::new(false);
    let mut longest = Duration::ZERO;
    thread::scope(|scope| {
        let _over = AtTheEnd(&over);
        let other = scope.spawn(|| {
            let mut other = Client::pop3(&server, USERS[1]);
            let mut longest = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                other.ask("NOOP", "+OK");
                longest = longest.max(start.elapsed());
                thread::sleep(Duration::from_millis(5));
            }
            longest
        });
        let mut expected: BTreeSet<String> = listed(&server, USERS[0]).into_keys().collect();
        assert_eq!(expected.len(), OF_ONE_IDENTITY);
        // The index removes few messages one by one, and scans the mailbox again after many.
        for deleted in [500, 2000] {
            let mut client = Client::pop3(&server, USERS[0]);
            let ids = client.listing("UIDL");
            for n in 1..=deleted {
                client.ask(&format!("DELE {}", 2 * n), "+OK");
                expected.remove(&ids[2 * n - 1]);
            }
            client.ask("QUIT", "+OK");
            assert_eq!(maildir.files("new").len() + maildir.files("cur").len(), expected.len());
            let listed: BTreeSet<String> = listed(&server, USERS[0]).into_keys().collect();
            assert!(listed == expected, "{} listed, {} expected", listed.len(), expected.len());
        }
        let flagged =
            |name: &Path| maildir.path.join("cur").join(format!("{}S", name.file_name().unwrap().display()));
        let files = [maildir.files("new"), maildir.files("cur")].concat();
        files.iter().take(1000).for_each(|file| fs::rename(file, flagged(file)).unwrap());
        let listed_now: BTreeSet<String> = listed(&server, USERS[0]).into_keys().collect();
        assert!(listed_now == expected, "{} listed, {} expected", listed_now.len(), expected.len());
        for file in [maildir.files("new"), maildir.files("cur")].concat() {
            fs::remove_file(file).unwrap();
        }
        maildir.put("1700000001.M1P1.elsewhere", b"last\n");
        assert_agrees(&server, USERS[0]);
        over.store(true, Ordering::Relaxed);
        longest = other.join().unwrap();
    });
    println!("the longest NOOP took {longest:?}");
    assert!(longest < Duration::from_secs(3), "a session waited for {longest:?}");
}

#[test]
fn m16_a_login_at_once_after_an_overflow_misses_nothing_that_was_there_before_it() {
    let server = Server::dev();
    let stormy = server.maildir(USERS[0]);
    stormy.put("1700000000.M0P1.elsewhere", b"first\n");
    assert_agrees(&server, USERS[0]);
    let (there, away) = ("new/1700000000.M0P1.elsewhere", "cur/1700000000.M0P1.elsewhere:2,S");
    let (there, away) = (stormy.path.join(there), stormy.path.join(away));
    // Two events each way: more than the kernel keeps.
    let storm = || {
        for _ in 0..MANY / 4 {
            fs::rename(&there, &away).unwrap();
            fs::rename(&away, &there).unwrap();
        }
    };
    let (over, logins) = (AtomicBool::new(false), [AtomicUsize::new(0), AtomicUsize::new(0)]);
    thread::scope(|scope| {
        let _over = AtTheEnd(&over);
        let guests: Vec<_> = std::iter::zip(&USERS[1..], &logins)
            .map(|(user, logins)| {
                let (server, over) = (&server, &over);
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let number = logins.load(Ordering::Relaxed);
                        server.maildir(user).put(&format!("17{number:08}.M1P1.elsewhere"), b"x\n");
                        let listed = listed(server, user);
                        assert_eq!(listed.len(), number + 1, "{user}: what was there before the login");
                        logins.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for _ in 0..10 {
            server.signal(Signal::STOP);
            storm();
            server.signal(Signal::CONT);
            storm(); // while the events are read, and logins wait for them
            let before: Vec<usize> = logins.iter().map(|logins| logins.load(Ordering::Relaxed)).collect();
            eventually("logins go on", || {
                let go_on =
                    |(logins, before): (&AtomicUsize, &usize)| logins.load(Ordering::Relaxed) > before + 5;
                let is_over = guests.iter().any(|guest| guest.is_finished());
                (is_over || std::iter::zip(&logins, &before).all(go_on)).then_some(())
            });
        }
    });
    let log = server.log();
    assert!(log.contains("too many changes at once"), "no overflow:\n{log}");
    assert_agrees(&server, USERS[0]);
}

/// Logins stay right in a server that may have so many inotify instances and watches. These are limits of a
/// user namespace of its own, since the whole machine shares those of the machine.
fn assert_right_with_few_watches(test: &str, limits: &str) {
    let script = format!("set -e; cd /proc/sys/user; {limits}; cd - >/dev/null; exec \"$@\"");
    let wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", &script, "sh"];
    let probe = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        return skip(test, "a user namespace with limits of its own can't be made here");
    }
    let server = Setup { wrapper: &wrapper, ..Setup::default() }.start();
    assert_right_without_notices(test, &server);
    let log = server.log();
    let told = log.lines().filter(|line| line.contains("at each login")).count();
    assert_eq!(told, 1, "said once:\n{log}");
}

/// The first login after any change sees it.
fn assert_right_without_notices(test: &str, server: &Server) {
    let mut dice = Dice::new(seed(test));
    let made = AtomicUsize::new(0);
    for round in 0..5 {
        for user in USERS {
            let maildir = server.maildir(user);
            maildir.put(&format!("1600000000.M{round}P1.elsewhere"), b"x\n");
            let mut foreigner = Foreigner { maildir, dice: dice.split(), made: &made };
            assert_eq!(listed(server, user), on_disk(&server.maildir(user)));
            (0..20).for_each(|_| foreigner.step());
            assert_eq!(listed(server, user), on_disk(&server.maildir(user)));
            deliver(server, user, b"Subject: ours\r\n\r\n");
            assert_eq!(listed(server, user), on_disk(&server.maildir(user)));
        }
    }
}

#[test]
fn m19_a_server_that_polls_uses_no_watch_and_its_logins_are_right() {
    let config = format!("watch = \"poll\"\n[limits]\nauth.failure_delay = \"0s\"\n{STRICT}");
    let server = Setup { config: Some(&config), users: &USERS, ..Setup::default() }.start();
    assert_right_without_notices("m19", &server);
    let descriptors = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let watching = descriptors.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    let watching: Vec<PathBuf> = watching.filter(|to| to.to_string_lossy().contains("inotify")).collect();
    assert!(watching.is_empty(), "{watching:?}");
}

/// So many messages of another program in an empty mailbox.
fn fill(maildir: &Maildir, messages: usize) {
    maildir.put("1700000000.M1P1.elsewhere", b"Subject: x\n\n");
    let file = |n: usize| maildir.path.join(format!("new/{}.M1P1.elsewhere", 1_700_000_000 + n));
    (1..messages).for_each(|n| fs::write(file(n), "Subject: x\n\n").unwrap());
}

/// A session that has asked for the deletion of the first so many messages.
fn deleting(server: &Server, user: &str, messages: usize) -> Client {
    let mut client = Client::pop3(server, user);
    (1..=messages).for_each(|number| drop(client.ask(&format!("DELE {number}"), "+OK")));
    client
}

/// The index removes the first number of messages one by one, and scans the mailbox again after the second.
const DELETED: [usize; 2] = [150, 1100];

#[test]
fn x10_a_login_right_after_a_quit_lists_what_other_programs_did_meanwhile() {
    let mut dice = Dice::new(seed("quit"));
    let rest = format!("[limits]\nauth.failure_delay = \"0s\"\n{STRICT}");
    let start = |config: &str| Setup { config: Some(config), users: &USERS, ..Setup::default() }.start();
    for server in [start(&rest), start(&format!("watch = \"poll\"\n{rest}"))] {
        let made = AtomicUsize::new(0);
        for deleted in [DELETED, DELETED].concat() {
            let maildir = server.maildir(USERS[0]);
            fill(&maildir, deleted + 50);
            // Two sessions, one right after the other.
            for deleted in [deleted, 20] {
                let over = AtomicBool::new(false);
                let mut client = deleting(&server, USERS[0], deleted);
                let mut foreigner =
                    Foreigner { maildir: server.maildir(USERS[0]), dice: dice.split(), made: &made };
                thread::scope(|scope| {
                    let _over = AtTheEnd(&over);
                    scope.spawn(|| {
                        while !over.load(Ordering::Relaxed) {
                            foreigner.step();
                        }
                    });
                    let reply = client.send("QUIT").reply();
                    assert!(
                        ["+OK", "-ERR [SYS/TEMP]"].iter().any(|said| reply.starts_with(said)),
                        "{reply:?}"
                    );
                });
                assert_eq!(listed(&server, USERS[0]), on_disk(&maildir), "{deleted} deleted");
            }
            fs::remove_dir_all(&maildir.path).unwrap();
        }
    }
}

#[test]
fn x10_each_change_of_others_during_a_slow_quit_is_listed_after_it() {
    let test = "x10_each_change_of_others_during_a_slow_quit_is_listed_after_it";
    if !can_inject(test) {
        return;
    }
    let rest = format!("shared_spool = true\n{STRICT}");
    let start = |spool| Setup { config: Some(&rest), users: &USERS, spool, ..Setup::default() }.start();
    let server = start(None);
    let other = start(Some(server.spool.clone()));
    let maildir = server.maildir(USERS[0]);
    fill(&maildir, 50);
    listed(&other, USERS[0]);
    let file = |n: usize| maildir.path.join(format!("new/{}.M1P1.elsewhere", 1_700_000_000 + n));
    let mut client = deleting(&server, USERS[0], 40);
    Fault::new("unlinkat:delay_enter=50000").of("disk").during(&server, || {
        client.send("QUIT");
        eventually("the first is deleted", || (!file(0).exists()).then_some(()));
        fs::write(file(0), "Subject: another one\n\n").unwrap();
        maildir.put("1700000900.M1P1.elsewhere", b"Subject: new\n\n");
        fs::remove_file(file(45)).unwrap();
        fs::rename(file(46), maildir.path.join("cur/1700000046.M1P1.elsewhere:2,S")).unwrap();
        // Deleted by both, and by its other name.
        fs::remove_file(file(38)).unwrap();
        fs::rename(file(39), maildir.path.join("cur/1700000039.M1P1.elsewhere:2,S")).unwrap();
        client.expect("+OK");
    });
    let expected = on_disk(&maildir);
    assert_eq!(expected.len(), 11, "{expected:?}");
    for server in [&server, &other] {
        assert_eq!(listed(server, USERS[0]), expected);
    }
    deleting(&other, USERS[0], 11).ask("QUIT", "+OK");
    assert_eq!(listed(&server, USERS[0]), Listing::new());
}

#[test]
fn x10_a_quit_that_deletes_more_than_the_kernel_keeps_events_for_loses_none_of_another_mailbox() {
    let test = "x10_a_quit_that_deletes_more_than_the_kernel_keeps_events_for_loses_none_of_another_mailbox";
    if !can_inject(test) {
        return;
    }
    let server = Server::dev();
    let (alice, bob) = (server.maildir(USERS[0]), server.maildir(USERS[1]));
    fill(&alice, MANY);
    fill(&bob, 1);
    assert_agrees(&server, USERS[1]);
    let mut client = deleting(&server, USERS[0], MANY);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = AtTheEnd(&over);
        scope.spawn(|| {
            for n in 1.. {
                bob.put(&format!("{}.M2P1.elsewhere", 1_800_000_000 + n), b"x\n");
                assert_eq!(listed(&server, USERS[1]).len(), n + 1);
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        // The kernel's queue is read more slowly than the files go.
        Fault::new("read:delay_enter=5000").of("restante").during(&server, || client.ask("QUIT", "+OK"));
    });
    alice.put("1900000000.M1P1.elsewhere", b"first\n");
    assert_eq!(listed(&server, USERS[0]), on_disk(&alice));
    // The mailbox is watched again.
    alice.put("1900000001.M1P1.elsewhere", b"second\n");
    assert_eq!(listed(&server, USERS[0]), on_disk(&alice));
    let log = server.log();
    assert!(!log.contains("looked through again"), "{log}");
}

#[test]
fn m17_without_an_inotify_instance_logins_are_right() {
    let test = "m17_without_an_inotify_instance_logins_are_right";
    assert_right_with_few_watches(test, "echo 0 >max_inotify_instances");
}

#[test]
fn m17_without_a_watch_logins_are_right() {
    let test = "m17_without_a_watch_logins_are_right";
    assert_right_with_few_watches(test, "echo 0 >max_inotify_watches");
}

#[test]
fn m17_when_the_watches_run_out_logins_are_right() {
    let test = "m17_when_the_watches_run_out_logins_are_right";
    assert_right_with_few_watches(test, "echo 5 >max_inotify_watches");
}
