//! One connection: its readiness, its buffers, its deadline, and the pump that moves octets between them and the
//! session.
//!
//! Polling is edge-triggered, and this file contains all that follows from it: an event only sets `readable` or
//! `writable`, only "would block" or a read that leaves room clears them, and every pump flushes the output of each step.

mod closing;
mod output_mark;
mod recording;
pub(crate) mod work;

use std::{io, net::IpAddr, time::Duration};

use work::{Budget, Share};

use crate::{
    clock::Now,
    limits::Limits,
    logging::{self, PeerInfo, SessionSummary},
    metrics::{self, METRICS},
    net::transport::{IoOutcome, Transport},
    proto::{
        Context, ProgressCounts, Session, SessionEvent, Step,
        buffer::{Inbox, Outbox},
        event::Event,
        request::{AccountDirectory, ConnId, Request, Response},
    },
    transcript::Recorder,
};

/// Serves the requests of sessions.
pub trait RequestHandler {
    /// The mailboxes of this server.
    fn directory(&self) -> &dyn AccountDirectory;

    /// Serves a request of the connection with this id and client. `None` means that the response comes later.
    fn handle(&mut self, from: (ConnId, IpAddr), request: Request) -> Option<Response>;

    /// Returns the changes in the spool since the session's last response, for its transcript.
    fn spool_changes(&mut self, _from: ConnId) -> Vec<String> {
        Vec::new()
    }
}

/// A client connection and its session.
pub struct Connection {
    peer_info: PeerInfo,
    metrics: &'static metrics::ListenerMetrics,
    summary: SessionSummary,
    received: u64,
    sent: u64,
    transport: Transport,
    session: Box<dyn Session>,
    inbox: Inbox,
    outbox: Outbox,
    readable: bool,
    writable: bool,
    /// The peer has closed its side, or the socket has failed: no further event tells that there is something to read.
    has_last_event: bool,
    state: ConnectionState,
    /// Whether the session has sent its greeting. Under implicit TLS it waits for the end of the handshake.
    greeted: bool,
    opened_at: Duration,
    last_command: Duration,
    last_read: Duration,
    last_write: Duration,
    /// The times of the last command that made progress, and of the last one that took the session further than it was since
    /// its last message.
    last_progress: Duration,
    last_advance: Duration,
    /// The progress of the session at the end of the last pump.
    counts: ProgressCounts,
    seen_served: usize,
    /// The cost of the last pump.
    work: usize,
    transcript: Option<Box<Recorder>>,
    /// The output when the call into the session began, while one runs.
    before_call: Option<output_mark::OutputMark>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionState {
    /// The session takes steps.
    Running,
    /// The session waits for a response.
    AwaitingResponse,
    /// The session takes no step before this time.
    Paused(Duration),
    /// The last clear text is being sent; TLS begins after it.
    FlushingBeforeTls,
    /// The TLS handshake is running, until this time at most. The session takes no step.
    Handshake(Duration),
    /// The session has ended; its last reply is being sent.
    Closing,
    /// All output is sent. Input is read and discarded for a while, because a close with unread octets would cause a
    /// reset that may overtake the last reply.
    Draining(Duration),
    /// The connection is to be dropped.
    Closed,
}

/// The claim of a connection to its place when there is no room for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvictionPriority {
    /// The stage that the connection has reached.
    pub stage: EvictionStage,
    /// The time of its last progress. For message data: the time up to which its octets satisfy the minimum rate.
    pub last_progress: Duration,
}

/// The stages of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvictionStage {
    /// Its session has ended, and the last octets are on their way.
    Closing,
    /// Before TLS, hello, or login.
    Unidentified,
    /// Between two messages, or before the data of one.
    Idle,
    /// Message data is being received.
    ReceivingBody,
    /// The user has logged in, the client is trusted, or the peer is a server of this site.
    Trusted,
}

/// The next action of the loop for a connection, after a pump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PumpOutcome {
    /// Wait for its next event, response or deadline.
    Idle,
    /// Its budget is spent and work is left: pump it again in the next turn.
    BudgetSpent,
    /// Drop the connection: nothing more will be sent or read.
    Closed,
}

impl Connection {
    /// Returns a connection whose session has not sent its greeting yet.
    pub fn new(caller: PeerInfo, transport: Transport, session: Box<dyn Session>, now: Now) -> Self {
        let counts = METRICS.listener(caller.service);
        counts.connections.inc();
        counts.open.inc();
        Self {
            peer_info: caller,
            metrics: counts,
            summary: SessionSummary::default(),
            received: 0,
            sent: 0,
            transport,
            session,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            readable: true,
            writable: true,
            has_last_event: false,
            state: ConnectionState::Running,
            greeted: false,
            opened_at: now.monotonic,
            last_command: now.monotonic,
            last_read: now.monotonic,
            last_write: now.monotonic,
            last_progress: now.monotonic,
            last_advance: now.monotonic,
            counts: ProgressCounts::default(),
            seen_served: 0,
            work: 0,
            transcript: None,
            before_call: None,
        }
    }

    /// Lets the session send its greeting, or begins TLS if that comes first.
    fn greet(&mut self, world: &mut dyn RequestHandler, now: Now) {
        if self.transport.is_implicit() && self.transport.encryption().is_none() {
            self.state = ConnectionState::FlushingBeforeTls;
            return;
        }
        self.greeted = true;
        let step = self.call_session(world.directory(), now, |session, cx, _, out| session.greet(cx, out));
        self.apply_step(step, world, now);
    }

    /// The cost of the last pump, in units of about a microsecond.
    pub fn work(&self) -> usize {
        self.work
    }

    /// Records the readiness that an event reports. `ended`: the peer has closed its side, or the socket has failed.
    pub fn set_readiness(&mut self, readable: bool, writable: bool, ended: bool) {
        self.readable |= readable || ended;
        self.writable |= writable;
        self.has_last_event |= ended;
    }

    /// Passes the session the response that it waits for.
    pub fn deliver_response(&mut self, response: Response, world: &mut dyn RequestHandler, now: Now) {
        if self.state == ConnectionState::AwaitingResponse {
            self.state = ConnectionState::Running;
            let asked = std::mem::replace(&mut self.last_command, now.monotonic);
            let step = self.respond(response, world, now);
            self.log_events(now.monotonic.saturating_sub(asked));
            self.apply_step(step, world, now);
        }
    }

    /// Passes the session an event that it did not ask for. The caller pumps the connection afterwards.
    pub fn notify(&mut self, event: &SessionEvent, now: Now) {
        if !self.is_closing() {
            self.session_event(event, now);
            self.log_events(Duration::ZERO);
        }
    }

    /// Pumps: step, flush, fill, until no octet moves or the budget of this turn is spent.
    pub fn pump(
        &mut self,
        world: &mut dyn RequestHandler,
        now: Now,
        limits: &Limits,
        scratch: &mut [u8],
    ) -> PumpOutcome {
        self.pump_share(world, now, (limits, Share::WHOLE), scratch)
    }

    /// Pumps with a share of the budget.
    pub(crate) fn pump_share(
        &mut self,
        world: &mut dyn RequestHandler,
        now: Now,
        (limits, share): (&Limits, Share),
        scratch: &mut [u8],
    ) -> PumpOutcome {
        let before = (self.received + self.sent, matches!(self.state, ConnectionState::Handshake(_)));
        let mut budget = share.budget(limits);
        let granted = budget.steps;
        let pumped = self.pump_once(world, now, limits, scratch, &mut budget);
        self.record_progress(now);
        let octets = (self.received + self.sent - before.0) as usize;
        let steps = granted - budget.steps;
        self.work = work::pump_cost(steps, octets, before.1);
        pumped
    }

    fn pump_once(
        &mut self,
        world: &mut dyn RequestHandler,
        now: Now,
        limits: &Limits,
        scratch: &mut [u8],
        budget: &mut Budget,
    ) -> PumpOutcome {
        if self.state == ConnectionState::Running && !self.greeted {
            self.greet(world, now);
        }
        loop {
            let moved = self
                .advance_tls(world, now, limits)
                .and_then(|secured| Ok(secured | self.run_session(world, now, limits, budget)?))
                .and_then(|moved| Ok(moved | self.flush(now)?))
                .and_then(|moved| Ok(moved | self.fill(now, limits, scratch, budget)?))
                .map(|moved| moved | self.advance_closing(now));
            self.log_events(Duration::ZERO);
            if let Err(error) = &moved {
                self.record_abort(&error.to_string());
                self.state = ConnectionState::Closed; // mostly a reset by the peer, so no reply is possible
            }
            if self.state == ConnectionState::Closed {
                return PumpOutcome::Closed;
            }
            if matches!(moved, Ok(false)) {
                self.inbox.shrink();
                self.outbox.shrink();
                return PumpOutcome::Idle;
            }
            if budget.steps == 0 || budget.octets == 0 {
                return PumpOutcome::BudgetSpent;
            }
        }
    }

    /// Begins TLS after the last octet in clear text is sent, and the session after the handshake.
    fn advance_tls(&mut self, world: &mut dyn RequestHandler, now: Now, limits: &Limits) -> io::Result<bool> {
        match self.state {
            // Octets after the command that asked for TLS were sent in clear text, perhaps by an attacker in the
            // middle. Running them as part of the encrypted session is the flaw of CVE-2011-0411.
            ConnectionState::FlushingBeforeTls if !self.inbox.is_empty() => {
                self.tls_failed("clear text after the command that begins TLS");
                self.state = ConnectionState::Closed;
            }
            ConnectionState::FlushingBeforeTls if self.outbox.is_empty() => {
                if let Err(error) = self.transport.start_tls() {
                    self.tls_failed(&error.to_string());
                    return Err(error);
                }
                self.inbox = Inbox::default();
                self.state = ConnectionState::Handshake(now.monotonic + limits.tls.handshake_timeout.0);
            }
            ConnectionState::Handshake(_) => {
                let Some(by) = self.transport.encryption() else { return Ok(false) };
                self.metrics.tls_handshakes.inc();
                logging::tls_started(&self.peer_info, by);
                self.session.tls_started(&Context { now, directory: world.directory() }, by);
                let phase = self.session.session_phase();
                self.with_transcript(|record, _| record.record_tls(by, phase, now));
                self.last_command = now.monotonic;
                self.state = ConnectionState::Running;
                if !self.greeted {
                    self.greet(world, now);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn tls_failed(&mut self, why: &str) {
        self.metrics.tls_failures.inc();
        logging::tls_failed(&self.peer_info, why);
        self.record_abort(why);
    }

    /// Runs steps while there is input and room for output. The session takes no step while it waits for a response.
    fn run_session(
        &mut self,
        world: &mut dyn RequestHandler,
        now: Now,
        limits: &Limits,
        budget: &mut Budget,
    ) -> io::Result<bool> {
        let mut moved = false;
        while self.state == ConnectionState::Running
            && budget.steps > 0
            && budget.octets > 0
            && !self.output_is_full(limits)
        {
            let step = self
                .call_session(world.directory(), now, |session, cx, inbox, out| session.step(cx, inbox, out));
            if matches!(step, Step::Idle) {
                // An incomplete line is never executed: if no more input can come, the session ends.
                if self.inbox.has_ended() {
                    self.with_transcript(|record, inbox| record.record_client_close(inbox.unread(), now));
                    self.state = ConnectionState::Closing;
                }
                break;
            }
            moved = true;
            budget.spend(self.session.take_work());
            self.last_command = now.monotonic;
            let octets = self.apply_step(step, world, now);
            budget.octets = budget.octets.saturating_sub(octets);
        }
        Ok(moved)
    }

    /// Carries out the result of a step, including a response that is available at once. Returns the octets of mail in
    /// such responses.
    fn apply_step(&mut self, mut step: Step, world: &mut dyn RequestHandler, now: Now) -> usize {
        let mut octets = 0;
        loop {
            self.state = match step {
                Step::Continue | Step::Idle => ConnectionState::Running,
                Step::Pause(span) if span.is_zero() => ConnectionState::Running,
                Step::Pause(span) => ConnectionState::Paused(now.monotonic + span),
                Step::Close => ConnectionState::Closing,
                Step::Abort => ConnectionState::Closed,
                Step::StartTls => ConnectionState::FlushingBeforeTls,
                Step::Request(request) => {
                    match world.handle((self.peer_info.id, self.peer_info.peer), request) {
                        Some(response) => {
                            octets += response.mail_octets();
                            step = self.respond(response, world, now);
                            continue;
                        }
                        None => ConnectionState::AwaitingResponse,
                    }
                }
            };
            return octets;
        }
    }

    fn flush(&mut self, now: Now) -> io::Result<bool> {
        let mut moved = false;
        while self.writable
            && self.transport.has_output(&self.outbox)
            && self.state != ConnectionState::Closed
        {
            match self.transport.flush(&mut self.outbox)? {
                IoOutcome::Transferred(n) => {
                    moved = true;
                    self.sent += n as u64;
                    self.metrics.sent.add(n as u64);
                    self.last_write = now.monotonic;
                }
                _ => self.writable = false,
            }
        }
        Ok(moved)
    }

    fn fill(
        &mut self,
        now: Now,
        limits: &Limits,
        scratch: &mut [u8],
        budget: &mut Budget,
    ) -> io::Result<bool> {
        let wants = matches!(self.state, ConnectionState::Handshake(_) | ConnectionState::Draining(_))
            || (matches!(
                self.state,
                ConnectionState::Running | ConnectionState::AwaitingResponse | ConnectionState::Paused(_)
            ) && self.inbox.len() < work::inbox_capacity(limits)
                && !self.output_is_full(limits));
        if !wants || !self.readable || self.inbox.has_ended() || budget.octets == 0 {
            return Ok(false);
        }
        match self.transport.fill(&mut self.inbox, scratch)? {
            IoOutcome::Transferred(n) => {
                budget.octets = budget.octets.saturating_sub(n);
                self.received += n as u64;
                self.metrics.received.add(n as u64);
                self.last_read = now.monotonic;
                // A read that leaves room has read everything, and an event comes with more (epoll(7)).
                self.readable = n == scratch.len() || self.has_last_event;
            }
            IoOutcome::Blocked => {
                self.readable = false;
                return Ok(false);
            }
            IoOutcome::Ended => self.inbox.end(),
            // Complete lines that arrived before the cut were sent, and are executed. An incomplete last line never is.
            IoOutcome::Truncated => {
                self.outbox.push_event(Event::Ended { why: "cut off without close_notify" });
                self.inbox.end();
            }
            IoOutcome::TlsError(why) => {
                self.tls_failed(&why);
                self.outbox.discard();
                self.close(now);
            }
        }
        let handshaking =
            matches!(self.state, ConnectionState::Handshake(_)) && self.transport.encryption().is_none();
        if handshaking && self.inbox.has_ended() {
            self.state = ConnectionState::Closed;
        }
        Ok(true)
    }

    /// Above the high mark the connection reads no input and takes no step: that is all of the back-pressure.
    fn output_is_full(&self, limits: &Limits) -> bool {
        self.outbox.pending().len() as u64 >= limits.connections.max_output_buffer.0
    }

    /// Advances a close: flush the last reply, wait for the peer's end, then drop the connection.
    fn advance_closing(&mut self, now: Now) -> bool {
        match self.state {
            ConnectionState::Closing if self.outbox.is_empty() => {
                let before = self.transport.has_output(&self.outbox);
                self.transport.send_close_notify();
                if self.transport.has_output(&self.outbox) {
                    return !before; // pump again, to send it
                }
                self.transport.shut_down();
                self.state = ConnectionState::Draining(now.monotonic + LINGER);
                self.inbox = empty_like(&self.inbox);
            }
            ConnectionState::Draining(_) if self.inbox.has_ended() => self.state = ConnectionState::Closed,
            _ => return false,
        }
        true
    }

    /// Passes the session's events to the log and the metrics. `waited` is the time that the session waited for the
    /// response.
    fn log_events(&mut self, waited: Duration) {
        for event in self.outbox.take_events() {
            self.summary.note(&event);
            self.metrics.record_event(&event, waited);
            logging::log_event(&self.peer_info, self.transport.encryption(), &event, waited);
        }
    }
}

/// An inbox without octets that keeps the end-of-input flag.
fn empty_like(inbox: &Inbox) -> Inbox {
    let mut drained = Inbox::default();
    if inbox.has_ended() {
        drained.end();
    }
    drained
}

/// Time for which input is still read after the last reply.
const LINGER: Duration = Duration::from_secs(2);
