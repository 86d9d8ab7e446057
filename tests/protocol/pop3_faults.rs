//! POP3 beside other programs, odd names and odd clients, beyond the cases in `pop3_end_to_end`. The numbers in
//! the names are those of the catalogue of faults.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt, net::UnixListener},
};

use crate::common::{
    PASSWORD, STRICT, Server, Setup,
    client::{Client, deliver, session_with, with_crlf},
    eventually, installed, skip,
};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::geteuid,
};

const ALICE: &str = "alice@example.test";
const FIRST: &str = "1700000001.M1P1.elsewhere";

#[test]
fn p09_the_lock_ends_with_the_connection_and_with_the_server() {
    let mut server = Server::dev();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    for _ in 0..3 {
        // A reset in the midst of a message, an end without QUIT, a kill.
        let mut client = Client::pop3(&server, ALICE);
        client.send("RETR 1");
        drop(client);
        drop(Client::pop3(&server, ALICE));
        let _left_behind = Client::pop3(&server, ALICE);
        server.restart();
        Client::pop3(&server, ALICE).ask("STAT", "+OK 1 ");
    }
}

#[test]
fn p09_a_session_that_the_server_ended_holds_no_mailbox() {
    let config = format!("{STRICT}\n[limits]\npop3.hard_error_limit = 3\npop3.lock_timeout = \"200ms\"\n");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    let mut client = Client::pop3(&server, ALICE);
    client.send("A\r\nB\r\nC");
    let said = String::from_utf8(client.rest()).unwrap();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said, ["-ERR Unknown command", "-ERR Unknown command", "-ERR Too many errors, closing"]);
    // The client has not closed its side; it may come back all the same.
    Client::pop3(&server, ALICE).ask("QUIT", "+OK");
    drop(client);
}

#[test]
fn p15_p16_what_is_not_a_file_is_left_out_of_cur_too() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    maildir.put(FIRST, b"a message\n");
    let cur = maildir.path.join("cur");
    mknodat(CWD, cur.join("1700000002.fifo:2,S"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _socket = UnixListener::bind(cur.join("1700000003.socket:2,S")).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", cur.join("1700000004.link:2,S")).unwrap();
    if geteuid().is_root() {
        let null = rustix::fs::makedev(1, 3);
        mknodat(CWD, cur.join("1700000005.device:2,S"), FileType::CharacterDevice, Mode::RUSR, null).unwrap();
    }
    let left_out = maildir.files("cur").len();
    for _ in 0..3 {
        let mut client = session_with(&server, ALICE, 1);
        assert_eq!(client.retr(1), b"a message\r\n");
    }
    assert_eq!(maildir.files("cur").len(), left_out);
}

#[test]
fn p15_p16_p18_what_is_left_out_is_logged_once() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    maildir.put(FIRST, b"a message\n");
    let link = maildir.path.join("new/1700000002.link");
    std::os::unix::fs::symlink("nowhere", link).unwrap();
    for _ in 0..3 {
        session_with(&server, ALICE, 1).ask("QUIT", "+OK");
    }
    // The log is in order: the end of the last session comes after every line that this looks for.
    let told = eventually("the log tells of the last session", || {
        let log = server.log();
        (log.matches("pop3 closed").count() >= 3).then(|| log.matches("1700000002.link").count())
    });
    assert_eq!(told, 1, "{}", server.log());
}

#[test]
fn p18_a_file_that_may_not_be_read_is_left_out_and_keeps_nobody_from_the_rest() {
    let test = "p18_a_file_that_may_not_be_read_is_left_out_and_keeps_nobody_from_the_rest";
    // Root may read everything: the server has to run as another user, which owns its directory.
    let as_nobody = r#"for last; do :; done
        chown 65534:65534 "$(dirname "$last")"
        exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@""#;
    let wrapper: &[&str] = match geteuid().is_root() {
        true if installed("setpriv") => &["sh", "-c", as_nobody, "sh"],
        true => return skip(test, "setpriv is not installed"),
        false => &[],
    };
    let server = Setup { wrapper, ..Setup::default() }.start();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    let maildir = server.maildir(ALICE);
    let secret = maildir.put(FIRST, b"secret\n");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    for _ in 0..2 {
        let mut client = session_with(&server, ALICE, 1);
        assert!(client.retr(1).ends_with(b"Subject: x\r\n\r\n"));
    }
    server.tells(FIRST);

    // A file that becomes unreadable in mid-session is refused, and the session goes on; the next session leaves
    // it out.
    let mut client = session_with(&server, ALICE, 1);
    let ours = maildir.files("new").into_iter().find(|file| *file != secret).unwrap();
    fs::set_permissions(&ours, fs::Permissions::from_mode(0o000)).unwrap();
    client.ask("RETR 1", "-ERR [SYS/");
    client.ask("NOOP", "+OK");
    client.ask("QUIT", "+OK");
    session_with(&server, ALICE, 0).ask("QUIT", "+OK");
}

/// Names that a Maildir may hold, whatever one may think of them.
fn odd_names() -> Vec<Vec<u8>> {
    let long = |end: &[u8]| [&vec![b'n'; 255 - end.len()][..], end].concat();
    let mut names: Vec<Vec<u8>> = [
        &b"1700000001.a b  c "[..],
        b"1700000002.line\nfeed",
        b"1700000003.esc\x1b[31mred",
        b"1700000004.\xff\xfe\x80",
        b"1700000005.caf\xc3\xa9",
        b"1700000006.x:2,S:2,T",
        b"1700000007.x:2,",
        b"1700000008.x:1,experimental",
        b"1700000009.x:",
        b"1700000010.x,S=3,W=99:2,FS",
        b"plain",
        b":2,S",
        b",",
        b"-rf",
        b"%2e%2e%2f",
        b"+OK 5 octets\r\n.\r\n",
        b"1700000011.seventy-and-more-octets-are-too-many-for-a-unique-id-as-rfc-1939-has-it",
    ]
    .map(<[u8]>::to_vec)
    .into();
    names.extend([long(b""), long(b":2,S")]);
    names
}

#[test]
fn p20_p21_odd_names_are_served_under_legal_unique_ids_and_never_printed_raw() {
    let mut server = Server::dev();
    let maildir = server.maildir(ALICE);
    maildir.put(".hidden", b"no message\n");
    let mut contents = BTreeSet::new();
    for (i, name) in odd_names().iter().enumerate() {
        // Two of the names are one identity.
        let sub = if name.ends_with(b":2,S") { "cur" } else { "new" };
        let content = format!("Subject: {i}\n");
        fs::write(maildir.path.join(sub).join(OsStr::from_bytes(name)), &content).unwrap();
        if !name.ends_with(b":2,T") {
            contents.insert(with_crlf(content.as_bytes()));
        }
    }
    let mut client = session_with(&server, ALICE, contents.len());
    let ids = client.listing("UIDL");
    let legal = |id: &String| (1..=70).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    assert!(ids.iter().all(legal), "{ids:?}");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    let read: BTreeSet<Vec<u8>> = (1..=ids.len()).map(|number| client.retr(number)).collect();
    assert_eq!(read, contents);
    drop(client);
    server.restart();
    let mut client = session_with(&server, ALICE, contents.len());
    assert_eq!(client.listing("UIDL"), ids);
    for number in 1..=ids.len() {
        client.ask(&format!("DELE {number}"), "+OK");
    }
    client.ask("QUIT", "+OK");
    let left: Vec<_> = [maildir.files("new"), maildir.files("cur")].concat();
    assert_eq!(left.len(), 2, "the hidden one and the one in the trash: {left:?}");
    let log = fs::read(server.home.path().join("log")).unwrap();
    assert!(!log.iter().any(|b| matches!(b, 0x1b | 0xff)), "raw octets in the log");
}

#[test]
fn p29_long_commands_are_refused_and_endless_ones_end_the_session() {
    let server = Server::dev();
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    for length in [513, 800, 1024, 60_000] {
        client.ask(&format!("USER {}", "x".repeat(length)), "-ERR");
        client.ask("NOOP", "-ERR"); // still in step, and not logged in
    }
    client.ask(&format!("USER {ALICE}"), "+OK");
    client.ask(&format!("PASS {PASSWORD}"), "+OK");
    let before = server.status_kib("VmRSS");
    client.write(&vec![b'x'; 64 * 1024 + 4096]);
    client.expect("-ERR");
    assert_eq!(client.rest(), b"");
    drop(client);
    let grown = server.status_kib("VmHWM").saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB more");
    Client::pop3(&server, ALICE).ask("QUIT", "+OK");
}

#[test]
fn p34_a_session_keeps_its_numbers_and_sizes_whatever_comes_and_goes() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    let first = maildir.put(FIRST, b"first\n");
    maildir.put("1700000003.M1P1.elsewhere", b"third\n");
    let mut client = session_with(&server, ALICE, 2);
    let before = (client.listing("UIDL"), client.listing("LIST"));
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    maildir.put("1700000002.M1P1.elsewhere", b"second\n");
    fs::remove_file(first).unwrap();
    for _ in 0..3 {
        assert_eq!((client.listing("UIDL"), client.listing("LIST")), before);
        client.ask("STAT", "+OK 2 14\r\n");
        client.ask("RETR 1", "-ERR");
        assert_eq!(client.retr(2), b"third\r\n");
        client.ask("RETR 3", "-ERR");
    }
    client.ask("QUIT", "+OK");
    let mut client = session_with(&server, ALICE, 3);
    assert_eq!([client.retr(1), client.retr(2)], [&b"second\r\n"[..], b"third\r\n"]);
}

#[test]
fn l03_who_reads_nothing_is_left_and_the_log_says_why() {
    let config = format!("{STRICT}\n[limits]\npop3.write_timeout = \"1s\"\n");
    let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    server.maildir(ALICE).put(FIRST, &b"a line of a long message\n".repeat(1 << 20));
    let mut client = session_with(&server, ALICE, 1);
    client.send("RETR 1");
    server.tells("reason=\"write timeout\"");
    assert!(client.rest().len() < 26 << 20, "not all of it has come");
    Client::pop3(&server, ALICE).ask("STAT", "+OK 1 ");
}
