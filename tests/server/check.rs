//! `restante check` takes the steps of a start: it refuses what a start refuses, and is content only if nothing is
//! odd.

mod issuer;
mod mailboxes;
mod paths;
mod validity;

use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::common::{
    STRICT, Setup, disk::Mount, eventually, home, installed, listener, listener_at, skip, write_private,
};

/// A directory with a configuration that is good.
struct Story {
    home: TempDir,
}

impl Story {
    fn new() -> Self {
        let home = home();
        write_private(&home.path().join("users.json"), "{}");
        Self { home }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes the configuration, with `keys` before the listeners and `rest` after them.
    fn configure(&self, keys: &str, rest: &str) {
        let text = format!("hostname = \"mx.example.test\"\ndomains = [\"example.test\"]\n{keys}\n{rest}");
        fs::write(self.at("restante.toml"), text).unwrap();
    }

    fn restante(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command
            .args(words)
            .arg("--config")
            .arg(self.at("restante.toml"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a command that takes no configuration, in the directory.
    fn restante_alone(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.args(words).current_dir(self.home.path()).stdin(Stdio::null()).output().unwrap()
    }

    /// The exit code of `restante check`, and all that it says.
    fn check(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = self.restante(&[&["check"], words].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }

    /// The error of a start that fails.
    #[track_caller]
    fn serve_fails(&self) -> String {
        let output = self.restante(&["serve"]);
        assert!(output.status.code().is_some_and(|code| code != 0));
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn n01_what_a_start_refuses_check_refuses_in_the_same_words() {
    let story = Story::new();
    symlink("nowhere", story.at("dangling")).unwrap();
    let long = listener_at("lmtp", &format!("unix:{}", "x".repeat(120)), "");
    let no_group = listener_at("lmtp", "unix:lmtp.sock", "socket_group = \"no-such-group\"");
    let no_directory = listener_at("lmtp", "unix:run/lmtp.sock", "");
    let no_address = listener_at("smtp", "192.0.2.1:2525", "");
    let make = if rustix::process::geteuid().is_root() { "mkdir -p " } else { "install -d -o " };
    for (keys, rest, told) in [
        ("spool = \"no/such/spool\"", STRICT, &["spool: there is no directory ", make][..]),
        ("spool = \"users.json\"", STRICT, &["spool: ", "users.json is a file, a directory is needed"]),
        ("spool = \"users.json/spool\"", STRICT, &["users.json is a file, a directory is needed"]),
        ("spool = \"dangling\"", STRICT, &["dangling is a link to ", "nowhere, which is not there"]),
        ("", &no_group, &["there is no group \"no-such-group\" on this machine: correct socket_group"]),
        ("user = \"no-such-user\"", STRICT, &["user: there is no user \"no-such-user\""]),
        (
            "transcripts = \"users.json\"",
            STRICT,
            &["transcripts: ", "users.json is the file of `accounts` too"],
        ),
        ("transcripts = \"dangling\"", STRICT, &["transcripts: ", "dangling is a link to "]),
        ("transcripts = \"no/such\"", STRICT, &["transcripts: there is no directory "]),
        (
            "",
            &format!("{STRICT}[log]\ndestination = \"./no/log\""),
            &["log.destination: there is no directory "],
        ),
        ("", &format!("{STRICT}[log]\ndestination = \"./dangling/log\""), &["log.destination: "]),
        ("", &long, &["listen.address: the path of the socket has "]),
        ("", &no_directory, &["unix:", "there is no directory ", make]),
        ("", &no_address, &["does not have that address"]),
    ] {
        story.configure(keys, rest);
        let (code, said) = story.check(&[]);
        let served = story.serve_fails();
        assert_eq!(code, Some(2), "{keys}{rest}: {said}");
        for part in told {
            assert!(said.contains(part), "{part:?} is not in {said:?}");
            assert!(served.contains(part), "{part:?} is not in {served:?}");
        }
    }
    assert!(!story.at("spool").exists(), "check makes nothing");
}

#[test]
fn n63_a_file_of_the_operator_is_not_written_over() {
    let story = Story::new();
    let mailbox = story.at("spool/bob@example.test");
    fs::create_dir_all(mailbox.join("cur")).unwrap();
    write_private(&story.at("notes.txt"), "call the bank\n");
    write_private(&story.at("old.log"), "2026-11-30T08:00:00.000Z [INFO] ready\n");
    fs::hard_link(story.at("users.json"), story.at("second.prom")).unwrap();
    symlink(".", story.at("here")).unwrap();
    let metrics = |name: &str| format!("{STRICT}[metrics]\nfile = {name:?}\n");
    let log = |name: &str| format!("{STRICT}[log]\ndestination = {name:?}\n");
    let both = format!("{}[log]\ndestination = \"./here/m.prom\"\n", metrics("m.prom"));
    for (keys, rest, told) in [
        ("", metrics("users.json"), "users.json is the file of `accounts` too"),
        ("", metrics("here/./users.json"), "users.json is the file of `accounts` too"),
        ("", metrics("second.prom"), "second.prom is the file of `accounts` too"),
        ("", metrics("restante.toml"), "restante.toml is the file of the configuration itself too"),
        ("", metrics("notes.txt"), "notes.txt begins unlike metrics"),
        ("", metrics("spool/bob@example.test"), "is in "),
        ("", metrics("spool/bob@example.test/cur/1"), "is in "),
        ("", both, "m.prom is the file of `log.destination` too"),
        ("", log("./users.json"), "users.json is the file of `accounts` too"),
        ("", log("./notes.txt"), "notes.txt begins unlike a log of restante"),
        ("", log("./spool/new@example.test"), "is in "),
        ("aliases = \"notes.txt\"", log("./notes.txt"), "notes.txt is the file of `aliases` too"),
        ("transcripts = \"spool\"", STRICT.to_owned(), "spool is the file of `spool` too"),
        ("transcripts = \"spool/bob@example.test\"", STRICT.to_owned(), "is in "),
    ] {
        story.configure(keys, &rest);
        let (code, said) = story.check(&[]);
        assert!(code == Some(2) && said.contains(told), "{told:?} is not in {said:?}");
        let served = story.serve_fails();
        assert!(served.contains(told), "{told:?} is not in {served:?}");
    }
    story.configure("", &log("./old.log"));
    assert_eq!(story.check(&[]).0, Some(0));
    story.configure("", STRICT);
    for (name, told) in [
        ("notes.txt", "has other lines than"),
        ("users.json", "is the file of `accounts` too"),
        ("restante.toml", "is the file of the configuration itself too"),
        ("here/restante.toml", "is the file of the configuration itself too"),
    ] {
        let output = story.restante(&["serve", "--ports-file", story.at(name).to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(told), "{told:?} is not in {said:?}");
    }
    for (name, text) in [("users.json", "{}"), ("notes.txt", "call the bank\n")] {
        assert_eq!(fs::read_to_string(story.at(name)).unwrap(), text);
    }
    assert_eq!(fs::read_dir(&mailbox).unwrap().count(), 1, "nothing was made in the mailbox");
}

#[test]
fn h30_two_listeners_that_take_one_port_of_ipv4_are_refused_as_by_a_start() {
    let bindv6only = fs::read_to_string("/proc/sys/net/ipv6/bindv6only");
    if bindv6only.is_ok_and(|value| value.trim() == "1") {
        return; // the two are apart on this machine
    }
    let Ok(free) = TcpListener::bind("[::]:0") else {
        return skip(
            "h30_two_listeners_that_take_one_port_of_ipv4_are_refused_as_by_a_start",
            "no IPv6 here",
        );
    };
    let port = free.local_addr().unwrap().port();
    drop(free);
    let story = Story::new();
    for [first, second] in [["[::]", "0.0.0.0"], ["127.0.0.1", "[::]"]] {
        let at = |place: &str, service: &str| listener_at(service, &format!("{place}:{port}"), "");
        story.configure("", &(at(first, "smtp") + &at(second, "lmtp")));
        let (code, said) = story.check(&[]);
        assert!(
            code == Some(2) && said.contains(&format!("the listener at [::]:{port} takes IPv4 too")),
            "{said}"
        );
    }
}

#[test]
fn n66_n95_n193_n194_a_place_or_a_network_that_is_open_to_all_is_a_warning() {
    let story = Story::new();
    fs::create_dir(story.at("spool")).unwrap();
    let listener = |service: &str, keys: &str| listener_at(service, "0.0.0.0:0", keys);
    for (rest, told) in [
        (
            listener("submission", "trusted_networks = [\"0.0.0.0/0\"]"),
            "every machine is in trusted_networks of submission",
        ),
        (
            listener("submission", "trusted_networks = [\"0.0.0.0/1\", \"128.0.0.0/1\"]"),
            "0.0.0.0/1, a large part of the Internet, is in trusted_networks of submission",
        ),
        (
            listener("submission", "trusted_networks = [\"10.0.0.1/8\"]"),
            "# note: 10.0.0.1/8 in trusted_networks of submission stands for 10.0.0.0/8",
        ),
        (
            listener("smtp", "proxy_networks = [\"10.0.0.0/8\", \"::/0\"]"),
            "every machine is in proxy_networks of smtp",
        ),
        (
            listener("lmtp", ""),
            "lmtp at 0.0.0.0:0 believes every machine that reaches it: use a loopback address",
        ),
    ] {
        story.configure("", &rest);
        let (code, said) = story.check(&[]);
        assert!(code == Some(0) && said.contains(told), "{told:?} is not in {said:?}");
    }
    for spool in ["/", "/proc", "/sys/kernel"] {
        story.configure(&format!("spool = {spool:?}"), STRICT);
        let (code, said) = story.check(&[]);
        assert!(code == Some(2) && said.contains("is no place for mail"), "{spool}: {said:?}");
    }
    let rest = format!(
        "{}{}",
        listener_at("smtp", "127.0.0.1:4525", ""),
        listener_at("pop3", "[::ffff:127.0.0.1]:4525", "")
    );
    story.configure("", &rest);
    let (code, said) = story.check(&[]);
    assert!(code == Some(2) && said.contains("is taken by the listener at"), "{said:?}");
}

#[test]
fn n02_check_is_content_only_without_a_warning_and_strict_makes_warnings_a_failure() {
    let story = Story::new();
    story.configure("", STRICT);
    let (code, said) = story.check(&["--strict"]);
    assert!(code == Some(0) && said.contains("restante.toml is good; accounts: 0\n"), "{said}");
    assert!(!story.at("spool").exists(), "check makes nothing");
    let users =
        r#"{"bob@far.test": {"password_hash": "!", "addresses": ["bob@example.test", "x@away.test"]}}"#;
    for (users, rest, told) in [
        (
            "{}",
            format!("{STRICT}[metrics]\nfile = \"no/metrics.prom\""),
            "metrics.file: there is no directory ",
        ),
        ("{}", listener("submission", "persona = \"rfc821\""), "has no AUTH, so nobody can send"),
        (users, STRICT.to_owned(), "no mail arrives for bob@far.test: add \"far.test\" to `domains`"),
        (users, STRICT.to_owned(), "no mail arrives for x@away.test: add "),
    ] {
        fs::write(story.at("users.json"), users).unwrap();
        story.configure("", &rest);
        let (code, said) = story.check(&[]);
        assert!(code == Some(0) && said.contains(" works, with ") && said.contains("# warning: "), "{said}");
        assert!(said.contains(told) && !said.contains("is good"), "{told:?} is not in {said}");
        assert_eq!(story.check(&["--strict"]).0, Some(1));
    }
    fs::write(story.at("users.json"), "{}").unwrap();
    let text = format!("hostname = \"192.0.2.25\"\ndomains = [\"example.test\"]\n{STRICT}");
    fs::write(story.at("restante.toml"), text).unwrap();
    let (code, said) = story.check(&[]);
    assert!(
        code == Some(0) && said.contains("hostname = \"192.0.2.25\" is an address: write the name"),
        "{said}"
    );
}

#[test]
fn n51_a_log_for_a_syslog_daemon_that_is_not_there_is_a_warning() {
    let story = Story::new();
    let log = |to: &str| format!("{STRICT}[log]\ndestination = \"syslog:{}\"\n", story.at(to).display());
    story.configure("", &log("no-log"));
    let (code, said) = story.check(&[]);
    assert!(
        code == Some(0) && said.contains("# warning: ") && said.contains("so the log goes nowhere"),
        "{said}"
    );
    let _daemon = std::os::unix::net::UnixDatagram::bind(story.at("log")).unwrap();
    story.configure("", &log("log"));
    let (code, said) = story.check(&["--strict"]);
    assert!(code == Some(0) && said.contains("is good"), "{said}");
}

#[test]
fn n03_a_certificate_that_clients_reject_is_a_warning() {
    let story = Story::new();
    let make = |host: &str| {
        let _ = fs::remove_dir_all(story.at("tls")); // the first time there is none
        let output = Command::new(env!("CARGO_BIN_EXE_restante"))
            .args(["cert", "--self-signed", "--host", host])
            .arg(story.at("tls"))
            .output()
            .unwrap();
        assert!(output.status.success());
    };
    story.configure(
        "",
        &format!("{STRICT}[tls]\ncertificate = \"tls/certificate.pem\"\nkey = \"tls/key.pem\""),
    );
    make("mx.example.test");
    let (code, said) = story.check(&["--strict"]);
    assert!(code == Some(0) && said.contains("is good"), "{said}");
    make("mail.example.test");
    let (_, said) = story.check(&[]);
    assert!(said.contains("certificate.pem is not for mx.example.test, the `hostname`"), "{said}");
}

#[test]
fn n04_check_shows_what_differs_from_the_defaults_and_all_shows_everything() {
    let story = Story::new();
    story.configure("", &format!("{STRICT}[limits]\nsmtp.max_message_size = \"300 MiB\"\n"));
    let (_, said) = story.check(&[]);
    assert!(
        said.lines().count() < 20 && said.contains("\n[limits.smtp]\nmax_message_size = \"300 MiB\"\n"),
        "{said}"
    );
    let (hostname, spool) = (said.find("hostname = ").unwrap(), said.find("spool = ").unwrap());
    assert!(hostname < spool, "in the order of the file:\n{said}");
    let (_, all) = story.check(&["--all"]);
    assert!(all.lines().count() > 100 && all.contains("command_timeout"), "{all}");
    // Both are the same configuration.
    fs::write(story.at("restante.toml"), &said).unwrap();
    assert_eq!(story.check(&["--all"]).1, all);
}

#[test]
fn n05_a_server_that_runs_has_its_addresses_and_another_program_is_named() {
    let server = Setup { config: Some(STRICT), users: &["bob@example.test"], ..Setup::default() }.start();
    let story = Story { home: home() };
    write_private(&story.at("users.json"), "{}");
    let config = |spool: &Path| {
        let (smtp, pop3) = (server.smtp().to_string(), server.pop3().to_string());
        let listeners = listener_at("smtp", &smtp, "") + &listener_at("pop3", &pop3, "");
        story.configure(&format!("spool = {spool:?}"), &listeners);
    };
    config(&server.spool);
    let (code, said) = story.check(&["--strict"]);
    assert!(code == Some(0) && said.contains("is good"), "{said}");
    config(&story.at("spool"));
    let (code, said) = story.check(&[]);
    assert!(code == Some(2) && said.contains("another program listens there, find it with `ss "), "{said}");
    // Nothing was taken from the server.
    crate::common::client::Client::smtp(&server).ask("NOOP", "250");
}

#[test]
fn n53_an_address_that_a_start_cannot_have_is_refused_by_check_in_the_same_words() {
    let server = Setup { config: Some(STRICT), users: &["bob@example.test"], ..Setup::default() }.start();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let story = Story::new();
    let with_pop3_at = |keys: &str, address: &str| {
        story.configure(keys, &listener_at("pop3", address, ""));
    };
    // No server of the spool runs; then one runs, and has other addresses.
    for keys in [String::new(), format!("spool = {:?}", server.spool)] {
        with_pop3_at(&keys, &taken.to_string());
        let (code, said) = story.check(&[]);
        let advice =
            format!("another program listens there, find it with `ss -ltnp 'sport = :{}'`", taken.port());
        assert!(code == Some(2) && said.contains(&advice), "{keys}: {said}");
        assert!(story.serve_fails().contains(&advice), "{keys}");
    }
    let unprivileged = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"];
    if !installed("setpriv") || low_ports_are_for_everybody() {
        return skip(
            "n53 without the right to low ports",
            "setpriv is not installed, or every port is for everybody",
        );
    }
    with_pop3_at("", "127.0.0.1:110");
    let [checked, served] = ["check", "serve"].map(|command| {
        let mut words = Command::new(unprivileged[0]);
        words.args(&unprivileged[1..]).args([env!("CARGO_BIN_EXE_restante"), command, "--config"]);
        words.arg(story.at("restante.toml")).stdin(Stdio::null()).output().unwrap()
    });
    assert_eq!(checked.status.code(), Some(2));
    for said in [checked, served].map(|output| String::from_utf8(output.stderr).unwrap()) {
        assert!(said.contains("can't listen on 127.0.0.1:110 for pop3: Permission denied"), "{said}");
        assert!(said.contains("ports below 1024 need root or CAP_NET_BIND_SERVICE"), "{said}");
    }
}

fn low_ports_are_for_everybody() -> bool {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    first.trim().parse().is_ok_and(|first: u16| first <= 110)
}

#[test]
fn n06_a_spool_that_is_read_only_or_of_another_user_is_told() {
    let test = "n06_a_spool_that_is_read_only_or_of_another_user_is_told";
    if rustix::process::geteuid().is_root() {
        return as_root(test);
    }
    let story = Story::new();
    fs::create_dir(story.at("spool")).unwrap();
    fs::set_permissions(story.at("spool"), Permissions::from_mode(0o500)).unwrap();
    story.configure("", STRICT);
    let (code, said) = story.check(&[]);
    assert!(
        code == Some(2) && said.contains("has no permission for ") && said.contains("chmod u+rwx "),
        "{said}"
    );
}

/// Root may write anywhere except to a mount that is read-only, or full.
fn as_root(test: &str) {
    let story = Story::new();
    let spool = story.at("spool");
    fs::create_dir(&spool).unwrap();
    story.configure("", STRICT);
    let Some(mount) = Mount::new(&["-t", "tmpfs", "-o", "ro,size=1m", "none"], &spool) else {
        return skip(test, "cannot mount");
    };
    let checked = story.check(&[]);
    assert!(
        checked.0 == Some(0)
            && checked.1.contains("is read-only: no mail arrives, and IMAP opens no folder with "),
        "{}",
        checked.1
    );
    drop(mount);
    let Some(_mount) = Mount::new(&["-t", "tmpfs", "-o", "size=64k", "none"], &spool) else { return };
    fs::write(spool.join("ballast"), [0; 32 << 10]).unwrap();
    let (code, said) = story.check(&[]);
    assert!(code == Some(0) && said.contains("is full, so no mail arrives: make room"), "{said}");
}

#[test]
fn n07_a_spool_that_is_a_link_is_followed_and_nothing_below_it_is() {
    let began = Instant::now();
    let home = home();
    fs::create_dir(home.path().join("disk")).unwrap();
    let spool = home.path().join("spool");
    symlink("disk", &spool).unwrap();
    let config = format!("{STRICT}[limits]\nauth.failure_delay = \"0s\"\n");
    let server = Setup {
        config: Some(&config),
        users: &["bob@example.test"],
        spool: Some(spool.clone()),
        ..Setup::default()
    }
    .start();
    crate::common::client::deliver(&server, "bob@example.test", b"Subject: x\r\n\r\n");
    assert_eq!(fs::read_dir(home.path().join("disk/bob@example.test/new")).unwrap().count(), 1);
    // The link leads elsewhere: mail is refused, as for a spool that was replaced.
    fs::create_dir(home.path().join("other")).unwrap();
    fs::remove_file(&spool).unwrap();
    symlink("other", &spool).unwrap();
    eventually("mail is refused", || {
        let mut client = crate::common::client::Client::smtp(&server);
        client.begin_data("a@far.test", &["bob@example.test"]);
        client.write(b"Subject: x\r\n\r\n.\r\n");
        let reply = client.reply();
        (reply.starts_with("451") || began.elapsed() > Duration::from_secs(60)).then_some(())
    });
    server.tells("refusing deliveries and logins");
    assert_eq!(fs::read_dir(home.path().join("other")).unwrap().count(), 0);
}

#[test]
fn n68_a_spool_that_is_surely_none_is_refused_and_one_that_may_be_none_is_told() {
    let story = Story::new();
    fs::create_dir_all(story.at("home/Desktop")).unwrap();
    for (spool, told) in [
        (".", "restante.toml is in "),
        ("/tmp", "/tmp is no place for mail: name a directory of its own"),
        ("/", "/ is no place for mail: name a directory of its own"),
    ] {
        story.configure(&format!("spool = {spool:?}"), STRICT);
        let (code, said) = story.check(&[]);
        assert!(code == Some(2) && said.contains(told), "{spool}: {said}");
        let served = story.serve_fails();
        assert!(served.contains(told), "{spool}: {served}");
    }
    story.configure("spool = \"home\"", STRICT);
    let (code, said) = story.check(&[]);
    assert!(code == Some(0) && said.contains("# warning: ") && said.contains("(Desktop)"), "{said}");
}
