//! LMTP when the disk fails for some recipients: exactly the recipients with a 250 have the message.

use crate::common::{
    Server, Setup,
    client::{Client, with_lf, without_trace},
    inject::{Fault, can_inject},
    listener, memory,
};
use std::path::Path;

const USERS: [&str; 3] = ["alice@example.test", "bob@example.test", "carol@example.test"];
const SMALL: &[u8] = b"Subject: small\r\n\r\n.\r\n";

/// A server whose mailboxes are all there, and a client of it.
fn office(spool: &Path) -> (Server, Client) {
    let spool = Some(spool.join("spool"));
    let server =
        Setup { config: Some(&listener("lmtp", "")), users: &USERS, spool, ..Setup::default() }.start();
    let mut client = Client::connect(server.addresses("lmtp")[0]);
    client.expect("220");
    client.ask("LHLO client.test", "250");
    assert_eq!(deliver(&mut client, SMALL), ["250"; 3]);
    empty(&server);
    (server, client)
}

fn empty(server: &Server) {
    for user in USERS {
        server.maildir(user).files("new").iter().for_each(|file| std::fs::remove_file(file).unwrap());
    }
}

/// The codes of the replies, one for each user.
fn deliver(client: &mut Client, message: &[u8]) -> [String; 3] {
    let mut first = client.deliver(&USERS, message);
    USERS.map(|user| {
        let reply = if first.is_empty() { client.reply() } else { std::mem::take(&mut first) };
        assert!(reply.contains(user), "{reply:?}");
        reply[..3].to_owned()
    })
}

/// The fault costs one user the message, whichever that is, and the reply says so.
#[track_caller]
fn costs_one(fault: &Fault, server: &Server, client: &mut Client, message: &[u8]) -> usize {
    let codes = fault.during(server, || deliver(client, message));
    for (code, user) in codes.iter().zip(USERS) {
        let maildir = server.maildir(user);
        assert_eq!(maildir.files("tmp").len(), 0, "{user}");
        match code.as_str() {
            "250" => assert!(without_trace(&maildir.only_message()) == with_lf(message), "{user}"),
            _ => assert_eq!(maildir.files("new").len(), 0, "{user}"),
        }
    }
    assert_eq!(codes.iter().filter(|code| *code == "250").count(), 2, "{fault:?}: {codes:?}");
    empty(server);
    codes.iter().position(|code| code != "250").unwrap()
}

#[test]
fn a_failure_at_any_step_for_one_mailbox_costs_no_other_recipient_the_message() {
    if !can_inject("a_failure_at_any_step_for_one_mailbox_costs_no_other_recipient_the_message") {
        return;
    }
    let large = [b"Subject: large\r\n\r\n", &b"a line of text\r\n"[..].repeat(40_000)[..]].concat();
    // A small message has its first name in a mailbox, and a large one leaves tmp/ at last.
    for (message, own) in [(SMALL, "linkat:error={}:when=3"), (&large, "renameat2:error={}:when=1")] {
        let memory = memory();
        let (server, mut client) = office(memory.path());
        let mut costs = |what: &str, path: Option<(usize, &str)>| {
            let fault = match path {
                // Several directories are synced by threads that the committer starts for that.
                Some((user, dir)) => Fault::new(what).on(server.maildir(USERS[user]).path.join(dir)),
                None => Fault::new(what).of("committer"),
            };
            costs_one(&fault, &server, &mut client, message)
        };
        for error in ["EIO", "ENOSPC", "EDQUOT"] {
            assert_eq!(costs(&format!("linkat:error={error}:when=1"), None), 1);
            assert_eq!(costs(&format!("linkat:error={error}:when=2"), None), 2);
            assert_eq!(costs(&own.replace("{}", error), None), 0, "the last is its own");
            for user in 0..USERS.len() {
                assert_eq!(costs(&format!("fsync:error={error}"), Some((user, "new"))), user);
            }
        }
    }
}

#[test]
fn a_content_that_is_not_durable_is_nobodys() {
    if !can_inject("a_content_that_is_not_durable_is_nobodys") {
        return;
    }
    let memory = memory();
    let (server, mut client) = office(memory.path());
    let fault = Fault::new("fsync:error=EIO:when=1").of("committer");
    assert_eq!(fault.during(&server, || deliver(&mut client, SMALL)), ["451"; 3]);
    for user in USERS {
        assert_eq!([server.maildir(user).files("new"), server.maildir(user).files("tmp")].concat().len(), 0);
    }
    assert_eq!(deliver(&mut client, SMALL), ["250"; 3]);
}
