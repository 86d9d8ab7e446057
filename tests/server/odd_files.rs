//! FIFOs, directories, devices and huge files in the places of the files that the configuration names, and reads that
//! never end: at the start, by the watch, and at a reload.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::common::{
    PASSWORD, STRICT, Server, Setup,
    client::Client,
    disk::SmallDisk,
    eventually, home,
    inject::{Fault, can_inject},
    programs::said,
    secure::{ALICE, Keys},
    skip,
};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};
use tempfile::TempDir;

/// An odd file in the place of a regular one, and the message about it.
type Make = fn(&Path);
const ODD: [(Make, &str); 4] = [
    (fifo, "it is a FIFO, a regular file is needed"),
    (directory, "it is a directory, a regular file is needed"),
    (sparse, "it is larger than "),
    (endless, "it is a device, a regular file is needed"),
];

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

fn directory(path: &Path) {
    fs::create_dir(path).unwrap();
}

fn sparse(path: &Path) {
    File::create(path).unwrap().set_len(300 << 20).unwrap();
}

fn endless(path: &Path) {
    symlink("/dev/zero", path).unwrap();
}

/// Puts something in the place of a file.
fn put(path: &Path, make: fn(&Path)) {
    fs::rename(path, beside(path)).unwrap();
    make(path);
}

/// Puts the file back.
fn restore(path: &Path) {
    match fs::symlink_metadata(path).unwrap().is_dir() {
        true => fs::remove_dir(path).unwrap(),
        false => fs::remove_file(path).unwrap(),
    }
    fs::rename(beside(path), path).unwrap();
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("good")
}

/// A server with one of each file.
struct Story {
    server: Server,
    keys: Keys,
    aliases: TempDir,
}

impl Story {
    /// A server that checks its files at this interval.
    fn new(every: &str) -> Self {
        let (keys, aliases) = (Keys::make(), home());
        let path = aliases.path().join("aliases");
        fs::write(&path, format!("post: {ALICE}\n")).unwrap();
        let config = format!(
            "aliases = {path:?}\n{STRICT}\n[tls]\ncertificate = {:?}\nkey = {:?}\n[metrics]\ninterval = \"1s\"\n\
             [limits]\nauth.reload_interval = {every:?}\ntls.reload_interval = {every:?}\nauth.failure_delay = \"0s\"\n",
            keys.certificate(),
            keys.key(),
        );
        let server = Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
        Self { server, keys, aliases }
    }

    fn config(&self) -> PathBuf {
        self.server.home.path().join("restante.toml")
    }

    /// The configuration first.
    fn files(&self) -> [PathBuf; 5] {
        let users = self.server.home.path().join("users.json");
        [self.config(), users, self.aliases.path().join("aliases"), self.keys.certificate(), self.keys.key()]
    }

    fn logs_in(&self) {
        let mut client = Client::connect(self.server.pop3());
        client.expect("+OK");
        client.ask(&format!("USER {ALICE}"), "+OK");
        client.ask(&format!("PASS {PASSWORD}"), "+OK");
        client.send("QUIT").rest();
    }

    /// The number of times that this is in the log.
    fn told(&self, what: &str) -> usize {
        self.server.log().matches(what).count()
    }

    #[track_caller]
    fn reload(&self, end: &str) -> String {
        let before = self.told(end);
        self.server.signal(Signal::HUP);
        eventually(end, || (self.told(end) > before).then_some(()));
        self.server.log().lines().rev().find(|line| line.contains(end)).unwrap().to_owned()
    }

    /// Runs `restante WORDS --config FILE` to its end, which comes by itself; returns its status and its
    /// output.
    #[track_caller]
    fn run(&self, words: &[&str]) -> (Option<i32>, String) {
        let said = self.aliases.path().join("said");
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.args(words).arg("--config").arg(self.config()).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(File::create(&said).unwrap()).spawn().unwrap();
        let mut ended = || child.try_wait().unwrap();
        let status = eventually(&format!("{words:?} ends"), &mut ended);
        (status.code(), fs::read_to_string(said).unwrap())
    }
}

#[test]
fn at_the_start_an_odd_file_is_refused_in_words() {
    let mut story = Story::new("1h");
    story.server.kill();
    for file in story.files() {
        for (make, why) in ODD {
            put(&file, make);
            for words in [&["check"][..], &["serve"]] {
                let (status, said) = story.run(words);
                assert!(status.is_some_and(|status| status != 0), "{words:?} {}: {status:?}", file.display());
                let named = said.contains(file.to_str().unwrap()) && said.contains(why);
                assert!(named, "{words:?}: {} and {why:?} are not in {said:?}", file.display());
            }
            restore(&file);
        }
    }
    let (status, said) = story.run(&["check"]);
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn a_reload_that_finds_an_odd_file_changes_nothing_and_the_next_one_is_heard() {
    let story = Story::new("1h");
    for file in story.files() {
        for (make, why) in ODD {
            put(&file, make);
            let line = story.reload("configuration reload failed, keeping the old one");
            // A link that leads elsewhere is refused for that.
            let beyond = line.contains("/dev is outside of the sandbox");
            assert!(line.contains(file.to_str().unwrap()) && line.contains(why) || beyond, "{line}");
            restore(&file);
        }
        story.logs_in();
        story.reload("configuration loaded listeners=");
    }
}

#[test]
fn the_watch_tells_of_an_odd_file_and_takes_the_next_good_one() {
    let story = Story::new("1s");
    let [_, users, aliases, certificate, key] = story.files();
    let figures = || story.run_status();
    for (make, why) in ODD {
        for (accounts, tls) in [(&users, &certificate), (&aliases, &key)] {
            for (file, log) in [
                (accounts, "reload failed, keeping the old ones: "),
                (tls, "reload failed, keeping the old one: "),
            ] {
                let before = story.told(&format!("{}: {why}", file.display()));
                put(file, make);
                eventually("the file is told", || {
                    (story.told(&format!("{}: {why}", file.display())) > before).then_some(())
                });
                let log = |line: &&str| line.contains(log) && line.contains(why);
                assert!(story.server.log().lines().any(|line| log(&line)), "{}", file.display());
            }
            story.logs_in();
            eventually("the figures tell it", || figures().contains("stale").then_some(()));
            let before = (story.told("accounts reloaded: 1"), story.told("certificate reloaded"));
            [accounts, tls].into_iter().for_each(|file| restore(file));
            eventually("the good ones are taken", || {
                let now = (story.told("accounts reloaded: 1"), story.told("certificate reloaded"));
                (now.0 > before.0 && now.1 > before.1).then_some(())
            });
        }
    }
    eventually("nothing is stale", || (!figures().contains("stale")).then_some(()));
}

#[test]
fn n188_a_file_that_a_reload_could_not_use_is_stale_until_it_is_mended_and_the_configuration_never() {
    let story = Story::new("1s");
    let [_, users, aliases, certificate, _] = story.files();
    for file in [users, aliases, certificate] {
        put(&file, directory);
        story.reload("configuration reload failed, keeping the old one");
        let told = eventually("the file is stale", || {
            let said = story.run_status();
            said.contains("stale").then_some(said)
        });
        let named = told.split("stale").nth(1).unwrap().trim_start();
        assert!(!named.starts_with("configuration"), "{told}");
        restore(&file);
        eventually("nothing is stale, without another signal", || {
            (!story.run_status().contains("stale")).then_some(())
        });
    }
}

impl Story {
    /// The output of `restante status`.
    fn run_status(&self) -> String {
        let mut status = Command::new(env!("CARGO_BIN_EXE_restante"));
        status
            .arg("status")
            .arg("--config")
            .arg(self.config())
            .env("XDG_RUNTIME_DIR", self.server.runtime.path());
        String::from_utf8(status.output().unwrap().stdout).unwrap()
    }
}

/// As on a file server that has died: the thread is left, and the next SIGHUP has one of its own.
#[test]
fn a_reload_that_is_stuck_is_told_and_keeps_no_other_from_its_turn() {
    if !can_inject("a_reload_that_is_stuck") {
        return;
    }
    let story = Story::new("1h");
    let [config, _, aliases, ..] = story.files();
    let good = fs::read_to_string(&config).unwrap();
    let slow = aliases.with_extension("slow");
    fs::copy(&aliases, &slow).unwrap();
    fs::write(&config, good.replace(aliases.to_str().unwrap(), slow.to_str().unwrap())).unwrap();
    Fault::new("openat:delay_enter=100000000").on(&slow).during(&story.server, || {
        story.server.signal(Signal::HUP);
        story.server.tells("configuration reload is slow, keeping the old one until it ends");
        story.logs_in();
        fs::write(&config, &good).unwrap();
        story.reload("configuration loaded listeners=");
    });
    story.logs_in();
}

#[test]
fn n55_a_certificate_on_a_full_disk_leaves_nothing_that_is_in_the_way_of_the_next() {
    let Some(disk) = SmallDisk::mount("64k") else {
        return skip("n55_a_certificate_on_a_full_disk", "this user may not mount");
    };
    let tls = disk.dir.path().join("tls");
    fs::create_dir(&tls).unwrap();
    let make = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.args(["cert", "--self-signed", "--host", "mx.example.test"]).arg(&tls).output().unwrap()
    };
    // Without room for the key, then with room for the key alone: the disk has pages of 4 KiB.
    for left in [0, 4096] {
        let filler = disk.fill(left);
        let output = make();
        let said = said(&output);
        assert!(
            output.status.code() == Some(1) && said.contains("No space left on device"),
            "{left}: {said}"
        );
        assert_eq!(fs::read_dir(&tls).unwrap().count(), 0, "{left}: {said}");
        fs::remove_file(filler).unwrap();
    }
    assert!(make().status.success());
}
