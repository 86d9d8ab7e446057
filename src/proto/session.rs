//! The interface between a session and its connection: the trait, and the plain values that they exchange.

use std::{sync::Arc, time::Duration};

use super::{
    SessionPhase,
    buffer::{Inbox, Outbox},
    http::api::MailEvent,
    imap::request::FolderState,
    request::{AccountDirectory, Mailbox, Request, Response},
};
use crate::clock::Now;

/// The inputs of a session step.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The time of this turn of the loop.
    pub now: Now,
    /// The directory of local addresses and mailboxes.
    pub directory: &'a dyn AccountDirectory,
}

/// The next action that a session asks for.
#[derive(Debug)]
pub enum Step {
    /// Step again: the session may have more to do.
    Continue,
    /// Take no step until more input arrives.
    Idle,
    /// Send a request to the backend. The session takes no step before the response.
    Request(Request),
    /// Take no step for this time. Input waits.
    Pause(Duration),
    /// Flush the outbox, then close the connection.
    Close,
    /// Close without flushing: the peer must see that data is missing.
    Abort,
    /// Flush the outbox, begin TLS, then call [`Session::tls_started`]. The session has checked that the
    /// inbox is empty. If the connection nevertheless finds octets in it, it closes, because they were sent
    /// in clear text and must not be processed under TLS (RFC 3207 section 6).
    StartTls,
}

/// The encryption of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encryption {
    /// The version of TLS: "1.2" or "1.3".
    pub version: &'static str,
    /// The cipher suite, by its IANA name.
    pub cipher: &'static str,
}

/// The timeouts of a session in its present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The time to wait for input.
    pub read: Duration,
    /// The input that restarts the `read` timeout.
    pub reset_on: ResetOn,
    /// The time to wait while the peer accepts no output.
    pub write: Duration,
    /// The longest life of the connection, if it is limited.
    pub session: Option<Duration>,
}

/// The input that restarts the read timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetOn {
    /// A command that advances the session, as counted in [`ProgressCounts::commands`]. NOOP, HELP and errors do
    /// not count.
    Progress,
    /// A whole command. Single octets of an unfinished command do not count.
    Command,
    /// Any octet: message data has no commands.
    Octet,
}

/// The progress of a session. Eviction uses it to select the connection to close when the limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The state, as far as eviction depends on it.
    pub stage: SessionStage,
    /// The steps so far.
    pub counts: ProgressCounts,
}

/// The steps of a session so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProgressCounts {
    /// Commands that advanced the session, including those that only return to an earlier state.
    pub commands: usize,
    /// Those commands that took the session further than it was since its last message.
    pub advances: usize,
    /// Number of accepted messages and logins.
    pub served: usize,
}

/// The state of a session, as far as eviction depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionStage {
    /// The client has not sent EHLO, or has not logged in although a login is required.
    #[default]
    Unidentified,
    /// An unauthenticated client that sends no message data.
    Idle,
    /// An unauthenticated client that sends a message.
    Body(BodyProgress),
    /// A logged-in user, a trusted client or a trusted server, with its message in progress, if any.
    Trusted(Option<BodyProgress>),
    /// The message is complete, and waits for the disk.
    Delivering,
}

/// The progress of a message that is being received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyProgress {
    /// The beginning of the message, on the monotonic clock.
    pub started_at: Duration,
    /// Octets read from the wire.
    pub octets: u64,
    /// Octets of it in memory; the rest is in a file.
    pub memory_octets: usize,
    /// The minimum expected rate, in octets a second.
    pub rate: u64,
}

impl BodyProgress {
    /// The time at which a client with exactly the expected rate would have sent these octets.
    pub fn rate_deadline(&self) -> Duration {
        self.started_at + Duration::from_millis(self.octets.saturating_mul(1000) / self.rate.max(1))
    }
}

/// A document in memory that a session sends, or the body of a request that it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeldDocument {
    /// Octets in memory, until the last one is in the outbox.
    pub octets: usize,
    /// Octets that have moved: into the outbox, or from the client.
    pub moved: usize,
    /// The number and the octets of content that other sessions may hold too, beside `octets`.
    pub shared: Option<(u64, usize)>,
}

impl HeldDocument {
    /// A document of this session alone.
    pub fn new(octets: usize, moved: usize) -> Self {
        Self { octets, moved, shared: None }
    }
}

/// A change that the session did not ask for. Several events within one turn of the loop arrive as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// The messages of a mailbox that the session has open, or their flags, have changed.
    MailboxChanged {
        /// The mailbox, or the folder of it, that the session has open.
        mailbox: Mailbox,
        /// The number of messages in it now.
        messages: usize,
    },
    /// The folder that an IMAP session has selected has this state now.
    FolderChanged(Arc<FolderState>),
    /// The folder that an IMAP session has selected has another name now, or is gone.
    FolderGone(Mailbox),
    /// Messages have arrived, changed or gone in a mailbox that the session has subscribed to.
    Mail(Arc<MailEvent>),
    /// The transcripts of sessions have changed, and this session shows them.
    Sessions,
}

/// The reason why the server ends a session that could go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The server shuts down.
    Shutdown,
    /// The account is gone or disabled, or has another password or mailbox than at the login.
    LoginRevoked,
}

impl EndReason {
    /// The reason in the log.
    pub fn words(self) -> &'static str {
        match self {
            Self::Shutdown => "shutting down",
            Self::LoginRevoked => "ended after a reload, its login is no longer valid",
        }
    }

    /// The word in a transcript.
    pub fn directive(self) -> &'static str {
        match self {
            Self::Shutdown => "stop",
            Self::LoginRevoked => "revoke",
        }
    }
}

/// One session of one protocol.
pub trait Session {
    /// Writes the banner, the first reply of a connection.
    fn greet(&mut self, cx: &Context<'_>, out: &mut Outbox) -> Step;

    /// Takes one step: processes a command line or a part of message data, or writes the next part of a
    /// reply.
    fn step(&mut self, cx: &Context<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step;

    /// Processes the response to the last [`Step::Request`].
    fn respond(&mut self, cx: &Context<'_>, answer: Response, out: &mut Outbox) -> Step;

    /// The connection is now encrypted. If TLS began with the connection, [`Session::greet`] follows. If it
    /// began with [`Step::StartTls`], the session forgets everything that the client sent before (RFC 3207
    /// section 4.2, RFC 2595 section 4).
    fn tls_started(&mut self, cx: &Context<'_>, by: Encryption);

    /// The phase of the session, for its transcript.
    fn session_phase(&self) -> SessionPhase {
        SessionPhase::Pending
    }

    /// The timeouts in the present state.
    fn timeouts(&self) -> Timeouts;

    /// The progress of the session, for eviction.
    fn progress(&self) -> Progress;

    /// Returns the number of mailboxes examined since the last call. They count against the session's turn of
    /// the loop as commands do, because one RCPT may have a thousand mailboxes.
    fn take_work(&mut self) -> usize {
        0
    }

    /// The document that the session holds in memory until its client has read it, or sent it. `pending` is the number of
    /// octets in its outbox.
    fn held_document(&self, _pending: usize) -> Option<HeldDocument> {
        None
    }

    /// Delivers an event. The session may write to its client at once, or note the event for a later step. A
    /// protocol without unsolicited data ignores it.
    fn notify(&mut self, _: &SessionEvent, _: &mut Outbox) {}

    /// Asks the session to free memory: in its next step it requests a spill of its message data, if it has
    /// any.
    fn request_spill(&mut self) {}

    /// The peer has been silent for as long as [`Session::timeouts`] allows. Returns true if the session goes on, after a
    /// line that shows the peer that the connection lives.
    fn keep_alive(&mut self, _now: Now, _out: &mut Outbox) -> bool {
        false
    }

    /// The peer was too slow. The session writes its last reply, and the connection closes.
    fn on_timeout(&mut self, out: &mut Outbox);

    /// The server ends the session. The session either writes its last reply and closes, or continues if it will
    /// end soon. After [`EndReason::LoginRevoked`] a session whose requests each have their own login goes on.
    fn end(&mut self, why: EndReason, out: &mut Outbox) -> Step;
}
