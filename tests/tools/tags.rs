//! Addresses with a tag, in `restante wait` and `restante purge`.

use std::process::Stdio;

use super::wait::{BOB, command, run};
use crate::common::{
    Server,
    client::{Client, deliver},
};

const TAGGED: &str = "bob+news@example.test";

/// A client that has logged in, as a program may to send.
fn logged_in(server: &Server) -> Client {
    let mut client = Client::smtp(server);
    client.ask("AUTH PLAIN AHNob3AAc2VjcmV0", "235");
    client
}

/// The reason for a wait in vain, and the exit code of `restante wait`.
fn waited(server: &Server, to: &str) -> (String, i32) {
    let mut wait = command(&server.spool, &["wait", "--to", to, "--timeout", "0s"]);
    let output = wait.stderr(Stdio::piped()).output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

fn purged(server: &Server, to: &str) -> (String, String) {
    let mut purge = command(&server.spool, &["purge", "--to", to, "--yes"]);
    let output = purge.stderr(Stdio::piped()).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn n70_the_recipient_of_a_program_that_logs_in_is_known() {
    let server = Server::dev();
    let reply = logged_in(&server).deliver(&[TAGGED], b"To: list@far.test\r\nSubject: hello\r\n\r\n");
    assert!(reply.starts_with("250 "), "{reply}");
    let (lines, code) = run(&server.spool, &["wait", "--to", TAGGED, "--json"]);
    assert_eq!(code, 0);
    let message: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&message["to"], &message["message"]["Envelope"]["To"]), (&TAGGED.into(), &TAGGED.into()));
    assert_eq!(message["message"]["Bcc"][0]["Address"], TAGGED);
    let stored = server.maildir(BOB).only_message();
    assert!(
        !String::from_utf8_lossy(&stored).contains("Delivered-To"),
        "it is the file of the copy in Sent too"
    );
    assert_eq!(waited(&server, "bob+other@example.test").1, 1);
    assert_eq!(purged(&server, "bob+other@example.test").0, "0 messages deleted\n");
    assert_eq!(purged(&server, TAGGED).0, "1 message deleted\n");
}

#[test]
fn n71_of_several_recipients_those_count_that_the_header_names() {
    let server = Server::dev();
    let named = b"To: =?utf-8?q?B=C3=B6b?= <Bob+News@example.test>\r\nCc: eve@example.test\r\n\r\n";
    let blind = b"To: eve@example.test\r\n\r\n";
    let other = "bob+other@example.test";
    for to in [[TAGGED, "eve@example.test"], [TAGGED, other]] {
        for (message, is_found) in [(&named[..], true), (&blind[..], false)] {
            for client in [Client::smtp(&server), logged_in(&server)].iter_mut() {
                let reply = client.deliver(&to, message);
                assert!(reply.starts_with("250 "), "{reply}");
                let (told, code) = waited(&server, TAGGED);
                assert_eq!(code == 0, is_found, "{told}");
                let told_other = waited(&server, other);
                assert_eq!(told_other.1, 1);
                assert!(told_other.0.contains("1 of them to several recipients"), "{}", told_other.0);
                let (deleted, told) = purged(&server, TAGGED);
                assert_eq!(
                    deleted,
                    format!("{} deleted\n", if is_found { "1 message" } else { "0 messages" })
                );
                assert_eq!(told.contains("1 message to several recipients stayed"), !is_found, "{told}");
                purged(&server, BOB);
            }
        }
    }
    deliver(&server, other, named);
    let (told, code) = waited(&server, TAGGED);
    assert!(code == 1 && !told.contains("several"), "its only recipient is another one: {told}");
}

#[test]
fn n108_mail_that_is_not_certainly_for_the_address_is_not_told_as_mail_that_does_not_match() {
    let server = Server::dev();
    let told = || {
        let words = ["wait", "--to", TAGGED, "--subject", "offer", "--timeout", "0s"];
        let output = command(&server.spool, &words).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let offer = b"To: list@far.test\r\nSubject: offer\r\n\r\n";
    Client::smtp(&server).deliver(&[TAGGED, "eve@example.test"], offer);
    deliver(&server, "bob+other@example.test", offer);
    let said = told();
    let reason = format!(
        "(2 messages in its mailbox, 1 of them to another address, 1 of them to several recipients, whom the header does \
         not tell: send to {TAGGED} alone, or name it in To or Cc)\n"
    );
    assert!(said.ends_with(&reason), "{said}");
    deliver(&server, TAGGED, b"Subject: tea\r\n\r\n");
    let said = told();
    assert!(
        said.ends_with("none matches subject=offer; the newest: \"tea\" from sender@far.test)\n"),
        "{said}"
    );
}

#[test]
fn n72_a_tag_that_no_folder_can_have_is_one_and_an_address_is_read_as_by_the_server() {
    let server = Server::dev();
    for tag in ["a..b", "1/2", "x", "", "#4711"] {
        let to = format!("\"bob+{tag}\"@example.test");
        assert_eq!(waited(&server, &to).1, 1, "{to}");
        deliver(&server, &to, b"Subject: one\r\n\r\n");
        assert_eq!(waited(&server, &to).1, 0, "{to}");
        assert_eq!(
            run(&server.spool, &["wait", "--to", &to, "--count", "2", "--timeout", "0s"]).1,
            1,
            "{to}"
        );
    }
    let reply = Client::smtp(&server).deliver(&["Bob+News@localhost"], b"Subject: two\r\n\r\n");
    assert!(reply.starts_with("250 "), "{reply}");
    for same in ["bob+news", "BOB+NEWS@LOCALHOST", "\"bob+news\"@localhost"] {
        assert_eq!(waited(&server, same).1, 0, "{same}");
    }
    assert_eq!(purged(&server, "bob+other").0, "0 messages deleted\n");
    assert_eq!(purged(&server, "bob+news").0, "1 message deleted\n");
    assert_eq!(purged(&server, "bob+x@example.test").0, "1 message deleted\n");
    assert_eq!(run(&server.spool, &["wait", "--to", BOB, "--count", "4", "--timeout", "0s"]).1, 0);
}
