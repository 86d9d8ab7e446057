//! The screen of a `restante dev` that other machines reach.

use std::{net::TcpListener, process::Command};

use crate::{
    common::{Setup, home, skip},
    operators::DEV_WITHOUT_ADDRESSES,
};

#[test]
fn h46_the_commands_of_a_server_at_every_address_name_one_that_answers() {
    let keys = home();
    let tls = format!("--tls={}", keys.path().join("keys").display());
    for listen in ["0.0.0.0", "::"] {
        if TcpListener::bind((listen, 0)).is_err() {
            return skip(
                "h46_the_commands_of_a_server_at_every_address_name_one_that_answers",
                "no IPv6 here",
            );
        }
        let arguments =
            &["--network", "--listen", listen, "--smtp=0", "--pop3=0", &tls, "--smtps=0", "--pop3s=0"];
        let wrapper = &["sh", "-c", DEV_WITHOUT_ADDRESSES, "sh"];
        let server = Setup { wrapper, arguments, ..Setup::default() }.start();
        server.tells("Other machines can connect ");
        let log = server.log();
        let screen = &log[log.find("restante dev: ").unwrap()..];
        let ip = if listen == "::" { "[::1]" } else { "127.0.0.1" };
        for service in ["smtp", "imap", "pop3", "http", "submissions", "imaps", "pop3s"] {
            let port = server.addresses(service)[0].port();
            let is_there = [format!("{ip}:{port}"), format!("{} {port}", ip.trim_matches(['[', ']']))];
            assert!(is_there.iter().any(|place| screen.contains(place)), "{service}: {screen}");
        }
        assert!(!screen.contains("0.0.0.0") && !screen.contains("[::]"), "{screen}");
    }
}

/// A network without a route to others: the interface `d0`, if it is to have an address, and loopback.
const ALONE: &str = r#"
ip link set lo up
if [ -n "$1" ]; then { ip link add d0 type dummy || ip link add d0 type bridge; } && ip addr add "$1/24" dev d0 && ip link set d0 up || exit 77; fi
shift
exec "$@""#;

#[test]
fn h45_a_machine_without_a_route_to_others_tells_the_address_of_its_network() {
    let test = "h45_a_machine_without_a_route_to_others_tells_the_address_of_its_network";
    let alone = ["unshare", "--net", "sh", "-c", ALONE, "sh"];
    let can = |address: &str| {
        let tried = Command::new(alone[0]).args(&alone[1..]).args([address, "true"]).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    for (address, told) in [
        ("10.5.6.7", "Other machines can connect at 10.5.6.7 (web inbox http://10.5.6.7:"),
        ("", "Other machines can connect as soon as this one is in a network: no network"),
    ] {
        if !can(address) {
            skip(test, "no network of its own can be made");
            continue;
        }
        let wrapper = [&alone[..], &[address, "sh", "-c", DEV_WITHOUT_ADDRESSES, "sh"]].concat();
        let arguments = &["--network", "--listen=0.0.0.0", "--smtp=0", "--pop3=0"];
        Setup { wrapper: &wrapper, arguments, ..Setup::default() }.start().tells(told);
    }
}
