//! `restante wait` that cannot look: a test that nothing came must not pass for that reason.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use crate::{
    common::{home, skip, tools::Desk},
    wait::{BOB, LETTER, command},
};

#[test]
fn u130_a_wait_that_cannot_look_is_told_from_a_message_that_did_not_come() {
    let desk = Desk::new();
    desk.maildir("eve@example.test").put("1.x", LETTER);
    desk.run(&["wait", "--to", BOB, "--timeout", "0s"], 1);
    let output = command(&desk.path("spol"), &["wait", "--to", BOB, "--timeout", "0s"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("is not there: name the spool"), "{said}");
    let bob = desk.maildir(BOB);
    bob.put("1.x", LETTER);
    if rustix::process::geteuid().is_root() && !desk.give_away() {
        return skip(
            "u130_a_wait_that_cannot_look_is_told_from_a_message_that_did_not_come",
            "nobody else can get to the spool",
        );
    }
    fs::set_permissions(&bob.path, Permissions::from_mode(0o000)).unwrap();
    for more in [&["--timeout", "1h"][..], &["--mark"]] {
        let (printed, said) = desk.run(&[&["wait", "--to", BOB], more].concat(), 2);
        assert!(printed.is_empty() && said.contains("ermission denied"), "{more:?}: {said}");
    }
    fs::set_permissions(&bob.path, Permissions::from_mode(0o700)).unwrap();
    desk.run(&["wait", "--to", BOB, "--timeout", "0s"], 0);
}

#[test]
fn u131_a_wait_names_the_mailbox_and_tells_before_it_waits_that_there_is_no_spool() {
    let desk = Desk::new();
    desk.maildir(BOB).put("1.x", LETTER);
    for (to, whose) in [
        ("bob", "bob (mailbox bob@localhost)"),
        (BOB, BOB),
        ("Bob+news@example.test", "Bob+news@example.test"),
    ] {
        let (_, said) = desk.run(&["wait", "--to", to, "--subject", "^tea$", "--timeout", "0s"], 1);
        let told = format!("restante: no matching message for {whose} in {}", desk.spool.display());
        assert!(said.starts_with(&told), "{said}");
    }
    let empty = home();
    for more in [&["--timeout", "1h"][..], &["--mark"]] {
        let mut wait = Command::new(env!("CARGO_BIN_EXE_restante"));
        wait.args(["wait", "--to", BOB]).args(more).current_dir(empty.path()).stdin(Stdio::null());
        let output = wait.env_remove("RESTANTE_CONFIG").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.starts_with("restante: there is neither ") && said.contains(" a spool ./spool: "),
            "{said}"
        );
        assert!(!empty.path().join("spool").exists());
    }
}

#[test]
fn u162_a_negative_number_is_refused_as_the_value_that_it_is() {
    for (words, option) in [
        (&["wait", "--to", BOB, "--timeout", "-1"][..], "--timeout <TIME>"),
        (&["wait", "--to", BOB, "--count", "-1"], "--count <N>"),
        (&["seed", "--count", "-3"], "--count <N>"),
        (&["dev", "--smtp", "-1"], "--smtp <ADDR>"),
        (&["dev", "--http", "-1"], "--http <ADDR>"),
        (&["send", "--server", "-1"], "--server <HOST:PORT>"),
        (&["client", "--pop3", "-1"], "--pop3 <HOST:PORT>"),
    ] {
        let empty = home();
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        let output = command.args(words).current_dir(empty.path()).env("LC_ALL", "C").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let told = format!("invalid value '{}' for '{option}': ", words.last().unwrap());
        assert!(output.status.code() == Some(2) && said.contains(&told), "{words:?}: {said}");
    }
}
