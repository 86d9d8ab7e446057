//! Clients that we did not write: Python's smtplib and poplib, and curl.

use std::{fs, process::Command};

use crate::common::{
    Server,
    client::{Client, deliver},
    home, installed,
    programs::run,
    skip,
};

const ALICE: &str = "alice@example.test";

#[test]
fn smtplib_and_poplib_find_all_they_expect() {
    if !installed("python3") {
        return skip("smtplib_and_poplib_find_all_they_expect", "python3 is not installed");
    }
    let server = Server::dev();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/clients.py");
    let (smtp, pop3) = (server.smtp(), server.pop3());
    let (smtp_port, pop3_port) = (smtp.port().to_string(), pop3.port().to_string());
    run(Command::new("python3").args([script, &smtp.ip().to_string(), &smtp_port, &pop3_port]), "");
}

#[test]
fn curl_sends_lists_fetches_and_deletes() {
    if !installed("curl") {
        return skip("curl_sends_lists_fetches_and_deletes", "curl is not installed");
    }
    let server = Server::dev();
    let home = home();
    let letter = home.path().join("letter");
    let text = b"From: ann@far.test\r\nSubject: by curl\r\n\r\n.\r\n..\r\nbody\r\n";
    fs::write(&letter, text).unwrap();
    let curl = |address: String| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", &address]);
        command
    };
    let (smtp, pop3) =
        (format!("smtp://{}/client.test", server.smtp()), format!("pop3://{}/", server.pop3()));
    let mut send = curl(smtp);
    send.args(["--mail-from", "ann@far.test", "--mail-rcpt", ALICE, "--mail-rcpt", "bob@example.test"]);
    run(send.arg("--upload-file").arg(&letter), "");

    let fetched = |path: &str| {
        let mut fetch = curl(format!("{pop3}{path}"));
        run(fetch.args(["--user", &format!("{ALICE}:secret")]), "").stdout
    };
    let message = fetched("1");
    assert!(message.ends_with(text), "{}", String::from_utf8_lossy(&message));
    assert_eq!(fetched(""), format!("1 {}\r\n", message.len()).as_bytes());
    run(
        curl(format!("{pop3}1")).args([
            "--user",
            &format!("{ALICE}:secret"),
            "--request",
            "DELE",
            "--list-only",
        ]),
        "",
    );
    Client::pop3(&server, ALICE).ask("STAT", "+OK 0 0");
    Client::pop3(&server, "bob@example.test").ask("STAT", "+OK 1 ");
}

#[test]
fn swaks_has_nothing_to_complain_about() {
    if !installed("swaks") {
        return skip("swaks_has_nothing_to_complain_about", "swaks is not installed");
    }
    let server = Server::dev();
    let mut swaks = Command::new("swaks");
    swaks.args(["--server", &server.smtp().to_string(), "--from", "ann@far.test", "--to", ALICE]);
    run(swaks.args(["--helo", "client.test", "--header", "Subject: by swaks", "--pipeline"]), "");
    let message = String::from_utf8(server.maildir(ALICE).only_message()).unwrap();
    assert!(message.contains("\nSubject: by swaks\n"), "{message}");
}

#[test]
fn fetchmail_takes_the_mail_and_empties_the_mailbox() {
    if !installed("fetchmail") {
        return skip("fetchmail_takes_the_mail_and_empties_the_mailbox", "fetchmail is not installed");
    }
    let server = Server::dev();
    for i in 0..3 {
        deliver(&server, ALICE, format!("From: a@far.test\r\nSubject: {i}\r\n\r\n.\r\n").as_bytes());
    }
    let home = home();
    let (rules, taken) = (home.path().join("rules"), home.path().join("taken"));
    let pop3 = server.pop3();
    let rule = format!(
        "poll {} service {} protocol pop3 user {ALICE:?} password secret sslproto '' mda \"cat >> {}\"\n",
        pop3.ip(),
        pop3.port(),
        taken.display(),
    );
    fs::write(&rules, rule).unwrap();
    run(Command::new("chmod").arg("600").arg(&rules), "");
    let mut fetchmail = Command::new("fetchmail");
    fetchmail.env("FETCHMAILHOME", home.path()).env("HOME", home.path());
    // As root it would share one lock with every other fetchmail of the machine.
    fetchmail.arg("--pidfile").arg(home.path().join("pid"));
    run(fetchmail.arg("--fetchmailrc").arg(&rules).args(["--nosyslog", "--verbose"]), "");
    let taken = fs::read_to_string(taken).unwrap();
    let subjects: Vec<&str> = taken.lines().filter(|line| line.starts_with("Subject: ")).collect();
    assert_eq!(subjects, ["Subject: 0", "Subject: 1", "Subject: 2"]);
    assert!(server.maildir(ALICE).files("new").is_empty() && server.maildir(ALICE).files("cur").is_empty());
}
