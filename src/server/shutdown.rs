//! What signals ask for, and how a server ends: it accepts nothing more, and sessions have a while to say goodbye.

use super::{Due, Server};
use crate::{
    clock::Now,
    server::signals::{Signal, Signals},
};

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopping {
    /// When all sessions have said goodbye.
    Patiently,
    /// At once.
    Now,
}

impl Server {
    pub(super) fn signal(&mut self, now: Now) {
        let signals: Vec<Signal> = self.signals.iter_mut().flat_map(Signals::pending).collect();
        for signal in signals {
            match signal {
                Signal::Stop => self.stop(now),
                Signal::Reload if self.source.is_none() => self.stop(now),
                Signal::Reload => self.begin_reload(),
                Signal::Status => self.log_status(now),
            }
        }
    }

    /// Accepts nothing more, and lets every session say goodbye; a second signal does not wait for them.
    pub(super) fn stop(&mut self, now: Now) {
        if self.stopping.is_some() {
            self.stopping = Some(Stopping::Now);
            return;
        }
        log::info!("stopping, {} connections", self.conns.len());
        self.manager.stopping(&format!("stopping, {} connections", self.conns.len()));
        self.listeners.values_mut().for_each(|listener| listener.stop(self.poll.registry()));
        self.stopping = Some(Stopping::Patiently);
        self.timers.set(now.steady + self.config.limits.shutdown_grace.0, Due::Stop);
        self.farewells = self.arrivals.keys().chain(self.conns.keys()).copied().collect();
        self.say_farewells(now);
    }

    /// Has some of the sessions say goodbye; a turn follows at once for the others. Proxies that have not said whose
    /// connection it is are let go of.
    pub(super) fn say_farewells(&mut self, now: Now) {
        let some = FAREWELLS_A_TURN.min(self.farewells.len());
        for id in self.farewells.drain(..some).collect::<Vec<_>>() {
            if self.arrivals.remove(&id).is_some() {
                self.forget(id);
            }
            self.pump_after(id, now, |conn, _| conn.stop(now));
        }
        if !self.farewells.is_empty() {
            self.waker.wake();
        }
    }

    /// Whether nothing more is to be done.
    pub(super) fn is_over(&self) -> bool {
        match self.stopping {
            None => false,
            Some(Stopping::Patiently) => self.conns.is_empty() && self.backend.is_idle(),
            Some(Stopping::Now) => true,
        }
    }
}

/// Sessions that say goodbye in one turn of the loop.
pub(super) const FAREWELLS_A_TURN: usize = 200;
