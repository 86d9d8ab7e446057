//! Reloads the configuration while sessions run.
//!
//! The rules: either the whole configuration is applied or none of it; a session keeps the rules that it began with;
//! a separate thread reads the files and binds the addresses; no address is closed before the new ones are bound; and
//! a read that never ends does not block a later reload.

use std::{
    sync::{
        Arc,
        mpsc::{self, TryRecvError},
    },
    thread,
    time::SystemTime,
};

use mio::Token;

use super::{
    accept::MAX_ACCEPTS_PER_TURN,
    fd_budget::{capped_config, fd_inputs},
    peer::PendingProxy,
    reload_job::{CurrentListener, CurrentState, NewState, PendingReload, Refusal, SocketSource},
    state::{Server, Timer, new_read_buffer},
};
use crate::{
    clock::Now,
    config::ListenerConfig,
    fd_limits::{FdBudget, raise_fd_limit},
    file_poller::{ABANDON_AFTER, MAX_STUCK_THREADS, WARN_AFTER},
    listener::{self, BoundListener, Listener, ListenerId},
    loaded_config::LoadedConfig,
    logging,
    metrics::METRICS,
    net::socket::BACKLOG,
    system::sandbox::check_and_restart,
};

impl Server {
    pub(super) fn begin_reload(&mut self) {
        let Some(source) = self.config_path.clone().filter(|_| self.shutdown.is_none()) else { return };
        logging::reopen();
        let now = self.clock.now().monotonic;
        if let Some(reload) = &mut self.reload {
            reload.requested_again = true;
            if now.saturating_sub(reload.started_at) < WARN_AFTER {
                return;
            }
            self.reload = None; // its result would be out of date
        }
        let stuck = Arc::strong_count(&self.reload_threads) - 1;
        if stuck > MAX_STUCK_THREADS {
            return self
                .finish_reload(Err(format!("{stuck} threads wait for a disk to read it already").into()));
        }
        log::info!("configuration reload started path={}", source.display());
        self.sd_notify.reloading();
        let held = |(id, listener): (&ListenerId, &Listener)| CurrentListener {
            id: *id,
            service: listener.service(),
            configured_endpoint: listener.configured_endpoint().clone(),
            endpoint: listener.endpoint().clone(),
        };
        let held = self.listeners.iter().map(held).collect();
        let max_new_listeners = self.fd_budget.max_new_listeners;
        let present = CurrentState {
            config_path: source,
            config: self.config.clone(),
            listeners: held,
            max_new_listeners,
        };
        let ((done, result), waker, alive) =
            (mpsc::channel(), Arc::clone(&self.waker), Arc::clone(&self.reload_threads));
        let read = move || {
            let _ = done.send(present.load(SystemTime::now())); // a failure means that the reload was abandoned
            drop(alive);
            waker.wake();
        };
        match thread::Builder::new().name("reload".into()).spawn(read) {
            Ok(_) => {
                self.reload = Some(PendingReload { result, started_at: now, requested_again: false });
                self.timers.set(now + WARN_AFTER, Timer::Reload);
            }
            Err(error) => self.finish_reload(Err(format!("no thread to read it: {error}").into())),
        }
    }

    /// Warns about a reload that takes long, and abandons one that takes too long.
    pub(super) fn check_reload_timeout(&mut self, now: Now) {
        let Some(reload) = &self.reload else { return };
        let took = now.monotonic.saturating_sub(reload.started_at);
        if took < WARN_AFTER {
            return; // the timer of an earlier reload; this one has its own
        }
        if took < ABANDON_AFTER {
            if took < WARN_AFTER + WARN_AFTER {
                log::warn!(
                    "configuration reload is slow, keeping the old one until it ends: duration={}s",
                    took.as_secs()
                );
            }
            self.timers.set(now.monotonic + WARN_AFTER, Timer::Reload);
            return;
        }
        let again = reload.requested_again;
        self.reload = None;
        self.finish_reload(Err(
            format!("reading it has not ended within {}s", ABANDON_AFTER.as_secs()).into()
        ));
        if again {
            self.begin_reload();
        }
    }

    /// Applies the result of a reload if its thread has finished.
    pub(super) fn poll_reload(&mut self, now: Now) {
        let Some(PendingReload { result, requested_again: again, .. }) = &self.reload else { return };
        let (result, again) = match result.try_recv() {
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => (Err("reading it broke off".to_owned().into()), *again),
            Ok(result) => (result, *again),
        };
        self.reload = None;
        if self.shutdown.is_some() {
            return;
        }
        let followed = result.and_then(|renewed| self.apply_reload(renewed, now).map_err(Refusal::from));
        self.finish_reload(followed);
        if again {
            self.begin_reload();
        }
    }

    fn finish_reload(&mut self, result: Result<(), Refusal>) {
        let is_stale = matches!(result, Err(Refusal::Invalid(_) | Refusal::NeedsRestart(_)));
        METRICS.set_stale("configuration", is_stale);
        METRICS.restart_needed.set(u64::from(matches!(result, Err(Refusal::NeedsRestart(_)))));
        let failed = match result {
            Ok(()) => None,
            Err(Refusal::Invalid(why) | Refusal::NamedFile(why)) => Some(format!("the old one: {why}")),
            Err(Refusal::NeedsRestart(why)) => Some(format!("the old one until a restart: {why}")),
        };
        let failed = failed.map(|why| {
            let status =
                format!("configuration reload failed, keeping {}", why.replace(char::is_control, " "));
            log::error!("{status}");
            status
        });
        let status = failed.unwrap_or_else(|| self.summary());
        self.sd_notify.ready(&status);
    }

    /// Applies all of the new state, or none of it and returns the reason.
    fn apply_reload(&mut self, renewed: NewState, now: Now) -> Result<(), String> {
        let warnings = renewed.files.warnings();
        let NewState {
            files: LoadedConfig { config, accounts, mut certificate, .. },
            listeners,
            renamed,
            restart_needed: waiting,
        } = renewed;
        let same_files = config.tls == self.config.tls
            && config.limits.tls.reload_interval == self.config.limits.tls.reload_interval;
        let tls = if same_files {
            self.tls.clone()
        } else {
            listener::start_tls(&config, certificate.take()).map_err(|error| error.to_string())?
        };
        let inputs = fd_inputs(&config, listeners.len(), self.inherited, true);
        let budget = FdBudget::allocate(raise_fd_limit(), &config.limits, &inputs);
        let budget = budget
            .and_then(|budget| budget.keeping_running(&self.fd_budget))
            .map_err(|error| error.to_string())?;
        let capped = capped_config(&config, &budget);
        let mut kept = Vec::new();
        let mut new = Vec::new();
        for (listen, seat) in listeners {
            match seat {
                SocketSource::Existing(id) => kept.push((id, listen)),
                SocketSource::New(socket) => {
                    let id = self.allocate_id();
                    let mut listener =
                        Listener::open(BoundListener { config: listen, socket }, &capped, tls.as_ref())
                            .map_err(|error| error.to_string())?;
                    listener
                        .register(self.poll.registry(), Token(id as usize))
                        .map_err(|error| format!("listen: {error}"))?;
                    new.push((id, listener));
                }
            }
        }
        self.backend.reconfigure(&capped, accounts, &budget).map_err(|error| format!("threads: {error}"))?;

        // No step fails from here on.
        ["accounts", "aliases", "certificate"].into_iter().for_each(|file| METRICS.set_stale(file, false));
        if let (Some(tls), Some(certificate)) = (&tls, certificate) {
            tls.replace(certificate);
        }
        self.close_listeners(&kept, now);
        for (id, listen) in kept {
            if let Some(listener) = self.listeners.get_mut(&id) {
                if listener.service() != listen.protocol {
                    logging::listening(listen.protocol.name(), listener.endpoint());
                }
                listener.reconfigure(listen, &capped, tls.as_ref());
            }
        }
        for (id, listener) in new {
            logging::listening(listener.service().name(), listener.endpoint());
            self.listeners.insert(id, listener);
        }
        self.name_mail_servers(&capped);
        self.read_buffer = new_read_buffer(&config.limits);
        self.tls = tls;
        if config.log != self.config.log {
            logging::reload(&config.log);
        }
        (self.config, self.fd_budget) = (config, budget);
        self.apply_fd_budget();
        self.log_capacity();
        let doubts = renamed.len() + warnings.len();
        let doubts = if doubts == 0 { String::new() } else { format!(" warnings={doubts}") };
        let not_taken =
            if waiting.is_empty() { String::new() } else { format!(" not_taken={}", waiting.join(",")) };
        log::info!("configuration loaded listeners={}{doubts}{not_taken}", self.listeners.len());
        renamed.iter().for_each(|old| log::warn!("{old}"));
        warnings.iter().for_each(|doubt| log::warn!("{doubt}"));
        for key in waiting {
            log::warn!("{key} changed: takes effect after a restart; {}", check_and_restart());
        }
        Ok(())
    }

    /// Closes the listeners that are not in `kept`. Connections that wait in their queues are still accepted, up to a
    /// bound that only a flood exceeds.
    fn close_listeners(&mut self, kept: &[(ListenerId, ListenerConfig)], now: Now) {
        let goes = |id: &ListenerId| !kept.iter().any(|(kept, _)| kept == id);
        for (_, listener) in self.listeners.iter_mut().filter(|(id, _)| goes(id)) {
            listener.resume_accepting();
        }
        let mut ready = std::mem::take(&mut self.pump_next_turn);
        for _ in 0..FINAL_ACCEPT_ROUNDS {
            if self.listeners.iter().any(|(id, listener)| goes(id) && listener.may_be_pending) {
                self.accept(now, &mut ready);
            }
        }
        self.pump_next_turn.extend(ready);
        for (_, mut listener) in self.listeners.extract_if(.., |id, _| goes(id)) {
            log::info!("{} listener closed address={}", listener.service(), listener.endpoint());
            listener.close(self.poll.registry());
        }
        let is_closed = |arrival: &PendingProxy| !self.listeners.contains_key(&arrival.listener);
        let gone = self.pending_proxies.iter().filter(|(_, arrival)| is_closed(arrival)).map(|(id, _)| *id);
        for id in gone.collect::<Vec<_>>() {
            if let Some(PendingProxy { place, deadline, .. }) = self.pending_proxies.remove(&id) {
                self.release_place(id, place, deadline);
            }
        }
    }
}

/// Calls of `accept` that empty the queue of a listener.
const FINAL_ACCEPT_ROUNDS: usize = BACKLOG as usize / MAX_ACCEPTS_PER_TURN + 1;
