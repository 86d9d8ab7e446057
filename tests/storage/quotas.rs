//! Quotas: a mailbox takes messages up to its quota, also with several clients at once, and says so when it
//! is full.

use std::{fs, thread};

use crate::common::{PASSWORD_MD5, STRICT, Server, Setup, client::Client};

const BOB: &str = "bob@example.test";
const ALICE: &str = "alice@example.test";
const MESSAGE: &[u8] = b"Subject: x\r\n\r\n.\r\n";

/// A server where bob has that quota, and alice has none.
fn server(quota: &str) -> Server {
    let mut server = Setup { config: Some(STRICT), users: &[ALICE, BOB], ..Setup::default() }.start();
    let user = |name, rest: &str| {
        format!("{name:?}: {{\"password_hash\": {PASSWORD_MD5:?}, \"inbox\": {name:?}{rest}}}")
    };
    let users = [user(ALICE, ""), user(BOB, &format!(", \"quota\": {quota}"))].join(", ");
    fs::write(server.home.path().join("users.json"), format!("{{{users}}}")).unwrap();
    server.restart();
    server
}

#[test]
fn a_mailbox_that_is_full_says_so_at_rcpt_and_others_get_their_mail() {
    let server = server(r#"{"messages": 2}"#);
    let mut client = Client::smtp(&server);
    for _ in 0..2 {
        assert!(client.deliver(&[BOB], MESSAGE).starts_with("250 "));
    }
    client.ask("MAIL FROM:<sender@far.test>", "250 ");
    client.ask(&format!("RCPT TO:<{BOB}>"), "452 4.2.2 ");
    client.ask(&format!("RCPT TO:<{ALICE}>"), "250 ");
    client.ask("RSET", "250 ");
    assert_eq!(server.maildir(BOB).files("new").len(), 2);
}

#[test]
fn what_is_in_the_mailbox_and_its_folders_after_a_restart_counts() {
    let mut server = server(r#"{"messages": 3}"#);
    assert!(Client::smtp(&server).deliver(&[BOB], MESSAGE).starts_with("250 "));
    let folder = server.maildir(BOB).path.join(".Archive/cur");
    fs::create_dir_all(&folder).unwrap();
    ["new", "tmp"].iter().for_each(|part| fs::create_dir(folder.parent().unwrap().join(part)).unwrap());
    fs::write(folder.join("1.theirs:2,S"), "Subject: theirs\n\n").unwrap();
    server.restart();
    let mut client = Client::smtp(&server);
    assert!(client.deliver(&[BOB], MESSAGE).starts_with("250 "));
    client.ask("MAIL FROM:<sender@far.test>", "250 ");
    client.ask(&format!("RCPT TO:<{BOB}>"), "452 4.2.2 ");
    server.restart();
    // The mailbox is not counted yet, so RCPT passes and the reply at the end of the message refuses.
    let reply = Client::smtp(&server).deliver(&[BOB], MESSAGE);
    assert!(reply.starts_with("452 4.2.2 "), "{reply:?}");
    let bob = server.maildir(BOB);
    assert_eq!((bob.files("new").len(), bob.files("tmp").len()), (2, 0));
}

#[test]
fn a_message_that_does_not_fit_is_refused_at_its_end_and_a_smaller_one_is_not() {
    let server = server(r#"{"bytes": "300 KiB"}"#);
    let large = [b"Subject: large\r\n\r\n", &b"a line of text\r\n"[..].repeat(20_000)[..]].concat();
    let mut client = Client::smtp(&server);
    let reply = client.deliver(&[BOB], &large);
    assert!(reply.starts_with("250 "), "{reply:?}");
    let reply = client.deliver(&[BOB], &large);
    assert!(reply.starts_with("452 4.2.2 "), "{reply:?}");
    let reply = client.deliver(&[BOB, ALICE], &large);
    assert!(reply.starts_with("452 4.2.2 "), "{reply:?}");
    assert!(client.deliver(&[BOB], MESSAGE).starts_with("250 "));
    assert_eq!(server.maildir(ALICE).files("new").len(), 0);
}

#[test]
fn what_a_session_deletes_makes_room() {
    let server = server(r#"{"messages": 1}"#);
    let mut client = Client::smtp(&server);
    assert!(client.deliver(&[BOB], MESSAGE).starts_with("250 "));
    client.ask("MAIL FROM:<sender@far.test>", "250 ");
    client.ask(&format!("RCPT TO:<{BOB}>"), "452 4.2.2 ");
    client.ask("RSET", "250 ");
    let mut reader = Client::pop3(&server, BOB);
    reader.ask("DELE 1", "+OK");
    reader.ask("QUIT", "+OK");
    assert!(client.deliver(&[BOB], MESSAGE).starts_with("250 "));
}

#[test]
fn clients_at_the_same_time_do_not_share_the_last_place() {
    let server = server(r#"{"messages": 4}"#);
    let accepted = thread::scope(|scope| {
        let clients: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::smtp(&server);
                    client.ask("MAIL FROM:<sender@far.test>", "250 ");
                    let rcpt = client.send(&format!("RCPT TO:<{BOB}>")).reply();
                    if rcpt.starts_with("452 4.2.2 ") {
                        return false;
                    }
                    client.ask("DATA", "354 ");
                    let reply = client.send("Subject: x\r\n\r\nx\r\n.").reply();
                    assert!(["250 ", "452 4.2.2 "].iter().any(|code| reply.starts_with(code)), "{reply:?}");
                    reply.starts_with("250 ")
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).filter(|got| *got).count()
    });
    assert_eq!((accepted, server.maildir(BOB).files("new").len()), (4, 4));
}
