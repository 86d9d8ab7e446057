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
