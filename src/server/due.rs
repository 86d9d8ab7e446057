//! Timers of the loop.

use std::time::Duration;

use super::state::{Server, Shutdown, Timer};
use crate::{clock::Now, listener::Listener, net::timer::Deadline, proto::request::ConnId};

impl Server {
    /// Runs the timers that are due. If very many connections expire at once, the rest expire in the next turn.
    pub(super) fn run_timers(&mut self, now: Now) {
        for _ in 0..MAX_EXPIRED_PER_TURN {
            let Some(id) = self.deadlines.pop_due(now.monotonic) else { break };
            self.expire(id, now);
        }
        while let Some(due) = self.timers.pop_due(now.monotonic) {
            match due {
                Timer::Accept => self.listeners.values_mut().for_each(Listener::resume_accepting),
                Timer::Maintenance => self.maintain(now),
                Timer::Tick => {
                    self.tick_is_set = self.backend.tick(now.monotonic);
                    if self.tick_is_set {
                        self.timers.set(now.monotonic + TICK_INTERVAL, Timer::Tick);
                    }
                    // Deliver the responses that the tick caused now, because no other event may wake the loop for a
                    // while.
                    self.poll_backend(now);
                }
                Timer::Reload => self.check_reload_timeout(now),
                Timer::Watchdog => {
                    self.sd_notify.watchdog_ping();
                    let next = self.sd_notify.watchdog().map(|interval| now.monotonic + interval);
                    next.into_iter().for_each(|next| self.timers.set(next, Timer::Watchdog));
                }
                // A client whose message still waits for the disk is told now that it is not stored, if that is
                // certain.
                Timer::ShutdownGrace => {
                    self.backend.abandon_unpublished();
                    self.response_work_left = usize::MAX; // no other turn follows
                    self.poll_backend(now);
                    self.shutdown = Some(Shutdown::Immediate);
                }
            }
        }
    }

    /// Does the work that is due from time to time. Without traffic it is due seldom.
    fn maintain(&mut self, now: Now) {
        let is_notified = self.sd_notify.flush_pending();
        self.backend.run_maintenance(self.clock.including_suspensions(now));
        self.backend.tick(now.monotonic);
        let has_shrunk = self.shrink();
        self.poll_backend(now);
        let is_idle = !std::mem::take(&mut self.has_traffic)
            && is_notified
            && !has_shrunk
            && !self.backend.refuses_mail();
        let next_check = self.backend.next_index_check().unwrap_or(Duration::MAX);
        let earliest = now.monotonic + MAINTENANCE_INTERVAL;
        let next = if is_idle { next_check.clamp(earliest, now.monotonic + IDLE_INTERVAL) } else { earliest };
        self.last_maintenance = now.monotonic;
        self.timers.set(next, Timer::Maintenance);
    }

    /// Notes that a client has connected or sent something: after a quiet time, maintenance is due at once.
    pub(super) fn note_traffic(&mut self) {
        if !std::mem::replace(&mut self.has_traffic, true) {
            self.timers.set_no_later(self.last_maintenance + MAINTENANCE_INTERVAL, Timer::Maintenance);
        }
    }

    fn expire(&mut self, id: ConnId, now: Now) {
        let Some(open) = self.connections.get_mut(&id) else { return self.proxy_timeout(id) };
        open.deadline = Deadline::default();
        self.call_and_pump(id, now, |conn, _| conn.on_timeout(now));
    }
}

/// Connections that may expire in one turn.
const MAX_EXPIRED_PER_TURN: usize = 200;
/// The interval of maintenance while there is traffic, or something is wrong.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(5);
/// The longest interval: the metrics and the log tell by then that the spool has gone.
const IDLE_INTERVAL: Duration = Duration::from_secs(20);
const TICK_INTERVAL: Duration = Duration::from_secs(1);
