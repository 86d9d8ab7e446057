//! The common parts of the black-box tests: a server process for each test, clients that speak in lines, and access
//! to the Maildir. Nothing here depends on the inside of the server: only on its command line, its ports file, the
//! two protocols and the files that it leaves.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod client;
pub(crate) mod dice;
pub(crate) mod disk;
pub(crate) mod hostile;
pub(crate) mod inject;
pub(crate) mod mutt;
pub(crate) mod programs;
pub(crate) mod secure;
pub(crate) mod storm;
pub(crate) mod tools;

use std::{
    ffi::OsString,
    fs,
    io::Write,
    net::{IpAddr, SocketAddr},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The settings of a server to start.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// A program, with its arguments, that starts the server: `strace …`, `sh -c …`.
    pub(crate) wrapper: &'a [&'a str],
    /// `None` is `restante dev`; else `restante serve` with these listeners and limits.
    pub(crate) config: Option<&'a str>,
    /// Accounts of `restante serve`; the password of all of them is [`PASSWORD`].
    pub(crate) users: &'a [&'a str],
    /// More words of the command line.
    pub(crate) arguments: &'a [&'a str],
    /// The spool, if it is not in the server's own temporary directory.
    pub(crate) spool: Option<PathBuf>,
    /// Descriptors for its standard input and output, which a wrapper moves elsewhere; two at most.
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Setup<'_> {
    pub(crate) fn start(self) -> Server {
        let home = home();
        let spool = self.spool.unwrap_or_else(|| home.path().join("spool"));
        let mut argv: Vec<OsString> = self.wrapper.iter().map(OsString::from).collect();
        argv.push(env!("CARGO_BIN_EXE_restante").into());
        if let Some(config) = self.config {
            let file = home.path().join("restante.toml");
            fs::create_dir_all(&spool).unwrap();
            write_users(&home.path().join("users.json"), self.users);
            fs::write(&file, configuration(home.path(), &spool, config)).unwrap();
            argv.extend(["serve".into(), "--config".into(), file.into()]);
        } else {
            argv.extend(["dev".into(), "--spool".into(), spool.clone().into()]);
            argv.extend(["--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0"].map(OsString::from));
        }
        argv.extend(self.arguments.iter().map(OsString::from));
        argv.extend(["--ports-file".into(), home.path().join("ports").into()]);
        let (descriptors, runtime) = (self.descriptors, self::home());
        let child = launch(&argv, home.path(), runtime.path(), &descriptors);
        let mut server = Server { child, runtime, argv, descriptors, ports: Vec::new(), spool, home };
        server.ports = server.wait_for_ports();
        server
    }
}

/// Strict SMTP and POP3, each on its own port.
pub(crate) const STRICT: &str = r#"
[[listen]]
protocol = "smtp"
address = "127.0.0.1:0"

[[listen]]
protocol = "pop3"
address = "127.0.0.1:0"
"#;

/// A listener for that service, on a port of its own and with these further keys.
pub(crate) fn listener(service: &str, more: &str) -> String {
    listener_at(service, "127.0.0.1:0", more)
}

/// A listener for that service at an address, with these further keys.
pub(crate) fn listener_at(service: &str, address: &str, more: &str) -> String {
    format!("[[listen]]\nprotocol = {service:?}\naddress = {address:?}\n{more}\n")
}

/// Listeners for these services without a further key.
pub(crate) fn listeners(services: &[&str]) -> String {
    services.iter().map(|service| listener(service, "")).collect()
}

/// The key of a listener that this machine reaches as a proxy, so that each client of a test has an address of its own.
pub(crate) const BEHIND_A_PROXY: &str = "proxy_networks = [\"127.0.0.0/8\"]\n";

/// The first line of a proxy for a client at that address.
pub(crate) fn proxy_header(client: &str) -> String {
    let client: IpAddr = client.parse().unwrap();
    let (family, to) = if client.is_ipv4() { ("TCP4", "192.0.2.25") } else { ("TCP6", "2001:db8::25") };
    format!("PROXY {family} {client} {to} 4711 25\r\n")
}

/// A configuration file with all required keys, followed by `rest`.
pub(crate) fn configuration(home: &Path, spool: &Path, rest: &str) -> String {
    format!(
        "hostname = \"mx.example.test\"\ndomains = [\"example.test\"]\nspool = {spool:?}\naccounts = {:?}\n{rest}",
        home.join("users.json"),
    )
}

pub(crate) const PASSWORD: &str = "sesame";

/// The MD5 of [`PASSWORD`]: the kind of hash that old account files have.
pub(crate) const PASSWORD_MD5: &str = "c8dae1c50e092f3d877192fc555b1dcf";

fn write_users(file: &Path, users: &[&str]) {
    let entry = |user| format!("{user:?}: {{\"password_hash\": {PASSWORD_MD5:?}, \"inbox\": {user:?}}}");
    let entries: Vec<String> = users.iter().map(entry).collect();
    fs::write(file, format!("{{{}}}", entries.join(", "))).unwrap();
}

/// A temporary directory on the disk of the build, where fsync is real; `/tmp` may be memory.
pub(crate) fn home() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A directory in memory, where the server writes small messages without a name: on a disk it does so only if a
/// journal keeps them.
pub(crate) fn memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

/// Writes a file that only its owner can read, as `restante user` does with accounts.
pub(crate) fn write_private(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A running server. It is killed when the test ends, and its log is shown if the test fails.
pub(crate) struct Server {
    child: Child,
    argv: Vec<OsString>,
    descriptors: Vec<OwnedFd>,
    ports: Vec<(String, SocketAddr)>,
    pub(crate) spool: PathBuf,
    pub(crate) home: TempDir,
    /// The directory for its metrics, which go with it when it is killed.
    pub(crate) runtime: TempDir,
}

impl Server {
    /// Starts `restante dev`, in which every address has a mailbox.
    pub(crate) fn dev() -> Self {
        Setup::default().start()
    }

    /// Starts `restante serve` with strict line ends, for alice and bob at example.test.
    pub(crate) fn strict() -> Self {
        let config = format!("{STRICT}\n[limits]\nauth.failure_delay = \"0s\"\n");
        let users = &["alice@example.test", "bob@example.test"];
        Setup { config: Some(&config), users, ..Setup::default() }.start()
    }

    /// Starts the same command in the same directories again.
    pub(crate) fn restart(&mut self) {
        self.kill();
        fs::remove_file(self.home.path().join("ports")).unwrap();
        self.child = launch(&self.argv, self.home.path(), self.runtime.path(), &self.descriptors);
        self.ports = self.wait_for_ports();
    }

    pub(crate) fn addresses(&self, protocol: &str) -> Vec<SocketAddr> {
        self.ports.iter().filter(|(name, _)| name == protocol).map(|(_, address)| *address).collect()
    }

    pub(crate) fn smtp(&self) -> SocketAddr {
        self.addresses("smtp")[0]
    }

    pub(crate) fn pop3(&self) -> SocketAddr {
        self.addresses("pop3")[0]
    }

    pub(crate) fn maildir(&self, user: &str) -> Maildir {
        Maildir { path: self.spool.join(user) }
    }

    /// Whether the server has a message for that mailbox open, with or without a name in `tmp/`.
    pub(crate) fn is_writing_to(&self, user: &str) -> bool {
        let tmp = self.maildir(user).path.join("tmp");
        let files = fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let mut files = files.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok()); // it may be closed by now
        files.any(|file| file != tmp && file.starts_with(&tmp))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A line of `/proc/PID/status` that counts KiB.
    pub(crate) fn status_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The CPU time that the server has used so far, in clock ticks: hundredths of a second.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the server ends", || self.child.try_wait().unwrap())
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill(); // it may have ended already
        self.child.wait().unwrap();
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.home.path().join("log")).unwrap()).into_owned()
    }

    /// Waits until the log has that text, because another thread writes the log.
    #[track_caller]
    pub(crate) fn tells(&self, what: &str) {
        eventually(what, || self.log().contains(what).then_some(()));
    }

    fn wait_for_ports(&mut self) -> Vec<(String, SocketAddr)> {
        let file = self.home.path().join("ports");
        let text = eventually("the ports file is there", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the server ended at once: {status}");
            }
            fs::read_to_string(&file).ok()
        });
        text.lines()
            .map(|line| line.split_once('=').unwrap())
            .filter(|(_, place)| !place.starts_with("unix:"))
            .map(|(protocol, address)| (protocol.into(), address.parse().unwrap()))
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let from = log.lines().count().saturating_sub(100);
            eprintln!("--- the end of what the server logged:");
            log.lines().skip(from).for_each(|line| eprintln!("{line}"));
        }
    }
}

fn launch(argv: &[OsString], home: &Path, runtime: &Path, descriptors: &[OwnedFd]) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(home.join("log")).unwrap();
    let (out, err) = (log.try_clone().unwrap(), log);
    let given = |n: usize| descriptors.get(n).map(|fd| Stdio::from(fd.try_clone().unwrap()));
    let mut command = Command::new(&argv[0]);
    command.env("XDG_RUNTIME_DIR", runtime);
    command.args(&argv[1..]).stdin(given(0).unwrap_or_else(Stdio::null));
    command.stdout(given(1).unwrap_or_else(|| out.into())).stderr(err).spawn().unwrap()
}

/// The mailbox of one user on the disk.
pub(crate) struct Maildir {
    pub(crate) path: PathBuf,
}

impl Maildir {
    /// The files of `new/`, `cur/` or `tmp/` in the order of their delivery; none if the mailbox is not there.
    pub(crate) fn files(&self, sub: &str) -> Vec<PathBuf> {
        let Ok(dir) = fs::read_dir(self.path.join(sub)) else { return Vec::new() };
        let mut files: Vec<PathBuf> = dir.map(|entry| entry.unwrap().path()).collect();
        files.sort_by(|a, b| {
            let name = |path: &PathBuf| path.file_name().unwrap().as_bytes().to_vec();
            restante::maildir::name::sort_key(&name(a)).cmp(&restante::maildir::name::sort_key(&name(b)))
        });
        files
    }

    /// The content of the only message in this mailbox.
    pub(crate) fn only_message(&self) -> Vec<u8> {
        let files = [self.files("new"), self.files("cur")].concat();
        assert_eq!(files.len(), 1, "{files:?}");
        fs::read(&files[0]).unwrap()
    }

    /// Puts a file into `new/`, as other programs do, and creates the mailbox if it does not exist.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        for sub in ["tmp", "new", "cur"] {
            fs::create_dir_all(self.path.join(sub)).unwrap();
        }
        let (tmp, new) = (self.path.join("tmp").join(name), self.path.join("new").join(name));
        fs::write(&tmp, content).unwrap();
        fs::rename(&tmp, &new).unwrap();
        new
    }
}

/// Sets its flag at the end of the test, also when the test fails.
pub(crate) struct AtTheEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Calls `look` until it returns a value.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Prints on the terminal that a test can't run here, because the test harness captures `println!`.
pub(crate) fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}"); // a closed terminal is no failure
}

/// Whether a program is installed.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// The library that gives a process another clock.
///
/// A process with it that is killed leaves its semaphore, and the library then refuses a process that gets the same number.
/// So those of processes that are gone are removed first.
pub(crate) fn faketime() -> Option<PathBuf> {
    for file in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let owner =
            name.split_once("faketime_").and_then(|(_, rest)| rest.rsplit('_').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            let _ = fs::remove_file(file.path()); // another test may have been faster
        }
    }
    let libraries = fs::read_dir("/usr/lib").ok()?;
    let mut found = libraries.flatten().map(|dir| dir.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|library| library.is_file())
}

/// The longest time that a test waits for an event that should come at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
