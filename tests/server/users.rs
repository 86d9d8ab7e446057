//! `restante user` and the mail of accounts: added over the mail of a former one, renamed, removed with their mail, and
//! killed at any step.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Instant,
};

use tempfile::TempDir;

use crate::common::{
    PASSWORD, PASSWORD_MD5, STRICT, Setup,
    client::{Client, deliver},
    configuration, home, installed, skip,
    tools::NOBODY,
};

const BOB: &str = "bob@example.test";
const ROB: &str = "rob@example.test";

/// bob and ann, with three messages of bob in two folders.
struct Story {
    home: TempDir,
}

impl Story {
    fn new() -> Self {
        let home = home();
        let spool = home.path().join("spool");
        fs::write(home.path().join("restante.toml"), configuration(home.path(), &spool, STRICT)).unwrap();
        fs::create_dir(&spool).unwrap();
        let story = Self { home };
        story.reset();
        story
    }

    fn reset(&self) {
        let users = format!(
            r#"{{"{BOB}": {{"password_hash": "{PASSWORD_MD5}", "quota": {{"messages": 9}}}}, "ann@example.test": {{"password_hash": "!"}}}}"#
        );
        fs::write(self.at("users.json"), users).unwrap();
        fs::remove_dir_all(self.at("spool")).unwrap();
        for (file, text) in [("new/1", "one"), ("cur/2:2,S", "two"), (".Sent/cur/3:2,S", "three")] {
            self.put(BOB, file, text);
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn mailbox(&self, name: &str) -> PathBuf {
        self.at("spool").join(name)
    }

    fn put(&self, mailbox: &str, file: &str, text: &str) {
        let file = self.mailbox(mailbox).join(file);
        for sub in ["tmp", "new", "cur"] {
            fs::create_dir_all(file.parent().unwrap().parent().unwrap().join(sub)).unwrap();
            fs::create_dir_all(self.mailbox(mailbox).join(sub)).unwrap();
        }
        fs::write(file, text).unwrap();
    }

    /// The texts of all messages of a mailbox and its folders, in order.
    fn messages(&self, mailbox: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for folder in ["", ".Sent"] {
            for sub in ["new", "cur"] {
                let Ok(files) = fs::read_dir(self.mailbox(mailbox).join(folder).join(sub)) else { continue };
                texts.extend(files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()));
            }
        }
        texts.sort();
        texts
    }

    fn command(&self, wrapper: &[&str], words: &[&str]) -> Output {
        let program = env!("CARGO_BIN_EXE_restante");
        let argv = [wrapper, &[program, "user"], words].concat();
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).arg("--config").arg(self.at("restante.toml"));
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// The exit code, and all that it says.
    fn user(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = self.command(&[], words);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }

    #[track_caller]
    fn user_ok(&self, words: &[&str]) -> String {
        let (code, said) = self.user(words);
        assert_eq!(code, Some(0), "{words:?}: {said}");
        said
    }

    fn account(&self, name: &str) -> Option<serde_json::Value> {
        let users: serde_json::Value =
            serde_json::from_slice(&fs::read(self.at("users.json")).unwrap()).unwrap();
        users.get(name).cloned()
    }
}

/// Adds an account with a password.
fn add(story: &Story, words: &[&str]) -> (Option<i32>, String) {
    let file = story.at("password");
    fs::write(&file, "sesame\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command
        .args(["user", "add", "--password-stdin"])
        .args(words)
        .arg("--config")
        .arg(story.at("restante.toml"));
    let output = command.stdin(fs::File::open(file).unwrap()).output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn u76_a_password_with_a_nul_is_refused() {
    let story = Story::new();
    let before = fs::read(story.at("users.json")).unwrap();
    fs::write(story.at("password"), "se\0same\n").unwrap();
    for words in [["add", ROB], ["passwd", BOB]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.arg("user").args(words).args(["--password-stdin", "--config"]).arg(story.at("restante.toml"));
        let output = command.stdin(fs::File::open(story.at("password")).unwrap()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && said.contains("a password cannot have a NUL"),
            "{words:?}: {said}"
        );
    }
    assert_eq!(fs::read(story.at("users.json")).unwrap(), before);
}

#[test]
fn n08_u138_an_account_over_the_mail_of_a_former_one_is_asked_about_before_it_is_added() {
    let story = Story::new();
    let said = story.user_ok(&["remove", BOB, "--yes"]); // it asks nothing, and deletes no mail
    assert!(said.contains("mail stays") && said.contains("--delete-mail"), "{said}");
    let (code, said) = add(&story, &[BOB]);
    assert_eq!(code, Some(2), "{said}");
    for part in [
        "mail is there already, 3 messages in ",
        "of a former account",
        "--keep-mail",
        "--inbox NAME",
        "--delete-mail",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    assert!(story.account(BOB).is_none());
    // Another mailbox, the mail of the former one, or none of it.
    assert_eq!(add(&story, &[BOB, "--inbox", "bob2@example.test"]).0, Some(0));
    assert_eq!(story.account(BOB).unwrap()["inbox"], "bob2@example.test");
    story.user_ok(&["remove", BOB]);
    assert_eq!(add(&story, &[BOB, "--keep-mail"]).0, Some(0));
    assert_eq!(story.messages(BOB).len(), 3);
    story.user_ok(&["remove", BOB, "--delete-mail", "--yes"]);
    assert_eq!(add(&story, &[BOB]).0, Some(0));
    // The mailbox of another account.
    fs::write(
        story.at("users.json"),
        format!(r#"{{"x@example.test": {{"password_hash": "!", "inbox": "{BOB}"}}}}"#),
    )
    .unwrap();
    story.put(BOB, "new/1", "one");
    let (code, said) = add(&story, &[BOB]);
    assert!(
        code == Some(2) && said.contains("the mailbox of x@example.test: add --keep-mail to share it"),
        "{said}"
    );
}

#[test]
fn n09_a_rename_keeps_mail_hash_and_settings_and_says_what_clients_must_change() {
    let story = Story::new();
    let before = story.messages(BOB);
    let said = story.user_ok(&["rename", BOB, ROB]);
    for part in [
        "renamed bob@example.test to rob@example.test",
        "3 messages in ",
        "change the user name and the address",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    assert_eq!(story.messages(ROB), before);
    assert!(!story.mailbox(BOB).exists() && story.account(BOB).is_none());
    let account = story.account(ROB).unwrap();
    assert_eq!(account["password_hash"], PASSWORD_MD5);
    assert_eq!(account["quota"]["messages"], 9);
    // A message that was on its way; then the old name is another person's.
    story.put(BOB, "new/4", "four");
    story.user_ok(&["rename", BOB, ROB]);
    assert_eq!(story.messages(ROB).len(), 4);
    assert_eq!(add(&story, &[BOB]).0, Some(0));
    let (code, said) = story.user(&["rename", BOB, ROB]);
    assert!(code == Some(2) || code == Some(1), "{said}");
    story.user_ok(&["remove", BOB]);
    story.put(BOB, "new/5", "five");
    let (code, said) = story.user(&["rename", BOB, ROB]);
    assert!(code == Some(1) && said.contains("there is no account bob@example.test"), "{said}");
    assert_eq!(story.messages(BOB), ["five"], "mail of another person stays");
    // Back, with the new name as an address.
    story.user_ok(&["remove", BOB, "--delete-mail", "--yes"]);
    story.user_ok(&["rename", ROB, BOB, "--keep-address"]);
    assert_eq!(story.account(BOB).unwrap()["addresses"][0], ROB);
    assert_eq!(story.messages(BOB).len(), 4);
}

#[test]
fn n09_a_mailbox_that_accounts_share_or_that_has_another_name_stays_where_it_is() {
    let story = Story::new();
    let users = format!(
        r#"{{"{BOB}": {{"password_hash": "!"}}, "x@example.test": {{"password_hash": "!", "inbox": "{BOB}"}}}}"#
    );
    fs::write(story.at("users.json"), users).unwrap();
    story.user_ok(&["rename", BOB, ROB]);
    assert_eq!(story.account(ROB).unwrap()["inbox"], BOB);
    assert_eq!(story.messages(BOB).len(), 3);
    let (code, said) = story.user(&["remove", ROB, "--delete-mail", "--yes"]);
    assert!(code == Some(2) && said.contains("is that of x@example.test too: nothing was removed"), "{said}");
    assert!(story.account(ROB).is_some());
}

#[test]
fn n09_root_moves_mail_with_the_rights_of_the_owner_of_the_spool() {
    let test = "n09_root_moves_mail_with_the_rights_of_the_owner_of_the_spool";
    if !rustix::process::geteuid().is_root() {
        return skip(test, "only for root");
    }
    let story = Story::new();
    fs::set_permissions(story.home.path(), Permissions::from_mode(0o711)).unwrap();
    story.put(ROB, "new/0", "nought");
    let chown =
        |what: &Path| Command::new("chown").args(["-R", "nobody"]).arg(what).status().unwrap().success();
    assert!(chown(&story.at("spool")));
    story.user_ok(&["rename", BOB, ROB, "--keep-mail"]);
    assert_eq!(story.messages(ROB).len(), 4);
    // Files made meanwhile belong to the owner of the spool, and the accounts to root.
    for made in [".Sent", ".Sent/cur", ".Sent/maildirfolder", ".Sent/cur/3:2,S"] {
        assert_eq!(fs::metadata(story.mailbox(ROB).join(made)).unwrap().uid(), NOBODY, "{made}");
    }
    assert_eq!(fs::metadata(story.at("users.json")).unwrap().uid(), 0);
    // A link in the place of a mailbox leads nowhere.
    symlink(story.home.path(), story.mailbox("eve@example.test")).unwrap();
    story.user_ok(&["remove", ROB, "--delete-mail", "--yes"]);
    let (code, said) = story.user(&["remove", "eve@example.test", "--delete-mail", "--yes"]);
    assert!(code.is_some() && story.at("users.json").exists(), "{said}");
}

#[test]
fn n52_the_first_accounts_that_root_makes_are_for_the_server_to_read() {
    let test = "n52_the_first_accounts_that_root_makes_are_for_the_server_to_read";
    if !rustix::process::geteuid().is_root() {
        return skip(test, "only for root");
    }
    let story = Story::new();
    let config = fs::read_to_string(story.at("restante.toml")).unwrap();
    for (user, group, mode) in
        [("user = \"nobody\"\n", 65534, 0o640), ("user = \"root\"\n", 0, 0o640), ("", 0, 0o600)]
    {
        fs::write(story.at("restante.toml"), format!("{user}{config}")).unwrap();
        fs::remove_file(story.at("users.json")).unwrap();
        let add = format!(
            "printf 'sesame\\n' | '{}' user add {ROB} --password-stdin --config '{}'",
            env!("CARGO_BIN_EXE_restante"),
            story.at("restante.toml").display()
        );
        assert!(Command::new("sh").args(["-c", &add]).status().unwrap().success());
        let about = fs::metadata(story.at("users.json")).unwrap();
        assert_eq!((about.uid(), about.gid(), about.mode() & 0o777), (0, group, mode), "{user}");
    }
}

#[test]
fn n10_mail_is_deleted_with_its_account_only_after_a_yes() {
    let story = Story::new();
    let (code, said) = story.user(&["remove", BOB, "--delete-mail"]);
    assert!(
        code == Some(2) && said.contains("not a terminal: add --yes to delete without being asked"),
        "{said}"
    );
    assert!(story.account(BOB).is_some() && story.messages(BOB).len() == 3);
    let said = story.user_ok(&["remove", BOB, "--delete-mail", "--yes"]);
    assert!(said.contains("deleted 3 messages in "), "{said}");
    assert!(story.account(BOB).is_none());
    assert_eq!(fs::read_dir(story.at("spool")).unwrap().count(), 0);
    // Nothing is left to be removed; then the mail of a former account.
    assert_eq!(story.user(&["remove", BOB, "--delete-mail", "--yes"]).0, Some(1));
    story.put(BOB, "new/1", "one");
    story.user_ok(&["remove", BOB, "--delete-mail", "--yes"]);
    assert!(!story.mailbox(BOB).exists());
}

/// Kills the command at the nth call of those that change something, for every n.
fn killed_at_every_step(story: &Story, words: &[&str], check: impl Fn(usize)) {
    let calls = "renameat,renameat2,unlinkat,rmdir,mkdirat,fsync,linkat";
    let mut steps = 0;
    for n in 1..200 {
        story.reset();
        // Another program, or a server, has made the new mailbox already.
        if words.contains(&ROB) && n % 2 == 0 {
            story.put(ROB, "new/0", "nought");
        }
        let inject = format!("inject={calls}:signal=KILL:when={n}");
        let strace = ["strace", "-f", "-o", "/dev/null", "-e", &inject];
        let words = if words.contains(&ROB) { [words, &["--keep-mail"]].concat() } else { words.to_vec() };
        let killed = !story.command(&strace, &words).status.success();
        if killed {
            steps += 1;
            let (code, said) = story.user(&words);
            // Removing an account whose last step was done finds nothing to do.
            assert!(
                code == Some(0) || !words.contains(&ROB) && said.contains("there is no account"),
                "{n}: {said}"
            );
        }
        check(n);
        if !killed {
            assert!(steps > 3, "{steps} steps");
            return;
        }
    }
    panic!("it never ended");
}

#[test]
fn n11_a_rename_that_is_killed_at_any_step_is_finished_by_the_same_command() {
    let test = "n11_a_rename_that_is_killed_at_any_step_is_finished_by_the_same_command";
    if !installed("strace") {
        return skip(test, "no strace");
    }
    let story = Story::new();
    killed_at_every_step(&story, &["rename", BOB, ROB], |n| {
        let mut expected = vec!["one", "three", "two"];
        expected.extend((n % 2 == 0).then_some("nought"));
        expected.sort_unstable();
        assert_eq!(story.messages(ROB), expected, "{n}");
        assert!(!story.mailbox(BOB).exists() && story.account(BOB).is_none(), "{n}");
        assert_eq!(story.account(ROB).unwrap()["password_hash"], PASSWORD_MD5, "{n}");
    });
}

#[test]
fn n11_a_removal_that_is_killed_at_any_step_is_finished_by_the_same_command() {
    let test = "n11_a_removal_that_is_killed_at_any_step_is_finished_by_the_same_command";
    if !installed("strace") {
        return skip(test, "no strace");
    }
    let story = Story::new();
    killed_at_every_step(&story, &["remove", BOB, "--delete-mail", "--yes"], |n| {
        assert!(story.account(BOB).is_none() && story.account("ann@example.test").is_some(), "{n}");
        let left: Vec<_> =
            fs::read_dir(story.at("spool")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{n}: {left:?}");
    });
}

#[test]
fn n12_an_account_is_renamed_and_removed_beside_a_server() {
    let config = format!("{STRICT}\n[limits]\nauth.reload_interval = \"1s\"\nauth.failure_delay = \"0s\"\n");
    let server =
        Setup { config: Some(&config), users: &[BOB, "ann@example.test"], ..Setup::default() }.start();
    let user = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.arg("user").args(words).arg("--config").arg(server.home.path().join("restante.toml"));
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    deliver(&server, BOB, b"Subject: one\r\n\r\n");
    let mut open = Client::pop3(&server, BOB); // a session at the old name
    let mut under_way = Client::smtp(&server);
    under_way.begin_data("a@far.test", &[BOB]);
    let began = Instant::now();
    let said = user(&["rename", BOB, ROB]);
    assert!(said.contains("waiting until the server has read"), "{said}");
    assert!(began.elapsed().as_secs() < 30);
    open.expect("-ERR The account has changed, so this session ends");
    under_way.write(b"Subject: two\r\n\r\n.\r\n");
    assert!(under_way.reply().starts_with("250"));
    user(&["rename", BOB, ROB]);
    deliver(&server, ROB, b"Subject: three\r\n\r\n");
    let mut client = Client::pop3(&server, ROB);
    client.ask("STAT", "+OK 3 ");
    client.ask("QUIT", "+OK");
    assert!(!exists(&server.spool, BOB));
    Client::smtp(&server).ask("MAIL FROM:<a@far.test>", "250");
    let said = user(&["remove", ROB, "--delete-mail", "--yes"]);
    assert!(said.contains("deleted 3 messages"), "{said}");
    assert!(!exists(&server.spool, ROB));
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask(&format!("USER {ROB}"), "+OK");
    client.ask(&format!("PASS {PASSWORD}"), "-ERR");
}

fn exists(spool: &Path, mailbox: &str) -> bool {
    spool.join(mailbox).exists()
}

#[test]
fn n13_a_missing_directory_of_the_accounts_is_named_with_what_to_type() {
    let story = Story::new();
    let config = fs::read_to_string(story.at("restante.toml")).unwrap();
    fs::write(story.at("restante.toml"), config.replace("users.json", "no/such/users.json")).unwrap();
    let (code, said) = add(&story, &["x@example.test"]);
    assert!(code == Some(1) && said.contains("mkdir -p ") && said.contains("no/such"), "{said}");
}

#[test]
fn n30_every_account_command_takes_a_name_without_a_domain() {
    let story = Story::new();
    assert!(story.user_ok(&["disable", "bob"]).contains("disabled bob@example.test"));
    assert!(story.user_ok(&["enable", "BOB"]).contains("enabled bob@example.test"));
    assert_eq!(add(&story, &["carl"]).0, Some(0));
    assert!(story.account("carl@example.test").is_some());
    let said = story.user_ok(&["rename", "carl", "charles", "--keep-address"]);
    assert!(said.contains("renamed carl@example.test to charles@example.test"), "{said}");
    story.user_ok(&["disable", "ann"]);
    assert_eq!(
        story.user_ok(&["list", "--names"]),
        "ann@example.test\nbob@example.test\ncharles@example.test\n",
        "nothing but the names, for loops of a shell"
    );
    story.user_ok(&["remove", "charles"]);
    assert!(story.account("charles@example.test").is_none());
    let (code, said) = story.user(&["rename", "bob", BOB]);
    assert!(code == Some(2) && said.contains("has the name bob@example.test already"), "{said}");
}

#[test]
fn n31_no_account_gets_the_name_of_an_alias() {
    let story = Story::new();
    let text = fs::read_to_string(story.at("restante.toml")).unwrap();
    fs::write(story.at("restante.toml"), format!("aliases = \"aliases\"\n{text}")).unwrap();
    // With a mistake in another line.
    fs::write(story.at("aliases"), "sales bob\ninfo: bob, ann\n").unwrap();
    let before = fs::read(story.at("users.json")).unwrap();
    let refused = [add(&story, &["info@example.test"]), story.user(&["rename", BOB, "info"])];
    for (code, said) in refused {
        assert!(code == Some(2) && said.contains("info@example.test is an alias in "), "{said}");
        assert!(
            said.contains("aliases, line 2: take it out") && said.contains("choose another name"),
            "{said}"
        );
    }
    assert_eq!(fs::read(story.at("users.json")).unwrap(), before);
}

/// Without a terminal, a question for the password would be the error.
#[test]
fn n08_an_account_that_is_there_is_refused_before_the_password_is_asked_for() {
    let story = Story::new();
    let (code, said) = story.user(&["add", BOB]);
    assert!(code == Some(1) && said.contains("there is an account bob@example.test already"), "{said}");
}

#[test]
fn n56_a_new_name_that_another_account_has_is_refused_without_a_word_of_passwords() {
    let story = Story::new();
    let before = fs::read(story.at("users.json")).unwrap();
    let (code, said) = story.user(&["rename", BOB, "ann"]);
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "there is an account ann@example.test already: nothing was renamed; take another new name",
        "`restante user remove ann@example.test --config ",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert!(!said.contains("passw"), "{said}");
    assert_eq!(fs::read(story.at("users.json")).unwrap(), before);
}

#[test]
fn n58_a_new_password_of_a_disabled_account_comes_with_the_way_to_enable_it() {
    let story = Story::new();
    story.user_ok(&["disable", BOB]);
    fs::write(story.at("password"), "sesame\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.args(["user", "passwd", "--password-stdin", BOB, "--config"]).arg(story.at("restante.toml"));
    let output = command.stdin(fs::File::open(story.at("password")).unwrap()).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("the account is disabled: `restante user enable bob@example.test --config "),
        "{said}"
    );
}
