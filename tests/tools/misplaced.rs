//! Mail in the spool that no login reads: `fsck` names each place, and its commands bring the mail to its readers.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::common::tools::{Desk, ended};

const BOB: &str = "bob@example.test";

/// Makes a Maildir with a new message and one with flags.
fn maildir(path: &Path) {
    for part in ["tmp", "new", "cur"] {
        fs::create_dir_all(path.join(part)).unwrap();
    }
    let name = path.file_name().unwrap().to_str().unwrap().replace([' ', '@'], "_");
    for (file, subject) in [(format!("new/1.{name}"), "new"), (format!("cur/2.{name}:2,FS"), "old")] {
        fs::write(path.join(&file), format!("Subject: {subject}\n\nx\n")).unwrap();
        fs::set_permissions(path.join(&file), Permissions::from_mode(0o600)).unwrap();
    }
}

/// The findings with that problem: the path in the spool, and the advice.
fn found(desk: &Desk, problem: &str) -> Vec<(String, String)> {
    let (printed, _) = desk.run(&["fsck", "--json"], 1);
    let printed = String::from_utf8(printed).unwrap();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let all = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let all = all.filter(|line| line["problem"] == problem);
    all.map(|line| {
        let path = text(&line, "path");
        let below = Path::new(&path).strip_prefix(&desk.spool).unwrap().to_str().unwrap().to_owned();
        (below, text(&line, "advice"))
    })
    .collect()
}

/// Runs all commands of an advice in a shell, as they are printed.
#[track_caller]
fn types(desk: &Desk, advice: &str) {
    let program = Path::new(env!("CARGO_BIN_EXE_restante")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    for command in advice.split('`').skip(1).step_by(2) {
        let mut shell = Command::new("bash");
        shell.args(["-c", command]).current_dir(desk.path(".")).env("PATH", &path);
        ended(shell.output().unwrap(), &[command], 0);
    }
}

/// The messages of a mailbox or folder: those that are new, and the flags of the others.
fn mail(desk: &Desk, name: &str) -> (usize, Vec<String>) {
    let maildir = desk.maildir(name);
    let flags = |file: &PathBuf| file.to_str().unwrap().split(":2,").nth(1).unwrap_or("?").to_owned();
    (maildir.files("new").len(), maildir.files("cur").iter().map(flags).collect())
}

#[test]
fn n115_a_maildir_whose_name_is_no_address_is_named_and_its_commands_bring_the_mail_in() {
    let desk = Desk::new();
    for name in [
        "alice@example.test",
        "Alice@Example.Test",
        "Bob@Example.Test",
        "Maildir",
        ".maildir",
        "it's mine",
        "example.test/carol",
        "example.test/dan/Maildir",
        "home@example.test/Maildir",
        "home@example.test/Maildir/.Sent",
        "Bob@Example.Test/.Sent",
        ".maildir/.Sent",
        "only@example.test/.Sent",
    ] {
        maildir(&desk.spool.join(name));
    }
    let findings = found(&desk, "misplaced");
    let names: Vec<&str> = findings.iter().map(|(path, _)| path.as_str()).collect();
    let expected = [
        "Alice@Example.Test",
        "Bob@Example.Test",
        "Maildir",
        "example.test/carol",
        "example.test/dan/Maildir",
        "home@example.test/Maildir",
        "it's mine",
        "only@example.test/.Sent",
        ".maildir",
    ];
    assert_eq!(names, expected, "{findings:#?}");
    for (name, advice) in &findings {
        if advice.contains("ADDRESS") {
            // The first command is for an address that has no mailbox yet, the others for one that has.
            let commands: Vec<&str> = advice.split('`').skip(1).step_by(2).collect();
            assert!(commands.len() == 3 && commands[0].starts_with("mv -T "), "{advice}");
            let of_new = format!("`{}`", commands[0].replace("ADDRESS", "eve@example.test"));
            let of_known = advice.replacen(&format!("`{}`", commands[0]), "", 1).replace("ADDRESS", BOB);
            types(&desk, if name == "Maildir" { &of_new } else { &of_known });
        } else {
            types(&desk, advice);
        }
    }
    let flags = |count: usize| vec!["FS".to_owned(); count];
    assert_eq!(mail(&desk, "alice@example.test"), (2, flags(2)));
    assert_eq!(mail(&desk, BOB), (3, flags(3)), "its own, and that of two Maildirs");
    assert_eq!(mail(&desk, "bob@example.test/.Sent"), (2, flags(2)));
    for name in [
        "only@example.test/.Sent",
        "eve@example.test",
        "carol@example.test",
        "dan@example.test",
        "home@example.test",
        "home@example.test/.Sent",
    ] {
        assert_eq!(mail(&desk, name), (1, flags(1)), "{name}");
    }
    for gone in expected.into_iter().filter(|name| !name.starts_with("only")) {
        assert!(!desk.spool.join(gone).exists(), "{gone}");
    }
    desk.run(&["fsck", "--fix"], 0);
}

#[test]
fn n115_a_maildir_in_a_mailbox_comes_with_the_command_that_makes_it_a_folder() {
    let desk = Desk::new();
    for name in [
        "",
        "old/lists",
        "old/lists/.2025",
        "old/more",
        ".more",
        "Maildir",
        ".Archive/.2026",
        ".Archive",
        "Entwürfe",
    ] {
        maildir(&desk.spool.join(BOB).join(name));
    }
    fs::create_dir_all(desk.spool.join(BOB).join(".old.more")).unwrap();
    let mut findings = found(&desk, "misplaced");
    assert_eq!(findings.len(), 2, "{findings:#?}");
    findings.extend(found(&desk, "nested-folder"));
    assert_eq!(findings.len(), 5, "{findings:#?}");
    for (_, advice) in &findings {
        types(&desk, advice);
    }
    for folder in [
        "",
        ".old.lists",
        ".old.lists.2025",
        ".old.more",
        ".more",
        ".Archive",
        ".Archive.2026",
        ".Entw&APw-rfe",
    ] {
        let count = if folder.is_empty() { 2 } else { 1 };
        let name = if folder.is_empty() { BOB.to_owned() } else { format!("{BOB}/{folder}") };
        assert_eq!(mail(&desk, &name), (count, vec!["FS".to_owned(); count]), "{folder}");
    }
    desk.run(&["fsck", "--fix"], 0);
}

#[test]
fn n115_an_mbox_in_the_spool_comes_with_the_command_that_imports_it() {
    let desk = Desk::new();
    maildir(&desk.spool.join(BOB));
    let mbox = "From a@far.test Sat Jan  3 10:05:34 2026\nSubject: x\n\nx\n\n";
    fs::create_dir_all(desk.spool.join("mail")).unwrap();
    for name in ["carol", "mail/dan", "eve@example.test"] {
        fs::write(desk.spool.join(name), mbox).unwrap();
    }
    // The name that the file in the place of a mailbox would get is taken.
    let taken = desk.spool.join("eve@example.test~");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("notes"), "no mail\n").unwrap();
    let mut findings = found(&desk, "misplaced");
    assert_eq!(findings.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["mail/dan", "carol"]);
    findings.extend(found(&desk, "not-a-directory"));
    assert_eq!(findings.len(), 3, "{findings:#?}");
    for (_, advice) in &findings {
        types(&desk, &advice.replace("ADDRESS", BOB));
    }
    assert_eq!(mail(&desk, BOB).0, 3);
    assert_eq!(mail(&desk, "eve@example.test").0, 1);
    assert!(taken.join("notes").exists() && !desk.spool.join("eve@example.test~2").exists());
    desk.run(&["fsck", "--fix"], 0);
}

#[test]
fn n119_a_message_file_of_a_maildir_keeps_the_flags_of_its_name() {
    let desk = Desk::new();
    maildir(&desk.spool.join(BOB));
    let files = desk.spool.join(BOB).join("files");
    fs::create_dir(&files).unwrap();
    let letter = "Subject: x\n\nx\n";
    fs::write(desk.spool.join(BOB).join("3.x:2,RS"), letter).unwrap();
    fs::write(files.join("4.x:2,T"), letter).unwrap();
    fs::write(files.join("5.x"), letter).unwrap();
    fs::write(files.join("6.x:2,"), "Subject: x\nStatus: R\n\nx\n").unwrap();
    let findings = found(&desk, "misplaced");
    assert_eq!(findings.len(), 2, "{findings:#?}");
    for (_, advice) in &findings {
        assert!(advice.contains(&format!("--to {BOB}")), "{advice}");
        types(&desk, advice);
    }
    let (new, mut flags) = mail(&desk, BOB);
    flags.sort();
    assert_eq!((new, flags), (2, ["FS", "RS", "S", "T"].map(str::to_owned).to_vec()));
    assert!(!files.exists() && !desk.spool.join(BOB).join("3.x:2,RS").exists(), "the originals are gone");
    desk.run(&["fsck", "--fix"], 0);
}

#[test]
fn m34_a_folder_that_imap_cannot_show_comes_with_the_command_that_renames_it() {
    let desk = Desk::new();
    for name in ["", ".Bad..x", ".INBOX", ".trail.", ".trail", ".Entwürfe", ".Entw&APw-rfe", "..Old"] {
        maildir(&desk.spool.join(BOB).join(name));
    }
    let findings = found(&desk, "misplaced");
    let names: Vec<&str> = findings.iter().map(|(path, _)| path.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["..Old", ".Bad..x", ".Entwürfe", ".INBOX", ".trail."], "{findings:#?}");
    for (_, advice) in &findings {
        assert!(advice.contains("mv -T "), "{advice}");
        types(&desk, advice);
    }
    for folder in [".Old", ".Bad.x", ".Entw&APw-rfe-2", ".Entw&APw-rfe", ".INBOX-2", ".trail-2", ".trail"] {
        let name = format!("{BOB}/{folder}");
        assert_eq!(mail(&desk, &name), (1, vec!["FS".to_owned()]), "{folder}");
    }
    desk.run(&["fsck", "--fix"], 0);
}
