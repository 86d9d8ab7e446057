//! The state of an SMTP session: the client's identity, and the progress of the message. The other files of
//! this directory operate on it, each for some commands.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    rc::Rc,
    time::Duration,
    vec,
};

use super::{
    address::Address,
    command::Chunk,
    command_table::CommandPhase,
    message_body::MessageBody,
    reply::{self, Reply},
    session_config::SessionConfig,
};
use crate::proto::{
    Encryption, Progress, SessionPhase,
    destinations::{Destinations, ListId},
    dot::LineEndings,
    event::Event,
    request::{Envelope, Failure, Mailbox},
    sasl::{Credentials, FailedCredentials},
};

/// The server side of an SMTP or LMTP session.
pub struct SmtpSession {
    pub(super) config: Rc<SessionConfig>,
    pub(super) peer: IpAddr,
    /// The connection's name in the log.
    pub(super) label: String,
    pub(super) client: Option<ClientIdentity>,
    pub(super) encryption: Option<Encryption>,
    /// The mailbox of the user who has logged in.
    pub(super) user: Option<Mailbox>,
    /// LMTP: the address and the destinations of every accepted RCPT.
    pub(super) accepted: Vec<(Address, Destinations)>,
    /// Mailboxes examined since the last call of [`Session::take_work`](crate::proto::Session::take_work).
    pub(super) work: usize,
    pub(super) failed_credentials: FailedCredentials,
    /// True if an unfinished line begins with BDAT.
    pub(super) in_bdat: bool,
    /// True if the client has tried to log in. Afterwards, unexpected input may be a password.
    pub(super) auth_seen: bool,
    pub(super) state: State,
    pub(super) messages: usize,
    pub(super) errors: usize,
    pub(super) junk: usize,
    pub(super) unknown_recipients: usize,
    pub(super) stopping: bool,
    /// True if MAIL had BODY=8BITMIME.
    pub(super) eight_bit: bool,
    pub(super) progress: Progress,
    /// The furthest step reached since the last message.
    pub(super) max_advance: usize,
}

/// The client's name and protocol, from EHLO, HELO or LHLO.
pub(super) struct ClientIdentity {
    pub(super) name: String,
    pub(super) extended: bool,
}

pub(super) enum State {
    /// Waits for a command; no message is begun.
    Idle,
    /// After MAIL; waits for recipients.
    Transaction(OpenTransaction),
    /// After 354, or inside the octets of a BDAT.
    Data(Box<MessageBody>),
    /// Between two BDATs of one message.
    Chunks(Box<MessageBody>),
    /// Inside the octets of a BDAT that is refused.
    SkippingChunk(RefusedChunk),
    /// Between two BDATs of a refused message, with its reply and the number of octets discarded so far.
    RefusedMessage(Reply, u64),
    /// In an exchange of AUTH.
    Auth(SaslExchange),
    /// The reply to a wrong password is delayed. `last`: the limit of wrong passwords is reached.
    DelayingReply { last: bool },
    /// AUTH waits for the response to `Request::Verify`.
    AwaitingVerify(Credentials),
    /// MAIL waits for the response to `ReceiveRequest::CheckSpace`.
    AwaitingSpace(Envelope),
    /// DATA, or the first BDAT, waits for `ReceiveRequest::Begin`.
    AwaitingBegin(Envelope, Option<Chunk>),
    /// Message data waits for `ReceiveRequest::Spill`, or for `ReceiveRequest::Discard` if the message is refused.
    AwaitingSpill(Box<MessageBody>),
    /// The end of data waits for `ReceiveRequest::Deliver`.
    AwaitingDelivery(PendingReply),
    /// The replies to the end of a message are being written.
    WritingReplies(Box<RecipientReplies>),
    /// A refused or reset message waits for `ReceiveRequest::Discard`. More of it may come unless `last` is true.
    AwaitingDiscard { reply: Reply, last: bool },
}

/// A message whose recipients are being collected.
pub(super) struct OpenTransaction {
    pub(super) envelope: Envelope,
    /// The mailboxes in the envelope, as a set, because an alias may have a thousand and may be named
    /// repeatedly.
    pub(super) positions: HashSet<Mailbox>,
    /// The alias lists whose mailboxes are all in the envelope. Holding a list ensures that no other list
    /// gets its id.
    pub(super) lists: HashMap<ListId, Destinations>,
    /// The number of accepted RCPTs, including repeated ones.
    pub(super) rcpts: usize,
}

impl OpenTransaction {
    pub(super) fn new(envelope: Envelope) -> Self {
        Self { envelope, positions: HashSet::new(), lists: HashMap::new(), rcpts: 0 }
    }
}

/// A refused chunk that is being discarded.
pub(super) struct RefusedChunk {
    pub(super) size: u64,
    /// The time of the first attempt to read its octets.
    pub(super) started_at: Option<Duration>,
    /// Octets that have not arrived yet.
    pub(super) left: u64,
    /// The reply after the last octet.
    pub(super) reply: Reply,
    pub(super) context: ChunkContext,
}

/// The context of a refused chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkContext {
    /// No MAIL came before the chunk.
    Nothing,
    /// A message that is refused together with this chunk.
    Message { last: bool },
    /// A message that was refused before. Clients that pipeline send the rest of it nevertheless. `octets`
    /// were discarded so far.
    RefusedMessage { last: bool, octets: u64 },
}

/// An exchange that waits for the client's next line.
pub(super) enum SaslExchange {
    /// PLAIN waits for the message.
    Plain,
    /// LOGIN waits for the name.
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

/// A message that the backend delivers, with the result to report.
pub(super) struct PendingReply {
    /// The event to log when the message is durable.
    pub(super) accepted: Event,
    /// The reply to the client when the message is durable.
    pub(super) queued: Reply,
    /// LMTP: the mailboxes of the envelope, in its order.
    pub(super) to: Vec<Mailbox>,
}

/// The replies to the end of a message in LMTP, one for each RCPT.
pub(super) struct RecipientReplies {
    pub(super) rcpts: vec::IntoIter<(Address, Destinations)>,
    /// The reply to a RCPT without a failed mailbox.
    pub(super) reply: Reply,
    pub(super) failures: HashMap<Mailbox, Failure>,
    /// The first recipients whose mail was accepted, for the log.
    pub(super) to: Vec<String>,
    pub(super) then: AfterReplies,
}

/// The action after the last reply.
pub(super) enum AfterReplies {
    Nothing,
    /// Log that all recipients have the message, or that none has.
    LogForAll(Event),
    /// Log that this number of mailboxes have the message.
    LogForSome(Event, usize),
}

impl SmtpSession {
    /// A session with the client at `peer`. `label` names the connection in ids and in the log.
    pub fn new(rules: Rc<SessionConfig>, peer: IpAddr, label: String) -> Self {
        Self {
            config: rules,
            peer,
            label,
            client: None,
            encryption: None,
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
            stopping: false,
            eight_bit: false,
            progress: Progress::default(),
            max_advance: 0,
        }
    }

    /// True if the client is a logged-in user, a trusted server, or trusted by its address.
    pub(super) fn is_identified(&self) -> bool {
        self.user.is_some() || self.config.is_lmtp() || self.config.protocol.policy.trusted
    }

    /// Records that a command has advanced the session to this step. A step counts as further only once for
    /// each message. Otherwise a client could alternate between MAIL and RSET.
    pub(super) fn record_advance(&mut self, to: usize) {
        self.progress.commands += 1;
        if to > self.max_advance {
            self.max_advance = to;
            self.progress.advances += 1;
        }
    }

    /// Records that a message was accepted, or that a user has logged in.
    pub(super) fn record_service(&mut self) {
        self.progress.served += 1;
        self.progress.commands += 1;
        self.progress.advances += 1;
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

    /// True if the client is a logged-in user, or a trusted server.
    pub(super) fn is_trusted(&self) -> bool {
        self.user.is_some() || self.config.is_lmtp()
    }

    /// Records that a message was accepted.
    pub(super) fn count_message(&mut self) {
        self.messages += 1;
        self.record_service();
        self.junk = 0;
    }
}

/// The steps of a session, in order. Each recipient is a step beyond the one before.
pub(super) const ADVANCE_HELLO: usize = 1;
pub(super) const ADVANCE_TLS: usize = 2;
pub(super) const ADVANCE_HELLO_AFTER_TLS: usize = 3;
pub(super) const ADVANCE_SENDER: usize = 4;
pub(super) const ADVANCE_BODY: usize = usize::MAX;
