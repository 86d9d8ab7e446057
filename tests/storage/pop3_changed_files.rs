//! Message files that other programs remove, rename, replace, change, link or copy while a POP3 session has them
//! listed. The numbers in the names are those of the catalogue of faults.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::common::{
    AtTheEnd, STRICT, Server, Setup,
    client::{Client, deliver, session_with, with_crlf},
    eventually,
};

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";
const FIRST: &str = "1700000001.M1P1.elsewhere";
const SECOND: &str = "1700000002.M2P2.elsewhere";

#[test]
fn p10_a_message_that_is_gone_is_gone_at_the_next_login() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    let first = maildir.put(FIRST, b"first\n");
    maildir.put("1700000002.M1P1.elsewhere", b"second\n");
    let mut client = session_with(&server, ALICE, 2);
    fs::remove_file(first).unwrap();
    for command in ["RETR 1", "TOP 1 0", "TOP 1 99999999"] {
        client.ask(command, "-ERR");
    }
    client.ask("LIST 1", "+OK 1 7\r\n");
    client.ask("STAT", "+OK 2 15\r\n");
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
    assert_eq!(session_with(&server, ALICE, 1).retr(1), b"second\r\n");
}

#[test]
fn p11_a_message_renamed_all_the_time_is_found_or_honestly_not() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    let mut file = maildir.put(FIRST, &b"a line\n".repeat(30_000));
    let expected = b"a line\r\n".repeat(30_000);
    let mut client = session_with(&server, ALICE, 1);
    let over = AtomicBool::new(false);
    let found = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for name in ["cur/N:2,", "cur/N:2,S", "new/N", "cur/N:2,RS"] {
                    let to = maildir.path.join(name.replace('N', FIRST));
                    fs::rename(&file, &to).unwrap();
                    file = to;
                }
            }
        });
        let _over = AtTheEnd(&over);
        let mut found = 0;
        for _ in 0..200 {
            let reply = client.send("RETR 1").reply();
            if reply.starts_with("+OK ") {
                found += usize::from(client.text() == expected);
            } else {
                assert!(reply.starts_with("-ERR "), "{reply:?}");
                found += 1;
            }
        }
        found
    });
    assert_eq!(found, 200, "whole or refused");
    assert!(client.retr(1) == expected);
    client.ask("QUIT", "+OK");
}

#[test]
fn p13_a_message_that_has_grown_is_not_sent_under_its_old_size() {
    let server = Server::dev();
    let file = server.maildir(ALICE).put(FIRST, b"half a mess");
    let mut client = session_with(&server, ALICE, 1);
    let mut half = fs::File::options().append(true).open(&file).unwrap();
    std::io::Write::write_all(&mut half, b"age and the rest of it\n").unwrap();
    drop(half);
    client.ask("RETR 1", "-ERR [SYS/TEMP]");
    client.ask("TOP 1 0", "-ERR [SYS/TEMP]");
    client.ask("QUIT", "+OK");
    let whole = b"half a message and the rest of it\r\n";
    eventually("the new size is listed", || {
        let mut client = Client::pop3(&server, ALICE);
        (client.listing("LIST") == [whole.len().to_string()]).then(|| assert_eq!(client.retr(1), whole))
    });
}

#[test]
fn p13_a_message_edited_in_place_is_not_sent_under_its_old_size() {
    let server = Server::dev();
    let file = server.maildir(ALICE).put(FIRST, b"one\ntwo\n");
    let mut client = session_with(&server, ALICE, 1);
    // As many bytes as before, and one line end less. The clock of the file system ticks.
    let modified = || fs::metadata(&file).unwrap().modified().unwrap();
    let before = modified();
    while modified() == before {
        fs::write(&file, "one two\n").unwrap();
    }
    client.ask("RETR 1", "-ERR [SYS/TEMP]");
    client.ask("QUIT", "+OK");
    eventually("the new size is listed", || {
        let mut client = Client::pop3(&server, ALICE);
        (client.listing("LIST") == ["9"]).then(|| assert_eq!(client.retr(1), b"one two\r\n"))
    });
}

#[test]
fn p14_files_cut_short_while_they_are_read_end_no_server() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    let content = b"a line of text\n".repeat(50_000);
    let wire = with_crlf(&content);
    let file = maildir.put(FIRST, &content);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let handle = fs::File::options().write(true).open(&file).unwrap();
                handle.set_len(0).unwrap();
                fs::write(&file, &content).unwrap();
            }
        });
        let _over = AtTheEnd(&over);
        for _ in 0..30 {
            let mut client = Client::pop3(&server, ALICE);
            let reply = client.send("RETR 1").reply();
            let Some(announced) = reply.strip_prefix("+OK ") else { continue };
            let mut octets = 0;
            loop {
                let line = client.line();
                if line == b".\r\n" {
                    assert_eq!(announced, format!("{octets} octets\r\n"), "a final dot too early");
                    break;
                } else if line.is_empty() {
                    break;
                }
                octets += line.len();
            }
        }
    });
    eventually("the message is whole again", || {
        let mut client = Client::pop3(&server, ALICE);
        (client.listing("LIST") == [wire.len().to_string()]).then(|| assert!(client.retr(1) == wire))
    });
}

#[test]
fn p19_a_hard_link_is_a_message_like_any_other() {
    let server = Server::dev();
    deliver(&server, BOB, b"Subject: to bob\r\n\r\n");
    let (alice, bob) = (server.maildir(ALICE), server.maildir(BOB));
    alice.put(FIRST, b"first\n");
    let file = bob.files("new").remove(0);
    fs::hard_link(&file, alice.path.join("new").join(file.file_name().unwrap())).unwrap();
    let mut client = session_with(&server, ALICE, 2);
    assert!(client.retr(2).ends_with(b"Subject: to bob\r\n\r\n"));
    client.ask("DELE 2", "+OK");
    client.ask("QUIT", "+OK");
    assert_eq!(alice.files("new").len() + alice.files("cur").len(), 1);
    assert!(session_with(&server, BOB, 1).retr(1).ends_with(b"Subject: to bob\r\n\r\n"));
}

#[test]
fn p19_a_message_with_two_names_is_deleted_under_both() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    let file = maildir.put(FIRST, b"first\n");
    maildir.put("1700000002.M2P2.elsewhere", b"second\n");
    fs::hard_link(&file, maildir.path.join(format!("cur/{FIRST}:2,S"))).unwrap();
    let mut client = session_with(&server, ALICE, 2);
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
    assert_eq!(session_with(&server, ALICE, 1).retr(1), b"second\r\n");
    assert_eq!(maildir.files("cur").len() + maildir.files("new").len(), 1);
}

#[test]
fn p11_a_message_that_is_deleted_while_another_links_it_elsewhere_is_gone() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    for round in 0..300 {
        let name = format!("{}.M1P1.elsewhere", 1_700_000_000 + round);
        let file = maildir.put(&name, b"a line\n");
        let mut client = session_with(&server, ALICE, 1);
        client.ask("DELE 1", "+OK");
        thread::scope(|scope| {
            scope.spawn(|| {
                // A program that must not overwrite a file moves it so. If it comes too late, the link fails.
                let linked = fs::hard_link(&file, maildir.path.join(format!("cur/{name}:2,S")));
                let _ = linked.and_then(|()| fs::remove_file(&file));
            });
            client.ask("QUIT", "+OK");
        });
        assert_eq!(maildir.files("new").len() + maildir.files("cur").len(), 0, "round {round}");
    }
}

#[test]
fn p08_a_message_that_has_no_other_name_to_be_marked_under_is_served_all_the_same() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    maildir.put(FIRST, b"first\n");
    fs::write(maildir.path.join(format!("cur/{FIRST}:2,S")), "the second\n").unwrap();
    maildir.put(&format!("1700000002.{}", "x".repeat(243)), b"third\n");
    let mut client = session_with(&server, ALICE, 3);
    (1..=3).for_each(|number| drop(client.retr(number)));
    client.ask("QUIT", "+OK");
    assert_eq!((maildir.files("new").len(), maildir.files("cur").len()), (2, 1));
}

#[test]
fn p22_files_of_one_identity_are_messages_of_their_own() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    maildir.put(FIRST, b"first\n");
    fs::write(maildir.path.join(format!("cur/{FIRST}:2,S")), "the second\n").unwrap();
    fs::write(maildir.path.join(format!("cur/{FIRST}:2,RS")), "and the third\n").unwrap();
    let mut client = session_with(&server, ALICE, 3);
    let mut ids = client.listing("UIDL");
    let ours = (1..=3).find(|&number| client.retr(number) == b"the second\r\n").unwrap();
    client.ask(&format!("DELE {ours}"), "+OK");
    assert!(ids.iter().all(|id| id.starts_with(FIRST)), "{ids:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
    client.ask("QUIT", "+OK");
    let mut client = session_with(&server, ALICE, 2);
    let mut rest = [client.retr(1), client.retr(2)];
    rest.sort();
    assert_eq!(rest, [&b"and the third\r\n"[..], b"first\r\n"]);
}

#[test]
fn p22_no_file_bears_an_id_that_another_of_its_identity_had() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    maildir.put(FIRST, b"first\n");
    let alone = session_with(&server, ALICE, 1).listing("UIDL");
    fs::write(maildir.path.join(format!("cur/{FIRST}:2,S")), "the second\n").unwrap();
    let mut client = session_with(&server, ALICE, 2);
    let both = client.listing("UIDL");
    assert!(!both.contains(&alone[0]), "{alone:?} {both:?}");
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
    let left = session_with(&server, ALICE, 1).listing("UIDL");
    assert!(!both.contains(&left[0]), "{both:?} {left:?}");
}

#[test]
fn p23_the_unique_id_stays_when_the_mailbox_is_restored_from_a_copy() {
    let mut server = Server::dev();
    deliver(&server, ALICE, b"Subject: first\r\n\r\n");
    server.maildir(ALICE).put("1999999999.elsewhere", b"second\n");
    let ids = session_with(&server, ALICE, 2).listing("UIDL");
    // Other inodes, other times: all that stays is the names.
    let maildir = server.maildir(ALICE);
    let saved: Vec<_> =
        maildir.files("new").iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    fs::remove_dir_all(&maildir.path).unwrap();
    for (file, content) in saved.iter().rev() {
        maildir.put(file.file_name().unwrap().to_str().unwrap(), content);
    }
    assert_eq!(session_with(&server, ALICE, 2).listing("UIDL"), ids);
    server.restart();
    assert_eq!(session_with(&server, ALICE, 2).listing("UIDL"), ids);
}

#[test]
fn p14_kept_sizes_cut_short_while_they_are_read_end_no_server() {
    let server = Server::dev();
    let users: Vec<String> = (0..20).map(|n| format!("user{n}@example.test")).collect();
    let kept: Vec<fs::File> = users
        .iter()
        .map(|user| {
            let maildir = server.maildir(user);
            maildir.put(FIRST, b"first\n");
            fs::File::create(maildir.path.join(".restante.index")).unwrap()
        })
        .collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for length in [2 << 20, 0] {
                    kept.iter().for_each(|file| file.set_len(length).unwrap());
                }
            }
        });
        let _over = AtTheEnd(&over);
        for user in &users {
            Client::pop3(&server, user).ask("STAT", "+OK 1 7\r\n");
        }
    });
}

/// Another file of that name.
fn rename_over(file: &Path) {
    let new = file.with_extension("new");
    fs::write(&new, "the new one\n").unwrap();
    fs::rename(&new, file).unwrap();
}

/// The same, which may have the inode of the old one.
fn make_anew(file: &Path) {
    fs::remove_file(file).unwrap();
    write_over(file);
}

fn write_over(file: &Path) {
    fs::write(file, "the new one\n").unwrap();
}

#[test]
fn p13_what_has_taken_the_place_of_a_message_is_not_deleted_for_it_and_is_listed() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    for (how, replace) in [
        ("renamed over it", rename_over as fn(&Path)),
        ("made anew", make_anew),
        ("written over", write_over),
    ] {
        let file = maildir.put(FIRST, b"first\n");
        maildir.put(SECOND, b"second\n");
        let mut client = session_with(&server, ALICE, 2);
        assert_eq!(client.retr(1), b"first\r\n", "{how}");
        client.ask("DELE 1", "+OK");
        client.ask("DELE 2", "+OK");
        replace(&file);
        client.ask("QUIT", "-ERR [SYS/TEMP]");
        let mut client = session_with(&server, ALICE, 1);
        assert_eq!(client.retr(1), b"the new one\r\n", "{how}");
        client.ask("DELE 1", "+OK");
        client.ask("QUIT", "+OK");
        assert!(!file.exists(), "{how}");
    }
}

#[test]
fn p13_a_message_that_was_moved_is_found_though_another_file_has_its_name() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    let file = maildir.put(FIRST, b"first\n");
    let mut client = session_with(&server, ALICE, 1);
    fs::rename(&file, maildir.path.join(format!("cur/{FIRST}:2,S"))).unwrap();
    fs::write(&file, "the other one\n").unwrap();
    assert_eq!(client.retr(1), b"first\r\n");
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
    assert_eq!(session_with(&server, ALICE, 1).retr(1), b"the other one\r\n");
}

/// Puts a file of that size into a mailbox that takes no room on the disk.
fn put_sparse(server: &Server, to: &str, name: &str, bytes: u64) -> PathBuf {
    let file = server.maildir(to).put(name, b"");
    fs::File::options().write(true).open(&file).unwrap().set_len(bytes).unwrap();
    file
}

#[test]
fn r5_files_of_15_tb_shut_nobody_out_and_the_log_says_once_that_they_are_left_out() {
    let server = Server::dev();
    let names = [FIRST, SECOND];
    let files = names.map(|name| put_sparse(&server, ALICE, name, 15_000_000_000_000));
    server.maildir(ALICE).put("1700000003.M3P3.elsewhere", b"a letter\n");
    server.maildir(BOB).put(FIRST, b"another letter\n");
    let login = |user, octets: u64| Client::pop3(&server, user).ask("STAT", &format!("+OK 1 {octets}"));
    login(ALICE, 10);
    login(BOB, 16);
    login(ALICE, 10);
    for name in names {
        let words = format!("{name}: skipped: too large: no limit allows it, so move it out of the mailbox");
        assert_eq!(server.log().matches(&words).count(), 1, "{}", server.log());
    }
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
    server.maildir(ALICE).put(FIRST, b"a new letter\n");
    eventually("the new one is listed, the others are not", || {
        let mut client = Client::pop3(&server, ALICE);
        let listing = client.listing("LIST");
        (listing == ["14", "10"]).then_some(())
    });
    login(BOB, 16);
}

#[test]
fn r5_a_walk_that_takes_long_leaves_the_worker_to_others_and_ends_with_the_files() {
    let config = format!("{STRICT}\n[limits]\nindex.scan_workers = 1\n");
    let server = Setup { config: Some(&config), users: &[ALICE, BOB], ..Setup::default() }.start();
    let names: Vec<String> = (0..50).map(|n| format!("17000000{n:02}.M1P1.elsewhere")).collect();
    let files: Vec<PathBuf> = names.iter().map(|name| put_sparse(&server, ALICE, name, 4 << 30)).collect();
    server.maildir(ALICE).put("1700000100.M3P3.elsewhere", b"a letter\n");
    server.maildir(BOB).put(FIRST, b"another letter\n");
    thread::scope(|threads| {
        let alice = threads.spawn(|| Client::pop3(&server, ALICE).ask("STAT", "+OK 1 10"));
        Client::pop3(&server, BOB).ask("STAT", "+OK 1 16");
        assert!(!alice.is_finished());
        files.iter().for_each(|file| fs::remove_file(file).unwrap());
        alice.join().unwrap();
    });
}
