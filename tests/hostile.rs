//! Hostile connections hold every place that they can get, and good clients deliver, log in and read meanwhile.

mod common;
mod secure;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use common::{
    PASSWORD, Server, Setup,
    hostile::{Crowd, Kind, Services, good_clients},
};
use secure::Keys;

/// Places, and connections of each crowd.
const MANY: usize = 300;

fn users() -> Vec<String> {
    (0..4).map(|n| format!("u{n}@example.test")).collect()
}

/// A server with few places, every listener of which takes the header of a proxy.
fn server(keys: &Keys, limits: &str) -> (Server, Services) {
    let listener = |service| {
        format!(
            "[[listen]]\nprotocol = {service:?}\naddress = \"127.0.0.1:0\"\nproxy_protocol = [\"127.0.0.0/8\"]\n{}",
            if service == "pop3" { "plaintext_auth = true\n" } else { "" }
        )
    };
    let listeners = ["smtp", "pop3", "pop3s"].map(listener).concat();
    let (certificate, key) = (keys.certificate(), keys.key());
    let config = format!(
        "[limits]\nconnections = {MANY}\n{limits}\n{listeners}[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n"
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
    good_clients_are_served_beside(Kind::DrippingNoops, "junk_commands = 0");
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
