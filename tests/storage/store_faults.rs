//! Faults of the machine below the store: mailboxes replaced, other mount points, a disk that turns
//! read-only, clocks that jump, modes. The numbers in the names are those of the catalogue of faults.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::SystemTime,
};

use crate::common::{
    self, STRICT, Server, Setup,
    client::{Client, deliver, session_with, without_trace},
    disk::Mount,
    eventually, faketime, home,
    inject::{Fault, can_inject},
    skip,
};
use tempfile::TempDir;

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";

/// A file system that turns read-only at its first error.
struct Ext4 {
    mount: Mount, // it goes before its directory
    _home: TempDir,
}

impl Ext4 {
    /// Makes an empty one. Returns `None` if this user may not mount.
    fn mount(features: &str) -> Option<Self> {
        Self::mount_with(features, "loop")
    }

    /// The same, with these options of `mount`.
    fn mount_with(features: &str, options: &str) -> Option<Self> {
        let home = home();
        let (image, at) = (home.path().join("image"), home.path().join("disk"));
        fs::create_dir(&at).unwrap();
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let made =
            Command::new("mkfs.ext4").args(["-q", "-e", "remount-ro", "-O", features]).arg(&image).status();
        made.ok().filter(ExitStatus::success)?;
        let mount = Mount::new(&["-o", options, image.to_str().unwrap()], &at)?;
        Some(Self { mount, _home: home })
    }

    fn spool(&self) -> PathBuf {
        self.mount.at.join("spool")
    }

    /// Turns it read-only, as an error of the disk does, whatever files are open.
    fn fail(&self) {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let here = |line: &&str| line.split(' ').nth(1) == self.mount.at.to_str();
        let device = mounts.lines().find(here).unwrap().split([' ', '/']).nth(2).unwrap();
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
    }
}

#[test]
fn m26_a_file_gets_its_first_name_in_a_mailbox_only_where_a_journal_keeps_its_first_link() {
    let test = "m26_a_file_gets_its_first_name_in_a_mailbox_only_where_a_journal_keeps_its_first_link";
    if !can_inject(test) {
        return;
    }
    for (features, first, files) in
        [("has_journal", "linkat(", "unnamed"), ("^has_journal", "renameat2(", "named")]
    {
        let Some(disk) = Ext4::mount(features) else {
            return skip(test, "an ext4 can't be mounted here");
        };
        // In the sandbox, which must let the server see whether there is a journal.
        let spool = Some(disk.spool());
        let server = Setup { spool, config: Some(STRICT), users: &[ALICE], ..Setup::default() }.start();
        let calls = Fault::new("linkat,renameat2").of("committer").traced(&server, || {
            deliver(&server, ALICE, b"Subject: x\r\n\r\n");
        });
        let names: Vec<_> = calls.lines().filter(|line| line.contains("/new>")).collect();
        assert!(names.len() == 1 && names[0].contains(first), "{features}: {calls}");
        server.tells(&format!("storage filesystem=ext4 files={files} batches="));
    }
}

#[test]
fn m32_a_disk_without_barriers_is_warned_of_and_the_order_of_the_steps_depends_on_no_option() {
    let test = "m32_a_disk_without_barriers_is_warned_of_and_the_order_of_the_steps_depends_on_no_option";
    if !can_inject(test) {
        return;
    }
    for (options, shown) in [
        ("loop,data=writeback", "options=data=writeback spool="),
        ("loop,nobarrier,data=writeback", "options=nobarrier,data=writeback spool="),
    ] {
        let Some(disk) = Ext4::mount_with("has_journal", options) else {
            return skip(test, "an ext4 can't be mounted here");
        };
        let spool = Some(disk.spool());
        let server = Setup { spool, config: Some(STRICT), users: &[ALICE], ..Setup::default() }.start();
        server.tells(shown);
        let calls = Fault::new("fsync,fdatasync,linkat").of("committer").traced(&server, || {
            deliver(&server, ALICE, b"Subject: x\r\n\r\n");
        });
        // The content, then the name, then the directory.
        let steps: Vec<_> =
            calls.lines().filter_map(|line| line.split_once('(')).map(|(call, _)| call).collect();
        let link = steps.iter().position(|call| *call == "linkat").unwrap_or_else(|| panic!("{calls}"));
        assert!(steps[..link].contains(&"fdatasync") || steps[..link].contains(&"fsync"), "{calls}");
        assert!(steps[link..].contains(&"fsync"), "{calls}");
        let is_warned =
            |text: &str| text.contains("mounted with nobarrier") && text.contains("remount it with barriers");
        let has_none = options.contains("nobarrier");
        assert_eq!(is_warned(&server.log()), has_none, "{options}: {}", server.log());
        let file = server.home.path().join("restante.toml");
        let check =
            Command::new(env!("CARGO_BIN_EXE_restante")).args(["check", "--config"]).arg(file).output();
        let said = String::from_utf8(check.unwrap().stdout).unwrap();
        assert_eq!(is_warned(&said), has_none, "{options}: {said}");
    }
}

#[test]
fn m05_on_a_disk_that_turned_read_only_pop3_goes_on_and_nothing_else_does() {
    let test = "m05_on_a_disk_that_turned_read_only_pop3_goes_on_and_nothing_else_does";
    let Some(disk) = Ext4::mount("has_journal") else { return skip(test, "an ext4 can't be mounted here") };
    let server = Setup { spool: Some(disk.spool()), ..Setup::default() }.start();
    deliver(&server, ALICE, b"Subject: first\r\n\r\n");
    server.maildir(ALICE).put("1700000001.M1P1.elsewhere", b"foreign\n");
    deliver(&server, BOB, b"Subject: to bob\r\n\r\n");
    session_with(&server, ALICE, 2).ask("QUIT", "+OK");
    disk.fail();
    let mut client = Client::smtp(&server);
    for user in [ALICE, "new@example.test"] {
        let reply = client.deliver(&[user], b"Subject: second\r\n\r\n");
        assert!(reply.starts_with("451 4.3.0 "), "{reply:?}");
    }
    // Bob's mailbox was never locked before: there is no lock file in it.
    for (user, messages) in [(ALICE, 2), (BOB, 1)] {
        let mut reader = Client::pop3(&server, user);
        reader.ask("STAT", &format!("+OK {messages} "));
        assert!(reader.retr(messages).contains(&b'S'));
        let mut second = Client::connect(server.pop3());
        second.expect("+OK");
        second.ask(&format!("USER {user}"), "+OK");
        second.ask("PASS x", "-ERR [IN-USE]");
        reader.ask("DELE 1", "+OK");
        reader.ask("QUIT", "-ERR [SYS/TEMP] ");
    }
}

#[test]
fn m07_a_tmp_on_another_mount_is_refused_for_its_own_mailbox_alone() {
    let test = "m07_a_tmp_on_another_mount_is_refused_for_its_own_mailbox_alone";
    let server = Server::dev();
    deliver(&server, ALICE, b"Subject: first\r\n\r\n");
    let maildir = server.maildir(ALICE);
    let Some(mount) = Mount::new(&["-t", "tmpfs", "tmpfs"], &maildir.path.join("tmp")) else {
        return skip(test, "mounting needs root");
    };
    // The server may hold the directory below the mount open: what counts is that the mail is there.
    let mut client = Client::smtp(&server);
    let reply = client.deliver(&[ALICE], b"Subject: second\r\n\r\n");
    assert_eq!(reply.starts_with("250 2.0.0 "), maildir.files("new").len() == 2, "{reply:?}");
    let mut server = server;
    server.restart();
    let there = maildir.files("new").len();
    let mut client = Client::smtp(&server);
    let reply = client.deliver(&[ALICE], b"Subject: third\r\n\r\n");
    assert!(reply.starts_with("451 4.3.5 "), "{reply:?}");
    assert_eq!((maildir.files("new").len(), maildir.files("tmp").len()), (there, 0));
    let reply = client.deliver(&[BOB], b"Subject: to bob\r\n\r\n");
    assert!(reply.starts_with("250 2.0.0 "), "{reply:?}");
    Client::pop3(&server, ALICE).ask("STAT", &format!("+OK {there} "));
    drop(mount);
    eventually("the mount is gone", || {
        Client::smtp(&server).deliver(&[ALICE], b"Subject: x\r\n\r\n").starts_with("250 ").then_some(())
    });
}

#[test]
fn m09_a_maildir_that_was_replaced_is_the_one_that_gets_and_shows_mail() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    deliver(&server, ALICE, b"Subject: old\r\n\r\n");
    session_with(&server, ALICE, 1).ask("QUIT", "+OK");
    for round in 1..=5 {
        let aside = server.spool.join(format!("aside{round}"));
        fs::rename(&maildir.path, &aside).unwrap();
        // Some programs put a new Maildir there, and sometimes there is none.
        if round % 2 == 0 {
            maildir.put("1700000001.M1P1.elsewhere", b"restored\n");
            assert_eq!(session_with(&server, ALICE, 1).retr(1), b"restored\r\n");
        }
        let before = fs::read_dir(aside.join("new")).unwrap().count();
        deliver(&server, ALICE, format!("Subject: {round}\r\n\r\n").as_bytes());
        assert_eq!(fs::read_dir(aside.join("new")).unwrap().count(), before, "nothing goes to the old one");
        let messages = 1 + usize::from(round % 2 == 0);
        let mut client = session_with(&server, ALICE, messages);
        assert!(client.retr(messages).ends_with(format!("Subject: {round}\r\n\r\n").as_bytes()));
    }
}

#[test]
fn m09_directories_of_a_maildir_that_were_replaced_get_and_show_mail() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    deliver(&server, ALICE, b"Subject: first\r\n\r\n");
    session_with(&server, ALICE, 1).ask("QUIT", "+OK");
    for sub in ["new", "tmp", "cur"] {
        let dir = maildir.path.join(sub);
        fs::rename(&dir, maildir.path.join(format!("{sub}.old"))).unwrap();
        fs::create_dir(&dir).unwrap();
        deliver(&server, ALICE, format!("Subject: {sub}\r\n\r\n").as_bytes());
        let delivered = format!("Subject: {sub}\n\n");
        let has_it = |file: &PathBuf| fs::read(file).unwrap().ends_with(delivered.as_bytes());
        assert!(maildir.files("new").iter().any(has_it), "{sub}");
        let there = maildir.files("new").len();
        session_with(&server, ALICE, there).ask("QUIT", "+OK");
        fs::remove_dir_all(&dir).unwrap();
        let reply = Client::smtp(&server).deliver(&[ALICE], b"Subject: second\r\n\r\n");
        assert!(reply.starts_with("250 2.0.0 "), "{sub}: {reply:?}");
        let there = maildir.files("new").len();
        assert!(there > 0);
        session_with(&server, ALICE, there).ask("QUIT", "+OK");
    }
}

#[test]
fn m09_a_maildir_removed_in_mid_session_is_missing_messages_and_no_more() {
    let server = Server::dev();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    let mut client = session_with(&server, ALICE, 1);
    fs::remove_dir_all(server.maildir(ALICE).path).unwrap();
    client.ask("RETR 1", "-ERR");
    client.ask("DELE 1", "+OK");
    let reply = client.send("QUIT").reply();
    assert!(reply.starts_with("+OK") || reply.starts_with("-ERR [SYS/"), "{reply:?}");
    deliver(&server, ALICE, b"Subject: y\r\n\r\n");
    assert!(session_with(&server, ALICE, 1).retr(1).ends_with(b"Subject: y\r\n\r\n"));
}

#[test]
fn m13_mail_comes_and_goes_while_the_clock_jumps() {
    let Some(library) = faketime() else {
        return skip("m13_mail_comes_and_goes_while_the_clock_jumps", "libfaketime is not installed");
    };
    let home = home();
    let clock = home.path().join("clock");
    fs::write(&clock, "+0").unwrap();
    let preload = format!("LD_PRELOAD={}", library.display());
    let file = format!("FAKETIME_TIMESTAMP_FILE={}", clock.display());
    let wrapper = ["env", &preload, &file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    let server = Setup { wrapper: &wrapper, ..Setup::default() }.start();
    let mut reader = Client::pop3(&server, BOB);
    let mut client = Client::smtp(&server);
    let clocks = ["-1h", "+10y", "1970-01-01 00:00:00", "+0", "2038-01-19 03:14:08", "-30d"];
    for (i, time) in clocks.iter().enumerate() {
        fs::write(&clock, time).unwrap();
        let reply = client.deliver(&[ALICE], format!("Subject: {time}\r\n\r\n").as_bytes());
        assert!(reply.starts_with("250 2.0.0 "), "{time}: {reply:?}");
        reader.ask("NOOP", "+OK");
        Client::pop3(&server, ALICE).ask("STAT", &format!("+OK {} ", i + 1));
    }
    let seconds = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        name.split('.').next().unwrap().parse::<u64>().unwrap()
    };
    let times: BTreeSet<u64> = server.maildir(ALICE).files("new").iter().map(seconds).collect();
    assert!(times.first() < Some(&86_400), "the server has seen 1970: {times:?}");
    let mut client = Client::pop3(&server, ALICE);
    assert_eq!(client.listing("UIDL").iter().collect::<BTreeSet<_>>().len(), clocks.len());
    client.ask("QUIT", "+OK");
    reader.ask("QUIT", "+OK");
}

#[test]
fn r2_a_clock_that_is_years_ahead_expires_nothing_at_the_start_and_while_it_runs() {
    let test = "r2_a_clock_that_is_years_ahead_expires_nothing_at_the_start_and_while_it_runs";
    let Some(library) = faketime() else { return skip(test, "libfaketime is not installed") };
    let home = home();
    let clock = home.path().join("clock");
    let preload = format!("LD_PRELOAD={}", library.display());
    let file = format!("FAKETIME_TIMESTAMP_FILE={}", clock.display());
    let wrapper = ["env", &preload, &file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    let config = format!("sandbox = \"off\"\n{STRICT}\n[pop3]\nexpire = \"30 days\"\n");
    for begins in ["+0", "+10y"] {
        fs::write(&clock, begins).unwrap();
        let spool = home.path().join(begins);
        let alice = common::Maildir { path: spool.join(ALICE) };
        alice.put("1.old.by.its.name.alone", b"Subject: unread\n\n");
        let users = &[ALICE][..];
        let config = Some(&*config);
        let mut server =
            Setup { wrapper: &wrapper, config, users, spool: Some(spool), ..Setup::default() }.start();
        for _ in 0..2 {
            fs::write(&clock, "+10y").unwrap();
            let mut client = Client::pop3(&server, ALICE);
            client.ask("STAT", "+OK 1 ");
            client.ask("QUIT", "+OK");
            assert_eq!(alice.files("new").len(), 1, "{begins}: it is there still");
            server.tells("the clock is ahead");
            server.restart(); // the clock is wrong from the start now
        }
    }
}

#[test]
fn m14_names_differ_when_nothing_but_chance_does() {
    let test = "m14_names_differ_when_nothing_but_chance_does";
    let Some(library) = faketime() else { return skip(test, "libfaketime is not installed") };
    // As in containers: each server is process 1 or nearly so, at the same moment of the same clock.
    let preload = format!("LD_PRELOAD={}", library.display());
    let wrapper = [
        "unshare",
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child",
        "env",
        &preload,
        "FAKETIME=2026-01-01 00:00:00",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    ];
    let probe = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").status();
    if !probe.is_ok_and(|status| status.success()) {
        return skip(test, "a namespace of processes can't be made here");
    }
    let mut server = Setup { wrapper: &wrapper, ..Setup::default() }.start();
    for start in 0..5 {
        for number in 0..5 {
            deliver(&server, ALICE, format!("Subject: {start} {number}\r\n\r\n").as_bytes());
        }
        server.restart();
    }
    let files = server.maildir(ALICE).files("new");
    let subjects: BTreeSet<Vec<u8>> =
        files.iter().map(|file| without_trace(&fs::read(file).unwrap()).to_vec()).collect();
    assert_eq!(subjects.len(), 25, "each message is there once");
    let front = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        name.split('R').next().unwrap().to_owned()
    };
    let fronts: BTreeSet<String> = files.iter().map(front).collect();
    assert!(fronts.len() < files.len(), "time, process and count alone were the same: {fronts:?}");
}

#[test]
fn m19_where_the_kernel_tells_nothing_logins_are_right() {
    let test = "m19_where_the_kernel_tells_nothing_logins_are_right";
    let home = home();
    let [lower, upper, work, merged] =
        ["lower", "upper", "work", "merged"].map(|name| home.path().join(name));
    [&lower, &upper, &work, &merged].iter().for_each(|dir| fs::create_dir(dir).unwrap());
    let dirs =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    // A change in the upper directory itself is no event in the merged one.
    let Some(_mount) = Mount::new(&["-t", "overlay", "overlay", "-o", &dirs], &merged) else {
        return skip(test, "an overlay can't be mounted here");
    };
    let server = Setup { spool: Some(merged.join("spool")), ..Setup::default() }.start();
    deliver(&server, ALICE, b"Subject: x\r\n\r\n");
    session_with(&server, ALICE, 1).ask("QUIT", "+OK");
    let behind = common::Maildir { path: upper.join("spool").join(ALICE) };
    for round in 1..=2 {
        behind.put(&format!("170000000{round}.M1P1.elsewhere"), b"from behind\n");
        session_with(&server, ALICE, round + 1).ask("QUIT", "+OK");
    }
    for round in 1..=2 {
        fs::remove_file(behind.path.join(format!("new/170000000{round}.M1P1.elsewhere"))).unwrap();
        session_with(&server, ALICE, 3 - round).ask("QUIT", "+OK");
    }
}

/// All below a directory: kind and mode, time, content.
fn tree(dir: &Path) -> BTreeMap<PathBuf, (u32, Option<SystemTime>, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let (path, about) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
        if about.is_dir() {
            found.extend(tree(&path));
            found.insert(path, (about.mode(), about.modified().ok(), Vec::new()));
        } else {
            let content = fs::read(&path).unwrap();
            found.insert(path, (about.mode(), about.modified().ok(), content));
        }
    }
    found
}

#[test]
fn m24_the_files_of_other_programs_beside_ours_stay_as_they_are() {
    let server = Server::dev();
    let maildir = server.maildir(ALICE);
    maildir.put("1700000001.M1P1.elsewhere,S=6,W=7:2,S", b"first\n");
    for (name, content) in [
        ("dovecot-uidlist", "3 V1700000000 N2 G0\n1 :1700000001.M1P1.elsewhere,S=6,W=7\n"),
        ("dovecot.index.log", "\u{1}\u{2}binary"),
        ("dovecot-keywords", "0 Junk\n"),
        ("maildirsize", "1000000S\n6 1\n"),
        ("courierpop3dsizelist", "/2 1 1700000000\n"),
        (".mailfilter", "to Maildir\n"),
        ("subscriptions", "Sent\n"),
    ] {
        fs::write(maildir.path.join(name), content).unwrap();
    }
    for folder in [".Sent", ".Trash", ".Lists.rust"] {
        for sub in ["tmp", "new", "cur"] {
            fs::create_dir_all(maildir.path.join(folder).join(sub)).unwrap();
            fs::write(maildir.path.join(folder).join(sub).join("1700000009.elsewhere"), "kept\n").unwrap();
        }
        fs::write(maildir.path.join(folder).join("maildirfolder"), "").unwrap();
    }
    let foreign = |path: &Path| {
        let name = path.strip_prefix(&maildir.path).unwrap().components().next().unwrap();
        let name = name.as_os_str().to_str().unwrap();
        !["tmp", "new", "cur"].contains(&name) && !name.starts_with(".restante")
    };
    let others =
        || tree(&maildir.path).into_iter().filter(|(path, _)| foreign(path)).collect::<BTreeMap<_, _>>();
    let before = others();
    assert!(before.len() > 20);
    for _ in 0..2 {
        deliver(&server, ALICE, b"Subject: x\r\n\r\n");
        let mut client = session_with(&server, ALICE, 2);
        client.retr(1);
        client.retr(2);
        client.ask("DELE 2", "+OK");
        client.ask("QUIT", "+OK");
    }
    assert_eq!(others(), before);
}

#[test]
fn m27_modes_are_ours_whatever_the_umask_and_setgid_stays() {
    for umask in ["000", "027", "777"] {
        let script = format!("umask {umask}; exec \"$@\"");
        // The files around the mailboxes were made by the test; the log and the ports file are not looked at.
        let server = Setup {
            wrapper: &["sh", "-c", &script, "sh"],
            config: Some(STRICT),
            users: &[ALICE, BOB],
            ..Setup::default()
        };
        let server = server.start();
        let bob = server.maildir(BOB);
        bob.put("1700000001.M1P1.elsewhere", b"x\n");
        for sub in ["tmp", "new", "cur"] {
            fs::set_permissions(bob.path.join(sub), fs::Permissions::from_mode(0o2750)).unwrap();
        }
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        for user in [ALICE, BOB] {
            deliver(&server, user, b"Subject: x\r\n\r\n");
            let maildir = server.maildir(user);
            assert_eq!(mode(maildir.files("new").last().unwrap()), 0o600, "umask {umask}");
            let expected = if user == BOB { 0o2750 } else { 0o700 };
            for sub in ["tmp", "new", "cur"] {
                assert_eq!(mode(&maildir.path.join(sub)), expected, "umask {umask}");
            }
        }
        let mut client = session_with(&server, ALICE, 1);
        client.retr(1);
        client.ask("QUIT", "+OK");
        assert_eq!(mode(&server.maildir(ALICE).files("cur")[0]), 0o600, "umask {umask}");
    }
}
