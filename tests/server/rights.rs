//! Files and directories of another user than the server's, as root's `cp -r` or `rsync` makes them: the owner and the
//! command that mends it are named by `check`, by `fsck` and in the log.

mod places;
mod skipped_files;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    common::{
        STRICT,
        client::{Client, deliver, session_with},
        configuration, eventually, home,
        tools::NOBODY,
    },
    leaving_root::{AS_ROOT, can_become_somebody_else, group_of_nobody, started_as_root},
};

const BOB: &str = "bob@example.test";

/// A spool of [`NOBODY`], which the configuration names as the server's user.
struct Story {
    home: TempDir,
}

impl Story {
    fn new(rest: &str) -> Self {
        let story = Self { home: home() };
        fs::create_dir(story.at("spool")).unwrap();
        fs::write(story.at("users.json"), "{}").unwrap();
        story.configure(rest);
        for (name, mode) in [(".", 0o711), ("users.json", 0o600)] {
            fs::set_permissions(story.at(name), Permissions::from_mode(mode)).unwrap();
        }
        own(&story.at("users.json"), NOBODY);
        own(&story.at("spool"), NOBODY);
        story
    }

    fn configure(&self, rest: &str) {
        let rest = format!("user = \"nobody\"\n{STRICT}{rest}");
        let text = configuration(self.home.path(), &self.at("spool"), &rest);
        fs::write(self.at("restante.toml"), text).unwrap();
        fs::set_permissions(self.at("restante.toml"), Permissions::from_mode(0o644)).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn put(&self, mailbox: &str, owner: u32, modes: (u32, u32)) -> PathBuf {
        let path = self.at("spool").join(mailbox);
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(path.join(part)).unwrap();
        }
        fs::write(path.join("cur/1.x:2,SR"), "Subject: x\n\nx\n").unwrap();
        own(&path, owner);
        mode(&path, modes);
        path
    }

    /// A command, run by `wrapper` in the place of root.
    fn run(&self, wrapper: &[&str], words: &[&str]) -> (Option<i32>, String) {
        let argv = [wrapper, &[env!("CARGO_BIN_EXE_restante")], words].concat();
        let mut command = Command::new(argv[0]);
        let command = command.args(&argv[1..]).arg("--config").arg(self.at("restante.toml"));
        let Output { status, stdout, stderr } = command.env_remove("CREDENTIALS_DIRECTORY").output().unwrap();
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    /// The findings of fsck: by path, the problems, with the state and the advice of each.
    fn findings(&self, wrapper: &[&str], options: &[&str]) -> BTreeMap<PathBuf, Vec<[String; 3]>> {
        let mut found: BTreeMap<PathBuf, Vec<[String; 3]>> = BTreeMap::new();
        let (_, said) = self.run(wrapper, &[&["fsck", "--json"], options].concat());
        for line in said.lines().filter(|line| line.starts_with('{')) {
            let line: Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            let path = PathBuf::from(text("path"));
            found.entry(path).or_default().push([text("problem"), text("state"), text("advice")]);
        }
        found
    }
}

/// Gives a file, or a directory with all that is in it, to that user.
fn own(path: &Path, uid: u32) {
    let done = Command::new("chown").args(["-R", &format!("{uid}:{uid}")]).arg(path).status().unwrap();
    assert!(done.success());
}

/// Gives these modes to the directories and to the files.
fn mode(path: &Path, (directory, file): (u32, u32)) {
    let is_directory = path.is_dir();
    if is_directory {
        fs::read_dir(path).unwrap().for_each(|entry| mode(&entry.unwrap().path(), (directory, file)));
    }
    let mode = if is_directory { directory } else { file };
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The command in backticks.
fn command_in(advice: &str) -> String {
    advice.split('`').nth(1).unwrap_or_default().to_owned()
}

const AS_NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
const PRIVATE: (u32, u32) = (0o700, 0o600);

#[test]
fn n75_mailboxes_of_another_user_than_the_servers_come_with_their_owner_and_the_command() {
    if !can_become_somebody_else(
        "n75_mailboxes_of_another_user_than_the_servers_come_with_their_owner_and_the_command",
    ) {
        return;
    }
    let story = Story::new("");
    assert!(!story.run(&[], &["check"]).1.contains("cannot write to"));
    story.put("alice@example.test", NOBODY, PRIVATE);
    let carol = story.put("carol@example.test", NOBODY, PRIVATE);
    let dave = story.put("dave@example.test", NOBODY, PRIVATE);
    let lost = story.at("spool/lost+found");
    fs::create_dir(&lost).unwrap();
    mode(&lost, PRIVATE);
    let (code, said) = story.run(&[], &["check"]);
    assert!(code == Some(0) && !said.contains("cannot write to"), "{said}");

    let open = story.put(BOB, 0, (0o755, 0o644));
    story.put("bob@example.test/.Sent", 0, (0o755, 0o644));
    let closed = story.put("erin@example.test", 0, PRIVATE);
    own(&carol.join("new"), 0);
    mode(&carol.join("new"), (0o755, 0o644));
    story.put("dave@example.test/.Sent", 0, PRIVATE);
    let foreign = [&open, &carol.join("new"), &dave.join(".Sent"), &closed];

    let (code, said) = story.run(&[], &["check"]);
    let remedy = format!(
        "cannot write to all parts of 4 mailboxes: {0} is of root: as root, run `chown -R nobody: {0}`; `restante fsck",
        open.display()
    );
    assert!(code == Some(0) && said.contains(&remedy), "{said}");
    // By root, and by the server's user; and nothing of it is mended, or fails.
    for (wrapper, options) in
        [(&[][..], &[][..]), (&AS_NOBODY, &[]), (&[], &["--fix"]), (&AS_NOBODY, &["--fix"])]
    {
        let found = story.findings(wrapper, options);
        let mut places = BTreeSet::new();
        for (path, [problem, state, advice]) in
            found.iter().flat_map(|(path, all)| all.iter().map(move |one| (path, one)))
        {
            assert!(
                state != "failed"
                    && (!path.starts_with(&open) || state != "fixed" && !advice.contains("--fix")),
                "{path:?}: {problem}: {advice}"
            );
            if problem == "foreign-owner" {
                places.insert(path);
                assert_eq!(*advice, format!("as root, run `chown -R nobody: {}`", path.display()));
            }
        }
        assert_eq!(places, foreign.into_iter().collect(), "{found:#?}");
    }
    let (_, said) = story.run(&[], &["fsck", "bob@example.test/.Sent"]);
    assert!(said.contains(&format!("chown -R nobody: {}", open.display())), "{said}");
    assert!(said.contains("foreign-owner: its owner is root, and nobody may not write there"), "{said}");

    // The commands are all that it takes, and fsck mends the rest.
    for all in story.findings(&[], &[]).values() {
        for [_, _, advice] in all.iter().filter(|[problem, ..]| problem == "foreign-owner") {
            let done = Command::new("sh").args(["-c", &command_in(advice)]).status().unwrap();
            assert!(done.success(), "{advice}");
        }
    }
    assert!(!story.run(&[], &["check"]).1.contains("cannot write to"));
    let (code, said) = story.run(&AS_NOBODY, &["fsck", "--fix"]);
    assert_eq!(code, Some(0), "{said}");

    // The whole spool: no mailbox is of another user than the others.
    own(&story.at("spool"), 0);
    mode(&story.at("spool"), (0o755, 0o644));
    for command in ["fsck", "check"] {
        let (code, said) = story.run(&[], &[command]);
        let remedy = format!("chown -R nobody: {}`", story.at("spool").display());
        assert!(code != Some(0) && said.contains(&remedy), "{command}: {said}");
    }
}

#[test]
fn n75_a_user_who_is_not_the_servers_is_told_to_take_no_mailbox() {
    if !can_become_somebody_else("n75_a_user_who_is_not_the_servers_is_told_to_take_no_mailbox") {
        return;
    }
    let story = Story::new("");
    story.put(BOB, 1, (0o755, 0o644));
    chown(story.at("spool"), Some(1), Some(1)).unwrap();
    let spool = story.at("spool");
    let mut fsck = Command::new(AS_NOBODY[0]);
    let fsck = fsck.args(&AS_NOBODY[1..]).args([env!("CARGO_BIN_EXE_restante"), "fsck", "--fix", "--spool"]);
    let output = fsck.arg(spool).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && !said.contains("chown"), "{said}");
}

#[test]
fn n76_the_log_has_the_command_for_a_mailbox_of_another_user() {
    if !can_become_somebody_else("n76_the_log_has_the_command_for_a_mailbox_of_another_user") {
        return;
    }
    let server = started_as_root(&["sh", "-c", AS_ROOT, "sh"], "nobody");
    deliver(&server, BOB, b"Subject: one\r\n\r\nx\r\n");
    let mailbox = server.spool.join(BOB);
    let remedy = |path: &Path| format!("{0} is of root: as root, run `chown -R nobody: {0}`", path.display());

    // A deletion: the message is readable, and its directory is root's.
    let mut client = session_with(&server, BOB, 1);
    own(&mailbox, 0);
    mode(&mailbox, (0o755, 0o644));
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "-ERR");
    server.tells("unlink: Permission denied (os error 13): ");
    server.tells(&remedy(&mailbox));

    // A delivery, into an open mailbox and into a closed one.
    let refused = || {
        let told = || server.log().matches(&remedy(&mailbox)).count();
        let before = told();
        let reply = Client::smtp(&server).deliver(&[BOB], b"Subject: two\r\n\r\nx\r\n");
        assert!(reply.starts_with("451 "), "{reply}");
        eventually("the log has the command again", || (told() > before).then_some(()));
    };
    refused();
    mode(&mailbox, PRIVATE);
    refused();
    let done = Command::new("chown").args(["-R", "nobody:"]).arg(&mailbox).status().unwrap();
    assert!(done.success());
    deliver(&server, BOB, b"Subject: three\r\n\r\nx\r\n");
}

#[test]
fn n100_files_of_a_server_that_root_has_started_come_with_the_command() {
    if !can_become_somebody_else("n100_files_of_a_server_that_root_has_started_come_with_the_command") {
        return;
    }
    let story = Story::new("");
    let files = [".restante.clock", ".restante.lock"].map(|name| story.at("spool").join(name));
    for file in &files {
        fs::write(file, "").unwrap();
        mode(file, PRIVATE);
    }
    let command = format!("chown nobody: {} {}", files[0].display(), files[1].display());
    for words in [&["check"][..], &["serve"]] {
        let (code, said) = story.run(&[], words);
        assert!(code != Some(0) && said.contains(&format!("as root, run `{command}`")), "{words:?}: {said}");
    }
    assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    let (code, said) = story.run(&[], &["check"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn n101_a_spool_that_may_be_a_mount_point_is_first_to_be_mounted() {
    if !can_become_somebody_else("n101_a_spool_that_may_be_a_mount_point_is_first_to_be_mounted") {
        return;
    }
    let story = Story::new("");
    own(&story.at("spool"), 0);
    fs::set_permissions(story.at("spool"), Permissions::from_mode(0o755)).unwrap();
    let (_, said) = story.run(&[], &["check"]);
    assert!(said.contains("mount its disk if it is on one, otherwise as root, change its owner"), "{said}");
    // With mail in it, it is no mount point.
    story.put(BOB, 0, (0o755, 0o644));
    let (_, said) = story.run(&[], &["check"]);
    assert!(said.contains("chown -R nobody") && !said.contains("mount"), "{said}");
}

#[test]
fn n102_another_user_is_told_to_run_a_command_as_root_and_to_open_no_file() {
    if !can_become_somebody_else("n102_another_user_is_told_to_run_a_command_as_root_and_to_open_no_file") {
        return;
    }
    let story = Story::new("");
    let as_daemon = ["setpriv", "--reuid=1", "--regid=1", "--clear-groups"];
    for words in [&["check"][..], &["fsck"], &["user", "list"]] {
        let (code, said) = story.run(&as_daemon, words);
        assert!(code != Some(0) && said.contains("run this as root"), "{words:?}: {said}");
        assert!(!said.contains("chgrp") && !said.contains("mkdir"), "{words:?}: {said}");
    }
    // A directory that is closed hides the spool, which is there all the same.
    let above = story.at("closed");
    fs::create_dir_all(above.join("mail")).unwrap();
    mode(&above, PRIVATE);
    let command = [&as_daemon[..], &[env!("CARGO_BIN_EXE_restante"), "fsck", "--spool"]].concat();
    let output = Command::new(command[0]).args(&command[1..]).arg(above.join("mail")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Permission denied (os error 13): run this as root"), "{said}");
}

#[test]
fn n79_a_directory_for_metrics_comes_with_one_command() {
    if !can_become_somebody_else("n79_a_directory_for_metrics_comes_with_one_command") {
        return;
    }
    let group = group_of_nobody();
    for is_there in [false, true] {
        let story = Story::new("[metrics]\nfile = \"metrics/all/restante.prom\"\n");
        let place = story.at("metrics/all");
        if is_there {
            fs::create_dir_all(&place).unwrap();
            mode(&story.at("metrics"), PRIVATE);
            fs::set_permissions(story.at("metrics"), Permissions::from_mode(0o711)).unwrap();
        }
        let (_, said) = story.run(&[], &["check"]);
        let command = format!("install -d -o nobody -g {group} -m 755 {}", place.display());
        assert!(said.contains(&format!("`{command}`")), "{said}");
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
        let (_, said) = story.run(&[], &["check"]);
        let warnings: Vec<&str> = said.lines().filter(|line| line.starts_with("# warning")).collect();
        assert!(!warnings.iter().any(|line| line.contains("metrics")), "{said}");
    }
}

const WITH_PASSWORD: [&str; 4] = ["sh", "-c", "echo sesame | \"$@\"", "sh"];

#[test]
fn n96_n190_an_account_in_a_file_that_the_server_cannot_read_is_told_with_the_command() {
    if !can_become_somebody_else(
        "n96_n190_an_account_in_a_file_that_the_server_cannot_read_is_told_with_the_command",
    ) {
        return;
    }
    let story = Story::new("");
    let (file, notice) = (story.at("users.json"), "the server applies nothing, because it cannot read ");
    let is_told = |code: Option<i32>, said: &str| code == Some(i32::from(said.contains(notice)));
    let add = |name: &str| {
        let (code, said) = story.run(&WITH_PASSWORD, &["user", "add", name, "--password-stdin"]);
        assert!(is_told(code, &said) && said.starts_with(&format!("added {name}")), "{code:?} {said}");
        said
    };
    assert!(!add(BOB).contains(notice));
    // As `jq … > new && mv new users.json` of root leaves it.
    own(&file, 0);
    let (code, disabled) = story.run(&[], &["user", "disable", BOB]);
    assert!(is_told(code, &disabled), "{code:?} {disabled}");
    for said in [disabled, add("ann@example.test")] {
        assert!(said.contains(notice), "{said}");
        assert_eq!(command_in(&said), format!("chgrp {} {}", group_of_nobody(), file.display()));
    }
    own(story.home.path(), NOBODY);
    own(&file, 0);
    let said = add("eve@example.test");
    let remedy = command_in(&said);
    assert_eq!(remedy, format!("chown nobody: {}", file.display()), "the directory is the server's");
    assert!(Command::new("sh").args(["-c", &remedy]).status().unwrap().success());
    assert!(!add("rob@example.test").contains(notice));
}

#[test]
fn n97_a_user_who_is_not_the_servers_is_told_to_be_root_or_that_user() {
    if !can_become_somebody_else("n97_a_user_who_is_not_the_servers_is_told_to_be_root_or_that_user") {
        return;
    }
    let story = Story::new("");
    story.put(BOB, NOBODY, PRIVATE);
    mode(&story.at("spool"), PRIVATE);
    let other = ["setpriv", "--reuid=2", "--regid=2", "--clear-groups"];
    let (code, said) =
        story.run(&[&WITH_PASSWORD[..], &other].concat(), &["user", "add", "z", "--password-stdin"]);
    assert!(code == Some(1) && said.ends_with("run this as root, or as the server's user\n"), "{said}");
    assert!(!said.contains("--keep-mail"), "{said}");
}

#[test]
fn n98_a_log_and_aliases_that_cannot_be_had_come_with_the_command() {
    if !can_become_somebody_else("n98_a_log_and_aliases_that_cannot_be_had_come_with_the_command") {
        return;
    }
    let story = Story::new("");
    let log = story.at("above/log/other.txt");
    let directory = log.parent().unwrap();
    story.configure(&format!("[log]\ndestination = {log:?}\n"));
    fs::create_dir_all(directory).unwrap();
    own(directory, NOBODY);
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, Permissions::from_mode(0o600)).unwrap();
    let check_fails = || {
        let (code, said) = story.run(&[], &["check"]);
        assert!(code == Some(2), "{said}");
        said
    };
    let said = check_fails();
    assert!(said.contains(&format!("cannot log to {}: Permission denied", log.display())), "{said}");
    assert_eq!(command_in(&said), format!("chown nobody: {}", log.display()));
    own(directory, 0);
    mode(directory, PRIVATE);
    let said = check_fails();
    assert_eq!(command_in(&said), format!("chown nobody: {}", directory.display()));
    mode(&story.at("above"), PRIVATE);
    let said = check_fails();
    let group = format!(" and `chmod g+x {}`", story.at("above").display());
    assert!(said.contains("run `chgrp ") && said.contains(&group), "{said}");
    own(&story.at("above"), NOBODY);
    let config = fs::read_to_string(story.at("restante.toml")).unwrap();
    fs::write(story.at("restante.toml"), format!("aliases = {:?}\n{config}", story.at("new/aliases")))
        .unwrap();
    let said = check_fails();
    let remedy = format!("install -D -m 644 /dev/null {}", story.at("new/aliases").display());
    assert!(said.contains("or take `aliases` out of the configuration"), "{said}");
    assert_eq!(command_in(&said), remedy);
    assert!(Command::new("sh").args(["-c", &remedy]).status().unwrap().success());
    let (code, said) = story.run(&[], &["check"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn h47_a_directory_of_root_with_other_files_is_not_given_to_the_user_of_the_server() {
    if !can_become_somebody_else(
        "h47_a_directory_of_root_with_other_files_is_not_given_to_the_user_of_the_server",
    ) {
        return;
    }
    let story = Story::new("");
    let shared = story.at("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("other"), "").unwrap();
    story.configure(&format!("[log]\ndestination = {:?}\n", shared.join("log")));
    let (code, said) = story.run(&[], &["check"]);
    let own = shared.join("restante");
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("it is root's and has other files: make a directory of its own, as root, with"),
        "{said}"
    );
    assert!(
        said.contains(&format!("-m 755 {}`, and name a file in {}", own.display(), own.display())),
        "{said}"
    );
    assert!(!said.contains(&format!("nobody: {}`", shared.display())), "{said}");
}

#[test]
fn m39_the_modes_in_a_mailbox_of_another_user_are_counted_in_one_line() {
    if !can_become_somebody_else("m39_the_modes_in_a_mailbox_of_another_user_are_counted_in_one_line") {
        return;
    }
    let story = Story::new("");
    let open = story.put(BOB, 0, (0o755, 0o644));
    (2..40).for_each(|n| fs::write(open.join(format!("cur/{n}.x")), "Subject: x\n\nx\n").unwrap());
    mode(&open, (0o755, 0o644));
    let (code, said) = story.run(&[], &["fsck"]);
    let line = "not listed: 43 wrong modes of files and directories with a foreign owner";
    assert!(code == Some(1) && said.contains(line) && !said.contains("open-to-others"), "{said}");
    assert_eq!(said.matches("foreign-owner: ").count(), 1, "{said}");
    own(&open, NOBODY);
    let (code, said) = story.run(&[], &["fsck"]);
    assert!(code == Some(1) && !said.contains("not listed"), "{said}");
    assert_eq!(said.matches("open-to-others: ").count(), 43, "{said}");
    let (code, said) = story.run(&[], &["fsck", "--fix"]);
    assert_eq!(code, Some(0), "{said}");
}
