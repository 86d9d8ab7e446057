//! The stories.

use std::{
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use crate::{
    common::{
        PASSWORD,
        client::{Client, deliver},
        eventually,
    },
    network::{INSTANCES, Machine},
    outage::{
        Dice, Wrong, check,
        ledger::Ledger,
        letters::Letters,
        load::{Crowd, Load},
        number,
        wire::Wire,
    },
    proxy::CHECKS_TAKE,
    site::Site,
    spool::Kind,
};

pub(crate) const ALL: [(&str, fn(Kind)); 3] = [
    ("what_one_acknowledges_the_other_shows_at_once", what_one_acknowledges_the_other_shows_at_once),
    ("a_mailbox_that_is_open_at_one_is_in_use_at_the_other", a_mailbox_that_is_open_at_one_is_in_use_at_the_other),
    ("killed_under_load_nothing_is_lost_and_nothing_doubled", killed_under_load_nothing_is_lost_and_nothing_doubled),
];

const USER: &str = "user0@example.test";

fn what_one_acknowledges_the_other_shows_at_once(kind: Kind) {
    let site = Site::open(kind);
    for round in 1..=20 {
        let (one, other) = (&site.instances[round % 2], &site.instances[1 - round % 2]);
        deliver(one, USER, format!("Subject: {round}\r\n\r\n").as_bytes());
        let mut client = Client::pop3(other, USER);
        client.ask("STAT", &format!("+OK {round} "));
        assert!(client.retr(round).ends_with(format!("Subject: {round}\r\n\r\n").as_bytes()));
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

fn killed_under_load_nothing_is_lost_and_nothing_doubled(kind: Kind) {
    let mut site = Site::open(kind);
    let seed = number("RESTANTE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("load with RESTANTE_SEED={seed}");
    let mut dice = Dice::new(seed);
    let letters = Letters::new(&mut dice);
    let ledger = Mutex::new(Ledger::default());
    let load = Load::new(site.fronts(), &letters, &ledger, 0);
    let mut waits = Vec::new();
    let mut wrong = load.run(CROWD, &mut dice, || {
        for at in [0, 1] {
            thread::sleep(A_WHILE);
            waits.extend(kill(&mut site, at, &ledger));
        }
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
        "    {} letters accepted, {} deleted, {} refused, {} there without a reply; served again after {waits:.0?}",
        ledger.accepted, ledger.deleted, ledger.refused, seen.unanswered,
    );
    report(&wrong);
}

/// kill -9 for one instance; returns how long SMTP and POP3 then took to be served by the other one. It is started again.
fn kill(site: &mut Site, at: usize, ledger: &Mutex<Ledger>) -> [Duration; 2] {
    let machine = INSTANCES[at];
    let (up, down) = (site.proxy.found(machine, "UP"), site.proxy.found(machine, "DOWN"));
    let began = Instant::now();
    site.instances[at].kill();
    let waits = served(site, began);
    let accepted = ledger.lock().unwrap().accepted;
    site.proxy.finds(machine, "DOWN", down);
    eventually("the other one takes letters", || (ledger.lock().unwrap().accepted > accepted + 20).then_some(()));
    site.instances[at].restart();
    site.proxy.finds(machine, "UP", up);
    waits
}

/// How long after that moment ten clients in a row have been greeted, of each protocol: none is turned away.
fn served(site: &Site, began: Instant) -> [Duration; 2] {
    let (smtp, pop3) = site.fronts();
    let greeted = |address, greeting: &str| {
        for _ in 0..10 {
            let line = Wire::connect(address).and_then(|mut wire| wire.line()).unwrap_or_default();
            assert!(line.starts_with(greeting.as_bytes()), "{:?}", String::from_utf8_lossy(&line));
        }
        let took = began.elapsed();
        assert!(took < CHECKS_TAKE, "{took:?}");
        took
    };
    [greeted(smtp, "220 "), greeted(pop3, "+OK ")]
}

#[track_caller]
fn report(wrong: &[Wrong]) {
    wrong.iter().take(20).for_each(|wrong| println!("    {}: {}", wrong.what, wrong.text));
    assert!(wrong.is_empty(), "{} wrong", wrong.len());
}

const CROWD: Crowd = Crowd { senders: 8, readers: 6 };
const A_WHILE: Duration = Duration::from_millis(1500);
