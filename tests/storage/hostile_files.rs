//! Files that another user of the machine has put where the server or a tool reads or writes: links, FIFOs, second
//! names, figures that are not ours.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::common::{
    self, STRICT, Setup,
    client::{Client, deliver},
    eventually, home, listener_at, programs, skip,
    tools::{Desk, NOBODY},
};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat},
    process::geteuid,
};

pub(crate) const BOB: &str = "bob@example.test";
const LETTER: &[u8] = b"Subject: x\r\n\r\nA letter.\r\n";

/// An odd entry in the place of a file: its name, and a function that makes it. `victim` is a file of root's.
type Trap = (&'static str, fn(victim: &Path, at: &Path));

const TRAPS: [Trap; 3] = [
    ("a link", |victim, at| symlink(victim, at).unwrap()),
    ("a second name", |victim, at| fs::hard_link(victim, at).unwrap()),
    ("a FIFO", |_, at| fifo(at)),
];

pub(crate) fn fifo(at: &Path) {
    mknodat(CWD, at, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// A command that must not wait for other programs: it is ended, with another code, after half a minute.
pub(crate) fn restante(words: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["30", env!("CARGO_BIN_EXE_restante")]).args(words);
    command
}

#[track_caller]
fn said(output: &Output, code: i32) -> String {
    let all = [output.stdout.as_slice(), b"\n--\n", &output.stderr].concat();
    let all = String::from_utf8(all).unwrap();
    assert_eq!(output.status.code(), Some(code), "{all}");
    all
}

/// A directory with a file of root's, and a directory in it that belongs to another user.
fn two_users(test: &str) -> Option<(tempfile::TempDir, PathBuf, PathBuf)> {
    if !geteuid().is_root() {
        skip(test, "not run by root");
        return None;
    }
    let home = home();
    let (victim, theirs) = (home.path().join("victim"), home.path().join("theirs"));
    fs::write(&victim, "of root").unwrap();
    fs::set_permissions(&victim, PermissionsExt::from_mode(0o600)).unwrap();
    fs::create_dir(&theirs).unwrap();
    fs::set_permissions(home.path(), PermissionsExt::from_mode(0o711)).unwrap();
    chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
    Some((home, victim, theirs))
}

#[test]
fn x3_a_server_of_root_writes_no_figures_into_a_directory_of_another_user() {
    let Some((_home, victim, theirs)) =
        two_users("x3_a_server_of_root_writes_no_figures_into_a_directory_of_another_user")
    else {
        return;
    };
    for (trap, put) in TRAPS {
        let names = ["figures.prom", "figures.prom.new"].map(|name| theirs.join(name));
        names.iter().for_each(|at| put(&victim, at));
        let config = format!("[metrics]\nfile = {:?}\ninterval = \"1s\"\n{STRICT}", names[0]);
        let server = Setup { config: Some(&config), users: &[BOB], ..Setup::default() }.start();
        server.tells("metrics not written: ");
        server.tells("theirs is not trusted: it is of user 65534");
        deliver(&server, BOB, LETTER);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "of root", "{trap}");
        assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o777, 0o600, "{trap}");
        drop(server);
        names.iter().for_each(|at| fs::remove_file(at).unwrap());
    }
}

#[test]
fn x3_figures_are_replaced_whatever_is_in_their_place() {
    let home = home();
    let (victim, directory) = (home.path().join("victim"), home.path().join("figures"));
    fs::create_dir(&directory).unwrap();
    for (trap, put) in TRAPS {
        fs::write(&victim, "# restante kept").unwrap();
        let file = directory.join("figures.prom");
        put(&victim, &file);
        put(&victim, &directory.join("figures.prom.new"));
        let config = format!("[metrics]\nfile = {file:?}\ninterval = \"1s\"\n{STRICT}");
        let server = Setup { config: Some(&config), users: &[BOB], ..Setup::default() }.start();
        eventually("figures are there", || {
            let is_file = file.symlink_metadata().is_ok_and(|about| about.is_file() && about.nlink() == 1);
            (is_file && fs::read_to_string(&file).ok()?.starts_with("# restante ")).then_some(())
        });
        assert_eq!(fs::read_to_string(&victim).unwrap(), "# restante kept", "{trap}");
        drop(server);
        fs::remove_dir_all(&directory).unwrap();
        fs::create_dir(&directory).unwrap();
    }
}

/// A file of figures, as `status` takes it.
pub(crate) fn figures(about: &str) -> String {
    format!("# restante {about}\nrestante_start_time_seconds 1\nrestante_written_every_seconds 1e9\n")
}

#[test]
fn x3_status_of_root_reads_no_figures_of_another_user_and_waits_for_no_fifo() {
    let Some((home, _, theirs)) =
        two_users("x3_status_of_root_reads_no_figures_of_another_user_and_waits_for_no_fifo")
    else {
        return;
    };
    // sudo may keep the environment of the user who calls it.
    let status = |runtime: &Path| {
        let mut command = restante(&["status"]);
        command.env("XDG_RUNTIME_DIR", runtime).env("HOME", home.path()).env_remove("XDG_STATE_HOME");
        command.output().unwrap()
    };
    let directory = theirs.join("restante");
    fs::create_dir(&directory).unwrap();
    fifo(&directory.join("00000000.prom"));
    fs::write(directory.join("11111111.prom"), figures("of mallory")).unwrap();
    // (A server of root's may run on this machine, which is found then.)
    let output = status(&theirs);
    let text = said(&output, if output.status.success() { 0 } else { 1 });
    assert!(text.contains("theirs is not trusted: it is of user 65534"), "{text}");
    assert!(!text.contains("mallory"), "{text}");

    // Our own directory: an entry that is no file of figures is passed over and reported.
    let (ours, figures_of) =
        (home.path().join("restante"), |name: &str| home.path().join("restante").join(name));
    fs::create_dir(&ours).unwrap();
    fs::write(figures_of("00000000.prom"), figures("of root")).unwrap();
    fifo(&figures_of("11111111.prom"));
    symlink(directory.join("11111111.prom"), figures_of("22222222.prom")).unwrap();
    fs::write(figures_of("33333333.prom"), figures("of mallory")).unwrap();
    chown(figures_of("33333333.prom"), Some(NOBODY), None).unwrap();
    fs::File::create(figures_of("44444444.prom")).unwrap().set_len(1 << 40).unwrap();
    for (n, name) in ["00000000", "11111111", "33333333", "44444444"].into_iter().enumerate() {
        let seconds = 4_000_000_000 + n as i64;
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, figures_of(&format!("{name}.prom")), &times, AtFlags::empty()).unwrap();
    }
    let text = said(&status(home.path()), 0);
    assert!(text.contains("restante of root") && !text.contains("mallory"), "{text}");
    for name in ["11111111", "33333333", "44444444"] {
        assert!(text.contains(&format!("{name}.prom")), "{name} is not told of: {text}");
    }
}

#[test]
fn x3_a_file_that_was_named_is_not_waited_for_either() {
    let home = home();
    let file = home.path().join("figures");
    fifo(&file);
    let text = said(&restante(&["status", "--file", file.to_str().unwrap()]).output().unwrap(), 1);
    assert!(text.contains("it is a FIFO, a regular file is needed"), "{text}");
    fs::remove_file(&file).unwrap();
    fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    let text = said(&restante(&["status", "--file", file.to_str().unwrap()]).output().unwrap(), 1);
    assert!(text.contains("it is larger than 4 MiB"), "{text}");
}

#[test]
fn x3_the_default_place_is_no_directory_that_anybody_can_make_first() {
    let (home, runtime) = (home(), common::home());
    let mut command = restante(&["dev", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0"]);
    command.arg("--spool").arg(home.path().join("spool")).arg("--ports-file").arg(home.path().join("ports"));
    // Without XDG_RUNTIME_DIR the next place is at home, or /run/restante for root.
    command.env_remove("XDG_RUNTIME_DIR").env_remove("XDG_STATE_HOME").env_remove("RUNTIME_DIRECTORY");
    command.env("HOME", runtime.path()).env("TMPDIR", runtime.path());
    let files = |path: &Path| fs::read_dir(path).map_or(0, Iterator::count);
    let system = Path::new("/run/restante");
    let was_there = system.exists();
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    eventually("it runs", || home.path().join("ports").exists().then_some(()));
    let state = runtime.path().join(".local/state/restante");
    let there = eventually("figures are there", || {
        let there = [state.as_path(), system].into_iter().find(|path| files(path) > 0);
        there.map(Path::to_owned)
    });
    assert_eq!(there.metadata().unwrap().mode() & 0o022, 0);
    let names: Vec<_> =
        fs::read_dir(runtime.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name == ".local"), "nothing in TMPDIR: {names:?}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    child.wait().unwrap();
    if !was_there {
        let _ = fs::remove_dir(system); // it was never made, or belongs to another server by now
    }
}

#[test]
fn x3_ports_file_log_transcripts_and_certificate_of_root_stay_out_of_directories_of_others() {
    let Some((home, victim, theirs)) =
        two_users("x3_ports_file_log_transcripts_and_certificate_of_root_stay_out_of_directories_of_others")
    else {
        return;
    };
    let dev = |words: &[&str]| {
        let mut command = restante(&["dev", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0"]);
        command.arg("--spool").arg(home.path().join("spool")).args(words).env("XDG_RUNTIME_DIR", home.path());
        command.output().unwrap()
    };
    let at = |name: &str| theirs.join(name).to_str().unwrap().to_owned();
    symlink(&victim, at("ports.new")).unwrap();
    let text = said(&dev(&["--ports-file", &at("ports")]), 1);
    assert!(text.contains("theirs is not trusted"), "{text}");
    let text = said(&dev(&[&format!("--transcripts={}", at("transcripts"))]), 1);
    assert!(text.contains("theirs is not trusted") && !theirs.join("transcripts").exists(), "{text}");
    for words in [["cert", "--self-signed", &at("")], ["cert", "--self-signed", &at("new")]] {
        let text = said(&restante(&words).output().unwrap(), 1);
        assert!(text.contains("theirs is not trusted"), "{text}");
    }
    let config = common::configuration(
        home.path(),
        &home.path().join("spool"),
        &format!("user = \"root\"\n[log]\ndestination = {:?}\n{STRICT}", at("log")),
    );
    fs::write(home.path().join("users.json"), "{}").unwrap();
    fs::write(home.path().join("restante.toml"), config).unwrap();
    for (trap, put) in TRAPS {
        put(&victim, &theirs.join("log"));
        let file = home.path().join("restante.toml");
        let mut command = restante(&["serve", "--config", file.to_str().unwrap()]);
        let text = said(&command.env("XDG_RUNTIME_DIR", home.path()).output().unwrap(), 1);
        assert!(text.contains("theirs is not trusted"), "{trap}: {text}");
        fs::remove_file(theirs.join("log")).unwrap();
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "of root");
    let names: Vec<_> = fs::read_dir(&theirs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["ports.new"], "nothing was made there");
}

#[test]
fn x3_a_socket_is_given_its_mode_and_not_what_has_taken_its_name() {
    let home = home();
    let path = home.path().join("lmtp.sock");
    let config = listener_at("lmtp", &format!("unix:{}", path.display()), STRICT);
    let server = Setup { config: Some(&config), users: &[BOB], ..Setup::default() }.start();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
    drop(server);
    fs::remove_file(&path).unwrap_or_default();
    let victim = home.path().join("victim");
    fs::write(&victim, "kept").unwrap();
    fs::set_permissions(&victim, PermissionsExt::from_mode(0o600)).unwrap();
    symlink(&victim, &path).unwrap();
    let directory = restante::safe_file::Directory::untrusted(home.path()).unwrap();
    assert!(directory.set_access_to_socket("lmtp.sock".as_ref(), 0o660, None).is_err());
    assert!(directory.set_access_to_socket("victim".as_ref(), 0o660, None).is_err());
    assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o777, 0o600);
}

/// The files that are kept beside the messages are written in their place: not through a link, not under a second
/// name, and nothing waits for a FIFO.
#[test]
fn x3_caches_beside_the_messages_are_not_written_through_what_is_in_their_place() {
    for (trap, put) in TRAPS {
        let backend = Desk::new();
        let (victim, mailbox) = (backend.file("victim", "kept"), backend.maildir(BOB));
        mailbox.put("1700000000.other", LETTER);
        let mbox = backend.file("mbox", "From a@b Thu Jan  1 00:00:00 1970\nSubject: y\n\nText\n\n");
        let import = format!(".restante.import-{:x}", fs::metadata(&mbox).unwrap().ino());
        for name in [".restante.index", &import, &format!("{import}.new"), ".restante.sent", ".restante.lock"]
        {
            put(&victim, &mailbox.path.join(name));
        }
        let server = Setup { spool: Some(backend.spool.clone()), ..Setup::default() }.start();
        // With a FIFO or a link for a lock, logins may succeed or fail; nothing hangs and nothing is written.
        let mut client = Client::connect(server.pop3());
        client.expect("+OK");
        client.ask(&format!("USER {BOB}"), "+OK");
        let answer = client.send("PASS any").reply();
        assert!(answer.starts_with("+OK") || answer.starts_with("-ERR"), "{trap}: {answer}");
        drop(server);
        let mut import = restante(&["import", mbox.to_str().unwrap(), "--to", BOB]);
        let output = import.arg("--spool").arg(&backend.spool).output().unwrap();
        assert_ne!(output.status.code(), Some(124), "{trap}: import waits");
        let fsck = backend.command(&["fsck", "--fix"]).output().unwrap();
        assert!(matches!(fsck.status.code(), Some(0 | 1)), "{trap}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept", "{trap}");
    }
}

#[test]
fn x3_watch_waits_for_no_fifo_among_transcripts() {
    let home = home();
    let directory = home.path().to_str().unwrap().to_owned();
    fs::write(home.path().join("20260101T000000.000Z-smtp-c1.dlg"), "# smtp\nS: 220 hello\n").unwrap();
    fifo(&home.path().join("20260102T000000.000Z-smtp-c2.dlg"));
    symlink("/dev/zero", home.path().join("20260103T000000.000Z-smtp-c3.dlg")).unwrap();
    let output = restante(&["watch", "--no-follow", &directory]).output().unwrap();
    assert!(said(&output, 0).contains("220 hello"));
    let fifo = home.path().join("20260102T000000.000Z-smtp-c2.dlg");
    let text = said(&restante(&["watch", fifo.to_str().unwrap()]).output().unwrap(), 2);
    assert!(text.contains("it is a FIFO, a regular file is needed"), "{text}");
}

#[test]
fn x3_fsck_follows_no_link_out_of_the_spool_and_changes_no_file_of_another_user() {
    let Some((home, victim, _)) =
        two_users("x3_fsck_follows_no_link_out_of_the_spool_and_changes_no_file_of_another_user")
    else {
        return;
    };
    let backend = Desk::new();
    // A spool of root's with the mailbox of another user, who owns all of it.
    let mailbox = backend.maildir(BOB);
    mailbox.put("1700000000.x", LETTER);
    for part in ["", "tmp", "new", "cur", "new/1700000000.x"] {
        chown(mailbox.path.join(part), Some(NOBODY), Some(NOBODY)).unwrap();
        let mode = if part.contains('/') { 0o600 } else { 0o700 };
        fs::set_permissions(mailbox.path.join(part), PermissionsExt::from_mode(mode)).unwrap();
    }
    // A set-user-ID program of root's has a second name there; it is open to everybody, as such are.
    fs::set_permissions(&victim, PermissionsExt::from_mode(0o4755)).unwrap();
    fs::hard_link(&victim, mailbox.path.join("cur/1700000001.y:2,")).unwrap();
    // Another tree of root's that looks like a folder of a mailbox.
    let outside = home.path().join("outside");
    for part in ["tmp", "new", "cur"] {
        fs::create_dir_all(outside.join(part)).unwrap();
    }
    let stale = outside.join("tmp/old");
    fs::write(&stale, "").unwrap();
    fs::set_permissions(&stale, PermissionsExt::from_mode(0o666)).unwrap();
    symlink(&outside, mailbox.path.join(".link")).unwrap();
    let (_, said) = backend.run(&["fsck", "--fix"], 1);
    assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o7777, 0o4755, "{said}");
    assert!(stale.exists(), "{said}");
    // All of the mailbox is a link.
    fs::rename(&mailbox.path, backend.spool.join("moved")).unwrap();
    symlink(&outside, &mailbox.path).unwrap();
    for name in [BOB, &format!("{BOB}/.link")] {
        backend.run(&["fsck", "--fix", name], 1);
    }
    assert_eq!(fs::metadata(&stale).unwrap().mode() & 0o777, 0o666);
}

/// The owner of a mailbox may swap it for a link at any moment.
#[test]
fn x3_nothing_outside_is_touched_while_directories_are_swapped_for_links() {
    let backend = Desk::new();
    let outside = backend.path("outside");
    for part in ["tmp", "new", "cur", ".fol/tmp", ".fol/new", ".fol/cur"] {
        fs::create_dir_all(outside.join(part)).unwrap();
    }
    let kept =
        ["new/1700000000.x", "cur/1700000000.y:2,SF", ".fol/new/1700000000.z"].map(|name| outside.join(name));
    for file in &kept {
        fs::write(file, LETTER).unwrap();
        fs::set_permissions(file, PermissionsExt::from_mode(0o666)).unwrap();
    }
    let (mailbox, aside) = (backend.maildir(BOB), backend.spool.join(".aside"));
    mailbox.put("1700000000.x", LETTER);
    let folder = backend.maildir(&format!("{BOB}/.fol"));
    folder.put("1700000000.z", LETTER);
    // It shows that the directory is a spool while that of bob is away.
    backend.maildir("eve@example.test").put("1700000000.x", LETTER);
    let (new, new_aside) = (mailbox.path.join("new"), mailbox.path.join(".new-aside"));
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                for (there, aside, target) in
                    [(&mailbox.path, &aside, &outside), (&new, &new_aside, &outside.join("new"))]
                {
                    // (fsck may make a missing directory in between.)
                    let _ = fs::rename(there, aside);
                    let _ = symlink(target, there);
                    let _ = fs::remove_file(there);
                    let _ = fs::rename(aside, there);
                }
            }
        });
        let commands =
            [&["fsck", "--fix"][..], &["purge", "--all", "--yes"], &["purge", "--to", BOB, "--yes"]];
        let mut run = commands.iter().cycle().take(45).map(|words| backend.command(words).output());
        let failed = run
            .find(|output| !output.as_ref().is_ok_and(|output| matches!(output.status.code(), Some(0 | 1))));
        over.store(true, std::sync::atomic::Ordering::Relaxed); // before a panic, for which the scope would wait
        assert!(failed.is_none(), "{failed:?}");
    });
    for file in &kept {
        let about = fs::metadata(file).unwrap();
        assert_eq!((about.mode() & 0o777, about.len()), (0o666, LETTER.len() as u64), "{}", file.display());
    }
}

#[test]
fn x10_a_purge_of_all_goes_on_after_a_broken_mailbox_and_says_so() {
    let backend = Desk::new();
    for name in ["ann", "bob", "cid", "dan", "eve"] {
        backend.maildir(name).put("1700000000.x", LETTER);
    }
    // A link in the place of a directory, one that is missing, and one that is a file.
    let (bob, cid, dan) = (backend.spool.join("bob"), backend.spool.join("cid"), backend.spool.join("dan"));
    fs::rename(bob.join("new"), backend.path("new")).unwrap();
    symlink(backend.path("new"), bob.join("new")).unwrap();
    fs::remove_dir(cid.join("cur")).unwrap();
    fs::remove_dir(dan.join("tmp")).unwrap();
    fs::write(dan.join("tmp"), "").unwrap();
    fs::create_dir(backend.spool.join("no mailbox")).unwrap();
    let (printed, said) = backend.run(&["purge", "--all", "--yes"], 1);
    assert_eq!(String::from_utf8(printed).unwrap(), "2 messages deleted\n");
    for part in ["/bob/new: ", "/cid/cur: ", "/dan/tmp: ", "3 mailboxes or folders could not be emptied"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert!(!said.contains("no mailbox"), "{said}");
    assert!(backend.path("new/1700000000.x").exists(), "what is behind a link is not ours");
}

#[test]
fn x10_fsck_and_explain_go_on_after_what_they_cannot_read() {
    let backend = Desk::new();
    backend.maildir("eve").put("1700000000.x", LETTER);
    let (printed, said) = backend.run(&["fsck", "nobody", "eve"], 2);
    assert!(String::from_utf8(printed).unwrap().contains("messages: 1"), "{said}");
    assert!(said.contains("nobody") && said.contains("no such mailbox"), "{said}");
    let file = backend.spool.join("eve/new/1700000000.x");
    let output = restante(&["explain", "/no/such/file", file.to_str().unwrap()]).output().unwrap();
    let text = programs::said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("/no/such/file") && text.contains("Octets"), "{text}");
}

#[test]
fn x3_a_spool_that_root_makes_for_another_user_is_that_users() {
    let Some((_home, _, theirs)) = two_users("x3_a_spool_that_root_makes_for_another_user_is_that_users")
    else {
        return;
    };
    let spool = theirs.join("new");
    let reachable = theirs
        .ancestors()
        .all(|path| path.metadata().is_ok_and(|about| about.mode() & 0o001 != 0 || path == theirs));
    if !reachable {
        return skip(
            "x3_a_spool_that_root_makes_for_another_user_is_that_users",
            "that user could not get there",
        );
    }
    let output = restante(&["seed", "--to", BOB, "--count", "1", "--spool", spool.to_str().unwrap()])
        .output()
        .unwrap();
    said(&output, 0);
    for path in [spool.clone(), spool.join(BOB), spool.join(BOB).join("new")] {
        assert_eq!(path.metadata().unwrap().uid(), NOBODY, "{}", path.display());
    }
}
