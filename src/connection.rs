//! One connection: its readiness, its buffers, its deadline, and the pump that moves octets between them and
//! the session.
//!
//! Polling is edge-triggered, and all that follows from it is in this file: an event only sets `readable` or
//! `writable`, only "would block" clears them, and every round flushes what any step has said.

mod closing;
mod recording;
pub(crate) mod work;

use std::{io, time::Duration};

use work::{Budget, Share};

use crate::{
    clock::Now,
    limits::Limits,
    logging::{self, PeerInfo, SessionSummary},
    metrics::{self, METRICS},
    net::transport::{IoOutcome, Transport},
    proto::{
        Context, Progress, Session, Step,
        buffer::{Inbox, Outbox},
        event::Event,
        request::{ConnId, Directory, Request, Response},
        sasl,
    },
    transcript::Recorder,
};

/// What sessions want from the world.
pub trait RequestHandler {
    /// Who has a mailbox here.
    fn directory(&self) -> &dyn Directory;

    /// Takes what a session asks. `None`: the answer comes later.
    fn handle(&mut self, from: ConnId, ask: Request) -> Option<Response>;

    /// What has changed in the spool for a session since the last answer, for its transcript.
    fn spool_changes(&mut self, _from: ConnId) -> Vec<String> {
        Vec::new()
    }
}

/// One connection.
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
    phase: Phase,
    /// Whether the session has spoken: under implicit TLS it waits for the end of the handshake.
    greeted: bool,
    opened_at: Duration,
    last_command: Duration,
    last_read: Duration,
    last_write: Duration,
    /// When a command last led on, and when one led further than the session was since its last message.
    last_progress: Duration,
    last_advance: Duration,
    progress: Progress,
    seen_served: usize,
    /// What the last round cost the loop.
    work: usize,
    /// The deadline that the loop keeps for this connection, which may be too early.
    pub scheduled_deadline: Option<Duration>,
    /// Its transcript, if there is to be one.
    transcript: Option<Box<Recorder>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The session takes steps.
    Running,
    /// The session waits for an answer.
    AwaitingResponse,
    /// The session takes no step before that time.
    Paused(Duration),
    /// The last words in clear text are being sent; then TLS begins.
    FlushingBeforeTls,
    /// TLS is being agreed upon, until that time at most. The session takes no step.
    Handshake(Duration),
    /// The session is over; its last words are being sent.
    Closing,
    /// Everything is said. What the peer still sends is read and thrown away for a while, since closing on
    /// unread octets would be a reset that may overtake our last words.
    Draining(Duration),
    /// To be dropped.
    Closed,
}

/// By what a connection holds its place when there is none left for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvictionPriority {
    /// How far it has come.
    pub stage: Stage,
    /// When it last made progress. For message data: up to when its octets are enough.
    pub last_progress: Duration,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Everything is said.
    Closing,
    /// Before TLS, hello, or login.
    Unidentified,
    /// Between two messages, or before the data of one.
    Idle,
    /// Message data is under way.
    ReceivingBody,
    /// A user who has logged in, a trusted client, a server of ours.
    Trusted,
}

/// What the loop should do with a connection after a pump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PumpOutcome {
    /// Wait for its next event, answer or deadline.
    Idle,
    /// Its budget is spent, its work is not: pump it again in the next turn.
    BudgetSpent,
    /// Drop it.
    Closed,
}

impl Connection {
    /// A connection whose session has not spoken yet.
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
            phase: Phase::Running,
            greeted: false,
            opened_at: now.monotonic,
            last_command: now.monotonic,
            last_read: now.monotonic,
            last_write: now.monotonic,
            last_progress: now.monotonic,
            last_advance: now.monotonic,
            progress: Progress::default(),
            seen_served: 0,
            work: 0,
            scheduled_deadline: None,
            transcript: None,
        }
    }

    /// Lets the session speak first, or TLS before it.
    fn greet(&mut self, world: &mut dyn RequestHandler, now: Now) {
        if self.transport.is_implicit() && self.transport.encryption().is_none() {
            self.phase = Phase::FlushingBeforeTls;
            return;
        }
        self.greeted = true;
        let step = self.call_session(world.directory(), now, |session, cx, _, out| session.greet(cx, out));
        self.apply_step(step, world, now);
    }

    /// What the last round cost, in units of about a microsecond.
    pub fn work(&self) -> usize {
        self.work
    }

    /// Notes what an event said.
    pub fn set_readiness(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Hands the session the answer it waits for.
    pub fn deliver_response(&mut self, answer: Response, world: &mut dyn RequestHandler, now: Now) {
        if self.phase == Phase::AwaitingResponse {
            self.phase = Phase::Running;
            let asked = std::mem::replace(&mut self.last_command, now.monotonic);
            let step = self.respond(answer, world, now);
            self.log_events(now.monotonic.saturating_sub(asked));
            self.apply_step(step, world, now);
        }
    }

    /// One round: step, flush, fill, until nothing moves or the budget of this turn is spent.
    pub fn pump(
        &mut self,
        world: &mut dyn RequestHandler,
        now: Now,
        limits: &Limits,
        scratch: &mut [u8],
    ) -> PumpOutcome {
        self.pump_share(world, now, (limits, Share::WHOLE), scratch)
    }

    /// The same with a share of the budget.
    pub(crate) fn pump_share(
        &mut self,
        world: &mut dyn RequestHandler,
        now: Now,
        (limits, share): (&Limits, Share),
        scratch: &mut [u8],
    ) -> PumpOutcome {
        let before = (self.received + self.sent, matches!(self.phase, Phase::Handshake(_)));
        let mut budget = share.budget(limits);
        let granted = budget.steps;
        let pumped = self.pump_once(world, now, limits, scratch, &mut budget);
        self.record_progress(now);
        let octets = (self.received + self.sent - before.0) as usize;
        let steps = granted - budget.steps;
        self.work = work::of_round(steps, octets, before.1);
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
        if self.phase == Phase::Running && !self.greeted {
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
                self.phase = Phase::Closed; // reset by the peer, most often: nobody to tell
            }
            if self.phase == Phase::Closed {
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

    /// Begins TLS when the last octet in clear text is sent, and the session when the handshake is over.
    fn advance_tls(&mut self, world: &mut dyn RequestHandler, now: Now, limits: &Limits) -> io::Result<bool> {
        match self.phase {
            // Octets behind the command that asked for TLS were sent in clear text, perhaps by somebody in
            // between: to run them as part of the encrypted session is the flaw of CVE-2011-0411.
            Phase::FlushingBeforeTls if !self.inbox.is_empty() => {
                self.tls_failed("clear text behind the command that begins TLS");
                self.phase = Phase::Closed;
            }
            Phase::FlushingBeforeTls if self.outbox.is_empty() => {
                if let Err(error) = self.transport.start_tls() {
                    self.tls_failed(&error.to_string());
                    return Err(error);
                }
                self.inbox = Inbox::default();
                self.phase = Phase::Handshake(now.monotonic + limits.tls_handshake.0);
            }
            Phase::Handshake(_) => {
                let Some(by) = self.transport.encryption() else { return Ok(false) };
                self.metrics.tls_handshakes.inc();
                logging::tls_started(&self.peer_info, by);
                self.session.tls_started(&Context { now, directory: world.directory() }, by);
                let standing = self.session.session_phase();
                self.with_transcript(|record, _| record.record_tls(by, standing, now));
                self.last_command = now.monotonic;
                self.phase = Phase::Running;
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

    /// Steps while there is input and room for output. No step is taken while an answer is awaited.
    fn run_session(
        &mut self,
        world: &mut dyn RequestHandler,
        now: Now,
        limits: &Limits,
        budget: &mut Budget,
    ) -> io::Result<bool> {
        let mut moved = false;
        while self.phase == Phase::Running && budget.steps > 0 && !self.output_is_full(limits) {
            let step = self
                .call_session(world.directory(), now, |session, cx, inbox, out| session.step(cx, inbox, out));
            if matches!(step, Step::Idle) {
                // A line without its end is never executed: when no more will come, that was all.
                if self.inbox.has_ended() {
                    self.with_transcript(|record, inbox| record.record_client_close(inbox.unread(), now));
                    self.phase = Phase::Closing;
                }
                break;
            }
            moved = true;
            budget.spend(self.session.take_work());
            self.last_command = now.monotonic;
            self.apply_step(step, world, now);
        }
        Ok(moved)
    }

    /// Does what a step wants, and what comes of it at once.
    fn apply_step(&mut self, mut step: Step, world: &mut dyn RequestHandler, now: Now) {
        loop {
            self.phase = match step {
                Step::Again | Step::Idle => Phase::Running,
                Step::Pause(span) if span.is_zero() => Phase::Running,
                Step::Pause(span) => Phase::Paused(now.monotonic + span),
                Step::Close => Phase::Closing,
                Step::Abort => Phase::Closed,
                Step::Secure => Phase::FlushingBeforeTls,
                Step::Ask(ask) => match world.handle(self.peer_info.id, ask) {
                    Some(answer) => {
                        step = self.respond(answer, world, now);
                        continue;
                    }
                    None => Phase::AwaitingResponse,
                },
            };
            return;
        }
    }

    fn flush(&mut self, now: Now) -> io::Result<bool> {
        let mut moved = false;
        while self.writable && self.transport.has_output(&self.outbox) && self.phase != Phase::Closed {
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
        let wants = matches!(self.phase, Phase::Handshake(_) | Phase::Draining(_))
            || (matches!(self.phase, Phase::Running | Phase::AwaitingResponse | Phase::Paused(_))
                && self.inbox.len() < inbox_capacity(limits)
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
            }
            IoOutcome::Blocked => {
                self.readable = false;
                return Ok(false);
            }
            IoOutcome::Ended => self.inbox.end(),
            // Whole lines that came before the cut were really sent, and are executed; the last half of one
            // is not, with or without a cut.
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
        let handshaking = matches!(self.phase, Phase::Handshake(_)) && self.transport.encryption().is_none();
        if handshaking && self.inbox.has_ended() {
            self.phase = Phase::Closed;
        }
        Ok(true)
    }

    /// Above the high mark nothing is taken in and no step is taken: that is the whole of back-pressure.
    fn output_is_full(&self, limits: &Limits) -> bool {
        self.outbox.pending().len() as u64 >= limits.output_waiting.0
    }

    /// Goes on with an ending: last words sent, then the peer's end seen, then gone.
    fn advance_closing(&mut self, now: Now) -> bool {
        match self.phase {
            Phase::Closing if self.outbox.is_empty() => {
                let before = self.transport.has_output(&self.outbox);
                self.transport.send_close_notify();
                if self.transport.has_output(&self.outbox) {
                    return !before; // once more round, to send it
                }
                self.transport.shut_down();
                self.phase = Phase::Draining(now.monotonic + LINGER);
                self.inbox = emptied(&self.inbox);
            }
            Phase::Draining(_) if self.inbox.has_ended() => self.phase = Phase::Closed,
            _ => return false,
        }
        true
    }

    /// Passes on what the session wants to be known. `waited`: how long it had waited for that.
    fn log_events(&mut self, waited: Duration) {
        for event in self.outbox.take_events() {
            self.summary.note(&event);
            self.metrics.record_event(&event, waited);
            logging::log_event(&self.peer_info, self.transport.encryption(), &event, waited);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.open.sub(1);
    }
}

/// Octets that may wait in an inbox: those of a turn, but always one more than the longest line has that a session
/// may wait for, by which it sees that the line is too long.
fn inbox_capacity(limits: &Limits) -> usize {
    let longest_line = limits.smtp_line.max(limits.pop3_line).max(sasl::LINE);
    limits.turn_octets.max(longest_line + 1)
}

/// An inbox without its octets, that still knows whether it ended.
fn emptied(inbox: &Inbox) -> Inbox {
    let mut drained = Inbox::default();
    if inbox.has_ended() {
        drained.end();
    }
    drained
}

/// How long we read on after our last words.
const LINGER: Duration = Duration::from_secs(2);
