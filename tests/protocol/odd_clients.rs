//! Oddities of other people's clients, senders and programs, over sockets and with a real spool: text without a
//! header, folders in another case, a spool that is a link, addresses that a file name cannot have.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use crate::common::{
    Maildir, STRICT, Server, Setup,
    client::{Client, deliver},
    home,
};

const ALICE: &str = "alice@example.test";

fn restante(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_restante")).args(words).output().unwrap()
}

/// The header and the body of a message.
fn parts(message: &[u8]) -> (String, String) {
    let text = String::from_utf8(message.to_vec()).unwrap();
    let (header, body) = text.split_once("\n\n").expect("a header and a body");
    (header.to_owned(), body.to_owned())
}

#[test]
fn w05_text_without_a_header_is_read_as_text_by_every_reader() {
    for (data, field, body) in [
        ("just text\r\n", "", "just text\n"),
        (" a folded line\r\nmore\r\n", "", " a folded line\nmore\n"),
        ("\tx\r\n", "", "\tx\n"),
        ("two words: not a field\r\n", "", "two words: not a field\n"),
        (
            "From ann@far.test Sun Jan  4 08:00:00 2026\r\nSubject: x\r\n\r\nhello\r\n",
            "X-Mailbox-Line: From ann@far.test Sun Jan  4 08:00:00 2026\nSubject: x",
            "hello\n",
        ),
        (
            ">From ann@far.test\r\nSubject: x\r\n\r\nhello\r\n",
            "X-Mailbox-Line: >From ann@far.test\nSubject: x",
            "hello\n",
        ),
        ("Subject: x\r\n\r\nhello\r\n", "Subject: x", "hello\n"),
    ] {
        let server = Server::strict();
        deliver(&server, ALICE, data.as_bytes());
        let (header, text) = parts(&server.maildir(ALICE).only_message());
        assert_eq!(text, body, "{data:?}");
        assert!(header.ends_with(field), "{data:?}: {header}");
        assert_eq!(header.lines().last().is_some_and(|line| line.starts_with('\t')), field.is_empty());
        let mut reader = Client::pop3(&server, ALICE);
        let listed = reader.ask("LIST 1", "+OK 1 ");
        let octets: usize = listed.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(reader.retr(1).len(), octets, "{data:?}: what is announced is sent");
    }
}

#[test]
fn w06_a_spool_may_be_a_link_for_the_server_and_the_tools() {
    let place = home();
    let (disk, link) = (place.path().join("disk"), place.path().join("mail"));
    fs::create_dir(&disk).unwrap();
    symlink(&disk, &link).unwrap();
    let server =
        Setup { config: Some(STRICT), users: &[ALICE], spool: Some(link.clone()), ..Setup::default() }
            .start();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    assert_eq!(Client::pop3(&server, ALICE).listing("LIST").len(), 1);
    assert_eq!(Maildir { path: disk.join(ALICE) }.files("new").len(), 1);
    let spool = link.to_str().unwrap();
    for words in [
        &["fsck", "--spool", spool][..],
        &["export", "--spool", spool, ALICE],
        &["wait", "--spool", spool, "--to", ALICE, "--timeout", "5s"],
        &["purge", "--spool", spool, "--all", "--yes"],
    ] {
        let output = restante(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    // Mail is not accepted while the link leads elsewhere.
    fs::create_dir(place.path().join("other")).unwrap();
    fs::remove_file(&link).unwrap();
    symlink(place.path().join("other"), &link).unwrap();
    let reply = Client::smtp(&server).deliver(&[ALICE], b"Subject: x\r\n\r\n");
    assert!(reply.starts_with("451 4.3."), "{reply}");
    assert_eq!(fs::read_dir(place.path().join("other")).unwrap().count(), 0);
}

#[test]
fn w06_a_link_that_leads_nowhere_is_named() {
    let place = home();
    let link = place.path().join("mail");
    symlink("nowhere", &link).unwrap();
    let words = ["dev", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--spool", link.to_str().unwrap()];
    let output = restante(&words);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && told.contains("is a link to ") && told.contains("which is not there"),
        "{told}"
    );
}

fn make_folder(mailbox: &Path, name: &str) -> Maildir {
    let path = mailbox.join(name);
    ["tmp", "new", "cur"].iter().for_each(|part| fs::create_dir_all(path.join(part)).unwrap());
    Maildir { path }
}

#[test]
fn w07_a_folder_is_found_in_any_case_and_the_exact_one_first() {
    let server = Server::strict();
    deliver(&server, ALICE, b"Subject: inbox\r\n\r\n");
    let work = make_folder(&server.maildir(ALICE).path, ".Work");
    let umlaut = make_folder(&server.maildir(ALICE).path, ".&AMQ-pfel");
    for address in ["alice+work@example.test", "Alice+WORK@example.test", "alice+Work@example.test"] {
        deliver(&server, address, b"Subject: work\r\n\r\n");
        let mut reader = Client::pop3(&server, address);
        reader.ask("STAT", &format!("+OK {} ", work.files("new").len()));
        reader.ask("QUIT", "+OK");
    }
    assert_eq!(work.files("new").len(), 3);
    Client::pop3(&server, "alice+äpfel@example.test").ask("STAT", "+OK 0 0");
    assert_eq!(umlaut.files("new").len(), 0);

    let exact = make_folder(&server.maildir(ALICE).path, ".work");
    deliver(&server, "alice+work@example.test", b"Subject: exact\r\n\r\n");
    assert_eq!((work.files("new").len(), exact.files("new").len()), (3, 1));
    deliver(&server, "alice+Work@example.test", b"Subject: exact\r\n\r\n");
    assert_eq!((work.files("new").len(), exact.files("new").len()), (4, 1));
    assert_eq!(server.maildir(ALICE).files("new").len(), 1);
}

#[test]
fn w09_dev_has_a_mailbox_for_every_address_and_the_tools_find_it() {
    let server = Server::dev();
    for (address, directory) in [
        ("O'Neil@example.test", "o%27neil@example.test"),
        ("a/b@example.test", "a%2fb@example.test"),
        ("jörg@bücher.test", "j%c3%b6rg@xn--bcher-kva.test"),
        ("a..b@example.test", "a..b@example.test"),
        ("\"a b\"@example.test", "a%20b@example.test"),
    ] {
        let mut client = Client::smtp(&server);
        client.ask("MAIL FROM:<ann@far.test> SMTPUTF8", "250");
        client.ask(&format!("RCPT TO:<{address}>"), "250");
        client.ask("DATA", "354");
        client.write(b"Subject: hello\r\n\r\n.\r\n");
        client.expect("250");
        assert_eq!(server.maildir(directory).files("new").len(), 1, "{address}");
        let mut reader = Client::pop3(&server, address);
        reader.ask("STAT", "+OK 1 ");
        reader.ask("QUIT", "+OK");
        let spool = server.spool.to_str().unwrap();
        for name in [address, directory] {
            let exported = restante(&["export", "--spool", spool, name]);
            assert!(
                String::from_utf8_lossy(&exported.stdout).contains("Subject: hello"),
                "{name}: {exported:?}"
            );
        }
        let waited = restante(&["wait", "--spool", spool, "--to", address, "--timeout", "5s"]);
        assert!(waited.status.success(), "{address}: {waited:?}");
    }
}

#[test]
fn w09_a_tool_never_guesses_between_a_directory_and_an_address() {
    let server = Server::dev();
    let spool = server.spool.to_str().unwrap();
    let export = |name: &str| {
        let Output { status, stdout, stderr } = restante(&["export", "--spool", spool, name]);
        let octets = if status.success() { stdout } else { stderr };
        String::from_utf8(octets).unwrap()
    };
    deliver(&server, "o%27neil@example.test", b"Subject: percent\r\n\r\n");
    assert!(export("o%27neil@example.test").contains("Subject: percent"), "only this mailbox exists");
    deliver(&server, "o'neil@example.test", b"Subject: quote\r\n\r\n");
    let refusal = export("o%27neil@example.test");
    assert!(refusal.contains("the directory of one mailbox and the address of another"), "{refusal}");
    assert!(refusal.contains("by its directory, o%2527neil@example.test"), "{refusal}");
    assert!(export("o%2527neil@example.test").contains("Subject: percent"));
    assert!(export("o'neil@example.test").contains("Subject: quote"));
}

#[test]
fn w14_a_directory_that_is_named_in_another_way_is_told_with_its_right_name() {
    let place = home();
    for name in
        ["Bob@Example.Test", "jörg@example.test", "alice@example.test", ".trash@Example.test", "notes"]
    {
        fs::create_dir(place.path().join(name)).unwrap();
    }
    let spool = Some(place.path().to_owned());
    let server = Setup { config: Some(STRICT), users: &[ALICE], spool, ..Setup::default() }.start();
    server.tells(
        "Bob@Example.Test: not a mailbox, mail for that address goes to bob@example.test: `restante fsck ",
    );
    server.tells(
        "jörg@example.test: not a mailbox, mail for that address goes to j%c3%b6rg@example.test: `restante fsck ",
    );
    assert_eq!(server.log().matches("not a mailbox").count(), 2);
}

#[test]
fn t24_a_password_after_a_known_command_is_in_no_log_and_no_transcript() {
    let config = format!("transcripts = \"transcripts\"\n{STRICT}\n[log]\nlevel = \"debug\"\n");
    let mut server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    let mut smtp = Client::connect(server.smtp());
    let mut pop3 = Client::connect(server.pop3());
    smtp.expect("220");
    pop3.expect("+OK");
    for line in [
        "HELP AUTH PLAIN hunter2",
        "NOOP AUTH PLAIN hunter2",
        "EHLO AUTH LOGIN hunter2",
        "MAIL FROM:<bob> PASS=hunter2",
        "MAIL FROM:<bob@far.test> AUTH=hunter2",
        "RCPT TO:<alice> hunter2",
        "DATA hunter2",
        "VRFY alice hunter2",
        "EXPN list hunter2",
        "STARTTLS PLAIN hunter2",
        "BDAT hunter2",
    ] {
        smtp.send(line).reply();
    }
    for line in [
        "STAT PASS hunter2",
        "LIST AUTH hunter2",
        "NOOP hunter2",
        "CAPA AUTH PLAIN hunter2",
        "LANG en hunter2",
        "CAPA AUTH PLAIN hunter2",
    ] {
        pop3.send(line).reply();
    }
    smtp.rest();
    pop3.rest();
    server.tells(" pop3 closed ");
    server.signal(rustix::process::Signal::TERM);
    server.wait();
    let files = fs::read_dir(server.home.path().join("transcripts")).unwrap();
    let mut written: Vec<String> =
        files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(written.len() == 2 && written.iter().all(|text| text.contains("NOOP ***")), "{written:?}");
    written.push(server.log());
    assert!(server.log().contains("MAIL FROM:<bob> ***"), "{}", server.log());
    written.iter().for_each(|text| assert!(!text.contains("hunter2"), "{text}"));
}
