//! `restante seed`: the awkward messages have the properties that it reports, for any client that
//! fetches them.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::common::{
    self, PASSWORD_MD5, STRICT, Server,
    client::{session_with, with_crlf},
    configuration,
    tools::{Desk, ended},
};
use serde_json::Value;

const BOB: &str = "bob@example.test";

/// The messages that it has filed.
fn seed(spool: &Path, words: &[&str]) -> Vec<Value> {
    let mut seed = Command::new(env!("CARGO_BIN_EXE_restante"));
    seed.arg("seed").arg("--spool").arg(spool).args(["--to", BOB, "--json"]).args(words).stdin(Stdio::null());
    let done = seed.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(filed: &'a Value, key: &str) -> &'a str {
    filed[key].as_str().unwrap()
}

#[test]
fn every_size_is_what_the_server_announces_and_sends() {
    let server = Server::dev();
    let filed = seed(&server.spool, &["--nasty"]);
    let mut client = session_with(&server, BOB, filed.len());
    let (ids, sizes) = (client.listing("UIDL"), client.listing("LIST"));
    for filed in &filed {
        let what = text(filed, "what");
        let at = ids.iter().position(|id| id == text(filed, "id")).unwrap_or_else(|| panic!("{what}"));
        let octets = filed["octets"].as_u64().unwrap();
        assert_eq!(sizes[at], octets.to_string(), "{what}");
        let sent = client.retr(at + 1);
        assert_eq!(sent.len() as u64, octets, "{what}");
        let file = fs::read(text(filed, "path")).unwrap();
        assert_eq!(file.len() as u64, filed["bytes"].as_u64().unwrap(), "{what}");
        assert!(sent == with_crlf(&file), "{what}");
    }
    client.ask("QUIT", "+OK Bye");
    assert_eq!(server.maildir(BOB).files("new").len(), 0, "all of them are marked as seen");
}

#[test]
fn every_size_is_what_poplib_counts() {
    let server = Server::dev();
    let filed = seed(&server.spool, &["--nasty", "--count", "3"]);
    drop(session_with(&server, BOB, filed.len()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/sizes.py");
    let pop3 = server.pop3();
    let python = common::eventually("the mailbox is free", || {
        let mut python = Command::new("python3");
        python.arg(&script).args([&pop3.ip().to_string(), &pop3.port().to_string(), BOB]);
        let done = python.output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success() || said.contains("[IN-USE]"), "{said}");
        done.status.success().then_some(done.stdout)
    });
    let counted: BTreeMap<String, u64> = String::from_utf8(python)
        .unwrap()
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(id, octets)| (id.to_owned(), octets.parse().unwrap()))
        .collect();
    let told: BTreeMap<String, u64> =
        filed.iter().map(|filed| (text(filed, "id").to_owned(), filed["octets"].as_u64().unwrap())).collect();
    assert_eq!(counted, told);
}

#[test]
fn they_are_the_same_every_time_and_another_time_adds_to_them() {
    let dir = common::home();
    let spool = dir.path().join("not").join("there").join("yet");
    let contents = |filed: Vec<Value>| -> Vec<(String, Vec<u8>)> {
        let content =
            |filed: &Value| (text(filed, "what").to_owned(), fs::read(text(filed, "path")).unwrap());
        filed.iter().map(content).collect()
    };
    let first = contents(seed(&spool, &["--nasty", "--count", "2"]));
    assert!(first == contents(seed(&spool, &["--nasty", "--count", "2"])));
    let maildir = common::Maildir { path: spool.join(BOB) };
    assert_eq!(maildir.files("new").len() + maildir.files("cur").len(), 2 * first.len());
    assert_eq!(maildir.files("tmp").len(), 0);
}

#[test]
fn two_thousand_are_listed_in_their_order() {
    let server = Server::dev();
    let filed = seed(&server.spool, &["--count", "2000"]);
    let mut client = session_with(&server, BOB, 2000);
    let ids: Vec<&str> = filed.iter().map(|filed| text(filed, "id")).collect();
    assert!(client.listing("UIDL") == ids);
    let sizes: Vec<String> = filed.iter().map(|filed| filed["octets"].to_string()).collect();
    assert!(client.listing("LIST") == sizes);
    let last = String::from_utf8(client.retr(2000)).unwrap();
    assert!(last.contains("Subject: letter 2000\r\n"), "{last}");
}

#[test]
fn u146_a_tag_without_its_folder_leads_into_the_mailbox_itself() {
    let home = common::home();
    let spool = home.path().join("spool");
    let seed = || {
        let mut seed = Command::new(env!("CARGO_BIN_EXE_restante"));
        seed.arg("seed").arg("--spool").arg(&spool).args(["--count", "1", "--to", "bob+news@example.test"]);
        let done = seed.output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    assert!(seed().contains(&format!("{BOB} has no folder .news, so the mailbox itself gets the messages")));
    assert!(!spool.join(BOB).join(".news").exists());
    for part in ["tmp", "new", "cur"] {
        fs::create_dir_all(spool.join(BOB).join(".news").join(part)).unwrap();
    }
    assert_eq!(seed(), "");
    for maildir in [spool.join(BOB), spool.join(BOB).join(".news")] {
        let maildir = common::Maildir { path: maildir };
        assert_eq!(maildir.files("new").len() + maildir.files("cur").len(), 1);
    }
}

#[test]
fn u147_with_a_configuration_the_files_have_the_host_name_of_the_server() {
    let backend = Desk::new();
    backend.file("users.json", format!("{{{BOB:?}: {{\"password_hash\": {PASSWORD_MD5:?}}}}}"));
    backend.file("restante.toml", configuration(&backend.path("."), &backend.spool, STRICT));
    let words = ["seed", "--config", "restante.toml", "--to", BOB, "--count", "1"];
    let mut seed = Command::new(env!("CARGO_BIN_EXE_restante"));
    ended(seed.args(words).current_dir(backend.path(".")).output().unwrap(), &words, 0);
    let files = backend.maildir(BOB).files("new");
    assert!(files.len() == 1 && files[0].to_string_lossy().contains(".mx.example.test,S="), "{files:?}");
}

#[test]
fn u37_a_new_spool_is_told_once() {
    let home = common::home();
    let spool = home.path().join("spol");
    let told = || {
        let mut seed = Command::new(env!("CARGO_BIN_EXE_restante"));
        let done = seed.arg("seed").arg("--spool").arg(&spool).args(["--count", "1"]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    assert_eq!(told(), format!("restante: {} did not exist, and is a new spool now\n", spool.display()));
    assert_eq!(told(), "");
}
