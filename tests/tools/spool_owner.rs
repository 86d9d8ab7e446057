//! Commands of root on the spool of another user: all that they leave there belongs to that user.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::{Command, Stdio},
};

use crate::{
    common::{
        eventually, skip,
        tools::{Desk, NOBODY, command_on},
    },
    mbox::{BOB, mbox},
};

#[test]
fn h14_nothing_in_the_spool_of_another_user_belongs_to_root_after_a_server_of_root() {
    let backend = Desk::new();
    if !backend.give_away() {
        let why = "this is not root, or nobody else can get to the spool";
        return skip("h14_nothing_in_the_spool_of_another_user_belongs_to_root_after_a_server_of_root", why);
    }
    let ports = backend.spool.join("ports");
    let mut server = command_on(&backend.spool, &["dev", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0"]);
    let server = server.arg("--ports-file").arg(&ports).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = server.spawn().unwrap();
    let port = eventually("the server has its ports", || {
        let text = fs::read_to_string(&ports).ok()?;
        Some(text.lines().find_map(|line| line.strip_prefix("smtp="))?.to_owned())
    });
    let mut send = Command::new(env!("CARGO_BIN_EXE_restante"));
    send.args(["send", "--server", &port, "--from", BOB, "--to", BOB, "--subject", "x", "--body", "y"]);
    assert!(send.output().unwrap().status.success());
    server.kill().unwrap();
    server.wait().unwrap();
    let mut all = vec![backend.spool.clone()];
    while let Some(path) = all.pop() {
        assert_eq!(path.symlink_metadata().unwrap().uid(), NOBODY, "{path:?}");
        if path.is_dir() {
            all.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

#[test]
fn root_files_and_reads_as_the_owner_of_the_spool() {
    let backend = Desk::new();
    if !backend.give_away() {
        let why = "this is not root, or nobody else can get to the spool";
        return skip("root_files_and_reads_as_the_owner_of_the_spool", why);
    }
    backend.run(&["seed", "--to", BOB, "--count", "2"], 0);
    backend.run(&["wait", "--to", BOB, "--count", "2"], 0);
    let bob = backend.maildir(BOB);
    for path in [vec![bob.path.clone(), bob.path.join("new")], bob.files("new")].concat() {
        assert_eq!(path.metadata().unwrap().uid(), NOBODY, "{path:?}");
    }
    backend.run(&["purge", "--to", BOB, "--yes"], 0);
    assert!(bob.files("new").is_empty());
}

#[test]
fn root_writes_as_the_owner_of_the_spool() {
    let backend = Desk::new();
    if !backend.give_away() {
        let why = "this is not root, or nobody else can get to the spool";
        return skip("root_writes_as_the_owner_of_the_spool", why);
    }
    // Only root can read the file, and the program opens it before it changes its user.
    let file = backend.file("in", mbox(8));
    fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
    backend.run(&["import", "in", "--to", BOB, "--create"], 0);
    let bob = backend.maildir(BOB);
    for path in [vec![bob.path.clone(), bob.path.join("new")], bob.files("new"), bob.files("cur")].concat() {
        let data = path.metadata().unwrap();
        assert_eq!((data.uid(), data.gid()), (NOBODY, NOBODY), "{path:?}");
    }
    backend.run(&["fsck"], 0);
}

#[test]
fn n144_what_a_mode_closes_to_its_owner_is_opened_and_read_in_one_run() {
    let desk = Desk::new();
    let (bob, alice) = (desk.maildir(BOB), desk.maildir("alice@example.test"));
    let letter = bob.put("1.x", b"Subject: x\n\nx\n");
    alice.put("2.x", b"Subject: x\n\nx\n");
    if rustix::process::geteuid().is_root() && !desk.give_away() {
        return skip(
            "n144_what_a_mode_closes_to_its_owner_is_opened_and_read_in_one_run",
            "nobody else can get to the spool",
        );
    }
    for path in [&letter, &bob.path.join("cur"), &alice.path] {
        fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
    }
    let (printed, _) = desk.run(&["fsck"], 1);
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains("--fix sets its mode to 0700"), "{printed}");
    let (printed, said) = desk.run(&["fsck", "--fix"], 0);
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains("messages: 2,") && !printed.contains("unreadable"), "{printed}{said}");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&letter), mode(&bob.path.join("cur")), mode(&alice.path)), (0o600, 0o700, 0o700));
    desk.run(&["fsck"], 0);
}
