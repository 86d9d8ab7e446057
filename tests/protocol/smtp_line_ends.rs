//! The end of a message, over real sockets: no false end of data lets a second message in, and each listener
//! keeps its own rule. S01 to S20 are the variants that other servers fell for.

use std::fs;

use crate::common::{
    STRICT, Server, Setup,
    client::{Client, without_trace},
    eventually, listener,
};

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";

/// The stored octets of a false end; `None` when the message is refused.
type Stored = Option<&'static [u8]>;

/// False ends of data, and how a strict listener stores them; `None` is a bare CR or LF, which it refuses.
const ENDS: [(&str, &[u8], Stored); 14] = [
    ("S01", b"\n.\n", None),
    ("S02", b"\n.\r\n", None),
    ("S03", b"\r\n.\n", None),
    ("S04", b"\r.\r", None),
    ("S05", b"\r.\n", None),
    ("S06", b"\r.\r\n", None),
    ("S07", b"\n.\r", None),
    ("S08", b"\r\n.\r", None),
    ("S09", b"\r\r\n.\r\r\n", None),
    ("S10", b"\r\n\0.\r\n", Some(b"\n\0.\n")),
    ("S11", b"\r\n.\0\r\n", Some(b"\n\0\n")),
    ("S12 blank", b"\r\n. \r\n", Some(b"\n \n")),
    ("S12 tab", b"\r\n.\t\r\n", Some(b"\n\t\n")),
    ("S15", b"\r\n..\r\n", Some(b"\n.\n")),
];

/// The second message that the attack tries to smuggle in.
const SMUGGLED: &str = "MAIL FROM:<evil@far.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n\
                        Subject: second\r\n\r\nsecond\r\n";

/// A message that holds `end` and then a second transaction, all in one write; the reply to its true end.
fn attack(client: &mut Client, end: &[u8]) -> String {
    client.begin_data("a@far.test", &[ALICE]);
    client.write(&[b"Subject: first\r\n\r\nfirst", end, SMUGGLED.as_bytes(), b".\r\n"].concat());
    let reply = client.reply();
    // One reply, no more: the next ones are those of the next commands.
    client.ask("NOOP", "250");
    client.ask("VRFY alice", "25");
    client.ask("RSET", "250");
    client.ask("QUIT", "221");
    assert_eq!(client.rest(), b"");
    reply
}

#[test]
fn s01_to_s12_s15_s18_a_false_end_of_data_is_refused_or_is_data() {
    let server = Server::strict();
    let (alice, bob) = (server.maildir(ALICE), server.maildir(BOB));
    for (row, end, stored) in ENDS {
        let reply = attack(&mut Client::smtp(&server), end);
        if let Some(stored) = stored {
            assert!(reply.starts_with("250 2.0.0 "), "{row}: {reply:?}");
            let second = SMUGGLED.replace("\r\n", "\n");
            let whole = [b"Subject: first\n\nfirst", stored, second.as_bytes()].concat();
            assert_eq!(without_trace(&alice.only_message()), whole, "{row}");
            fs::remove_file(&alice.files("new")[0]).unwrap();
        } else {
            assert!(reply.starts_with("550 5.5.2 "), "{row}: {reply:?}");
            assert_eq!(alice.files("new").len(), 0, "{row}");
        }
        assert_eq!(bob.files("new").len(), 0, "{row}");
    }
    eventually("tmp/ is empty", || alice.files("tmp").is_empty().then_some(()));
}

#[test]
fn a_bare_line_end_anywhere_in_a_large_message_refuses_all_of_it() {
    let server = Server::strict();
    let line = [&[b'x'; 76][..], b"\r\n"].concat();
    for bare in [&b"\r"[..], b"\n", b"\n\r", b"\r\r"] {
        let message = [&line.repeat(10_000)[..], b"one", bare, b"two\r\n", &line.repeat(10_000)].concat();
        let reply = Client::smtp(&server).deliver(&[ALICE], &message);
        assert!(reply.starts_with("550 5.5.2 "), "{bare:?}: {reply:?}");
    }
    let alice = server.maildir(ALICE);
    assert_eq!(alice.files("new").len(), 0);
    eventually("tmp/ is empty", || alice.files("tmp").is_empty().then_some(()));
}

#[test]
fn s15_the_first_line_may_be_the_end_and_two_dots_are_one() {
    let server = Server::strict();
    for (wire, stored) in [
        (&b".\r\n"[..], &b""[..]),
        // An empty line keeps text apart from our header lines.
        (b"..\r\n.\r\n", b"\n.\n"),
        (b"..x\r\n\r\n.\r\n", b"\n.x\n\n"),
        (b"\r\n..\r\n...\r\n.\r\n", b"\n.\n..\n"),
        (b".x\r\n.\r\n", b"\nx\n"),
    ] {
        let mut client = Client::smtp(&server);
        client.begin_data("a@far.test", &[ALICE]);
        client.write(wire);
        client.expect("250 2.0.0");
        assert_eq!(without_trace(&server.maildir(ALICE).only_message()), stored);
        fs::remove_file(&server.maildir(ALICE).files("new")[0]).unwrap();
    }
}

#[test]
fn s16_what_follows_a_bare_lf_in_a_command_is_neither_run_nor_copied() {
    let server = Server::strict();
    let hello = ["HELO x"].as_slice();
    let mail = ["HELO x", "MAIL FROM:<a@far.test>"].as_slice();
    for (before, bad) in [
        ([].as_slice(), "HELO x\nMAIL FROM:<evil@far.test>"),
        (hello, "MAIL FROM:<a@far.test>\nRCPT TO:<bob@example.test>"),
        (mail, "RCPT TO:<alice\nX-Injected: y@example.test>"),
    ] {
        let mut client = Client::connect(server.smtp());
        client.expect("220");
        for line in before {
            client.ask(line, "250");
        }
        client.ask(bad, "500 5.5.2");
        assert_eq!(client.rest(), b"", "after {bad:?}");
    }
}

#[test]
fn s17_a_bare_cr_in_an_address_is_never_copied_anywhere() {
    let server = Server::strict();
    let mut client = Client::smtp(&server);
    client.ask("MAIL FROM:<a\rX-Injected: y@far.test>", "501 5.1.7");
    client.ask("MAIL FROM:<\"a\rX-Injected: y\"@far.test>", "501 5.1.7");
    client.ask("MAIL FROM:<a@far.test>", "250");
    client.ask("RCPT TO:<alice\r@example.test>", "501 5.1.3");
    client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
    client.ask("DATA", "354");
    client.write(b"Subject: x\r\n\r\n.\r\n");
    client.expect("250 2.0.0");
    let stored = String::from_utf8(server.maildir(ALICE).only_message()).unwrap();
    assert!(!stored.contains("X-Injected"), "{stored}");
}

#[test]
fn s19_d16_bdat_is_counted_and_never_searched_for_an_end() {
    let server = Server::strict();
    let offered = Client::smtp(&server).ask("EHLO client.test", "250").contains("CHUNKING");
    for (row, end, _) in ENDS {
        let text = [b"Subject: first\r\n\r\nfirst", end, SMUGGLED.as_bytes()].concat();
        let mut client = Client::smtp(&server);
        client.ask("MAIL FROM:<a@far.test>", "250");
        client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
        client.write(format!("BDAT {} LAST\r\n", text.len()).as_bytes());
        client.write(&text);
        let reply = client.reply();
        if !offered {
            assert!(reply.starts_with("502 5.5.1 "), "{row}: {reply:?}");
            let rest = String::from_utf8(client.rest()).unwrap();
            assert_eq!(rest, "", "{row}: the counted octets were taken for commands");
            continue;
        }
        assert!(reply.starts_with("250 2.0.0 ") || reply.starts_with("550 5.5.2 "), "{row}: {reply:?}");
        client.ask("NOOP", "250");
        client.ask("QUIT", "221");
        assert_eq!(client.rest(), b"", "{row}");
        let alice = server.maildir(ALICE).files("new");
        assert_eq!(alice.len(), usize::from(reply.starts_with("250")), "{row}");
        alice.iter().for_each(|file| fs::remove_file(file).unwrap());
        assert_eq!(server.maildir(BOB).files("new").len(), 0, "{row}");
    }
}

#[test]
fn each_listener_keeps_its_own_rule_for_line_ends() {
    let with = |rule| listener("smtp", &format!("line_endings = {rule:?}"));
    let config = format!("{STRICT}{}{}", with("normalise"), with("lenient"));
    let server = Setup { config: Some(&config), users: &[ALICE, BOB], ..Setup::default() }.start();
    let [strict, normalising, lenient] = server.addresses("smtp")[..] else { panic!("three listeners") };
    let alice = server.maildir(ALICE);

    let reply = Client::smtp_at(strict).deliver(&[ALICE], b"Subject: x\r\n\r\na\nb\r\n");
    assert!(reply.starts_with("550 5.5.2 "), "{reply:?}");

    let reply = Client::smtp_at(normalising).deliver(&[ALICE], b"Subject: x\r\n\r\na\nb\r\n");
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    assert!(alice.only_message().ends_with(b"\n\na\nb\n"));
    fs::remove_file(&alice.files("new")[0]).unwrap();
    for (row, end, _) in ENDS {
        let reply = attack(&mut Client::smtp_at(normalising), end);
        let files = alice.files("new");
        assert_eq!(files.len(), usize::from(reply.starts_with("250")), "{row}: {reply:?}");
        files.iter().for_each(|file| fs::remove_file(file).unwrap());
        assert_eq!(server.maildir(BOB).files("new").len(), 0, "{row}");
    }

    let mut typed = Client::connect(lenient);
    typed.expect("220");
    for (line, reply) in [
        ("EHLO classroom\n", "250"),
        ("MAIL FROM:<a@far.test>\n", "250"),
        ("RCPT TO:<alice@example.test>\n", "250"),
        ("DATA\n", "354"),
        ("Subject: typed\n\nhello\n..\n.\n", "250 2.0.0"),
        ("QUIT\n", "221"),
    ] {
        typed.write(line.as_bytes());
        typed.expect(reply);
    }
    assert!(alice.only_message().ends_with(b"\nSubject: typed\n\nhello\n.\n"));
}

#[test]
fn a_listener_of_1982_knows_helo_alone() {
    let config = STRICT.replacen("address", "persona = \"rfc821\"\naddress", 1);
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    let mut client = Client::connect(server.smtp());
    client.expect("220");
    client.ask("EHLO client.test", "502");
    client.ask("HELO client.test", "250");
    let reply = client.deliver(&[ALICE], b"Subject: x\r\n\r\n");
    assert!(reply.starts_with("250"), "{reply:?}");
    assert!(server.maildir(ALICE).only_message().ends_with(b"Subject: x\n\n"));
    assert!(Client::pop3(&server, ALICE).retr(1).ends_with(b"Subject: x\r\n\r\n"));
}
