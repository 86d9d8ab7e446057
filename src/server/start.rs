//! Opens the server: the spool, the threads, the sockets and the signals.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    fs,
    os::fd::AsRawFd,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mio::{Interest, Poll, Token, Waker, unix::SourceFd};

use super::{
    admission::Admission,
    error::Error,
    fd_budget::{capped_config, fd_inputs},
    state::{MAILBOX_EVENTS, Server, WAKE, new_read_buffer},
};
use crate::{
    allocator,
    backend::Backend,
    capacity::GradualMap,
    clock::{LoopClock, SystemClock},
    config::Config,
    connection::work::Share,
    fd_limits::{FdBudget, count_open_fds, raise_fd_limit},
    listener::{self, BoundListener, Listener},
    loaded_config::LoadedConfig,
    metrics::publish::ExportConfig,
    net::timer::{Deadlines, Timers},
    system::sd_notify::SdNotify,
    transcript::Transcripts,
    workers::{Completion, CompletionSender, LoopWaker},
};

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
        allocator::keep_large_buffers();
        let mut server = Self::start(files, sockets, source)?;
        server.catch_signals().map_err(|error| Error::System("signals", error))?;
        Ok(server)
    }

    /// Opens the server in a process that does other work too and handles its own signals: only a
    /// [`ShutdownHandle`](super::ShutdownHandle) ends the server.
    ///
    /// # Errors
    /// See [`Server::open`].
    pub fn open_embedded(files: LoadedConfig, sockets: Vec<BoundListener>) -> Result<Self, Error> {
        Self::start(files, sockets, None)
    }

    fn start(files: LoadedConfig, sockets: Vec<BoundListener>, source: Option<&Path>) -> Result<Self, Error> {
        let LoadedConfig { config, accounts, certificate, .. } = files;
        let system = |what| move |error| Error::System(what, error);
        let inherited = count_open_fds().saturating_sub(sockets.len());
        let inputs = fd_inputs(&config, sockets.len(), inherited, source.is_some());
        let budget = FdBudget::allocate(raise_fd_limit(), &config.limits, &inputs)?;
        let poll = Poll::new().map_err(system("poll"))?;
        let waker = Arc::new(LoopWaker::new(Waker::new(poll.registry(), WAKE).map_err(system("waker"))?));
        let (completions, results) = CompletionSender::new(Arc::clone(&waker));
        let tls = listener::start_tls(&config, certificate)?;
        let publishing = ExportConfig {
            file: config.metrics.file.clone(),
            server: (config.spool.clone(), config.hostname.clone()),
            source: source.map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())),
            every: config.metrics.interval.0,
        };
        let start = || {
            let (directory, changes) = (config.transcripts.as_deref(), completions.clone());
            let changed = move || changes.send(Completion::SessionsChanged);
            let most = budget.max_transcripts;
            Transcripts::start(directory, config.transcript_bodies, &config.limits, most, changed)
                .map_err(|error| Error::Transcripts(config.transcripts.clone().unwrap_or_default(), error))
        };
        let transcripts = config.records_sessions().then(start).transpose()?;
        let archive = transcripts.as_ref().map(Transcripts::archive);
        let capped = capped_config(&config, &budget);
        let mut server = Self {
            metrics_export: publishing,
            read_buffer: new_read_buffer(&config.limits),
            backend: Backend::open(&capped, accounts, &budget, &waker, &completions, archive)?,
            config_path: source.map(Path::to_owned),
            started_at: SystemTime::now(),
            clock: LoopClock::new(Box::new(SystemClock::start())),
            cpu_time: Duration::ZERO,
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
            connections: GradualMap::default(),
            pending_proxies: GradualMap::default(),
            admission: Admission::new(),
            fd_budget: budget,
            inherited,
            next_id: FIRST_ID,
            timers: Timers::new(),
            deadlines: Deadlines::new(),
            pump_next_turn: BTreeSet::new(),
            last_pumped: None,
            response_work_left: 0,
            share: Share::WHOLE,
            read_paused: HashSet::new(),
            has_traffic: false,
            last_maintenance: Duration::ZERO,
            tick_is_set: false,
            shutdown: None,
            sessions_to_end: VecDeque::new(),
            config,
        };
        if let Some(events) = server.backend.mailbox_events_fd() {
            let mut source = SourceFd(&events.as_raw_fd());
            let registered = server.poll.registry().register(&mut source, MAILBOX_EVENTS, Interest::READABLE);
            registered.map_err(system("inotify"))?;
        }
        for bound in sockets {
            let mut listener = Listener::open(bound, &capped, server.tls.as_ref())?;
            let id = server.allocate_id();
            listener.register(server.poll.registry(), Token(id as usize)).map_err(system("listen"))?;
            server.listeners.insert(id, listener);
        }
        server.name_mail_servers(&capped);
        server.apply_fd_budget();
        server.log_capacity();
        Ok(server)
    }

    /// Tells the listeners of HTTP which listeners the mail programs of users should connect to.
    pub(super) fn name_mail_servers(&mut self, config: &Config) {
        let servers = listener::mail_servers(self.listeners.values(), config);
        for listener in self.listeners.values_mut() {
            listener.set_mail_servers(&servers, config);
        }
    }

    pub(super) fn allocate_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// The ids of connections and listeners begin after this number, so that they never equal another token.
const FIRST_ID: u64 = 0x1000;
