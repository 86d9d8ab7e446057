//! `restante explain`: its output about a delivered message agrees with SMTP, the disk and POP3.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::common::{
    self, Server,
    client::{Client, deliver},
    home,
};
use serde_json::Value;

const BOB: &str = "bob@example.test";

fn explain(file: &Path, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_restante")).arg("explain").args(options).arg(file).output().unwrap()
}

fn json(file: &Path) -> Value {
    let output = explain(file, &["--json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(file: &Path) -> String {
    let text = String::from_utf8(explain(file, &[]).stdout).unwrap();
    for line in text.lines().skip(1) {
        assert!(line.chars().count() <= 80 || !line.trim().contains(' '), "{line}");
    }
    text
}

const LETTER: &[u8] = b"Received: from a.far.test ([192.0.2.3])\r\n\tby mx.far.test with ESMTPS id 77;\r\n\
    \tFri, 20 Nov 2026 10:00:00 +0100\r\n\
    Received: by a.far.test; Fri, 20 Nov 2026 08:59:30 +0000\r\n\
    Subject: \x1b[31mred =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=\r\n\r\n.dot\r\n..dots\r\nbare \x00 and \xff\r\n";

#[test]
fn what_it_says_is_what_pop3_says() {
    let server = Server::dev();
    deliver(&server, BOB, LETTER);
    let mut client = Client::pop3(&server, BOB);
    let (sizes, ids) = (client.listing("LIST"), client.listing("UIDL"));
    client.ask("RETR 1", "+OK");
    let (mut sent, mut stuffed) = (0, 0);
    loop {
        let line = client.line();
        sent += line.len();
        if line == b".\r\n" {
            break;
        }
        stuffed += usize::from(line.starts_with(b"."));
    }
    let file = &server.maildir(BOB).files("new")[0];
    let told = json(file);
    let measure = &told["measure"];
    assert_eq!(measure["octets"].to_string(), sizes[0]);
    assert_eq!(told["unique_id"], ids[0].as_str());
    assert_eq!(measure["sent"], sent);
    assert_eq!(measure["stuffed_lines"], stuffed);
    assert_eq!((&measure["nuls"], &measure["eight_bit"]), (&1.into(), &1.into()));
    assert_eq!(measure["bytes"], file.metadata().unwrap().len());
    assert_eq!((&told["counted"], &told["hidden"]), (&"by-name".into(), &Value::Null));
    assert_eq!(told["problems"], Value::Array(Vec::new()));
    assert_eq!(told["name"]["ours"]["process"], server.pid().to_string());
    let hops = told["hops"].as_array().unwrap();
    assert_eq!(hops.len(), 3);
    assert_eq!((&hops[0]["by"], &hops[1]["delay"]), (&"a.far.test".into(), &30.into()));
    assert_eq!(hops[2]["recipient"], format!("<{BOB}>"));
    let part = serde_json::json!([{
        "section": "0", "media_type": "text/plain", "charset": null, "transfer_encoding": null, "octets": 25, "file_name": null,
        "shown": true,
    }]);
    assert_eq!(told["parts"], part);

    let text = text(file);
    for part in [
        "fits: restante made this name",
        "\u{241b}[31mred 日本",
        "text/plain, 25 octets: shown as text",
        "mutt            new (N)",
        "after 30s",
        BOB,
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains('\x1b'));
}

#[test]
fn doubles_have_the_unique_ids_that_pop3_gives_them() {
    let server = Server::dev();
    let bob = server.maildir(BOB);
    let first = bob.put("1.h", b"Subject: first\n\n");
    let second = bob.path.join("cur/1.h,S=99:2,FT");
    let third = bob.path.join("cur/1.h:2,S");
    fs::write(&third, "Subject: third\n\n").unwrap();
    let mut client = common::client::session_with(&server, BOB, 2);
    let ids = client.listing("UIDL");
    for (n, id) in (1..).zip(&ids) {
        let message = client.retr(n);
        let file = if message.starts_with(b"Subject: first") { &first } else { &third };
        assert_eq!(json(file)["unique_id"], id.as_str(), "{file:?}");
        assert_eq!(json(file)["problems"][0][0], "doubled-identity");
    }
    fs::write(&second, "Subject: second\n\n").unwrap();
    assert!(json(&second)["hidden"].as_str().unwrap().contains("flag T"));
    let text = text(&second);
    assert!(text.contains("S= ") && text.contains("wrong-size") && text.contains("flag T"), "{text}");
}

#[test]
fn any_file_is_explained_and_what_is_none_is_an_error() {
    let home = home();
    for (name, content) in [
        ("empty", &b""[..]),
        ("no newline", b"Subject: x"),
        ("\u{1b}[2J", b"\r\r\n\0"),
        ("binary", &[0xff; 5000]),
        ("9999999999999999999999.M99999999999999999999P.x,S=99999999999999999999:2,ZZ", b"\n"),
        ("1.M1P1Q1R0123456789abcdefC00000000.h", b"Received: (((((\nReceived: by by from;;;\n\n"),
    ] {
        let file = home.path().join(name);
        fs::write(&file, content).unwrap();
        assert!(!text(&file).contains('\x1b'), "{name:?}");
        assert_eq!(json(&file)["measure"]["bytes"], content.len());
        assert!(json(&file)["hidden"].as_str().unwrap().contains("neither in new/ nor in cur/"));
    }
    for none in [home.path().to_owned(), home.path().join("nowhere")] {
        let output = explain(&none, &[]);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("cannot explain"), "{told}");
        assert_eq!(told.contains("name a file in its new/ or cur/"), none.is_dir(), "{told}");
    }
}

#[test]
fn u13_long_values_and_lists_end_in_an_ellipsis() {
    let home = home();
    let file = home.path().join("message");
    let (long, hop) = ("x".repeat(200_000), "Received: by a.test; Fri, 20 Nov 2026 08:59:30 +0000\n");
    let part = format!("--b\nContent-Type: a/{long}\n\n");
    let message = format!(
        "{}Subject: {long}\nContent-Type: multipart/mixed; boundary=b\n\n{}",
        hop.repeat(3000),
        part.repeat(3)
    );
    fs::write(&file, message).unwrap();
    let text = String::from_utf8(explain(&file, &[]).stdout).unwrap();
    assert!(text.len() < 30_000, "{}", text.len());
    assert!(text.contains("xx…\n") && text.contains("and 2900 more; --json has all"), "{text}");
    assert_eq!(json(&file)["hops"].as_array().unwrap().len(), 3000);
}

#[test]
fn u113_a_file_that_is_no_mail_or_an_mbox_is_told_with_the_next_step() {
    let home = home();
    fs::create_dir(home.path().join("new")).unwrap();
    let mbox = b"From a@b.test Sat Jan  3 01:05:34 1996\nSubject: first\n\n>From me\n\n\
                 From a@b.test Sat Jan  3 01:05:35 1996\nSubject: second\n\nx\n";
    for (name, content, note) in [
        (
            "picture.png",
            &b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..],
            "no mail: the file is neither an mbox nor one message",
        ),
        ("packed.gz", b"\x1f\x8b\x08\0", "no mail: the file is compressed with gzip"),
        ("outlook.pst", b"!BDN\0\0", "makes mbox files"),
        ("empty", b"", "an empty file, which is no message: name a file with one message"),
        ("mbox", mbox, "an mbox with 2 messages, of which this is the first: `restante import"),
        ("one.mbox", &mbox[..64], "an mbox with 1 message, this one"),
    ] {
        let file = home.path().join(name);
        fs::write(&file, content).unwrap();
        let told = json(&file)["note"].as_str().unwrap().to_owned();
        assert!(told.contains(note), "{name}: {told}");
        // Without mail there is no report.
        let output = explain(&file, &[]);
        let (code, told) = (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned());
        if name.ends_with("mbox") {
            assert!(code == Some(0) && text(&file).contains("\n  note "), "{name}");
        } else {
            assert!(code == Some(1) && output.stdout.is_empty(), "{name}");
            assert!(told.contains("cannot explain ") && told.contains(note), "{name}: {told}");
        }
    }
    let told = json(&home.path().join("mbox"));
    assert_eq!(told["fields"], serde_json::json!([["Subject", "first"]]));
    assert_eq!(told["measure"]["bytes"], "Subject: first\n\nFrom me\n".len());
    // A message is a message, and so is whatever a program has put into a mailbox.
    for (name, content) in
        [("letter.eml", &b"Subject: x\n\ny\n"[..]), ("new/1.M1P1.h", b"hello\n"), ("new/2.M1P1.h", b"")]
    {
        let file = home.path().join(name);
        fs::write(&file, content).unwrap();
        assert_eq!(json(&file).get("note"), None, "{name}");
    }
}
