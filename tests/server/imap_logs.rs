//! The log of IMAP sessions.

use crate::common::{
    PASSWORD, Server, Setup,
    client::{Client, deliver},
    listener,
};

const ALICE: &str = "alice@example.test";
const LETTER: &[u8] = b"Subject: x\r\n\r\n";

#[test]
fn y120_the_log_tells_what_imap_commands_have_changed_and_nothing_of_the_mail() {
    let config = format!("[log]\nlevel = \"debug\"\n{}", listener("imap", ""));
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    for name in ["1.one", "2.two", "3.three"] {
        server.maildir(ALICE).put(name, b"Subject: treasure\n\nx\n");
    }
    let mut client = Client::connect(server.addresses("imap")[0]);
    client.expect("* OK");
    client.ask(&format!("a1 LOGIN {ALICE} {PASSWORD}"), "a1 OK");
    for command in [
        "a2 SELECT INBOX",
        "a3 STORE 1:2 +FLAGS.SILENT (\\Deleted secretword)",
        "a4 EXPUNGE",
        "a5 COPY 1 Archive",
        "a6 MOVE 1 Trash",
        "a7 APPEND Drafts {3+}\r\nx\r\n",
        "a8 LOGOUT",
    ] {
        client.send(command);
    }
    client.rest();
    for line in [
        format!("opened peer=127.0.0.1 mailbox={ALICE} messages=3"),
        format!("stored peer=127.0.0.1 mailbox={ALICE} messages=2"),
        format!("expunged peer=127.0.0.1 mailbox={ALICE} messages=2"),
        format!("copied peer=127.0.0.1 mailbox={ALICE} messages=1 to={ALICE}/.Archive"),
        format!("moved peer=127.0.0.1 mailbox={ALICE} messages=1 to={ALICE}/.Trash"),
        format!("appended peer=127.0.0.1 mailbox={ALICE}/.Drafts messages=1"),
        format!("closed peer=127.0.0.1 user={ALICE} messages=0 read=0 deleted=2 "),
    ] {
        server.tells(&format!(" imap {line}"));
    }
    for secret in ["secretword", "treasure", "three"] {
        assert!(!server.log().contains(secret), "{secret}");
    }
}

#[test]
fn the_last_line_of_an_imap_session_counts_the_messages_that_the_client_has_whole() {
    let server = Server::dev();
    (0..3).for_each(|_| deliver(&server, ALICE, LETTER));
    let mut client = Client::connect(server.addresses("imap")[0]);
    let mut ask = |tag: &str, command: &str| {
        client.send(&format!("{tag} {command}"));
        while !String::from_utf8_lossy(&client.line()).starts_with(&format!("{tag} OK")) {}
    };
    ask("a", &format!("LOGIN {ALICE} {PASSWORD}"));
    ask("b", "SELECT INBOX");
    ask("c", "FETCH 1:* (ENVELOPE BODY.PEEK[TEXT] BODY.PEEK[]<0.4>)");
    ask("d", "FETCH 1:2 BODY.PEEK[]");
    ask("e", "LOGOUT");
    server.tells(&format!(" imap closed peer=127.0.0.1 user={ALICE} messages=0 read=2 deleted=0 "));
}

#[test]
fn m34_the_log_names_a_folder_that_no_list_shows_once() {
    let server = Server::dev();
    for part in ["tmp", "new", "cur", ".Foo./tmp", ".Foo./new", ".Foo./cur"] {
        std::fs::create_dir_all(server.spool.join(ALICE).join(part)).unwrap();
    }
    let mut client = Client::connect(server.addresses("imap")[0]);
    let mut ask = |tag: &str, command: &str| {
        client.send(&format!("{tag} {command}"));
        loop {
            let line = String::from_utf8_lossy(&client.line()).into_owned();
            assert!(!line.contains("Foo"), "{line}");
            if line.starts_with(&format!("{tag} OK")) {
                break;
            }
        }
    };
    ask("a", &format!("LOGIN {ALICE} {PASSWORD}"));
    ask("b", "LIST \"\" *");
    ask("c", "LIST \"\" *");
    let why = ".Foo.: IMAP cannot show a folder of this name";
    server.tells(why);
    assert_eq!(server.log().matches(why).count(), 1);
}
