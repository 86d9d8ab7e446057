//! A spool that is no longer at the end of its path, or not this server's alone: the server stores no mail in a place
//! where its users would not find it. And a disk without room for a file of ours: mail can be read from it, and
//! deleted.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
};

use crate::common::{
    PASSWORD, STRICT, Server, Setup,
    client::{Client, deliver, stuffed},
    configuration, eventually, home,
    inject::{Fault, can_inject},
    skip,
};

const ALICE: &str = "alice@example.test";
const MESSAGE: &[u8] = b"Subject: where am I?\r\n\r\nHere.\r\n";
const NO_MAIL: &str = "refusing deliveries and logins";
const AGAIN: &str = "the spool is back";

/// A server in a mount namespace of its own, which only mounts made inside it reach.
fn start(spool: &Path) -> Server {
    let config = format!("{STRICT}\n[limits]\nauth.failure_delay = \"0s\"\n");
    let (wrapper, users) = (&["unshare", "--mount"][..], &[ALICE][..]);
    Setup { wrapper, config: Some(&config), users, spool: Some(spool.into()), ..Setup::default() }.start()
}

/// Whether this test may mount something; if not, says so.
fn can_mount(test: &str) -> bool {
    let script = "mount -t tmpfs none /mnt";
    let can = Command::new("unshare").args(["--mount", "sh", "-c", script]).output();
    let can = can.is_ok_and(|done| done.status.success());
    if !can {
        skip(test, "nothing can be mounted here");
    }
    can
}

/// Runs a program among the mounts of the server.
#[track_caller]
fn beside(server: &Server, words: &[&str]) {
    let pid = server.pid().to_string();
    let done = Command::new("nsenter").args(["--mount", "--target", &pid]).args(words).output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// The reply to a message, at MAIL or at its end.
fn told(server: &Server) -> String {
    let mut client = Client::smtp(server);
    let mail = client.send("MAIL FROM:<a@far.test>").reply();
    if !mail.starts_with("250 ") {
        return mail;
    }
    client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
    client.ask("DATA", "354");
    client.write(&stuffed(MESSAGE));
    client.reply()
}

fn login(server: &Server) -> String {
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask(&format!("USER {ALICE}"), "+OK");
    client.send(&format!("PASS {PASSWORD}")).reply()
}

/// The server takes and shows no mail until that is undone.
#[track_caller]
fn takes_nothing_until(server: &Server, what: &str, undo: impl FnOnce()) {
    let before = server.log().matches(NO_MAIL).count();
    for _ in 0..3 {
        let (reply, login) = (told(server), login(server));
        assert!(reply.starts_with("451 4.3.0 "), "{what}: {reply:?}");
        assert!(login.starts_with("-ERR [SYS/TEMP]"), "{what}: {login:?}");
    }
    undo();
    eventually("mail is taken again", || told(server).starts_with("250 ").then_some(()));
    assert!(login(server).starts_with("+OK"), "{what}");
    // A thread of its own writes the log.
    let log = eventually("the log has the end of it", || {
        Some(server.log()).filter(|log| log.matches(AGAIN).count() > before)
    });
    let counts = [NO_MAIL, AGAIN].map(|words| log.matches(words).count());
    assert_eq!(counts, [before + 1; 2], "{what}: the log is told once");
}

#[test]
fn r3_a_spool_that_is_moved_or_replaced_takes_no_mail_until_it_is_back() {
    let home = home();
    let (disk, other, link) = (home.path().join("disk"), home.path().join("other"), home.path().join("srv"));
    for dir in [&disk, &other] {
        fs::create_dir_all(dir.join("mail")).unwrap();
    }
    symlink(&disk, &link).unwrap();
    let users = &[ALICE][..];
    let config = format!("{STRICT}\n[limits]\nauth.failure_delay = \"0s\"\n");
    let server =
        Setup { config: Some(&config), users, spool: Some(link.join("mail")), ..Setup::default() }.start();
    deliver(&server, ALICE, MESSAGE);
    let (mail, moved) = (disk.join("mail"), disk.join("moved"));

    fs::rename(&mail, &moved).unwrap();
    takes_nothing_until(&server, "moved", || fs::rename(&moved, &mail).unwrap());

    fs::rename(&mail, &moved).unwrap();
    fs::create_dir(&mail).unwrap();
    takes_nothing_until(&server, "replaced", || {
        assert_eq!(fs::read_dir(&mail).unwrap().count(), 0);
        fs::rename(&moved, &mail).unwrap();
    });

    fs::remove_file(&link).unwrap();
    symlink(&other, &link).unwrap();
    takes_nothing_until(&server, "another link", || {
        fs::remove_file(&link).unwrap();
        symlink(&disk, &link).unwrap();
    });

    fs::rename(&mail, &moved).unwrap();
    fs::write(&mail, "").unwrap();
    takes_nothing_until(&server, "a file", || {
        fs::remove_file(&mail).unwrap();
        fs::rename(&moved, &mail).unwrap();
    });
    assert_eq!(server.maildir(ALICE).files("new").len(), 5, "each 250, and nothing else");
}

/// Only the reply to a logged-in user tells of the spool, and it has no path.
#[test]
fn u135_clients_are_told_that_the_spool_was_removed() {
    let server = Server::strict();
    deliver(&server, ALICE, MESSAGE);
    fs::remove_dir_all(&server.spool).unwrap();
    let why = "The spool of the server was moved or removed: put it back, or restart the server";
    let refused = "451 4.3.0 The message could not be stored, try later\r\n";
    assert_eq!(login(&server), format!("-ERR [SYS/TEMP] {why}\r\n"));
    assert_eq!(told(&server), refused);
    fs::create_dir(&server.spool).unwrap();
    assert_eq!(login(&server), format!("-ERR [SYS/TEMP] {why}\r\n"));
    assert_eq!(told(&server), refused);
}

#[test]
fn r3_a_spool_that_is_mounted_over_takes_no_mail_until_the_mount_is_gone() {
    if !can_mount("r3_a_spool_that_is_mounted_over_takes_no_mail_until_the_mount_is_gone") {
        return;
    }
    let home = home();
    let spool = home.path().join("mail");
    let server = start(&spool);
    deliver(&server, ALICE, MESSAGE);
    let at = spool.to_str().unwrap();
    let parent = home.path().to_str().unwrap();
    for over in [at, parent] {
        beside(&server, &["mount", "-t", "tmpfs", "none", over]);
        takes_nothing_until(&server, over, || beside(&server, &["umount", over]));
    }
    let before = server.maildir(ALICE).files("new").len();
    // The same directory once more hides nothing.
    beside(&server, &["mount", "--bind", at, at]);
    deliver(&server, ALICE, MESSAGE);
    assert_eq!((before, server.maildir(ALICE).files("new").len()), (3, 4));
}

#[test]
fn r3_a_message_whose_spool_goes_while_the_disk_is_slow_is_refused_and_taken_back() {
    if !can_inject("r3_a_message_whose_spool_goes_while_the_disk_is_slow_is_refused_and_taken_back") {
        return;
    }
    let home = home();
    let (spool, moved) = (home.path().join("mail"), home.path().join("moved"));
    let users = &[ALICE][..];
    let server =
        Setup { config: Some(STRICT), users, spool: Some(spool.clone()), ..Setup::default() }.start();
    deliver(&server, ALICE, MESSAGE);
    Fault::new("fsync:delay_enter=2s").of("committer").on(spool.join(ALICE).join("new")).during(
        &server,
        || {
            let mut client = Client::smtp(&server);
            client.begin_data("a@far.test", &[ALICE]);
            client.write(&stuffed(MESSAGE));
            let new = server.maildir(ALICE);
            eventually("it is in new/", || (new.files("new").len() == 2).then_some(()));
            fs::rename(&spool, &moved).unwrap();
            client.expect("451 4.3.0 ");
        },
    );
    fs::rename(&moved, &spool).unwrap();
    assert_eq!(server.maildir(ALICE).files("new").len(), 1);
}

#[test]
fn r3_mail_for_a_mailbox_that_is_moved_replaced_or_mounted_over_is_where_its_path_leads() {
    if !can_mount("r3_mail_for_a_mailbox_that_is_moved_replaced_or_mounted_over_is_where_its_path_leads") {
        return;
    }
    let home = home();
    let spool = home.path().join("mail");
    let server = start(&spool);
    let (alice, old) = (server.maildir(ALICE), home.path().join("old"));
    deliver(&server, ALICE, MESSAGE);
    Client::pop3(&server, ALICE).ask("STAT", "+OK 1 ");
    fs::rename(&alice.path, &old).unwrap();
    deliver(&server, ALICE, MESSAGE);
    deliver(&server, ALICE, MESSAGE);
    Client::pop3(&server, ALICE).ask("STAT", "+OK 2 ");
    assert_eq!(alice.files("new").len(), 2);

    let (over, at) = (old.to_str().unwrap(), alice.path.to_str().unwrap());
    beside(&server, &["mount", "--bind", over, at]);
    deliver(&server, ALICE, MESSAGE);
    Client::pop3(&server, ALICE).ask("STAT", "+OK 2 ");
    beside(&server, &["umount", "--lazy", at]); // the server has it open
    assert_eq!((alice.files("new").len(), fs::read_dir(old.join("new")).unwrap().count()), (2, 2));
    // Nothing can be renamed into a directory of it that is a mount of its own.
    let at = alice.path.join("new");
    beside(&server, &["mount", "--bind", old.join("new").to_str().unwrap(), at.to_str().unwrap()]);
    assert!(told(&server).starts_with("451 "));
    assert_eq!((alice.files("new").len(), alice.files("tmp").len()), (2, 0));
}

/// Starts a second server on the spool of the first; returns the message with which it fails.
fn second(server: &Server) -> String {
    let home = home();
    let config = format!("{STRICT}\n[limits]\nspool.lock_timeout = \"100ms\"\n");
    let file = home.path().join("restante.toml");
    fs::write(home.path().join("users.json"), "{}").unwrap();
    fs::write(&file, configuration(home.path(), &server.spool, &config)).unwrap();
    let mut serve = Command::new("timeout"); // it may get in, and would stay
    serve.args(["10", env!("CARGO_BIN_EXE_restante"), "serve", "--config"]);
    let done = serve.arg(&file).output().unwrap();
    assert!(!done.status.success());
    String::from_utf8_lossy(&done.stderr).into_owned()
}

#[test]
fn r8_no_second_server_gets_in_when_the_lock_file_is_replaced_or_removed() {
    let server = Server::strict();
    let (lock, other) = (server.spool.join(".restante.lock"), server.home.path().join("restored"));
    assert!(second(&server).contains("another restante uses it"));
    fs::write(&other, "").unwrap();
    fs::rename(&other, &lock).unwrap();
    assert!(second(&server).contains("another restante uses it"));
    deliver(&server, ALICE, MESSAGE);
    server.tells("the file .restante.lock");
    fs::remove_file(&lock).unwrap();
    assert!(second(&server).contains("another restante uses it"));
    deliver(&server, ALICE, MESSAGE);
    assert!(lock.exists());
}

#[test]
fn r8_a_spool_whose_lock_another_program_has_takes_no_mail_until_that_lets_go() {
    let server = Server::strict();
    deliver(&server, ALICE, MESSAGE);
    let (lock, other) = (server.spool.join(".restante.lock"), server.home.path().join("restored"));
    // As an older server would that started after a restore: it locks the file alone.
    let file = File::create(&other).unwrap();
    file.lock().unwrap();
    fs::rename(&other, &lock).unwrap();
    takes_nothing_until(&server, "locked by another", || drop(file));
}

#[test]
fn r6_without_an_inode_or_room_left_mail_can_be_read_and_deleted() {
    if !can_mount("r6_without_an_inode_or_room_left_mail_can_be_read_and_deleted") {
        return;
    }
    for (options, what) in [("nr_inodes=64", "inodes"), ("size=256k", "room")] {
        let home = home();
        let spool = home.path().join("mail");
        fs::create_dir(&spool).unwrap();
        // Inside the server's own mounts, before it starts.
        let script = format!("mount -t tmpfs -o {options} none {spool:?} && exec \"$@\"");
        let wrapper = &["unshare", "--mount", "sh", "-c", &script, "sh"];
        let (config, users) = (Some(STRICT), &[ALICE][..]);
        let server = Setup { wrapper, config, users, spool: Some(spool.clone()), ..Setup::default() }.start();
        let seen = Path::new("/proc")
            .join(server.pid().to_string())
            .join("root")
            .join(spool.strip_prefix("/").unwrap());
        for _ in 0..3 {
            deliver(&server, ALICE, MESSAGE);
        }
        fs::write(seen.join(ALICE).join("new/1.of.others"), "Subject: not counted yet\n\n\n").unwrap();
        let full = (0..100_000).find_map(|n| fs::write(seen.join(format!(".filler{n}")), [0; 4096]).err());
        assert_eq!(full.and_then(|error| error.raw_os_error()), Some(28), "{what}: it is full");
        let left = || fs::read_dir(seen.join(ALICE).join("new")).unwrap().count();
        let mut client = Client::pop3(&server, ALICE);
        client.ask("STAT", "+OK 4 ");
        client.retr(1);
        client.retr(2);
        client.ask("DELE 2", "+OK");
        client.ask("DELE 3", "+OK");
        client.ask("QUIT", "+OK");
        assert_eq!(left(), 1, "{what}: one was read, two deleted");
        let mut client = Client::pop3(&server, ALICE);
        client.ask("STAT", "+OK 2 ");
        client.ask("DELE 1", "+OK");
        client.ask("QUIT", "+OK");
        assert!(!server.log().contains("ERROR"), "{what}: {}", server.log());
    }
}
