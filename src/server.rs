//! The loop: one thread that owns every socket, session and timer, and never waits for a disk.
//!
//! One turn: poll, accept, sockets, answers, timers, those with work left over, closings.

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

use accept::{Arrival, Origin};
use admission::Admission;
pub use embedded::Stopper;
pub use error::Error;
use mio::{Events, Poll, Token, Waker};
use pumping::WORK_A_TURN;
use reload::Reload;
pub(crate) use shares::opens;
use shutdown::Stopping;

use crate::{
    backend::Backend,
    clock::{LoopClock, Now, SystemClock},
    config::{Config, Service},
    fd_limits::{Shares, descriptors, open_now},
    limits::Limits,
    loaded_config::Files,
    metrics::{METRICS, publish::Plan},
    net::{endpoint::Endpoint, timer::Timers, tls::Tls},
    proto::request::ConnId,
    server::{
        connection::{Conn, Pumped, World, work::Share},
        listener::{Bound, Listener},
        signals::Signals,
    },
    system::sd_notify::Manager,
    transcript::Transcripts,
    workers::{Completion, CompletionSender, LoopWaker},
};

/// The whole server, ready to run.
pub struct Server {
    config: Config,
    /// Where it is read from; `None`: from no file.
    source: Option<PathBuf>,
    began: SystemTime,
    clock: LoopClock,
    poll: Poll,
    waker: Arc<LoopWaker>,
    results: mpsc::Receiver<Completion>,
    /// None where the process is not the server's own.
    signals: Option<Signals>,
    /// Set by a [`Stopper`].
    is_to_stop: Arc<AtomicBool>,
    manager: Manager,
    reload: Option<Reload>,
    /// Held by each thread that reads for a reload.
    reloads: Arc<()>,
    /// In the order of the configuration at the start; those of a reload behind them.
    listeners: BTreeMap<ListenerId, Listener>,
    tls: Option<Rc<Tls>>,
    backend: Backend,
    publishing: Plan,
    conns: HashMap<ConnId, Conn>,
    /// Behind the connections, whose last lines they wait for.
    transcripts: Option<Transcripts>,
    /// Connections of proxies that have not said yet whose they are.
    arrivals: HashMap<ConnId, Arrival>,
    /// What each connection came through, and from where.
    origins: HashMap<ConnId, Origin>,
    admission: Admission,
    /// The shares of the descriptors that are in force.
    shares: Shares,
    /// Descriptors that were open before the server opened any.
    inherited: usize,
    /// For connections and listeners alike: what is behind a token is never mistaken for another.
    next_id: u64,
    timers: Timers<Due>,
    /// Connections with work left over from this turn.
    again: BTreeSet<ConnId>,
    /// The last one that had its round when sockets were ready.
    last_pumped: Option<ConnId>,
    /// Work that this turn may still spend on answers.
    answering: usize,
    /// The share of its budget that each connection has in this turn.
    share: Share,
    /// Connections whose message data is not read before there is memory for it.
    held_back: HashSet<ConnId>,
    /// Whether the desk is looked after.
    ticking: bool,
    scratch: Vec<u8>,
    stopping: Option<Stopping>,
    /// Connections that do not know yet that the server stops.
    farewells: VecDeque<ConnId>,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Due {
    Conn(ConnId),
    Accept,
    Measure,
    Tick,
    Reload,
    Stop,
    Watchdog,
}

/// What a listener is called in here, which no other is ever.
type ListenerId = u64;

impl Server {
    /// Opens the spool, starts the threads and catches the signals. Nothing is accepted yet. SIGHUP reads the
    /// configuration again from `source`. Without a file it ends the server, as the end of a terminal should.
    ///
    /// # Errors
    /// The spool cannot be used, or the system does not give what is needed.
    pub fn open(files: Files, sockets: Vec<Bound>, source: Option<&Path>) -> Result<Self, Error> {
        let mut server = Self::start(files, sockets, source)?;
        server.catch_signals().map_err(|error| Error::System("signals", error))?;
        Ok(server)
    }

    /// The same in a process that does other things too, and has its signals for itself: only a [`Stopper`]
    /// ends the server.
    ///
    /// # Errors
    /// As of [`Server::open`].
    pub fn open_as_guest(files: Files, sockets: Vec<Bound>) -> Result<Self, Error> {
        Self::start(files, sockets, None)
    }

    fn start(files: Files, sockets: Vec<Bound>, source: Option<&Path>) -> Result<Self, Error> {
        let Files { config, accounts, certificate } = files;
        let system = |what| move |error| Error::System(what, error);
        let inherited = open_now().saturating_sub(sockets.len());
        let opens = opens(&config, sockets.len(), inherited, source.is_some());
        let shares = Shares::of(descriptors(), &config.limits, &opens)?;
        let poll = Poll::new().map_err(system("poll"))?;
        let waker = Arc::new(LoopWaker::new(Waker::new(poll.registry(), WAKE).map_err(system("waker"))?));
        let (completions, results) = CompletionSender::new(Arc::clone(&waker));
        let tls = listener::tls(&config, certificate)?;
        let publishing = Plan {
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
            publishing,
            scratch: scratch(&config.limits),
            backend: Backend::open(&lowered, accounts, &shares, &waker, &completions)?,
            source: source.map(Path::to_owned),
            began: SystemTime::now(),
            clock: LoopClock::new(Box::new(SystemClock::start())),
            poll,
            waker,
            results,
            signals: None,
            is_to_stop: Arc::default(),
            manager: Manager::default(),
            reload: None,
            reloads: Arc::default(),
            listeners: BTreeMap::new(),
            tls,
            transcripts,
            conns: HashMap::new(),
            arrivals: HashMap::new(),
            origins: HashMap::new(),
            admission: Admission::new(),
            shares,
            inherited,
            next_id: FIRST_ID,
            timers: Timers::new(),
            again: BTreeSet::new(),
            last_pumped: None,
            answering: 0,
            share: Share::WHOLE,
            held_back: HashSet::new(),
            ticking: false,
            stopping: None,
            farewells: VecDeque::new(),
            config,
        };
        for bound in sockets {
            let mut listener = Listener::open(bound, &lowered, server.tls.as_ref())?;
            let id = server.new_id();
            listener.register(server.poll.registry(), Token(id as usize)).map_err(system("listen"))?;
            server.listeners.insert(id, listener);
        }
        server.share_out();
        server.log_room();
        Ok(server)
    }

    /// Where clients can come, in the order of the configuration.
    pub fn endpoints(&self) -> Vec<(Service, Endpoint)> {
        self.listeners.values().map(|listener| (listener.service(), listener.endpoint().clone())).collect()
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Serves, tells the manager so, and runs until a signal ends it, or a [`Stopper`].
    pub fn run(mut self, manager: Manager) -> Result<(), Error> {
        let mut events = Events::with_capacity(1024);
        // Dropped before the server, whose last files are closed here: its locks are free when this completions.
        let _on_loop = self.backend.on_loop().map_err(|error| Error::System("threads", error))?;
        self.timers.set(Duration::ZERO, Due::Measure);
        let _publisher = self.publishing.start();
        self.manager = manager;
        if self.manager.watchdog().is_some() {
            self.timers.set(Duration::ZERO, Due::Watchdog);
        }
        self.manager.ready(&self.summary());
        while !self.is_over() {
            self.turn(&mut events)?;
        }
        Ok(())
    }

    fn turn(&mut self, events: &mut Events) -> Result<(), Error> {
        let now = self.clock.now();
        let left_over = !self.again.is_empty()
            || self.backend.goes_on()
            || self.listeners.values().any(|listener| listener.pending);
        let sleep = if left_over { Some(Duration::ZERO) } else { self.timers.next_in(now.steady) };
        match self.poll.poll(events, sleep) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(Error::System("poll", error));
            }
            _ => {}
        }
        let now = self.clock.after(sleep);
        let began = self.clock.with_stops(now).steady;
        self.tell_stop();
        self.backend.begin_turn(now.steady);
        self.answering = WORK_A_TURN;
        let mut ready = std::mem::take(&mut self.again);
        for event in events.iter() {
            match event.token() {
                WAKE => {}
                SIGNALS => self.signal(now),
                Token(id) => {
                    let id = ConnId(id as u64);
                    if let Some(listener) = self.listeners.get_mut(&id.0) {
                        listener.look_again();
                    } else if let Some(conn) = self.conns.get_mut(&id) {
                        let readable = event.is_readable() || event.is_read_closed() || event.is_error();
                        conn.ready(readable, event.is_writable() || event.is_write_closed());
                        ready.insert(id);
                    } else if self.arrivals.contains_key(&id) {
                        self.look(id, now, &mut ready);
                    }
                }
            }
        }
        self.accept(now, &mut ready);
        self.pump_ready(ready, now);
        self.answers(now);
        self.look_for_stopper(now);
        self.say_farewells(now);
        self.due(now);
        self.relieve(now);
        let end = self.clock.now();
        METRICS.loop_turn.took(self.clock.with_stops(end).steady.saturating_sub(began));
        Ok(())
    }

    // Connections

    /// One round of a connection.
    fn pump(&mut self, id: ConnId, now: Now) {
        self.pump_after(id, now, |_, _| {});
    }

    /// Something for a connection, and one round. A panic in a session is a bug of ours; it ends that session,
    /// and no other.
    fn pump_after(&mut self, id: ConnId, now: Now, first: impl FnOnce(&mut Conn, &mut dyn World)) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let (world, limits, share, scratch): (&mut dyn World, _, _, _) =
            (&mut self.backend, &self.config.limits, self.share, &mut self.scratch);
        let round = AssertUnwindSafe(|| {
            first(conn, world);
            conn.pump_share(world, now, (limits, share), scratch)
        });
        let pumped = catch_unwind(round).unwrap_or_else(|_| {
            let last_words = self.origins.get(&id).map(|origin| origin.service.protocol().internal_error());
            conn.fail(&last_words.unwrap_or_default(), now);
            catch_unwind(AssertUnwindSafe(|| conn.pump_share(world, now, (limits, share), scratch)))
                .unwrap_or(Pumped::Gone)
        });
        if conn.is_over() {
            self.backend.leave(id); // a client may come back before its last words are taken
        }
        self.note(id, now);
        match pumped {
            Pumped::Gone => self.close(id, now),
            Pumped::Again => {
                self.again.insert(id);
            }
            Pumped::Idle => {}
        }
        self.watch_deadline(id);
    }

    /// Keeps a deadline for each connection, early enough.
    fn watch_deadline(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if let Some(deadline) = conn.deadline()
            && conn.timer.is_none_or(|entry| deadline < entry)
        {
            conn.timer = Some(deadline);
            self.timers.set(deadline, Due::Conn(id));
        }
    }

    // Answers and timers

    fn answers(&mut self, now: Now) {
        self.waker.reset();
        self.take_reload(now);
        self.backend.take_notices(now.steady);
        while !self.backend.has_enough()
            && let Ok(done) = self.results.try_recv()
        {
            self.backend.complete(done);
        }
        self.give_answers(now);
        if !self.ticking && self.backend.wants_ticks() {
            self.ticking = true;
            self.timers.set(now.steady, Due::Tick);
        }
    }
}

/// What a connection's octets pass through.
fn scratch(limits: &Limits) -> Vec<u8> {
    vec![0; limits.turn_octets.max(4096)]
}

const WAKE: Token = Token(0);
const SIGNALS: Token = Token(1);
/// Connections and listeners are numbered from behind here, so that their ids are tokens of their own.
const FIRST_ID: u64 = 0x1000;

pub mod connection;
pub mod listener;
pub mod signals;
#[cfg(test)]
mod tests;
