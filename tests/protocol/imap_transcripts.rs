//! Transcripts of IMAP sessions: their lines, and the passwords and the mail that they leave out.

use crate::common::{PASSWORD, Server, Setup, client::Client, secure::ALICE};
use crate::transcripts::transcripts;

/// A server with transcripts of IMAP sessions.
fn with_imap() -> Server {
    let config =
        "transcripts = \"transcripts\"\n[[listen]]\nprotocol = \"imap\"\naddress = \"127.0.0.1:0\"\n";
    Setup { config: Some(config), users: &[ALICE], ..Setup::default() }.start()
}

#[test]
fn y223_no_password_of_imap_in_a_wrong_place_is_in_a_transcript() {
    let mut server = with_imap();
    let mut client = Client::connect(server.addresses("imap")[0]);
    client.expect("* OK");
    client.ask(&format!("a1 LOGIN {ALICE}"), "a1 BAD");
    client.ask("hunter2", "hunter2 BAD");
    client.ask("hunter two", "hunter BAD");
    client.ask("a2 AUTHENTICATE LOGIN", "a2 NO");
    client.ask("aHVudGVyMg==", "aHVudGVyMg== BAD");
    client.ask("a3 ID hunter2", "* BYE");
    client.rest();
    let written = transcripts(&mut server).concat();
    for secret in ["hunter", "aHVudGVy", "two"] {
        assert!(!written.contains(secret), "{secret} is in {written}");
    }
    assert!(written.contains("S: *** BAD Expected"), "{written}");
}

#[test]
fn y83_a_transcript_of_imap_has_neither_a_password_nor_a_word_of_the_mail() {
    let mut server = with_imap();
    server.maildir(ALICE).put("1.one", b"From: unknown@far.test\nSubject: treasure\n\nburied here\n");
    let mut client = Client::connect(server.addresses("imap")[0]);
    client.expect("* OK");
    client.ask(&format!("a1 LOGIN {ALICE} {PASSWORD}"), "a1 OK");
    let commands = [
        "a2 SELECT INBOX",
        "a3 FETCH 1 (FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[])",
        "a4 NOOP LOGIN alice hunter2",
        "a5 LOGOUT",
    ];
    for command in commands {
        client.send(command);
    }
    let said = String::from_utf8(client.rest()).unwrap();
    assert!(said.contains("treasure") && said.contains("buried here"), "{said}");
    let written = transcripts(&mut server).concat();
    for secret in [PASSWORD, "hunter2", "treasure", "buried", "unknown"] {
        assert!(!written.contains(secret), "{secret} is in {written}");
    }
    for told in
        ["* 1 FETCH (FLAGS (\\\\Recent) ENVELOPE (NIL \"***\"", "S~ octets=", "a3 OK", "C: a4 NOOP ***"]
    {
        assert!(written.contains(told), "{told} is not in {written}");
    }
}

#[test]
fn y121_a_transcript_of_imap_tells_what_became_of_the_files() {
    let mut server = with_imap();
    for name in ["1.one", "2.two", "3.three"] {
        server.maildir(ALICE).put(name, b"Subject: x\n\nx\n");
    }
    let mut client = Client::connect(server.addresses("imap")[0]);
    client.expect("* OK");
    client.ask(&format!("a1 LOGIN {ALICE} {PASSWORD}"), "a1 OK");
    let commands = [
        "a2 SELECT INBOX",
        "a3 STORE 1 +FLAGS.SILENT (\\Flagged \\Deleted)",
        "a4 EXPUNGE",
        "a5 COPY 1 Archive",
        "a6 MOVE 2 Trash",
        "a7 APPEND Drafts (\\Seen) {3+}\r\nx\r\n",
        "a8 LOGOUT",
    ];
    for command in commands {
        client.send(command);
    }
    client.rest();
    let written = transcripts(&mut server).concat();
    let spool = server.spool.display();
    let files: Vec<&str> = written.lines().filter_map(|line| line.strip_prefix("# spool: ")).collect();
    let inbox = format!("{spool}/{ALICE}");
    let exact = [
        (0, format!("marked {inbox}/cur/1.one:2,FT")),
        (1, format!("deleted {inbox}/cur/1.one:2,FT")),
        (4, format!("unlinked {inbox}/new/3.three")),
    ];
    for (at, line) in &exact {
        assert_eq!(files.get(*at), Some(&line.as_str()), "{written}");
    }
    for (at, begin) in [
        (2, format!("copied {inbox}/.Archive/new/")),
        (3, format!("moved {inbox}/.Trash/new/")),
        (5, format!("delivered {inbox}/.Drafts/cur/")),
    ] {
        assert!(files.get(at).is_some_and(|line| line.starts_with(&begin)), "{begin}: {written}");
    }
    assert_eq!(files.len(), 6, "{written}");
    let [stored, expunged] = ["a3 OK", "a4 OK"].map(|reply| written.find(reply).unwrap());
    let told = written.find(&exact[0].1).unwrap();
    assert!(told < stored && stored < expunged, "each change stands before its reply: {written}");
}
