//! Mail as it goes out, over real sockets: the octets announced are the octets sent, for any file in a
//! Maildir, and a message that could not be read to its end is not sent as a whole one.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use crate::common::{
    PASSWORD, Server,
    client::{Client, deliver, with_crlf},
    eventually,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

const ALICE: &str = "alice@example.test";

/// The octets that TOP must send: the head, the empty line after it, and so many lines more.
fn top(wire: &[u8], lines: usize) -> Vec<u8> {
    let mut all = wire.split_inclusive(|&b| b == b'\n');
    let mut kept: Vec<&[u8]> = Vec::new();
    for line in all.by_ref() {
        kept.push(line);
        if line == b"\r\n" {
            break;
        }
    }
    kept.extend(all.take(lines));
    kept.concat()
}

/// Every way to put up to five of these octets in a row: all that can go wrong around a line end.
fn short_files() -> Vec<Vec<u8>> {
    let mut files = vec![Vec::new()];
    let mut longest = files.clone();
    for _ in 0..5 {
        longest = longest.iter().flat_map(|file| b"a.\r\n".map(|b| [&file[..], &[b]].concat())).collect();
        files.extend_from_slice(&longest);
    }
    files
}

/// Reads all of `files` from `new/`: LIST, STAT, RETR and TOP must agree about each.
fn assert_announced_is_sent(files: &[Vec<u8>]) {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    for (i, file) in files.iter().enumerate() {
        maildir.put(&format!("{}.M1P1.elsewhere", 1_700_000_000 + i), file);
    }
    let mut client = Client::pop3(&server, ALICE);
    let sizes = client.listing("LIST");
    assert_eq!(sizes.len(), files.len());
    let total: u64 = sizes.iter().map(|size| size.parse::<u64>().unwrap()).sum();
    client.ask("STAT", &format!("+OK {} {total}\r\n", files.len()));
    for (i, file) in files.iter().enumerate() {
        let (number, wire) = (i + 1, with_crlf(file));
        let start = file[..file.len().min(20)].escape_ascii();
        assert_eq!(sizes[i], wire.len().to_string(), "LIST of {start}");
        assert!(client.retr(number) == wire, "RETR of {start}");
        for lines in [0, 1, 99_999_999] {
            client.ask(&format!("TOP {number} {lines}"), "+OK");
            assert!(client.text() == top(&wire, lines), "TOP {lines} of {start}");
        }
    }
    client.ask("QUIT", "+OK");
}

#[test]
fn p04_p25_p26_p27_what_is_announced_is_sent_for_every_short_file() {
    assert_announced_is_sent(&short_files());
}

#[test]
fn p04_p25_p26_p27_p28_what_is_announced_is_sent_for_long_and_strange_files() {
    let dots = b".\n..\n\n.x\r\n...\r\n.".repeat(30_000);
    let smuggling = b"Subject: a\n\nfirst\n.\n+OK 5 octets\r\n.\r\nsecond\r.\r\n\r\n.\n".to_vec();
    let mut edges: Vec<Vec<u8>> = (65_530..=65_540)
        .flat_map(|n| [b"\n.\n", b"\r\n."].map(|end| [&vec![b'x'; n][..], end, b"rest"].concat()))
        .collect();
    edges.extend([
        b"Subject: lf\n\nbody\nno end".to_vec(),
        b"Subject: crlf\r\n\r\nbody\r\nno end".to_vec(),
        b"Subject: mixed\r\n\nbody\n\r\nend\n".to_vec(),
        b"nul \0 and \xff and bare \r in it\n".to_vec(),
        b"Subject: head alone\n".to_vec(),
        b"\n\n\n".to_vec(),
        smuggling,
        dots,
        vec![b'x'; 10 << 20],
        vec![b'.'; 1 << 20],
        vec![b'\n'; 1 << 20],
        vec![b'\r'; 1 << 20],
    ]);
    assert_announced_is_sent(&edges);
}

#[test]
fn p24_sizes_that_lie_in_a_name_are_not_believed() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    maildir.put("1700000001.M1P1.elsewhere,S=5,W=7", b"Subject: longer\n\nthan that\n");
    maildir.put("1700000002.M1P1.elsewhere,S=4,W=99", b"abc\n");
    maildir.put("1700000003.M1P1Q1R0123456789abcdefC01234567.elsewhere,S=4,W=99", b"abc\n");
    let mut client = Client::pop3(&server, ALICE);
    let sizes = client.listing("LIST");
    for (i, size) in sizes.iter().enumerate() {
        assert_eq!(*size, client.retr(i + 1).len().to_string());
    }
    assert_eq!(sizes[1..], ["5", "5"]);
}

#[test]
fn p15_p16_p17_what_is_not_a_message_is_left_out_and_holds_nobody_up() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    maildir.put("1700000001.M1P1.elsewhere", b"Subject: a message\n");
    let new = maildir.path.join("new");
    mknodat(CWD, new.join("1700000002.fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::create_dir(new.join("1700000003.directory")).unwrap();
    fs::write(new.join(".1700000004.hidden"), "hidden\n").unwrap();
    symlink("/etc/passwd", new.join("1700000005.link")).unwrap();
    symlink("nowhere", new.join("1700000006.dangling")).unwrap();
    symlink("1700000007.loop", new.join("1700000007.loop")).unwrap();
    fs::write(maildir.path.join("cur/1700000008.M1P1.elsewhere:2,T"), "in the trash\n").unwrap();
    let mut client = Client::pop3(&server, ALICE);
    client.ask("STAT", "+OK 1 ");
    assert_eq!(client.retr(1), b"Subject: a message\r\n");
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
    assert_eq!(maildir.files("new").len(), 6);
    assert_eq!(maildir.files("cur").len(), 1);
}

#[test]
fn p12_a_message_cut_short_in_mid_retr_ends_the_connection_without_a_final_dot() {
    let server = Server::dev();
    let line = [&[b'x'; 76][..], b"\n"].concat();
    let file = server.maildir(ALICE).put("1700000001.M1P1.elsewhere", &line.repeat(20_000_000 / 77));
    let mut client = Client::pop3(&server, ALICE);
    client.ask("RETR 1", "+OK ");
    // The server fills the buffers of the sockets, and then waits for us in the midst of the message.
    fs::File::options().write(true).open(&file).unwrap().set_len(1000).unwrap();
    let rest = client.rest();
    assert!(rest.len() < 20_000_000, "{} octets", rest.len());
    assert!(!rest.ends_with(b"\r\n.\r\n"));
    assert!(!String::from_utf8_lossy(&rest[rest.len().saturating_sub(200)..]).contains("-ERR"));
    Client::pop3(&server, ALICE).ask("NOOP", "+OK");
}

#[test]
fn p10_a_message_that_is_gone_is_an_error_and_the_session_goes_on() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    let first = maildir.put("1700000001.M1P1.elsewhere", b"first\n");
    maildir.put("1700000002.M1P1.elsewhere", b"second\n");
    let mut client = Client::pop3(&server, ALICE);
    fs::remove_file(first).unwrap();
    client.ask("RETR 1", "-ERR");
    client.ask("TOP 1 0", "-ERR");
    assert_eq!(client.retr(2), b"second\r\n");
    client.ask("STAT", "+OK 2 ");
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
}

#[test]
fn p13_a_message_replaced_by_another_is_not_sent_under_the_old_size() {
    let server = Server::dev();
    let file = server.maildir(ALICE).put("1700000001.M1P1.elsewhere", b"what was listed\n");
    let mut client = Client::pop3(&server, ALICE);
    let other = file.with_file_name("other");
    fs::write(&other, "something much longer than what was listed\n").unwrap();
    fs::rename(other, file).unwrap();
    client.ask("RETR 1", "-ERR [SYS/TEMP]");
    client.ask("NOOP", "+OK");
}

#[test]
fn p21_p23_the_unique_id_stays_when_the_file_moves_and_when_the_server_restarts() {
    let mut server = Server::dev();
    deliver(&server, ALICE, b"Subject: first\r\n\r\n");
    deliver(&server, ALICE, b"Subject: second\r\n\r\n");
    let maildir = server.maildir(ALICE);
    maildir.put("1999999999 odd name \u{1b} that no unique id may be", b"third\n");
    let ids = Client::pop3(&server, ALICE).listing("UIDL");
    assert_eq!(ids.len(), 3);
    let legal = |id: &String| (1..=70).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    assert!(ids.iter().all(legal), "{ids:?}");

    move_to_cur(&maildir.files("new")[0], "S");
    assert_eq!(Client::pop3(&server, ALICE).listing("UIDL"), ids);

    move_to_cur(&maildir.files("new")[0], "FRS");
    move_to_cur(&maildir.files("new")[0], "");
    let mut client = Client::pop3(&server, ALICE);
    assert_eq!(client.listing("UIDL"), ids);
    assert!(client.retr(1).ends_with(b"Subject: first\r\n\r\n"));
    assert_eq!(client.retr(3), b"third\r\n");
    drop(client);

    server.restart();
    assert_eq!(Client::pop3(&server, ALICE).listing("UIDL"), ids);
}

/// As other programs do it: `mv new/x cur/x:2,S`.
fn move_to_cur(file: &Path, flags: &str) {
    let name = format!("{}:2,{flags}", file.file_name().unwrap().to_str().unwrap());
    fs::rename(file, file.parent().unwrap().with_file_name("cur").join(name)).unwrap();
}

#[test]
fn p11_a_message_that_moves_in_mid_session_is_found_by_its_base_name() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    maildir.put("1700000001.M1P1.elsewhere", b"first\n");
    let mut client = Client::pop3(&server, ALICE);
    move_to_cur(&maildir.files("new")[0], "");
    assert_eq!(client.retr(1), b"first\r\n");
    let cur = maildir.files("cur").remove(0);
    fs::rename(&cur, cur.with_file_name("1700000001.M1P1.elsewhere:2,F")).unwrap();
    assert_eq!(client.retr(1), b"first\r\n");
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
    assert!(maildir.files("cur").is_empty());
}

#[test]
fn quit_marks_what_was_read_whole_and_leaves_the_rest_new() {
    let server = Server::dev();
    for subject in ["read", "looked at", "untouched", "deleted"] {
        deliver(&server, ALICE, format!("Subject: {subject}\r\n\r\n").as_bytes());
    }
    let maildir = server.maildir(ALICE);
    let names: Vec<_> =
        maildir.files("new").iter().map(|file| file.file_name().unwrap().to_owned()).collect();
    let mut client = Client::pop3(&server, ALICE);
    client.retr(1);
    client.ask("TOP 2 10", "+OK");
    client.text();
    client.retr(4);
    client.ask("DELE 4", "+OK");
    assert_eq!(maildir.files("new").len(), 4, "nothing moves before QUIT");
    client.ask("QUIT", "+OK");
    assert_eq!(client.rest(), b"");
    let mut seen = names[0].clone();
    seen.push(":2,S");
    assert_eq!(maildir.files("cur"), [maildir.path.join("cur").join(seen)]);
    let new = maildir.path.join("new");
    assert_eq!(maildir.files("new"), [new.join(&names[1]), new.join(&names[2])]);
}

#[test]
fn p01_p03_p05_p06_p38_dele_without_quit_deletes_nothing_and_the_numbers_stay() {
    let server = Server::dev();
    for body in ["first\r\n", "second\r\n", "third\r\n"] {
        deliver(&server, ALICE, body.as_bytes());
    }
    let mut client = Client::pop3(&server, ALICE);
    client.ask("DELE 1", "+OK");
    client.ask("DELE 2", "+OK");
    client.ask("RETR 1", "-ERR");
    client.ask("LIST 2", "-ERR");
    client.ask("DELE 2", "-ERR");
    client.ask("STAT", "+OK 1 ");
    client.ask("UIDL 3", "+OK 3 ");
    for bad in
        ["RETR 0", "RETR -1", "RETR +3", "RETR 4", "LIST 4294967299", "DELE 18446744073709551619", "TOP 3"]
    {
        client.ask(bad, "-ERR");
    }
    client.ask("RSET", "+OK");
    client.ask("STAT", "+OK 3 ");
    client.ask("DELE 3", "+OK");
    drop(client);
    Client::pop3(&server, ALICE).ask("STAT", "+OK 3 ");
    assert_eq!(server.maildir(ALICE).files("new").len(), 3);
}

#[test]
fn p09_a_second_session_waits_and_is_told_that_the_mailbox_is_in_use() {
    let server = Server::dev();
    let mut first = Client::pop3(&server, ALICE);
    let mut second = Client::connect(server.pop3());
    second.expect("+OK");
    second.ask(&format!("USER {ALICE}"), "+OK");
    let start = Instant::now();
    second.ask(&format!("PASS {PASSWORD}"), "-ERR [IN-USE]");
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());

    // Another user's mailbox is not in use, and QUIT gives this one back before it is answered.
    Client::pop3(&server, "bob@example.test").ask("STAT", "+OK 0 0");
    first.ask("QUIT", "+OK");
    let third = Client::pop3(&server, ALICE);
    drop(third);
    Client::pop3(&server, ALICE).ask("QUIT", "+OK");
}

#[test]
fn p34_a_login_after_the_250_sees_the_mail_and_a_session_before_it_does_not() {
    let server = Server::dev();
    let mut before = Client::pop3(&server, ALICE);
    for count in 1..=20 {
        deliver(&server, ALICE, b"Subject: x\r\n\r\n");
        before.ask("STAT", &format!("+OK {} ", count - 1));
        before.ask("QUIT", "+OK");
        before = Client::pop3(&server, ALICE);
        before.ask("STAT", &format!("+OK {count} "));
    }
}

#[test]
fn a_login_sees_what_other_programs_did_to_the_maildir() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    Client::pop3(&server, ALICE).ask("STAT", "+OK 0 0");
    maildir.put("1700000001.M1P1.elsewhere", b"put\n");
    Client::pop3(&server, ALICE).ask("STAT", "+OK 1 5\r\n");
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    Client::pop3(&server, ALICE).ask("STAT", "+OK 2 ");
    fs::remove_file(&maildir.files("new")[0]).unwrap();
    Client::pop3(&server, ALICE).ask("STAT", "+OK 1 ");
    fs::remove_file(&maildir.files("new")[0]).unwrap();
    Client::pop3(&server, ALICE).ask("STAT", "+OK 0 0");
}

#[test]
fn m09_a_login_to_a_mailbox_that_cannot_be_read_is_an_error_and_not_an_empty_mailbox() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    let (cur, aside) = (maildir.path.join("cur"), maildir.path.join("cur.aside"));
    fs::rename(&cur, &aside).unwrap();
    fs::write(&cur, "not a directory").unwrap();
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask(&format!("USER {ALICE}"), "+OK");
    client.ask(&format!("PASS {PASSWORD}"), "-ERR [SYS/");
    fs::remove_file(&cur).unwrap();
    fs::rename(&aside, &cur).unwrap();
    Client::pop3(&server, ALICE).ask("STAT", "+OK 1 ");
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let server = Server::dev();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n.\r\n");
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    let session = format!("USER {ALICE}\r\nPASS x\r\nSTAT\r\nRETR 1\r\nDELE 1\r\nNOOP\r\nQUIT\r\n");
    client.write(session.as_bytes());
    client.expect("+OK");
    client.expect("+OK");
    client.expect("+OK 1 ");
    client.expect("+OK ");
    assert!(client.text().ends_with(b"\r\n\r\n.\r\n"));
    for _ in ["DELE", "NOOP", "QUIT"] {
        client.expect("+OK");
    }
    assert_eq!(client.rest(), b"");
    assert!(server.maildir(ALICE).files("new").is_empty());
}

#[test]
fn a_client_that_leaves_right_after_quit_has_its_mail_deleted() {
    let server = Server::dev();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    let mut client = Client::pop3(&server, ALICE);
    client.ask("DELE 1", "+OK");
    client.send("QUIT");
    drop(client);
    let maildir = server.maildir(ALICE);
    eventually("the message is deleted", || maildir.files("new").is_empty().then_some(()));
}
