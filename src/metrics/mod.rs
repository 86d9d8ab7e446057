//! What has happened and what is there, in numbers: for the file that Prometheus reads, for `restante status`,
//! and for the log.
//!
//! There is one set of them for the process, as there is one log: whoever does something counts it, and nobody
//! decides anything by these numbers. `docs/manual/metrics.md` lists them.

mod kinds;
pub mod place;
mod process;
pub mod publish;
pub mod reading;
mod text;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::proto::{event::Event, protocol::Service};
pub use kinds::{Counter, Gauge, Histogram, Words};
use kinds::{NUMBERS, TIMES};
pub use text::{Family, Kind, Sample};

/// The numbers of this process.
pub static METRICS: Metrics = Metrics::new();

/// All numbers.
#[derive(Debug)]
pub struct Metrics {
    listeners: [Listener; SERVICES.len()],
    /// When the server was ready, in seconds since 1970.
    pub started: Gauge,
    /// Connections that were sent away at the door, by why.
    pub turned_away: Words,
    /// Refusals, by the codes of the reply.
    pub refusals: Words,
    /// Sessions that ended otherwise than by QUIT, by why.
    pub ended: Words,
    /// From the end of a message to its being durable.
    pub delivery_time: Histogram,
    /// Messages put into mailboxes: one for each mailbox.
    pub deliveries: Counter,
    /// Messages that were made durable together.
    pub batch: Histogram,
    /// How long it took until what was written together was on the disk: contents.
    pub sync_contents: Histogram,
    /// The same for names.
    pub sync_names: Histogram,
    /// Messages that wait for the committer.
    pub delivery_queue: Gauge,
    /// Jobs that wait for a disk worker.
    pub disk_queue: Gauge,
    /// Jobs that wait for a worker that looks through mailboxes.
    pub scan_queue: Gauge,
    /// Passwords that wait for a worker.
    pub password_queue: Gauge,
    /// Lines that wait for the reader of the log.
    pub log_queue: Gauge,
    /// Jobs, deliveries and password checks that found a full queue.
    pub queue_full: Counter,
    /// Bodies of messages on their way in.
    pub bodies: Gauge,
    /// Mailboxes whose contents are in memory.
    pub index_mailboxes: Gauge,
    /// Those of them that are not watched.
    pub index_unwatched: Gauge,
    /// Messages in them.
    pub index_messages: Gauge,
    /// Octets of these messages on the wire.
    pub index_octets: Gauge,
    /// Memory that their lists take.
    pub index_memory: Gauge,
    /// Walks through mailboxes.
    pub index_walks: Counter,
    /// Looks at single names.
    pub index_looks: Counter,
    /// Whether the kernel tells of changes: 1 or 0.
    pub watch: Gauge,
    /// Events of the kernel.
    pub watch_events: Counter,
    /// Times that events were lost, and every mailbox was looked through again.
    pub watch_overflows: Counter,
    /// Octets free on the file system of the spool, when last asked.
    pub spool_free: Gauge,
    stale: [Gauge; FILES.len()],
    /// Lines that were logged.
    pub log_lines: Counter,
    /// Those of them that nobody will read.
    pub log_dropped: Counter,
    /// How long the turns of the loop took, without their sleep.
    pub loop_turn: Histogram,
    /// Panics, each a bug of ours.
    pub panics: Counter,
    /// How often these numbers are published, in milliseconds.
    pub every: Gauge,
}

/// What is counted for each listener.
#[derive(Debug)]
pub struct Listener {
    /// Connections that are open.
    pub open: Gauge,
    /// Connections there have been.
    pub connections: Counter,
    /// Octets from clients, inside of TLS.
    pub received: Counter,
    /// Octets to clients, inside of TLS.
    pub sent: Counter,
    /// TLS handshakes that succeeded.
    pub secured: Counter,
    /// TLS that did not come about, or broke.
    pub not_secured: Counter,
    logins: Counter,
    logins_failed: Counter,
    messages: Counter,
    message_octets: Counter,
    read: Counter,
    deleted: Counter,
}

impl Listener {
    const fn new() -> Self {
        Self {
            open: Gauge::new(),
            connections: Counter::new(),
            received: Counter::new(),
            sent: Counter::new(),
            secured: Counter::new(),
            not_secured: Counter::new(),
            logins: Counter::new(),
            logins_failed: Counter::new(),
            messages: Counter::new(),
            message_octets: Counter::new(),
            read: Counter::new(),
            deleted: Counter::new(),
        }
    }

    /// Counts what a session did. `waited`: how long it had waited for that.
    pub fn event(&self, event: &Event, waited: Duration) {
        match event {
            Event::Accepted { octets, .. } => {
                self.messages.one();
                self.message_octets.add(*octets);
                METRICS.delivery_time.took(waited);
            }
            Event::Refused { reply, .. } => METRICS.refusals.one(reply),
            Event::Login { ok: true, .. } => self.logins.one(),
            Event::Login { ok: false, .. } => self.logins_failed.one(),
            Event::Opened { .. } => {}
            Event::Read { .. } => self.read.one(),
            Event::Updated { deleted, .. } => self.deleted.add(*deleted as u64),
            Event::Ended { why } => METRICS.ended.one(why),
            Event::Injected(_) => METRICS.ended.one("a fault on demand"),
        }
    }
}

impl Metrics {
    const fn new() -> Self {
        Self {
            listeners: [const { Listener::new() }; SERVICES.len()],
            started: Gauge::new(),
            turned_away: Words::new(),
            refusals: Words::new(),
            ended: Words::new(),
            delivery_time: Histogram::of_times(TIMES),
            deliveries: Counter::new(),
            batch: Histogram::of_numbers(NUMBERS),
            sync_contents: Histogram::of_times(TIMES),
            sync_names: Histogram::of_times(TIMES),
            delivery_queue: Gauge::new(),
            disk_queue: Gauge::new(),
            scan_queue: Gauge::new(),
            password_queue: Gauge::new(),
            log_queue: Gauge::new(),
            queue_full: Counter::new(),
            bodies: Gauge::new(),
            index_mailboxes: Gauge::new(),
            index_unwatched: Gauge::new(),
            index_messages: Gauge::new(),
            index_octets: Gauge::new(),
            index_memory: Gauge::new(),
            index_walks: Counter::new(),
            index_looks: Counter::new(),
            watch: Gauge::new(),
            watch_events: Counter::new(),
            watch_overflows: Counter::new(),
            spool_free: Gauge::new(),
            stale: [const { Gauge::new() }; FILES.len()],
            log_lines: Counter::new(),
            log_dropped: Counter::new(),
            loop_turn: Histogram::of_times(TIMES),
            panics: Counter::new(),
            every: Gauge::new(),
        }
    }

    /// The server is ready.
    pub fn start(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.started.set(now.as_secs());
    }

    /// What is counted for the listeners of that service.
    pub fn listener(&self, service: &str) -> &Listener {
        let at = SERVICES.iter().position(|name| *name == service).unwrap_or_default();
        &self.listeners[at]
    }

    /// Whether what is in force is older than that file, because its newest version can't be used.
    pub fn stale(&self, file: &str, stale: bool) {
        if let Some(at) = FILES.iter().position(|name| *name == file) {
            self.stale[at].set(u64::from(stale));
        }
    }

    /// The queue of the workers of that name.
    pub fn queue(&self, workers: &str) -> &Gauge {
        match workers {
            "password" => &self.password_queue,
            "scan" => &self.scan_queue,
            _ => &self.disk_queue,
        }
    }
}

/// The files that may change while the server runs.
pub const FILES: [&str; 4] = ["configuration", "accounts", "aliases", "certificate"];

/// What listeners are called in the log and here.
pub const SERVICES: [&str; Service::ALL.len()] = {
    let mut names = [""; Service::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Service::ALL[at].name();
        at += 1;
    }
    names
};
