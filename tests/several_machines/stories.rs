//! The stories.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    common::{
        Maildir, PASSWORD,
        client::{Client, deliver, socket},
        eventually, faketime,
        secure::{BOTH, over},
        skip,
    },
    file_server,
    network::INSTANCES,
    outage::{
        Dice, Wrong, check,
        ledger::Ledger,
        letters::Letters,
        load::{Addresses, Crowd, Load},
        number,
        wire::Wire,
    },
    proxy::CHECKS_TAKE,
    site::{SERVICES, Site},
    spool::Kind,
};

/// A story, with the kinds of spool on which its result may differ.
pub(crate) struct Story {
    pub(crate) name: &'static str,
    pub(crate) kinds: &'static [Kind],
    pub(crate) tell: fn(Kind),
}

pub(crate) const ALL: [Story; 7] = [
    Story {
        name: "every service of the example is served behind it",
        kinds: &[Kind::Local],
        tell: every_service_of_the_example_is_served_behind_it,
    },
    Story {
        name: "what one acknowledges the other shows at once",
        kinds: &Kind::ALL,
        tell: what_one_acknowledges_the_other_shows_at_once,
    },
    Story {
        name: "a delivery after a quiet time is seen past the caches",
        kinds: &Kind::ALL,
        tell: a_delivery_after_a_quiet_time_is_seen_past_the_caches,
    },
    Story {
        name: "by a clock that is days ahead the draft of the other is not old",
        kinds: &[Kind::Mounts, Kind::Nfs],
        tell: by_a_clock_that_is_days_ahead_the_draft_of_the_other_is_not_old,
    },
    Story {
        name: "a mailbox that is open at one is in use at the other",
        kinds: &Kind::ALL,
        tell: a_mailbox_that_is_open_at_one_is_in_use_at_the_other,
    },
    Story {
        name: "killed or cut off under load, an instance loses and doubles nothing",
        kinds: &Kind::ALL,
        tell: killed_or_cut_off_under_load_an_instance_loses_and_doubles_nothing,
    },
    Story {
        name: "an upgrade of both, one by one, ends no session",
        kinds: &[Kind::Local],
        tell: an_upgrade_of_both_one_by_one_ends_no_session,
    },
];

const USER: &str = "user0@example.test";

fn what_one_acknowledges_the_other_shows_at_once(kind: Kind) {
    let site = Site::open(kind);
    for round in 1..=20 {
        let (one, other) = (&site.instances[round % 2], &site.instances[1 - round % 2]);
        deliver(one, USER, format!("Subject: {round}\r\n\r\n").as_bytes());
        let mut client = Client::pop3(other, USER);
        client.ask("STAT", &format!("+OK {round} "));
        // The message is mostly the last one; the clocks of two machines differ.
        let end = format!("Subject: {round}\r\n\r\n");
        assert!((1..=round).rev().any(|number| client.retr(number).ends_with(end.as_bytes())));
        client.ask("QUIT", "+OK"); // it marks the message as seen, and so moves it
    }
    for left in (0..20).rev() {
        let (one, other) = (&site.instances[left % 2], &site.instances[1 - left % 2]);
        let mut client = Client::pop3(one, USER);
        client.ask("DELE 1", "+OK");
        client.ask("QUIT", "+OK");
        Client::pop3(other, USER).ask("STAT", &format!("+OK {left} "));
    }
}

fn a_delivery_after_a_quiet_time_is_seen_past_the_caches(kind: Kind) {
    let site = Site::open(kind);
    let [one, other] = &site.instances;
    deliver(one, USER, b"Subject: 1\r\n\r\n");
    thread::sleep(NO_LONGER_YOUNG);
    for _ in 0..2 {
        let mut client = Client::pop3(other, USER); // the second finds the times of the directories as they were
        client.ask("STAT", "+OK 1 ");
        client.ask("QUIT", "+OK");
    }
    deliver(one, USER, b"Subject: 2\r\n\r\n");
    Client::pop3(other, USER).ask("STAT", "+OK 2 ");
}

fn by_a_clock_that_is_days_ahead_the_draft_of_the_other_is_not_old(kind: Kind) {
    let Some(library) = faketime() else {
        return skip("a clock that is days ahead", "libfaketime is not installed");
    };
    let mut site = Site::open(kind);
    let spool = Maildir { path: site.spool.path().join(USER) };
    let mut client = Client::smtp(&site.instances[0]);
    client.begin_data("a@far.test", &[USER]);
    let line = "large enough to wait in tmp/ for its end\r\n";
    client.write(line.repeat(10_000).as_bytes());
    eventually("it is in tmp/", || spool.files("tmp").pop());
    // The task that removes the old files of a mailbox first asks the file server for the time.
    let asked = spool.path.join(restante::maildir::lock::FILE);
    let _ = std::fs::remove_file(&asked); // it was not there, if nobody has asked yet
    site.restart_by(1, "+3d", &library);
    eventually("the other one has looked for what is old", || asked.exists().then_some(()));
    deliver(&site.instances[1], "user1@example.test", b"Subject: x\r\n\r\n");
    client.write(b".\r\n");
    client.expect("250 2.0.0");
    Client::pop3(&site.instances[1], USER).ask("STAT", "+OK 1 ");
}

fn a_mailbox_that_is_open_at_one_is_in_use_at_the_other(kind: Kind) {
    let mut site = Site::open(kind);
    for holder in [0, 1] {
        let other = 1 - holder;
        deliver(&site.instances[other], USER, b"Subject: x\r\n\r\n");
        let mut first = Client::pop3(&site.instances[holder], USER);
        let refused = |site: &Site| login(site, other).starts_with("-ERR [IN-USE]");
        assert!(refused(&site));
        first.ask("QUIT", "+OK");
        eventually("it is free", || login(&site, other).starts_with("+OK").then_some(()));

        eventually("it is free", || login(&site, holder).starts_with("+OK").then_some(()));
        let mut first = Client::pop3(&site.instances[holder], USER);
        first.ask("DELE 1", "+OK");
        assert!(refused(&site));
        site.instances[holder].kill(); // and with the process its lock
        if kind.has_kernels() {
            let began = Instant::now(); // the machine is gone without a word, and its lease has to end
            while !login(&site, other).starts_with("+OK") {
                assert!(began.elapsed() < 4 * LEASE, "still in use after {:?}", began.elapsed());
            }
            println!("    free after {:.0?}", began.elapsed());
        }
        let mut second = Client::pop3(&site.instances[other], USER);
        second.ask("STAT", &format!("+OK {} ", holder + 1));
        site.instances[holder].restart();
    }
}

/// The reply to a login at an instance; the session ends with it.
fn login(site: &Site, at: usize) -> String {
    let mut client = Client::connect(site.instances[at].pop3());
    client.expect("+OK");
    client.ask(&format!("USER {USER}"), "+OK");
    let reply = client.send(&format!("PASS {PASSWORD}")).reply();
    client.send("QUIT").reply();
    reply
}

fn every_service_of_the_example_is_served_behind_it(kind: Kind) {
    let site = Site::open(kind);
    for (service, port) in SERVICES {
        let socket = socket(site.proxy.front(port));
        let mut client = match service {
            "submissions" | "imaps" | "pop3s" => Client::over(over(socket, &site.keys.trusted(BOTH))),
            _ => Client::over(socket),
        };
        let (greeting, end, farewell) = match service {
            "imap" | "imaps" => ("* OK ", "a LOGOUT", "* BYE"),
            "pop3" | "pop3s" => ("+OK ", "QUIT", "+OK"),
            _ => ("220 ", "QUIT", "221"),
        };
        client.expect(greeting);
        client.ask(end, farewell);
    }
    for server in &site.instances {
        server.tells(" smtp connected peer=192.0.2.10:"); // a check
    }
    eventually("the client's address is told", || {
        site.instances.iter().any(|server| server.log().contains("connected peer=192.0.2.1:")).then_some(())
    });
}

fn killed_or_cut_off_under_load_an_instance_loses_and_doubles_nothing(kind: Kind) {
    let mut waits = Vec::new();
    under_load(kind, |site, ledger, _| {
        for (at, end) in [(0, End::Killed), (1, End::CutOff)] {
            thread::sleep(A_WHILE);
            let is_silent = kind.has_kernels() || end == End::CutOff;
            waits.extend(end_one(site, at, end, is_silent, ledger));
        }
    });
    println!("    served again after {waits:.0?}");
}

/// Runs `happen` under load, and checks the result.
fn under_load(kind: Kind, happen: impl FnOnce(&mut Site, &Mutex<Ledger>, &AtomicUsize)) {
    let mut site = Site::open(kind);
    let seed = number("RESTANTE_SEED").unwrap_or_else(|| getrandom::u64().unwrap_or(1));
    println!("    load with RESTANTE_SEED={seed}");
    let mut dice = Dice::new(seed);
    let letters = Letters::new(&mut dice);
    let ledger = Mutex::new(Ledger::default());
    let (smtp, pop3) = site.fronts();
    // No session speaks IMAP here.
    let addresses = Addresses { smtp, pop3, imap: pop3 };
    let load = Load::new(addresses, &letters, (&ledger, &[]), 0);
    let broken = Arc::clone(&load.broken);
    let mut wrong = load.run(CROWD, &mut dice, || {
        happen(&mut site, &ledger, &broken);
        thread::sleep(A_WHILE);
    });
    for (instance, server) in INSTANCES.iter().zip(&site.instances) {
        let log = server.log();
        let (mail, visits) = (log.matches(" smtp accepted").count(), log.matches("ok=true").count());
        println!("    {} took {mail} letters and {visits} logins", instance.name);
    }
    let mut ledger = ledger.into_inner().unwrap();
    let (seen, on_disk) = check::files(&site.spool.path(), &letters, &mut ledger);
    wrong.extend(on_disk);
    wrong.extend(check::pop3(site.fronts().1, &site.spool.path(), &mut ledger, &mut dice));
    println!(
        "    {} letters accepted, {} deleted, {} refused, {} there without a reply",
        ledger.accepted, ledger.deleted, ledger.refused, seen.unanswered,
    );
    report(&wrong);
}

/// The way in which an instance ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// kill -9.
    Killed,
    /// No packet reaches it any more; later it is killed.
    CutOff,
}

/// Ends one instance, and returns how long SMTP and POP3 then took to be served by the other one. It is started again.
fn end_one(site: &mut Site, at: usize, end: End, is_silent: bool, ledger: &Mutex<Ledger>) -> [Duration; 2] {
    let machine = INSTANCES[at];
    let (up, down) = (site.proxy.found(machine, "UP"), site.proxy.found(machine, "DOWN"));
    let began = Instant::now();
    match end {
        End::Killed => site.instances[at].kill(),
        End::CutOff => machine.connect(false),
    }
    let waits = served(site, is_silent, began);
    site.proxy.finds(machine, "DOWN", down);
    takes_letters(ledger, 20);
    site.instances[at].kill();
    machine.connect(true);
    site.instances[at].restart();
    site.proxy.finds(machine, "UP", up);
    waits
}

/// Waits until the running instances have acknowledged so many more letters.
fn takes_letters(ledger: &Mutex<Ledger>, more: usize) {
    let accepted = || ledger.lock().unwrap().accepted;
    let before = accepted();
    eventually("the other one takes letters", || (accepted() >= before + more).then_some(()));
}

fn an_upgrade_of_both_one_by_one_ends_no_session(kind: Kind) {
    under_load(kind, |site, ledger, broken| {
        for (at, machine) in INSTANCES.into_iter().enumerate() {
            thread::sleep(A_WHILE);
            let up = site.proxy.found(machine, "UP");
            site.proxy.set(machine, "drain");
            eventually("its sessions have ended", || (site.proxy.sessions_at(machine) == 0).then_some(()));
            site.instances[at].signal(Signal::TERM);
            assert!(site.instances[at].wait().success());
            takes_letters(ledger, 10);
            site.instances[at].restart();
            site.proxy.set(machine, "ready");
            site.proxy.finds(machine, "UP", up);
        }
        assert_eq!(broken.load(Ordering::Relaxed), 0, "sessions that ended otherwise than meant");
    });
}

/// The time from that moment until ten clients in a row have been greeted, of each protocol. None is turned away,
/// unless the machine of an instance is silent.
fn served(site: &Site, is_silent: bool, began: Instant) -> [Duration; 2] {
    let (smtp, pop3) = site.fronts();
    let greeted = |address, greeting: &str| {
        let mut in_a_row = 0;
        while in_a_row < 10 {
            let line = Wire::connect(address).and_then(|mut wire| wire.line()).unwrap_or_default();
            let good = line.starts_with(greeting.as_bytes());
            assert!(good || is_silent, "{:?}", String::from_utf8_lossy(&line));
            in_a_row = if good { in_a_row + 1 } else { 0 };
            assert!(began.elapsed() < CHECKS_TAKE, "{in_a_row} greeted after {:?}", began.elapsed());
        }
        began.elapsed()
    };
    [greeted(smtp, "220 "), greeted(pop3, "+OK ")]
}

#[track_caller]
fn report(wrong: &[Wrong]) {
    wrong.iter().take(20).for_each(|wrong| println!("    {}: {}", wrong.what, wrong.text));
    assert!(wrong.is_empty(), "{} wrong", wrong.len());
}

const CROWD: Crowd = Crowd { senders: 3, readers: 4, ..Crowd::NONE };
/// The age from which on the server believes the time of a directory.
const NO_LONGER_YOUNG: Duration = Duration::from_secs(4);
/// The time for which the file server takes a silent machine for alive.
const LEASE: Duration = Duration::from_secs(file_server::LEASE);
const A_WHILE: Duration = Duration::from_millis(700);
