//! `restante fsck`: its findings, its repairs, and both beside a running server.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::common::{
    Server,
    client::{Client, deliver, session_with},
    faketime, installed, skip,
    tools::{Desk, command_on, ended},
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

const BOB: &str = "bob@example.test";
const LETTER: &[u8] = b"Subject: x\n\n.dot\nlast";

/// A spool with one good mailbox in it.
fn desk() -> Desk {
    let backend = Desk::new();
    for part in ["tmp", "new", "cur"] {
        fs::create_dir_all(backend.spool.join(BOB).join(part)).unwrap();
    }
    close(&backend.spool);
    backend
}

/// Removes the permissions that a umask has left to others.
fn close(path: &Path) {
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            fs::set_permissions(entry.path(), Permissions::from_mode(0o700)).unwrap();
            close(&entry.path());
        }
    }
}

/// A file of the mailbox.
fn put(backend: &Desk, name: &str, content: &[u8]) -> PathBuf {
    let path = backend.spool.join(BOB).join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// The findings of fsck: (path below the mailbox, problem, state).
fn findings(backend: &Desk, options: &[&str], code: i32) -> BTreeSet<(String, String, String)> {
    let (printed, _) = backend.run(&[&["fsck", "--json"], options].concat(), code);
    let home = format!("{}/", backend.spool.join(BOB).display());
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    String::from_utf8(printed)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|line: Value| {
            assert!(!text(&line, "stumbles").is_empty() && !text(&line, "advice").is_empty());
            (text(&line, "path").replacen(&home, "", 1), text(&line, "problem"), text(&line, "state"))
        })
        .collect()
}

fn set(expected: &[(&str, &str, &str)]) -> BTreeSet<(String, String, String)> {
    expected.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
}

/// Everything that is there: names, modes and contents.
fn tree(path: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
        let data = entry.path().symlink_metadata().unwrap();
        let content = if data.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        all.push((entry.path(), data.mode(), content));
        if data.is_dir() {
            all.extend(tree(&entry.path()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_good_mailbox_has_no_findings() {
    let backend = desk();
    put(&backend, "cur/1.M2P3.h,S=21,W=26:2,FS", LETTER);
    put(&backend, "new/2.M2P3.h,S=21", LETTER);
    put(&backend, "new/3_1.h", LETTER);
    put(&backend, "tmp/4.h", b"under way");
    put(&backend, "dovecot-uidlist", b"");
    fs::create_dir(backend.spool.join("no mailbox")).unwrap();
    let (printed, said) = backend.run(&["fsck"], 0);
    assert_eq!(
        String::from_utf8_lossy(&printed),
        "mailboxes and folders: 1, messages: 3, findings: 0, fixed: 0\n"
    );
    assert_eq!(said, "");
}

#[test]
fn everything_wrong_is_found_and_nothing_is_changed() {
    let backend = desk();
    let mailbox = backend.spool.join(BOB);
    put(&backend, "cur/01.h,S=20:2,S", LETTER);
    put(&backend, "cur/02.h,W=30", LETTER);
    put(&backend, "cur/03.h:2,SR", LETTER);
    put(&backend, "cur/04.h:2,X", LETTER);
    put(&backend, "cur/05.h:2,S:2,R", LETTER);
    put(&backend, "cur/06:h", LETTER);
    put(&backend, "new/07.h:2,F", LETTER);
    put(&backend, "new/.08.h", LETTER);
    put(&backend, "new/09.h", b"");
    put(&backend, "new/10.h", LETTER);
    put(&backend, "cur/10.h,S=21:2,S", LETTER);
    fs::set_permissions(put(&backend, "new/11.h", LETTER), Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(put(&backend, "new/12.h", LETTER), Permissions::from_mode(0o200)).unwrap();
    let odd = mailbox.join("new").join(std::ffi::OsStr::from_bytes(b"13.\xff"));
    fs::copy(mailbox.join("new/10.h"), odd).unwrap();
    fs::create_dir(mailbox.join("new/14")).unwrap();
    symlink("10.h", mailbox.join("new/15")).unwrap();
    mknodat(CWD, mailbox.join("cur/16"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    put(&backend, ".restante.index", b"forty octets of rubbish, and some more..");
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(mailbox.join(".A/.B").join(part)).unwrap();
        fs::create_dir_all(mailbox.join(".A").join(part)).unwrap();
    }
    fs::create_dir_all(mailbox.join("plain/cur")).unwrap();
    fs::create_dir_all(mailbox.join(".C/cur")).unwrap();
    symlink("../cur", mailbox.join(".C/new")).unwrap();
    close(&backend.spool);
    let before = tree(&backend.spool);
    let found = findings(&backend, &[], 1);
    let expected = set(&[
        ("cur/01.h,S=20:2,S", "wrong-size", "found"),
        ("cur/02.h,W=30", "wrong-octets", "found"),
        ("cur/03.h:2,SR", "unsorted-flags", "found"),
        ("cur/04.h:2,X", "unknown-flags", "found"),
        ("cur/05.h:2,S:2,R", "stray-colon", "found"),
        ("cur/05.h:2,S:2,R", "unsorted-flags", "found"),
        ("cur/05.h:2,S:2,R", "unknown-flags", "found"),
        ("cur/06:h", "stray-colon", "found"),
        ("new/07.h:2,F", "flags-in-new", "note"),
        ("new/.08.h", "hidden-file", "found"),
        ("new/09.h", "empty-file", "found"),
        ("cur/10.h,S=21:2,S", "doubled-identity", "found"),
        ("new/11.h", "open-to-others", "found"),
        ("new/12.h", "closed-to-owner", "found"),
        ("new/13.\\xff", "not-utf8", "found"),
        ("new/14", "not-a-file", "found"),
        ("new/15", "not-a-file", "found"),
        ("cur/16", "not-a-file", "found"),
        (".restante.index", "broken-index", "found"),
        (".A/.B", "nested-folder", "found"),
        ("plain", "nested-folder", "found"),
        (".C/tmp", "missing-directory", "found"),
        (".C/new", "not-a-directory", "found"),
    ]);
    // Only root can read a file that its owner can't.
    let found: BTreeSet<_> = found.into_iter().filter(|(_, problem, _)| problem != "unreadable").collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    let too_many: Vec<_> = found.difference(&expected).collect();
    assert!(missing.is_empty() && too_many.is_empty(), "missing {missing:#?}\ntoo many {too_many:#?}");
    assert_eq!(tree(&backend.spool), before);
}

#[test]
fn what_is_fixed_is_not_found_again_and_no_mail_is_lost() {
    let backend = desk();
    let mailbox = backend.spool.join(BOB);
    put(&backend, "cur/01.h,S=20,W=25:2,SRR", LETTER);
    for name in ["new/02.h,S=1", "new/03.h"] {
        fs::set_permissions(put(&backend, name, LETTER), Permissions::from_mode(0o666)).unwrap();
    }
    put(&backend, ".restante.index", b"rubbish");
    fs::remove_dir(mailbox.join("tmp")).unwrap();
    put(&backend, "new/04.h", b"");
    // The right name is taken: nothing is overwritten.
    put(&backend, "cur/05.h:2,SR", LETTER);
    put(&backend, "cur/05.h:2,RS", b"another\n");
    let found = findings(&backend, &["--fix"], 1);
    let expected = set(&[
        ("cur/01.h,S=20,W=25:2,SRR", "wrong-size", "fixed"),
        ("cur/01.h,S=20,W=25:2,SRR", "wrong-octets", "fixed"),
        ("cur/01.h,S=20,W=25:2,SRR", "unsorted-flags", "fixed"),
        ("new/02.h,S=1", "wrong-size", "fixed"),
        ("new/02.h,S=1", "open-to-others", "fixed"),
        ("new/03.h", "open-to-others", "fixed"),
        (".restante.index", "broken-index", "fixed"),
        ("tmp", "missing-directory", "fixed"),
        ("new/04.h", "empty-file", "found"),
        ("cur/05.h:2,SR", "unsorted-flags", "failed"),
        ("cur/05.h:2,SR", "doubled-identity", "found"),
    ]);
    let differs: Vec<_> = found.symmetric_difference(&expected).collect();
    assert!(
        differs.iter().all(|(_, problem, _)| problem == "doubled-identity") && differs.len() <= 2,
        "{differs:#?}"
    );
    for name in ["cur/01.h,S=21,W=24:2,RS", "new/02.h,S=21", "new/03.h", "cur/05.h:2,SR"] {
        assert_eq!(fs::read(mailbox.join(name)).unwrap(), LETTER, "{name}");
    }
    assert_eq!(fs::read(mailbox.join("cur/05.h:2,RS")).unwrap(), b"another\n");
    for name in ["new/02.h,S=21", "new/03.h"] {
        assert_eq!(mailbox.join(name).metadata().unwrap().mode() & 0o777, 0o660);
    }
    let before = tree(&backend.spool);
    let again = findings(&backend, &["--fix"], 1);
    assert!(
        again.iter().all(|(path, _, state)| path.contains("04") || path.contains("05") && state != "fixed"),
        "{again:?}"
    );
    assert_eq!(tree(&backend.spool), before);
    fs::remove_file(mailbox.join("new/04.h")).unwrap();
    fs::remove_file(mailbox.join("cur/05.h:2,RS")).unwrap();
    backend.run(&["fsck", "--fix"], 0);
    backend.run(&["fsck"], 0);
}

#[test]
fn stale_files_go_from_tmp_by_both_times_alone() {
    const TEST: &str = "stale_files_go_from_tmp_by_both_times_alone";
    if !installed("faketime") || faketime().is_none() {
        return skip(TEST, "faketime is not installed");
    }
    let backend = desk();
    let file = put(&backend, "tmp/1.h", b"half a mess");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(10 * 86400);
    fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
    backend.run(&["fsck", "--fix"], 0);
    assert!(file.exists(), "it was put there just now");
    let tool = backend.command(&["fsck", "--fix"]);
    let output = Command::new("faketime")
        .arg("+2 days")
        .arg(tool.get_program())
        .args(tool.get_args())
        .output()
        .unwrap();
    ended(output, &["fsck", "--fix"], 0);
    assert!(!file.exists());
}

#[test]
fn it_runs_beside_a_server_that_delivers() {
    let server = Server::dev();
    deliver(&server, BOB, b"Subject: first\r\n\r\nx\r\n");
    let done = AtomicBool::new(false);
    let runs = thread::scope(|scope| {
        let delivering = scope.spawn(|| {
            let mut client = Client::smtp(&server);
            for n in 0..60 {
                let reply = client.deliver(&[BOB], format!("Subject: {n}\r\n\r\n.x\r\n").as_bytes());
                assert!(reply.starts_with("250"), "{reply}");
            }
            done.store(true, Ordering::Relaxed);
        });
        let reading = scope.spawn(|| {
            // A message that is read moves to cur/ during the walk.
            while !done.load(Ordering::Relaxed) {
                let mut client = Client::pop3(&server, BOB);
                client.retr(1);
                client.ask("QUIT", "+OK");
            }
        });
        let mut runs = 0;
        while !done.load(Ordering::Relaxed) || runs < 3 {
            let words = ["fsck", "--fix"];
            ended(command_on(&server.spool, &words).output().unwrap(), &words, 0);
            runs += 1;
        }
        delivering.join().unwrap();
        reading.join().unwrap();
        runs
    });
    assert!(runs >= 3);
    assert_eq!(session_with(&server, BOB, 61).listing("UIDL").len(), 61);
}

#[test]
fn a_session_goes_on_with_a_message_that_is_renamed_under_it() {
    let server = Server::dev();
    server.maildir(BOB).put("1.h,S=5:2,SR", b"Subject: x\n\nhello\n");
    let mut client = session_with(&server, BOB, 1);
    let before = client.listing("UIDL");
    let words = ["fsck", "--fix"];
    let output = command_on(&server.spool, &words).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("renamed to 1.h,S=18:2,RS"), "{output:?}");
    assert_eq!(client.retr(1), b"Subject: x\r\n\r\nhello\r\n");
    client.ask("QUIT", "+OK");
    assert_eq!(session_with(&server, BOB, 1).listing("UIDL"), before);
}

#[test]
fn what_it_cannot_look_at_is_an_error_of_usage() {
    let backend = desk();
    for words in [&["fsck", "nobody"][..], &["fsck", "../spool"], &["fsck", "bob/new"]] {
        backend.run(words, 2);
    }
    let (_, said) = backend.run(&["fsck", BOB], 0);
    assert_eq!(said, "");
    let nowhere =
        Command::new(env!("CARGO_BIN_EXE_restante")).args(["fsck", "--spool", "/nowhere"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(!Path::new("/nowhere").exists());
    assert_eq!(
        Command::new(env!("CARGO_BIN_EXE_restante")).arg("fsck").output().unwrap().status.code(),
        Some(2)
    );
}

#[test]
fn y119_the_files_of_folders_are_no_finding_until_they_are_damaged() {
    let backend = desk();
    let folder = backend.spool.join(BOB).join(".Lists");
    for part in ["tmp", "new", "cur"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    close(&backend.spool);
    put(&backend, ".restante.uidvalidity", b"1795284384\n");
    put(
        &backend,
        ".restante.folders",
        b"restante folders 1\nprepared\nuse\tSent\t.Sent\nrename\t.Lists\t.Mail\n",
    );
    put(&backend, ".restante.folders.lock", b"");
    put(&backend, "subscriptions", b"V\t2\n\nINBOX\nLists\tOne\n");
    put(&backend, "dovecot-keywords", b"0 $Junk\n25 todo\n");
    put(&backend, ".Lists/dovecot-keywords", b"0 todo\n");
    put(&backend, ".Lists/maildirfolder", b"");
    assert_eq!(findings(&backend, &[], 0), set(&[]));
    put(&backend, ".restante.uidvalidity", b"a number\n");
    put(&backend, ".restante.folders", b"restante folders 1\nuse\tSent\t../x\nrename\t.Lists\n");
    put(&backend, "subscriptions", b"V\t2\n\nINBOX\na//b\n");
    put(&backend, "dovecot-keywords", b"0 $Junk\n26 todo\n");
    put(&backend, ".Lists/dovecot-keywords", b"zero todo\n");
    let left = [
        (".Lists/dovecot-keywords", "broken-keywords", "found"),
        (".restante.folders", "broken-folders", "found"),
        ("dovecot-keywords", "broken-keywords", "found"),
        ("subscriptions", "broken-subscriptions", "found"),
    ];
    let validity = |state| (".restante.uidvalidity", "broken-uidvalidity", state);
    assert_eq!(findings(&backend, &[], 1), set(&[&left[..], &[validity("found")]].concat()));
    // Only what costs nothing is removed. A person corrects the others.
    assert_eq!(findings(&backend, &["--fix"], 1), set(&[&left[..], &[validity("fixed")]].concat()));
    assert!(!backend.spool.join(BOB).join(".restante.uidvalidity").exists());
    fs::remove_file(backend.spool.join(BOB).join("subscriptions")).unwrap();
    symlink("/etc/passwd", backend.spool.join(BOB).join("subscriptions")).unwrap();
    assert!(
        findings(&backend, &[], 1)
            .contains(&set(&[("subscriptions", "not-a-file", "found")]).pop_first().unwrap())
    );
}

#[test]
fn u43_a_file_of_the_server_that_it_cannot_open_is_a_finding() {
    let backend = desk();
    let lock = put(&backend, ".restante.lock", b"");
    findings(&backend, &[], 0);
    fs::set_permissions(&lock, Permissions::from_mode(0o000)).unwrap();
    assert_eq!(findings(&backend, &[], 1), set(&[(".restante.lock", "closed-to-owner", "found")]));
    assert_eq!(findings(&backend, &["--fix"], 0), set(&[(".restante.lock", "closed-to-owner", "fixed")]));
    assert_eq!(lock.metadata().unwrap().mode() & 0o777, 0o600);
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    assert_eq!(findings(&backend, &[], 1), set(&[(".restante.lock", "not-a-file", "found")]));
    fs::remove_dir(&lock).unwrap();
    // A lock that root made, in a mailbox of another user.
    if backend.give_away() {
        let lock = put(&backend, ".restante.lock", b"");
        let found = findings(&backend, &[], 1);
        assert_eq!(found, set(&[(".restante.lock", "foreign-owner", "found")]));
        assert_eq!(lock.metadata().unwrap().uid(), 0);
    }
}

#[test]
fn what_it_may_not_look_at_is_a_finding_and_the_others_are_looked_at() {
    let backend = desk();
    put(&backend, "new/1.h", b"");
    let closed = backend.spool.join("alice@example.test");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    // Root sees everything, unless the spool belongs to another user.
    if rustix::process::geteuid().is_root() && !backend.give_away() {
        return skip(
            "what_it_may_not_look_at_is_a_finding_and_the_others_are_looked_at",
            "nobody else can get to the spool",
        );
    }
    let found = findings(&backend, &[], 1);
    let closed_path = closed.to_str().unwrap();
    let expected = set(&[("new/1.h", "empty-file", "found"), (closed_path, "closed-to-owner", "found")]);
    assert_eq!(found, expected);
}

#[test]
fn m30_a_mailbox_that_is_a_link_or_a_file_is_named_with_its_remedy_by_fsck_and_purge() {
    let backend = desk();
    fs::write(backend.spool.join("README"), "no mailbox").unwrap();
    let (link, file) = (backend.spool.join("link@example.test"), backend.spool.join("file@example.test"));
    std::os::unix::fs::symlink("/tmp", &link).unwrap();
    fs::write(&file, "").unwrap();
    let paths = [link.to_str().unwrap(), file.to_str().unwrap()];
    let expected = set(&paths.map(|path| (path, "not-a-directory", "found")));
    assert_eq!(findings(&backend, &[], 1), expected);
    let (printed, _) = backend.run(&["fsck", "link@example.test"], 1);
    let printed = String::from_utf8(printed).unwrap();
    for words in ["link@example.test: open directory: is a symbolic link", "mount --bind", "findings: 1"] {
        assert!(printed.contains(words), "{printed}");
    }
    let (_, said) = backend.run(&["purge", "--all", "--yes"], 1);
    for words in
        ["link@example.test: open directory: is a symbolic link", "file@example.test: open directory: is not"]
    {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn m30_the_log_names_the_mailbox_that_keeps_a_message_from_its_recipients() {
    let server = Server::dev();
    std::os::unix::fs::symlink("/tmp", server.spool.join("link@example.test")).unwrap();
    let mut client = Client::smtp(&server);
    client.ask("EHLO me", "250");
    client.ask("MAIL FROM:<a@b.test>", "250 ");
    client.ask("RCPT TO:<bob@example.test>", "250 ");
    client.ask("RCPT TO:<link@example.test>", "250 ");
    client.ask("DATA", "354 ");
    client.ask("x\r\n.", "451 4.3.5 ");
    server.tells("link@example.test: open directory: is a symbolic link");
    server.tells("mount --bind");
}

#[test]
fn n106_the_commands_for_misplaced_mail_deliver_it_and_take_it_away() {
    let backend = desk();
    let letters = backend.spool.join("files/my letters");
    fs::create_dir_all(&letters).unwrap();
    for (path, name) in [(&backend.spool, "loose.eml"), (&letters, "a.eml")] {
        fs::write(path.join(name), format!("Subject: {name}\n\nx\n")).unwrap();
    }
    let program = Path::new(env!("CARGO_BIN_EXE_restante")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let (printed, _) = backend.run(&["fsck"], 1);
    let printed = String::from_utf8(printed).unwrap();
    assert_eq!(printed.matches("misplaced: ").count(), 2, "{printed}");
    let commands: Vec<&str> = printed.split('`').skip(1).step_by(2).collect();
    let typed = commands.join(" && ").replace("ADDRESS", BOB);
    let mut shell = Command::new("sh");
    shell.args(["-c", &typed]).current_dir(backend.path(".")).env("PATH", path);
    ended(shell.output().unwrap(), &[&typed], 0);
    backend.run(&["fsck"], 0);
    assert_eq!(backend.maildir(BOB).files("new").len(), 2);
    let names = fs::read_dir(&backend.spool).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = names.filter(|name| !name.as_bytes().starts_with(b".")).collect();
    assert_eq!(names, [BOB]);
}

#[test]
fn u155_the_count_of_findings_is_the_same_on_standard_output_and_in_the_error() {
    let backend = desk();
    put(&backend, "cur/1.h:2,SR", LETTER);
    put(&backend, "new/2.h:2,F", LETTER);
    put(&backend, "new/3.h", b"");
    for (options, counts, left) in [
        (&["fsck"][..], "findings: 3, fixed: 0, no problem: 1\n", "findings: 3, of which --fix repairs 1"),
        (
            &["fsck", "--fix"],
            "findings: 3, fixed: 1, no problem: 1\n",
            "findings left, to be repaired by hand: 1",
        ),
    ] {
        let (printed, said) = backend.run(options, 1);
        let printed = String::from_utf8(printed).unwrap();
        assert!(printed.ends_with(counts) && said.contains(left), "{printed}{said}");
    }
}
