//! Bad peers of a server that serves others too: they speak before their turn, leave in the midst of a word,
//! send octets that harm other servers, and never stop. The numbers are rows of the catalogue of faults.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
};

use crate::common::{
    PASSWORD, STRICT, Server, Setup,
    client::{Client, deliver, socket},
    eventually,
    inject::{Fault, can_inject},
};

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";

fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count()
}

/// Waits until the server holds no more descriptors than before.
#[track_caller]
fn assert_free(server: &Server, before: usize) {
    eventually("every connection is let go", || (descriptors(server) <= before).then_some(()));
}

/// Sends that and leaves with a reset: the kernel sends one if a socket is closed with unread input.
fn leave(address: SocketAddr, said: &[u8]) {
    let mut peer = socket(address);
    peer.write_all(said).unwrap();
    assert_ne!(peer.peek(&mut [0]).unwrap(), 0, "greeted");
}

#[test]
fn c09_who_speaks_before_the_banner_is_answered_behind_it() {
    let server = Server::strict();
    let mut early = Client::connect(server.smtp());
    early.send("EHLO client.test").expect("220 ");
    early.expect("250-");
    early.ask("QUIT", "221 ");
    assert_eq!(early.rest(), b"");
}

#[test]
fn c01_a_line_may_be_longer_than_what_is_read_in_a_turn() {
    let limits =
        "connections.max_octets_per_turn = 1\nsmtp.max_line_length = 200_000\nauth.failure_delay = \"0s\"";
    let config = format!("{STRICT}\n[limits]\n{limits}\n");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    // Octets of a line without its CRLF.
    let line = |command: &str, octets: usize| format!("{command}{}", "A".repeat(octets - command.len()));
    let mut smtp = Client::smtp(&server);
    smtp.ask(&line("NOOP ", 199_998), "250 ");
    smtp.ask(&line("NOOP ", 199_999), "500 5.5.2 ");
    smtp.ask("NOOP", "250 ");
    let mut pop3 = Client::connect(server.pop3());
    pop3.expect("+OK");
    pop3.ask(&line("AUTH PLAIN ", 12_286), "-ERR Cannot decode");
    pop3.ask(&line("AUTH PLAIN ", 12_287), "-ERR Line too long");
    pop3.ask("QUIT", "+OK");
}

#[test]
fn c11_replies_are_not_held_back_for_the_end_of_half_a_command() {
    let server = Server::strict();
    let mut client = Client::smtp(&server);
    client.write(b"MAIL FROM:<a@far.test>\r\nRCPT TO:<alice@example.test>\r\nRSE");
    client.expect("250 2.1.0 ");
    client.expect("250 2.1.5 ");
    client.ask("T", "250 2.0.0 ");
}

#[test]
fn c18_peers_that_reset_the_connection_leave_nothing_behind() {
    let server = Server::dev();
    Client::pop3(&server, ALICE).ask("QUIT", "+OK");
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    let before = descriptors(&server);
    let mail = b"EHLO x\r\nMAIL FROM:<a@far.test>\r\n".as_slice();
    for _ in 0..300 {
        leave(server.smtp(), b"");
        leave(server.smtp(), b"EHLO x\r\nMAIL F");
        leave(server.smtp(), mail);
        leave(server.pop3(), b"USER alice@exam");
        leave(server.pop3(), format!("USER {ALICE}\r\nPASS {PASSWORD}\r\nRETR").as_bytes());
        drop(TcpStream::connect(server.smtp()).unwrap());
    }
    assert_free(&server, before);
    Client::pop3(&server, ALICE).ask("STAT", "+OK 1 ");
}

#[test]
fn a08_a_name_that_begins_another_opens_its_own_mailbox_only() {
    let users = &["al@example.test", ALICE];
    let server = Setup { config: Some(STRICT), users, ..Setup::default() }.start();
    deliver(&server, ALICE, b"Subject: for alice\r\n\r\n");
    let mut client = Client::smtp(&server);
    client.ask("MAIL FROM:<a@far.test>", "250");
    for name in ["al/alice", "ali", "al/", "alice/"] {
        client.ask(&format!("RCPT TO:<{name}@example.test>"), "550 5.1.1 ");
    }
    Client::pop3(&server, "al@example.test").ask("STAT", "+OK 0 0");
    deliver(&server, "al@example.test", b"Subject: for al\r\n\r\n");
    assert!(server.maildir("al@example.test").only_message().ends_with(b"\nSubject: for al\n\n"));
    assert!(server.maildir(ALICE).only_message().ends_with(b"\nSubject: for alice\n\n"));
}

#[test]
fn a23_strangers_make_so_many_mailboxes_and_no_more() {
    let config =
        format!("unknown_recipients = \"create\"\n{STRICT}[limits]\ndelivery.max_created_mailboxes = 3\n");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    let mut client = Client::smtp(&server);
    for name in ["alice", "one", "two", "one"] {
        let reply = client.deliver(&[&format!("{name}@example.test")], b"Subject: x\r\n\r\n");
        assert!(reply.starts_with("250 2.0.0 "), "{name}: {reply:?}");
    }
    let reply = client.deliver(&["three@example.test"], b"Subject: x\r\n\r\n");
    assert!(reply.starts_with("452 4.3.1 "), "{reply:?}");
    assert!(!server.maildir("three@example.test").path.exists());
    let reply = client.deliver(&[ALICE], b"Subject: x\r\n\r\n");
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
}

#[test]
fn t06_exchanges_that_are_given_up_leave_nothing_behind() {
    let server = Server::dev();
    Client::pop3(&server, ALICE).ask("QUIT", "+OK");
    let before = descriptors(&server);
    for _ in 0..300 {
        let mut client = Client::connect(server.pop3());
        client.expect("+OK");
        client.ask("AUTH PLAIN", "+ ");
        client.ask("*", "-ERR");
        client.ask("AUTH PLAIN", "+ ");
    }
    assert_free(&server, before);
    Client::pop3(&server, ALICE).ask("STAT", "+OK 0 0");
}

#[test]
fn t07_bad_base64_is_refused_and_disturbs_no_other_login() {
    let server = Server::dev();
    let mut other = Client::connect(server.pop3());
    other.expect("+OK");
    other.ask("AUTH PLAIN", "+ ");
    for bad in ["!!!", "=", "====", "AGFsaWNl*", "AGFs aWNl", "AGFs\raWNl", "AGFsaWNlAH", "\u{e9}"] {
        let mut client = Client::connect(server.pop3());
        client.expect("+OK");
        client.ask("AUTH PLAIN", "+ ");
        client.ask(bad, "-ERR");
        client.ask("CAPA", "+OK");
        client.text();
        Client::pop3(&server, BOB).ask("STAT", "+OK 0 0");
    }
    other.ask("AGFsaWNlQGV4YW1wbGUudGVzdABzZXNhbWU=", "+OK");
    other.ask("STAT", "+OK 0 0");
}

#[test]
fn t22_t23_nothing_that_a_peer_says_writes_a_line_or_a_control_character_into_the_log() {
    let arguments = &["--log-level", "debug"];
    let server = Setup { arguments, ..Setup::default() }.start();
    let evil = "\u{1b}[2J\u{7}\u{8}\u{7f}\u{9b}%n%s\rlevel=info injected";
    let mut smtp = Client::connect(server.smtp());
    smtp.expect("220");
    smtp.ask(&format!("HELO {evil}"), "501");
    smtp.ask("HELO client.test", "250");
    smtp.ask(&format!("MAIL FROM:<{evil}@far.test>"), "501");
    smtp.ask(&format!("LAST {evil}"), "500");
    let mut pop3 = Client::connect(server.pop3());
    pop3.expect("+OK");
    pop3.send(&format!("USER {evil}")).reply();
    pop3.send(&format!("PASS {evil}")).reply();
    server.tells("what=\"LAST\"");
    let log = server.log();
    assert!(log.chars().all(|c| c == '\n' || !c.is_control()), "{log:?}");
    assert!(!log.lines().any(|line| line.starts_with("level=info injected")), "{log}");
}

#[test]
fn s20_p27_a_stored_line_of_one_dot_ends_no_answer() {
    let server = Server::dev();
    let hidden = b"Subject: x\n\none\n.\n+OK injected\n..\n.";
    server.maildir(ALICE).put("1700000001.M1P1.elsewhere", hidden);
    let mut client = Client::pop3(&server, ALICE);
    let sent = b"Subject: x\r\n\r\none\r\n.\r\n+OK injected\r\n..\r\n.\r\n";
    assert_eq!(client.retr(1), sent);
    client.ask("TOP 1 99", "+OK");
    assert_eq!(client.text(), sent);
    client.ask("QUIT", "+OK Bye");
    assert_eq!(client.rest(), b"");
}

#[test]
fn l03_l08_who_never_stops_and_never_reads_holds_nobody_up() {
    const COMMANDS: usize = 100_000;
    let server = Server::dev();
    Client::smtp(&server);
    let before = server.status_kib("VmRSS");
    let flood = socket(server.smtp());
    let mut replies = flood.try_clone().unwrap();
    let writer = thread::spawn(move || {
        let mut flood = flood;
        flood.set_write_timeout(None).unwrap();
        flood.write_all(b"HELO client.test\r\n").unwrap();
        flood.write_all(&b"NOOP\r\n".repeat(COMMANDS)).unwrap();
        flood.write_all(b"QUIT\r\n").unwrap();
    });
    for _ in 0..20 {
        deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    }
    Client::pop3(&server, ALICE).ask("STAT", "+OK 20 ");
    let mut said = String::new();
    replies.read_to_string(&mut said).unwrap();
    writer.join().unwrap();
    assert_eq!(said.matches("250 2.0.0 Ok\r\n").count(), COMMANDS);
    assert!(said.ends_with("221 2.0.0 Bye\r\n"));
    let grown = server.status_kib("VmHWM").saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more");
}

#[test]
fn l05_an_accept_that_fails_loses_nobody() {
    let name = "l05_an_accept_that_fails_loses_nobody";
    if !can_inject(name) {
        return;
    }
    let server = Server::dev();
    for errno in ["ECONNABORTED", "EPROTO", "EINTR"] {
        Fault::new(format!("accept4:error={errno}:when=1")).during(&server, || {
            Client::smtp(&server).ask("QUIT", "221");
        });
    }
    // If the kernel is short of memory, the server may ask a client to come back.
    for errno in ["ENOBUFS", "ENOMEM"] {
        Fault::new(format!("accept4:error={errno}:when=1")).during(&server, || {
            let reply = Client::connect(server.smtp()).reply();
            assert!(reply.starts_with("220 ") || reply.starts_with("421 4.3.2 "), "{errno}: {reply:?}");
        });
        eventually("a new client is greeted", || {
            Client::connect(server.smtp()).line().starts_with(b"220 ").then_some(())
        });
    }
}

#[test]
fn l11_a_reader_that_resets_the_connection_ends_its_own_session_only() {
    let server = Server::dev();
    let line = [&[b'x'; 76][..], b"\n"].concat();
    server.maildir(ALICE).put("1700000001.M1P1.elsewhere", &line.repeat(100_000));
    Client::pop3(&server, ALICE).ask("QUIT", "+OK");
    let before = descriptors(&server);
    for _ in 0..20 {
        let mut client = Client::pop3(&server, ALICE);
        client.ask("RETR 1", "+OK 7800000 octets");
    }
    assert_free(&server, before);
    assert!(Client::pop3(&server, ALICE).retr(1).len() == 7_800_000);
}
