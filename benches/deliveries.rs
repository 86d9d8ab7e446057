//! How many messages a second become durable mail, and what one costs.
//!
//! Measured: SMTP sessions (1, 16, 64) that send message after message (4 KiB, 100 KiB) to 100 mailboxes
//! and wait for each `250`; a server thread more or a sync less would show here. Beside it, in the same run,
//! the limit of the same disk: as many threads as there were sessions, each doing what makes one message
//! durable (create in `tmp/`, write, fsync, rename, fsync `new/`) with no mail server around it. It runs
//! before and after, half as long each, and the better half makes the ratio: disks have moods.
//!
//! `cargo bench --bench deliveries [-- --quick]`, with `BENCH_SECONDS` (5) for each measurement. One that has
//! written 2 GiB ends there. Leave the disk a minute of rest between two runs: each ends with the deletion of
//! what it wrote, and ext4 pays for that later. A message costs the server what `/proc` says it used while the
//! load ran; the load generator is a process of its own.

mod common;

use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Barrier, OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{Mode, OFlags, RenameFlags};
use serde::{Deserialize, Serialize};

use common::{
    Dice, Loader, Scratch, Server, Settings,
    client::Smtp,
    maildir, message, process,
    table::{Table, percentile, size as in_words},
};

fn main() -> io::Result<()> {
    if let Some(job) = common::job() {
        return load(&job);
    }
    let settings = Settings::load();
    let mut scratch = Scratch::new()?;
    println!("deliveries: {}, {} s for each measurement", scratch.describe(), settings.seconds);
    let mut table = Table::new(&[
        "message",
        "sessions",
        "messages/s",
        "p50 ms",
        "p99 ms",
        "server CPU ms/message",
        "disk alone before, after",
        "ratio",
    ]);
    for size in SIZES {
        for sessions in SESSIONS {
            table.row(measure(&mut scratch, &settings, size, sessions)?);
        }
    }
    table.print();
    Ok(())
}

/// One line of the table.
fn measure(
    scratch: &mut Scratch,
    settings: &Settings,
    size: usize,
    sessions: usize,
) -> io::Result<Vec<String>> {
    process::warn_if_busy()?;
    let half = settings.seconds / 2.0;
    let before = disk_alone(&scratch.fresh()?, half, size, sessions)?;

    let dir = scratch.fresh()?;
    let server = Server::dev(&dir)?;
    let loader = Loader::start(&Job { address: server.smtp, sessions, size, seconds: settings.seconds })?;
    let used = process::cpu(server.pid())?;
    let sent: Sent = loader.run()?;
    let used = process::cpu(server.pid())? - used;
    drop(server);

    let after = disk_alone(&scratch.fresh()?, half, size, sessions)?;
    if sent.refused + sent.reconnected > 0 {
        eprintln!("{} messages refused, {} sessions lost", sent.refused, sent.reconnected);
    }
    let rate = sent.accepted as f64 / sent.seconds;
    Ok(vec![
        in_words(size as u64),
        sessions.to_string(),
        format!("{rate:.0}"),
        format!("{:.2}", sent.p50_us / 1e3),
        format!("{:.2}", sent.p99_us / 1e3),
        format!("{:.3}", used.as_secs_f64() * 1e3 / sent.accepted as f64),
        format!("{before:.0}, {after:.0}"),
        format!("{:.2}", rate / before.max(after)),
    ])
}

/// Messages a second that as many threads make durable with nothing but the file system.
fn disk_alone(dir: &Path, seconds: f64, size: usize, threads: usize) -> io::Result<f64> {
    let mailboxes = (0..MAILBOXES)
        .map(|number| {
            let path = dir.join(number.to_string());
            maildir(&path)?;
            Ok((directory(&path.join("tmp"))?, directory(&path.join("new"))?))
        })
        .collect::<io::Result<Vec<_>>>()?;
    rustix::fs::syncfs(&directory(dir)?)?;
    let body = message(size, "\n");
    let quota = Quota::new(seconds, size);
    let (done, start) = (AtomicU64::new(0), Instant::now());
    thread::scope(|scope| {
        let file_messages = |thread| -> io::Result<()> {
            let mut dice = Dice::new(thread);
            for sequence in 0.. {
                if !quota.take() {
                    break;
                }
                let (tmp, new) = &mailboxes[dice.below(MAILBOXES)];
                file(tmp, new, &format!("1.T{thread}Q{sequence}.bench"), &body)?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        let threads: Vec<_> = (0..threads).map(|n| scope.spawn(move || file_messages(n))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread that does not panic"))
    })?;
    Ok(done.into_inner() as f64 / start.elapsed().as_secs_f64())
}

/// What makes one message durable and visible, and no step more.
fn file(tmp: &OwnedFd, new: &OwnedFd, name: &str, body: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(tmp, name, flags, Mode::from_raw_mode(0o600))?;
    let mut file = std::fs::File::from(fd);
    io::Write::write_all(&mut file, body)?;
    file.sync_all()?;
    rustix::fs::renameat_with(tmp, name, new, name, RenameFlags::NOREPLACE)?;
    Ok(rustix::fs::fsync(new)?)
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// What the load generator is to do.
#[derive(Serialize, Deserialize)]
struct Job {
    address: SocketAddr,
    sessions: usize,
    size: usize,
    seconds: f64,
}

/// What it did.
#[derive(Serialize, Deserialize)]
struct Sent {
    accepted: u64,
    refused: u64,
    reconnected: u64,
    seconds: f64,
    p50_us: f64,
    p99_us: f64,
}

/// The load generator: a thread for each session.
fn load(job: &Job) -> io::Result<()> {
    let mut body = message(job.size, "\r\n");
    body.extend_from_slice(b".\r\n");
    let (ready, go) = (Barrier::new(job.sessions + 1), Barrier::new(job.sessions + 1));
    let quota = OnceLock::new();
    let session = |number: usize| {
        let warmed_up = Session::start(job, number, &body);
        ready.wait();
        go.wait();
        let quota = quota.get().expect("set before the barrier falls");
        warmed_up?.send(job, number, &body, quota)
    };
    let (sessions, seconds) = thread::scope(|scope| {
        let small = || thread::Builder::new().stack_size(STACK);
        let sessions = (0..job.sessions).map(|number| small().spawn_scoped(scope, move || session(number)));
        let sessions = sessions.collect::<io::Result<Vec<_>>>()?;
        ready.wait();
        common::ready();
        let quota = quota.get_or_init(|| Quota::new(job.seconds, job.size));
        go.wait();
        let sessions =
            sessions.into_iter().map(|thread| thread.join().expect("a thread that does not panic"));
        let sessions = sessions.collect::<io::Result<Vec<Session>>>()?;
        Ok::<_, io::Error>((sessions, quota.start.elapsed().as_secs_f64()))
    })?;
    let mut latencies: Vec<u32> =
        sessions.iter().flat_map(|session| session.latencies_us.iter().copied()).collect();
    latencies.sort_unstable();
    common::report(&Sent {
        accepted: latencies.len() as u64,
        refused: sessions.iter().map(|session| session.refused).sum(),
        reconnected: sessions.iter().map(|session| session.reconnected).sum(),
        seconds,
        p50_us: percentile(&latencies, 0.50),
        p99_us: percentile(&latencies, 0.99),
    })
}

/// One client of the load generator.
struct Session {
    smtp: Smtp,
    latencies_us: Vec<u32>,
    refused: u64,
    reconnected: u64,
}

impl Session {
    /// Connects, and sends this session's share of one message to each mailbox, so that no mailbox is made
    /// while we measure.
    fn start(job: &Job, number: usize, body: &[u8]) -> io::Result<Self> {
        let mut smtp = Smtp::connect(job.address)?;
        for mailbox in (number..MAILBOXES).step_by(job.sessions) {
            if !smtp.deliver(&address(mailbox), body)? {
                return Err(io::Error::other("the server takes no mail"));
            }
        }
        Ok(Self { smtp, latencies_us: Vec::new(), refused: 0, reconnected: 0 })
    }

    /// Message after message until the time is over; the latency is from MAIL to the last `250`.
    fn send(mut self, job: &Job, number: usize, body: &[u8], quota: &Quota) -> io::Result<Self> {
        let mut dice = Dice::new(number);
        while quota.take() {
            let mailbox = address(dice.below(MAILBOXES));
            let start = Instant::now();
            match self.smtp.deliver(&mailbox, body) {
                Ok(true) => {
                    let taken = start.elapsed().as_micros();
                    self.latencies_us.push(u32::try_from(taken).unwrap_or(u32::MAX));
                }
                Ok(false) => self.refused += 1,
                Err(_) => {
                    self.reconnected += 1;
                    self.smtp = Smtp::connect(job.address)?;
                }
            }
        }
        Ok(self)
    }
}

/// When to stop: after the time, or after as much as a disk should be asked to hold for a benchmark.
struct Quota {
    start: Instant,
    time: Duration,
    messages_left: AtomicI64,
}

impl Quota {
    fn new(seconds: f64, size: usize) -> Self {
        Self {
            start: Instant::now(),
            time: Duration::from_secs_f64(seconds),
            messages_left: AtomicI64::new(MOST_OCTETS / size as i64),
        }
    }

    /// Whether one message more may be sent.
    fn take(&self) -> bool {
        self.start.elapsed() < self.time && self.messages_left.fetch_sub(1, Ordering::Relaxed) > 0
    }
}

fn address(mailbox: usize) -> String {
    format!("user{mailbox:03}@example.test")
}

const SIZES: [usize; 2] = [4 * 1024, 100 * 1024];
const SESSIONS: [usize; 3] = [1, 16, 64];
const MAILBOXES: usize = 100;
const MOST_OCTETS: i64 = 2 << 30;
const STACK: usize = 128 * 1024;
