//! The interface to a service manager: sockets handed over, readiness, the watchdog; and starts that fail.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::common::{
    PATIENCE, STRICT, Server, Setup, client::Client, configuration, eventually, home, installed, listener,
    listener_at, listeners, skip,
};
use rustix::process::Signal;

const ALICE: &str = "alice@example.test";

/// A shell that hands its standard input over as descriptor 3.
const ONE: &str = "exec 3<&0 </dev/null; export LISTEN_PID=$$; exec \"$@\"";
/// The same with its standard output as descriptor 4.
const TWO: &str = "exec 3<&0 4>&1 </dev/null >&2; export LISTEN_PID=$$; exec \"$@\"";

/// A socket as systemd opens one, and its address.
fn tcp() -> (OwnedFd, std::net::SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket.into(), address)
}

fn names(names: &str) -> [String; 2] {
    [format!("LISTEN_FDS={}", names.split(':').count()), format!("LISTEN_FDNAMES={names}")]
}

#[test]
fn sockets_of_the_manager_are_served_by_name_and_survive_a_restart() {
    let dir = home();
    let path = dir.path().join("lmtp.sock");
    let ((mail_in, address), lmtp) = (tcp(), UnixListener::bind(&path).unwrap());
    let config = listener_at("smtp", "systemd:mail-in", "")
        + &listener_at("lmtp", "systemd:restante-lmtp.socket", "")
        + &listener("pop3", "");
    let [count, names] = names("mail-in:restante-lmtp.socket");
    let mut server = Setup {
        wrapper: &["env", &count, &names, "sh", "-c", TWO, "sh"],
        config: Some(&config),
        users: &[ALICE],
        descriptors: vec![mail_in, lmtp.into()],
        ..Setup::default()
    }
    .start();
    assert_eq!(server.smtp(), address);
    let served_by_lmtp = || {
        let mut line = String::new();
        BufReader::new(UnixStream::connect(&path).unwrap()).read_line(&mut line).unwrap();
        line
    };
    assert!(served_by_lmtp().starts_with("220 "));
    Client::smtp_at(address).ask("NOOP", "250");

    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(path.exists(), "the socket is the manager's");
    let mut early = Client::connect(address);
    server.restart();
    early.expect("220 "); // it came while nobody was there, and waited
    assert!(served_by_lmtp().starts_with("220 "));
}

#[test]
fn one_listener_takes_all_sockets_of_its_name() {
    let ((one, first), (other, second)) = (tcp(), tcp());
    let [count, names] = names("smtp:smtp");
    let server = Setup {
        wrapper: &["env", &count, &names, "sh", "-c", TWO, "sh"],
        config: Some(&(listener_at("smtp", "systemd:smtp", "") + &listener("pop3", ""))),
        descriptors: vec![one, other],
        ..Setup::default()
    }
    .start();
    assert_eq!(server.addresses("smtp"), [first, second]);
    for address in [first, second] {
        Client::smtp_at(address).ask("NOOP", "250");
    }
    // They stay at a reload; a socket that was never passed cannot come, and one that was cannot go.
    let file = server.home.path().join("restante.toml");
    let config = fs::read_to_string(&file).unwrap();
    for (from, to, told) in [
        ("systemd:smtp", "127.0.0.1:0", "the socket of systemd:smtp would have no listener"),
        ("systemd:smtp", "systemd:other", "no socket for systemd:other was passed at the start"),
        ("\"smtp\"", "\"submission\"", "configuration loaded listeners=3"),
    ] {
        fs::write(&file, config.replace(from, to)).unwrap();
        server.signal(Signal::HUP);
        server.tells(told);
    }
    for address in [first, second] {
        Client::smtp_at(address).ask("MAIL FROM:<a@b.test>", "530 ");
    }
}

/// The result of a start with that as descriptor 3, under that name.
fn start_with(descriptor: OwnedFd, environment: &[&str], listeners: &str) -> Output {
    let home = home();
    let file = home.path().join("restante.toml");
    fs::write(home.path().join("users.json"), "{}").unwrap();
    fs::write(&file, configuration(home.path(), &home.path().join("spool"), listeners)).unwrap();
    fs::create_dir(home.path().join("spool")).unwrap();
    let mut command = Command::new("env");
    command.args(environment).args(["sh", "-c", ONE, "sh", env!("CARGO_BIN_EXE_restante"), "serve"]);
    command.arg("--config").arg(file).stdin(Stdio::from(descriptor)).output().unwrap()
}

#[test]
fn sockets_that_do_not_fit_the_configuration_are_told_and_nothing_starts() {
    let smtp = listener_at("smtp", "systemd:smtp", "");
    let dir = home();
    let (tcp, unix) = (|| tcp().0, UnixListener::bind(dir.path().join("x")).unwrap());
    let stream = {
        let (socket, address) = self::tcp();
        let stream = TcpStream::connect(address).unwrap();
        drop(socket);
        stream
    };
    let one = "LISTEN_FDS=1";
    for (descriptor, environment, listeners, told) in [
        (
            tcp(),
            [one, "LISTEN_FDNAMES=other"],
            &smtp,
            "no socket named \"smtp\" was passed by the service manager",
        ),
        (
            tcp(),
            ["LISTEN_FDS=0", "LISTEN_FDNAMES="],
            &smtp,
            "nor any other: add a socket unit with FileDescriptorName=smtp",
        ),
        (
            tcp(),
            [one, "LISTEN_FDNAMES=pop3"],
            &STRICT.to_owned(),
            "a socket \"pop3\", and no listener uses it",
        ),
        (tcp(), [one, "LISTEN_FDNAMES=smtp:pop3"], &smtp, "LISTEN_FDNAMES has 2 names for the 1 sockets"),
        (
            tcp(),
            ["LISTEN_FDS=many", "LISTEN_FDNAMES=smtp"],
            &smtp,
            "LISTEN_FDS=many is not a number of sockets",
        ),
        (
            tcp(),
            ["LISTEN_FDS=2", "LISTEN_FDNAMES=smtp:pop3"],
            &smtp,
            "\"pop3\" (descriptor 4): it is not a stream socket",
        ),
        (
            File::open("/dev/null").unwrap().into(),
            [one, "LISTEN_FDNAMES=smtp"],
            &smtp,
            "it is not a stream socket",
        ),
        (
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            [one, "LISTEN_FDNAMES=smtp"],
            &smtp,
            "it is not a stream socket as created by ListenStream=",
        ),
        (
            stream.into(),
            [one, "LISTEN_FDNAMES=smtp"],
            &smtp,
            "it does not listen: set Accept=no in the socket unit",
        ),
        (unix.into(), [one, "LISTEN_FDNAMES=smtp"], &smtp, "only lmtp may use a socket file"),
    ] {
        let output = start_with(descriptor, &environment, listeners);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(told), "{told:?} is not in {said:?}");
    }
}

/// A service manager that receives the notifications of the server.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn at(dir: &Path) -> Self {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    fn address(&self) -> String {
        format!("NOTIFY_SOCKET={}", self.path.display())
    }

    /// The next notification of the server.
    fn told(&self) -> String {
        let mut text = [0; 4096];
        let length = self.socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }
}

#[test]
fn the_manager_is_told_when_clients_are_served_and_when_they_are_not() {
    let dir = home();
    let manager = Manager::at(dir.path());
    let address = manager.address();
    let config = listeners(&["smtp", "pop3"]);
    let mut server =
        Setup { wrapper: &["env", &address], config: Some(&config), users: &[ALICE], ..Setup::default() }
            .start();
    let ready = manager.told();
    let expected = format!("READY=1\nSTATUS=serving smtp at {}, pop3 at {}\n", server.smtp(), server.pop3());
    assert_eq!(ready, expected);

    server.signal(Signal::HUP);
    let reloading = manager.told();
    let when = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().lines().next().unwrap();
    assert!(when.parse::<u64>().unwrap() > 0, "{reloading}");
    assert_eq!(manager.told(), expected);

    let file = server.home.path().join("restante.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("hostname", "host_name")).unwrap();
    server.signal(Signal::HUP);
    assert!(manager.told().starts_with("RELOADING=1\n"));
    let refused = manager.told();
    assert!(
        refused.starts_with("READY=1\nSTATUS=configuration reload failed, keeping the old one: "),
        "{refused}"
    );
    assert!(refused.contains("host_name"), "{refused}");

    let _idle = Client::smtp(&server);
    server.signal(Signal::TERM);
    assert_eq!(manager.told(), "STOPPING=1\nSTATUS=shutting down, 1 connection\n");
    server.wait();
}

#[test]
fn a_server_that_does_not_start_is_never_ready() {
    let (dir, first) = (home(), Server::dev());
    let manager = Manager::at(dir.path());
    manager.socket.set_nonblocking(true).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(["dev", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--spool"])
        .arg(&first.spool)
        .env("NOTIFY_SOCKET", &manager.path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(manager.socket.recv(&mut [0; 100]).is_err());
}

#[test]
fn the_watchdog_hears_a_loop_that_turns_and_not_one_that_stands() {
    let dir = home();
    let manager = Manager::at(dir.path());
    let address = manager.address();
    let config = listener("smtp", "");
    let start = Instant::now();
    let server = Setup {
        wrapper: &["env", &address, "WATCHDOG_USEC=400000"],
        config: Some(&config),
        ..Setup::default()
    }
    .start();
    assert!(manager.told().starts_with("READY=1\n"));
    for _ in 0..6 {
        assert_eq!(manager.told(), "WATCHDOG=1\n");
    }
    assert!(start.elapsed() >= Duration::from_millis(900), "not more often than is useful");

    server.signal(Signal::STOP);
    eventually("it stands", || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        status.contains("State:\tT").then_some(())
    });
    manager.socket.set_nonblocking(true).unwrap();
    while manager.socket.recv(&mut [0; 100]).is_ok() {}
    manager.socket.set_nonblocking(false).unwrap();
    manager.socket.set_read_timeout(Some(Duration::from_millis(800))).unwrap();
    assert!(manager.socket.recv(&mut [0; 100]).is_err(), "nobody says that it turns");
    server.signal(Signal::CONT);
    manager.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(manager.told(), "WATCHDOG=1\n");
}

/// A start that must fail: its exit code and its messages.
fn fails_to_start(wrapper: &[&str], home: &Path, listeners: &str) -> (Option<i32>, String) {
    let file = home.join("restante.toml");
    fs::write(home.join("users.json"), "{}").unwrap();
    fs::write(&file, configuration(home, &home.join("spool"), listeners)).unwrap();
    let mut words = wrapper.to_vec();
    words.extend([env!("CARGO_BIN_EXE_restante"), "serve", "--config", file.to_str().unwrap()]);
    let output = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn o06_an_address_that_cannot_be_had_ends_the_start_and_nothing_is_half_started() {
    let unprivileged: &[&str] =
        &["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"];
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (wrapper, address, advice) in [
        (&[][..], taken.as_str(), "another program listens there"),
        (&[], "[2001:db8::1]:2525", "this machine does not have that address"),
        (unprivileged, "127.0.0.1:25", "CAP_NET_BIND_SERVICE"),
    ] {
        if wrapper.first().is_some_and(|program| !installed(program)) || low_ports_are_for_everybody(wrapper)
        {
            skip(
                "o06 without the right to low ports",
                "setpriv is not installed, or every port is for everybody",
            );
            continue;
        }
        let home = home();
        let first = listener_at("lmtp", "unix:lmtp.sock", "") + &listener("smtp", "");
        let (code, said) = fails_to_start(wrapper, home.path(), &(first + &listener_at("pop3", address, "")));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(address) && said.contains(advice), "{said}");
        let mut left: Vec<_> =
            fs::read_dir(home.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["restante.toml", "users.json"], "no spool, no socket file");
    }
}

fn low_ports_are_for_everybody(wrapper: &[&str]) -> bool {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    !wrapper.is_empty() && first.trim().parse().is_ok_and(|first: u16| first <= 25)
}

#[test]
fn o07_the_descriptor_limit_is_raised_and_the_connections_that_it_allows_are_told() {
    if !installed("prlimit") {
        return skip("o07", "prlimit is not installed");
    }
    let config = format!("{STRICT}\n[limits]\nconnections.max = 5000\n");
    let server = Setup {
        wrapper: &["prlimit", "--nofile=100:1000"],
        config: Some(&config),
        users: &[ALICE],
        ..Setup::default()
    }
    .start();
    server.tells(" descriptors=1000");
    let log = server.log();
    let room = log.lines().find_map(|line| line.split_once("capacity connections=")).unwrap().1;
    let (connections, rest) = room.split_once(' ').unwrap();
    // Descriptors that this process has inherited count too.
    assert!((190..240).contains(&connections.parse().unwrap()), "{room}");
    assert!(rest.starts_with("mailboxes=2") && rest.contains(" recipients=8"), "{room}");
    server.tells(&format!(
        "limits.connections.max is 5000, and the descriptors are enough for {connections}: "
    ));
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("1000"), "{files}");
}

#[test]
fn o10_a_server_that_stood_still_ends_each_session_once_and_does_not_storm() {
    let config = format!(
        "{STRICT}\n[limits]\nsmtp.command_timeout = \"2s\"\nauth.reload_interval = \"1s\"\nsmtp.greeting_timeout = \"2s\"\n"
    );
    let arguments = &["--log-level", "debug"];
    let server = Setup { config: Some(&config), users: &[ALICE], arguments, ..Setup::default() }.start();
    let mut idle: Vec<Client> = (0..20).map(|_| Client::smtp(&server)).collect();
    server.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(4)); // the time that passes is what this is about
    let before = server.cpu_ticks();
    server.signal(Signal::CONT);
    for client in &mut idle {
        client.expect("421 4.4.2 ");
        assert_eq!(client.rest(), b"", "told once");
    }
    drop(idle);
    // A turn later the ended sessions have left no work behind: a new client is served, and no thread spins.
    Client::smtp(&server).ask("NOOP", "250");
    std::thread::sleep(Duration::from_secs(1));
    let used = server.cpu_ticks() - before;
    assert!(used < 50, "{used} ticks");
    let timeouts = || {
        let log = server.log();
        let is_one = |line: &&str| line.contains(" closed ") && line.ends_with("reason=\"timeout\"");
        log.lines().filter(is_one).count()
    };
    eventually("each end is told", || (timeouts() >= 20).then_some(()));
    assert_eq!(timeouts(), 20);
}

#[test]
fn a_status_is_written_to_the_log_when_it_is_asked_for() {
    let server = Server::strict();
    let mut alice = Client::pop3(&server, ALICE);
    let _idle = Client::smtp(&server);
    server.signal(Signal::USR1);
    for told in [
        &format!("status version={} pid={} up=", env!("CARGO_PKG_VERSION"), server.pid()),
        &format!("status listener protocol=smtp address={} connections=1", server.smtp()),
        "status connections http=0 imap=0 lmtp=0 pop3=1 smtp=1 proxy_pending=0 addresses=1 max=",
        "status queues disk=",
        "status mailboxes open=1 indexed=1 accounts=2 free=",
    ] {
        server.tells(told);
    }
    alice.ask("STAT", "+OK");
}

#[test]
fn the_end_of_the_terminal_ends_a_server_for_development() {
    let mut server = Server::dev();
    let mut client = Client::smtp(&server);
    server.signal(Signal::HUP);
    client.expect("421 4.3.2 ");
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
}
