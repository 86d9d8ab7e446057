//! This server relays no mail to other hosts: the forms of addresses that worked against open relays.

use crate::common::{Server, Setup, client::Client};

const DOMAIN: &str = "far.test";
const HOST: &str = "mx.example.test";
const IP: &str = "127.0.0.1";
const USER: &str = "relaytest";

/// MAIL FROM and RCPT TO as nmap's smtp-open-relay has them.
fn forms() -> [(String, String); 16] {
    let (user, domain, host, ip) = (USER, DOMAIN, HOST, IP);
    let far = format!("{user}@{domain}");
    let literal = format!("{user}@[{ip}]");
    let to = |to: String| (literal.clone(), to);
    [
        (String::new(), far.clone()),
        (far.clone(), far.clone()),
        (format!("{user}@{host}"), far.clone()),
        to(far.clone()),
        to(format!("{user}%{domain}@[{ip}]")),
        to(format!("{user}%{domain}@{host}")),
        to(format!("\"{far}\"")),
        to(format!("\"{user}%{domain}\"")),
        to(format!("{far}@[{ip}]")),
        to(format!("\"{far}\"@[{ip}]")),
        to(format!("{far}@{host}")),
        to(format!("@[{ip}]:{far}")),
        to(format!("@{host}:{far}")),
        to(format!("{domain}!{user}")),
        to(format!("{domain}!{user}@[{ip}]")),
        to(format!("{domain}!{user}@{host}")),
    ]
}

/// The forms that are accepted, each on a connection of its own, from strangers and from users of ours.
fn accepted(server: &Server, host: &str) -> Vec<String> {
    let mut accepted = Vec::new();
    for (from, to) in forms() {
        let to = to.replace(HOST, host);
        for from in [&from, "alice@example.test"] {
            let mut client = Client::smtp(server);
            client.ask(&format!("MAIL FROM:<{from}>"), "250 ");
            let reply = client.send(&format!("RCPT TO:<{to}>")).reply();
            assert!(reply.starts_with(['2', '5']), "{to}: {reply:?}");
            if reply.starts_with('2') {
                accepted.push(to.clone());
            }
            client.ask("DATA", "554 5.5.1 ");
        }
    }
    accepted
}

const CONFIG: &str =
    "[[listen]]\nprotocol = \"smtp\"\naddress = \"127.0.0.1:0\"\n[limits]\nsmtp.soft_error_limit = 0\n";

#[test]
fn a01_none_of_the_forms_of_a_relay_is_accepted() {
    let server = Setup { config: Some(CONFIG), users: &["alice@example.test"], ..Setup::default() }.start();
    // As the name of the host, and as a domain of ours.
    for host in [HOST, "example.test"] {
        assert_eq!(accepted(&server, host), [""; 0], "of 16, by {host}");
    }
}

#[test]
fn a01_nor_where_the_rest_of_the_domain_has_a_mailbox() {
    let mut server =
        Setup { config: Some(CONFIG), users: &["alice@example.test"], ..Setup::default() }.start();
    let home = server.home.path();
    std::fs::write(home.join("aliases"), "@example.test: alice\n").unwrap();
    let config = std::fs::read_to_string(home.join("restante.toml")).unwrap();
    std::fs::write(home.join("restante.toml"), format!("aliases = \"aliases\"\n{config}")).unwrap();
    server.restart();
    let reply = Client::smtp(&server).deliver(&["anybody@example.test"], b"Subject: x\r\n\r\n");
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    server.maildir("alice@example.test").only_message();
    for host in [HOST, "example.test"] {
        assert_eq!(accepted(&server, host), [""; 0], "of 16, by {host}");
    }
}

#[test]
fn a20_who_harvests_addresses_is_sent_away_after_twenty() {
    let server = Setup { config: Some(CONFIG), users: &["alice@example.test"], ..Setup::default() }.start();
    let mut client = Client::smtp(&server);
    client.ask("MAIL FROM:<>", "250 ");
    for n in 0..19 {
        client.ask(&format!("RCPT TO:<user{n}@example.test>"), "550 5.1.1 ");
        client.ask("RSET", "250 ");
        client.ask("VRFY alice@example.test", "252 ");
        client.ask("MAIL FROM:<>", "250 ");
    }
    client.ask("RCPT TO:<user19@example.test>", "550 5.1.1 ");
    assert!(client.reply().starts_with("421 4.7.0 "));
    assert_eq!(client.rest(), b"");
}
