//! The state of an SMTP session: what it knows of its client, and how far the message is. The other files of this
//! directory act on it, each for some commands.

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
    message_body::MessageBody,
    reply::{self, Reply},
    session_config::{Phase, SessionConfig},
};
use crate::proto::{
    Encryption, Progress, SessionPhase,
    destinations::{Destinations, ListId},
    dot::LineEndings,
    event::Event,
    request::{Envelope, Failure, Mailbox},
    sasl::{Credentials, FailedCredentials},
};

/// One SMTP session.
pub struct SmtpSession {
    pub(super) config: Rc<SessionConfig>,
    pub(super) peer: IpAddr,
    /// What the log calls this connection.
    pub(super) label: String,
    pub(super) client: Option<ClientIdentity>,
    pub(super) encryption: Option<Encryption>,
    /// The mailbox of the user who has logged in.
    pub(super) user: Option<Mailbox>,
    /// LMTP: for every RCPT that was accepted, its address and the mailboxes that it leads to.
    pub(super) accepted: Vec<(Address, Destinations)>,
    /// Mailboxes that were looked at since [`Session::take_work`](crate::proto::Session::take_work).
    pub(super) work: usize,
    pub(super) failed_credentials: FailedCredentials,
    /// A line that has not ended yet begins with BDAT.
    pub(super) in_bdat: bool,
    /// The client has tried to log in: what it sends out of place may be a password.
    pub(super) auth_seen: bool,
    pub(super) state: State,
    pub(super) messages: usize,
    pub(super) errors: usize,
    pub(super) junk: usize,
    pub(super) unknown_recipients: usize,
    pub(super) stopping: bool,
    /// MAIL said BODY=8BITMIME.
    pub(super) eight_bit: bool,
    pub(super) progress: Progress,
    /// The furthest that the session was since its last message.
    pub(super) furthest: usize,
}

/// What the client said of itself.
pub(super) struct ClientIdentity {
    pub(super) name: String,
    pub(super) extended: bool,
}

pub(super) enum State {
    /// Waiting for a command, with no message begun.
    Idle,
    /// MAIL is there; recipients come in.
    Open(OpenTransaction),
    /// After 354, or inside the octets of a BDAT.
    Data(Box<MessageBody>),
    /// Between two BDATs.
    Chunks(Box<MessageBody>),
    /// Inside the octets of a BDAT that is refused.
    Skipping(RefusedChunk),
    /// Between two BDATs of a message that is refused so, after that many octets that were thrown away.
    Refused(Reply, u64),
    /// In an exchange of AUTH.
    Auth(SaslExchange),
    /// The answer to a wrong password, the last one allowed perhaps, waits for its time.
    DelayingReply { last: bool },
    /// AUTH waits for [`Request::Verify`].
    AwaitingVerify(Credentials),
    /// MAIL waits for [`Request::Room`].
    AwaitingRoom(Envelope),
    /// DATA, or the first BDAT, waits for [`Request::Begin`].
    AwaitingBegin(Envelope, Option<Chunk>),
    /// Message data waits for [`Request::Spill`], or for [`Request::Discard`] when it is only read to its end.
    AwaitingSpill(Box<MessageBody>),
    /// The end of data waits for [`Request::Deliver`].
    AwaitingDelivery(PendingReply),
    /// The replies to the end of a message are being said.
    Telling(Box<Telling>),
    /// A refused body, or a forgotten one, waits for [`Request::Discard`]. More of it may come when the last BDAT
    /// is not there yet.
    AwaitingDiscard { reply: Reply, last: bool },
}

/// A message that was begun, while its recipients come in.
pub(super) struct OpenTransaction {
    pub(super) envelope: Envelope,
    /// The mailboxes in the envelope: an alias may have a thousand, and be named again and again.
    pub(super) positions: HashSet<Mailbox>,
    /// Lists of aliases all of whose mailboxes are in the envelope. Each is held, so that no other has its id.
    pub(super) lists: HashMap<ListId, Destinations>,
    /// Every RCPT that was accepted, also of what was known.
    pub(super) rcpts: usize,
}

impl OpenTransaction {
    pub(super) fn new(envelope: Envelope) -> Self {
        Self { envelope, positions: HashSet::new(), lists: HashMap::new(), rcpts: 0 }
    }
}

/// A refused chunk on its way to nowhere.
pub(super) struct RefusedChunk {
    pub(super) size: u64,
    /// When it began, once its first octets were looked for.
    pub(super) began: Option<Duration>,
    /// Octets of it that have not come yet.
    pub(super) left: u64,
    /// What is said after the last of them.
    pub(super) reply: Reply,
    pub(super) context: ChunkContext,
}

/// What the refused chunk was a part of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkContext {
    /// Of nothing: there was no MAIL.
    Nothing,
    /// Of a message that is refused with this chunk.
    Message { last: bool },
    /// Of a message that was refused before. Clients that pipeline send the rest of it nevertheless.
    /// So far that many octets were thrown away.
    RefusedMessage { last: bool, octets: u64 },
}

/// An exchange that waits for the client's next line.
pub(super) enum SaslExchange {
    /// PLAIN: for the only message.
    Plain,
    /// LOGIN: for the name.
    LoginUser,
    /// LOGIN: for the password of that user.
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

/// A message that the world was asked to deliver.
pub(super) struct PendingReply {
    /// What the log will say when it is durable.
    pub(super) accepted: Event,
    /// What the client will be told then.
    pub(super) queued: Reply,
    /// LMTP: the mailboxes of the envelope, in its order.
    pub(super) to: Vec<Mailbox>,
}

/// The replies to the end of a message, one for each RCPT in LMTP.
pub(super) struct Telling {
    pub(super) rcpts: vec::IntoIter<(Address, Destinations)>,
    /// To a RCPT whose mailboxes are all without a fault.
    pub(super) reply: Reply,
    pub(super) faults: HashMap<Mailbox, Failure>,
    /// The first of those that the message was accepted for.
    pub(super) to: Vec<String>,
    pub(super) then: Then,
}

/// What follows the last reply.
pub(super) enum Then {
    Nothing,
    /// The log hears that all of them have it, or that none has.
    Told(Event),
    /// The log hears that so many mailboxes have it.
    Partly(Event, usize),
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
            furthest: 0,
        }
    }

    /// Whether the client is a user who has logged in, a server of ours, or trusted by its address.
    pub(super) fn is_identified(&self) -> bool {
        self.user.is_some() || self.config.is_lmtp() || self.config.policy.trusted
    }

    /// A command has led on, that far. It counts as further only once for each message, else a client could go
    /// back and forth between MAIL and RSET.
    pub(super) fn record_advance(&mut self, to: usize) {
        self.progress.commands += 1;
        if to > self.furthest {
            self.furthest = to;
            self.progress.further += 1;
        }
    }

    /// A message was accepted, or a user has logged in.
    pub(super) fn record_service(&mut self) {
        self.progress.served += 1;
        self.progress.commands += 1;
        self.progress.further += 1;
        self.furthest = self.furthest.min(HELLO_UNDER_TLS);
    }

    pub(super) fn phase(&self) -> Phase {
        match (&self.state, &self.client) {
            (_, None) => Phase::Start,
            (State::Open(open), _) if open.envelope.to.is_empty() => Phase::Sender,
            (State::Open(_), _) => Phase::Recipients,
            (State::Chunks(_) | State::Refused(..), _) => Phase::Chunks,
            _ => Phase::Greeted,
        }
    }

    pub(super) fn lenient(&self) -> bool {
        self.config.line_endings == LineEndings::Lenient && !self.config.pedantic
    }

    /// Whether the client is a user who has logged in, or a server of ours.
    pub(super) fn is_trusted(&self) -> bool {
        self.user.is_some() || self.config.is_lmtp()
    }

    /// A message was accepted.
    pub(super) fn count_message(&mut self) {
        self.messages += 1;
        self.record_service();
        self.junk = 0;
    }
}

/// How far a session is; a recipient is further than the one before it.
pub(super) const HELLO: usize = 1;
pub(super) const UNDER_TLS: usize = 2;
pub(super) const HELLO_UNDER_TLS: usize = 3;
pub(super) const SENDER: usize = 4;
pub(super) const BODY: usize = usize::MAX;
