//! One SMTP session: its state, its commands and its refusals. What builds a message up is in `transaction`,
//! message data in `body` and `bdat`, AUTH and STARTTLS in `login`, what LMTP says otherwise in `lmtp`; nothing
//! here reads a clock, a socket or a disk.

use std::{mem, net::IpAddr, rc::Rc, time::Duration};

use super::{
    Rules,
    address::Address,
    bdat::Refused,
    command::{self, Chunk},
    lmtp::Delivering,
    login::Exchange,
    receiving::{Framing, Receiving},
    reply::{self, Reply},
    rules::{Kind, Persona, Phase, Verb},
    transaction::Open,
};
use crate::proto::{
    Cx, Encryption, Patience, Progress, Renewal, Session, Stage, Standing, Step, TLS_HANDSHAKE,
    ask::{Answer, Ask, Envelope, Fault, Mailbox},
    buf::{Inbox, Line, Outbox},
    dot::{Decoder, LineEndings},
    event::Event,
    reached,
    sasl::{self, Credentials, WrongPairs},
    telnet,
};

/// One SMTP session.
pub struct Smtp {
    pub(super) rules: Rc<Rules>,
    pub(super) peer: IpAddr,
    /// What the log calls this connection.
    pub(super) label: String,
    pub(super) client: Option<Client>,
    pub(super) encryption: Option<Encryption>,
    /// The mailbox of the user who has logged in.
    pub(super) user: Option<Mailbox>,
    /// LMTP: for every RCPT that was accepted, its address and its recipients in the envelope.
    pub(super) accepted: Vec<(Address, Vec<usize>)>,
    pub(super) wrong: WrongPairs,
    /// A line that has not ended yet begins with BDAT.
    in_bdat: bool,
    /// The client has tried to log in: what it sends out of place may be a password.
    secretive: bool,
    pub(super) state: State,
    pub(super) messages: usize,
    pub(super) errors: usize,
    pub(super) junk: usize,
    unknown_recipients: usize,
    pub(super) stopping: bool,
    /// MAIL said BODY=8BITMIME.
    pub(super) eight_bit: bool,
    progress: Progress,
    /// The furthest that the session was since its last message.
    furthest: usize,
}

/// What the client said of itself.
pub(super) struct Client {
    pub(super) name: String,
    pub(super) extended: bool,
}

pub(super) enum State {
    /// Waiting for a command, with no message begun.
    Idle,
    /// MAIL is there; recipients come in.
    Open(Open),
    /// After 354, or inside the octets of a BDAT.
    Data(Box<Receiving>),
    /// Between two BDATs.
    Chunks(Box<Receiving>),
    /// Inside the octets of a BDAT that is refused.
    Skipping(Refused),
    /// Between two BDATs of a message that is refused so, after that many octets that were thrown away.
    Refused(Reply, u64),
    /// In an exchange of AUTH.
    Auth(Exchange),
    /// The answer to a wrong password, the last one allowed perhaps, waits for its time.
    HoldingBack { last: bool },
    /// AUTH waits for [`Ask::Verify`].
    AwaitingVerify(Credentials),
    /// MAIL waits for [`Ask::Room`].
    AwaitingRoom(Envelope),
    /// DATA, or the first BDAT, waits for [`Ask::Begin`].
    AwaitingBegin(Envelope, Option<Chunk>),
    /// Message data waits for [`Ask::Spill`], or for [`Ask::Discard`] when it is only read to its end.
    AwaitingSpill(Box<Receiving>),
    /// The end of data waits for [`Ask::Deliver`].
    AwaitingDelivery(Delivering),
    /// A refused body, or a forgotten one, waits for [`Ask::Discard`]. More of it may come when the last BDAT
    /// is not there yet.
    AwaitingDiscard { reply: Reply, last: bool },
}

impl Smtp {
    /// A session with the client at `peer`. `label` names the connection in ids and in the log.
    pub fn new(rules: Rc<Rules>, peer: IpAddr, label: String) -> Self {
        Self {
            rules,
            peer,
            label,
            client: None,
            encryption: None,
            user: None,
            accepted: Vec::new(),
            wrong: WrongPairs::default(),
            in_bdat: false,
            secretive: false,
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
    fn is_known(&self) -> bool {
        self.user.is_some() || self.rules.is_lmtp() || self.rules.policy.trusted
    }

    /// A command has led on, that far. It counts as further only once for each message, else a client could go
    /// back and forth between MAIL and RSET.
    pub(super) fn led_on(&mut self, to: usize) {
        self.progress.commands += 1;
        if to > self.furthest {
            self.furthest = to;
            self.progress.further += 1;
        }
    }

    /// A message was accepted, or a user has logged in.
    pub(super) fn was_served(&mut self) {
        self.progress.served += 1;
        (self.progress.commands, self.progress.further) =
            (self.progress.commands + 1, self.progress.further + 1);
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
        self.rules.line_endings == LineEndings::Lenient && !self.rules.pedantic
    }

    // Commands

    fn command_step(&mut self, cx: &Cx<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        if self.client.is_none() && inbox.unread().starts_with(TLS_HANDSHAKE) {
            return self.hang_up(out, "TLS handshake", &reply::NOT_TLS);
        }
        let limits = &self.rules.limits;
        // AUTH may bring its first response along.
        let may_be_long = self.offers_auth() && command::is_auth(inbox.unread());
        let longest = if may_be_long { limits.smtp_line.max(sasl::LINE) } else { limits.smtp_line };
        let bdat = mem::take(&mut self.in_bdat) || command::is_bdat(inbox.unread());
        match inbox.line(longest, limits.line_discard) {
            Line::Partial => {
                self.in_bdat = bdat;
                Step::Idle
            }
            // How many octets it counts is gone with it.
            Line::TooLong if bdat => self.hang_up(out, "BDAT that can't be counted", &reply::BAD_CHUNK),
            Line::Endless => self.hang_up(out, "endless line", &reply::TOO_MUCH),
            Line::TooLong => self.refuse(out, b"long line", &reply::LINE_TOO_LONG),
            Line::Full(line) if self.lenient() => self.command(cx, &telnet::as_typed(&line), inbox, out),
            // What follows an LF of its own could be a command that somebody smuggled in: nothing more is
            // read from this client.
            Line::Full(line) if !line.ends_with(b"\r\n") => self.hang_up(out, "bare LF", &reply::BAD_LINE),
            Line::Full(line) => self.command(cx, &line, inbox, out),
        }
    }

    fn command(&mut self, cx: &Cx<'_>, line: &[u8], inbox: &Inbox, out: &mut Outbox) -> Step {
        let (verb, argument) = command::split(line);
        if command::is_http(verb) {
            return self.hang_up(out, "HTTP", &reply::NOT_SMTP);
        }
        self.secretive |= command::is_auth(line);
        if command::is_bdat(line) {
            return self.bdat(line, out);
        }
        if self.rules.pedantic
            && let Some(broken) = self.broken(line, self.rules.rule(verb))
        {
            return self.refuse(out, line, &broken);
        }
        if memchr::memchr(0, line).is_some() {
            return self.refuse(out, line, &reply::BAD_LINE);
        }
        let Some(rule) = self.rules.rule(verb) else {
            return self.refuse(out, line, &reply::UNKNOWN_COMMAND);
        };
        if self.rules.pedantic && self.is_out_of_step(rule.verb, inbox) {
            return self.hang_up_at(out, "out of step", &reply::OUT_OF_STEP, line);
        }
        if !rule.allowed.contains(&self.phase()) {
            return self.refuse(out, line, &reply::BAD_SEQUENCE);
        }
        if rule.junk && self.over_junk() {
            return self.hang_up(out, "junk commands", &reply::TOO_MUCH);
        }
        let in_step = self.lenient() || inbox.is_empty();
        let no_argument = argument.is_empty();
        let done = match rule.verb {
            Verb::Absent | Verb::Bdat => Err(reply::NOT_IMPLEMENTED),
            Verb::Data | Verb::Rset | Verb::Quit if !no_argument => Err(reply::BAD_ARGUMENT),
            // A client that talks on before it has read these replies may be tricked into it (fault C10);
            // Thunderbird's account set-up alone sends EHLO and QUIT together.
            Verb::Data if !in_step => return self.hang_up_at(out, "out of step", &reply::OUT_OF_STEP, line),
            Verb::Ehlo | Verb::Helo | Verb::Lhlo if !in_step && !quits(inbox) => {
                return self.hang_up_at(out, "out of step", &reply::OUT_OF_STEP, line);
            }
            Verb::Auth if !in_step => return self.hang_up_at(out, "out of step", &reply::OUT_OF_STEP, line),
            Verb::Auth => self.auth(argument),
            Verb::Starttls => return self.starttls(argument, inbox, out),
            Verb::Ehlo | Verb::Lhlo => self.hello(argument, true),
            Verb::Helo => self.hello(argument, false),
            Verb::Mail => self.mail(cx, argument),
            Verb::Rcpt => self.rcpt(cx, argument),
            Verb::Data => self.data(),
            Verb::Rset => Ok(self.forget(reply::OK)),
            Verb::Noop => Ok(Said::Reply(reply::OK)),
            Verb::Vrfy if no_argument => Err(reply::BAD_ARGUMENT),
            Verb::Vrfy => Ok(Said::Reply(reply::CANNOT_VERIFY)),
            Verb::Help => self.help(argument),
            Verb::Quit => {
                reply::BYE.write(out);
                return Step::Close;
            }
        };
        self.say(done, line, out)
    }

    /// Writes what a command came to.
    pub(super) fn say(&mut self, said: Result<Said, Reply>, line: &[u8], out: &mut Outbox) -> Step {
        match said {
            Ok(Said::Reply(reply)) => {
                reply.write(out);
                Step::Again
            }
            Ok(Said::Ask(ask)) => Step::Ask(ask),
            Err(reply) if reply == reply::TOO_MANY_MESSAGES => self.hang_up(out, "too many messages", &reply),
            Err(reply) => self.refuse(out, line, &reply),
        }
    }

    // Refusals

    /// Says no, counts it, and gives up on a client that makes nothing but errors.
    pub(super) fn refuse(&mut self, out: &mut Outbox, line: &[u8], reply: &Reply) -> Step {
        self.citing(reply, line).write(out);
        let what = self.harmless(line);
        let what = String::from_utf8_lossy(what.trim_ascii_end()).into_owned();
        out.tell(Event::Refused { what, reply: reply.codes() });
        let limits = &self.rules.limits;
        self.errors += 1;
        self.unknown_recipients += usize::from(*reply == reply::NO_SUCH_USER);
        if reached(self.errors, limits.errors)
            || (self.client.is_none() && reached(self.errors, limits.errors_greeting))
            || reached(self.unknown_recipients, limits.unknown_recipients)
        {
            return self.hang_up(out, "too many errors", &reply::TOO_MUCH);
        }
        if reached(self.errors, limits.errors_unpunished) { Step::Pause(PENALTY) } else { Step::Again }
    }

    /// As much of a line as the log may have, for it may be a password, or a mistyped AUTH with one: all of a
    /// command that takes none, the word of what may be one, and nothing of a client that has begun with AUTH.
    fn harmless<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        let (verb, _) = command::split(line);
        let is_word = (1..=LONGEST_VERB).contains(&verb.len()) && verb.iter().all(u8::is_ascii_alphabetic);
        match self.rules.rule(verb) {
            _ if command::is_auth(verb) => b"AUTH",
            Some(_) => line,
            None if is_word && !self.secretive => verb,
            None => b"a line",
        }
    }

    pub(super) fn hang_up(&mut self, out: &mut Outbox, why: &'static str, reply: &Reply) -> Step {
        self.hang_up_at(out, why, reply, b"")
    }

    /// The same because of that line.
    pub(super) fn hang_up_at(
        &mut self,
        out: &mut Outbox,
        why: &'static str,
        reply: &Reply,
        line: &[u8],
    ) -> Step {
        self.citing(reply, line).write(out);
        out.tell(Event::Ended { why });
        Step::Close
    }

    pub(super) fn over_junk(&mut self) -> bool {
        let over = reached(self.junk, self.rules.limits.junk_commands);
        self.junk += 1;
        over
    }
}

/// What a command comes to.
pub(super) enum Said {
    Reply(Reply),
    Ask(Ask),
}

impl Session for Smtp {
    fn greet(&mut self, _: &Cx<'_>, out: &mut Outbox) -> Step {
        let protocol = match self.rules.persona {
            _ if self.rules.is_lmtp() => "LMTP",
            Persona::Modern => "ESMTP",
            Persona::Rfc821 => "SMTP",
        };
        out.line(&format!("220 {} {protocol} restante", self.rules.hostname));
        Step::Again
    }

    fn step(&mut self, cx: &Cx<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        match mem::replace(&mut self.state, State::Idle) {
            State::Data(body) => self.data_step(cx, body, inbox, out),
            State::Chunks(body) if body.is_hurried() => self.spill_now(body),
            State::Skipping(chunk) => self.skip_step(cx, chunk, inbox, out),
            State::Auth(exchange) => self.auth_step(exchange, inbox, out),
            State::HoldingBack { last } => self.denied(last, out),
            state => {
                self.state = state;
                self.command_step(cx, inbox, out)
            }
        }
    }

    fn answer(&mut self, cx: &Cx<'_>, answer: Answer, out: &mut Outbox) -> Step {
        let fault = match answer {
            Answer::Failed(fault) => Some(fault),
            _ => None,
        };
        let next = match (mem::replace(&mut self.state, State::Idle), fault) {
            (State::AwaitingVerify(credentials), _) => return self.verified(credentials, answer, out),
            (State::AwaitingRoom(envelope), None) => {
                reply::SENDER_OK.write(out);
                self.led_on(SENDER);
                State::Open(Open::new(envelope))
            }
            (State::AwaitingBegin(envelope, None), None) => {
                reply::GO_AHEAD.write(out);
                self.led_on(BODY);
                let framing = Framing::Dotted(Decoder::new(self.rules.line_endings));
                State::Data(self.begin(cx, envelope, framing))
            }
            (State::AwaitingBegin(envelope, Some(chunk)), fault) => {
                self.led_on(BODY);
                let mut body = self.begin(cx, envelope, self.counted(chunk));
                if let Some(fault) = fault {
                    body.refuse(reply::fault(fault));
                }
                State::Data(body)
            }
            (State::AwaitingSpill(body), None) if body.is_between_chunks() => State::Chunks(body),
            (State::AwaitingSpill(body), None) => State::Data(body),
            (State::AwaitingDelivery(message), _) => {
                self.delivered(message, &answer, out);
                return self.after_message(out);
            }
            (State::AwaitingDiscard { reply, last: true }, _) => {
                self.say_of_each(&reply, out);
                return self.after_message(out);
            }
            (State::AwaitingDiscard { reply, last: false }, _) => {
                reply.write(out);
                self.state = State::Refused(reply, 0);
                return self.after_message(out);
            }
            // A body that can't be stored is read to its end like any other that is refused.
            (State::AwaitingSpill(mut body), Some(fault)) => {
                body.refuse(reply::fault(fault));
                if body.is_between_chunks() { State::Chunks(body) } else { State::Data(body) }
            }
            (_, fault) => {
                let reply = reply::fault(fault.unwrap_or(Fault::Broken));
                reply.write(out);
                out.tell(Event::Refused { what: "message".into(), reply: reply.codes() });
                return self.after_message(out);
            }
        };
        self.state = next;
        Step::Again
    }

    fn secured(&mut self, _: &Cx<'_>, by: Encryption) {
        // What the client said is forgotten; what it has cost us is not.
        self.encryption = Some(by);
        (self.client, self.user, self.state) = (None, None, State::Idle);
        self.led_on(UNDER_TLS);
    }

    fn standing(&self) -> Standing {
        match (&self.state, self.phase()) {
            (State::Data(body) | State::AwaitingSpill(body), _) if body.is_counted() => Standing::Chunk,
            (State::Data(_) | State::AwaitingSpill(_), _) => Standing::Data,
            (State::Skipping(_), _) => Standing::Chunk,
            (State::Auth(exchange), _) => exchange.standing(),
            (State::Idle | State::Open(_) | State::Chunks(_) | State::Refused(..), phase) => phase.standing(),
            _ => Standing::Between,
        }
    }

    fn patience(&self) -> Patience {
        let limits = &self.rules.limits;
        let (limit, renewed_by) = match (&self.state, &self.client) {
            (State::Data(_) | State::Skipping(_), _) => (limits.data_silence, Renewal::Octet),
            (_, None) => (limits.smtp_greeting, Renewal::Progress),
            _ if self.is_known() => (limits.smtp_idle, Renewal::Command),
            _ => (limits.smtp_idle, Renewal::Progress),
        };
        let (write, lifetime) = (limits.smtp_write.0, Some(limits.smtp_session.0));
        Patience { limit: limit.0, renewed_by, write, lifetime }
    }

    fn progress(&self) -> Progress {
        let body = match &self.state {
            State::Data(body) | State::Chunks(body) | State::AwaitingSpill(body) => {
                Some(body.body(self.rules.limits.data_rate))
            }
            _ => None,
        };
        let at = match (&self.state, body) {
            (State::AwaitingDelivery(_), _) => Stage::Delivering,
            (_, body) if self.is_known() => Stage::Trusted(body),
            (_, Some(body)) => Stage::Body(body),
            _ if self.client.is_none() || self.rules.policy.kind == Kind::Submission => Stage::Arriving,
            _ => Stage::Between,
        };
        Progress { at, ..self.progress }
    }

    fn spill(&mut self) {
        if let State::Data(body) | State::Chunks(body) = &mut self.state {
            body.hurry();
        }
    }

    fn expire(&mut self, out: &mut Outbox) {
        self.hang_up(out, "timeout", &reply::TOO_SLOW);
    }

    fn stop(&mut self, out: &mut Outbox) -> Step {
        self.stopping = true;
        match self.state {
            State::AwaitingDelivery(_) | State::AwaitingDiscard { .. } => Step::Idle,
            _ => self.hang_up(out, "shutting down", &reply::SHUTTING_DOWN),
        }
    }
}

/// Whether all that waits is a QUIT.
fn quits(inbox: &Inbox) -> bool {
    inbox.unread().trim_ascii_end().eq_ignore_ascii_case(b"QUIT")
}

/// How far a session is; a recipient is further than the one before it.
pub(super) const HELLO: usize = 1;
const UNDER_TLS: usize = 2;
pub(super) const HELLO_UNDER_TLS: usize = 3;
pub(super) const SENDER: usize = 4;
pub(super) const BODY: usize = usize::MAX;
/// What each error costs from the tenth on.
const PENALTY: Duration = Duration::from_secs(1);
/// Letters of the longest word that an unknown command is taken for: STARTTLS.
const LONGEST_VERB: usize = 8;
