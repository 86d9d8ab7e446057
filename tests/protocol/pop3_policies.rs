//! Policies of a server for its POP3 sessions, over real sockets: folders that are read and not
//! changed, mail that may not stay for ever, and logins that may not come too often.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::common::{
    Maildir, PASSWORD, STRICT, Server, Setup,
    client::{Client, deliver},
};

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";

/// A strict server for alice and bob, with more in its configuration.
fn server(more: &str) -> Server {
    let config = format!("{STRICT}\n{more}\n");
    Setup { config: Some(&config), users: &[ALICE, BOB], ..Setup::default() }.start()
}

/// The reply to the password.
fn login(server: &Server, user: &str, password: &str) -> String {
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask(&format!("USER {user}"), "+OK");
    client.send(&format!("PASS {password}")).reply()
}

fn folder(server: &Server, user: &str, name: &str) -> Maildir {
    Maildir { path: server.maildir(user).path.join(name) }
}

/// Seconds since 1970, that many days ago.
fn days_ago(days: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - days * 24 * 3600
}

/// A message that was delivered and last changed at those times.
fn put(maildir: &Maildir, delivered: u64, modified: u64) -> PathBuf {
    let file = maildir.put(&format!("{delivered}.M1P1.elsewhere"), b"Subject: x\n\nbody\n");
    let modified = UNIX_EPOCH + Duration::from_secs(modified);
    fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    file
}

#[test]
fn a_folder_can_be_read_and_not_changed() {
    let server = server("[pop3]\nexpire = \"0\"");
    deliver(&server, ALICE, b"Subject: in the mailbox itself\r\n\r\n");
    let sent = folder(&server, ALICE, ".Sent");
    let file = sent.put("1700000001.M1P1.elsewhere", b"Subject: sent\n\nbody\n");
    let mut client = Client::pop3(&server, "alice+Sent");
    client.ask("STAT", "+OK 1 23\r\n");
    assert_eq!(client.retr(1), b"Subject: sent\r\n\r\nbody\r\n");
    client.ask("DELE 1", "-ERR ");

    // Its own lock: the mailbox and other folders are free meanwhile.
    assert!(login(&server, "alice+Sent@example.test", PASSWORD).starts_with("-ERR [IN-USE]"));
    Client::pop3(&server, ALICE).ask("STAT", "+OK 1 ");

    client.ask("QUIT", "+OK");
    assert_eq!(sent.files("new"), [file]);
    assert!(sent.files("cur").is_empty());
    assert!(sent.path.join(".restante.lock").exists());
}

#[test]
fn folders_are_nested_by_dots_and_named_in_modified_utf7() {
    let server = server("");
    for (user, directory) in [
        ("alice+Archive.2026@example.test", ".Archive.2026"),
        ("alice+Sent Items", ".Sent Items"),
        ("alice+Entwürfe", ".Entw&APw-rfe"),
        ("alice+&ZeVnLIqe-", ".&ZeVnLIqe-"),
    ] {
        folder(&server, ALICE, directory).put("1700000001.M1P1.elsewhere", b"x\n");
        Client::pop3(&server, user).ask("STAT", "+OK 1 3\r\n");
    }
}

#[test]
fn a_folder_that_is_not_there_is_told_after_the_password_and_not_made() {
    let server = server("[limits]\nauth.failure_delay = \"0s\"");
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    folder(&server, ALICE, ".Sent").put("1700000001.M1P1.elsewhere", b"x\n");
    let before = tree(&server.spool);
    for wrong in [login(&server, "alice+Sent", "wrong"), login(&server, "alice+None", "wrong")] {
        assert_eq!(wrong, "-ERR [AUTH] Wrong user or password\r\n");
    }
    let none = "-ERR [SYS/PERM] No such folder\r\n";
    assert_eq!(login(&server, "alice+None", PASSWORD), none);
    assert_eq!(login(&server, "bob+Sent", PASSWORD), none, "bob has no mailbox yet");
    for user in
        ["alice+", "alice+.", "alice+..", "alice+../bob", "alice+Sent/new", "alice+a..b", "alice+/etc"]
    {
        assert_eq!(login(&server, user, PASSWORD), "-ERR [AUTH] Wrong user or password\r\n", "{user}");
    }
    assert_eq!(tree(&server.spool), before);
}

#[test]
fn a_folder_behind_a_link_is_not_opened() {
    let server = server("");
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    let elsewhere = Maildir { path: server.home.path().join("elsewhere") };
    elsewhere.put("1700000001.M1P1.elsewhere", b"not hers\n");
    symlink(&elsewhere.path, server.maildir(ALICE).path.join(".Link")).unwrap();
    assert!(login(&server, "alice+Link", PASSWORD).starts_with("-ERR [SYS/PERM]"));
    assert!(!elsewhere.path.join(".restante.lock").exists());
}

#[test]
fn mail_to_a_tag_goes_to_the_folder_of_that_name() {
    let server = server("");
    folder(&server, ALICE, ".Sent").put("1700000001.M1P1.elsewhere", b"x\n");
    deliver(&server, "alice+Sent@example.test", b"Subject: tagged\r\n\r\n");
    deliver(&server, "alice+Other@example.test", b"Subject: tagged\r\n\r\n");
    Client::pop3(&server, ALICE).ask("STAT", "+OK 1 ");
    Client::pop3(&server, "alice+Sent").ask("STAT", "+OK 2 ");
}

#[test]
fn old_mail_is_deleted_at_quit_when_it_expires() {
    let server = server("[pop3]\nexpire = \"30 days\"");
    let maildir = server.maildir(ALICE);
    let old = put(&maildir, days_ago(31), days_ago(31));
    let young = put(&maildir, days_ago(29), days_ago(400));
    let changed = put(&maildir, days_ago(400), days_ago(1));
    let not_a_time = put(&maildir, 20_261_121, days_ago(1));
    let folder = folder(&server, ALICE, ".Archive");
    let archived = put(&folder, days_ago(31), days_ago(31));

    let mut lost = Client::pop3(&server, ALICE);
    lost.ask("CAPA", "+OK");
    assert!(String::from_utf8(lost.text()).unwrap().contains("\r\nEXPIRE 30\r\n"));
    drop(lost);
    let mut client = Client::pop3(&server, ALICE);
    client.ask("STAT", "+OK 4 ");
    assert!(old.exists(), "a lost connection deletes nothing");
    client.ask("QUIT", "+OK");
    assert!(!old.exists());
    assert!(young.exists() && changed.exists() && not_a_time.exists());

    Client::pop3(&server, "alice+Archive").ask("QUIT", "+OK");
    assert!(archived.exists());
}

#[test]
fn mail_may_stay_until_it_is_fetched() {
    let server = server("[pop3]\nexpire = \"0\"");
    for body in ["fetched\r\n", "looked at\r\n", "left alone\r\n"] {
        deliver(&server, ALICE, body.as_bytes());
    }
    let mut lost = Client::pop3(&server, ALICE);
    lost.retr(3);
    drop(lost);
    let mut client = Client::pop3(&server, ALICE);
    client.ask("STAT", "+OK 3 ");
    client.retr(1);
    client.ask("TOP 2 99", "+OK");
    client.text();
    client.ask("QUIT", "+OK");
    let maildir = server.maildir(ALICE);
    assert_eq!((maildir.files("new").len(), maildir.files("cur").len()), (2, 0));
}

#[test]
fn without_a_setting_old_mail_stays_and_nothing_is_announced() {
    let server = server("");
    let old = put(&server.maildir(ALICE), days_ago(4000), days_ago(4000));
    let mut client = Client::pop3(&server, ALICE);
    client.ask("CAPA", "+OK");
    let capabilities = String::from_utf8(client.text()).unwrap();
    assert!(!capabilities.contains("EXPIRE") && !capabilities.contains("LOGIN-DELAY"), "{capabilities}");
    client.ask("QUIT", "+OK");
    assert!(old.exists());
}

#[test]
fn a_second_login_within_the_delay_is_refused() {
    let server = server("[limits]\npop3.login_delay = \"1h\"\nauth.failure_delay = \"0s\"");
    assert_eq!(login(&server, ALICE, "wrong"), "-ERR [AUTH] Wrong user or password\r\n");
    let mut first = Client::pop3(&server, ALICE);
    first.ask("CAPA", "+OK");
    assert!(String::from_utf8(first.text()).unwrap().contains("\r\nLOGIN-DELAY 3600\r\n"));
    first.ask("QUIT", "+OK");
    assert_eq!(login(&server, ALICE, "wrong"), "-ERR [AUTH] Wrong user or password\r\n");
    assert!(login(&server, ALICE, PASSWORD).starts_with("-ERR [LOGIN-DELAY] "));
    assert!(login(&server, BOB, PASSWORD).starts_with("+OK"));
}

/// Everything below a directory.
fn tree(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            found.extend(tree(&entry.path()));
        }
    }
    found.sort();
    found
}
