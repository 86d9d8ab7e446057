//! The metrics of this process, for the file that Prometheus reads, for `restante status` and for the log.
//!
//! There is one set per process, as there is one log. Each part of the server counts its own actions, and no
//! decision depends on a figure. `docs/manual/metrics.md` lists them.

mod family;
mod instruments;
pub mod location;
mod loop_turns;
mod process;
mod prometheus;
pub mod publish;
pub mod reader;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::proto::{
    event::{ChangeCommand, Event},
    protocol::Service,
};
pub use family::{Family, Kind, Sample};
pub use instruments::{Counter, Gauge, Histogram, LabelCounter};
use instruments::{NUMBERS, TIMES};
pub use loop_turns::LoopTurns;
pub use process::memory_in_use;

/// The metrics of this process.
pub static METRICS: Metrics = Metrics::new();

/// All metrics of the process, as atomic values: every thread updates them without a lock.
#[derive(Debug)]
pub struct Metrics {
    listeners: [ListenerMetrics; SERVICES.len()],
    /// Time when the server was ready, in seconds since 1970.
    pub started_at: Gauge,
    /// Connections closed before a session began, by reason.
    pub rejected_connections: LabelCounter,
    /// Refusals, by the codes of the reply.
    pub refusal_replies: LabelCounter,
    /// Sessions that ended without QUIT, by reason.
    pub ended: LabelCounter,
    /// Time from the end of a message until it is durable.
    pub delivery_time: Histogram,
    /// Deliveries: one for each mailbox of a message.
    pub deliveries: Counter,
    /// Number of messages in each batch of the committer.
    pub batch_messages: Histogram,
    /// Time to make the contents of a batch durable.
    pub sync_contents: Histogram,
    /// Time to make the names of a batch durable.
    pub sync_names: Histogram,
    /// Messages queued for the committer.
    pub delivery_queue: Gauge,
    /// Jobs queued for the disk workers.
    pub disk_queue: Gauge,
    /// Jobs queued for the scan workers.
    pub scan_queue: Gauge,
    /// Requests of the web API that wait for a worker.
    pub web_queue: Gauge,
    /// Password checks that wait for a worker.
    pub password_queue: Gauge,
    /// Lines queued for the log.
    pub log_queue: Gauge,
    /// Jobs, deliveries and password checks refused because of a full queue.
    pub queue_full: Counter,
    /// Inbound messages that the backend holds, in memory or in a file.
    pub bodies: Gauge,
    /// Mailboxes whose list of messages is in memory.
    pub index_mailboxes: Gauge,
    /// Indexed mailboxes without a watch.
    pub index_unwatched: Gauge,
    /// Messages in the indexed mailboxes.
    pub index_messages: Gauge,
    /// Octets of these messages on the wire.
    pub index_octets: Gauge,
    /// Memory used by the index.
    pub index_memory: Gauge,
    /// Full scans of mailboxes: every file name was read.
    pub index_scans: Counter,
    /// Rechecks: only the names that inotify reported were read.
    pub index_rechecks: Counter,
    /// 1 if the kernel reports changes, else 0.
    pub watch: Gauge,
    /// Events received from the kernel.
    pub watch_events: Counter,
    /// Times that events were lost, so that every mailbox was rescanned.
    pub watch_overflows: Counter,
    /// Octets free on the file system of the spool, at the last check.
    pub spool_free: Gauge,
    /// 1 while deliveries and logins are refused, because the spool is not in its place or has another lock.
    pub refusing: Gauge,
    /// 1 while no message can be stored, because the disk of the spool is full or read-only.
    pub unwritable: Gauge,
    stale_files: [Gauge; FILES.len()],
    /// 1 if the last reload changed nothing because its configuration needs a restart.
    pub restart_needed: Gauge,
    /// Log lines, including the dropped ones.
    pub log_lines: Counter,
    /// Log lines dropped because the queue was full.
    pub log_dropped: Counter,
    /// Time of each turn of the loop, without its sleep.
    pub loop_turn: LoopTurns,
    /// Panics of all threads. Each is a bug.
    pub panics: Counter,
    /// Messages that requests of the web API have deleted.
    pub web_deleted: Counter,
    /// Interval of publishing, in milliseconds.
    pub publish_interval: Gauge,
}

/// The metrics of the listeners of one service.
#[derive(Debug)]
pub struct ListenerMetrics {
    /// Connections open now.
    pub open: Gauge,
    /// Connections accepted since the start.
    pub connections: Counter,
    /// Octets received from clients, inside TLS.
    pub received: Counter,
    /// Octets sent to clients, inside TLS.
    pub sent: Counter,
    /// TLS handshakes that succeeded.
    pub tls_handshakes: Counter,
    /// Failed TLS handshakes and broken TLS connections.
    pub tls_failures: Counter,
    logins: Counter,
    logins_failed: Counter,
    messages: Counter,
    message_octets: Counter,
    retrieved: Counter,
    deleted: Counter,
    refused: Counter,
}

/// Messages since the start, at all listeners together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageTotals {
    /// Accepted messages.
    pub accepted: u64,
    /// Octets of accepted messages.
    pub accepted_octets: u64,
    /// Refused senders, recipients and messages.
    pub refused: u64,
    /// Messages that clients have deleted.
    pub deleted: u64,
}

impl ListenerMetrics {
    const fn new() -> Self {
        Self {
            open: Gauge::new(),
            connections: Counter::new(),
            received: Counter::new(),
            sent: Counter::new(),
            tls_handshakes: Counter::new(),
            tls_failures: Counter::new(),
            logins: Counter::new(),
            logins_failed: Counter::new(),
            messages: Counter::new(),
            message_octets: Counter::new(),
            retrieved: Counter::new(),
            deleted: Counter::new(),
            refused: Counter::new(),
        }
    }

    /// Counts an event of a session. `waited`: duration of the step.
    pub fn record_event(&self, event: &Event, waited: Duration) {
        match event {
            Event::Accepted { octets, .. } => {
                self.messages.inc();
                self.message_octets.add(*octets);
                METRICS.delivery_time.observe_duration(waited);
            }
            Event::Refused { what, reply } => {
                METRICS.refusal_replies.inc(reply);
                if is_of_message(what) {
                    self.refused.inc();
                }
            }
            Event::Login { ok: true, .. } => self.logins.inc(),
            Event::Login { ok: false, .. } => self.logins_failed.inc(),
            Event::FolderChanged { command: ChangeCommand::Expunge, messages, .. } => {
                self.deleted.add(*messages);
            }
            Event::Opened { .. }
            | Event::FolderChanged { .. }
            | Event::MailboxChanged { .. }
            | Event::NoFault(_) => {}
            Event::Read { .. } => self.retrieved.inc(),
            Event::Updated { deleted, .. } => self.deleted.add(*deleted as u64),
            Event::Ended { why } => METRICS.ended.inc(why),
            Event::Injected(_) => METRICS.ended.inc("a fault on demand"),
        }
    }
}

impl Metrics {
    const fn new() -> Self {
        Self {
            listeners: [const { ListenerMetrics::new() }; SERVICES.len()],
            started_at: Gauge::new(),
            rejected_connections: LabelCounter::new(),
            refusal_replies: LabelCounter::new(),
            ended: LabelCounter::new(),
            delivery_time: Histogram::seconds(TIMES),
            deliveries: Counter::new(),
            batch_messages: Histogram::counts(NUMBERS),
            sync_contents: Histogram::seconds(TIMES),
            sync_names: Histogram::seconds(TIMES),
            delivery_queue: Gauge::new(),
            disk_queue: Gauge::new(),
            scan_queue: Gauge::new(),
            web_queue: Gauge::new(),
            password_queue: Gauge::new(),
            log_queue: Gauge::new(),
            queue_full: Counter::new(),
            bodies: Gauge::new(),
            index_mailboxes: Gauge::new(),
            index_unwatched: Gauge::new(),
            index_messages: Gauge::new(),
            index_octets: Gauge::new(),
            index_memory: Gauge::new(),
            index_scans: Counter::new(),
            index_rechecks: Counter::new(),
            watch: Gauge::new(),
            watch_events: Counter::new(),
            watch_overflows: Counter::new(),
            spool_free: Gauge::new(),
            refusing: Gauge::new(),
            unwritable: Gauge::new(),
            stale_files: [const { Gauge::new() }; FILES.len()],
            restart_needed: Gauge::new(),
            log_lines: Counter::new(),
            log_dropped: Counter::new(),
            loop_turn: LoopTurns::new(),
            panics: Counter::new(),
            web_deleted: Counter::new(),
            publish_interval: Gauge::new(),
        }
    }

    /// Records that the server is ready.
    pub fn mark_started(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.started_at.set(now.as_secs());
    }

    /// The metrics of the listeners of that service.
    pub fn listener(&self, service: &str) -> &ListenerMetrics {
        let at = SERVICES.iter().position(|name| *name == service).unwrap_or_default();
        &self.listeners[at]
    }

    /// Sets whether the newest version of a file is not in use, but an older one.
    pub fn set_stale(&self, file: &str, stale: bool) {
        if let Some(at) = FILES.iter().position(|name| *name == file) {
            self.stale_files[at].set(u64::from(stale));
        }
    }

    /// The messages of all listeners.
    pub fn message_totals(&self) -> MessageTotals {
        let deleted = MessageTotals { deleted: self.web_deleted.get(), ..MessageTotals::default() };
        self.listeners.iter().fold(deleted, |sum, listener| MessageTotals {
            accepted: sum.accepted + listener.messages.get(),
            accepted_octets: sum.accepted_octets + listener.message_octets.get(),
            refused: sum.refused + listener.refused.get(),
            deleted: sum.deleted + listener.deleted.get(),
        })
    }

    /// The queue of the workers with that name.
    pub fn queue(&self, workers: &str) -> &Gauge {
        match workers {
            "password" => &self.password_queue,
            "scan" => &self.scan_queue,
            "web" => &self.web_queue,
            _ => &self.disk_queue,
        }
    }
}

/// Whether a refusal is that of a sender, a recipient or a message.
fn is_of_message(what: &str) -> bool {
    let command = what.split([' ', ':']).next().unwrap_or_default();
    ["MAIL", "RCPT", "DATA", "BDAT", "message"].iter().any(|known| known.eq_ignore_ascii_case(command))
}

/// Files that may change while the server runs.
pub const FILES: [&str; 4] = ["configuration", "accounts", "aliases", "certificate"];

/// The names of services in the log and in the metrics.
pub const SERVICES: [&str; Service::ALL.len()] = {
    let mut names = [""; Service::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Service::ALL[at].name();
        at += 1;
    }
    names
};
