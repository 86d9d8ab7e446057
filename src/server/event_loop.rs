//! One turn of the loop: poll, accept, pump the ready sockets, deliver responses, run timers, end sessions. Connections
//! with work left over continue in the next turn.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use mio::{Events, Token};

use super::{
    error::Error,
    peer::OpenConnection,
    pumping::MAX_WORK_PER_TURN,
    state::{MAILBOX_EVENTS, SIGNALS, Server, Timer, WAKE},
};
use crate::{
    clock::{Now, thread_cpu_time},
    config::Service,
    connection::{Connection, PumpOutcome, RequestHandler},
    metrics::METRICS,
    net::endpoint::Endpoint,
    proto::request::ConnId,
    system::sd_notify::SdNotify,
};

impl Server {
    /// The addresses of the listeners, in the order of the configuration.
    pub fn endpoints(&self) -> Vec<(Service, Endpoint)> {
        self.listeners.values().map(|listener| (listener.service(), listener.endpoint().clone())).collect()
    }

    /// Notifies the service manager that the server is ready, and serves until a signal or a
    /// [`ShutdownHandle`](super::ShutdownHandle) ends it.
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
        self.cpu_time = thread_cpu_time();
        while !self.is_finished() {
            self.run_turn(&mut events)?;
        }
        Ok(())
    }

    pub(super) fn run_turn(&mut self, events: &mut Events) -> Result<(), Error> {
        let now = self.clock.now();
        let left_over = !self.pump_next_turn.is_empty()
            || self.backend.has_more_work()
            || self.listeners.values().any(|listener| listener.may_be_pending);
        let sleep = if left_over {
            Some(Duration::ZERO)
        } else {
            let next = [self.timers.next(), self.deadlines.next()].into_iter().flatten().min();
            next.map(|next| next.saturating_sub(now.monotonic))
        };
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
        self.response_work_left = MAX_WORK_PER_TURN;
        let mut ready = std::mem::take(&mut self.pump_next_turn);
        for event in events.iter() {
            match event.token() {
                WAKE => {}
                SIGNALS => self.handle_signals(now),
                MAILBOX_EVENTS => self.backend.mailbox_events_readable(),
                Token(id) => {
                    self.note_traffic();
                    let id = ConnId(id as u64);
                    if let Some(listener) = self.listeners.get_mut(&id.0) {
                        listener.resume_accepting();
                    } else if let Some(open) = self.connections.get_mut(&id) {
                        let writable = event.is_writable() || event.is_write_closed();
                        let ended = event.is_read_closed() || event.is_error();
                        open.conn.set_readiness(event.is_readable(), writable, ended);
                        ready.insert(id);
                    } else if self.pending_proxies.contains_key(&id) {
                        self.read_proxy_header(id, now, &mut ready);
                    }
                }
            }
        }
        self.accept(now, &mut ready);
        self.pump_ready(ready, now);
        self.poll_backend(now);
        self.check_stop_request(now);
        self.end_sessions(now);
        self.run_timers(now);
        self.end_revoked(now);
        self.relieve_memory(now);
        let end = self.clock.now();
        let cpu_time = thread_cpu_time();
        let used = cpu_time.saturating_sub(std::mem::replace(&mut self.cpu_time, cpu_time));
        METRICS
            .loop_turn
            .observe(self.clock.including_suspensions(end).monotonic.saturating_sub(began), used);
        Ok(())
    }

    /// Pumps a connection once, within its budget.
    pub(super) fn pump(&mut self, id: ConnId, now: Now) {
        self.call_and_pump(id, now, |_, _| {});
    }

    /// Runs `first` on a connection, then pumps it. A panic in a session is a bug in this program; it ends only that
    /// session.
    pub(super) fn call_and_pump(
        &mut self,
        id: ConnId,
        now: Now,
        first: impl FnOnce(&mut Connection, &mut dyn RequestHandler),
    ) {
        let Some(OpenConnection { conn, service, .. }) =
            self.connections.get_mut(&id).map(|open| &mut **open)
        else {
            return;
        };
        let (handler, limits, share, scratch): (&mut dyn RequestHandler, _, _, _) =
            (&mut self.backend, &self.config.limits, self.share, &mut self.read_buffer);
        let pump = AssertUnwindSafe(|| {
            first(conn, handler);
            conn.pump_share(handler, now, (limits, share), scratch)
        });
        let pumped = catch_unwind(pump).unwrap_or_else(|_| {
            conn.close_after_panic(&service.protocol().internal_error(), now);
            catch_unwind(AssertUnwindSafe(|| conn.pump_share(handler, now, (limits, share), scratch)))
                .unwrap_or(PumpOutcome::Closed)
        });
        if conn.is_closing() {
            self.backend.connection_closed(id); // a client may reconnect before it reads the last reply
        }
        self.update_admission_of(id, now);
        match pumped {
            PumpOutcome::Closed => self.close(id, now),
            PumpOutcome::BudgetSpent => {
                self.pump_next_turn.insert(id);
            }
            PumpOutcome::Idle => {}
        }
        self.schedule_deadline(id);
    }

    /// Sets the timer of a connection if its deadline has become earlier. A timer that fires too early does no harm.
    fn schedule_deadline(&mut self, id: ConnId) {
        let Some(open) = self.connections.get_mut(&id) else { return };
        if let Some(deadline) = open.conn.deadline() {
            self.deadlines.set_no_later(&mut open.deadline, deadline, id);
        }
    }

    /// Takes completions and the events of mailboxes, then delivers responses and events to sessions.
    pub(super) fn poll_backend(&mut self, now: Now) {
        self.waker.reset();
        self.poll_reload(now);
        self.backend.poll_mailbox_events(now.monotonic);
        while !self.backend.is_turn_spent()
            && let Ok(done) = self.completions.try_recv()
        {
            self.backend.complete(done);
        }
        self.deliver_responses(now);
        self.deliver_events(now);
        if !self.tick_is_set && self.backend.needs_ticks() {
            self.tick_is_set = true;
            self.timers.set(now.monotonic, Timer::Tick);
        }
    }
}
