//! Parts that the benches share: the server as a child process, the load generator as another one, fresh
//! directories on a real disk, and the settings.
//!
//! The rule: everything is black-box. The server is the real binary, spoken to through sockets and looked
//! at through `/proc`; nothing here links a line of it.

#![allow(dead_code)] // each benchmark is a crate of its own and uses a part of this

pub(crate) mod client;
pub(crate) mod configured;
pub(crate) mod disk_alone;
pub(crate) mod dovecot;
pub(crate) mod dovecot_daemon;
pub(crate) mod figures;
pub(crate) mod foreign_mailbox;
pub(crate) mod http_load;
pub(crate) mod imap_client;
pub(crate) mod imap_idle;
pub(crate) mod imap_load;
pub(crate) mod login_load;
pub(crate) mod pace;
pub(crate) mod plain_imap;
pub(crate) mod plain_server;
pub(crate) mod pop3_load;
pub(crate) mod postfix_daemon;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod smtp_load;
pub(crate) mod table;
pub(crate) mod tls;
pub(crate) mod web_load;

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};
use tempfile::TempDir;

/// The length and the size of measurements: `--quick`, and `BENCH_SECONDS` for the length of each measurement.
pub(crate) struct Settings {
    pub(crate) seconds: f64,
    pub(crate) quick: bool,
}

impl Settings {
    /// Reads the command line and the environment. `cargo bench` passes `--bench`; without it we were
    /// started by `cargo test --all-targets`, which only wants to know that the benchmark runs.
    pub(crate) fn load() -> Self {
        let given = |flag: &str| env::args().any(|arg| arg == flag);
        let quick = given("--quick") || !given("--bench");
        let asked = env::var("BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
        Self { seconds: asked.unwrap_or(if quick { 0.5 } else { 5.0 }), quick }
    }
}

/// Fresh directories, all removed together at the end: ext4 creates files slowly for minutes after many were
/// deleted, and would charge that to the next measurement.
pub(crate) struct Scratch {
    root: TempDir,
    used: u32,
}

impl Scratch {
    pub(crate) fn new() -> io::Result<Self> {
        let root = tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        // Programs of others deliver as users of their own, and have to get in.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self { root, used: 0 })
    }

    pub(crate) fn fresh(&mut self) -> io::Result<PathBuf> {
        self.used += 1;
        let path = self.root.path().join(self.used.to_string());
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// The file system and the number of processors, for the first line of a report.
    pub(crate) fn describe(&self) -> String {
        format!("{}, {} processors", self.file_system(), processors())
    }

    pub(crate) fn file_system(&self) -> String {
        match rustix::fs::statfs(self.root.path()).map(|found| found.f_type as u64) {
            Ok(0xef53) => "ext4".to_owned(),
            Ok(0x5846_5342) => "XFS".to_owned(),
            Ok(0x9123_683e) => "btrfs".to_owned(),
            Ok(0x0102_1994) => "tmpfs (no disk: the figures for durable mail mean nothing)".to_owned(),
            Ok(other) => format!("file system 0x{other:x}"),
            Err(error) => error.to_string(),
        }
    }
}

pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(0, usize::from)
}

/// A running `restante`; dropped, it is asked to stop, and waited for.
pub(crate) struct Server {
    process: Running,
    pub(crate) smtp: SocketAddr,
    pub(crate) pop3: SocketAddr,
    pub(crate) lmtp: Option<SocketAddr>,
    /// The address of IMAP, if the server has it.
    pub(crate) imap: Option<SocketAddr>,
    /// Addresses of SMTP and POP3 under TLS from the first octet, if the server has them.
    pub(crate) smtps: Option<SocketAddr>,
    pub(crate) pop3s: Option<SocketAddr>,
    /// The web inbox and its API.
    pub(crate) http: Option<SocketAddr>,
}

impl Server {
    /// `restante dev`: every recipient is accepted and every password is right. It keeps no sessions for the web inbox.
    pub(crate) fn dev(dir: &Path) -> io::Result<Self> {
        let mut command = dev_command(dir);
        command.arg("--no-http");
        Self::start(command, dir)
    }

    /// The same with the web inbox and its API, and the last sessions in memory.
    pub(crate) fn dev_with_http(dir: &Path) -> io::Result<Self> {
        Self::start(dev_command(dir), dir)
    }

    /// The same under TLS too, with a certificate of its own in `dir`.
    pub(crate) fn dev_with_tls(dir: &Path) -> io::Result<Self> {
        let mut command = restante();
        command.args(["dev", "--no-http", "--spool"]).arg(spool(dir)).arg(format!("--tls={}", dir.display()));
        for service in ["--smtp", "--pop3", "--smtps", "--pop3s"] {
            command.args([service, "127.0.0.1:0"]);
        }
        Self::start(command, dir)
    }

    /// `restante serve` with a configuration file whose listeners ask for port 0.
    pub(crate) fn serve(dir: &Path, config: &Path) -> io::Result<Self> {
        let mut command = restante();
        command.arg("serve").arg("--config").arg(config);
        Self::start(command, dir)
    }

    /// The address of IMAP.
    pub(crate) fn imap(&self) -> io::Result<SocketAddr> {
        self.imap.ok_or_else(|| io::Error::other("the server has no IMAP"))
    }

    /// The address of the web API.
    pub(crate) fn http(&self) -> io::Result<SocketAddr> {
        self.http.ok_or_else(|| io::Error::other("the server has no HTTP"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Starts the command, its log in a file, and waits until it has written its addresses.
    fn start(mut command: Command, dir: &Path) -> io::Result<Self> {
        let (ports, log) = (dir.join("ports"), dir.join("log"));
        let _ = fs::remove_file(&ports); // of an earlier server, if there was one
        let output = fs::File::create(&log)?;
        command.arg("--ports-file").arg(&ports);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut process = Running(command.spawn()?);
        let deadline = Instant::now() + Duration::from_secs(30);
        let text = loop {
            match fs::read_to_string(&ports) {
                Ok(text) => break text,
                Err(_) if process.0.try_wait()?.is_none() && Instant::now() < deadline => {
                    thread::sleep(Duration::from_micros(100));
                }
                Err(error) => {
                    let said = fs::read_to_string(&log).unwrap_or_default();
                    return Err(io::Error::other(format!("the server did not start: {error}\n{said}")));
                }
            }
        };
        let port = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.and_then(|address| address.parse().ok())
                .ok_or_else(|| io::Error::other(format!("no {name} in {text:?}")))
        };
        Ok(Self {
            smtp: port("smtp")?,
            pop3: port("pop3")?,
            lmtp: port("lmtp").ok(),
            imap: port("imap").ok(),
            smtps: port("submissions").ok(),
            pop3s: port("pop3s").ok(),
            http: port("http").ok(),
            process,
        })
    }
}

/// A child that does not outlive its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        process::stop(&mut self.0);
    }
}

/// The load generator: this program once more, in a process of its own, so that its CPU time is not charged to
/// the server. It says `ready`, waits for `go`, and ends with one line of JSON.
pub(crate) struct Loader {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Loader {
    /// Starts it for a job, and returns when it is ready.
    pub(crate) fn start(job: &impl Serialize) -> io::Result<Self> {
        let job = serde_json::to_string(job)?;
        let mut child = Command::new(env::current_exe()?)
            .args([LOADER, &job])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("no pipe from the loader"))?;
        let mut loader = Self { child, output: BufReader::new(output) };
        match loader.line()?.as_str() {
            "ready" => Ok(loader),
            other => Err(io::Error::other(format!("the loader said {other:?}"))),
        }
    }

    /// Lets it go, and waits for its report.
    pub(crate) fn run<Report: DeserializeOwned>(self) -> io::Result<Report> {
        Ok(self.run_measured()?.0)
    }

    /// The same, with the CPU time that it took for the load.
    pub(crate) fn run_measured<Report: DeserializeOwned>(mut self) -> io::Result<(Report, Duration)> {
        let before = process::cpu(self.child.id())?;
        let mut input = self.child.stdin.take().ok_or_else(|| io::Error::other("no pipe to the loader"))?;
        input.write_all(b"go\n")?;
        let report = self.line()?;
        // The generator may have ended already: `/proc` has its time until the wait below.
        let used = process::cpu(self.child.id())?.saturating_sub(before);
        self.child.wait()?;
        Ok((serde_json::from_str(&report)?, used))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

/// The loader's side: the job, if this process was started as one.
pub(crate) fn job<Job: DeserializeOwned>() -> Option<Job> {
    let mut args = env::args().skip(1);
    (args.next()? == LOADER).then(|| {
        let job = args.next().unwrap_or_default();
        serde_json::from_str(&job).unwrap_or_else(|error| panic!("the job {job:?}: {error}"))
    })
}

/// The loader's side: reports that all is prepared, and waits for `go`. If the parent process has ended, no
/// reader of the results is left, and threads that wait for us would wait for ever.
pub(crate) fn ready() {
    println!("ready");
    let mut word = String::new();
    if !matches!(io::stdin().read_line(&mut word), Ok(1..)) {
        std::process::exit(1);
    }
}

/// The loader's side: the last line.
pub(crate) fn report(report: &impl Serialize) -> io::Result<()> {
    println!("{}", serde_json::to_string(report)?);
    Ok(())
}

/// `restante dev` with ports that are free.
fn dev_command(dir: &Path) -> Command {
    let mut command = restante();
    command.arg("dev").arg("--spool").arg(spool(dir));
    for service in ["--smtp", "--pop3", "--imap"] {
        command.args([service, "127.0.0.1:0"]);
    }
    command
}

/// A command of the binary under test.
pub(crate) fn restante() -> Command {
    Command::new(env!("CARGO_BIN_EXE_restante"))
}

/// The spool of the server that was started in `dir`.
pub(crate) fn spool(dir: &Path) -> PathBuf {
    dir.join("spool")
}

/// Fills a mailbox with messages of many kinds, in the spool of the server that will be started in `dir`.
pub(crate) fn seed(dir: &Path, user: &str, messages: usize) -> io::Result<()> {
    let mut seed = restante();
    seed.args(["seed", "--to", user, "--count", &messages.to_string(), "--spool"]).arg(spool(dir));
    match seed.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success() {
        true => Ok(()),
        false => Err(io::Error::other("the mailbox could not be filled")),
    }
}

/// Makes an empty Maildir.
pub(crate) fn maildir(path: &Path) -> io::Result<()> {
    ["tmp", "new", "cur"].iter().try_for_each(|part| fs::create_dir_all(path.join(part)))
}

/// A message of about `size` octets with the given line end: a small header, then lines of 72. No line begins
/// with a dot, so the size on the wire is exactly the announced one.
pub(crate) fn message(size: usize, line_end: &str) -> Vec<u8> {
    let mut text = ["From: a@example.test", "Subject: bench", ""].join(line_end).into_bytes();
    text.extend_from_slice(line_end.as_bytes());
    let line = format!("{}{line_end}", "letters ".repeat(9).trim_end());
    while text.len() + line.len() <= size {
        text.extend_from_slice(line.as_bytes());
    }
    text
}

/// A cheap source of numbers that look random (xorshift), the same ones in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: usize) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ ((seed as u64 + 1) << 20))
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// The hidden first argument of the load generator.
const LOADER: &str = "--loader";
