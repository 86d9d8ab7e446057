//! `restante wait`, as scripts use it.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use crate::common::{
    self, STRICT, Server, Setup,
    client::{Client, deliver, get_json},
    eventually, home,
};

pub(crate) const BOB: &str = "bob@example.test";
pub(crate) const LETTER: &[u8] =
    b"From: Zoe <zoe@example.test>\r\nSubject: =?utf-8?Q?caf=C3=A9?=\r\n\r\nA letter.\r\n";

pub(crate) fn command(spool: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.arg(words[0]).arg("--spool").arg(spool).args(&words[1..]).stdin(Stdio::null());
    command
}

/// The output of a command, line by line, and its exit code.
pub(crate) fn run(spool: &Path, words: &[&str]) -> (Vec<String>, i32) {
    said(&command(spool, words).output().unwrap())
}

pub(crate) fn said(output: &Output) -> (Vec<String>, i32) {
    let out = String::from_utf8(output.stdout.clone()).unwrap();
    (out.lines().map(str::to_owned).collect(), output.status.code().unwrap())
}

/// `restante wait`, when it watches some directory.
fn waiting(spool: &Path, words: &[&str]) -> Child {
    let child = command(spool, words).stdout(Stdio::piped()).spawn().unwrap();
    eventually("it watches", || {
        let fds = fs::read_dir(format!("/proc/{}/fdinfo", child.id())).ok()?;
        let watches =
            |fd: fs::DirEntry| fs::read_to_string(fd.path()).is_ok_and(|text| text.contains("inotify wd:"));
        fds.flatten().any(watches).then_some(())
    });
    child
}

#[test]
fn a_message_that_is_there_is_found_at_once() {
    let server = Server::dev();
    deliver(&server, BOB, LETTER);
    let (lines, code) = run(&server.spool, &["wait", "--to", BOB]);
    assert_eq!((lines.len(), code), (1, 0));
    let (path, envelope) = lines[0].split_once('\t').unwrap();
    assert_eq!(fs::read(path).unwrap(), server.maildir(BOB).only_message());
    let id = Client::pop3(&server, BOB).listing("UIDL").remove(0);
    let octets = Client::pop3(&server, "eve@example.test").ask("STAT", "+OK").len(); // another mailbox is free
    assert!(octets > 0);
    let expected = format!("from=<sender@far.test> to=<{BOB}> ");
    assert!(envelope.starts_with(&expected), "{envelope}");
    assert!(envelope.ends_with(&format!("id={id} subject=\"café\"")), "{envelope}");
}

#[test]
fn json_has_what_the_sender_was_told() {
    let server = Server::dev();
    let reply = Client::smtp(&server).deliver(&[BOB], LETTER);
    let (lines, _) = run(&server.spool, &["wait", "--to", BOB, "--json"]);
    let message: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(reply, format!("250 2.0.0 Queued as {}\r\n", message["queued"].as_str().unwrap()));
    assert_eq!((&message["subject"], &message["from"]), (&"café".into(), &"sender@far.test".into()));
    let octets = fs::read(message["path"].as_str().unwrap())
        .unwrap()
        .iter()
        .fold(0, |n, b| n + 1 + u64::from(*b == b'\n'));
    assert_eq!(message["octets"], octets);
}

/// A message with a file, in HTML too.
const ORDER: &[u8] = b"From: Shop <shop@example.test>\r\nTo: Bob <bob@example.test>, ann@example.test\r\nSubject: Order 4711\r\n\
    MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
    Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\nPay at https://shop.test/pay?n=4711.\r\n--c\r\n\
    Content-Type: text/html\r\n\r\n<p><a href=\"https://shop.test/pay?n=4711\">Pay</a>\r\n--c--\r\n--b\r\n\
    Content-Type: application/pdf; name=bill.pdf\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n\
    JVBERg==\r\n--b--\r\n";

#[test]
fn json_has_the_message_as_the_web_api_has_it() {
    let server = Server::dev();
    deliver(&server, BOB, ORDER);
    let (lines, _) = run(&server.spool, &["wait", "--to", BOB, "--json"]);
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let message = &line["message"];
    assert_eq!(message["From"], serde_json::json!({ "Name": "Shop", "Address": "shop@example.test" }));
    assert_eq!(message["To"][0], serde_json::json!({ "Name": "Bob", "Address": "bob@example.test" }));
    assert_eq!(message["To"][1]["Address"], "ann@example.test");
    assert_eq!(message["Subject"], "Order 4711");
    assert_eq!(message["Text"], "Pay at https://shop.test/pay?n=4711.");
    assert_eq!(message["HTML"], "<p><a href=\"https://shop.test/pay?n=4711\">Pay</a>");
    assert_eq!(message["Links"], serde_json::json!(["https://shop.test/pay?n=4711"]));
    let file = &message["Attachments"][0];
    assert_eq!(
        (&file["FileName"], &file["Size"], &file["PartID"]),
        (&"bill.pdf".into(), &4.into(), &"2".into())
    );
    let names: Vec<_> = message["Headers"].as_array().unwrap().iter().map(|field| &field["Name"]).collect();
    assert_eq!(names[..3], ["Return-Path", "Delivered-To", "Received"]);
    assert_eq!(message["Envelope"]["Queued"], line["queued"]);
    let path = line["path"].as_str().unwrap();
    assert_eq!((&message["Path"], &message["Size"]), (&path.into(), &line["octets"]));
    assert_eq!((&message["Read"], &message["Tags"]), (&false.into(), &serde_json::json!([])));
    assert!(message["ID"].as_str().unwrap().bytes().all(|b| b.is_ascii_alphanumeric()), "{message}");
    let created = message["Created"].as_str().unwrap();
    assert!(created.starts_with("20") && created.ends_with('Z'), "{created}");

    // The API marks the message as read, and so its file has another name then.
    let asked = format!("/box/{BOB}/api/v1/message/{}", message["ID"].as_str().unwrap());
    let mut first = get_json(&server, &asked);
    assert!(fs::metadata(first["Path"].as_str().unwrap()).is_ok(), "{first}");
    assert_eq!(first["Read"], true);
    (first["Path"], first["Read"]) = (path.into(), false.into());
    assert_eq!(&first, message);
    let (lines, _) = run(&server.spool, &["wait", "--to", BOB, "--json"]);
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(get_json(&server, &asked), line["message"]);
    let waited = get_json(&server, &format!("/box/{BOB}/wait?query=subject:order"));
    assert_eq!(waited, line["message"]);
}

#[test]
fn the_page_for_testers_shows_the_object_as_it_is() {
    let page = include_str!("../../docs/manual/tester.md");
    let between = |start: &str, end: &str| {
        let (_, rest) = page.split_once(start).unwrap();
        rest.split_once(end).unwrap().0.to_owned()
    };
    let shown: serde_json::Value = serde_json::from_str(&between("```json\n", "```")).unwrap();
    let letter = between("printf '", "' > letter.txt").replace("\\n", "\r\n");
    let server = Server::dev();
    let (from, to) = ("shop@example.test", "ann@example.test");
    let mut client = Client::smtp(&server);
    client.ask(&format!("MAIL FROM:<{from}>"), "250");
    client.ask(&format!("RCPT TO:<{to}>"), "250");
    client.ask("DATA", "354");
    client.ask(&format!("{letter}."), "250");
    let (lines, _) = run(&server.spool, &["wait", "--to", to, "--json"]);
    let mut found: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    hide_what_differs(&mut found, &shown);
    assert_eq!(found, shown);
}

/// Replaces each value for which the page has an ellipsis.
fn hide_what_differs(found: &mut serde_json::Value, shown: &serde_json::Value) {
    use serde_json::Value;
    match (found, shown) {
        (found, Value::String(text)) if text == "…" => *found = text.clone().into(),
        (Value::Object(found), Value::Object(shown)) => {
            found.iter_mut().for_each(|(key, value)| hide_what_differs(value, &shown[key]));
        }
        (Value::Array(found), Value::Array(shown)) => {
            found.iter_mut().zip(shown).for_each(|(found, shown)| hide_what_differs(found, shown));
        }
        _ => {}
    }
}

#[test]
fn search_words_find_what_the_web_api_finds() {
    let server = Server::dev();
    deliver(&server, BOB, LETTER);
    deliver(&server, BOB, ORDER);
    let mut client = Client::pop3(&server, BOB);
    client.retr(1);
    client.ask("QUIT", "+OK"); // it is read now
    for (query, subjects) in [
        ("from:shop has:attachment \"pay at\"", &["Order 4711"][..]),
        ("-has:attachment", &["café"]),
        ("!subject:order", &["café"]),
        ("is:read", &["café"]),
        ("bill.pdf larger:300", &["Order 4711"]),
        ("to:ann", &["Order 4711"]),
        ("bcc:bob@example.test", &["café"]),
        ("after:2026-01-01 before:2100", &["café", "Order 4711"]),
        ("after:2100", &[]),
        ("letter order", &[]),
    ] {
        let words = ["wait", "--to", BOB, "--search", query, "--count", "9", "--timeout", "0", "--json"];
        let (lines, _) = run(&server.spool, &words);
        let found: Vec<String> = lines
            .iter()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["subject"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(found, subjects, "{query}");
        let encoded: String = query.bytes().map(|octet| format!("%{octet:02X}")).collect();
        let list = get_json(&server, &format!("/box/{BOB}/api/v1/search?query={encoded}"));
        let listed = list["messages"].as_array().unwrap().iter().rev();
        let listed: Vec<&str> = listed.map(|item| item["Subject"].as_str().unwrap()).collect();
        assert_eq!(listed, subjects, "{query}");
    }
    let output =
        command(&server.spool, &["wait", "--to", BOB, "--search", "x before:soon"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("before:soon: write a date like 2026-11-20"), "{told}");
}

#[test]
fn a_mailbox_and_a_spool_that_are_not_there_yet_are_waited_for() {
    let dir = home();
    let spool = dir.path().join("later").join("spool");
    let mut child = waiting(&spool, &["wait", "--to", BOB, "--timeout", "1m"]);
    fs::create_dir(dir.path().join("later")).unwrap();
    let server = Setup { spool: Some(spool), ..Setup::default() }.start();
    deliver(&server, BOB, LETTER);
    let status = eventually("it ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn nothing_is_waited_for_beyond_the_time_and_no_spool_is_made() {
    let dir = home();
    let spool = dir.path().join("spool");
    let output = command(&spool, &["wait", "--to", BOB, "--timeout", "50ms"]).output().unwrap();
    assert_eq!(said(&output), (Vec::new(), 2));
    let complaint = String::from_utf8(output.stderr).unwrap();
    let expected = format!(
        "restante: no matching message for {BOB} in {0} after 50 ms: {0} is not there: name the spool with --spool or --config",
        spool.display()
    );
    assert!(complaint.starts_with(&expected), "{complaint}");
    assert!(!spool.exists());
}

#[test]
fn u11_a_wait_in_vain_says_where_it_looked_and_what_is_there() {
    let server = Server::dev();
    let complaint = |words: &[&str]| {
        let all = [&["wait", "--timeout", "0"], words].concat();
        let output = command(&server.spool, &all).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        String::from_utf8(output.stderr).unwrap().trim_start_matches("restante: ").trim_end().to_owned()
    };
    let place = server.spool.display();
    let begin = |to: &str| format!("no matching message for {to} in {place} after 0 s");
    deliver(&server, BOB, LETTER);
    let (mark, _) = run(&server.spool, &["wait", "--to", BOB, "--mark"]);
    assert_eq!(
        complaint(&["--to", BOB, "--after", &mark[0]]),
        format!("{} (1 message there, 1 of them from before the mark)", begin(BOB))
    );
    deliver(&server, BOB, LETTER);
    let newest = "\"café\" from zoe@example.test";
    assert_eq!(
        complaint(&["--to", BOB, "--subject", "tea", "--from", "zoe@example.test"]),
        format!(
            "{} (2 messages there, none matches from=zoe@example.test subject=tea; the newest: {newest}, {newest})",
            begin(BOB)
        )
    );
    assert_eq!(
        complaint(&["--to", BOB, "--count", "3"]),
        format!("2 of 3 matching messages for {BOB} in {place} after 0 s (2 messages there)")
    );
    assert_eq!(
        complaint(&["--to", "ann@example.test"]),
        format!("{}: there is no such mailbox; that spool has {BOB}", begin("ann@example.test"))
    );
}

#[test]
fn only_what_is_wanted_counts() {
    let server = Server::dev();
    let base64 = b"Subject: other\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nVm90cmUgY29kZSA6IDQ3MTEsIGV0IHZvaWzDoC4=\r\n";
    for message in [LETTER, base64, LETTER] {
        deliver(&server, BOB, message);
    }
    for (words, found) in [
        (&["--subject", "^café$"][..], 2),
        (&["--subject", "(?i)CAFÉ"], 2),
        (&["--subject", "tea"], 0),
        (&["--from", "zoe@example.test"], 2),
        (&["--from", "SENDER@far.test"], 3),
        (&["--from", "far.test"], 0),
        (&["--body", "code : [0-9]{4}.*voilà"], 1),
        (&["--body", "VsO0dHJl"], 0),
        (&["--body", "letter", "--subject", "other"], 0),
    ] {
        let all = [&["wait", "--to", BOB, "--count", "9", "--timeout", "0s"], words].concat();
        let (lines, code) = run(&server.spool, &all);
        assert_eq!((lines.len(), code), (found, 1), "{words:?}");
    }
}

#[test]
fn so_many_are_waited_for_and_printed_as_they_come() {
    let server = Server::dev();
    let child = waiting(&server.spool, &["wait", "--to", BOB, "--count", "3", "--timeout", "1m"]);
    for _ in 0..3 {
        deliver(&server, BOB, LETTER);
    }
    let (lines, code) = said(&child.wait_with_output().unwrap());
    assert_eq!((lines.len(), code), (3, 0));
}

#[test]
fn what_was_there_at_a_mark_does_not_count_whatever_becomes_of_it() {
    let server = Server::dev();
    deliver(&server, BOB, LETTER);
    let (mark, code) = run(&server.spool, &["wait", "--to", BOB, "--mark"]);
    assert_eq!((mark.len(), code), (1, 0));
    let mut client = Client::pop3(&server, BOB);
    client.retr(1);
    client.ask("QUIT", "+OK"); // it has moved to cur/, and has a flag
    let after = ["wait", "--to", BOB, "--after", &mark[0]];
    assert_eq!(run(&server.spool, &[&after[..], &["--timeout", "0s"]].concat()), (Vec::new(), 1));
    deliver(&server, BOB, b"Subject: new\r\n\r\n");
    let file = server.home.path().join("mark");
    fs::write(&file, format!("{}\n", mark[0])).unwrap();
    let at_file = format!("@{}", file.display());
    for mark in [&mark[0], &at_file] {
        let (lines, code) = run(&server.spool, &["wait", "--to", BOB, "--after", mark]);
        assert_eq!((lines.len(), code), (1, 0));
        assert!(lines[0].ends_with("subject=\"new\""), "{lines:?}");
    }
}

#[test]
fn a_message_that_moves_counts_once() {
    let server = Server::dev();
    let child = waiting(&server.spool, &["wait", "--to", BOB, "--count", "2"]);
    deliver(&server, BOB, LETTER);
    let mut client = Client::pop3(&server, BOB);
    client.retr(1);
    client.ask("QUIT", "+OK");
    deliver(&server, BOB, b"Subject: second\r\n\r\n");
    let (lines, code) = said(&child.wait_with_output().unwrap());
    assert_eq!(code, 0);
    assert!(lines[1].ends_with("subject=\"second\""), "{lines:?}");
}

#[test]
fn a_message_that_is_written_where_it_is_read_counts_when_it_is_whole() {
    let server = Server::dev();
    let path = server.maildir(BOB).put("1.before", b"\n").with_file_name("2.slowly");
    let mut child = waiting(&server.spool, &["wait", "--to", BOB, "--subject", "whole", "--timeout", "1m"]);
    let mut file = fs::File::create(path).unwrap();
    file.write_all(b"From: a@b.test\nSub").unwrap();
    file.sync_all().unwrap();
    assert!(child.try_wait().unwrap().is_none());
    file.write_all(b"ject: whole\n\n").unwrap();
    drop(file);
    assert_eq!(eventually("it ends", || child.try_wait().unwrap()).code(), Some(0));
}

#[test]
fn no_message_slips_through_between_looking_and_watching() {
    let server = restante::testing::Server::start();
    for n in 0..100 {
        let mark = server.mark(BOB);
        thread::scope(|scope| {
            scope.spawn(|| server.deliver(BOB, format!("Subject: {n}\n\n")));
            let seen = server.wait_for_new(BOB, &mark, |_| true, Duration::from_secs(10));
            assert_eq!(seen.unwrap().subject(), n.to_string());
        });
    }
}

#[test]
fn where_nothing_can_be_watched_mailboxes_are_looked_at_now_and_then() {
    if !common::inject::can_inject("where_nothing_can_be_watched") {
        return;
    }
    let server = Server::dev();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o"]).arg(server.home.path().join("trace"));
    strace.args([
        "-e",
        "inject=inotify_init1:error=EMFILE",
        env!("CARGO_BIN_EXE_restante"),
        "wait",
        "--spool",
    ]);
    let mut child = strace.arg(&server.spool).args(["--to", BOB, "--timeout", "1m"]).spawn().unwrap();
    let trace = || fs::read_to_string(server.home.path().join("trace")).unwrap_or_default();
    eventually("it cannot watch", || (trace().matches("(INJECTED)").count() >= 2).then_some(()));
    deliver(&server, BOB, LETTER);
    assert_eq!(eventually("it ends", || child.try_wait().unwrap()).code(), Some(0));
}

#[test]
fn a_mailbox_that_is_removed_and_made_again_is_watched_again() {
    let server = Server::dev();
    deliver(&server, BOB, LETTER);
    let (mark, _) = run(&server.spool, &["wait", "--to", BOB, "--mark"]);
    let mut child = waiting(&server.spool, &["wait", "--to", BOB, "--timeout", "1m", "--after", &mark[0]]);
    for _ in 0..20 {
        fs::remove_dir_all(server.spool.join(BOB)).unwrap();
        ["tmp", "new", "cur"]
            .iter()
            .for_each(|sub| fs::create_dir_all(server.spool.join(BOB).join(sub)).unwrap());
    }
    server.maildir(BOB).put("1.other", LETTER);
    assert_eq!(eventually("it ends", || child.try_wait().unwrap()).code(), Some(0));
}

#[test]
fn a_tag_means_its_folder_and_mail_for_just_that_address() {
    let server = Server::dev();
    let tagged = "bob+lists@example.test";
    deliver(&server, BOB, b"Subject: plain\r\n\r\n");
    deliver(&server, tagged, b"Subject: no folder yet\r\n\r\n");
    let home = server.spool.join(BOB).join(".lists");
    ["tmp", "new", "cur"].iter().for_each(|sub| fs::create_dir_all(home.join(sub)).unwrap());
    deliver(&server, tagged, b"Subject: in the folder\r\n\r\n");
    let subjects = |to| {
        let (lines, _) = run(&server.spool, &["wait", "--to", to, "--count", "9", "--timeout", "0s"]);
        lines.iter().map(|line| line.rsplit('=').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(subjects(tagged), ["\"no folder yet\"", "\"in the folder\""]);
    assert_eq!(subjects(BOB), ["\"plain\"", "\"no folder yet\""]);
}

#[test]
fn the_configuration_knows_aliases_and_who_is_nobody() {
    let config = format!("aliases = \"aliases\"\n{STRICT}");
    let dir = home();
    let users = &["alice@example.test", BOB];
    fs::create_dir(dir.path().join("spool")).unwrap();
    let server = {
        // The server reads its aliases beside its configuration.
        let plain = Setup { config: Some(STRICT), users, ..Setup::default() }.start();
        fs::write(plain.home.path().join("aliases"), "team: alice@example.test, bob@example.test\n").unwrap();
        let file = plain.home.path().join("restante.toml");
        fs::write(&file, common::configuration(plain.home.path(), &plain.spool, &config)).unwrap();
        plain
    };
    deliver(&server, BOB, LETTER);
    let file = server.home.path().join("restante.toml");
    let wait = |to: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.args(["wait", "--to", to, "--timeout", "5s", "--config"]).arg(&file);
        said(&command.output().unwrap()).1
    };
    assert_eq!(
        [wait("team@example.test"), wait(BOB), wait("eve@example.test"), wait("bob@far.test")],
        [0, 0, 2, 2]
    );
}

#[test]
fn a_wrong_command_line_is_not_a_message_that_did_not_come() {
    let dir = home();
    for words in [
        &["wait"][..],
        &["wait", "--to", "no address"],
        &["wait", "--to", BOB, "--subject", "("],
        &["wait", "--to", BOB, "--after", "yesterday"],
        &["wait", "--to", BOB, "--after", "@/no/such/file"],
        &["wait", "--to", BOB, "--count", "0"],
        &["wait", "--to", BOB, "--timeout", "soon"],
        &["wait", "--to", BOB, "--mark", "--count", "2"],
        &["purge", "--to", BOB],
        &["purge", "--yes"],
        &["seed", "--to", BOB],
    ] {
        assert_eq!(run(dir.path(), words).1, 2, "{words:?}");
    }
}

#[test]
fn whoever_waits_does_nothing_meanwhile() {
    let server = Server::dev();
    let mut child = waiting(&server.spool, &["wait", "--to", BOB, "--timeout", "1m"]);
    // Its main thread, and how often it was woken: one that polls would be woken often.
    let status = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let value = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        (value("State:"), value("voluntary_ctxt_switches:"))
    };
    let before = eventually("it has come to rest", || {
        let before = status();
        thread::sleep(Duration::from_millis(200));
        (status() == before && before.0.starts_with('S')).then_some(before)
    });
    thread::sleep(Duration::from_millis(600));
    assert_eq!(status(), before);
    child.kill().unwrap();
    child.wait().unwrap();
}
