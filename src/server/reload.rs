//! Another configuration, while sessions run.
//!
//! The rules: all of it is taken or nothing; a session goes on by the rules that it began with; files are read
//! and addresses bound by a thread of their own; no address is let go before the new ones are had; and a read that never
//! ends keeps no later reload from its turn.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, Receiver, TryRecvError},
    },
    thread,
    time::{Duration, SystemTime},
};

use mio::Token;

use super::{Due, ListenerId, Server, opens, scratch, shares::lowered};
use crate::{
    clock::Now,
    config::{self, Config, Listen, Service, Text},
    fd_limits::{Shares, descriptors},
    file_poller::{MOST_STUCK, SLOW, STUCK},
    loaded_config::{self, Files},
    logging,
    metrics::METRICS,
    net::{endpoint::Endpoint, socket::Socket},
    server::listener::{self, Bound, Listener},
    system::sandbox,
};

/// A reload that is under way.
pub(super) struct Reload {
    result: Receiver<Result<Renewed, String>>,
    began: Duration,
    /// It was asked for once more: what has been read may be old by now.
    again: bool,
}

/// What the server is like when a reload begins.
struct Present {
    source: PathBuf,
    config: Config,
    held: Vec<Held>,
    /// Sockets that there are descriptors for beside those of `held`.
    most_new: usize,
}

/// A listener that there is.
#[derive(Clone)]
struct Held {
    id: ListenerId,
    service: Service,
    /// Where the configuration has it.
    place: Endpoint,
    /// Where it really is.
    endpoint: Endpoint,
}

/// What the server is to be like.
struct Renewed {
    files: Files,
    listeners: Vec<(Listen, Seat)>,
    /// Keys whose new values wait for a restart.
    waiting: Vec<&'static str>,
}

/// What a listener is to sit on.
enum Seat {
    /// What it or another has now.
    Held(ListenerId),
    New(Socket),
}

impl Server {
    pub(super) fn begin_reload(&mut self) {
        let Some(source) = self.source.clone().filter(|_| self.stopping.is_none()) else { return };
        logging::reopen();
        let now = self.clock.now().steady;
        if let Some(reload) = &mut self.reload {
            reload.again = true;
            if now.saturating_sub(reload.began) < SLOW {
                return;
            }
            self.reload = None; // what it reads comes too late
        }
        let stuck = Arc::strong_count(&self.reloads) - 1;
        if stuck > MOST_STUCK {
            return self.end_reload(Err(format!("{stuck} threads wait for a disk to read it already")));
        }
        log::info!("configuration read again path={}", source.display());
        self.manager.reloading();
        let held = |(id, listener): (&ListenerId, &Listener)| Held {
            id: *id,
            service: listener.service(),
            place: listener.place().clone(),
            endpoint: listener.endpoint().clone(),
        };
        let held = self.listeners.iter().map(held).collect();
        let most_new = self.shares.new_listeners;
        let present = Present { source, config: self.config.clone(), held, most_new };
        let ((done, result), waker, alive) =
            (mpsc::channel(), Arc::clone(&self.waker), Arc::clone(&self.reloads));
        let read = move || {
            let _ = done.send(present.renew(SystemTime::now())); // else it comes too late
            drop(alive);
            waker.wake();
        };
        match thread::Builder::new().name("reload".into()).spawn(read) {
            Ok(_) => {
                self.reload = Some(Reload { result, began: now, again: false });
                self.timers.set(now + SLOW, Due::Reload);
            }
            Err(error) => self.end_reload(Err(format!("no thread to read it: {error}"))),
        }
    }

    /// Warns of a reload that takes long, and leaves one that takes too long to itself.
    pub(super) fn look_after_reload(&mut self, now: Now) {
        let Some(reload) = &self.reload else { return };
        let took = now.steady.saturating_sub(reload.began);
        if took < SLOW {
            return; // a later one, with a timer of its own
        }
        if took < STUCK {
            if took < SLOW + SLOW {
                log::warn!(
                    "configuration not read yet, the old one stays until it is: took={}s",
                    took.as_secs()
                );
            }
            self.timers.set(now.steady + SLOW, Due::Reload);
            return;
        }
        let again = reload.again;
        self.reload = None;
        self.end_reload(Err(format!("reading it has not ended within {}s", STUCK.as_secs())));
        if again {
            self.begin_reload();
        }
    }

    /// Takes what a reload has read, if it has.
    pub(super) fn take_reload(&mut self, now: Now) {
        let Some(Reload { result, again, .. }) = &self.reload else { return };
        let (result, again) = match result.try_recv() {
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => (Err("reading it broke off".to_owned()), *again),
            Ok(result) => (result, *again),
        };
        self.reload = None;
        if self.stopping.is_some() {
            return;
        }
        let followed = result.and_then(|renewed| self.follow(renewed, now));
        self.end_reload(followed);
        if again {
            self.begin_reload();
        }
    }

    fn end_reload(&mut self, result: Result<(), String>) {
        METRICS.stale("configuration", result.is_err());
        let status = match result {
            Ok(()) => self.summary(),
            Err(why) => {
                let why = why.replace(char::is_control, " ");
                log::error!("configuration not loaded, the old one stays: {why}");
                format!("the old configuration stays: {why}")
            }
        };
        self.manager.ready(&status);
    }

    /// Takes all of it, or nothing and says why.
    fn follow(&mut self, renewed: Renewed, now: Now) -> Result<(), String> {
        let Renewed { files: Files { config, accounts, mut certificate }, listeners, waiting } = renewed;
        let same_files = config.tls == self.config.tls
            && config.limits.certificate_check == self.config.limits.certificate_check;
        let tls = if same_files {
            self.tls.clone()
        } else {
            listener::tls(&config, certificate.take()).map_err(|error| error.to_string())?
        };
        let opens = opens(&config, listeners.len(), self.inherited, true);
        let shares = Shares::of(descriptors(), &config.limits, &opens);
        let shares =
            shares.and_then(|shares| shares.beside(&self.shares)).map_err(|error| error.to_string())?;
        let lowered = lowered(&config, &shares);
        let mut kept = Vec::new();
        let mut new = Vec::new();
        for (listen, seat) in listeners {
            match seat {
                Seat::Held(id) => kept.push((id, listen)),
                Seat::New(socket) => {
                    let id = self.new_id();
                    let mut listener = Listener::open(Bound { listen, socket }, &lowered, tls.as_ref())
                        .map_err(|error| error.to_string())?;
                    listener
                        .register(self.poll.registry(), Token(id as usize))
                        .map_err(|error| format!("listen: {error}"))?;
                    new.push((id, listener));
                }
            }
        }
        self.backend.reconfigure(&lowered, accounts, &shares).map_err(|error| format!("threads: {error}"))?;

        // Nothing fails from here on.
        ["accounts", "aliases", "certificate"].into_iter().for_each(|file| METRICS.stale(file, false));
        if let (Some(tls), Some(certificate)) = (&tls, certificate) {
            tls.renew(certificate);
        }
        self.let_go(&kept, now);
        for (id, listen) in kept {
            if let Some(listener) = self.listeners.get_mut(&id) {
                if listener.service() != listen.protocol {
                    logging::listening(listen.protocol.name(), listener.endpoint());
                }
                listener.follow(listen, &lowered, tls.as_ref());
            }
        }
        for (id, listener) in new {
            logging::listening(listener.service().name(), listener.endpoint());
            self.listeners.insert(id, listener);
        }
        self.scratch = scratch(&config.limits);
        self.tls = tls;
        if config.log != self.config.log {
            logging::reload(&config.log);
        }
        (self.config, self.shares) = (config, shares);
        self.share_out();
        self.log_room();
        log::info!("configuration loaded listeners={}", self.listeners.len());
        self.config.doubts().for_each(|doubt| log::warn!("{doubt}"));
        waiting.iter().for_each(|key| log::warn!("{key} needs a restart, the old value stays"));
        Ok(())
    }

    /// Lets go of the listeners that are not among those. Who came before is still let in, but for those of a
    /// flood.
    fn let_go(&mut self, kept: &[(ListenerId, Listen)], now: Now) {
        let goes = |id: &ListenerId| !kept.iter().any(|(kept, _)| kept == id);
        for (_, listener) in self.listeners.iter_mut().filter(|(id, _)| goes(id)) {
            listener.look_again();
        }
        let mut ready = std::mem::take(&mut self.again);
        for _ in 0..LAST_ROUNDS {
            if self.listeners.iter().any(|(id, listener)| goes(id) && listener.pending) {
                self.accept(now, &mut ready);
            }
        }
        self.again.extend(ready);
        for (_, mut listener) in self.listeners.extract_if(.., |id, _| goes(id)) {
            log::info!("{} let go address={}", listener.service(), listener.endpoint());
            listener.stop(self.poll.registry());
        }
        let gone = self.arrivals.extract_if(|_, arrival| !self.listeners.contains_key(&arrival.at));
        gone.map(|(id, _)| id).collect::<Vec<_>>().into_iter().for_each(|id| self.forget(id));
    }
}

impl Present {
    /// Reads everything, and takes the addresses that are not held yet.
    fn renew(&self, now: SystemTime) -> Result<Renewed, String> {
        let words = |error: config::Error| error.to_string();
        let (config, text) = Config::read(&self.source).map_err(words)?;
        if let Some(place) = sandbox::beyond(&config) {
            return Err(format!(
                "{}: {} is outside of the sandbox, which is for what the configuration named at the start: this needs a \
                 restart",
                self.source.display(),
                place.display()
            ));
        }
        let mut files =
            Files::of(config, &text, now).map_err(|error: loaded_config::Error| error.to_string())?;
        if let Some(key) = files.config.fixed_key_unlike(&self.config) {
            return Err(words(
                text.mistake(key, "this cannot change while the server runs: it needs a restart"),
            ));
        }
        let waiting = files.config.keep_what_stays(&self.config);
        let listeners = self.seats(&files.config.listen, &text).map_err(words)?;
        Ok(Renewed { files, listeners, waiting })
    }

    /// What each listener is to sit on: what is there in the same place, else what is there for the taking. New
    /// addresses come last, when nothing else can be wrong.
    fn seats(&self, listeners: &[Listen], text: &Text) -> Result<Vec<(Listen, Seat)>, config::Error> {
        let mut held = self.held.clone();
        let mut seats = Vec::new();
        let mut rest: Vec<(usize, &Listen)> = listeners.iter().enumerate().collect();
        for (n, listen) in rest.extract_if(.., |(_, listen)| matches!(listen.address, Endpoint::Passed(_))) {
            for id in passed(&mut held, n, listen, text)? {
                seats.push((listen.clone(), Seat::Held(id)));
            }
        }
        if let Some(left) = held.iter().find(|held| matches!(held.place, Endpoint::Passed(_))) {
            let why = format!(
                "the socket of {} would have no listener: to do without it needs a restart",
                left.place
            );
            return Err(text.mistake("listen", why));
        }
        // Port 0 may be there more than once: who has a socket keeps it.
        for same_service in [true, false] {
            rest.retain(|(_, listen)| {
                let fits = |held: &Held| {
                    held.place == listen.address && (held.service == listen.protocol || !same_service)
                };
                let found = held.iter().position(fits);
                found.map(|at| seats.push(((*listen).clone(), Seat::Held(held.remove(at).id)))).is_none()
            });
        }
        if rest.len() > self.most_new {
            let why = format!(
                "{} addresses are new, and the descriptors are enough for {} beside the old ones: this needs a restart, \
                 or several reloads",
                rest.len(),
                self.most_new
            );
            return Err(text.mistake("listen", why));
        }
        for (n, listen) in rest {
            let socket = Socket::bind(&listen.address).map_err(|error| {
                let why = listener::Error::Bind(listen.protocol, listen.address.clone(), error);
                let why = format!("{why}{}", in_the_way(&held, &listen.address));
                text.mistake(&format!("listen.{n}.address"), why)
            })?;
            seats.push((listen.clone(), Seat::New(socket)));
        }
        Ok(seats)
    }
}

/// What may be in the way of a new listener: one of those that are to go, at the same port.
fn in_the_way(held: &[Held], wanted: &Endpoint) -> String {
    let port = |endpoint: &Endpoint| endpoint.ip().map(|address| address.port());
    match held.iter().find(|held| port(wanted).is_some() && port(&held.endpoint) == port(wanted)) {
        Some(Held { endpoint, .. }) => format!(
            "; this server is at {endpoint}, which it lets go of only when it has the new one: this needs a restart"
        ),
        None => String::new(),
    }
}

/// Takes the sockets that were passed for the `n`th listener.
fn passed(
    held: &mut Vec<Held>,
    n: usize,
    listen: &Listen,
    text: &Text,
) -> Result<Vec<ListenerId>, config::Error> {
    let taken: Vec<Held> = held.extract_if(.., |held| held.place == listen.address).collect();
    if taken.is_empty() {
        let why = format!("no socket for {} was passed at the start: this needs a restart", listen.address);
        return Err(text.mistake(&format!("listen.{n}.address"), why));
    }
    for Held { endpoint, .. } in &taken {
        if let Some((key, why)) = listen.unfit_for(endpoint) {
            return Err(text.mistake(&format!("listen.{n}.{key}"), why));
        }
    }
    Ok(taken.into_iter().map(|held| held.id).collect())
}

/// Rounds of accepting that empty the queue of a listener: mio asks for 1024 places in it.
const LAST_ROUNDS: usize = 1024 / super::accept::ACCEPTS_A_TURN + 1;
