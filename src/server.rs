//! The loop: one thread that owns every socket, session and timer, and never waits for a disk.
//!
//! One turn: poll, accept, sockets, answers, timers, those with work left over, closings.

mod arrive;
mod error;

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    time::Duration,
};

use arrive::Arrival;
pub use error::Error;
use mio::{Events, Poll, Token, Waker};

use crate::{
    accounts::Accounts,
    clock::{Clock, Now, SystemClock},
    config::{Config, Service},
    conn::{Conn, Pumped, World},
    descriptors::most_connections,
    desk::Desk,
    limits::Limits,
    listen::{Bound, Listener},
    net::{endpoint::Endpoint, timer::Timers},
    proto::ask::{Answer, ConnId},
    signals::{Signal, Signals},
    work::{Bell, Done, Returns},
};

/// The whole server, ready to run.
pub struct Server {
    limits: Limits,
    clock: Box<dyn Clock>,
    poll: Poll,
    bell: Arc<Bell>,
    results: mpsc::Receiver<Done>,
    signals: Signals,
    listeners: Vec<Listener>,
    most_connections: usize,
    desk: Desk,
    conns: HashMap<ConnId, Conn>,
    /// Connections of proxies that have not said yet whose they are.
    arrivals: HashMap<ConnId, Arrival>,
    /// What each connection came through, and from where.
    origins: HashMap<ConnId, (usize, SocketAddr)>,
    /// By the prefix of the address.
    per_address: HashMap<std::net::IpAddr, usize>,
    next_id: u64,
    timers: Timers<Due>,
    /// Connections with work left over from this turn.
    again: HashSet<ConnId>,
    /// Whether the desk is looked after.
    ticking: bool,
    scratch: Vec<u8>,
    /// Set once the server stops: when its patience ends.
    stopping: Option<Duration>,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Conn(ConnId),
    Accept,
    Measure,
    Tick,
    Stop,
}

impl Server {
    /// Opens the spool and starts the threads. Nothing is accepted yet.
    ///
    /// # Errors
    /// The spool or the certificate cannot be used, or the system does not give what is needed.
    pub fn open(config: Config, accounts: Accounts, sockets: Vec<Bound>) -> Result<Self, Error> {
        let system = |what| move |error| Error::System(what, error);
        let poll = Poll::new().map_err(system("poll"))?;
        let bell = Arc::new(Bell::new(Waker::new(poll.registry(), WAKE).map_err(system("waker"))?));
        let (returns, results) = Returns::new(Arc::clone(&bell));
        let mut signals = Signals::new().map_err(system("signals"))?;
        poll.registry()
            .register(signals.source(), SIGNALS, mio::Interest::READABLE)
            .map_err(system("signals"))?;
        let mut listeners = Listener::open_all(&config, sockets)?;
        for (at, listener) in listeners.iter_mut().enumerate() {
            listener.register(poll.registry(), Token(FIRST_LISTENER + at)).map_err(system("listen"))?;
        }
        let desk = Desk::open(&config, accounts, &bell, &returns)?;
        Ok(Self {
            most_connections: most_connections(&config.limits),
            scratch: vec![0; config.limits.turn_octets.max(4096)],
            limits: config.limits,
            clock: Box::new(SystemClock::start()),
            poll,
            bell,
            results,
            signals,
            listeners,
            desk,
            conns: HashMap::new(),
            arrivals: HashMap::new(),
            origins: HashMap::new(),
            per_address: HashMap::new(),
            next_id: FIRST_CONNECTION,
            timers: Timers::new(),
            again: HashSet::new(),
            ticking: false,
            stopping: None,
        })
    }

    /// Where clients can come, in the order of the configuration.
    pub fn endpoints(&self) -> Vec<(Service, Endpoint)> {
        self.listeners.iter().map(|listener| (listener.service(), listener.endpoint().clone())).collect()
    }

    /// Runs until a signal ends it.
    pub fn run(mut self) -> Result<(), Error> {
        let mut events = Events::with_capacity(1024);
        self.timers.set(Duration::ZERO, Due::Measure);
        while !self.is_over() {
            self.turn(&mut events)?;
        }
        Ok(())
    }

    fn turn(&mut self, events: &mut Events) -> Result<(), Error> {
        let now = self.clock.now();
        let left_over = !self.again.is_empty() || self.listeners.iter().any(|listener| listener.pending);
        let sleep = if left_over { Some(Duration::ZERO) } else { self.timers.next_in(now.steady) };
        match self.poll.poll(events, sleep) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(Error::System("poll", error));
            }
            _ => {}
        }
        let now = self.clock.now();
        self.desk.set_time(now.steady);
        let mut ready = std::mem::take(&mut self.again);
        for event in events.iter() {
            match event.token() {
                WAKE => {}
                SIGNALS => self.signal(now),
                Token(at) if at < FIRST_CONNECTION as usize => {
                    if let Some(listener) = self.listeners.get_mut(at - FIRST_LISTENER) {
                        listener.pending = true;
                    }
                }
                Token(id) => {
                    let id = ConnId(id as u64);
                    if let Some(conn) = self.conns.get_mut(&id) {
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
        for id in ready {
            self.pump(id, None, now);
        }
        self.answers(now);
        self.due(now);
        Ok(())
    }

    // Connections

    /// Gives a connection its answer, if there is one, and one round. A panic in a session is a bug of ours;
    /// it ends that session, and no other.
    fn pump(&mut self, id: ConnId, answer: Option<Answer>, now: Now) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let (world, limits, scratch): (&mut dyn World, _, _) =
            (&mut self.desk, &self.limits, &mut self.scratch);
        let mut round = |conn: &mut Conn, answer: Option<Answer>| {
            if let Some(answer) = answer {
                conn.answer(answer, world, now);
            }
            conn.pump(world, now, limits, scratch)
        };
        let pumped = catch_unwind(AssertUnwindSafe(|| round(conn, answer))).unwrap_or_else(|_| {
            let listener = self.origins.get(&id).and_then(|(at, _)| self.listeners.get(*at));
            conn.fail(&listener.map(Listener::internal_error).unwrap_or_default(), now);
            catch_unwind(AssertUnwindSafe(|| round(conn, None))).unwrap_or(Pumped::Gone)
        });
        if conn.is_over() {
            self.desk.leave(id); // a client may come back before its last words are taken
        }
        match pumped {
            Pumped::Gone => self.close(id, now),
            Pumped::Again => {
                self.again.insert(id);
            }
            Pumped::Idle => {}
        }
        self.watch_deadline(id);
    }

    /// Keeps one entry in the heap for each connection, early enough.
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
        self.bell.answer();
        self.desk.notice(now.steady);
        while let Ok(done) = self.results.try_recv() {
            self.desk.take(done);
        }
        while let Some((id, answer)) = self.desk.next_answer() {
            self.pump(id, Some(answer), now);
        }
        if !self.ticking && self.desk.wants_ticks() {
            self.ticking = true;
            self.timers.set(now.steady, Due::Tick);
        }
    }

    fn due(&mut self, now: Now) {
        while let Some(due) = self.timers.due(now.steady) {
            match due {
                Due::Conn(id) => {
                    if let Some(conn) = self.conns.get_mut(&id) {
                        conn.timer = None;
                        conn.expire(now);
                        self.pump(id, None, now);
                    } else {
                        self.lose_patience(id);
                    }
                }
                Due::Accept => self.listeners.iter_mut().for_each(Listener::look_again),
                Due::Measure => {
                    self.desk.keep_house(now.steady);
                    self.timers.set(now.steady + MEASURE_EVERY, Due::Measure);
                }
                Due::Tick => {
                    self.ticking = self.desk.tick(now.steady);
                    if self.ticking {
                        self.timers.set(now.steady + TICK_EVERY, Due::Tick);
                    }
                }
                Due::Stop => {}
            }
        }
    }

    // The end

    fn signal(&mut self, now: Now) {
        let signals: Vec<Signal> = self.signals.pending().collect();
        for signal in signals {
            match signal {
                Signal::Stop => self.stop(now),
            }
        }
    }

    /// Accepts nothing more, and lets every session say goodbye; a second signal does not wait for them.
    fn stop(&mut self, now: Now) {
        if self.stopping.is_some() {
            self.stopping = Some(now.steady);
            return;
        }
        log::info!("stopping, {} connections", self.conns.len());
        self.listeners.iter_mut().for_each(|listener| listener.stop(self.poll.registry()));
        let end = now.steady + self.limits.shutdown_grace.0;
        self.stopping = Some(end);
        self.arrivals.clear();
        self.timers.set(end, Due::Stop);
        let ids: Vec<ConnId> = self.conns.keys().copied().collect();
        for id in ids {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.stop(now);
                self.pump(id, None, now);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.stopping.is_some_and(|end| {
            (self.conns.is_empty() && self.desk.is_idle()) || end <= self.clock.now().steady
        })
    }
}

const WAKE: Token = Token(0);
const SIGNALS: Token = Token(1);
const FIRST_LISTENER: usize = 2;
/// Connections are numbered from here, so that their ids are tokens of their own.
const FIRST_CONNECTION: u64 = 0x1000;
const MEASURE_EVERY: Duration = Duration::from_secs(5);
const TICK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
