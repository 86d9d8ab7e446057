//! What a session is to the connection that drives it: the trait, and the plain values that pass between them.

use std::time::Duration;

use super::{
    SessionPhase,
    buffer::{Inbox, Outbox},
    request::{Directory, Mailbox, Request, Response},
};
use crate::clock::Now;

/// What a session may look at while it steps.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The time of this turn of the loop.
    pub now: Now,
    /// Who has a mailbox here.
    pub directory: &'a dyn Directory,
}

/// What a session wants next.
#[derive(Debug)]
pub enum Step {
    /// It did something and may have more to do: step again.
    Again,
    /// It can do nothing without more input.
    Idle,
    /// It wants something from the world, and takes no step before the answer.
    Ask(Request),
    /// It takes no step for that long; input waits.
    Pause(Duration),
    /// Its last words are in the outbox: flush, then close.
    Close,
    /// Close without flushing: the peer must see that something is missing.
    Abort,
    /// Its last words in clear text are in the outbox: flush, then begin TLS, then [`Session::tls_started`].
    /// The session has made sure that the inbox is empty; a connection that finds octets in it all the same
    /// is closed, for they were sent in clear text and must not be taken for more (RFC 3207 section 6).
    Secure,
}

/// What protects a connection, once it is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encryption {
    /// The version of TLS: "1.2" or "1.3".
    pub version: &'static str,
    /// The cipher suite, as IANA writes it.
    pub cipher: &'static str,
}

/// How long a session is willing to wait for its peer, and what ends the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The wait.
    pub read: Duration,
    /// Whether single octets of input renew it (message data) or only whole commands do.
    pub reset_on: ResetOn,
    /// How long output may wait without the peer taking any of it.
    pub write: Duration,
    /// The longest life of the connection, if it has one.
    pub session: Option<Duration>,
}

/// What renews a [`Timeouts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetOn {
    /// A command that leads on, [`Progress::commands`]: NOOP, HELP or a mistake gain nothing.
    Progress,
    /// A whole command: a peer that sends an octet a minute gains nothing.
    Command,
    /// Any octet.
    Octet,
}

/// How far a session has come, for the choice of the one to end when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The state.
    pub stage: SessionStage,
    /// Commands that led on, also those that only lead back to where the session was before.
    pub commands: usize,
    /// Those of them that led further than the session was since its last message.
    pub further: usize,
    /// Messages accepted, and logins.
    pub served: usize,
}

/// The state of a session, as far as its connection's place depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionStage {
    /// A client that has not said hello or, where it has to, not logged in.
    #[default]
    Unidentified,
    /// A stranger with no message data under way.
    Idle,
    /// A stranger's message is on its way in.
    Body(BodyProgress),
    /// A user who has logged in, a trusted client, a server of ours.
    Trusted(Option<BodyProgress>),
    /// A message has come to its end, and waits for the disk.
    Delivering,
}

/// A message on its way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyProgress {
    /// When it began, on the steady clock.
    pub began: Duration,
    /// Octets taken off the wire.
    pub octets: u64,
    /// Octets held in memory.
    pub held: usize,
    /// The least octets a second that are expected.
    pub rate: u64,
}

impl BodyProgress {
    /// The time up to which a client with the expected rate would have needed for these octets.
    pub fn paid_until(&self) -> Duration {
        self.began + Duration::from_millis(self.octets.saturating_mul(1000) / self.rate.max(1))
    }
}

/// A change that comes to a session unasked. Several of one turn of the loop may come as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// Messages came to a mailbox, or left it, or have other marks.
    MailboxChanged(Mailbox),
}

/// One session of one protocol.
pub trait Session {
    /// Speaks first: the banner.
    fn greet(&mut self, cx: &Context<'_>, out: &mut Outbox) -> Step;

    /// Takes one step: a command line, a stretch of message data, or the next piece of a reply.
    fn step(&mut self, cx: &Context<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step;

    /// Takes the answer to the last [`Step::Ask`].
    fn respond(&mut self, cx: &Context<'_>, answer: Response, out: &mut Outbox) -> Step;

    /// The connection is encrypted from here on: either from its beginning, and the session greets next, or
    /// since [`Step::Secure`], and whatever the client said before is forgotten (RFC 3207 section 4.2,
    /// RFC 2595 section 4).
    fn tls_started(&mut self, cx: &Context<'_>, by: Encryption);

    /// How far the session has come, for those who watch it.
    fn session_phase(&self) -> SessionPhase {
        SessionPhase::Between
    }

    /// How long to wait for the peer in the present state.
    fn timeouts(&self) -> Timeouts;

    /// How far the session has come.
    fn progress(&self) -> Progress;

    /// Mailboxes that the session has looked at since this was asked last: they count against its turn of the loop like
    /// commands, because one RCPT may have a thousand.
    fn take_work(&mut self) -> usize {
        0
    }

    /// Something has changed that the session did not ask about. It may say so at once, or note it for a later step;
    /// a protocol that tells its client nothing unasked does nothing.
    fn notify(&mut self, _: &SessionEvent, _: &mut Outbox) {}

    /// Memory is wanted: the session asks in its next step for its message data to be spilled, if it has any.
    fn request_spill(&mut self) {}

    /// The peer was too slow: the last words, after which the connection closes.
    fn on_timeout(&mut self, out: &mut Outbox);

    /// The server stops. Either says the last words and closes, or goes on to an end that is near.
    fn shutdown(&mut self, out: &mut Outbox) -> Step;
}
