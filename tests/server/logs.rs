//! The log without a reader, without room and without a daemon: mail goes on, and the server reports how many
//! lines were lost. And the lines of the real server in front of fail2ban.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::net::UnixDatagram,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use crate::common::{
    self, STRICT, Server, Setup,
    client::{Client, deliver},
    disk::SmallDisk,
    eventually, home, installed, listeners, skip,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustix::{
    fs::{Mode, OFlags},
    process::Signal,
};

const ALICE: &str = "alice@example.test";
const LETTER: &[u8] = b"Subject: x\r\n\r\n";

/// A server with a section `[log]`, and figures in its home.
fn logging_to(to: &str, level: &str) -> Server {
    let log = format!(
        "[log]\ndestination = {to:?}\nlevel = {level:?}\n[metrics]\nfile = \"./figures\"\ninterval = \"1s\"\n"
    );
    let config = format!("{log}{STRICT}\n[limits]\nsmtp.hard_error_limit = 0\nsmtp.soft_error_limit = 0\n");
    Setup { config: Some(&config), users: &[ALICE], ..Setup::default() }.start()
}

/// Mail in and mail out.
#[track_caller]
fn assert_serves(server: &Server, messages: usize) {
    deliver(server, ALICE, LETTER);
    Client::pop3(server, ALICE).ask("STAT", &format!("+OK {messages} "));
}

/// Makes the server log that many lines.
fn chatter(server: &Server, lines: usize) {
    let mut client = Client::smtp(server);
    for _ in 0..lines.div_ceil(100) {
        client.write(&b"XYZZY with some words to be logged\r\n".repeat(100));
        (0..100).for_each(|_| drop(client.expect("500 ")));
    }
}

/// A number of the file of figures.
fn figure(server: &Server, name: &str) -> Option<f64> {
    let text = fs::read_to_string(server.home.path().join("figures")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[track_caller]
fn assert_counts_dropped_lines(server: &Server) {
    eventually("dropped lines are counted", || {
        figure(server, "restante_log_dropped_total").filter(|dropped| *dropped > 0.0)
    });
}

#[test]
fn o04_a_log_on_a_full_device_costs_lines_and_no_mail() {
    let server = logging_to("/dev/full", "debug");
    (1..4).for_each(|messages| assert_serves(&server, messages));
    assert_counts_dropped_lines(&server);
}

#[test]
fn o04_standard_error_on_a_full_device_costs_lines_and_no_mail() {
    let wrapper = &["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"];
    let mut server = Setup { wrapper, arguments: &["--log-level", "debug"], ..Setup::default() }.start();
    (1..4).for_each(|messages| assert_serves(&server, messages));
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn o04_a_pipe_that_nobody_reads_holds_up_neither_mail_nor_the_end_and_tells_what_it_has_lost() {
    let place = home();
    let pipe = place.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    let reader = rustix::fs::open(&pipe, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    let script = format!("exec \"$@\" 2>'{}'", pipe.display());
    let mut server = Setup { wrapper: &["sh", "-c", &script, "sh"], ..Setup::default() }.start();
    // The pipe holds 64 KiB, the queue 4,096 lines.
    chatter(&server, 6000);
    assert_serves(&server, 1);
    // Now a reader empties the pipe.
    rustix::fs::fcntl_setfl(&reader, OFlags::empty()).unwrap();
    let text = Arc::<Mutex<Vec<u8>>>::default();
    let reading = {
        let (text, mut reader) = (Arc::clone(&text), File::from(reader));
        thread::spawn(move || {
            let mut piece = vec![0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut piece) {
                text.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        })
    };
    let read = || String::from_utf8(text.lock().unwrap().clone()).unwrap();
    eventually("it is told what was lost", || {
        chatter(&server, 1);
        read().contains(" log dropped=").then_some(())
    });
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    reading.join().unwrap();
    let text = read();
    let lost: usize =
        text.lines().filter_map(|line| line.split_once("log dropped=")?.1.parse::<usize>().ok()).sum();
    let told = text.lines().filter(|line| line.contains(" refused ")).count();
    assert!(lost > 0 && told > 4000, "{lost} lost, {told} told");
    let whole = |line: &str| line.starts_with("20") && line.contains("Z [");
    assert!(text.lines().all(whole), "{:?}", text.lines().find(|line| !whole(line)));
}

#[test]
fn o04_a_pipe_that_is_never_read_keeps_the_server_from_nothing() {
    let place = home();
    let pipe = place.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    let script = format!("exec \"$@\" 2<>'{}'", pipe.display());
    let mut server = Setup { wrapper: &["sh", "-c", &script, "sh"], ..Setup::default() }.start();
    chatter(&server, 6000);
    assert_serves(&server, 1);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn o04_a_full_disk_under_the_log_costs_lines_until_there_is_room_again() {
    let Some(disk) = SmallDisk::mount("200k") else {
        return skip(
            "o04_a_full_disk_under_the_log_costs_lines_until_there_is_room_again",
            "mounting a tmpfs needs root",
        );
    };
    let log = disk.dir.path().join("restante.log");
    let server = logging_to(log.to_str().unwrap(), "info");
    let filler = disk.fill(8 * 1024);
    chatter(&server, 500);
    assert_serves(&server, 1);
    assert_counts_dropped_lines(&server);
    fs::remove_file(filler).unwrap();
    chatter(&server, 1);
    let text = eventually("the log goes on", || {
        let text = fs::read_to_string(&log).unwrap();
        text.contains("[WARN] log dropped=").then_some(text)
    });
    // The line that was cut off is a line of its own, and the only one.
    let broken = text.lines().filter(|line| !line.starts_with("20") || !line.contains("Z [")).count();
    assert!(broken <= 1, "{text}");
}

#[test]
fn o04_a_syslog_daemon_that_is_not_there_is_waited_for_by_nobody_but_the_log() {
    let mut server = logging_to("syslog:./syslog", "info");
    assert!(
        server.log().contains("syslog accepts the log: it goes nowhere until one runs there"),
        "{}",
        server.log()
    );
    assert_serves(&server, 1);
    for messages in 2..4 {
        let daemon = Daemon::listen(&server.home.path().join("syslog"));
        assert_serves(&server, messages);
        if messages == 2 {
            daemon.hears("log dropped=");
        }
        let line = daemon.hears(" smtp accepted ");
        assert!(line.starts_with("<22>restante["), "{line}");
    }
    // The server does not wait for a daemon that takes nothing off its queue, either.
    let _daemon = Daemon::listen(&server.home.path().join("syslog"));
    chatter(&server, 6000);
    assert_serves(&server, 4);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

/// A syslog daemon; gone when it is dropped.
struct Daemon {
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Daemon {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(common::PATIENCE)).unwrap();
        Self { socket, path: path.to_owned() }
    }

    /// The next line that says that.
    #[track_caller]
    fn hears(&self, what: &str) -> String {
        loop {
            let mut said = [0; 2000];
            let length = self.socket.recv(&mut said).unwrap();
            let said = String::from_utf8(said[..length].to_vec()).unwrap();
            if said.contains(what) {
                return said;
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        fs::remove_file(&self.path).unwrap();
    }
}

#[test]
fn a_delivery_and_a_visit_are_one_line_each() {
    let server = logging_to("./restante.log", "info");
    deliver(&server, ALICE, LETTER);
    let mut client = Client::pop3(&server, ALICE);
    client.retr(1);
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
    let text = eventually("everything is told", || {
        let text = fs::read_to_string(server.home.path().join("restante.log")).unwrap();
        (text.contains("pop3 closed ") && text.contains("smtp closed ")).then_some(text)
    });
    assert_eq!(server.log().lines().count(), 1, "only the place of the log is on standard error");
    let line =
        |what: &str| text.lines().find(|line| line.contains(what)).unwrap().split_once(what).unwrap().1;
    let accepted = line(" smtp accepted ");
    assert!(accepted.starts_with("peer=127.0.0.1 id=c"), "{accepted}");
    assert!(
        accepted.contains(&format!(" from=<sender@far.test> to=<{ALICE}> rcpts=1 octets=")),
        "{accepted}"
    );
    let took = accepted.split_once(" tls=no duration=").unwrap().1.strip_suffix("ms").unwrap();
    assert!(took.parse::<f64>().is_ok(), "{accepted}");
    assert_eq!(line(" pop3 login "), format!("peer=127.0.0.1 ok=true user={ALICE} mechanism=USER tls=no"));
    let closed = line(" pop3 closed ");
    assert!(
        closed.starts_with(&format!("peer=127.0.0.1 user={ALICE} messages=0 read=1 deleted=1 ")),
        "{closed}"
    );
    assert!(line(" smtp closed ").starts_with("peer=127.0.0.1 messages=1 read=0 deleted=0 received="));
}

#[test]
fn a_log_that_was_moved_away_is_opened_anew_at_sighup_and_loses_no_line() {
    let server = logging_to("./restante.log", "info");
    let home = server.home.path();
    let read = |name: &str| fs::read_to_string(home.join(name)).unwrap_or_default();
    for n in 1..4 {
        deliver(&server, ALICE, LETTER);
        fs::rename(home.join("restante.log"), home.join(format!("restante.log.{n}"))).unwrap();
        deliver(&server, ALICE, LETTER);
        if n == 3 {
            fs::write(home.join("restante.toml"), "no configuration").unwrap();
        }
        server.signal(Signal::HUP);
        eventually("the log is opened anew", || fs::metadata(home.join("restante.log")).ok());
    }
    deliver(&server, ALICE, LETTER);
    eventually("no line is lost, and none is doubled", || {
        let logs = ["restante.log", "restante.log.1", "restante.log.2", "restante.log.3"].map(read);
        let told = logs[0].contains("configuration reload failed");
        (told && logs.concat().matches(" smtp accepted ").count() == 7).then_some(())
    });
}

#[test]
fn the_log_goes_elsewhere_when_a_reload_says_so_or_stays_and_says_why() {
    let server = logging_to("./one.log", "info");
    let home = server.home.path();
    let read = |name: &str| fs::read_to_string(home.join(name)).unwrap_or_default();
    let text = read("restante.toml");
    let reload = |from: &str, to: &str| {
        fs::write(home.join("restante.toml"), text.replace(from, to)).unwrap();
        server.signal(Signal::HUP);
    };
    reload("./one.log", "./not/there.log");
    eventually("it stays", || {
        read("one.log").contains("[ERROR] the log stays where it is: cannot open ").then_some(())
    });
    reload("./one.log", "./two.log");
    eventually("it goes", || home.join("two.log").exists().then_some(()));
    reload("level = \"info\"", "level = \"debug\"");
    eventually("it comes back, and tells more", || {
        deliver(&server, ALICE, LETTER);
        read("one.log").contains("[DEBUG] ").then_some(())
    });
}

#[test]
fn sigusr1_puts_the_figures_into_the_log() {
    let server = logging_to("./restante.log", "info");
    deliver(&server, ALICE, LETTER);
    server.signal(Signal::USR1);
    let text = eventually("the figures are told", || {
        let text = fs::read_to_string(server.home.path().join("restante.log")).unwrap();
        text.contains("status panics_total=0").then_some(text)
    });
    for figure in
        ["status messages_received_total[smtp]=1", " delivery_seconds_count=1", "status queue[deliveries]=0 "]
    {
        assert!(text.contains(figure), "{figure:?} is not in {text}");
    }
}

/// The texts in the calls of the log's macros, and in the functions of `logging`.
fn texts_for_the_log(source: &str) -> Vec<&str> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let calls = ["error!(", "warn!(", "info!(", "debug!(", "log!("];
    let of = |call: &str| code.match_indices(call).map(|(at, _)| &code[at..]).collect::<Vec<_>>();
    // The format string ends with a quote that an argument or the end follows.
    let format =
        |text| str::split(text, "\")").next().and_then(|text| text.split("\",").next()).unwrap_or_default();
    calls.iter().flat_map(|call| of(call)).map(format).collect()
}

#[test]
fn lines_of_the_log_have_the_words_of_operators() {
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let (mut texts, mut wrong) = (0, Vec::new());
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            for text in texts_for_the_log(&source) {
                texts += 1;
                let old =
                    ["looked through", "let go", "turned away", "told", "stood", "figures", "by itself"];
                let old_keys = ["why", "took", "lasted", "stood"].map(|key| format!(" {key}="));
                let old = old.iter().copied().chain(old_keys.iter().map(String::as_str));
                let found = old.filter(|word| text.contains(*word));
                wrong.extend(found.map(|word| format!("{}: {word} in {text}", path.display())));
            }
        }
    }
    assert!(texts > 60, "{texts}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The address that all wrong passwords of these tests come from, and one that an attacker would like to see
/// banned.
const OURS: &str = "127.0.0.1";
const FRAMED: &str = "198.51.100.9";

/// A server with this destination of its log, after some wrong passwords, and their number.
fn tried(wrapper: &[&str], to: &str) -> (Server, usize) {
    let more = listeners(&["submission", "imap", "http"]);
    let limits = "auth.failure_delay = \"0s\"\nauth.max_failures_per_connection = 0\npop3.login_error_limit = 0\nsmtp.greeting_error_limit = 0\n";
    let config = format!("[log]\ndestination = {to:?}\n{STRICT}{more}[limits]\n{limits}");
    let server = Setup { wrapper, config: Some(&config), users: &[ALICE], ..Setup::default() }.start();
    let names = [
        ALICE.to_owned(),
        FRAMED.to_owned(),
        format!("x mechanism=USER tls=no peer={FRAMED} ok=false"),
        format!("\" mechanism=USER tls=no login peer={FRAMED} ok=false user=\"x"),
        format!("c1 pop3 login peer={FRAMED} ok=false user=x mechanism=USER tls=no"),
        format!("[INFO] c1 smtp login peer={FRAMED} ok=false user=x mechanism=PLAIN tls=no"),
        "\u{e9}".repeat(200),
        // Blanks at which a program that reads the log may end the name.
        "alice+\u{3000}x\u{a0}\u{2003}y@example.test".to_owned(),
    ];
    let mut pop3 = Client::connect(server.pop3());
    pop3.expect("+OK");
    for name in &names {
        pop3.ask(&format!("USER {name}"), "+OK");
        pop3.ask("PASS wrong", "-ERR [AUTH]");
    }
    let mut submission = Client::smtp_at(server.addresses("submission")[0]);
    submission.ask("AUTH PLAIN AGFsaWNlAHdyb25n", "535 ");
    let mut imap = Client::connect(server.addresses("imap")[0]);
    imap.expect("* OK");
    imap.ask(&format!("a LOGIN \"x peer={FRAMED} ok=false\" wrong"), "a NO [AUTHENTICATIONFAILED]");
    let mut http = Client::connect(server.addresses("http")[0]);
    let credentials = STANDARD.encode(format!("x http login peer={FRAMED} ok=false user=y:wrong"));
    let fields = format!("Host: localhost\r\nAuthorization: Basic {credentials}\r\n");
    http.ask(&format!("GET /api/v1/messages HTTP/1.1\r\n{fields}"), "HTTP/1.1 401 ");
    // Lines that report no wrong password.
    submission.ask(&format!("MAIL FROM:<{FRAMED}@login.test>"), "530 ");
    submission.ask(&format!("login peer={FRAMED} ok=false user=x mechanism=PLAIN tls=no"), "500 ");
    Client::pop3(&server, ALICE).ask("QUIT", "+OK");
    (server, names.len() + 3)
}

/// The addresses that the filter finds in a log, one for each wrong password.
fn found(log: &Path, mode: &str) -> Vec<String> {
    let filter = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fail2ban/filter.d/restante.conf");
    let mut command = Command::new("fail2ban-regex");
    command
        .args(["--usedns", "no", "--out", "ip"])
        .arg(log)
        .arg(format!("{}[mode={mode}]", filter.display()));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.stderr.is_empty() || !text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[track_caller]
fn assert_found(server: &Server, log: &Path, expected: usize) {
    eventually("the last one is told", || {
        fs::read_to_string(log).ok().filter(|text| text.contains("ok=true"))
    });
    assert_eq!(found(log, "normal"), vec![OURS; expected], "{}\n{}", server.log(), log.display());
}

fn fail2ban(test: &str) -> bool {
    let there = installed("fail2ban-regex");
    if !there {
        skip(test, "fail2ban is not installed");
    }
    there
}

#[test]
fn t22_fail2ban_finds_wrong_passwords_in_a_file_and_nobody_who_is_named_by_another() {
    if !fail2ban("t22_fail2ban_finds_wrong_passwords_in_a_file_and_nobody_who_is_named_by_another") {
        return;
    }
    let (server, expected) = tried(&[], "./restante.log");
    let log = server.home.path().join("restante.log");
    assert_found(&server, &log, expected);
    let mut smtp = Client::smtp(&server);
    smtp.ask("MAIL FROM:<a@far.test>", "250");
    smtp.ask(&format!("RCPT TO:<{FRAMED}@far.test>"), "550 5.7.1 ");
    smtp.ask(&format!("RCPT TO:<{FRAMED}@example.test>"), "550 5.1.1 ");
    eventually("an attempt to relay is found, too", || {
        (found(&log, "aggressive") == vec![OURS; expected + 2]).then_some(())
    });
}

#[test]
fn t22_fail2ban_finds_them_in_what_the_journal_gets_and_keeps() {
    if !fail2ban("t22_fail2ban_finds_them_in_what_the_journal_gets_and_keeps") {
        return;
    }
    let script = "export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2); exec \"$@\"";
    let (server, expected) = tried(&["sh", "-c", script, "sh"], "stderr");
    let log = server.home.path().join("log");
    assert_found(&server, &log, expected);
    let text = server.log();
    assert!(text.lines().all(|line| line.starts_with('<') && &line[2..3] == ">"), "{text}");
    // As fail2ban has it from the journal: time, host, program, message.
    let kept: String = text
        .lines()
        .map(|line| format!("2026-11-21T18:00:00+0000 mx restante[77]: {}\n", &line[3..]))
        .collect();
    let journal = server.home.path().join("journal");
    fs::write(&journal, kept).unwrap();
    assert_found(&server, &journal, expected);
}

#[test]
fn t22_fail2ban_finds_them_in_standard_error_and_in_syslog() {
    if !fail2ban("t22_fail2ban_finds_them_in_standard_error_and_in_syslog") {
        return;
    }
    let (server, expected) = tried(&[], "stderr");
    assert_found(&server, &server.home.path().join("log"), expected);

    let place = home();
    let daemon = Daemon::listen(&place.path().join("syslog"));
    let log = place.path().join("mail.log");
    let (server, expected) = tried(&[], &format!("syslog:{}", place.path().join("syslog").display()));
    let mut text = String::new();
    while !text.contains("ok=true") {
        let line = daemon.hears("");
        let (_, line) = line.split_once('>').unwrap();
        text.push_str(&format!("Nov 21 18:00:00 mx {line}\n"));
    }
    fs::write(&log, text).unwrap();
    assert_found(&server, &log, expected);
}
