//! The library for tests of other programs, used as such a test would use it: no process, no port and no
//! directory is chosen here.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::common::client::{Client, socket};
use restante::testing::Server;

const BOB: &str = "bob@example.test";
const SOON: Duration = Duration::from_secs(10);

/// The program under test: it sends bob a message.
fn tell_bob(server: SocketAddr, to: &str, subject: &str) -> String {
    let message = format!("Subject: {subject}\r\n\r\nYour code is 4711.\r\n");
    Client::smtp_at(server).deliver(&[to], message.as_bytes())
}

fn fetch(server: &Server) -> Client {
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask(&format!("USER {BOB}"), "+OK");
    client.ask("PASS any", "+OK");
    client
}

#[test]
fn a_message_that_was_sent_is_found() {
    let server = Server::start();
    let reply = tell_bob(server.smtp(), BOB, "=?utf-8?Q?D=C3=A9j=C3=A0?= vu");
    let message = server.wait_for(BOB, |message| message.subject() == "Déjà vu", SOON).unwrap();
    assert_eq!((message.from(), message.to()), (Some("sender@far.test"), Some(BOB)));
    assert_eq!(reply, format!("250 2.0.0 Queued as {}\r\n", message.queued().unwrap()));
    assert_eq!(message.text().unwrap(), "Your code is 4711.\n");
    assert_eq!(fs::read(message.path()).unwrap(), message.content().unwrap());
    let mut client = fetch(&server);
    assert_eq!(client.listing("UIDL"), [message.id()]);
    assert_eq!(client.retr(1).len() as u64, message.octets());
}

#[test]
fn a_test_reads_over_http() {
    let server = Server::start();
    tell_bob(server.smtp(), BOB, "over http");
    let mut client = socket(server.http());
    let path = format!("/box/{BOB}/wait?query=subject:over&timeout=10");
    write!(client, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.http()).unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    assert!(
        response.starts_with("HTTP/1.1 200 ") && response.contains("\"Subject\":\"over http\""),
        "{response}"
    );
}

#[test]
fn a_test_waits_for_what_comes_after_a_mark() {
    let server = Server::start();
    tell_bob(server.smtp(), BOB, "code");
    let mark = server.mark(BOB);
    let address = server.smtp();
    let (seen, old) = thread::scope(|scope| {
        let waiting =
            scope.spawn(|| server.wait_for_new(BOB, &mark, |message| message.subject() == "code", SOON));
        tell_bob(address, BOB, "other");
        tell_bob(address, BOB, "code");
        (waiting.join().unwrap().unwrap(), server.messages(BOB)[0].id())
    });
    assert_ne!(seen.id(), old);
}

#[test]
fn what_does_not_come_is_told_with_what_did() {
    let server = Server::start();
    let nothing = server.wait_for(BOB, |_| true, Duration::from_millis(1)).unwrap_err();
    assert_eq!(nothing.to_string(), "no such message for bob@example.test within 1ms; there is none at all");
    tell_bob(server.smtp(), BOB, "welcome");
    let other =
        server.wait_for(BOB, |message| message.subject() == "code", Duration::from_millis(1)).unwrap_err();
    assert!(other.to_string().ends_with("there are others, with the subjects [\"welcome\"]"), "{other}");
}

#[test]
fn a_program_that_fetches_finds_what_a_test_has_put_there() {
    let server = Server::start();
    server.deliver(BOB, "Subject: one\n\n.\n");
    server.deliver(BOB, "Subject: two\r\n\r\nend without newline");
    let mut client = fetch(&server);
    assert_eq!(client.retr(1), b"Subject: one\r\n\r\n.\r\n");
    assert_eq!(client.retr(2), b"Subject: two\r\n\r\nend without newline\r\n");
    client.ask("QUIT", "+OK");
    assert_eq!(server.purge(), 2);
    assert_eq!(server.messages(BOB).len(), 0);
    fetch(&server).ask("STAT", "+OK 0 0");
}

#[test]
fn faults_happen_on_demand() {
    let server = Server::start();
    let mut client = Client::smtp_at(server.smtp());
    client.ask("MAIL FROM:<me@far.test>", "250");
    client.ask("RCPT TO:<bob+452@example.test>", "452");
    assert_eq!(
        tell_bob(server.smtp(), "bob+550-after-dot@example.test", "x"),
        "550 5.0.0 A fault on demand\r\n"
    );
    assert_eq!(server.messages(BOB).len(), 0);
}

#[test]
fn many_servers_run_side_by_side_and_leave_nothing_behind() {
    let spools: Vec<_> = thread::scope(|scope| {
        let test = |n: usize| {
            move || {
                let server = Server::start();
                for m in 0..n {
                    tell_bob(server.smtp(), BOB, &format!("{m}"));
                }
                assert_eq!(server.messages(BOB).len(), n);
                server.spool()
            }
        };
        let tests: Vec<_> = (0..8).map(|n| scope.spawn(test(n))).collect();
        tests.into_iter().map(|test| test.join().unwrap()).collect()
    });
    for spool in spools {
        assert!(!spool.parent().unwrap().exists(), "{}", spool.display());
    }
}

#[test]
fn a_server_ends_at_once_and_its_clients_with_it() {
    let server = Server::start();
    let (smtp, pop3) = (server.smtp(), server.pop3());
    let mut idle: Vec<TcpStream> = vec![socket(smtp), socket(pop3)];
    for client in &mut idle {
        client.read_exact(&mut [0; 3]).unwrap();
    }
    let mut busy = Client::smtp_at(smtp);
    busy.ask("MAIL FROM:<me@far.test>", "250");
    let began = Instant::now();
    drop(server);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    for mut client in idle {
        let _ = client.write_all(b"NOOP\r\n"); // the other end is closed
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest); // by a reset perhaps
    }
    assert!(TcpStream::connect(smtp).is_err());
}

#[test]
fn signals_stay_the_programs_own() {
    let caught = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
        u64::from_str_radix(&line, 16).unwrap()
    };
    let server = Server::start();
    let (term, int, file_size) = (15, 2, 25);
    for signal in [term, int, file_size] {
        assert_eq!(caught() >> (signal - 1) & 1, 0, "signal {signal}");
    }
    drop(server);
}
