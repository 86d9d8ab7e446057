//! `restante purge`, and the refusals that it shares with `restante seed`.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    common::{
        self, STRICT, Server,
        client::{Client, deliver, session_with},
        configuration,
        disk::{Mount, SmallDisk},
        home, installed, skip,
        tools::{Desk, command_on},
        write_private,
    },
    wait::{BOB, LETTER, command, run, said},
};

#[test]
fn u40_a_refusal_of_seed_and_purge_names_each_option_that_would_do() {
    let dir = home();
    for (words, options) in
        [(&["seed", "--to", BOB][..], ["--nasty", "--count"]), (&["purge", "--yes"], ["--to", "--all"])]
    {
        let told = command(dir.path(), words).output().unwrap();
        let told = String::from_utf8(told.stderr).unwrap();
        let first = told.split("Usage:").next().unwrap();
        assert!(options.iter().all(|option| first.contains(option)), "{told}");
    }
}

#[test]
fn u64_a_directory_that_is_no_spool_is_left_alone() {
    let dir = home();
    let file = dir.path().join("src/new/file");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "work").unwrap();
    for words in [&["purge", "--all", "--yes"][..], &["fsck", "--fix"]] {
        let output = command(dir.path(), words).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2) && told.contains("has no mailbox in it"),
            "{words:?}: {told}"
        );
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "work");
    assert_eq!(fs::read_dir(dir.path().join("src")).unwrap().count(), 1, "nothing was made");
}

#[test]
fn u75_fsck_without_fix_and_purge_refuse_the_same_directory() {
    let dir = home();
    fs::create_dir(dir.path().join("src")).unwrap();
    let told = [&["purge", "--all", "--yes"][..], &["fsck"]].map(|words| {
        let output = command(dir.path(), words).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    });
    assert!(told[0].0 == Some(2) && told[0].1.contains("has no mailbox in it"), "{told:?}");
    assert_eq!(told[0], told[1]);
}

#[test]
fn u40_a_purge_asks_with_the_spool_and_the_number_of_messages() {
    if !installed("script") {
        return skip("u40_a_purge_asks_with_the_spool_and_the_number_of_messages", "there is no script(1)");
    }
    let backend = Desk::new();
    backend.run(&["seed", "--to", BOB, "--count", "2"], 0);
    backend.run(&["seed", "--to", "eve@example.test", "--count", "1"], 0);
    for (words, count) in [(format!("--to {BOB}"), "2 messages"), ("--all".into(), "3 messages")] {
        let restante = env!("CARGO_BIN_EXE_restante");
        let line = format!("'{restante}' purge {words} --spool '{}'", backend.spool.display());
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = script.spawn().unwrap();
        script.stdin.take().unwrap().write_all(b"n\n").unwrap();
        let told = script.wait_with_output().unwrap().stdout;
        let told = String::from_utf8_lossy(&told).into_owned();
        let question = format!("in {} ({count})? [y/N]", backend.spool.display());
        assert!(told.contains(&question) && told.contains("nothing was deleted"), "{told}");
    }
}

#[test]
fn a_purge_beside_a_session_leaves_both_well() {
    let server = Server::dev();
    deliver(&server, BOB, LETTER);
    deliver(&server, BOB, LETTER);
    let mut session = Client::pop3(&server, BOB);
    session.ask("STAT", "+OK 2 ");
    let purge = ["purge", "--to", BOB, "--yes"];
    assert_eq!(run(&server.spool, &purge), (vec!["2 messages deleted".to_owned()], 0));
    session.ask("RETR 1", "-ERR");
    session.ask("DELE 2", "+OK");
    session.ask("QUIT", "+OK");
    deliver(&server, BOB, LETTER);
    session_with(&server, BOB, 1).retr(1);
    assert_eq!(run(&server.spool, &purge).0, ["1 message deleted"]);
    assert_eq!(run(&server.spool, &purge).0, ["0 messages deleted"]);
}

#[test]
fn a_purge_takes_the_folders_of_a_mailbox_and_only_what_was_named() {
    let server = Server::dev();
    let mailbox = server.spool.join(BOB);
    deliver(&server, BOB, LETTER);
    for folder in [".lists", ".Sent"] {
        common::Maildir { path: mailbox.join(folder) }.put("1.x", LETTER);
    }
    deliver(&server, "eve@example.test", LETTER);
    let count = |words: &[&str]| run(&server.spool, &[&["purge", "--yes"], words].concat()).0.remove(0);
    assert_eq!(count(&["--to", "bob+lists@example.test"]), "1 message deleted");
    assert_eq!(count(&["--to", BOB]), "2 messages deleted");
    assert_eq!(count(&["--to", "nobody@example.test"]), "0 messages deleted");
    assert_eq!(count(&["--all"]), "1 message deleted");
}

#[test]
fn u114_a_purge_takes_the_messages_that_a_client_of_imap_has_deleted() {
    let backend = Desk::new();
    let bob = backend.maildir(BOB);
    let others: &[u8] = b"To: eve@example.test\n\nx\n";
    for (name, letter) in [("1.x:2,", LETTER), ("2.x:2,ST", LETTER), ("3.x:2,T", others)] {
        fs::rename(bob.put(name, letter), bob.path.join("cur").join(name)).unwrap();
    }
    bob.put("4.x", b"To: bob+news@example.test\n\nx\n");
    let news = "4.x:2,ST";
    fs::rename(bob.path.join("new/4.x"), bob.path.join("cur").join(news)).unwrap();
    let purge = |to| run(&backend.spool, &["purge", "--to", to, "--yes"]).0;
    assert_eq!(purge("bob+news@example.test"), ["1 message deleted"]);
    assert!(!bob.path.join("cur").join(news).exists());
    assert_eq!(purge(BOB), ["3 messages deleted"]);
    assert!(bob.files("cur").is_empty());
}

#[test]
fn u36_a_purge_takes_the_mail_that_a_wait_for_the_same_address_finds() {
    let server = Server::dev();
    let mailbox = server.spool.join(BOB);
    let tagged = "bob+news@example.test";
    for to in [BOB, tagged, tagged, "bob+other@example.test"] {
        deliver(&server, to, LETTER);
    }
    common::Maildir { path: mailbox.join(".news") }.put("1.x", LETTER);
    assert_eq!(run(&server.spool, &["wait", "--to", tagged, "--count", "3"]).1, 0);
    let purge = ["purge", "--to", tagged, "--yes"];
    assert_eq!(run(&server.spool, &purge), (vec!["3 messages deleted".to_owned()], 0));
    assert_eq!(run(&server.spool, &["wait", "--to", tagged, "--timeout", "0s"]).1, 1);
    assert_eq!(run(&server.spool, &["wait", "--to", BOB, "--count", "2"]).1, 0);
}

#[test]
fn u36_a_purge_of_a_mailbox_that_does_not_exist_says_so() {
    let server = Server::dev();
    deliver(&server, BOB, LETTER);
    for (to, mailbox) in [("bob", "bob@localhost"), ("nosuch@example.test", "nosuch@example.test")] {
        let output =
            command(&server.spool, &["purge", "--to", to, "--yes"]).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(said(&output), (vec!["0 messages deleted".to_owned()], 0));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(&format!("no mailbox {mailbox} in ")), "{told}");
    }
}

#[test]
fn u134_a_purge_that_could_delete_nothing_prints_no_count() {
    let desk = Desk::new();
    let bob = desk.maildir(BOB);
    bob.put("1.x", LETTER);
    if rustix::process::geteuid().is_root() && !desk.give_away() {
        return skip(
            "u134_a_purge_that_could_delete_nothing_prints_no_count",
            "nobody else can get to the spool",
        );
    }
    let new = bob.path.join("new");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o500)).unwrap();
    let (printed, said) = desk.run(&["purge", "--all", "--yes"], 1);
    assert!(printed.is_empty(), "{:?}", String::from_utf8_lossy(&printed));
    assert!(said.contains("nothing was deleted: 1 mailbox or folder could not be emptied: "), "{said}");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o700)).unwrap();
    let (printed, _) = desk.run(&["purge", "--all", "--yes"], 0);
    assert_eq!(printed, b"1 message deleted\n");
}

#[test]
fn n77_a_purge_on_a_read_only_disk_says_so_and_does_not_lead_to_fsck() {
    let test = "n77_a_purge_on_a_read_only_disk_says_so_and_does_not_lead_to_fsck";
    let Some(disk) = SmallDisk::mount("1m") else {
        return skip(test, "only root may mount a small disk");
    };
    let remount = |options: &str| {
        let done = Command::new("mount").args(["-o", options]).arg(disk.dir.path()).status().unwrap();
        assert!(done.success(), "{options}");
    };
    let backend = Desk::new();
    let purge = |spool: &Path| {
        let output = command_on(spool, &["purge", "--all", "--yes"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("is read-only; see the log of the kernel (dmesg)") && !said.contains("fsck"),
            "{said}"
        );
        said
    };
    // The disk of the spool, before anything is tried.
    let bob = common::Maildir { path: disk.dir.path().join(BOB) };
    bob.put("1.x", LETTER);
    remount("remount,ro");
    assert!(purge(disk.dir.path()).contains("nothing was deleted"));
    // The disk of a mailbox.
    fs::create_dir(backend.spool.join(BOB)).unwrap();
    let at = backend.spool.join(BOB);
    let Some(_mount) = Mount::new(&["--bind", bob.path.to_str().unwrap()], &at) else {
        return skip(test, "cannot mount");
    };
    assert!(purge(&backend.spool).contains("1 mailbox or folder could not be emptied: the disk of "));
    assert_eq!(bob.files("new").len(), 1);
}

#[test]
fn n94_a_mistake_in_the_aliases_stops_no_tool_that_needs_none() {
    let home = home();
    let at = |name: &str| home.path().join(name);
    fs::create_dir_all(at("spool")).unwrap();
    for part in ["tmp", "new", "cur"] {
        fs::create_dir_all(at("spool").join(BOB).join(part)).unwrap();
    }
    fs::write(at("users.json"), format!("{{{BOB:?}: {{\"password_hash\": {:?}}}}}", common::PASSWORD_MD5))
        .unwrap();
    let config = format!("aliases = \"aliases\"\n{}", common::STRICT);
    fs::write(at("restante.toml"), common::configuration(home.path(), &at("spool"), &config)).unwrap();
    let restante = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        let command = command.args(words).arg("--config").arg(at("restante.toml")).stdin(Stdio::null());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let letter = || fs::write(at("spool").join(BOB).join("new/1.a.b"), LETTER).unwrap();
    letter();
    let export = ["export", "team@example.test", "--output", "-"];
    fs::write(at("aliases"), "team: bob\n").unwrap();
    let (code, said) = restante(&export);
    assert!(code == Some(0) && !said.contains("aliases"), "{said}");
    for broken in [Some("team: nobody\n"), None] {
        match broken {
            Some(text) => fs::write(at("aliases"), text).unwrap(),
            None => fs::remove_file(at("aliases")).unwrap(),
        }
        letter();
        for words in [
            &["fsck"][..],
            &["wait", "--to", BOB, "--timeout", "0s"],
            &["export", "bob", "--output", "-"],
            &["purge", "--to", BOB, "--yes"],
        ] {
            let (code, said) = restante(words);
            // The modes of these directories may be findings.
            assert!(code == Some(0) || words == ["fsck"] && code == Some(1), "{words:?}: {said}");
            assert!(said.contains("goes on without the aliases: "), "{words:?}: {said}");
        }
        // An alias may have the address: no other mailbox is taken for it.
        for words in [&export[..], &["wait", "--to", "team@example.test", "--timeout", "0s"]] {
            let (code, said) = restante(words);
            assert!(code == Some(2) && said.contains("and no alias is known: "), "{words:?}: {said}");
        }
    }
}

#[test]
fn n159_a_mailbox_without_an_account_comes_with_the_option_that_reaches_it() {
    let home = home();
    let (file, spool) = (home.path().join("restante.toml"), home.path().join("spool"));
    fs::write(&file, configuration(home.path(), &spool, STRICT)).unwrap();
    write_private(&home.path().join("users.json"), &format!("{{{BOB:?}: {{\"password_hash\": \"!\"}}}}"));
    for part in ["tmp", "new", "cur"] {
        fs::create_dir_all(spool.join("old@example.test").join(part)).unwrap();
    }
    fs::write(spool.join("old@example.test/new/1"), "Subject: x\n\n").unwrap();
    let told = |to: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        let output = command.args(["purge", "--yes", "--to", to, "--config"]).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    for to in ["old", "old@example.test"] {
        let told = told(to);
        let way = format!("`--to old@example.test --spool {}` in place of --config", spool.display());
        assert!(
            told.contains(": no account has that address; its mailbox is there, and ") && told.contains(&way),
            "{told}"
        );
    }
    for (to, why) in
        [("nosuch", "no account has that address"), ("x@far.test", "not in a domain of this server")]
    {
        let told = told(to);
        assert!(told.contains(&format!("{to}: {why}; `restante user list --config ")), "{told}");
    }
    let (lines, code) = run(&spool, &["purge", "--to", "old@example.test", "--yes"]);
    assert_eq!((lines, code), (vec!["1 message deleted".to_owned()], 0));
}
