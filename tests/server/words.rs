//! The words of commands and of the log: they are true, they say what to type next, and that works as it stands.

use std::{
    env, fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::common::{PASSWORD_MD5, STRICT, Setup, configuration, eventually, home, write_private};

const BOB: &str = "bob@example.test";
const ANN: &str = "ann@example.test";

/// The accounts of bob, with a further address, and of ann, in a directory with blanks in its name.
struct Story {
    home: TempDir,
}

impl Story {
    fn new() -> Self {
        let story = Self { home: home() };
        fs::create_dir_all(story.at("spool")).unwrap();
        fs::write(story.at("my restante.toml"), configuration(&story.at(""), &story.at("spool"), STRICT))
            .unwrap();
        let users = format!(
            r#"{{"{BOB}": {{"password_hash": "{PASSWORD_MD5}", "addresses": ["bobby@example.test"]}}, "{ANN}": {{"password_hash": "!"}}}}"#
        );
        write_private(&story.at("users.json"), &users);
        story
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join("a home").join(name)
    }

    fn put(&self, mailbox: &str) {
        put(&self.at("spool").join(mailbox));
    }

    /// Types a command for a shell. Returns its exit code, and all that it says.
    fn types(&self, command: &str) -> (Option<i32>, String) {
        let program = Path::new(env!("CARGO_BIN_EXE_restante")).parent().unwrap();
        let path = format!("{}:{}", program.display(), env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(self.at("")).env("PATH", path).env_remove("RESTANTE_CONFIG");
        let output = shell.stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    /// The same with the option for the configuration.
    fn restante(&self, words: &str) -> (Option<i32>, String) {
        self.types(&format!("echo sesame | restante {words} --config 'my restante.toml'"))
    }
}

/// Puts a message into a mailbox, with the modes that fsck finds good.
fn put(mailbox: &Path) {
    fs::create_dir_all(mailbox.parent().unwrap()).unwrap();
    for directory in [mailbox.to_owned(), mailbox.join("tmp"), mailbox.join("new"), mailbox.join("cur")] {
        let _ = fs::DirBuilder::new().mode(0o700).create(directory); // it may be there
    }
    write_private(&mailbox.join("new/1.a"), "Subject: x\n\n");
}

/// The commands of this program in backticks.
fn commands(said: &str) -> Vec<&str> {
    in_backticks(said).filter(|command| command.starts_with("restante ")).collect()
}

fn in_backticks(said: &str) -> impl Iterator<Item = &str> {
    said.split('`').skip(1).step_by(2)
}

#[test]
fn n37_a_setting_that_needs_a_restart_is_told_with_the_check_before_it() {
    let config = format!("sandbox = \"off\"{STRICT}");
    let server = Setup { config: Some(&config), users: &[BOB], ..Setup::default() }.start();
    let file = server.home.path().join("restante.toml");
    let good = fs::read_to_string(&file).unwrap();
    for (from, to, told) in [
        ("spool = \"", "spool = \"/no/such/place", "spool: this cannot change while the server runs: "),
        ("sandbox", "unknown_recipients = \"create\"\nsandbox", "unknown_recipients: this cannot change"),
        ("sandbox", "user = \"no-such-user\"\nsandbox", "user changed: takes effect after a restart; "),
        (
            "[[listen]]",
            "[limits]\ndisk.read_size = \"32 KiB\"\n[[listen]]",
            "limits.disk.read_size changed: takes effect after",
        ),
    ] {
        let before = server.log().len();
        fs::write(&file, good.replacen(from, to, 1)).unwrap();
        server.signal(Signal::HUP);
        let line = eventually(told, || {
            let log = server.log().split_off(before);
            log.lines().find(|line| line.contains(told)).map(str::to_owned)
        });
        let expected = format!("restante check --config {}", file.display());
        assert_eq!(commands(&line), [expected], "{line}");
        let key = told.split([':', ' ']).next().unwrap();
        let log = server.log().split_off(before);
        let is_taken = log.contains("configuration loaded listeners=2");
        assert!(!is_taken || log.contains(&format!(" not_taken={key}")), "{log}");
    }
}

#[test]
fn n37_an_account_that_gets_no_mail_is_told_also_when_the_server_reads_the_file_by_itself() {
    let config = format!("{STRICT}\n[limits]\nauth.reload_interval = \"1s\"\n");
    let server = Setup { config: Some(&config), users: &[BOB], ..Setup::default() }.start();
    let file = server.home.path().join("users.json");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace(BOB, "bob@exmaple.test")).unwrap();
    server.tells("no mail arrives for bob@exmaple.test: add \"exmaple.test\" to `domains`");
    server.tells("accounts reloaded: 1");
}

#[test]
fn n38_every_command_in_a_message_works_as_it_stands() {
    let story = Story::new();
    story.put("old@example.test");
    for (words, code, hint) in [
        ("user add bob --password-stdin", 1, "restante user passwd bob@example.test"),
        ("user passwd nobody --password-stdin", 1, "restante user list"),
        ("user passwd bobby --password-stdin", 1, "restante user passwd bob@example.test"),
        ("user add old --password-stdin", 2, "restante user remove old@example.test --delete-mail"),
        ("user remove ann", 0, "restante user remove ann@example.test --delete-mail"),
        ("user rename bob rob", 0, "restante user rename bob@example.test rob@example.test --keep-address"),
        ("fsck", 0, "restante user add old@example.test --keep-mail"),
    ] {
        if words.ends_with("ann") {
            story.put(ANN);
        }
        let (ended, said) = story.restante(words);
        let commands = commands(&said);
        let typed = commands.first().unwrap_or_else(|| panic!("{words}: {said}"));
        assert_eq!((ended, *typed), (Some(code), &*format!("{hint} --config 'my restante.toml'")), "{said}");
        let more = match hint {
            _ if hint.contains("--delete-mail") => " --yes",
            _ if hint.contains("passwd") || hint.contains(" add ") => " --password-stdin",
            _ => "",
        };
        let (ended, said) = story.types(&format!("echo sesame | {typed}{more}"));
        assert_eq!(ended, Some(0), "{typed}: {said}");
        fs::remove_dir_all(story.at("spool")).unwrap();
        story.put("old@example.test");
    }
}

#[test]
fn n38_a_path_with_a_blank_is_quoted_in_the_commands_of_check() {
    let story = Story::new();
    let good = fs::read_to_string(story.at("my restante.toml")).unwrap();
    std::os::unix::fs::symlink("not there", story.at("a link")).unwrap();
    for (spool, told) in [("no such/spool", "there is no directory"), ("a link", "is a link to")] {
        let spool = story.at(spool);
        let config = good.replace(story.at("spool").to_str().unwrap(), spool.to_str().unwrap());
        fs::write(story.at("my restante.toml"), config).unwrap();
        let (code, said) = story.restante("check");
        assert!(code == Some(2) && said.contains(told), "{said}");
        let command = in_backticks(&said).next().unwrap();
        assert_eq!(story.types(command).0, Some(0), "{command}");
        assert_eq!(story.restante("check").0, Some(0), "{command}");
    }
}

#[test]
fn n39_a_rename_tells_of_mail_to_the_old_name_what_the_files_say() {
    let story = Story::new();
    let said = |words: &str| {
        let (code, said) = story.restante(words);
        assert_eq!(code, Some(0), "{words}: {said}");
        said
    };
    let (refused, arrives) =
        ("mail to ann@example.test is refused now", "mail to ann@example.test still arrives");
    assert!(said("user rename ann anna").contains(refused));
    assert!(said("user rename ann anna").contains(refused), "the same again");
    assert!(said("user rename ann anna --keep-address").contains(arrives), "and with the address");
    for again in ["user rename ann anna", "user rename ann anna --keep-address"] {
        let said = said(again);
        assert!(said.contains(arrives) && !said.contains("refused"), "{again}: {said}");
    }
    let users = fs::read_to_string(story.at("users.json")).unwrap();
    assert_eq!(users.matches(ANN).count(), 2, "once as an address, once as the former name: {users}");
    // A catch-all takes it.
    let config = fs::read_to_string(story.at("my restante.toml")).unwrap();
    fs::write(story.at("my restante.toml"), format!("aliases = \"aliases\"\n{config}")).unwrap();
    fs::write(story.at("aliases"), "@example.test: anna\n").unwrap();
    assert!(said("user rename bob rob").contains("mail to bob@example.test is taken by an alias now"));
}

#[test]
fn n40_a_further_address_is_told_with_its_account_before_a_password_is_asked_for() {
    let story = Story::new();
    for action in ["passwd", "disable", "enable", "remove"] {
        let (code, said) = story.types(&format!("restante user {action} bobby --config 'my restante.toml'"));
        assert_eq!(code, Some(1), "{said}");
        let told = "bobby@example.test is a further address of the account bob@example.test";
        assert!(said.contains(told), "{said}");
        assert!(said.contains(&format!("`restante user {action} bob@example.test --config")), "{said}");
    }
}

#[test]
fn n41_n158_mail_in_a_mailbox_that_no_account_has_is_told_by_fsck_check_and_a_start() {
    let story = Story::new();
    ["old@example.test", "shared", BOB].iter().for_each(|mailbox| story.put(mailbox));
    fs::create_dir_all(story.at("spool/empty@example.test/new")).unwrap();
    let (code, said) = story.restante("fsck");
    assert!(code.is_some() && said.matches("no-account: 1 message, and no account").count() == 2, "{said}");
    assert!(said.contains("--inbox shared --keep-mail"), "{said}");
    let (code, said) = story.restante("check");
    let told =
        "# warning: 2 mailboxes with mail that no account has, so that no login reads it: `restante fsck";
    assert!(code == Some(0) && said.contains(told), "{said}");
    let (_, said) = story.types("restante fsck --spool spool");
    assert!(!said.contains("no-account"), "the accounts are not known: {said}");

    for (config, mailboxes, told) in [
        (
            Some(STRICT),
            &["old@example.test", "shared"][..],
            Some("2 mailboxes with mail that no account has"),
        ),
        (Some(STRICT), &[BOB], None),
        (None, &["old@example.test"], None),
    ] {
        let spool = TempDir::new_in(story.at("")).unwrap();
        for mailbox in mailboxes {
            put(&spool.path().join(mailbox));
        }
        let place = Some(spool.path().to_owned());
        let server = Setup { config, users: &[BOB], spool: place, ..Setup::default() }.start();
        server.tells(" listening ");
        let log = server.log();
        assert_eq!(log.contains("that no account has"), told.is_some(), "{log}");
        assert!(log.contains(told.unwrap_or_default()), "{log}");
        assert_eq!(log.contains("`restante fsck --config /"), told.is_some(), "{log}");
    }
}

#[test]
fn n42_check_notes_a_spool_without_a_server_and_names_that_may_mean_several_domains() {
    let story = Story::new();
    let (code, said) = story.restante("check --strict");
    assert!(code == Some(0) && said.contains("# note: no server has used the spool "), "{said}");
    story.put(BOB);
    let config = fs::read_to_string(story.at("my restante.toml")).unwrap();
    let config = format!("aliases = \"aliases\"\n{config}");
    fs::write(story.at("my restante.toml"), &config).unwrap();
    fs::write(story.at("aliases"), "# ours\ninfo: ann, bob@example.test\n").unwrap();
    let (_, said) = story.restante("check");
    assert!(said.contains("is good") && !said.contains("# note: "), "one domain: {said}");
    let config = config.replace("[\"example.test\"]", "[\"example.test\", \"second.test\"]");
    fs::write(story.at("my restante.toml"), config).unwrap();
    let (code, said) = story.restante("check --strict");
    let told = "aliases, line 2: info has no domain, and stands for info@example.test alone";
    assert!(code == Some(0) && said.contains(told) && said.contains("(2 such names in the file)"), "{said}");
}

#[test]
fn n44_status_with_a_configuration_shows_its_server_and_never_another_one() {
    let server = Setup { config: Some(STRICT), users: &[BOB], ..Setup::default() }.start();
    let other = Setup { config: Some(STRICT), users: &[BOB], ..Setup::default() }.start();
    let metrics = |runtime: &Path| {
        let files = fs::read_dir(runtime.join("restante")).ok()?;
        files.flatten().map(|file| file.path()).find(|path| path.extension().is_some_and(|end| end == "prom"))
    };
    let ours = eventually("the metrics of one", || metrics(server.runtime.path()));
    let theirs = eventually("the metrics of the other", || metrics(other.runtime.path()));
    let good = fs::read_to_string(server.home.path().join("restante.toml")).unwrap();
    for (from, to) in [("", ""), ("mx.", "mx2."), ("hostname", "hostnam"), ("domains = [", "domains = [,")] {
        for is_running in [true, false] {
            let runtime = TempDir::new_in(server.home.path()).unwrap();
            let directory = runtime.path().join("restante");
            fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
            for file in [&ours, &theirs].into_iter().skip(usize::from(!is_running)) {
                fs::copy(file, directory.join(file.file_name().unwrap())).unwrap(); // the other one is the newest
            }
            fs::write(server.home.path().join("changed.toml"), good.replacen(from, to, 1)).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
            command.args(["status", "--config", "changed.toml"]).current_dir(server.home.path());
            let output = command.env("XDG_RUNTIME_DIR", runtime.path()).output().unwrap();
            let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            let heading = format!(", {}\n", server.spool.display());
            assert_eq!(shown.contains(&heading), is_running, "{to}: {shown}");
            assert!(!shown.contains(other.spool.to_str().unwrap()), "{to}: {shown}");
        }
    }
}

#[test]
fn n43_accounts_that_every_user_of_the_machine_can_read_are_a_warning() {
    let story = Story::new();
    fs::set_permissions(story.at(""), fs::Permissions::from_mode(0o700)).unwrap();
    let open = TempDir::new_in("/tmp").unwrap();
    let is_open = |path: &Path| path.metadata().is_ok_and(|data| data.permissions().mode() & 0o001 != 0);
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(open.path().ancestors().all(is_open), "/tmp is open to all");
    for (directory, mode, is_told) in [
        (open.path().to_owned(), 0o644, true),
        (open.path().to_owned(), 0o640, false),
        (story.at(""), 0o644, false),
    ] {
        let users = directory.join("users.json");
        fs::write(&users, "{}").unwrap();
        fs::set_permissions(&users, fs::Permissions::from_mode(mode)).unwrap();
        let config = fs::read_to_string(story.at("my restante.toml")).unwrap();
        let config = config.replace(story.at("users.json").to_str().unwrap(), users.to_str().unwrap());
        fs::write(story.at("other.toml"), config).unwrap();
        let (_, said) = story.types("restante check --config other.toml");
        let told = "every user of this machine can read";
        assert_eq!(said.contains(told), is_told, "{mode:o}: {said}");
    }
}
