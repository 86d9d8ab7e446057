//! mutt on the same Maildir, driven through a terminal of its own: it sees delivered mail, and its changes
//! are seen over POP3.

use std::fs;

use crate::common::{
    Server,
    client::{Client, deliver},
    installed,
    mutt::{NEEDS, mutt},
    skip,
};

const ALICE: &str = "alice@example.test";

/// Whether mutt can be run here.
fn can_run(test: &str) -> bool {
    let missing = NEEDS.iter().find(|program| !installed(program));
    if let Some(program) = missing {
        skip(test, &format!("{program} is not installed"));
    }
    missing.is_none()
}

/// mutt sorts by date.
fn letter(day: u32, subject: &str) -> Vec<u8> {
    let date = format!("Date: 0{day} Jan 2026 12:00:00 +0000");
    format!("From: a@far.test\r\n{date}\r\nSubject: {subject}\r\n\r\nbody\r\n").into_bytes()
}

#[test]
fn mutt_lists_delivered_mail_as_new() {
    if !can_run("mutt_lists_delivered_mail_as_new") {
        return;
    }
    let server = Server::dev();
    deliver(&server, ALICE, &letter(1, "first for mutt"));
    deliver(&server, ALICE, &letter(2, "second for mutt"));
    let maildir = server.maildir(ALICE);
    // All that is new goes, one message after the other, to a file.
    let keys = "<tag-pattern>~N<enter><tag-prefix><pipe-message>cat >> listed<enter><exit>";
    let home = mutt(&maildir.path, "-R", keys);
    let listed = fs::read_to_string(home.path().join("listed")).unwrap();
    let subjects: Vec<&str> = listed.lines().filter(|line| line.starts_with("Subject: ")).collect();
    assert_eq!(subjects, ["Subject: first for mutt", "Subject: second for mutt"]);
    assert_eq!(maildir.files("new").len(), 2, "-R changes nothing");
}

#[test]
fn what_mutt_reads_and_deletes_is_the_same_mail_over_pop3() {
    if !can_run("what_mutt_reads_and_deletes_is_the_same_mail_over_pop3") {
        return;
    }
    let server = Server::dev();
    for (day, subject) in [(1, "one"), (2, "two"), (3, "three")] {
        deliver(&server, ALICE, &letter(day, subject));
    }
    let before = Client::pop3(&server, ALICE).listing("UIDL");
    let maildir = server.maildir(ALICE);
    mutt(&maildir.path, "", "<first-entry><display-message><exit><next-entry><delete-message><quit>");
    assert!(maildir.files("cur").iter().any(|file| file.to_string_lossy().ends_with(":2,S")));
    let mut client = Client::pop3(&server, ALICE);
    assert_eq!(client.listing("UIDL"), [&before[0][..], &before[2]]);
    assert!(client.retr(1).ends_with(b"Subject: one\r\n\r\nbody\r\n"));
    assert!(client.retr(2).ends_with(b"Subject: three\r\n\r\nbody\r\n"));
}
