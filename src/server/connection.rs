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
    logging::{self, Caller, Summary},
    metrics::{self, METRICS},
    net::transport::{Moved, Transport},
    proto::{
        Cx, Progress, Session, Step,
        buffer::{Inbox, Outbox},
        event::Event,
        request::{Answer, Ask, ConnId, Directory},
        sasl,
    },
    transcript::Record,
};

/// What sessions want from the world.
pub trait World {
    /// Who has a mailbox here.
    fn directory(&self) -> &dyn Directory;

    /// Takes what a session asks. `None`: the answer comes later.
    fn ask(&mut self, from: ConnId, ask: Ask) -> Option<Answer>;

    /// What has changed in the spool for a session since the last answer, for its transcript.
    fn changes(&mut self, _from: ConnId) -> Vec<String> {
        Vec::new()
    }
}

/// One connection.
pub struct Conn {
    caller: Caller,
    counts: &'static metrics::Listener,
    summary: Summary,
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
    began: Duration,
    last_command: Duration,
    last_read: Duration,
    last_write: Duration,
    /// When a command last led on, and when one led further than the session was since its last message.
    last_led_on: Duration,
    last_further: Duration,
    progress: Progress,
    served: usize,
    /// What the last round cost the loop.
    work: usize,
    /// The deadline that the loop keeps for this connection, which may be too early.
    pub timer: Option<Duration>,
    /// Its transcript, if there is to be one.
    record: Option<Box<Record>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The session takes steps.
    Open,
    /// The session waits for an answer.
    Waiting,
    /// The session takes no step before that time.
    Paused(Duration),
    /// The last words in clear text are being sent; then TLS begins.
    Securing,
    /// TLS is being agreed upon, until that time at most. The session takes no step.
    Handshake(Duration),
    /// The session is over; its last words are being sent.
    Closing,
    /// Everything is said. What the peer still sends is read and thrown away for a while, since closing on
    /// unread octets would be a reset that may overtake our last words.
    Draining(Duration),
    /// To be dropped.
    Gone,
}

/// By what a connection holds its place when there is none left for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// How far it has come.
    pub stage: Stage,
    /// When it last made progress. For message data: up to when its octets are enough.
    pub progress: Duration,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Everything is said.
    Over,
    /// Before TLS, hello, or login.
    Arriving,
    /// Between two messages, or before the data of one.
    Between,
    /// Message data is under way.
    Body,
    /// A user who has logged in, a trusted client, a server of ours.
    Trusted,
}

/// What the loop should do with a connection after a pump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pumped {
    /// Wait for its next event, answer or deadline.
    Idle,
    /// Its budget is spent, its work is not: pump it again in the next turn.
    Again,
    /// Drop it.
    Gone,
}

impl Conn {
    /// A connection whose session has not spoken yet.
    pub fn new(caller: Caller, transport: Transport, session: Box<dyn Session>, now: Now) -> Self {
        let counts = METRICS.listener(caller.service);
        counts.connections.one();
        counts.open.up();
        Self {
            caller,
            counts,
            summary: Summary::default(),
            received: 0,
            sent: 0,
            transport,
            session,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            readable: true,
            writable: true,
            phase: Phase::Open,
            greeted: false,
            began: now.steady,
            last_command: now.steady,
            last_read: now.steady,
            last_write: now.steady,
            last_led_on: now.steady,
            last_further: now.steady,
            progress: Progress::default(),
            served: 0,
            work: 0,
            timer: None,
            record: None,
        }
    }

    /// Lets the session speak first, or TLS before it.
    fn greet(&mut self, world: &mut dyn World, now: Now) {
        if self.transport.is_implicit() && self.transport.encryption().is_none() {
            self.phase = Phase::Securing;
            return;
        }
        self.greeted = true;
        let step = self.act(world.directory(), now, |session, cx, _, out| session.greet(cx, out));
        self.take(step, world, now);
    }

    /// What the last round cost, in units of about a microsecond.
    pub fn work(&self) -> usize {
        self.work
    }

    /// Notes what an event said.
    pub fn ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Hands the session the answer it waits for.
    pub fn answer(&mut self, answer: Answer, world: &mut dyn World, now: Now) {
        if self.phase == Phase::Waiting {
            self.phase = Phase::Open;
            let asked = std::mem::replace(&mut self.last_command, now.steady);
            let step = self.reply(answer, world, now);
            self.log(now.steady.saturating_sub(asked));
            self.take(step, world, now);
        }
    }

    /// One round: step, flush, fill, until nothing moves or the budget of this turn is spent.
    pub fn pump(&mut self, world: &mut dyn World, now: Now, limits: &Limits, scratch: &mut [u8]) -> Pumped {
        self.pump_share(world, now, (limits, Share::WHOLE), scratch)
    }

    /// The same with a share of the budget.
    pub(crate) fn pump_share(
        &mut self,
        world: &mut dyn World,
        now: Now,
        (limits, share): (&Limits, Share),
        scratch: &mut [u8],
    ) -> Pumped {
        let before = (self.received + self.sent, matches!(self.phase, Phase::Handshake(_)));
        let mut budget = share.budget(limits);
        let granted = budget.steps;
        let pumped = self.round(world, now, limits, scratch, &mut budget);
        self.note_progress(now);
        let octets = (self.received + self.sent - before.0) as usize;
        let steps = granted - budget.steps;
        self.work = work::of_round(steps, octets, before.1);
        pumped
    }

    fn round(
        &mut self,
        world: &mut dyn World,
        now: Now,
        limits: &Limits,
        scratch: &mut [u8],
        budget: &mut Budget,
    ) -> Pumped {
        if self.phase == Phase::Open && !self.greeted {
            self.greet(world, now);
        }
        loop {
            let moved = self
                .secure(world, now, limits)
                .and_then(|secured| Ok(secured | self.step(world, now, limits, budget)?))
                .and_then(|moved| Ok(moved | self.flush(now)?))
                .and_then(|moved| Ok(moved | self.fill(now, limits, scratch, budget)?))
                .map(|moved| moved | self.finish(now));
            self.log(Duration::ZERO);
            if let Err(error) = &moved {
                self.cut(&error.to_string());
                self.phase = Phase::Gone; // reset by the peer, most often: nobody to tell
            }
            if self.phase == Phase::Gone {
                return Pumped::Gone;
            }
            if matches!(moved, Ok(false)) {
                self.inbox.rest();
                self.outbox.rest();
                return Pumped::Idle;
            }
            if budget.steps == 0 || budget.octets == 0 {
                return Pumped::Again;
            }
        }
    }

    /// Begins TLS when the last octet in clear text is sent, and the session when the handshake is over.
    fn secure(&mut self, world: &mut dyn World, now: Now, limits: &Limits) -> io::Result<bool> {
        match self.phase {
            // Octets behind the command that asked for TLS were sent in clear text, perhaps by somebody in
            // between: to run them as part of the encrypted session is the flaw of CVE-2011-0411.
            Phase::Securing if !self.inbox.is_empty() => {
                self.not_secured("clear text behind the command that begins TLS");
                self.phase = Phase::Gone;
            }
            Phase::Securing if self.outbox.is_empty() => {
                if let Err(error) = self.transport.secure() {
                    self.not_secured(&error.to_string());
                    return Err(error);
                }
                self.inbox = Inbox::default();
                self.phase = Phase::Handshake(now.steady + limits.tls_handshake.0);
            }
            Phase::Handshake(_) => {
                let Some(by) = self.transport.encryption() else { return Ok(false) };
                self.counts.secured.one();
                logging::secured(&self.caller, by);
                self.session.secured(&Cx { now, directory: world.directory() }, by);
                let standing = self.session.standing();
                self.record(|record, _| record.secured(by, standing, now));
                self.last_command = now.steady;
                self.phase = Phase::Open;
                if !self.greeted {
                    self.greet(world, now);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn not_secured(&mut self, why: &str) {
        self.counts.not_secured.one();
        logging::not_secured(&self.caller, why);
        self.cut(why);
    }

    /// Steps while there is input and room for output. No step is taken while an answer is awaited.
    fn step(
        &mut self,
        world: &mut dyn World,
        now: Now,
        limits: &Limits,
        budget: &mut Budget,
    ) -> io::Result<bool> {
        let mut moved = false;
        while self.phase == Phase::Open && budget.steps > 0 && !self.is_full(limits) {
            let step =
                self.act(world.directory(), now, |session, cx, inbox, out| session.step(cx, inbox, out));
            if matches!(step, Step::Idle) {
                // A line without its end is never executed: when no more will come, that was all.
                if self.inbox.has_ended() {
                    self.record(|record, inbox| record.left(inbox.unread(), now));
                    self.phase = Phase::Closing;
                }
                break;
            }
            moved = true;
            budget.spend(self.session.take_work());
            self.last_command = now.steady;
            self.take(step, world, now);
        }
        Ok(moved)
    }

    /// Does what a step wants, and what comes of it at once.
    fn take(&mut self, mut step: Step, world: &mut dyn World, now: Now) {
        loop {
            self.phase = match step {
                Step::Again | Step::Idle => Phase::Open,
                Step::Pause(span) if span.is_zero() => Phase::Open,
                Step::Pause(span) => Phase::Paused(now.steady + span),
                Step::Close => Phase::Closing,
                Step::Abort => Phase::Gone,
                Step::Secure => Phase::Securing,
                Step::Ask(ask) => match world.ask(self.caller.id, ask) {
                    Some(answer) => {
                        step = self.reply(answer, world, now);
                        continue;
                    }
                    None => Phase::Waiting,
                },
            };
            return;
        }
    }

    fn flush(&mut self, now: Now) -> io::Result<bool> {
        let mut moved = false;
        while self.writable && self.transport.has_output(&self.outbox) && self.phase != Phase::Gone {
            match self.transport.flush(&mut self.outbox)? {
                Moved::Octets(n) => {
                    moved = true;
                    self.sent += n as u64;
                    self.counts.sent.add(n as u64);
                    self.last_write = now.steady;
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
            || (matches!(self.phase, Phase::Open | Phase::Waiting | Phase::Paused(_))
                && self.inbox.len() < room(limits)
                && !self.is_full(limits));
        if !wants || !self.readable || self.inbox.has_ended() || budget.octets == 0 {
            return Ok(false);
        }
        match self.transport.fill(&mut self.inbox, scratch)? {
            Moved::Octets(n) => {
                budget.octets = budget.octets.saturating_sub(n);
                self.received += n as u64;
                self.counts.received.add(n as u64);
                self.last_read = now.steady;
            }
            Moved::Blocked => {
                self.readable = false;
                return Ok(false);
            }
            Moved::Ended => self.inbox.end(),
            // Whole lines that came before the cut were really sent, and are executed; the last half of one
            // is not, with or without a cut.
            Moved::Cut => {
                self.outbox.tell(Event::Ended { why: "cut off without close_notify" });
                self.inbox.end();
            }
            Moved::Broken(why) => {
                self.not_secured(&why);
                self.outbox.discard();
                self.close(now);
            }
        }
        let handshaking = matches!(self.phase, Phase::Handshake(_)) && self.transport.encryption().is_none();
        if handshaking && self.inbox.has_ended() {
            self.phase = Phase::Gone;
        }
        Ok(true)
    }

    /// Above the high mark nothing is taken in and no step is taken: that is the whole of back-pressure.
    fn is_full(&self, limits: &Limits) -> bool {
        self.outbox.waiting().len() as u64 >= limits.output_waiting.0
    }

    /// Goes on with an ending: last words sent, then the peer's end seen, then gone.
    fn finish(&mut self, now: Now) -> bool {
        match self.phase {
            Phase::Closing if self.outbox.is_empty() => {
                let before = self.transport.has_output(&self.outbox);
                self.transport.say_goodbye();
                if self.transport.has_output(&self.outbox) {
                    return !before; // once more round, to send it
                }
                self.transport.shut_down();
                self.phase = Phase::Draining(now.steady + LINGER);
                self.inbox = drained(&self.inbox);
            }
            Phase::Draining(_) if self.inbox.has_ended() => self.phase = Phase::Gone,
            _ => return false,
        }
        true
    }

    /// Passes on what the session wants to be known. `waited`: how long it had waited for that.
    fn log(&mut self, waited: Duration) {
        for event in self.outbox.events() {
            self.summary.note(&event);
            self.counts.event(&event, waited);
            logging::event(&self.caller, self.transport.encryption(), &event, waited);
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.counts.open.down(1);
    }
}

/// Octets that may wait in an inbox: those of a turn, but always one more than the longest line has that a session
/// may wait for, by which it sees that the line is too long.
fn room(limits: &Limits) -> usize {
    let longest_line = limits.smtp_line.max(limits.pop3_line).max(sasl::LINE);
    limits.turn_octets.max(longest_line + 1)
}

/// An inbox without its octets, that still knows whether it ended.
fn drained(inbox: &Inbox) -> Inbox {
    let mut drained = Inbox::default();
    if inbox.has_ended() {
        drained.end();
    }
    drained
}

/// How long we read on after our last words.
const LINGER: Duration = Duration::from_secs(2);
