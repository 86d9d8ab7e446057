//! The state of an SMTP or LMTP session: the client's identity, and the message in progress. The other files of this
//! directory change it, each for some of the commands.

use std::{collections::HashMap, net::IpAddr, rc::Rc, time::Duration, vec};

use super::{
    address::Address,
    command::Chunk,
    command_table::CommandPhase,
    message_body::MessageBody,
    reply::{self, Reply},
    session_config::SessionConfig,
};
use crate::proto::{
    EndReason, ProgressCounts, SessionPhase,
    destinations::Destinations,
    dot::LineEndings,
    event::Event,
    recipients::KnownMailboxes,
    request::{ConnId, Envelope, Failure, Mailbox},
    sasl::{Credentials, FailedCredentials},
};

/// The server side of an SMTP or LMTP session.
pub struct SmtpSession {
    pub(super) config: Rc<SessionConfig>,
    pub(super) peer: IpAddr,
    pub(super) id: ConnId,
    pub(super) client: Option<ClientIdentity>,
    pub(super) is_encrypted: bool,
    /// The mailbox of the user who has logged in.
    pub(super) user: Option<Mailbox>,
    /// LMTP: the address and the destinations of every accepted RCPT.
    pub(super) accepted: Vec<(Address, Destinations)>,
    /// Mailboxes examined since the last call of [`Session::take_work`](crate::proto::Session::take_work), which
    /// charges them to this turn of the loop.
    pub(super) work: usize,
    pub(super) failed_credentials: FailedCredentials,
    /// True if an unfinished line begins with BDAT.
    pub(super) in_bdat: bool,
    /// True if the client has tried to log in. Afterwards, unexpected input may be a password.
    pub(super) auth_seen: bool,
    pub(super) state: State,
    /// Accepted messages.
    pub(super) messages: usize,
    pub(super) errors: usize,
    /// Junk commands since the last accepted message, see [`Verb::is_junk`](super::command_table::Verb::is_junk).
    pub(super) junk: usize,
    pub(super) unknown_recipients: usize,
    /// The reason why the server ends the session after the message in progress.
    pub(super) ending: Option<EndReason>,
    /// True if MAIL had BODY=8BITMIME.
    pub(super) eight_bit: bool,
    pub(super) counts: ProgressCounts,
    /// The furthest stage reached since the last accepted message or login: one of the `ADVANCE_` constants.
    pub(super) max_advance: usize,
}

/// The client's name and protocol, from EHLO, HELO or LHLO.
pub(super) struct ClientIdentity {
    pub(super) name: String,
    pub(super) extended: bool,
}

/// The state of the transaction. What only a message needs is boxed, because thousands of sessions are idle.
pub(super) enum State {
    /// Outside of a transaction; waits for a command.
    Idle,
    /// After MAIL; waits for recipients.
    Transaction(Box<OpenTransaction>),
    /// Receives message data: after 354, or inside a BDAT chunk.
    Data(Box<MessageBody>),
    /// Between two BDAT chunks of one message (RFC 3030 section 2).
    Chunks(Box<MessageBody>),
    /// Discards the octets of a refused BDAT chunk.
    SkippingChunk(Box<RefusedChunk>),
    /// Between two BDAT chunks of a refused message: its reply, and the number of octets discarded so far.
    RefusedMessage(Reply, u64),
    /// AUTH waits for the client's next line.
    Auth(SaslExchange),
    /// The reply to a wrong password is delayed. If `last` is true, the limit of wrong passwords is reached, and the
    /// connection closes after the reply.
    DelayingReply { last: bool },
    /// AUTH waits for the response to `Request::Verify`.
    AwaitingVerify(Credentials),
    /// MAIL waits for the response to `ReceiveRequest::CheckSpace`.
    AwaitingSpace(Box<Envelope>),
    /// DATA, or the first BDAT, waits for the response to `ReceiveRequest::Begin`.
    AwaitingBegin(Box<Envelope>, Option<Chunk>),
    /// Message data waits for the response to `ReceiveRequest::Spill`, or to `ReceiveRequest::Discard` if the message
    /// is refused.
    AwaitingSpill(Box<MessageBody>),
    /// The final dot, or the last BDAT chunk, waits for the response to `ReceiveRequest::Deliver`.
    AwaitingDelivery(Box<PendingReply>),
    /// LMTP: the session writes one reply for each recipient (RFC 2033 section 4.2).
    WritingReplies(Box<RecipientReplies>),
    /// A refused or reset message waits for the response to `ReceiveRequest::Discard`. If `last` is false, the client
    /// may send more chunks of it.
    AwaitingDiscard { reply: Reply, last: bool },
}

/// A message whose recipients are being collected.
pub(super) struct OpenTransaction {
    pub(super) envelope: Box<Envelope>,
    /// The mailboxes in the envelope.
    pub(super) known: KnownMailboxes,
    /// The number of accepted RCPTs, including repeated ones.
    pub(super) rcpts: usize,
}

impl OpenTransaction {
    pub(super) fn new(envelope: Box<Envelope>) -> Self {
        Self { envelope, known: KnownMailboxes::default(), rcpts: 0 }
    }
}

/// A refused BDAT chunk, as far as the session has discarded it.
pub(super) struct RefusedChunk {
    pub(super) size: u64,
    /// The time at which the session began to discard it, if some octets were missing then.
    pub(super) started_at: Option<Duration>,
    /// Octets that have not arrived yet.
    pub(super) left: u64,
    /// The reply that the session sends after the last octet of the chunk.
    pub(super) reply: Reply,
    pub(super) context: ChunkContext,
}

/// The message that a refused chunk belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkContext {
    /// None: no MAIL came before the chunk.
    Nothing,
    /// A message that is refused because of this chunk.
    Message { last: bool },
    /// A message that was refused earlier. Clients that pipeline send the rest of it nevertheless. `octets` is the
    /// number of octets discarded so far.
    RefusedMessage { last: bool, octets: u64 },
}

/// A SASL exchange that waits for the client's next line (RFC 4954 section 4).
pub(super) enum SaslExchange {
    /// PLAIN waits for its only message: user and password (RFC 4616 section 2).
    Plain,
    /// LOGIN waits for the user name.
    LoginUser,
    /// LOGIN waits for the password of this user.
    LoginPassword(Vec<u8>),
}

impl SaslExchange {
    pub(super) fn challenge(&self) -> Reply {
        match self {
            Self::Plain => reply::GO_ON,
            Self::LoginUser => reply::USER_NAME,
            Self::LoginPassword(_) => reply::PASSWORD,
        }
    }

    pub(super) fn session_phase(&self) -> SessionPhase {
        match self {
            Self::Plain => SessionPhase::AuthPlain,
            Self::LoginUser => SessionPhase::AuthUser,
            Self::LoginPassword(_) => SessionPhase::AuthPassword,
        }
    }
}

/// The success to report when the backend has delivered the message.
pub(super) struct PendingReply {
    /// The event to log when the message is durable.
    pub(super) accepted: Event,
    /// The reply to the client when the message is durable.
    pub(super) queued: Reply,
    /// LMTP: the mailboxes in the order of the envelope.
    pub(super) to: Vec<Mailbox>,
}

/// The replies to the end of a message in LMTP, one for each RCPT.
pub(super) struct RecipientReplies {
    pub(super) rcpts: vec::IntoIter<(Address, Destinations)>,
    /// The reply for a recipient none of whose mailboxes failed.
    pub(super) reply: Reply,
    pub(super) failures: HashMap<Mailbox, Failure>,
    /// The first recipients that have the message, for the log.
    pub(super) to: Vec<String>,
    pub(super) then: AfterReplies,
}

/// The action after the last reply.
pub(super) enum AfterReplies {
    Nothing,
    /// Log this event, which holds for all recipients: they all have the message, or none has it.
    LogForAll(Event),
    /// Log that this number of mailboxes has the message.
    LogForSome(Event, usize),
}

impl SmtpSession {
    /// A session with the client at `peer`. The ids of its messages begin with that of the connection.
    pub fn new(config: Rc<SessionConfig>, peer: IpAddr, id: ConnId) -> Self {
        Self {
            config,
            peer,
            id,
            client: None,
            is_encrypted: false,
            user: None,
            accepted: Vec::new(),
            work: 0,
            failed_credentials: FailedCredentials::default(),
            in_bdat: false,
            auth_seen: false,
            state: State::Idle,
            messages: 0,
            errors: 0,
            junk: 0,
            unknown_recipients: 0,
            ending: None,
            eight_bit: false,
            counts: ProgressCounts::default(),
            max_advance: 0,
        }
    }

    /// True for a client of [`SessionStage::Trusted`](crate::proto::SessionStage::Trusted): a logged-in user, an LMTP
    /// client, or an address in `trusted_networks`.
    pub(super) fn is_trusted_client(&self) -> bool {
        self.user.is_some() || self.config.is_lmtp() || self.config.protocol.policy.trusted
    }

    /// Records that a command has brought the session to `stage`. A stage counts as an advance only once for each
    /// message. Otherwise a client could keep its place by alternating MAIL and RSET.
    pub(super) fn record_advance(&mut self, stage: usize) {
        self.counts.commands += 1;
        if stage > self.max_advance {
            self.max_advance = stage;
            self.counts.advances += 1;
        }
    }

    /// Records that a message was accepted, or that a user has logged in.
    pub(super) fn record_service(&mut self) {
        self.counts.served += 1;
        self.counts.commands += 1;
        self.counts.advances += 1;
        self.max_advance = self.max_advance.min(ADVANCE_HELLO_AFTER_TLS);
    }

    pub(super) fn phase(&self) -> CommandPhase {
        match (&self.state, &self.client) {
            (_, None) => CommandPhase::Start,
            (State::Transaction(open), _) if open.envelope.to.is_empty() => CommandPhase::Sender,
            (State::Transaction(_), _) => CommandPhase::Recipients,
            (State::Chunks(_) | State::RefusedMessage(..), _) => CommandPhase::Chunks,
            _ => CommandPhase::Greeted,
        }
    }

    pub(super) fn lenient(&self) -> bool {
        self.config.line_endings == LineEndings::Lenient && !self.config.pedantic
    }

    /// True if the limits on unauthenticated clients do not apply: for a logged-in user, and for LMTP clients.
    pub(super) fn is_authenticated(&self) -> bool {
        self.user.is_some() || self.config.is_lmtp()
    }

    /// Records that a message was accepted.
    pub(super) fn count_message(&mut self) {
        self.messages += 1;
        self.record_service();
        self.junk = 0;
    }
}

/// The stages of a session for [`SmtpSession::record_advance`], in order. Recipient n of a message is the stage
/// `ADVANCE_SENDER + n`.
pub(super) const ADVANCE_HELLO: usize = 1;
pub(super) const ADVANCE_TLS: usize = 2;
pub(super) const ADVANCE_HELLO_AFTER_TLS: usize = 3;
pub(super) const ADVANCE_SENDER: usize = 4;
pub(super) const ADVANCE_BODY: usize = usize::MAX;
