//! The marks and the time of `restante wait`: a mark is for the mailboxes of one spool.

use crate::{
    common::{Server, client::deliver},
    wait::{command, run, said},
};

const BOB: &str = "bob@example.test";
const LETTER: &[u8] = b"Subject: a letter\r\n\r\nA letter.\r\n";

#[test]
fn u55_a_mark_of_another_mailbox_or_spool_is_refused() {
    let (server, other) = (Server::dev(), Server::dev());
    for to in [BOB, "eve@example.test"] {
        deliver(&server, to, LETTER);
        deliver(&other, to, LETTER);
    }
    let mark = |to: &str| run(&server.spool, &["wait", "--to", to, "--mark"]).0.remove(0);
    let tagged = "bob+Sent@example.test";
    for (spool, made_for, to, why) in [
        (&server.spool, BOB, "eve@example.test", "this mark is of another mailbox"),
        (&server.spool, BOB, tagged, "this mark is of another mailbox"),
        (&other.spool, BOB, BOB, "this mark is of another spool"),
    ] {
        let words = ["wait", "--to", to, "--after", &mark(made_for), "--timeout", "0s"];
        let output = command(spool, &words).output().unwrap();
        assert_eq!(said(&output), (Vec::new(), 2), "{to}");
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(complaint.contains(why), "{to}: {complaint}");
    }
    let words = ["wait", "--to", BOB, "--after", &mark(tagged), "--timeout", "0s"];
    assert_eq!(run(&server.spool, &words).1, 1, "it has the inbox too");
}

#[test]
fn u56_a_mark_where_there_is_no_spool_comes_with_a_word() {
    let server = Server::dev();
    let absent = server.home.path().join("nosuch");
    for (spool, word) in [(&absent, "there is no spool "), (&server.spool, " has no mailbox in ")] {
        let output = command(spool, &["wait", "--to", BOB, "--mark"]).output().unwrap();
        let (mark, code) = said(&output);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!((mark.len(), code) == (1, 0) && complaint.contains(word), "{mark:?} {code} {complaint}");
    }
    deliver(&server, BOB, LETTER);
    let output = command(&server.spool, &["wait", "--to", BOB, "--mark"]).output().unwrap();
    assert!(output.stderr.is_empty() && !absent.exists(), "{output:?}");
}

#[test]
fn u80_a_number_alone_is_a_time_in_seconds() {
    let server = Server::dev();
    let wait = |time| command(&server.spool, &["wait", "--to", BOB, "--timeout", time]).output().unwrap();
    let complaint = String::from_utf8(wait("0.2").stderr).unwrap();
    assert!(complaint.contains(" after 200 ms"), "{complaint}");
    deliver(&server, BOB, LETTER);
    assert_eq!(wait("5").status.code(), Some(0));
}
