//! Handling of signals, and shutdown: the server accepts no more connections, and sessions get a grace period.

use super::{
    peer::PendingProxy,
    signals::{self, Signal, Signals},
    state::{Server, Shutdown, Timer},
};
use crate::{clock::Now, printable::counted, proto::EndReason};

impl Server {
    pub(super) fn handle_signals(&mut self, now: Now) {
        let signals: Vec<Signal> = self.signals.iter_mut().flat_map(Signals::pending).collect();
        for signal in signals {
            match signal {
                Signal::Stop => self.begin_shutdown(now),
                Signal::Reload if self.config_path.is_none() => self.begin_shutdown(now),
                Signal::Reload => self.begin_reload(),
                Signal::Status => self.log_status(now),
                Signal::ChildEnded => signals::reap_children(),
            }
        }
    }

    /// Stops accepting and tells every session to end. A second call ends the server without waiting for them.
    pub(super) fn begin_shutdown(&mut self, now: Now) {
        if self.shutdown.is_some() {
            self.shutdown = Some(Shutdown::Immediate);
            return;
        }
        let connections = counted(self.connections.len(), "connection");
        log::info!("shutting down, {connections}");
        self.sd_notify.stopping(&format!("shutting down, {connections}"));
        self.listeners.values_mut().for_each(|listener| listener.close(self.poll.registry()));
        self.shutdown = Some(Shutdown::Graceful);
        self.timers
            .set(now.monotonic + self.config.limits.connections.shutdown_timeout.0, Timer::ShutdownGrace);
        self.sessions_to_end = self.pending_proxies.keys().chain(self.connections.keys()).copied().collect();
        self.end_sessions(now);
    }

    /// Tells a bounded number of sessions to end; the next turn follows at once for the others. Connections whose
    /// PROXY header is not complete are closed.
    pub(super) fn end_sessions(&mut self, now: Now) {
        let some = MAX_ENDED_PER_TURN.min(self.sessions_to_end.len());
        for id in self.sessions_to_end.drain(..some).collect::<Vec<_>>() {
            if let Some(PendingProxy { place, deadline, .. }) = self.pending_proxies.remove(&id) {
                self.release_place(id, place, deadline);
            }
            self.call_and_pump(id, now, |conn, _| conn.end_session(EndReason::Shutdown, now));
        }
        if !self.sessions_to_end.is_empty() {
            self.waker.wake();
        }
    }

    /// Whether the shutdown is complete.
    pub(super) fn is_finished(&self) -> bool {
        match self.shutdown {
            None => false,
            Some(Shutdown::Graceful) => self.connections.is_empty() && self.backend.is_idle(),
            Some(Shutdown::Immediate) => true,
        }
    }
}

/// Sessions that are told to end in one turn of the loop.
pub(super) const MAX_ENDED_PER_TURN: usize = 200;
