//! mbox files of other programs: their From_ lines, flags, ends, and files that are no mbox at all.

use std::{env, fs, path::Path, process::Command};

use crate::{
    common::{
        PASSWORD_MD5, STRICT, configuration, installed, skip,
        tools::{Desk, ended},
    },
    mbox::{BOB, mbox, packed, subjects},
};

#[test]
fn u01_no_letter_is_swallowed_by_the_one_before_it_and_every_guess_is_told() {
    let backend = Desk::new();
    let first = "From s@far.test Sat Jan  3 09:00:00 2026\nSubject: 1\n\ntext\n\n";
    for (name, line, told) in [
        ("rfc", "From a@b Sun, 04 Jan 2026 08:00:00 +0000", ""),
        ("iso", "From a@b 2026-01-04 08:00", ""),
        (
            "thunderbird",
            "From ",
            "octet 59: \"From\" has no date that is understood: taken for the beginning",
        ),
        ("words", "From a@b vorgestern", "octet 59: \"From a@b vorgestern\" has no date"),
    ] {
        backend.file(name, format!("{first}{line}\nSubject: 2\n\nmore\n\n"));
        let (printed, said) = backend.run(&["import", name, "--to", name, "--create"], 0);
        assert!(String::from_utf8_lossy(&printed).contains(": 2 messages"), "{name}");
        assert!(said.contains(told) && said.is_empty() == told.is_empty(), "{name}: {said}");
        let mut found = subjects(&backend.maildir(&format!("{name}@localhost")));
        found.sort();
        assert_eq!(found, ["1", "2"], "{name}");
    }
    backend.file("text", format!("{first}From here on it is text\n\n"));
    let (printed, said) = backend.run(&["import", "text", "--to", BOB, "--create"], 0);
    assert!(String::from_utf8_lossy(&printed).contains(": 1 message in"));
    assert!(said.contains("octet 59: \"From here on it is text\" taken for text"), "{said}");
    let many = [first, &"From x\n".repeat(100)].concat();
    backend.file("many", many);
    let (_, said) = backend.run(&["import", "many", "--to", BOB], 0);
    assert!(said.lines().count() == 6 && said.contains("and 95 more"), "{said}");
}

#[test]
fn u02_what_is_no_mbox_is_named_with_what_takes_it() {
    let backend = Desk::new();
    backend.file("packed", packed(&mbox(2)));
    backend.file("note", "Note: x\n\nhello\n");
    backend.file("bz2", "BZh91AY&SY");
    backend.file("mac", String::from_utf8(mbox(2)).unwrap().replace('\n', "\r"));
    fs::create_dir(backend.path("In.mbox")).unwrap();
    backend.file("In.mbox/mbox", mbox(2));
    backend.run(&["import", "In.mbox/mbox", "--to", "alice", "--create"], 0);
    for directory in ["apple", "empty"] {
        fs::create_dir_all(backend.path(directory)).unwrap();
    }
    backend.file("apple/1.emlx", "12\nSubject: x\n\n");
    let mut tar = Command::new("tar");
    tar.args(["-czf", "all.tar.gz", "apple"]).current_dir(backend.path("."));
    ended(tar.output().unwrap(), &["tar"], 0);
    let alice = backend.maildir("alice@localhost").path;
    for (name, code, why, way) in [
        ("packed", 1, "packed: is compressed with gzip; nothing was delivered", "(add --gz)"),
        ("bz2", 1, "is compressed with bzip2", "bzcat bz2 | restante import -"),
        ("note", 1, "is neither an mbox nor one message", "no field such as From, To or Subject"),
        ("mac", 1, "lines that end in CR alone", "tr '\\r' '\\n' < mac | restante import -"),
        ("In.mbox", 2, "a folder of Apple Mail", "import In.mbox/mbox"),
        (alice.to_str().unwrap(), 2, "is a Maildir", "restante export /"),
        (alice.to_str().unwrap(), 2, "copy their Maildirs", "operator.md, Coming from Dovecot or Courier"),
        ("apple", 2, "is a folder of Apple Mail", "Export Mailbox"),
        ("spool", 2, "has Maildirs in it: import one, like spool/alice@localhost", "copy their Maildirs"),
        ("empty", 2, "empty has no file in it that is one message", "or mbox files"),
        ("all.tar.gz", 1, "is a tar archive, compressed with gzip", "unpack it with `tar -xf all.tar.gz`"),
    ] {
        let (_, said) = backend.run(&["import", name, "--to", BOB, "--create"], code);
        assert!(said.contains(why) && said.contains(way), "{name}: {said}");
    }
    let (_, said) = backend.run(&["import", "bz2", "--gz", "--to", BOB, "--create"], 1);
    assert!(said.contains("leave out --gz"), "{said}");
    // The commands that the errors name do it, as they stand.
    let program = Path::new(env!("CARGO_BIN_EXE_restante")).parent().unwrap();
    let path = format!("{}:{}", program.display(), env::var("PATH").unwrap());
    for (name, code, expected) in [("mac", 1, 2), (alice.to_str().unwrap(), 2, 4)] {
        let (_, said) = backend.run(&["import", name, "--to", BOB, "--create"], code);
        let command = said.split('`').nth(1).unwrap_or_else(|| panic!("{said}"));
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).env("PATH", &path).current_dir(backend.path("."));
        ended(shell.output().unwrap(), &[command], 0);
        assert_eq!(subjects(&backend.maildir(BOB)).len(), expected, "{command}");
    }
}

#[test]
fn u03_a_letter_that_thunderbird_deleted_is_flagged_and_pop3_does_not_show_it() {
    let backend = Desk::new();
    let mut text = String::new();
    for (n, state) in ["X-Mozilla-Status: 0001", "X-Mozilla-Status: 0009", "X-Gmail-Labels: Inbox,Starred"]
        .iter()
        .enumerate()
    {
        text += &format!("From - Sat Jan  3 09:00:0{n} 2026\n{state}\nSubject: {n}\n\ntext\n\n");
    }
    backend.file("Inbox", &text);
    let (printed, _) = backend.run(&["import", "Inbox", "--to", BOB, "--create"], 0);
    let printed = String::from_utf8_lossy(&printed).into_owned();
    assert!(printed.contains("1 of them flagged as deleted"), "{printed}");
    let names = backend.maildir(BOB).files("cur");
    let flags: Vec<_> =
        names.iter().map(|name| name.to_str().unwrap().rsplit(',').next().unwrap().to_owned()).collect();
    assert_eq!(flags, ["S", "ST", "FS"]);
    let exported = String::from_utf8(backend.run(&["export", BOB], 0).0).unwrap();
    assert_eq!(exported, text.replace("From - ", "From MAILER-DAEMON "));
}

#[test]
fn u04_a_last_letter_without_an_empty_line_after_it_is_whole() {
    let backend = Desk::new();
    let whole = mbox(50);
    backend.file("in", &whole[..whole.len() - 1]);
    backend.run(&["import", "in", "--to", BOB, "--create"], 0);
    assert_eq!(subjects(&backend.maildir(BOB)).len(), 50);
    assert!(backend.run(&["export", BOB], 0).0 == whole);
    // Half a line is half a letter, with --partial too.
    backend.file("cut", &whole[..whole.len() - 2]);
    let (_, said) = backend.run(&["import", "cut", "--to", "alice", "--create", "--partial"], 1);
    assert!(said.contains("delivered: 49 messages"), "{said}");
}

#[test]
fn u63_a_name_without_a_domain_is_read_as_a_login_and_as_mail_are() {
    let backend = Desk::new();
    backend.file("in", mbox(2));
    let (_, said) = backend.run(&["import", "in", "--to", "bob", "--create"], 0);
    assert_eq!((subjects(&backend.maildir("bob@localhost")).len(), said), (2, String::new()));
    backend.run(&["import", "in", "--to", "bob+Sent", "--create"], 0);
    backend.run(&["import", "in", "--to", "bob/.Drafts", "--create"], 0);
    for folder in ["bob@localhost/.Sent", "bob@localhost/.Drafts"] {
        assert_eq!(subjects(&backend.maildir(folder)).len(), 2, "{folder}");
    }
    let (printed, _) = backend.run(&["purge", "--to", "bob", "--yes"], 0);
    assert_eq!(String::from_utf8_lossy(&printed), "6 messages deleted\n");
    // A directory of another server is taken by its name, with a warning.
    for part in ["tmp", "new", "cur"] {
        fs::create_dir_all(backend.path("spool/carl").join(part)).unwrap();
    }
    let (_, said) = backend.run(&["import", "in", "--to", "carl", "--create"], 0);
    assert_eq!(subjects(&backend.maildir("carl")).len(), 2);
    assert!(said.contains("no login of `restante dev` reads the mailbox carl"), "{said}");
}

#[test]
fn u144_an_import_that_the_server_would_delete_is_refused_before_any_delivery() {
    let backend = Desk::new();
    backend.file("in", "From s@far.test Sat Jan  3 01:00:00 1998\nSubject: old\n\nx\n\n");
    fs::create_dir(backend.path("dir")).unwrap();
    backend.file("dir/1", "From: a@far.test\nDate: Sat, 3 Jan 1998 01:00:00 +0000\n\nx\n");
    backend.file("users.json", format!("{{{BOB:?}: {{\"password_hash\": {PASSWORD_MD5:?}}}}}"));
    let rest = format!("{STRICT}[pop3]\nexpire = \"30 days\"\n");
    backend.file("restante.toml", configuration(&backend.path("."), &backend.spool, &rest));
    let run = |words: &[&str], code| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_restante"));
        tool.args(["import", "--to", BOB, "--config", "restante.toml"]).args(words);
        tool.stdin(fs::File::open(backend.path("in")).unwrap()).current_dir(backend.path("."));
        ended(tool.output().unwrap(), words, code).1
    };
    for words in [&["in"][..], &["in", "--partial"], &["dir"]] {
        let said = run(words, 1);
        assert!(said.contains("; nothing was delivered ("), "{words:?}: {said}");
        for way in ["--even-if-expired delivers", "set expire = \"never\", reload the server"] {
            assert!(said.contains(way), "{words:?}: {said}");
        }
        assert_eq!(subjects(&backend.maildir(BOB)), [""; 0], "{words:?}");
    }
    for (n, words) in [&["in"][..], &["in", "--partial", "--again"], &["dir"], &["-"]].into_iter().enumerate()
    {
        let said = run(&[words, &["--even-if-expired"][..]].concat(), 0);
        assert!(said.contains("warning: 1 message is older than `expire"), "{words:?}: {said}");
        assert_eq!(backend.maildir(BOB).files("new").len(), n + 1, "{words:?}");
    }
}

/// Imports a file as bob's, with `expire`; standard input is the file `in`.
fn import_with_expire(backend: &Desk, expire: &str, words: &[&str], code: i32) -> String {
    backend.file("users.json", format!("{{{BOB:?}: {{\"password_hash\": {PASSWORD_MD5:?}}}}}"));
    let rest = format!("{STRICT}[pop3]\nexpire = {expire:?}\n");
    backend.file("restante.toml", configuration(&backend.path("."), &backend.spool, &rest));
    let mut tool = Command::new(env!("CARGO_BIN_EXE_restante"));
    tool.args(["import", "--to", BOB, "--config", "restante.toml"]).args(words);
    tool.stdin(fs::File::open(backend.path("in")).unwrap()).current_dir(backend.path("."));
    ended(tool.output().unwrap(), words, code).1
}

#[test]
fn u148_standard_input_with_old_messages_is_delivered_once_with_a_warning() {
    let backend = Desk::new();
    // The old message comes after a whole batch, which stays delivered.
    let young = "From s@far.test Sat Jan  3 01:00:00 2037\nSubject: young\n\nx\n\n".repeat(130);
    backend.file("in", format!("{young}From s@far.test Sat Jan  3 01:00:00 1998\nSubject: old\n\nx\n\n"));
    let said = import_with_expire(&backend, "30 days", &["-"], 0);
    assert!(said.contains("warning: 1 message is older than `expire"), "{said}");
    assert!(!said.contains("import again") && !said.contains("--even-if-expired"), "{said}");
    assert_eq!(subjects(&backend.maildir(BOB)).len(), 131);
}

#[test]
fn u149_an_import_that_was_begun_goes_on_after_its_delivered_messages_have_become_too_old() {
    let backend = Desk::new();
    let old = "From s@far.test Sat Jan  3 01:00:00 1998\nSubject: old\n\nx\n\n";
    // The last line has no end, so that the import stays incomplete.
    backend.file("in", format!("{old}{old}From s@far.test Sat Jan  3 01:00:00 2037\nSubject: young\n\nx"));
    import_with_expire(&backend, "never", &["in", "--partial"], 1);
    assert_eq!(subjects(&backend.maildir(BOB)).len(), 2);
    let said = import_with_expire(&backend, "30 days", &["in", "--partial"], 1);
    assert!(said.contains("cut: ") && !said.contains("older than"), "{said}");
    let said = import_with_expire(&backend, "30 days", &["in"], 1);
    assert!(said.contains("; nothing more was delivered ("), "{said}");
    assert_eq!(subjects(&backend.maildir(BOB)).len(), 2);
}

#[test]
fn u145_a_tag_without_its_folder_leads_into_the_mailbox_itself_as_in_delivery() {
    let backend = Desk::new();
    backend.file("in", mbox(2));
    let (_, said) = backend.run(&["import", "in", "--to", "bob+news"], 2);
    assert!(said.contains("create it with --create"), "{said}");
    backend.run(&["import", "in", "--to", "bob", "--create"], 0);
    let (printed, said) = backend.run(&["import", "in", "--to", "bob+news", "--again"], 0);
    assert!(String::from_utf8_lossy(&printed).contains("octets, into bob@localhost\n"), "{printed:?}");
    assert!(said.contains("bob@localhost has no folder .news, so the mailbox itself gets"), "{said}");
    assert_eq!(subjects(&backend.maildir("bob@localhost")).len(), 4);
    assert!(!backend.path("spool/bob@localhost/.news").exists());
    backend.run(&["import", "in", "--to", "bob/.news"], 2);
    backend.run(&["import", "in", "--to", "bob+news", "--create"], 0);
    let (printed, _) = backend.run(&["import", "in", "--to", "bob+News", "--again"], 0);
    assert!(String::from_utf8_lossy(&printed).contains("octets, into bob@localhost/.news\n"), "{printed:?}");
    assert_eq!(subjects(&backend.maildir("bob@localhost/.news")).len(), 4);
}

#[test]
fn u145_an_account_makes_the_mailbox_and_no_folder() {
    let backend = Desk::new();
    backend.file("in", mbox(2));
    backend.file("users.json", format!("{{{BOB:?}: {{\"password_hash\": {PASSWORD_MD5:?}}}}}"));
    backend.file("restante.toml", configuration(&backend.path("."), &backend.spool, STRICT));
    let words = ["import", "in", "--to", "bob+news", "--config", "restante.toml"];
    let mut tool = Command::new(env!("CARGO_BIN_EXE_restante"));
    let output = tool.args(words).current_dir(backend.path(".")).output().unwrap();
    let (_, said) = ended(output, &words, 0);
    assert!(said.contains("has no folder .news"), "{said}");
    assert_eq!(subjects(&backend.maildir(BOB)).len(), 2);
    assert!(!backend.spool.join(BOB).join(".news").exists());
}

#[test]
fn u63_with_accounts_a_name_is_in_the_first_domain_and_one_without_an_account_is_told() {
    let backend = Desk::new();
    backend.file("in", mbox(2));
    backend.file(
        "users.json",
        format!("{{{BOB:?}: {{\"password_hash\": {PASSWORD_MD5:?}, \"inbox\": \"box\"}}}}"),
    );
    backend.file("aliases", "info: bob\n");
    let config = format!("aliases = \"aliases\"\n{STRICT}");
    backend.file("restante.toml", configuration(&backend.path("."), &backend.spool, &config));
    let import = |to: &str| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_restante"));
        let words = ["import", "in", "--to", to, "--create", "--again", "--config", "restante.toml"];
        ended(tool.args(words).current_dir(backend.path(".")).output().unwrap(), &words, 0).1
    };
    for (to, mailbox, is_read) in [
        ("bob", "box", true),
        ("info", "box", true),
        ("info@example.test", "box", true),
        ("zed", "zed@example.test", false),
        ("zed@example.test", "zed@example.test", false),
    ] {
        let before = subjects(&backend.maildir(mailbox)).len();
        let said = import(to);
        assert_eq!(subjects(&backend.maildir(mailbox)).len(), before + 2, "{to}");
        let told = "no account has the mailbox zed@example.test, so no login reads it: add one with `restante user add";
        assert_eq!(said.contains(told), !is_read, "{to}: {said}");
    }
}

#[test]
fn n103_n166_the_command_for_an_account_that_an_import_prints_works_after_it() {
    let backend = Desk::new();
    backend.file("in", mbox(2));
    backend.file("users.json", "{}");
    backend.file("restante.toml", configuration(&backend.path("."), &backend.spool, STRICT));
    let program = Path::new(env!("CARGO_BIN_EXE_restante"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    for (to, code) in [("zed@example.test", 0), ("zed@other.test", 2)] {
        let words = ["import", "in", "--to", to, "--create", "--config", "restante.toml"];
        let import = Command::new(program).args(words).current_dir(backend.path(".")).output().unwrap();
        let (_, said) = ended(import, &words, code);
        assert_eq!(backend.spool.join(to).exists(), code == 0, "{said}");
        let command = said.split('`').nth(1).unwrap().replace("NAME@DOMAIN", "ann@example.test");
        let typed = format!("echo sesame | {command} --password-stdin");
        let mut shell = Command::new("sh");
        shell.args(["-c", &typed]).current_dir(backend.path(".")).env("PATH", &path);
        ended(shell.output().unwrap(), &[&typed], 0);
        let import = Command::new(program).args(words).arg("--again").current_dir(backend.path(".")).output();
        let (_, said) = ended(import.unwrap(), &words, 0);
        assert!(!said.contains("no account has the mailbox"), "{said}");
    }
}

/// A folder is a Maildir of its own, and is named if the command did not ask for it.
#[test]
fn the_folders_that_an_export_leaves_out_are_named() {
    let backend = Desk::new();
    backend.file("in", mbox(2));
    backend.run(&["import", "in", "--to", BOB, "--create"], 0);
    let (_, said) = backend.run(&["export", BOB], 0);
    assert!(!said.contains("not exported"), "{said}");
    let folder = format!("{BOB}/.Sent");
    backend.run(&["import", "in", "--to", &folder, "--create"], 0);
    let (out, said) = backend.run(&["export", BOB], 0);
    assert!(out == mbox(2) && said.contains("1 folder not exported: .Sent;"), "{said}");
    backend.run(&["export", &folder], 0);
}

#[test]
fn m33_a_restore_as_year_two_has_it_keeps_the_memory_of_imports_and_no_uids() {
    let name = "m33_a_restore_as_year_two_has_it_keeps_the_memory_of_imports_and_no_uids";
    if !installed("rsync") || !installed("bash") {
        return skip(name, "rsync or bash is not installed");
    }
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/manual/year-two.md");
    let page = fs::read_to_string(page).unwrap().replace("\\\n", " ");
    let restore = page.lines().find(|line| line.starts_with("rsync ") && line.contains("--ignore-existing"));
    let backend = Desk::new();
    backend.file("in", mbox(2));
    backend.run(&["import", "in", "--to", BOB, "--create"], 0);
    let mailbox = backend.spool.join(BOB);
    fs::create_dir(mailbox.join(".Sent")).unwrap();
    let left_out = [
        ".restante.lock",
        ".restante.folders.lock",
        ".restante.index",
        "dovecot-uidlist",
        "courierimapuiddb",
        ".Sent/.restante.index",
    ];
    let kept = [".restante.folders", ".restante.uidvalidity", "subscriptions", "dovecot-keywords"];
    for file in left_out.iter().chain(&kept) {
        fs::write(mailbox.join(file), "").unwrap();
    }
    fs::create_dir(backend.path("backup")).unwrap();
    fs::rename(&mailbox, backend.path("backup").join(BOB)).unwrap();
    let typed = restore
        .unwrap()
        .replace("~/backup/mail/alice@example.test", &format!("backup/{BOB}"))
        .replace("~/mail-server/mail/", "spool/");
    let done = Command::new("bash").args(["-c", &typed]).current_dir(backend.path(".")).output().unwrap();
    ended(done, &[&typed], 0);
    for (files, is_there) in [(&left_out[..], false), (&kept[..], true)] {
        for file in files {
            assert_eq!(mailbox.join(file).exists(), is_there, "{file}: {typed}");
        }
    }
    let (printed, _) = backend.run(&["import", "in", "--to", BOB], 0);
    assert!(String::from_utf8_lossy(&printed).contains("already imported"));
    assert_eq!(subjects(&backend.maildir(BOB)).len(), 2);
}

#[test]
fn u154_old_messages_go_into_a_folder_from_which_the_server_deletes_nothing() {
    let backend = Desk::new();
    let letter = "From: a@far.test\nDate: Sat, 3 Jan 1998 01:00:00 +0000\n\nx\n";
    backend.file("in", format!("From s@far.test Sat Jan  3 01:00:00 1998\n{letter}\n"));
    fs::create_dir(backend.path("dir")).unwrap();
    backend.file("dir/1", letter);
    backend.file("users.json", format!("{{{BOB:?}: {{\"password_hash\": {PASSWORD_MD5:?}}}}}"));
    let rest = format!("{STRICT}[pop3]\nexpire = \"30 days\"\n");
    backend.file("restante.toml", configuration(&backend.path("."), &backend.spool, &rest));
    let run = |words: &[&str], code| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_restante"));
        tool.args(["import", "--create", "--config", "restante.toml"]).args(words);
        tool.stdin(fs::File::open(backend.path("in")).unwrap()).current_dir(backend.path("."));
        ended(tool.output().unwrap(), words, code).1
    };
    let folder = format!("{BOB}/.keep");
    for (n, input) in ["in", "dir", "-"].into_iter().enumerate() {
        let said = run(&[input, "--to", "bob+keep@example.test"], 0);
        assert!(!said.contains("older than"), "{input}: {said}");
        assert_eq!(backend.maildir(&folder).files("new").len(), n + 1, "{input}");
    }
    run(&["in", "--to", BOB], 1);
    assert!(backend.maildir(BOB).files("new").is_empty());
}
