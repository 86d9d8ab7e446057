//! Sessions whose account changes while they are open.

use std::{fs, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustix::process::Signal;

use crate::common::{
    PASSWORD, Server, Setup,
    client::{Client, deliver},
    eventually, listener, listeners,
};

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";
/// The last words of a submission session.
const LAST_REPLY: &[u8] = b"421 4.7.0 The account has changed, so this session ends\r\n";

/// A server with a message for alice and for bob.
fn server() -> Server {
    let clear = "auth_allow_cleartext = true";
    let mut config = listeners(&["smtp"]);
    config.extend(["submission", "imap", "pop3"].map(|service| listener(service, clear)));
    config += "\n[limits]\nauth.reload_interval = \"1s\"\n";
    let server = Setup { config: Some(&config), users: &[ALICE, BOB], ..Setup::default() }.start();
    [ALICE, BOB].iter().for_each(|user| deliver(&server, user, b"Subject: kept\r\n\r\n"));
    server
}

fn user(server: &Server, words: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.arg("user").args(words).arg("--config").arg(server.home.path().join("restante.toml"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
}

fn imap(server: &Server, user: &str) -> Client {
    let mut client = Client::connect(server.addresses("imap")[0]);
    client.expect("* OK");
    client.ask(&format!("a LOGIN {user} {PASSWORD}"), "a OK");
    client.send("s SELECT INBOX");
    until(&mut client, "s OK");
    client
}

/// Reads lines up to one that begins so.
fn until(client: &mut Client, start: &str) {
    loop {
        let line = String::from_utf8(client.line()).unwrap();
        assert!(!line.is_empty(), "ended before {start:?}");
        if line.starts_with(start) {
            return;
        }
    }
}

fn submission(server: &Server, user: &str) -> Client {
    let mut client = Client::smtp_at(server.addresses("submission")[0]);
    let plain = STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
    client.ask(&format!("AUTH PLAIN {plain}"), "235");
    client
}

/// Sessions of each protocol; the mailbox is in use by POP3, with a message marked for deletion.
struct Sessions {
    idle: Client,
    selected: Client,
    pop3: Client,
    submission: Client,
    data: Client,
}

impl Sessions {
    fn of(server: &Server, user: &str) -> Self {
        let (mut idle, selected) = (imap(server, user), imap(server, user));
        idle.ask("i IDLE", "+ ");
        let mut pop3 = Client::pop3(server, user);
        pop3.ask("DELE 1", "+OK");
        let mut data = submission(server, user);
        data.begin_data(user, &[ALICE]);
        data.write(b"Subject: half\r\n");
        Self { idle, selected, pop3, submission: submission(server, user), data }
    }

    /// The last words of all of them.
    fn expect_end(mut self) {
        for client in [&mut self.idle, &mut self.selected] {
            let told = String::from_utf8(client.rest()).unwrap();
            assert!(told.ends_with("* BYE The account has changed, so this session ends\r\n"), "{told:?}");
        }
        assert_eq!(self.pop3.rest(), b"-ERR The account has changed, so this session ends\r\n");
        for client in [&mut self.submission, &mut self.data] {
            assert_eq!(client.rest(), LAST_REPLY);
        }
    }

    /// Each of them still does its work.
    fn expect_work(mut self, user: &str) {
        self.idle.send("DONE");
        until(&mut self.idle, "i OK");
        self.selected.send("n NOOP");
        until(&mut self.selected, "n OK");
        self.pop3.ask("RSET", "+OK");
        self.data.write(b"\r\nbody\r\n.\r\n");
        self.data.expect("250");
        self.submission.ask(&format!("MAIL FROM:<{user}>"), "250");
    }
}

#[test]
fn n155_all_sessions_of_a_disabled_account_end_nothing_is_deleted_and_others_go_on() {
    let server = server();
    let (alice, bob) = (Sessions::of(&server, ALICE), Sessions::of(&server, BOB));
    user(&server, &["disable", BOB]);
    bob.expect_end();
    assert_eq!(server.maildir(BOB).files("new").len() + server.maildir(BOB).files("cur").len(), 1);
    server.tells("its login is no longer valid");
    alice.expect_work(ALICE);
}

#[test]
fn n155_sessions_end_with_a_removed_or_renamed_account_also_at_a_signal() {
    let server = server();
    let (mut alice, bob) = (submission(&server, ALICE), Sessions::of(&server, BOB));
    user(&server, &["remove", BOB]);
    server.signal(Signal::HUP);
    bob.expect_end();
    user(&server, &["rename", ALICE, "carol@example.test"]);
    assert_eq!(alice.rest(), LAST_REPLY);
}

#[test]
fn n155_a_new_password_ends_sessions_and_the_upgrade_of_a_hash_ends_none() {
    let server = server();
    let file = server.home.path().join("users.json");
    // Each first login replaces the hash of its account, while the sessions of the other one are open.
    let (alice, bob) = (Sessions::of(&server, ALICE), Sessions::of(&server, BOB));
    let text = eventually("both hashes are replaced", || {
        let text = fs::read_to_string(&file).unwrap();
        (text.matches("$argon2id$").count() == 2).then_some(text)
    });
    let reload = |text: &str| {
        let new = file.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &file).unwrap();
    };
    let three = text.replacen('{', "{\"carol@example.test\": {\"password_hash\": \"!\"},", 1);
    reload(&three);
    eventually("carol is there", || {
        let mut client = Client::smtp(&server);
        client.ask("MAIL FROM:<>", "250");
        client.send("RCPT TO:<carol@example.test>").reply().starts_with("250").then_some(())
    });
    alice.expect_work(ALICE);
    // Of another password.
    let hash = "$argon2id$v=19$m=64,t=2,p=1$c29tZSBzYWx0IQ$aGFzaGhhc2hoYXNoaGFzaGhhc2g";
    let mut table: serde_json::Value = serde_json::from_str(&three).unwrap();
    table[BOB]["password_hash"] = hash.into();
    reload(&table.to_string());
    bob.expect_end();
}
