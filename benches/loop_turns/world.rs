//! A server of its own for each measurement, its published figures, and the connections to it.

use std::{
    cell::RefCell,
    fs,
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{
    Server, client,
    configured::{PASSWORD, configure, listener},
    maildir, spool,
};

/// A server of its own with one user.
pub(crate) struct World {
    pub(crate) server: Server,
    dir: PathBuf,
    pub(crate) mailbox: PathBuf,
    /// Sessions that stay open until the figures are read.
    pub(crate) held: RefCell<Vec<BufReader<TcpStream>>>,
}

/// Lines for the configuration of a server.
#[derive(Default)]
pub(crate) struct Setup {
    /// At the top.
    pub(crate) files: &'static str,
    pub(crate) limits: String,
    /// For the listener for POP3.
    pub(crate) pop3: &'static str,
    /// A listener for LMTP too, which takes places from the others.
    pub(crate) with_lmtp: bool,
    /// The same for IMAP.
    pub(crate) with_imap: bool,
}

/// The figures that a server has published.
pub(crate) struct Figures {
    pub(crate) longest: Duration,
    pub(crate) longest_cpu: Duration,
    pub(crate) long: u64,
    pub(crate) turns: u64,
}

impl World {
    /// Starts a server for an input of this size.
    pub(crate) fn new(dir: PathBuf, setup: fn(&mut Setup, usize), size: usize) -> io::Result<Self> {
        let mut lines = Setup::default();
        setup(&mut lines, size);
        let Setup { files, limits, pop3, with_lmtp, with_imap } = lines;
        let rest = format!(
            "{files}\n[metrics]\nfile = {:?}\ninterval = \"1s\"\n[limits]\nconnections.max = {}\n{limits}\n{}{}{}{}",
            figures(&dir),
            MOST_SESSIONS / 2 * 3, // a part of the places is for the other services
            listener("smtp", ""),
            if with_lmtp { listener("lmtp", "") } else { String::new() },
            if with_imap { listener("imap", "auth_allow_cleartext = true\n") } else { String::new() },
            listener("pop3", &format!("auth_allow_cleartext = true\n{pop3}")),
        );
        fs::write(dir.join(ALIASES), "")?;
        let config = configure(&dir, &rest, &[USER])?;
        let mailbox = spool(&dir).join(USER);
        maildir(&mailbox)?;
        Ok(Self { server: Server::serve(&dir, &config)?, dir, mailbox, held: RefCell::default() })
    }

    /// Replaces a file of the configuration as a whole, as editors do.
    pub(crate) fn put(&self, name: &str, text: &str) -> io::Result<()> {
        let new = self.dir.join("new");
        fs::write(&new, text)?;
        fs::rename(new, self.dir.join(name))
    }

    /// Prints the end of the log, after a case has failed.
    pub(crate) fn print_log(&self) {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(10)).for_each(|line| eprintln!("{line}"));
    }

    /// Waits until a line of the log contains `text`.
    pub(crate) fn logged(&self, text: &str) -> io::Result<()> {
        eventually(text, || {
            let log = fs::read_to_string(self.dir.join("log"))?;
            Ok(log.contains(text).then_some(()))
        })
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.server.pid()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.ok_or(io::ErrorKind::NotFound)?, signal)?)
    }

    pub(crate) fn login(&self) -> io::Result<BufReader<TcpStream>> {
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
    pub(crate) fn watched(&self, size: usize) -> io::Result<()> {
        let mut session = self.login()?;
        let stat = command(&mut session, "STAT")?;
        command(&mut session, "QUIT")?;
        match client::number(stat.trim_start_matches("+OK")) {
            Ok(there) if there == size => Ok(()),
            _ => Err(io::Error::other(format!("{size} messages are there, and STAT says {stat:?}"))),
        }
    }

    /// The figures that were published after a moment.
    pub(crate) fn figures(&self, after: SystemTime) -> io::Result<Figures> {
        eventually("figures", || {
            let at = fs::metadata(figures(&self.dir)).and_then(|file| file.modified());
            Ok(at.is_ok_and(|at| at > after).then_some(()))
        })?;
        Ok(Figures {
            longest: Duration::from_secs_f64(self.figure("restante_loop_turn_longest_seconds")?),
            longest_cpu: Duration::from_secs_f64(self.figure("restante_loop_turn_longest_cpu_seconds")?),
            long: self.figure("restante_loop_turns_long_total")? as u64,
            turns: self.figure("restante_loop_turn_seconds_count")? as u64,
        })
    }

    /// One of the figures that were published last.
    pub(crate) fn figure(&self, name: &str) -> io::Result<f64> {
        let text = fs::read_to_string(figures(&self.dir))?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.ok_or_else(|| io::Error::other(format!("no {name} in the figures")))
    }

    /// The time for which the thread of the loop was ready to run and had no processor (the second number, in
    /// nanoseconds).
    pub(crate) fn waited(&self) -> io::Result<Duration> {
        let text = fs::read_to_string(format!("/proc/{0}/task/{0}/schedstat", self.server.pid()))?;
        let nanos = text.split_whitespace().nth(1).and_then(|number| number.parse().ok());
        nanos.map(Duration::from_nanos).ok_or_else(|| io::Error::other(format!("schedstat says {text:?}")))
    }
}

fn figures(dir: &Path) -> PathBuf {
    dir.join("restante.prom")
}

/// Sends commands without waiting for the replies, and reads on until so many of their lines are the last of one.
pub(crate) fn pipelined(
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

pub(crate) fn command(session: &mut BufReader<TcpStream>, command: &str) -> io::Result<String> {
    session.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
    reply(session)
}

pub(crate) fn reply(session: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    session.read_line(&mut line)?;
    if line.starts_with("+OK") { Ok(line) } else { Err(io::Error::other(format!("{line:?}"))) }
}

/// Asks again and again until there is something.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = ask()? {
            return Ok(found);
        }
        if Instant::now() > until {
            return Err(io::Error::other(format!("waited in vain for: {what}")));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) const USER: &str = "bob@example.test";
pub(crate) const ALIASES: &str = "aliases";
/// Sessions that 20,000 descriptors allow for one service.
pub(crate) const MOST_SESSIONS: usize = 6500;
