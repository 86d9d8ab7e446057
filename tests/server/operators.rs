//! The files that operators bring along, and the options that they leave out: accounts of other servers, links and mounts,
//! the usual place of the configuration, several servers at once, a server for a class.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use rustix::process::Signal;

use crate::common::{
    PASSWORD, PASSWORD_MD5, STRICT, Server, Setup,
    client::{Client, deliver},
    configuration,
    disk::Mount,
    eventually, home, installed, skip, write_private,
};

const BOB: &str = "bob@example.test";
const AT_ONCE: &str = "\n[limits]\nauth.failure_delay = \"0s\"\nauth.reload_interval = \"1s\"\n";

fn restante(words: &[&str], dir: &Path, config: Option<&Path>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.args(words).current_dir(dir).stdin(Stdio::null()).env_remove("RESTANTE_CONFIG");
    if let Some(config) = config {
        command.env("RESTANTE_CONFIG", config);
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

fn logs_in(server: &Server, user: &str, password: &str) -> bool {
    let mut client = Client::connect(server.pop3());
    client.expect("+OK");
    client.ask(&format!("USER {user}"), "+OK");
    let is_in = client.send(&format!("PASS {password}")).reply().starts_with("+OK");
    client.send("QUIT").rest();
    is_in
}

/// The users of the course: an inbox that is a path below the directory of the configuration, and an MD5.
#[test]
fn n15_accounts_of_the_course_are_taken_as_they_are_and_can_stay_so() {
    let home = home();
    let at = |name: &str| home.path().join(name);
    let users = format!(
        "{{\n  \"alice@gmail.com\": {{\"password_hash\": \"{PASSWORD_MD5}\", \"inbox\": \"boite_mail/alice@gmail.com\"}}\n}}\n"
    );
    write_private(&at("users.json"), &users);
    let write = |spool: &str, more: &str| {
        let text = format!(
            "hostname = \"mail.gmail.com\"\ndomains = [\"gmail.com\"]\nspool = {spool:?}\n{more}\n{STRICT}{AT_ONCE}"
        );
        fs::write(at("restante.toml"), text).unwrap();
    };
    write("mail", "");
    let (code, said) = restante(&["check", "--config", "restante.toml"], home.path(), None);
    assert_eq!(code, Some(2), "{said}");
    for part in [
        "alice@gmail.com",
        "its inbox is a path",
        "set spool = \"boite_mail\"",
        "\"inbox\": \"alice@gmail.com\"",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    write("boite_mail", "upgrade_hashes = false");
    let (code, said) = restante(&["check", "--config", "restante.toml"], home.path(), None);
    assert!(code == Some(0) && said.contains("is good; accounts: 1"), "{said}");

    let mut server = Setup { config: Some(STRICT), ..Setup::default() }.start();
    fs::write(server.home.path().join("users.json"), &users).unwrap();
    let config = |upgrade: bool| {
        let text = fs::read_to_string(at("restante.toml")).unwrap();
        let text = text.replace("upgrade_hashes = false", &format!("upgrade_hashes = {upgrade}"));
        fs::write(server.home.path().join("restante.toml"), text).unwrap();
    };
    config(false);
    server.restart();
    deliver(&server, "alice@gmail.com", b"Subject: x\r\n\r\n");
    assert!(logs_in(&server, "alice@gmail.com", PASSWORD) && !logs_in(&server, "alice@gmail.com", "other"));
    let file = server.home.path().join("users.json");
    assert_eq!(fs::read_to_string(&file).unwrap(), users, "nothing was written");
    let new = server.home.path().join("boite_mail/alice@gmail.com/new");
    assert_eq!(fs::read_dir(new).unwrap().count(), 1);
    // The same with renewal, which keeps the inbox as it is written.
    let text = fs::read_to_string(server.home.path().join("restante.toml")).unwrap();
    fs::write(server.home.path().join("restante.toml"), text.replace("upgrade_hashes = false", "")).unwrap();
    server.restart();
    assert!(logs_in(&server, "alice@gmail.com", PASSWORD));
    eventually("the hash is replaced", || {
        fs::read_to_string(&file).unwrap().contains("$argon2id$").then_some(())
    });
    assert!(fs::read_to_string(&file).unwrap().contains("\"boite_mail/alice@gmail.com\""));
}

/// As Kubernetes has it: the file is a link into a directory that is a link, and a rotation replaces that link.
#[test]
fn n16_a_file_of_accounts_behind_links_is_renewed_in_its_place_and_a_withdrawn_password_is_withdrawn() {
    let config = format!("{STRICT}{AT_ONCE}");
    let mut server = Setup { config: Some(&config), users: &[BOB], ..Setup::default() }.start();
    let at = |name: &str| server.home.path().join(name);
    let users = fs::read_to_string(at("users.json")).unwrap();
    for (n, text) in [(1, users.as_str()), (2, &users.replace(PASSWORD_MD5, "!"))] {
        fs::create_dir(at(&format!("..{n}"))).unwrap();
        fs::write(at(&format!("..{n}/users.json")), text).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    fs::remove_file(at("users.json")).unwrap();
    symlink("..data/users.json", at("users.json")).unwrap();
    server.restart();
    let at = |name: &str| server.home.path().join(name);
    assert!(logs_in(&server, BOB, PASSWORD));
    eventually("the target has the new hash", || {
        fs::read_to_string(at("..1/users.json")).unwrap().contains("$argon2id$").then_some(())
    });
    assert!(at("users.json").is_symlink() && at("..data").is_symlink());
    symlink("..2", at("new")).unwrap();
    fs::rename(at("new"), at("..data")).unwrap();
    eventually("the password is withdrawn", || (!logs_in(&server, BOB, PASSWORD)).then_some(()));
}

#[test]
fn n17_a_file_of_accounts_that_cannot_be_replaced_is_left_alone_and_the_log_says_why_once() {
    let test = "n17_a_file_of_accounts_that_cannot_be_replaced_is_left_alone_and_the_log_says_why_once";
    let config = format!("sandbox = \"off\"\n{STRICT}{AT_ONCE}");
    let mut server =
        Setup { config: Some(&config), users: &[BOB, "ann@example.test"], ..Setup::default() }.start();
    let users = server.home.path().join("users.json");
    let text = fs::read_to_string(&users).unwrap();
    let managed = server.home.path().join("managed.json");
    fs::write(&managed, &text).unwrap();
    // As a container mounts one file.
    let Some(mount) = Mount::new(&["--bind", managed.to_str().unwrap()], &users) else {
        return skip(test, "cannot mount");
    };
    server.restart();
    let all = logs_in(&server, BOB, PASSWORD) && logs_in(&server, "ann@example.test", PASSWORD);
    let log = eventually("the log says why", || {
        Some(server.log()).filter(|log| log.contains("upgrade_hashes = false"))
    });
    let left: Vec<PathBuf> = fs::read_dir(server.home.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".new"))
        .collect();
    server.kill();
    drop(mount);
    assert!(all && left.is_empty(), "{left:?}");
    assert!(log.contains("it is mounted by itself, and nothing can take its place"), "{log}");
    assert_eq!(log.matches("password hashes are not upgraded").count(), 1, "{log}");
    assert_eq!(fs::read_to_string(&managed).unwrap(), text);
}

#[test]
fn n18_marks_in_front_of_text_are_passed_over_and_catch_alls_may_have_a_star() {
    let home = home();
    let at = |name: &str| home.path().join(name);
    let config = configuration(home.path(), &at("spool"), STRICT);
    fs::write(at("restante.toml"), format!("aliases = \"aliases\"\n{config}")).unwrap();
    let check = || restante(&["check", "--config", "restante.toml"], home.path(), None);
    write_private(&at("users.json"), "\u{feff}{\"bob@example.test\": {\"password_hash\": \"!\"}}");
    fs::write(at("aliases"), "\u{feff}*@example.test: bob\n").unwrap();
    let (code, said) = check();
    assert!(code == Some(0) && said.contains("is good; accounts: 1"), "{said}");
    fs::write(at("aliases"), "*@example.test: bob\n@example.test: bob\n").unwrap();
    assert!(check().1.contains("is in line 1 already"));
    fs::write(at("users.json"), b"\xff\xfe{\0}\0").unwrap();
    assert!(check().1.contains("it is UTF-16: save it as UTF-8"), "{}", check().1);
}

#[test]
fn n18_a_catch_all_with_a_star_takes_the_mail_for_all_others() {
    let mut server = Setup { config: Some(STRICT), users: &[BOB], ..Setup::default() }.start();
    let file = server.home.path().join("restante.toml");
    fs::write(&file, format!("aliases = \"aliases\"\n{}", fs::read_to_string(&file).unwrap())).unwrap();
    fs::write(server.home.path().join("aliases"), "*@example.test: bob\n").unwrap();
    server.restart();
    deliver(&server, "whoever@example.test", b"Subject: x\r\n\r\n");
    assert_eq!(server.maildir(BOB).files("new").len(), 1);
}

#[test]
fn n20_a_command_without_a_configuration_takes_that_of_the_environment() {
    let home = home();
    let config = home.path().join("restante.toml");
    fs::write(home.path().join("users.json"), format!("{{\"{BOB}\": {{\"password_hash\": \"!\"}}}}"))
        .unwrap();
    fs::write(&config, configuration(home.path(), &home.path().join("spool"), STRICT)).unwrap();
    fs::create_dir(home.path().join("spool")).unwrap();
    let elsewhere = self::home();
    for words in [&["check"][..], &["user", "list"], &["fsck"], &["purge", "--all", "--yes"]] {
        let (code, said) = restante(words, elsewhere.path(), Some(&config));
        assert_eq!(code, Some(0), "{words:?}: {said}");
    }
    if !Path::new("/etc/restante/restante.toml").exists() {
        let (code, said) = restante(&["serve"], elsewhere.path(), None);
        assert!(code == Some(2) && said.contains("there is no /etc/restante/restante.toml: name "), "{said}");
    }
}

#[test]
fn n146_a_configuration_in_this_directory_is_not_taken_but_named() {
    let home = home();
    fs::write(home.path().join("restante.toml"), "").unwrap();
    if Path::new("/etc/restante/restante.toml").exists() {
        return skip(
            "n146_a_configuration_in_this_directory_is_not_taken_but_named",
            "this machine has a configuration",
        );
    }
    for words in [&["check"][..], &["serve"], &["user", "list"], &["fsck"], &["purge", "--all", "--yes"]] {
        let (code, said) = restante(words, home.path(), None);
        let told = "for the configuration in this directory, add `--config ./restante.toml`";
        assert!(code == Some(2) && said.contains(told), "{words:?}: {code:?} {said}");
    }
}

#[test]
fn n07_every_tool_follows_a_spool_that_is_a_link_and_a_mailbox_that_is_named_by_its_path() {
    let server = Server::dev();
    let home = home();
    symlink(&server.spool, home.path().join("link")).unwrap();
    symlink(server.spool.join(BOB), home.path().join("box")).unwrap();
    deliver(&server, BOB, b"Subject: x\r\n\r\n");
    for words in [
        &["fsck", "--spool", "link"][..],
        &["wait", "--to", BOB, "--spool", "link", "--timeout", "9s"],
        &["export", BOB, "--spool", "link"],
        &["export", "./box"],
        &["purge", "--to", BOB, "--yes", "--spool", "link"],
    ] {
        let (code, said) = restante(words, home.path(), None);
        assert_eq!(code, Some(0), "{words:?}: {said}");
        assert!(words[0] != "export" || said.contains("Subject: x"), "{words:?}: {said}");
    }
    assert!(server.maildir(BOB).files("new").is_empty());
}

#[test]
fn n21_status_shows_the_server_of_this_directory_and_says_when_there_are_several() {
    let runtime = home();
    let place = home();
    let start = |name: &str| {
        let spool = place.path().join(name).join("spool");
        fs::create_dir_all(spool.parent().unwrap()).unwrap();
        let runtime = format!("XDG_RUNTIME_DIR={}", runtime.path().display());
        Setup { wrapper: &["env", &runtime], spool: Some(spool), ..Setup::default() }.start()
    };
    let status = |words: &[&str], dir: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        let output = command
            .arg("status")
            .args(words)
            .current_dir(place.path().join(dir))
            .env("XDG_RUNTIME_DIR", runtime.path())
            .env_remove("RESTANTE_CONFIG")
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8([output.stderr, output.stdout].concat()).unwrap())
    };
    let one = start("one");
    eventually("the first writes its metrics", || status(&[], "one").0.then_some(()));
    let _two = start("two");
    for (words, dir, of) in [
        (&[][..], "one", "one/spool"),
        (&[], "two", "two/spool"),
        (&["--spool", "../two/spool"], "one", "two/spool"),
        (&["--spool", "one/spool"], ".", "one/spool"),
    ] {
        let said = eventually("both are there", || {
            let (good, said) = status(words, dir);
            let is_told = !words.is_empty() || said.contains("choose another one with --spool: ");
            (good && is_told).then_some(said)
        });
        let heading = said.lines().find(|line| line.starts_with("restante 0")).unwrap();
        assert!(heading.ends_with(of), "{words:?} in {dir}: {said}");
    }
    let (good, said) = status(&["--spool", "three"], ".");
    assert!(!good && said.contains("three is not there: name the spool with --spool or --config"), "{said}");
    drop(one);
}

#[test]
fn n23_a_server_for_a_class_is_open_to_its_network_only_knowingly() {
    let home = home();
    let spool = home.path().join("spool");
    let words = ["dev", "--spool", spool.to_str().unwrap(), "--smtp", "0.0.0.0:0", "--pop3", "0.0.0.0:0"];
    let (code, said) = restante(&words, home.path(), None);
    assert!(code == Some(2) && said.contains("restante dev --network"), "{said}");
    let arguments = &["--network", "--smtp=0.0.0.0:0", "--pop3=0.0.0.0:0", "--persona", "rfc821,rfc1081"];
    let wrapper = &["sh", "-c", DEV_WITHOUT_ADDRESSES, "sh"];
    let server = Setup { wrapper, arguments, ..Setup::default() }.start();
    server.tells("Other machines can connect");
    let at = |address: std::net::SocketAddr| format!("127.0.0.1:{}", address.port()).parse().unwrap();
    let mut client = Client::connect(at(server.smtp()));
    client.expect("220 ");
    client.ask("EHLO client.test", "50");
    let mut client = Client::connect(at(server.pop3()));
    client.expect("+OK");
    client.ask("USER bob@example.test", "+OK");
    client.ask("PASS any", "+OK");
    client.ask("UIDL", "-ERR");
    client.ask("LAST", "+OK");
    let (code, said) = restante(&["dev", "--persona", "rfc5321"], home.path(), None);
    assert!(code == Some(2) && said.contains("rfc5321") && said.contains("rfc1939"), "{said}");
}

#[test]
fn h28_a_server_for_a_class_tells_whether_and_where_others_connect() {
    let wrapper = &["sh", "-c", DEV_WITHOUT_ADDRESSES, "sh"];
    let start = |arguments| Setup { wrapper, arguments, ..Setup::default() }.start();
    let alone = start(&["--network", "--smtp=0", "--pop3=0"]);
    alone.tells("No other machine can connect: ");
    assert!(!alone.log().contains("Other machines can connect"), "{}", alone.log());
    let open = start(&["--network", "--listen=127.0.0.1", "--smtp=0.0.0.0:0", "--pop3=0"]);
    open.tells("Other machines can connect at ");
    let said = open.log();
    assert!(!said.contains("connect at 127.") && !said.contains("connect at 0.0.0.0"), "{said}");
}

#[test]
fn v78_an_address_of_the_network_needs_a_flag_that_says_what_it_means() {
    let home = home();
    let spool = home.path().join("spool");
    let words =
        ["dev", "--spool", spool.to_str().unwrap(), "--listen", "0.0.0.0", "--smtp", "0", "--pop3", "0"];
    let (code, said) = restante(&words, home.path(), None);
    assert!(code == Some(2) && said.contains("is not a loopback address"), "{said}");
    let wrapper = &["sh", "-c", DEV_WITHOUT_ADDRESSES, "sh"];
    let arguments =
        &["--allow-remote-without-login", "--listen", "0.0.0.0", "--smtp=0", "--pop3=0", "--host=mail"];
    let server = Setup { wrapper, arguments, ..Setup::default() }.start();
    server.tells("Other machines can connect");
    for service in ["smtp", "imap", "pop3", "http"] {
        assert!(server.addresses(service)[0].ip().is_unspecified(), "{service}");
    }
}

#[test]
fn a_server_for_development_has_neither_http_nor_imap_if_it_is_told_so() {
    let server = Setup { arguments: &["--no-http", "--no-imap"], ..Setup::default() }.start();
    assert_eq!([server.addresses("http"), server.addresses("imap")].concat(), []);
    assert_eq!(server.addresses("pop3").len(), 1);
}

#[test]
fn v79_the_health_check_fails_if_the_server_refuses_mail_or_has_ended() {
    let mut server = Server::dev();
    let (runtime, spool) = (server.runtime.path().to_owned(), server.spool.clone());
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.args(["status", "--check", "--spool"]).arg(&spool).env("XDG_RUNTIME_DIR", &runtime);
        let output = command.env_remove("RESTANTE_CONFIG").output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let becomes = |code: i32, word: &str| {
        eventually(word, || {
            let (found, said) = check();
            (found == Some(code) && said.contains(word)).then_some(said)
        })
    };
    let said = becomes(0, "healthy: up ");
    assert_eq!(said.lines().count(), 1, "{said}");
    let elsewhere = server.home.path().join("elsewhere");
    fs::rename(&spool, &elsewhere).unwrap();
    fs::create_dir(&spool).unwrap();
    // A login makes the server look.
    assert!(!logs_in(&server, BOB, "any"));
    becomes(1, "refuses mail and logins");
    fs::remove_dir(&spool).unwrap();
    fs::rename(&elsewhere, &spool).unwrap();
    assert!(logs_in(&server, BOB, "any"));
    becomes(0, "healthy: up ");
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    let (code, said) = check();
    assert!(code == Some(1) && said.contains("no metrics of a server of"), "{said}");
}

/// Takes the usual addresses of a test out of the command line: an option may stand there once.
pub(crate) const DEV_WITHOUT_ADDRESSES: &str = r#"
for word; do
    shift
    case $word in --smtp|--pop3|127.0.0.1:0) ;; *) set -- "$@" "$word" ;; esac
done
exec "$@""#;

#[test]
fn n24_unknown_recipients_are_created_in_our_own_domains_only() {
    let config = format!("unknown_recipients = \"create\"\n{STRICT}");
    let server = Setup { config: Some(&config), ..Setup::default() }.start();
    let mut client = Client::smtp(&server);
    client.ask("MAIL FROM:<a@far.test>", "250");
    client.ask("RCPT TO:<new@example.test>", "250");
    client.ask("RCPT TO:<new@far.test>", "550 5.7.1");
    assert!(logs_in(&server, "new@example.test", "any") && logs_in(&server, "new", "any"));
    assert!(!logs_in(&server, "new@far.test", "any"));
}

#[test]
fn n25_a_server_that_logs_to_a_file_says_where() {
    let home = home();
    fs::write(home.path().join("users.json"), "{}").unwrap();
    let config = format!("{STRICT}[log]\ndestination = \"./restante.log\"\n");
    let config = configuration(home.path(), &home.path().join("spool"), &config);
    fs::write(home.path().join("restante.toml"), config).unwrap();
    let said = home.path().join("said");
    let mut server = Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(["serve", "--config", "restante.toml"])
        .current_dir(home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .stderr(File::create(&said).unwrap())
        .spawn()
        .unwrap();
    eventually("the server says where it logs", || {
        let said = fs::read_to_string(&said).unwrap();
        (said.contains("the log is in ") && said.contains("/restante.log\n")).then_some(())
    });
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn h29_a_log_that_no_daemon_accepts_is_in_no_place() {
    let config = format!("{STRICT}[log]\ndestination = \"syslog:./none\"\n");
    let server = Setup { config: Some(&config), ..Setup::default() }.start();
    server.tells("accepts the log: it goes nowhere until one runs there");
    assert!(!server.log().contains("the log is in"), "{}", server.log());
}

/// A process as `docker exec` leaves it: its parent ends first.
#[test]
fn n26_the_first_process_of_a_container_reaps_what_is_left_to_it() {
    let test = "n26_the_first_process_of_a_container_reaps_what_is_left_to_it";
    let can = ["unshare", "nsenter"].iter().all(|program| installed(program));
    let unshare = || Command::new("unshare").args(["--pid", "--fork", "true"]).output();
    if !can || !unshare().is_ok_and(|output| output.status.success()) {
        return skip(test, "no namespaces");
    }
    let wrapper = &["unshare", "--pid", "--fork", "--kill-child"];
    let server = Setup { wrapper, ..Setup::default() }.start();
    let children = |pid: &str| {
        let path = format!("/proc/{pid}/task/{pid}/children");
        fs::read_to_string(path).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let [first] = &children(&server.pid().to_string())[..] else { panic!("unshare has one child") };
    // The inner process is still running when its parent ends, and ends without a parent that waits for it.
    let (release, orphan) = (server.home.path().join("release"), server.home.path().join("orphan"));
    let script = format!("(touch {orphan:?}; until [ -e {release:?} ]; do sleep 0.01; done) & exit");
    let entered = Command::new("nsenter").args(["-t", first, "-p", "sh", "-c", &script]).status().unwrap();
    assert!(entered.success());
    eventually("the orphan is the server's", || {
        (orphan.exists() && children(first).len() == 1).then_some(())
    });
    fs::write(release, "").unwrap();
    eventually("the orphan is reaped", || children(first).is_empty().then_some(()));
}

#[test]
fn n33_a_server_whose_spool_is_new_says_so() {
    let mut server = Setup { config: Some(STRICT), users: &[BOB], ..Setup::default() }.start();
    let warnings = |server: &Server| server.log().matches("new spool, without mail: ").count();
    eventually("a first start says it", || (warnings(&server) == 1).then_some(()));
    server.kill();
    server.restart();
    assert!(warnings(&server) <= 1, "it was used before: {}", server.log());
    for is_mount_point in [true, false] {
        let before = warnings(&server);
        server.kill();
        fs::remove_dir_all(&server.spool).unwrap(); // its disk is not mounted
        if is_mount_point {
            fs::create_dir(&server.spool).unwrap();
        }
        server.restart();
        eventually("a start without the disk says it", || (warnings(&server) > before).then_some(()));
    }
}

#[test]
fn n35_a_tool_before_the_first_start_says_that_the_spool_is_not_there_yet() {
    let home = home();
    let config = configuration(home.path(), &home.path().join("spool"), STRICT);
    fs::write(home.path().join("restante.toml"), config).unwrap();
    fs::write(home.path().join("users.json"), "{}").unwrap();
    fs::write(home.path().join("mbox"), "").unwrap();
    for words in [&["fsck"][..], &["export", BOB], &["import", "--to", BOB, "mbox"]] {
        let words = [words, &["--config", "restante.toml"]].concat();
        let (code, said) = restante(&words, home.path(), None);
        assert!(code == Some(2) && said.contains("is not there: start the server once, or"), "{said}");
        assert!(said.contains("`mkdir -m 700 "), "{said}");
    }
}
