//! The event loop: one thread that owns every socket, session and timer, and never waits for a disk.
//!
//! One turn: poll, accept, pump the ready sockets, deliver responses, run timers, say farewells. Connections with
//! work left over continue in the next turn.

mod accept;
mod admission;
mod due;
mod embedded;
mod error;
mod pumping;
mod reload;
mod shares;
mod shutdown;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, atomic::AtomicBool, mpsc},
    time::{Duration, SystemTime},
};

use accept::{ConnMeta, PendingProxy};
use admission::Admission;
pub use embedded::ShutdownHandle;
pub use error::Error;
use mio::{Events, Poll, Token, Waker};
use pumping::WORK_A_TURN;
use reload::PendingReload;
pub(crate) use shares::opens;
use shutdown::Shutdown;

use crate::{
    backend::Backend,
    clock::{LoopClock, Now, SystemClock},
    config::{Config, Service},
    connection::{Connection, PumpOutcome, RequestHandler, work::Share},
    fd_limits::{Shares, open_now, raise_fd_limit},
    limits::Limits,
    listener::{self, BoundListener, Listener},
    loaded_config::LoadedConfig,
    metrics::{METRICS, publish::ExportConfig},
    net::{endpoint::Endpoint, timer::Timers, tls::TlsConfig},
    proto::request::ConnId,
    server::signals::Signals,
    system::sd_notify::SdNotify,
    transcript::Transcripts,
    workers::{Completion, CompletionSender, LoopWaker},
};

/// The whole server, ready to run.
pub struct Server {
    config: Config,
    /// The file that SIGHUP reads again; `None` if the configuration came from no file.
    config_path: Option<PathBuf>,
    started_at: SystemTime,
    clock: LoopClock,
    poll: Poll,
    waker: Arc<LoopWaker>,
    completions: mpsc::Receiver<Completion>,
    /// `None` if the server is embedded in another program, which handles the signals.
    signals: Option<Signals>,
    /// Set by a [`ShutdownHandle`].
    stop_requested: Arc<AtomicBool>,
    sd_notify: SdNotify,
    reload: Option<PendingReload>,
    /// Each thread that reads for a reload holds a clone, so that the strong count shows how many are stuck.
    reload_threads: Arc<()>,
    /// In the order of the configuration at the start. Listeners that a reload adds come after these.
    listeners: BTreeMap<ListenerId, Listener>,
    tls: Option<Rc<TlsConfig>>,
    backend: Backend,
    metrics_export: ExportConfig,
    /// Boxed, because a map that grows moves all of its values at once.
    connections: HashMap<ConnId, Box<Connection>>,
    /// After the connections, so that it is dropped after their last lines are written.
    transcripts: Option<Transcripts>,
    /// Connections from proxies whose PROXY header is not complete yet.
    pending_proxies: HashMap<ConnId, PendingProxy>,
    /// The listener and the peer of each connection.
    conn_meta: HashMap<ConnId, ConnMeta>,
    admission: Admission,
    /// The shares of the file descriptors that are in force.
    shares: Shares,
    /// Descriptors that the process had open before the server opened any.
    inherited: usize,
    /// The last id given to a connection or a listener. No id is used twice, so a token never means another socket.
    next_id: u64,
    timers: Timers<Timer>,
    /// Connections with work left over from this turn.
    unfinished: BTreeSet<ConnId>,
    /// The last connection that was pumped because its socket was ready. The next turn begins after it.
    last_pumped: Option<ConnId>,
    /// Work that this turn may still spend on responses.
    answering: usize,
    /// The share of its budget that each connection gets in this turn.
    share: Share,
    /// Connections whose message data is not read until there is memory for it.
    read_paused: HashSet<ConnId>,
    /// Whether the tick timer is set.
    ticking: bool,
    read_buffer: Vec<u8>,
    shutdown: Option<Shutdown>,
    /// Connections whose sessions do not know yet that the server stops.
    farewells: VecDeque<ConnId>,
}

/// The purpose of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    Connection(ConnId),
    Accept,
    Maintenance,
    Tick,
    Reload,
    ShutdownGrace,
    Watchdog,
}

/// Identifies a listener. No other listener ever gets the same id.
type ListenerId = u64;

impl Server {
    /// Opens the spool, starts the threads and catches the signals. Connections are accepted only after
    /// [`Server::run`] begins. SIGHUP reads the configuration again from `source`. Without a source SIGHUP ends the
    /// server, as the end of a terminal should.
    ///
    /// # Errors
    /// The spool cannot be used, or the system refuses a resource.
    pub fn open(
        files: LoadedConfig,
        sockets: Vec<BoundListener>,
        source: Option<&Path>,
    ) -> Result<Self, Error> {
        let mut server = Self::start(files, sockets, source)?;
        server.catch_signals().map_err(|error| Error::System("signals", error))?;
        Ok(server)
    }

    /// Opens the server in a process that does other work too and handles its own signals: only a [`ShutdownHandle`]
    /// ends the server.
    ///
    /// # Errors
    /// See [`Server::open`].
    pub fn open_embedded(files: LoadedConfig, sockets: Vec<BoundListener>) -> Result<Self, Error> {
        Self::start(files, sockets, None)
    }

    fn start(files: LoadedConfig, sockets: Vec<BoundListener>, source: Option<&Path>) -> Result<Self, Error> {
        let LoadedConfig { config, accounts, certificate } = files;
        let system = |what| move |error| Error::System(what, error);
        let inherited = open_now().saturating_sub(sockets.len());
        let opens = opens(&config, sockets.len(), inherited, source.is_some());
        let shares = Shares::of(raise_fd_limit(), &config.limits, &opens)?;
        let poll = Poll::new().map_err(system("poll"))?;
        let waker = Arc::new(LoopWaker::new(Waker::new(poll.registry(), WAKE).map_err(system("waker"))?));
        let (completions, results) = CompletionSender::new(Arc::clone(&waker));
        let tls = listener::start_tls(&config, certificate)?;
        let publishing = ExportConfig {
            file: config.metrics.file.clone(),
            server: (config.spool.clone(), config.hostname.clone()),
            every: config.metrics.every.0,
        };
        let start = |directory: &PathBuf| {
            Transcripts::start(directory, config.transcript_bodies, &config.limits, shares.transcripts)
                .map_err(|error| Error::Transcripts(directory.clone(), error))
        };
        let transcripts = config.transcripts.as_ref().map(start).transpose()?;
        let lowered = shares::lowered(&config, &shares);
        let mut server = Self {
            metrics_export: publishing,
            read_buffer: new_read_buffer(&config.limits),
            backend: Backend::open(&lowered, accounts, &shares, &waker, &completions)?,
            config_path: source.map(Path::to_owned),
            started_at: SystemTime::now(),
            clock: LoopClock::new(Box::new(SystemClock::start())),
            poll,
            waker,
            completions: results,
            signals: None,
            stop_requested: Arc::default(),
            sd_notify: SdNotify::default(),
            reload: None,
            reload_threads: Arc::default(),
            listeners: BTreeMap::new(),
            tls,
            transcripts,
            connections: HashMap::new(),
            pending_proxies: HashMap::new(),
            conn_meta: HashMap::new(),
            admission: Admission::new(),
            shares,
            inherited,
            next_id: FIRST_ID,
            timers: Timers::new(),
            unfinished: BTreeSet::new(),
            last_pumped: None,
            answering: 0,
            share: Share::WHOLE,
            read_paused: HashSet::new(),
            ticking: false,
            shutdown: None,
            farewells: VecDeque::new(),
            config,
        };
        for bound in sockets {
            let mut listener = Listener::open(bound, &lowered, server.tls.as_ref())?;
            let id = server.allocate_id();
            listener.register(server.poll.registry(), Token(id as usize)).map_err(system("listen"))?;
            server.listeners.insert(id, listener);
        }
        server.share_out();
        server.log_capacity();
        Ok(server)
    }

    /// The addresses of the listeners, in the order of the configuration.
    pub fn endpoints(&self) -> Vec<(Service, Endpoint)> {
        self.listeners.values().map(|listener| (listener.service(), listener.endpoint().clone())).collect()
    }

    fn allocate_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Notifies the service manager that the server is ready, and serves until a signal or a [`ShutdownHandle`] ends
    /// it.
    pub fn run(mut self, manager: SdNotify) -> Result<(), Error> {
        let mut events = Events::with_capacity(1024);
        // Dropped before the server, which closes the last files: the locks are free when `run` returns.
        let _on_loop = self.backend.enter_loop().map_err(|error| Error::System("threads", error))?;
        self.timers.set(Duration::ZERO, Timer::Maintenance);
        let _publisher = self.metrics_export.start();
        self.sd_notify = manager;
        if self.sd_notify.watchdog().is_some() {
            self.timers.set(Duration::ZERO, Timer::Watchdog);
        }
        self.sd_notify.ready(&self.summary());
        while !self.is_finished() {
            self.run_turn(&mut events)?;
        }
        Ok(())
    }

    fn run_turn(&mut self, events: &mut Events) -> Result<(), Error> {
        let now = self.clock.now();
        let left_over = !self.unfinished.is_empty()
            || self.backend.goes_on()
            || self.listeners.values().any(|listener| listener.may_be_pending);
        let sleep = if left_over { Some(Duration::ZERO) } else { self.timers.next_in(now.monotonic) };
        match self.poll.poll(events, sleep) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(Error::System("poll", error));
            }
            _ => {}
        }
        let now = self.clock.now_after_sleep(sleep);
        let began = self.clock.including_suspensions(now).monotonic;
        self.log_suspension();
        self.backend.begin_turn(now.monotonic);
        self.answering = WORK_A_TURN;
        let mut ready = std::mem::take(&mut self.unfinished);
        for event in events.iter() {
            match event.token() {
                WAKE => {}
                SIGNALS => self.handle_signals(now),
                Token(id) => {
                    let id = ConnId(id as u64);
                    if let Some(listener) = self.listeners.get_mut(&id.0) {
                        listener.resume_accepting();
                    } else if let Some(conn) = self.connections.get_mut(&id) {
                        let readable = event.is_readable() || event.is_read_closed() || event.is_error();
                        conn.set_readiness(readable, event.is_writable() || event.is_write_closed());
                        ready.insert(id);
                    } else if self.pending_proxies.contains_key(&id) {
                        self.read_proxy_header(id, now, &mut ready);
                    }
                }
            }
        }
        self.accept(now, &mut ready);
        self.pump_ready(ready, now);
        self.deliver_responses(now);
        self.check_stop_request(now);
        self.say_farewells(now);
        self.run_timers(now);
        self.relieve_memory(now);
        let end = self.clock.now();
        METRICS.loop_turn.observe(self.clock.including_suspensions(end).monotonic.saturating_sub(began));
        Ok(())
    }

    // Connections

    /// Pumps a connection once.
    fn pump(&mut self, id: ConnId, now: Now) {
        self.call_and_pump(id, now, |_, _| {});
    }

    /// Runs `first` on a connection, then pumps it. A panic in a session is a bug in this program; it ends only that
    /// session.
    fn call_and_pump(
        &mut self,
        id: ConnId,
        now: Now,
        first: impl FnOnce(&mut Connection, &mut dyn RequestHandler),
    ) {
        let Some(conn) = self.connections.get_mut(&id) else { return };
        let (world, limits, share, scratch): (&mut dyn RequestHandler, _, _, _) =
            (&mut self.backend, &self.config.limits, self.share, &mut self.read_buffer);
        let round = AssertUnwindSafe(|| {
            first(conn, world);
            conn.pump_share(world, now, (limits, share), scratch)
        });
        let pumped = catch_unwind(round).unwrap_or_else(|_| {
            let last_words = self.conn_meta.get(&id).map(|origin| origin.service.protocol().internal_error());
            conn.close_with_error(&last_words.unwrap_or_default(), now);
            catch_unwind(AssertUnwindSafe(|| conn.pump_share(world, now, (limits, share), scratch)))
                .unwrap_or(PumpOutcome::Closed)
        });
        if conn.is_closing() {
            self.backend.connection_closed(id); // a client may reconnect before it reads the last reply
        }
        self.update_admission_of(id, now);
        match pumped {
            PumpOutcome::Closed => self.close(id, now),
            PumpOutcome::BudgetSpent => {
                self.unfinished.insert(id);
            }
            PumpOutcome::Idle => {}
        }
        self.schedule_deadline(id);
    }

    /// Sets the timer of a connection if its deadline has become earlier. A timer that fires too early does no harm.
    fn schedule_deadline(&mut self, id: ConnId) {
        let Some(conn) = self.connections.get_mut(&id) else { return };
        if let Some(deadline) = conn.deadline()
            && conn.scheduled_deadline.is_none_or(|entry| deadline < entry)
        {
            conn.scheduled_deadline = Some(deadline);
            self.timers.set(deadline, Timer::Connection(id));
        }
    }

    // Responses and timers

    fn deliver_responses(&mut self, now: Now) {
        self.waker.reset();
        self.poll_reload(now);
        self.backend.poll_mailbox_events(now.monotonic);
        while !self.backend.has_enough()
            && let Ok(done) = self.completions.try_recv()
        {
            self.backend.complete(done);
        }
        self.give_answers(now);
        self.deliver_events(now);
        if !self.ticking && self.backend.needs_ticks() {
            self.ticking = true;
            self.timers.set(now.monotonic, Timer::Tick);
        }
    }
}

/// The buffer through which every connection reads.
fn new_read_buffer(limits: &Limits) -> Vec<u8> {
    vec![0; limits.turn_octets.max(4096)]
}

const WAKE: Token = Token(0);
const SIGNALS: Token = Token(1);
/// The ids of connections and listeners begin after this number, so that they never equal another token.
const FIRST_ID: u64 = 0x1000;

pub mod signals;
#[cfg(test)]
mod tests;
