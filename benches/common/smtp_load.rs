//! Message after message over SMTP or LMTP, to 100 mailboxes, and how soon each is accepted.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Barrier, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    Dice,
    client::{Protocol, Smtp},
    message,
    table::percentile,
};

/// The work of the load generator.
#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) sessions: usize,
    pub(crate) size: usize,
    pub(crate) seconds: f64,
}

/// The messages that it sent.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) reconnected: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Sent {
    /// Warns if a message was refused or lost, because the figure is then not that of a healthy server.
    pub(crate) fn warn(&self) {
        if self.refused + self.reconnected > 0 {
            eprintln!("{} messages refused, {} sessions lost", self.refused, self.reconnected);
        }
    }
}

/// The load generator: a thread for each session.
pub(crate) fn load(job: &Job) -> io::Result<()> {
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
        super::ready();
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
    super::report(&Sent {
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
        let mut smtp = Smtp::connect_for(job.address, job.protocol)?;
        for mailbox in (number..MAILBOXES).step_by(job.sessions) {
            if !smtp.deliver(&user(mailbox), body)? {
                return Err(io::Error::other("the server takes no mail"));
            }
        }
        Ok(Self { smtp, latencies_us: Vec::new(), refused: 0, reconnected: 0 })
    }

    /// Message after message until the time is over; the latency is from MAIL to the last `250`.
    fn send(mut self, job: &Job, number: usize, body: &[u8], quota: &Quota) -> io::Result<Self> {
        let mut dice = Dice::new(number);
        while quota.take() {
            let mailbox = user(dice.below(MAILBOXES));
            let start = Instant::now();
            match self.smtp.deliver(&mailbox, body) {
                Ok(true) => {
                    let taken = start.elapsed().as_micros();
                    self.latencies_us.push(u32::try_from(taken).unwrap_or(u32::MAX));
                }
                Ok(false) => self.refused += 1,
                Err(_) => {
                    self.reconnected += 1;
                    self.smtp = Smtp::connect_for(job.address, job.protocol)?;
                }
            }
        }
        Ok(self)
    }
}

/// The limit of a run: its time, or the octets that a benchmark may write to a disk.
pub(crate) struct Quota {
    pub(crate) start: Instant,
    time: Duration,
    messages_left: AtomicI64,
}

impl Quota {
    pub(crate) fn new(seconds: f64, size: usize) -> Self {
        Self {
            start: Instant::now(),
            time: Duration::from_secs_f64(seconds),
            messages_left: AtomicI64::new(MOST_OCTETS / size as i64),
        }
    }

    /// Whether one message more may be sent.
    pub(crate) fn take(&self) -> bool {
        self.start.elapsed() < self.time && self.messages_left.fetch_sub(1, Ordering::Relaxed) > 0
    }
}

/// Files in `new/` of all Maildirs of a directory.
pub(crate) fn stored(maildirs: &Path) -> io::Result<u64> {
    let mut files = 0;
    for maildir in std::fs::read_dir(maildirs)? {
        let new = maildir?.path().join("new");
        if new.is_dir() {
            files += std::fs::read_dir(new)?.count() as u64;
        }
    }
    Ok(files)
}

/// The address of a mailbox, and the name of its directory.
pub(crate) fn user(mailbox: usize) -> String {
    format!("user{mailbox:03}@example.test")
}

pub(crate) const MAILBOXES: usize = 100;
const MOST_OCTETS: i64 = 2 << 30;
const STACK: usize = 128 * 1024;
