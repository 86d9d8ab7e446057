//! Hostile connections hold every place that they can get, and good clients deliver, log in and read meanwhile.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::common::{
    BEHIND_A_PROXY, PASSWORD, Server, Setup,
    client::{Client, with_lf, without_trace},
    eventually,
    hostile::{Crowd, Kind, Services, good_address, good_clients, header},
    listener,
    secure::Keys,
};

/// Places, and connections of each crowd.
const MANY: usize = 300;

fn users() -> Vec<String> {
    (0..4).map(|n| format!("u{n}@example.test")).collect()
}

/// A server with few places, every listener of which takes the header of a proxy.
fn server(keys: &Keys, limits: &str) -> (Server, Services) {
    let pop3 = format!("{BEHIND_A_PROXY}auth_allow_cleartext = true");
    let listeners = [("smtp", BEHIND_A_PROXY), ("pop3", &pop3), ("pop3s", BEHIND_A_PROXY)]
        .map(|(service, more)| listener(service, more))
        .concat();
    let (certificate, key) = (keys.certificate(), keys.key());
    let config = format!(
        "[limits]\nconnections.max = {MANY}\n{limits}\n{listeners}[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n"
    );
    let users = users();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let server = Setup { config: Some(&config), users: &users, ..Setup::default() }.start();
    let at = |service| server.addresses(service)[0];
    let services = Services { smtp: at("smtp"), pop3: at("pop3"), pop3s: at("pop3s") };
    (server, services)
}

/// Lets a crowd come, and good clients do their work for a while.
fn good_clients_are_served_beside(kind: Kind, limits: &str) {
    let keys = Keys::make();
    let (_server, services) = server(&keys, limits);
    let users = users();
    let mut crowd = Crowd::come(kind, services, &users[0], MANY);
    let is_over = AtomicBool::new(false);
    let mut seen = thread::scope(|scope| {
        let good = scope.spawn(|| good_clients(4, services, &users, PASSWORD, &is_over));
        let end = Instant::now() + Duration::from_secs(4);
        while Instant::now() < end {
            crowd.drip(20);
            thread::sleep(Duration::from_millis(300));
        }
        is_over.store(true, Ordering::Relaxed);
        good.join().unwrap()
    });
    let kind = kind.name();
    assert!(crowd.open() > MANY / 2, "{kind}: {} stand", crowd.open());
    let (refused, done) = (seen.refused.len(), seen.times.len());
    assert_eq!(refused, 0, "{kind}, beside {done} that were done: {:?}", seen.refused.first());
    assert!(seen.times.len() > 20, "{kind}: {} operations", seen.times.len());
    // A debug build beside other tests has its second twice over.
    assert!(seen.within(0.99) < Duration::from_secs(2), "{kind}: {:?}", seen.within(0.99));
}

#[test]
fn good_clients_are_served_beside_silent_connections() {
    good_clients_are_served_beside(Kind::Silent, "");
}

#[test]
fn good_clients_are_served_beside_dripping_octets() {
    good_clients_are_served_beside(Kind::DrippingOctets, "");
}

#[test]
fn good_clients_are_served_beside_dripping_noops() {
    good_clients_are_served_beside(Kind::DrippingNoops, "smtp.junk_command_limit = 0");
}

#[test]
fn good_clients_are_served_beside_tls_handshakes() {
    good_clients_are_served_beside(Kind::InHandshakes, "");
}

#[test]
fn good_clients_are_served_beside_messages_that_do_not_come() {
    good_clients_are_served_beside(Kind::AtData, "");
}

#[test]
fn good_clients_are_served_beside_chunks_that_do_not_come() {
    good_clients_are_served_beside(Kind::AtBdat, "");
}

#[test]
fn good_clients_are_served_beside_logins_that_do_not_come() {
    good_clients_are_served_beside(Kind::AtThePassword, "");
}

#[test]
fn good_clients_are_served_beside_clients_that_read_nothing() {
    good_clients_are_served_beside(Kind::ReadingNothing, "");
}

/// A client at a good address that stands after 354.
fn at_data(services: Services, n: usize) -> Client {
    let mut client = Client::connect(services.smtp);
    client.write(&header(good_address(n)));
    client.expect("220");
    client.ask("EHLO client.test", "250");
    client.begin_data("ann@far.test", &["u0@example.test"]);
    client
}

/// So many octets in lines.
fn lines(octets: usize) -> Vec<u8> {
    let line = [&[b'x'; 78][..], b"\r\n"].concat();
    [&b"Subject: long\r\n\r\n"[..], &line.repeat(octets / 80)].concat()
}

#[test]
fn x2_messages_that_do_not_come_take_nobodys_memory() {
    let keys = Keys::make();
    // As much as four messages may hold: each one at DATA booked a quarter of it.
    let (_server, services) =
        server(&keys, "delivery.max_body_memory = \"1 MiB\"\nconnections.max_per_address = 0");
    let _crowd = Crowd::come(Kind::AtData, services, "u0@example.test", 100);
    let _chunks = Crowd::come(Kind::AtBdat, services, "u0@example.test", 100);
    for n in 0..10 {
        at_data(services, n).write(b"Subject: x\r\n\r\n");
        let mut good = at_data(services, n);
        good.write(b"Subject: y\r\n\r\n.\r\n");
        good.expect("250 2.0.0");
    }
}

#[test]
fn x2_under_pressure_messages_go_to_files_early_and_arrive_whole() {
    let keys = Keys::make();
    let (server, services) =
        server(&keys, "delivery.max_body_memory = \"512 KiB\"\ndelivery.spill_threshold = \"512 KiB\"");
    let mut clients: Vec<Client> = (0..12).map(|n| at_data(services, n)).collect();
    let body = lines(100_000);
    for client in &mut clients {
        client.write(&body);
    }
    let drafts = || server.maildir("u0@example.test").files("tmp").len();
    eventually("some of them are in files", || (drafts() > 0).then_some(()));
    for client in &mut clients {
        client.write(b".\r\n");
        client.expect("250 2.0.0");
    }
    let files = server.maildir("u0@example.test").files("new");
    assert_eq!(files.len(), clients.len());
    for file in files {
        let stored = std::fs::read(file).unwrap();
        assert!(with_lf(&body) == without_trace(&stored), "{} octets", stored.len());
    }
}

#[test]
fn x2_chunks_held_between_two_bdats_are_spilled_too() {
    let keys = Keys::make();
    let (server, services) =
        server(&keys, "delivery.max_body_memory = \"256 KiB\"\ndelivery.spill_threshold = \"256 KiB\"");
    let mut clients: Vec<Client> = (0..6)
        .map(|n| {
            let mut client = Client::connect(services.smtp);
            client.write(&header(good_address(n)));
            client.expect("220");
            client.ask("EHLO client.test", "250");
            client.ask("MAIL FROM:<ann@far.test>", "250");
            client.ask("RCPT TO:<u0@example.test>", "250");
            client
        })
        .collect();
    let chunk = lines(80_000);
    for client in &mut clients {
        client.write(&[format!("BDAT {}\r\n", chunk.len()).as_bytes(), &chunk].concat());
        client.expect("250 2.0.0");
    }
    for client in &mut clients {
        client.write(&[format!("BDAT {} LAST\r\n", chunk.len()).as_bytes(), &chunk].concat());
        client.expect("250 2.0.0");
        client.ask("NOOP", "250");
    }
    let whole = with_lf(&chunk.repeat(2));
    let files = server.maildir("u0@example.test").files("new");
    assert_eq!(files.len(), clients.len());
    assert!(files.iter().all(|file| without_trace(&std::fs::read(file).unwrap()) == whole));
}

#[test]
fn x2_when_memory_and_files_are_used_up_the_slowest_message_ends_and_not_the_newcomer() {
    let keys = Keys::make();
    // Pieces too small for files.
    let (_server, services) =
        server(&keys, "delivery.max_body_memory = \"64 KiB\"\ndelivery.spill_threshold = \"64 KiB\"");
    let mut slow: Vec<Client> = (0..30).map(|n| at_data(services, n)).collect();
    // A message is new for a second, and only then may it count as slow.
    thread::sleep(Duration::from_millis(1100));
    for client in &mut slow {
        client.try_write(&lines(1600)); // it may have ended for another
    }
    let mut good = at_data(services, 100);
    good.write(&[&lines(2400)[..], b".\r\n"].concat());
    good.expect("250 2.0.0");
    let mut ended = 0;
    for client in &mut slow {
        client.try_write(b".\r\n");
        let line = String::from_utf8_lossy(&client.line()).into_owned();
        assert!(
            line.starts_with("421 4.3.2 ") || line.starts_with("250 2.0.0 ") || line.is_empty(),
            "{line:?}"
        );
        ended += usize::from(!line.starts_with("250"));
    }
    assert!((1..25).contains(&ended), "{ended} of 30");
}
