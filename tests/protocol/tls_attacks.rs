//! Attacks and foreign protocols at a TLS port. The numbers are rows of the catalogue of faults.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
    thread,
};

use crate::common::{
    self, Server,
    client::{Client, deliver, socket},
    eventually,
    secure::{ALICE, BOTH, Keys, address, client_config, flight, over, pop3s, session, smtps},
};
use rustls::{ClientConnection, RootCertStore, StreamOwned, version};

/// A fatal alert, in clear text.
const ALERT: &[u8] = &[0x15, 0x03];

/// Everything until the server closes the connection.
fn rest(mut socket: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match socket.read_to_end(&mut rest) {
        Err(e) if e.kind() != ErrorKind::ConnectionReset => panic!("still connected: {e}"),
        _ => rest,
    }
}

/// The reasons of that many failures of TLS, as the log tells them.
#[track_caller]
fn failures(server: &Server, count: usize) -> Vec<String> {
    eventually("every failure is told", || {
        let log = server.log();
        let reason =
            |line: &str| Some(line.split_once("tls failed ")?.1.split_once(" reason=")?.1.to_owned());
        let told: Vec<String> = log.lines().filter_map(reason).collect();
        (told.len() >= count).then_some(told)
    })
}

/// Reads on until that has come.
fn until(stream: &mut impl Read, last: &str) {
    let (mut said, mut piece) = (String::new(), [0; 1024]);
    while !said.contains(last) {
        let octets = stream.read(&mut piece).unwrap();
        assert_ne!(octets, 0, "closed after {said:?}");
        said.push_str(std::str::from_utf8(&piece[..octets]).unwrap());
    }
}

fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count()
}

#[test]
fn t02_clear_text_behind_stls_is_never_run_wherever_it_is_cut() {
    let keys = Keys::make();
    let server = keys.server("");
    let injection = format!("STLS\r\nUSER {ALICE}\r\nPASS {}\r\nSTAT\r\nQUIT\r\n", common::PASSWORD);
    for cut in 0..=injection.len() {
        let mut socket = socket(server.pop3());
        socket.write_all(&injection.as_bytes()[..cut]).unwrap();
        socket.write_all(&injection.as_bytes()[cut..]).unwrap();
        let said = rest(socket);
        // The banner, and then either a refusal or an alert: the octets came too late to be refused.
        let lines: Vec<_> = said.split_inclusive(|&octet| octet == b'\n').collect();
        let refused = lines.len() == 2 && lines[1].starts_with(b"-ERR");
        let begun = lines.len() == 3 && lines[1] == b"+OK Begin TLS\r\n" && lines[2].starts_with(ALERT);
        assert!(refused || begun, "cut at {cut}: {:?}", String::from_utf8_lossy(&said));
    }
    assert!(!server.log().contains(" login "), "an injected login was tried");
}

#[test]
fn t01_clear_text_behind_starttls_is_never_run_wherever_it_is_cut() {
    let keys = Keys::make();
    let server = keys.server("");
    let injection = format!(
        "STARTTLS\r\nEHLO c\r\nMAIL FROM:<a@far.test>\r\nRCPT TO:<{ALICE}>\r\nBDAT 2 LAST\r\n\r\nQUIT\r\n"
    );
    for service in ["smtp", "submission"] {
        for cut in 0..=injection.len() {
            let mut socket = socket(address(&server, service));
            socket.write_all(b"EHLO client.test\r\n").unwrap();
            until(&mut socket, "\n250 HELP\r\n");
            socket.write_all(&injection.as_bytes()[..cut]).unwrap();
            socket.write_all(&injection.as_bytes()[cut..]).unwrap();
            let said = rest(socket);
            // Either a refusal or an alert: the octets came too late to be refused.
            let lines: Vec<_> = said.split_inclusive(|&octet| octet == b'\n').collect();
            let refused = lines.len() == 1 && lines[0].starts_with(b"554 5.5.0 ");
            let begun = lines.len() == 2 && lines[0].starts_with(b"220 ") && lines[1].starts_with(ALERT);
            assert!(refused || begun, "{service} cut at {cut}: {:?}", String::from_utf8_lossy(&said));
        }
    }
    assert!(!server.log().contains("accepted"), "an injected message was taken");
}

#[test]
fn d15_after_close_notify_nothing_more_is_read() {
    let keys = Keys::make();
    let server = keys.server("");
    for version in [&version::TLS12, &version::TLS13] {
        let mut smtp = over(socket(address(&server, "submissions")), &keys.trusted(&[version]));
        let envelope = format!("MAIL FROM:<a@far.test>\r\nRCPT TO:<{ALICE}>\r\nDATA\r\n");
        for (ask, last) in [("EHLO c\r\n", "\n250 HELP\r\n"), (&envelope, "\n354 ")] {
            smtp.write_all(ask.as_bytes()).unwrap();
            until(&mut smtp, last);
        }
        smtp.write_all(b"Subject: half\r\n\r\n").unwrap();
        smtp.conn.send_close_notify();
        let last = flight(&mut smtp.conn);
        smtp.sock.write_all(&last).unwrap();
        smtp.sock.write_all(b".\r\nNOOP\r\nQUIT\r\n").unwrap();
        let mut after = Vec::new();
        smtp.read_to_end(&mut after).unwrap();
        assert!(!String::from_utf8_lossy(&after).contains("\n250 "), "clear text was run");
    }
    assert!(server.maildir(ALICE).files("new").is_empty());
}

#[test]
fn a_cut_without_close_notify_ends_the_session_and_no_half_line_is_run() {
    let keys = Keys::make();
    let server = keys.server("");
    deliver(&server, ALICE, b"Subject: kept\r\n\r\n");
    let mut tls = over(socket(address(&server, "pop3s")), &keys.trusted(BOTH));
    tls.write_all(format!("USER {ALICE}\r\nPASS {}\r\nDELE 1\r\nQUIT", common::PASSWORD).as_bytes()).unwrap();
    tls.sock.shutdown(Shutdown::Write).unwrap();
    let mut replies = String::new();
    tls.read_to_string(&mut replies).unwrap();
    assert_eq!(replies.lines().count(), 4, "{replies}");
    eventually("the cut is told", || server.log().contains("cut off without close_notify").then_some(()));
    assert!(!server.maildir(ALICE).only_message().is_empty());
    pop3s(&server, &keys).ask("STAT", "+OK 1 ");
}

#[test]
fn c08_clear_text_on_a_port_of_tls_gets_an_alert_and_no_banner() {
    let keys = Keys::make();
    let server = keys.server("");
    let texts: [&[u8]; 4] =
        [b"EHLO client.test\r\n", b"USER alice\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0\0\0\0"];
    for service in ["submissions", "pop3s"] {
        for text in texts {
            let mut socket = socket(address(&server, service));
            socket.write_all(text).unwrap();
            let said = rest(socket);
            assert!(said.starts_with(ALERT) && said.len() == 7, "{service} {text:?}: {said:?}");
        }
    }
    assert_eq!(failures(&server, 8), vec!["\"clear text where TLS begins\""; 8]);
}

#[test]
fn c06_a_client_hello_on_a_plain_port_is_answered_in_clear_text_and_closed() {
    let keys = Keys::make();
    let server = keys.server("");
    for (service, said) in [("smtp", "\r\n5"), ("pop3", "\r\n-ERR ")] {
        let mut socket = socket(address(&server, service));
        socket.write_all(&flight(&mut session(&keys.trusted(BOTH)))).unwrap();
        let reply = String::from_utf8(rest(socket)).unwrap();
        assert!(reply.contains(said) && reply.lines().count() == 2, "{service}: {reply:?}");
    }
}

#[test]
fn a_client_that_does_not_trust_the_certificate_is_told_in_one_line() {
    let keys = Keys::make();
    let server = keys.server("");
    for version in [&version::TLS12, &version::TLS13] {
        let stranger = client_config(RootCertStore::empty(), &[version]);
        let mut tls = over(socket(address(&server, "pop3s")), &stranger);
        tls.read(&mut [0; 1]).unwrap_err();
        drop(tls);
    }
    assert_eq!(failures(&server, 2), vec!["\"the client rejected the certificate: UnknownCA\""; 2]);
}

#[test]
fn t16_an_abandoned_handshake_leaves_nothing_behind_wherever_it_is_cut() {
    let keys = Keys::make();
    let server = keys.server("");
    pop3s(&server, &keys).ask("QUIT", "+OK");
    let before = eventually("the server is at rest", || {
        let count = descriptors(&server);
        server.log().contains("pop3s closed").then_some(count)
    });
    let hello = flight(&mut session(&keys.trusted(BOTH)));
    for cut in 0..=hello.len() {
        let mut socket = socket(address(&server, "pop3s"));
        socket.write_all(&hello[..cut]).unwrap();
        if cut % 3 == 0 {
            socket.shutdown(Shutdown::Write).unwrap();
            rest(socket);
        }
    }
    // close_notify in clear text before anything else, and a record that never ends.
    for odd in [&b"\x15\x03\x03\x00\x02\x01\x00"[..], b"\x16\x03\x01\x40\x00", b"\x16\x03\x01\xff\xff"] {
        let mut socket = socket(address(&server, "pop3s"));
        socket.write_all(odd).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        rest(socket);
    }
    eventually("all are gone", || (descriptors(&server) <= before).then_some(()));
    assert!(!server.log().contains("panicked"));
    pop3s(&server, &keys).ask("STAT", "+OK 0 0");
}

#[test]
fn t15_who_never_finishes_the_handshake_is_sent_away_in_time() {
    let keys = Keys::make();
    let server = keys.server("tls.handshake_timeout = \"1s\"");
    let silent = socket(address(&server, "submissions"));
    let mut slow = socket(address(&server, "submissions"));
    slow.write_all(&flight(&mut session(&keys.trusted(BOTH)))[..10]).unwrap();
    let mut begun = over(socket(server.pop3()), &keys.trusted(BOTH));
    begun.sock.write_all(b"STLS\r\n").unwrap();
    assert_eq!(rest(silent), b"");
    assert_eq!(rest(slow), b"");
    assert!(rest(begun.sock).ends_with(b"+OK Begin TLS\r\n"));
    eventually("all three are told", || {
        (server.log().matches(" ended peer=127.0.0.1 reason=\"TLS handshake too slow\"").count() == 3)
            .then_some(())
    });
}

#[test]
fn t15_a_thousand_who_never_finish_the_handshake_stop_nobody() {
    let keys = Keys::make();
    let server = keys.server("");
    let hello = flight(&mut session(&keys.trusted(BOTH)));
    restante::fd_limits::raise_fd_limit(); // as many as there may be, for this process
    let crowd: Vec<TcpStream> = (0..1000)
        .map(|n| {
            let mut socket = socket(address(&server, ["submissions", "pop3s"][n % 2]));
            // Nothing, half a ClientHello, or a whole one whose answer is not read.
            socket.write_all(&hello[..hello.len() * (n % 3) / 2]).unwrap();
            socket
        })
        .collect();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut smtp = smtps(&server, &keys);
                for _ in 0..5 {
                    assert!(smtp.deliver(&[ALICE], b"Subject: through\r\n\r\n").starts_with("250"));
                }
            });
        }
    });
    assert_eq!(server.maildir(ALICE).files("new").len(), 20);
    assert_eq!(crowd.len(), 1000);
}

#[test]
fn a_client_that_goes_on_after_a_broken_record_is_not_listened_to() {
    let keys = Keys::make();
    let server = keys.server("");
    let mut tls = over(socket(address(&server, "pop3s")), &keys.trusted(BOTH));
    let mut banner = [0; 64];
    let octets = tls.read(&mut banner).unwrap();
    assert!(banner[..octets].starts_with(b"+OK"));
    tls.sock.write_all(b"QUIT\r\n").unwrap();
    let mut client = Client::over(tls.sock);
    assert!(!client.rest().is_empty(), "an alert");
    assert_eq!(failures(&server, 1).len(), 1);
}

#[test]
fn t17_names_that_clients_make_up_are_not_remembered() {
    let keys = Keys::make();
    let server = keys.server("");
    let config = keys.trusted(BOTH);
    let ask_for = |n: usize| {
        let name = format!("{}.n{n}.example.test", "x".repeat(60));
        let session = ClientConnection::new(Arc::clone(&config), name.try_into().unwrap()).unwrap();
        let mut tls = StreamOwned::new(session, socket(address(&server, "submissions")));
        // It is not the name in the certificate, which the client finds out when all is done for it.
        assert_eq!(tls.read(&mut [0]).unwrap_err().kind(), ErrorKind::InvalidData);
    };
    (0..100).for_each(ask_for);
    let before = server.status_kib("VmRSS");
    (100..1100).for_each(ask_for);
    let grown = server.status_kib("VmRSS").saturating_sub(before);
    assert!(grown < 1024, "{grown} KiB more");
    smtps(&server, &keys).ask("QUIT", "221");
}
