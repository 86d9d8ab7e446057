//! SIGHUP: another configuration while sessions run, and bad ones that change nothing.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
};

use crate::common::{
    self, PASSWORD, PASSWORD_MD5, STRICT, Server, Setup,
    client::Client,
    eventually, home,
    inject::{Fault, can_inject},
    secure::{BOTH, Keys, make_pair, over, replace},
};
use rustix::process::Signal;

const ALICE: &str = "alice@example.test";

/// Only SIGHUP makes the server read these files again.
fn config() -> String {
    let limits = "auth.reload_interval = \"1h\"\ntls.reload_interval = \"1h\"\nauth.failure_delay = \"0s\"";
    // The tests add files and directories that the sandbox could not know at the start; tests/server/confined.rs is
    // about the sandbox.
    format!("sandbox = \"off\"{STRICT}\n[limits]\n{limits}\n")
}

/// A server, and its configuration, to be changed under it.
struct Story {
    server: Server,
    file: PathBuf,
    good: String,
    /// The number of reloads that have ended.
    ended: usize,
}

impl Story {
    fn new(config: &str) -> Self {
        let server = Setup { config: Some(config), users: &[ALICE], ..Setup::default() }.start();
        let file = server.home.path().join("restante.toml");
        let good = fs::read_to_string(&file).unwrap();
        Self { server, file, good, ended: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.server.home.path().join(name)
    }

    /// Writes the good configuration with this difference.
    #[track_caller]
    fn write(&self, from: &str, to: &str) {
        let changed = self.good.replacen(from, to, 1);
        assert_ne!(changed, self.good, "{from:?} is not in the configuration");
        fs::write(&self.file, changed).unwrap();
    }

    /// Sends SIGHUP, and returns the last line of the log about it.
    #[track_caller]
    fn reload(&mut self) -> String {
        self.server.signal(Signal::HUP);
        self.ended += 1;
        self.wait()
    }

    /// The last line of the log about the newest reload.
    #[track_caller]
    fn wait(&self) -> String {
        let ended = self.ended;
        eventually("the reload ends", || {
            let log = self.server.log();
            let mut ends = log.lines().filter(|line| is_end(line));
            ends.nth(ended - 1).map(str::to_owned)
        })
    }

    #[track_caller]
    fn loads(&mut self) {
        let end = self.reload();
        assert!(end.contains("configuration loaded listeners="), "{end}");
    }

    fn check(&self) -> (Option<i32>, String) {
        let mut check = Command::new(env!("CARGO_BIN_EXE_restante"));
        let output = check.args(["check", "--config"]).arg(&self.file).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The address that the newest listener of a service has.
    fn newest(&self, service: &str) -> SocketAddr {
        let log = self.server.log();
        let mark = format!(" {service} listening address=");
        log.lines().filter_map(|line| line.split_once(&mark)).next_back().unwrap().1.parse().unwrap()
    }
}

fn is_end(line: &str) -> bool {
    line.contains("configuration loaded") || line.contains("configuration reload failed, keeping the old one")
}

fn pop3_at(address: SocketAddr, user: &str) -> Client {
    let mut client = Client::connect(address);
    client.expect("+OK");
    client.ask(&format!("USER {user}"), "+OK");
    client.ask(&format!("PASS {PASSWORD}"), "+OK");
    client
}

/// Whether `restante check` finds the mistake too.
enum Check {
    /// Here: a part of its message.
    Refuses(&'static str),
    /// Only a running server finds it.
    IsContent,
}

use Check::{IsContent, Refuses};

/// A kind of bad configuration.
struct Bad {
    name: &'static str,
    /// A text of the good configuration, and its replacement.
    change: (String, String),
    /// Another file, and its new content.
    file: Option<(&'static str, &'static str)>,
    told: String,
    check: Check,
}

fn bad(name: &'static str, from: &str, to: &str, told: impl Into<String>, check: Check) -> Bad {
    Bad { name, change: (from.into(), to.into()), file: None, told: told.into(), check }
}

#[test]
fn o02_a_bad_configuration_changes_nothing_and_check_says_the_same() {
    let mut story = Story::new(&config());
    let (keys, other) = (Keys::make(), Keys::make());
    let tls = |certificate: PathBuf, key: PathBuf| {
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n[limits]")
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let (pop3, first) = ("[[listen]]\nprotocol = \"pop3\"", "address = \"127.0.0.1:0\"");
    let at_smtp = format!("address = \"{}\"", story.server.smtp());
    let users = format!("{:?}", story.path("users.json"));
    let nowhere = story.path("nowhere.pem");
    for Bad { name, change: (from, to), file, told, check } in [
        bad(
            "not TOML",
            "[limits]",
            "[limits",
            "line 14, column 8: unclosed table",
            Refuses("line 14, column 8: "),
        ),
        bad(
            "a key that is not known",
            "domains",
            "domain",
            "line 2, column 1: unknown key `domain`: did you mean `domains`?",
            Refuses("line 2, column 1: unknown key `domain`"),
        ),
        bad(
            "a value of another type",
            "[\"example.test\"]",
            "25",
            "line 2, column 11: domains: invalid type",
            Refuses("line 2, column 11: domains: "),
        ),
        bad(
            "an address that is none",
            "127.0.0.1:0",
            "localhost",
            "line 8, column 11: listen.address: \"localhost\" is not an address",
            Refuses("line 8, column 11: listen.address: "),
        ),
        bad(
            "an address that another program has",
            first,
            &format!("address = \"{taken}\""),
            format!(
                "line 8, column 11: listen.address: can't listen on {taken} for smtp: Address already in use"
            ),
            Refuses("another program listens there"),
        ),
        bad(
            "a port that this server has at another address",
            first,
            &at_smtp.replace("127.0.0.1", "0.0.0.0"),
            format!("this server is at {}, which it closes only after", story.server.smtp()),
            IsContent,
        ),
        bad(
            "two listeners at one address",
            "address = \"127.0.0.1:0\"\n\n[[listen]]\nprotocol = \"pop3\"\naddress = \"127.0.0.1:0\"",
            "address = \"127.0.0.1:2\"\n\n[[listen]]\nprotocol = \"pop3\"\naddress = \"127.0.0.1:2\"",
            "line 12, column 11: listen.address: 127.0.0.1:2 is taken by another listener",
            Refuses("line 12, column 11: listen.address: "),
        ),
        bad(
            "no certificate where one is needed",
            pop3,
            &pop3.replace("pop3", "pop3s"),
            "listen.tls: there is no certificate",
            Refuses("line 10, column 1: listen.tls: there is no certificate"),
        ),
        bad(
            "a key that does not match",
            "[limits]",
            &tls(keys.certificate(), other.key()),
            "line 16, column 7: tls.key: the key in",
            Refuses("line 16, column 7: tls.key: the key in"),
        ),
        bad(
            "a certificate that is not there",
            "[limits]",
            &tls(nowhere, keys.key()),
            "line 15, column 15: tls.certificate: cannot read",
            Refuses("line 15, column 15: tls.certificate: cannot read"),
        ),
        bad(
            "a limit that is out of range",
            "auth.reload_interval = \"1h\"",
            "disk.workers = 0",
            "line 15, column 16: limits.disk.workers: 0 is out of range",
            Refuses("line 15, column 16: limits.disk.workers: "),
        ),
        bad(
            "a domain that is none",
            "example.test\"]",
            "ex ample\"]",
            "line 2, column 12: domains: \"ex ample\" is not a domain",
            Refuses("line 2, column 12: domains: "),
        ),
        bad(
            "accounts that are not there",
            &users,
            "\"nowhere.json\"",
            "line 4, column 12: accounts: there are no accounts at",
            Refuses("line 4, column 12: accounts: "),
        ),
        Bad {
            file: Some(("broken.json", "{\n  \"alice")),
            ..bad(
                "accounts that are broken",
                &users,
                "\"broken.json\"",
                "broken.json, line 2, column 8: ",
                Refuses("broken.json, line 2, column 8: "),
            )
        },
        Bad {
            file: Some(("aliases", "# a loop\none: other\nother: one\n")),
            ..bad(
                "aliases that lead to each other",
                "hostname",
                "aliases = \"aliases\"\nhostname",
                "aliases, line 3, column 8: it leads round in a circle",
                Refuses("aliases, line 3, column 8: it leads round in a circle"),
            )
        },
        bad(
            "aliases that cannot be read",
            "hostname",
            "aliases = \"nowhere\"\nhostname",
            "line 1, column 11: aliases: cannot read",
            Refuses("line 1, column 11: aliases: cannot read"),
        ),
        bad(
            "another spool",
            "spool = \"",
            "spool = \"/tmp/..",
            "line 3, column 9: spool: this cannot change while the server runs: run `restante check --config ",
            IsContent,
        ),
        bad(
            "a spool that others share",
            "hostname",
            "shared_spool = true\nhostname",
            "shared_spool: this",
            IsContent,
        ),
        bad(
            "mail for everybody",
            "hostname",
            "unknown_recipients = \"create\"\nhostname",
            "unknown_recipients: this cannot",
            IsContent,
        ),
    ] {
        let mut smtp = Client::smtp(&story.server);
        let mut alice = pop3_at(story.server.pop3(), ALICE);
        file.into_iter().for_each(|(name, text)| fs::write(story.path(name), text).unwrap());
        story.write(&from, &to);
        let end = story.reload();
        let until = if matches!(check, IsContent) { " until a restart" } else { "" };
        let failed = format!("[ERROR] configuration reload failed, keeping the old one{until}: ");
        assert!(end.contains(&failed), "{name}: {end}");
        assert!(end.contains(&told), "{name}: {told:?} is not in {end:?}");

        let (code, said) = story.check();
        match check {
            Refuses(told) => {
                assert!(code == Some(2) && said.contains(told), "{name}: {told:?} is not in {said:?}");
            }
            IsContent => assert_eq!(code, Some(0), "{name}: {said}"),
        }
        alice.ask("QUIT", "+OK");
        assert!(smtp.deliver(&[ALICE], b"Subject: x\r\n\r\n").starts_with("250 2.0.0 "), "{name}");
        Client::smtp(&story.server).ask("NOOP", "250");
    }

    fs::remove_file(&story.file).unwrap();
    let end = story.reload();
    assert!(end.contains("cannot read") && end.contains("restante.toml"), "a file that is gone: {end}");
    assert_eq!(story.check().0, Some(2));
    fs::write(&story.file, &story.good).unwrap();
    story.loads();
    let mut alice = pop3_at(story.server.pop3(), ALICE);
    alice.ask("STAT", "+OK 19 ");
}

#[test]
fn listeners_come_and_go_and_their_sessions_live_on() {
    let mut story = Story::new(&config());
    let (smtp, pop3) = (story.server.smtp(), story.server.pop3());
    let mut old = Client::smtp_at(smtp);
    old.ask("MAIL FROM:<a@far.test>", "250");
    let more = "[[listen]]\nprotocol = \"lmtp\"\naddress = \"unix:lmtp.sock\"\n\n\
                [[listen]]\nprotocol = \"submission\"\naddress = \"127.0.0.1:0\"\nauth_allow_cleartext = true\n";
    story.write("[[listen]]\nprotocol = \"smtp\"\naddress = \"127.0.0.1:0\"\n", more);
    story.loads();

    let new = story.newest("submission");
    assert_eq!(new, smtp, "port 0 was written for it: the socket that was there will do");
    let mut client = Client::smtp_at(new);
    client.ask("MAIL FROM:<a@far.test>", "530 ");
    assert!(std::os::unix::net::UnixStream::connect(story.path("lmtp.sock")).is_ok());
    pop3_at(pop3, ALICE).ask("QUIT", "+OK");
    old.ask(&format!("RCPT TO:<{ALICE}>"), "250"); // as a listener for smtp has it

    fs::write(&story.file, &story.good).unwrap();
    story.loads();
    eventually("the file of the socket is removed", || (!story.path("lmtp.sock").exists()).then_some(()));
    let elsewhere = free_address();
    story.write("127.0.0.1:0", &elsewhere.to_string());
    story.loads();
    Client::smtp_at(elsewhere).ask("NOOP", "250");
    assert!(TcpStream::connect(smtp).is_err(), "let go");
    story.server.tells(&format!("smtp listener closed address={smtp}"));
    pop3_at(pop3, ALICE).ask("QUIT", "+OK");
    old.ask("DATA", "354");
    old.write(b"Subject: x\r\n\r\n.\r\n");
    old.expect("250 2.0.0 ");
    client.ask("NOOP", "250");
}

/// An address that is free now; another program may be faster, but not likely.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn other_limits_names_and_accounts_are_for_new_sessions() {
    let mut story = Story::new(&config());
    let mut old = Client::smtp(&story.server);
    let changed = story
        .good
        .replace("mx.example.test", "mx2.example.test")
        .replace("[\"example.test\"]", "[\"example.test\", \"second.test\"]")
        .replace("users.json", "others.json")
        .replace(
            "[limits]",
            "[limits]\nsmtp.max_message_size = \"1 MiB\"\npop3.login_delay = \"1h\"\ndisk.workers = 9\n",
        );
    let hash = format!("{{\"password_hash\": {PASSWORD_MD5:?}}}");
    fs::write(story.path("others.json"), format!("{{\"carol@second.test\": {hash}}}")).unwrap();
    fs::write(&story.file, changed).unwrap();
    story.loads();
    story.server.tells("limits.disk.workers changed: takes effect after a restart");

    let ehlo = old.ask("EHLO again.test", "250");
    assert!(ehlo.contains(" mx.example.test") || ehlo.contains("-mx.example.test"), "{ehlo}");
    assert!(ehlo.contains("SIZE 52428800"), "{ehlo}");
    let mut new = Client::connect(story.server.smtp());
    new.expect("220 mx2.example.test");
    assert!(new.ask("EHLO client.test", "250").contains("SIZE 1048576"));
    let reply = new.deliver(&["carol@second.test"], b"Subject: x\r\n\r\n");
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    let stored = story.server.maildir("carol@second.test").files("new");
    assert!(stored[0].to_string_lossy().contains(".mx2.example.test,S="), "{stored:?}");
    new.ask("MAIL FROM:<a@far.test>", "250");
    new.ask(&format!("RCPT TO:<{ALICE}>"), "550 5.1.1 ");

    // The hash of an old kind is replaced in the current file, and the delay between logins is the current one.
    pop3_at(story.server.pop3(), "carol@second.test").ask("QUIT", "+OK");
    eventually("the hash is replaced", || {
        fs::read_to_string(story.path("others.json")).unwrap().contains("$argon2").then_some(())
    });
    let mut again = Client::connect(story.server.pop3());
    again.expect("+OK");
    again.ask("USER carol@second.test", "+OK");
    again.ask(&format!("PASS {PASSWORD}"), "-ERR [LOGIN-DELAY]");
}

#[test]
fn o03_a_certificate_is_read_again_with_the_configuration_and_a_bad_pair_changes_nothing() {
    let keys = Keys::make();
    let config = config().replace("\"pop3\"", "\"pop3s\"");
    let tls = format!("[tls]\ncertificate = {:?}\nkey = {:?}\n", keys.certificate(), keys.key());
    let mut story = Story::new(&(config + &tls));
    let pop3s = story.server.addresses("pop3s")[0];
    let trusting = |keys: &Keys| Client::over(over(common::client::socket(pop3s), &keys.trusted(BOTH)));
    let mut visitor = trusting(&keys);
    visitor.expect("+OK");
    for _ in 0..5 {
        let renewed = home();
        make_pair(renewed.path());
        let new = |name: &str| fs::read(renewed.path().join(name)).unwrap();
        let old = fs::read(keys.certificate()).unwrap();
        replace(&keys.certificate(), &new("certificate.pem"));
        let end = story.reload();
        assert!(end.contains("tls.key: the key in"), "{end}");
        replace(&keys.certificate(), &old);
        trusting(&keys).expect("+OK");

        replace(&keys.certificate(), &new("certificate.pem"));
        replace(&keys.key(), &new("key.pem"));
        story.loads();
        trusting(&keys).expect("+OK");
        visitor.ask("CAPA", "+OK");
        visitor.text();
    }
    let other = Keys::make();
    story.good =
        story.good.replace(keys.certificate().to_str().unwrap(), other.certificate().to_str().unwrap());
    story.write(keys.key().to_str().unwrap(), other.key().to_str().unwrap());
    story.loads();
    trusting(&other).expect("+OK");
    visitor.ask("QUIT", "+OK");
}

#[test]
fn a_disk_that_does_not_answer_keeps_nobody_waiting() {
    if !can_inject("a_disk_that_does_not_answer") {
        return;
    }
    let mut story = Story::new(&config());
    let mut client = Client::smtp(&story.server);
    Fault::new("openat:delay_enter=2000000").on(&story.file).during(&story.server, || {
        story.server.signal(Signal::HUP);
        story.server.tells("configuration reload started");
        client.ask("NOOP", "250");
        // Signals of a kind that come close together may be one; of two kinds the lower number is taken first.
        story.server.signal(Signal::HUP);
        story.server.signal(Signal::USR1);
        story.server.tells(" status ");
        client.ask("NOOP", "250");
        Client::smtp(&story.server).ask("NOOP", "250");
        let ended = || story.server.log().lines().filter(|line| is_end(line)).count();
        assert_eq!(ended(), 0, "the disk has not answered yet");
        // The second request is served after the first reload, when the disk answers.
        eventually("both reloads end", || (ended() == 2).then_some(()));
        story.server.signal(Signal::HUP);
        story.server.signal(Signal::TERM);
        client.expect("421 4.3.2 ");
    });
    drop(client);
    assert_eq!(story.server.wait().code(), Some(0), "not even its end waits for the disk");
}

#[test]
fn any_number_of_signals_at_any_time_leaves_the_newest_configuration_or_an_end_in_good_order() {
    let mut story = Story::new(&config());
    let mut client = Client::smtp(&story.server);
    for n in 0..20 {
        story.write("mx.example.test", &format!("mx{n}.example.test"));
        story.server.signal(Signal::HUP);
        story.server.signal(Signal::HUP);
    }
    eventually("the newest is in force", || {
        let mut client = Client::connect(story.server.smtp());
        client.expect("220 ").contains(" mx19.").then_some(())
    });
    client.ask("NOOP", "250");
    // Reloads that are under way when the end comes, and those that come after it.
    client.ask("MAIL FROM:<a@far.test>", "250");
    client.ask(&format!("RCPT TO:<{ALICE}>"), "250");
    story.server.signal(Signal::HUP);
    story.server.signal(Signal::TERM);
    story.server.signal(Signal::HUP);
    client.expect("421 4.3.2 ");
    drop(client);
    assert_eq!(story.server.wait().code(), Some(0));
}
