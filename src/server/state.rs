//! The state of the server. The steps of the loop, each in a file of its own, act on it.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    path::PathBuf,
    rc::Rc,
    sync::{Arc, atomic::AtomicBool, mpsc},
    time::{Duration, SystemTime},
};

use mio::{Poll, Token};

use super::{
    admission::Admission,
    peer::{OpenConnection, PendingProxy},
    reload_job::PendingReload,
    signals::Signals,
};
use crate::{
    backend::Backend,
    capacity::GradualMap,
    clock::LoopClock,
    config::Config,
    connection::work::Share,
    fd_limits::FdBudget,
    limits::Limits,
    listener::{Listener, ListenerId},
    metrics::publish::ExportConfig,
    net::{
        timer::{Deadlines, Timers},
        tls::TlsConfig,
    },
    proto::request::ConnId,
    system::sd_notify::SdNotify,
    transcript::Transcripts,
    workers::{Completion, LoopWaker},
};

/// The whole server, ready to run.
pub struct Server {
    pub(super) config: Config,
    /// The file that SIGHUP reads again; `None` if the configuration came from no file.
    pub(super) config_path: Option<PathBuf>,
    pub(super) started_at: SystemTime,
    pub(super) clock: LoopClock,
    /// CPU time of this thread up to the end of the last turn.
    pub(super) cpu_time: Duration,
    pub(super) poll: Poll,
    pub(super) waker: Arc<LoopWaker>,
    pub(super) completions: mpsc::Receiver<Completion>,
    /// `None` if the server is embedded in another program, which handles the signals.
    pub(super) signals: Option<Signals>,
    /// Set by a `ShutdownHandle`, from any thread.
    pub(super) stop_requested: Arc<AtomicBool>,
    pub(super) sd_notify: SdNotify,
    pub(super) reload: Option<PendingReload>,
    /// Each thread that reads for a reload holds a clone, so that the strong count shows how many are stuck.
    pub(super) reload_threads: Arc<()>,
    /// In the order of the configuration at the start. Listeners that a reload adds come after these.
    pub(super) listeners: BTreeMap<ListenerId, Listener>,
    pub(super) tls: Option<Rc<TlsConfig>>,
    pub(super) backend: Backend,
    pub(super) metrics_export: ExportConfig,
    // Boxed, because a map has room for more entries than it holds.
    pub(super) connections: GradualMap<ConnId, Box<OpenConnection>>,
    /// After the connections, so that it is dropped after their last lines are written.
    pub(super) transcripts: Option<Transcripts>,
    /// Connections from proxies whose PROXY header is not complete yet.
    pub(super) pending_proxies: GradualMap<ConnId, PendingProxy>,
    pub(super) admission: Admission,
    /// The budget of descriptors that is in force.
    pub(super) fd_budget: FdBudget,
    /// Descriptors that the process had open before the server opened any.
    pub(super) inherited: usize,
    /// The last id given to a connection or a listener. No id is used twice, so a token never means another socket.
    pub(super) next_id: u64,
    pub(super) timers: Timers<Timer>,
    /// The deadlines of connections.
    pub(super) deadlines: Deadlines<ConnId>,
    /// Connections with work left over from this turn. The next turn pumps them first.
    pub(super) pump_next_turn: BTreeSet<ConnId>,
    /// The last connection that was pumped because its socket was ready. The next turn begins after it.
    pub(super) last_pumped: Option<ConnId>,
    /// Work that this turn may still spend on responses.
    pub(super) response_work_left: usize,
    /// The share of its budget that each connection gets in this turn.
    pub(super) share: Share,
    /// Connections whose message data is not read until there is memory for it.
    pub(super) read_paused: HashSet<ConnId>,
    /// Whether a socket had an event since the last maintenance.
    pub(super) has_traffic: bool,
    /// The time of the last maintenance.
    pub(super) last_maintenance: Duration,
    /// Whether the tick timer is set.
    pub(super) tick_is_set: bool,
    pub(super) read_buffer: Vec<u8>,
    pub(super) shutdown: Option<Shutdown>,
    /// Connections whose sessions do not know yet that the server stops.
    pub(super) sessions_to_end: VecDeque<ConnId>,
}

/// The purpose of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Accept,
    Maintenance,
    Tick,
    Reload,
    ShutdownGrace,
    Watchdog,
}

/// The progress of a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shutdown {
    /// The server ends after all sessions have ended.
    Graceful,
    /// The server ends at once.
    Immediate,
}

/// The buffer through which every connection reads.
pub(super) fn new_read_buffer(limits: &Limits) -> Vec<u8> {
    vec![0; limits.connections.max_octets_per_turn.max(4096)]
}

pub(super) const WAKE: Token = Token(0);

pub(super) const SIGNALS: Token = Token(1);

pub(super) const MAILBOX_EVENTS: Token = Token(2);
