//! The spool of a tool that is given none, or a mailbox in its place.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    common::{home, skip, tools::Desk},
    wait::{BOB, LETTER, command},
};

#[test]
fn u111_every_tool_for_a_spool_takes_that_of_the_directory_and_tells_where_it_has_looked() {
    if Path::new("/etc/restante/restante.toml").exists() {
        return skip(
            "u111_every_tool_for_a_spool_takes_that_of_the_directory_and_tells_where_it_has_looked",
            "this machine has a configuration",
        );
    }
    let home = home();
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.args(words).current_dir(home.path()).env_remove("RESTANTE_CONFIG").stdin(Stdio::null());
        let output = command.output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let letter = "From a@b.test Sat Jan  3 01:05:34 1996\nSubject: here\n\nx\n";
    fs::write(home.path().join("old.mbox"), letter).unwrap();
    let import = ["import", "old.mbox", "--to", "bob@example.test", "--create"];
    let (export, fsck) = (["export", "bob@example.test"], ["fsck"]);
    let (wait, purge) = (["wait", "--to", "bob@example.test", "--timeout=0"], ["purge", "--all", "--yes"]);
    let all = [&import[..], &export, &fsck, &wait, &purge];
    for words in all {
        let (code, _, told) = run(words);
        assert!(code == 1 || code == 2, "{words:?}: {told}");
        for part in [
            "there is neither ",
            "RESTANTE_CONFIG",
            " a spool ./spool: name the spool with --spool or --config",
        ] {
            assert!(told.contains(part), "{words:?}: {told}");
        }
    }
    fs::create_dir_all(home.path().join("spool/src")).unwrap();
    for words in [&import[..], &export, &fsck, &purge] {
        let (code, _, told) = run(words);
        assert!(code == 2 && told.contains("has no mailbox in it"), "{words:?}: {told}");
    }
    fs::remove_dir(home.path().join("spool/src")).unwrap();
    for words in all {
        let (code, said, told) = run(words);
        assert_eq!(code, 0, "{words:?}: {said}{told}");
        assert_eq!(said.contains("Subject: here"), words[0] == "export", "{said}");
    }
}

#[test]
fn u115_a_mailbox_in_the_place_of_the_spool_is_refused_with_the_spool_above() {
    let desk = Desk::new();
    let bob = desk.maildir(BOB);
    bob.put("1.x", LETTER);
    let letter = desk.file("letter.eml", LETTER);
    let letter = letter.to_str().unwrap();
    let above = format!("name the spool above, --spool {}", desk.spool.canonicalize().unwrap().display());
    for words in [
        &["fsck", "--fix"][..],
        &["wait", "--to", BOB, "--timeout", "0s"],
        &["purge", "--to", BOB, "--yes"],
        &["purge", "--all", "--yes"],
        &["seed", "--to", BOB, "--count", "1"],
        &["import", letter, "--to", BOB, "--create"],
    ] {
        let output = command(&bob.path, words).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2)
                && said.contains("is itself a Maildir, the mail of one user: ")
                && said.contains(&above),
            "{words:?}: {said}"
        );
    }
    assert_eq!(fs::read_dir(&bob.path).unwrap().count(), 3, "nothing was made");
    assert_eq!(bob.files("new").len(), 1);
}

#[test]
fn u116_an_export_of_a_spool_asks_for_a_mailbox_in_it() {
    let desk = Desk::new();
    desk.maildir(BOB).put("1.x", LETTER);
    let mut export = Command::new(env!("CARGO_BIN_EXE_restante"));
    let at = desk.spool.parent().unwrap();
    let output = export.args(["export", "./spool"]).current_dir(at).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(2) && said.contains("./spool is a spool: name a mailbox in it"),
        "{said}"
    );
}
