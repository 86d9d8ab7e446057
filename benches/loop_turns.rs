//! The longest turn of the loop, for each input that a mailbox's content, another program or a client can make big.
//!
//! Measured: each such input grows by twos up to 100,000, on a server of its own, and beside its size stand the longest
//! turn since that server started and the turns that took longer than 20 ms, both as the server publishes them. The
//! input has to cost more turns when it grows, and none of them more time. Beside them: a server that does nothing, and
//! how long the loop's thread waited in all for a processor, which is in its turns too.
//!
//! `cargo bench --bench loop_turns [-- --quick]`, with `BENCH_MESSAGES` (100000) for the largest input and `BENCH_CASE`
//! for those whose name contains it.

mod common;

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use common::{Scratch, Server, Settings, client, maildir, process, restante, spool, table::Table};

fn main() -> io::Result<()> {
    let (settings, mut scratch) = (Settings::load(), Scratch::new()?);
    let asked = env::var("BENCH_MESSAGES").ok().and_then(|text| text.parse().ok());
    let most: usize = asked.unwrap_or(if settings.quick { 1000 } else { 100_000 }).max(8);
    let only = env::var("BENCH_CASE").unwrap_or_default();
    println!("loop_turns: {}, {most} at most, {} ms are too long", scratch.describe(), LONG.as_millis());
    process::raise_descriptor_limit()?;
    process::warn_if_busy()?;
    let mut table = Table::new(&[
        "input",
        "size",
        "longest turn, ms",
        "longer than 20 ms",
        "turns",
        "waited for CPU, ms",
    ]);
    let mut too_long = Vec::new();
    let sizes: Vec<usize> = [8, 4, 2, 1].iter().map(|part| most / part).collect();
    for (name, case) in CASES.iter().filter(|(name, _)| name.contains(&only)) {
        for size in &sizes {
            let world = World::new(scratch.fresh()?)?;
            let (sizes_end, started) = (Instant::now(), SystemTime::now());
            case(&world, *size)?;
            let seen = world.figures(started + sizes_end.elapsed())?;
            if seen.longest > LONG {
                too_long.push(format!("{name}, {size}: {:.1} ms", millis(seen.longest)));
            }
            table.row(vec![
                (*name).to_owned(),
                size.to_string(),
                format!("{:.1}", millis(seen.longest)),
                seen.long.to_string(),
                seen.turns.to_string(),
                format!("{:.0}", millis(world.waited()?)),
            ]);
            if *name == IDLE {
                break;
            }
        }
    }
    table.print();
    if too_long.is_empty() {
        println!("no turn took longer than 20 ms");
    } else {
        println!("TOO LONG: {}", too_long.join("; "));
    }
    Ok(())
}

type Case = fn(&World, usize) -> io::Result<()>;

const IDLE: &str = "nothing";

const CASES: &[(&str, Case)] = &[
    (IDLE, |_, _| {
        thread::sleep(Duration::from_secs(2));
        Ok(())
    }),
    ("first login", |world, size| world.found(size, apart)),
    ("first login, one identity", |world, size| world.found(size, alike)),
    ("renamed by another program", |world, size| world.renamed(size, apart)),
    ("renamed, one identity", |world, size| world.renamed(size, alike)),
    ("removed by another program", |world, size| world.removed(size, apart)),
    ("removed, one identity", |world, size| world.removed(size, alike)),
    ("come into new/ at once", |world, size| {
        world.watched(0)?;
        world.fill("tmp", size, apart)?;
        (0..size).try_for_each(|n| fs::rename(world.file("tmp", &apart(n)), world.file("new", &apart(n))))?;
        world.watched(size)
    }),
    ("links, left out", |world, size| {
        (0..size).try_for_each(|n| symlink("/nowhere", world.file("cur", &apart(n))))?;
        world.watched(0)
    }),
    ("LIST", |world, size| world.listed(size, "LIST")),
    ("UIDL", |world, size| world.listed(size, "UIDL")),
    ("TOP, pipelined", |world, size| {
        world.fill("cur", size, apart)?;
        let mut session = world.login()?;
        pipelined(&mut session, (1..=size).map(|n| format!("TOP {n} 0\r\n")).collect(), size, |line| {
            line == ".\r\n"
        })
    }),
    ("NOOP, pipelined", |world, size| {
        let mut session = world.login()?;
        pipelined(&mut session, "NOOP\r\n".repeat(size), size, |line| line.starts_with("+OK"))
    }),
    ("DELE of all, and QUIT", |world, size| {
        world.fill("cur", size, apart)?;
        let mut session = world.login()?;
        let commands = (1..=size).map(|n| format!("DELE {n}\r\n")).collect();
        pipelined(&mut session, commands, size, |line| line.starts_with("+OK"))?;
        command(&mut session, "QUIT")?;
        world.watched(0)
    }),
    ("sessions at once", |world, size| {
        let size = size.min(MOST_SESSIONS);
        for _ in 0..3 {
            let sessions = (0..size).map(|_| TcpStream::connect(world.server.pop3));
            let sessions = sessions.collect::<io::Result<Vec<_>>>()?;
            drop(sessions);
        }
        world.watched(0)
    }),
    ("sessions at once, each greeted", |world, size| {
        let size = size.min(MOST_SESSIONS);
        let connect = |_| client::connect(world.server.pop3, 128);
        let mut sessions = (0..size).map(connect).collect::<io::Result<Vec<_>>>()?;
        sessions.iter_mut().try_for_each(|session| reply(session).map(drop))?;
        sessions
            .iter_mut()
            .try_for_each(|session| session.get_mut().write_all(b"CAPA\r\nNOOP\r\nQUIT\r\n"))?;
        drop(sessions);
        world.watched(0)
    }),
];

/// Names of a message each.
fn apart(n: usize) -> String {
    format!("{}.M1P1.bench.example.test:2,", 1_700_000_000 + n)
}

/// Names that all have the same identity.
fn alike(n: usize) -> String {
    format!("1700000000.same.host:2,a{n}")
}

/// A server of its own with one user.
struct World {
    server: Server,
    dir: PathBuf,
    mailbox: PathBuf,
}

struct Figures {
    longest: Duration,
    long: u64,
    turns: u64,
}

impl World {
    fn new(dir: PathBuf) -> io::Result<Self> {
        let (config, mailbox) = (dir.join("restante.toml"), spool(&dir).join(USER));
        fs::create_dir(spool(&dir))?;
        let text = format!(
            "hostname = \"mx.example.test\"\ndomains = [\"example.test\"]\nspool = {:?}\naccounts = {:?}\n\
             [metrics]\nfile = {:?}\ninterval = \"1s\"\n[limits]\nconnections.max = {}\n\
             [[listen]]\nprotocol = \"smtp\"\naddress = \"127.0.0.1:0\"\n\
             [[listen]]\nprotocol = \"pop3\"\naddress = \"127.0.0.1:0\"\nauth_allow_cleartext = true\n",
            spool(&dir),
            dir.join("users.json"),
            figures(&dir),
            MOST_SESSIONS + 100,
        );
        fs::write(&config, text)?;
        let mut command = restante();
        let add = command.args(["user", "add", USER, "--password-stdin", "--config"]).arg(&config);
        run(add, PASSWORD)?;
        maildir(&mailbox)?;
        Ok(Self { server: Server::serve(&dir, &config)?, dir, mailbox })
    }

    fn file(&self, place: &str, name: &str) -> PathBuf {
        self.mailbox.join(place).join(name)
    }

    fn fill(&self, place: &str, size: usize, name: fn(usize) -> String) -> io::Result<()> {
        (0..size).try_for_each(|n| fs::write(self.file(place, &name(n)), "Subject: x\n\ntext\n"))
    }

    fn login(&self) -> io::Result<BufReader<TcpStream>> {
        // A mailbox that a session has just left may be locked for a moment.
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let mut session = client::connect(self.server.pop3, 64 * 1024)?;
            reply(&mut session)?;
            command(&mut session, &format!("USER {USER}"))?;
            match command(&mut session, &format!("PASS {PASSWORD}")) {
                Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(50)),
                done => return done.map(|_| session),
            }
        }
    }

    /// Logs in, and out again when so many messages are there: the mailbox is watched then.
    fn watched(&self, size: usize) -> io::Result<()> {
        let mut session = self.login()?;
        let stat = command(&mut session, "STAT")?;
        command(&mut session, "QUIT")?;
        match client::number(stat.trim_start_matches("+OK")) {
            Ok(there) if there == size => Ok(()),
            _ => Err(io::Error::other(format!("{size} messages are there, and STAT says {stat:?}"))),
        }
    }

    fn found(&self, size: usize, name: fn(usize) -> String) -> io::Result<()> {
        self.fill("cur", size, name)?;
        self.watched(size)
    }

    fn renamed(&self, size: usize, name: fn(usize) -> String) -> io::Result<()> {
        self.found(size, name)?;
        let rename = |n| fs::rename(self.file("cur", &name(n)), self.file("cur", &(name(n) + "S")));
        (0..size).try_for_each(rename)?;
        self.watched(size)
    }

    fn removed(&self, size: usize, name: fn(usize) -> String) -> io::Result<()> {
        self.found(size, name)?;
        (0..size).try_for_each(|n| fs::remove_file(self.file("cur", &name(n))))?;
        self.watched(0)
    }

    fn listed(&self, size: usize, list: &str) -> io::Result<()> {
        self.fill("cur", size, apart)?;
        let mut session = self.login()?;
        pipelined(&mut session, format!("{list}\r\n").repeat(LISTS), LISTS, |line| line == ".\r\n")
    }

    /// The figures that were published after a moment.
    fn figures(&self, after: SystemTime) -> io::Result<Figures> {
        let until = Instant::now() + Duration::from_secs(60);
        while fs::metadata(figures(&self.dir)).and_then(|file| file.modified()).map_or(true, |at| at <= after)
        {
            if Instant::now() > until {
                return Err(io::Error::other("no figures are published"));
            }
            thread::sleep(Duration::from_millis(50));
        }
        let text = fs::read_to_string(figures(&self.dir))?;
        let figure = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            value.ok_or_else(|| io::Error::other(format!("no {name} in the figures")))
        };
        Ok(Figures {
            longest: Duration::from_secs_f64(figure("restante_loop_turn_longest_seconds ")?),
            long: figure("restante_loop_turns_long_total ")? as u64,
            turns: figure("restante_loop_turn_seconds_count ")? as u64,
        })
    }

    /// How long the thread of the loop was ready to run and had no processor (the second number, in nanoseconds).
    fn waited(&self) -> io::Result<Duration> {
        let text = fs::read_to_string(format!("/proc/{0}/task/{0}/schedstat", self.server.pid()))?;
        let nanos = text.split_whitespace().nth(1).and_then(|number| number.parse().ok());
        nanos.map(Duration::from_nanos).ok_or_else(|| io::Error::other(format!("schedstat says {text:?}")))
    }
}

fn figures(dir: &Path) -> PathBuf {
    dir.join("restante.prom")
}

/// Sends commands without waiting for the replies, and reads on until so many of their lines are the last of one.
fn pipelined(
    session: &mut BufReader<TcpStream>,
    commands: String,
    replies: usize,
    is_last: fn(&str) -> bool,
) -> io::Result<()> {
    let mut sending = session.get_ref().try_clone()?;
    thread::scope(|scope| {
        let sent = scope.spawn(move || sending.write_all(commands.as_bytes()));
        let (mut seen, mut line) = (0, String::new());
        while seen < replies {
            line.clear();
            if session.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            seen += usize::from(is_last(&line));
        }
        sent.join().expect("a thread that does not panic")
    })
}

fn command(session: &mut BufReader<TcpStream>, command: &str) -> io::Result<String> {
    session.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
    reply(session)
}

fn reply(session: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    session.read_line(&mut line)?;
    if line.starts_with("+OK") { Ok(line) } else { Err(io::Error::other(format!("{line:?}"))) }
}

/// Runs a command that reads so much.
fn run(command: &mut Command, input: &str) -> io::Result<()> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        writeln!(stdin, "{input}")?;
    }
    match child.wait()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("{command:?}: {status}"))),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

const LONG: Duration = Duration::from_millis(20);
const USER: &str = "bob@example.test";
const PASSWORD: &str = "correct horse battery staple";
/// Connections have a port of ours each.
const MOST_SESSIONS: usize = 8000;
/// Lists in one pipeline.
const LISTS: usize = 3;
