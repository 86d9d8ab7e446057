//! One SMTP session. Everything that moves the SMTP state is in this file; nothing here reads a clock, a
//! socket or a disk.

use std::{mem, net::IpAddr, rc::Rc, time::Duration};

use super::{
    Rules, command,
    receiving::{Receiving, Taken},
    reply::{self, Reply},
    rules::{Persona, Phase, Rule, Verb},
    trace,
};
use crate::proto::{
    Cx, Encryption, Patience, Protocol, Renewal, Step,
    ask::{Answer, Ask, Envelope, Fault, Lookup, Recipient},
    buf::{Inbox, Line, Outbox},
    dot::LineEndings,
    event::Event,
    reached, telnet,
};

/// One SMTP session.
pub struct Smtp {
    rules: Rc<Rules>,
    peer: IpAddr,
    /// What the log calls this connection.
    label: String,
    client: Option<Client>,
    state: State,
    messages: usize,
    errors: usize,
    junk: usize,
    unknown_recipients: usize,
    stopping: bool,
}

/// What the client said of itself.
struct Client {
    name: String,
    extended: bool,
}

enum State {
    /// Waiting for a command, with no message begun.
    Idle,
    /// MAIL is there; recipients come in.
    Open(Envelope),
    /// After 354.
    Data(Box<Receiving>),
    /// MAIL waits for [`Ask::Room`].
    AwaitingRoom(Envelope),
    /// DATA waits for [`Ask::Begin`].
    AwaitingBegin(Envelope),
    /// Message data waits for [`Ask::Spill`], or for [`Ask::Discard`] when it is only read to its end.
    AwaitingSpill(Box<Receiving>),
    /// The end of data waits for [`Ask::Deliver`].
    AwaitingDelivery(Event),
    /// A refused body waits for [`Ask::Discard`].
    AwaitingDiscard(Reply),
}

impl Smtp {
    /// A session with the client at `peer`. `label` names the connection in ids and in the log.
    pub fn new(rules: Rc<Rules>, peer: IpAddr, label: String) -> Self {
        Self {
            rules,
            peer,
            label,
            client: None,
            state: State::Idle,
            messages: 0,
            errors: 0,
            junk: 0,
            unknown_recipients: 0,
            stopping: false,
        }
    }

    fn phase(&self) -> Phase {
        match (&self.state, &self.client) {
            (_, None) => Phase::Start,
            (State::Open(envelope), _) if envelope.to.is_empty() => Phase::Sender,
            (State::Open(_), _) => Phase::Recipients,
            _ => Phase::Greeted,
        }
    }

    fn lenient(&self) -> bool {
        self.rules.line_endings == LineEndings::Lenient
    }

    // Commands

    fn command_step(&mut self, cx: &Cx<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        if self.client.is_none() && inbox.unread().starts_with(TLS_HANDSHAKE) {
            return self.hang_up(out, "TLS handshake", &reply::NOT_TLS);
        }
        let limits = &self.rules.limits;
        match inbox.line(limits.smtp_line, limits.line_discard) {
            Line::Partial => Step::Idle,
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
        if memchr::memchr(0, line).is_some() {
            return self.refuse(out, line, &reply::BAD_LINE);
        }
        let Some(rule) = self.rules.rule(verb) else {
            return self.refuse(out, line, &reply::UNKNOWN_COMMAND);
        };
        if !rule.allowed.contains(&self.phase()) {
            return self.refuse(out, line, &reply::BAD_SEQUENCE);
        }
        if self.over_junk(rule) {
            return self.hang_up(out, "junk commands", &reply::TOO_MUCH);
        }
        let in_step = self.lenient() || inbox.is_empty();
        let no_argument = argument.is_empty();
        let done = match rule.verb {
            // The octets that follow BDAT are counted by the client: to run them as commands would be worse
            // than to hang up.
            Verb::Absent if rule.name == "BDAT" => {
                return self.hang_up(out, "BDAT not offered", &reply::NOT_IMPLEMENTED);
            }
            Verb::Absent => Err(reply::NOT_IMPLEMENTED),
            Verb::Data | Verb::Rset | Verb::Quit if !no_argument => Err(reply::BAD_ARGUMENT),
            // A client that talks on before it has read these replies may be tricked into it (FAULTS C10);
            // Thunderbird's account set-up alone sends EHLO and QUIT together.
            Verb::Data if !in_step => return self.hang_up(out, "out of step", &reply::OUT_OF_STEP),
            Verb::Ehlo | Verb::Helo if !in_step && !quits(inbox) => {
                return self.hang_up(out, "out of step", &reply::OUT_OF_STEP);
            }
            Verb::Ehlo => self.hello(argument, true),
            Verb::Helo => self.hello(argument, false),
            Verb::Mail => self.mail(argument),
            Verb::Rcpt => self.rcpt(cx, argument),
            Verb::Data => self.data(),
            Verb::Rset => {
                self.state = State::Idle;
                Ok(Said::Reply(reply::OK))
            }
            Verb::Noop => Ok(Said::Reply(reply::OK)),
            Verb::Vrfy if no_argument => Err(reply::BAD_ARGUMENT),
            Verb::Vrfy => Ok(Said::Reply(reply::CANNOT_VERIFY)),
            Verb::Help => self.help(argument),
            Verb::Quit => {
                reply::BYE.write(out);
                return Step::Close;
            }
        };
        match done {
            Ok(Said::Reply(reply)) => {
                reply.write(out);
                Step::Again
            }
            Ok(Said::Ask(ask)) => Step::Ask(ask),
            Err(reply) if reply == reply::TOO_MANY_MESSAGES => self.hang_up(out, "too many messages", &reply),
            Err(reply) => self.refuse(out, line, &reply),
        }
    }

    fn hello(&mut self, argument: &[u8], extended: bool) -> Result<Said, Reply> {
        let name = command::client_name(argument)?;
        self.client = Some(Client { name, extended });
        self.state = State::Idle;
        let hostname = &self.rules.hostname;
        let text = if extended {
            let size = self.rules.limits.message.0;
            format!("{hostname}\nPIPELINING\nSIZE {size}\n8BITMIME\nENHANCEDSTATUSCODES\nHELP")
        } else {
            hostname.clone()
        };
        Ok(Said::Reply(Reply::new(250, "", "").with_text(text)))
    }

    fn mail(&mut self, argument: &[u8]) -> Result<Said, Reply> {
        let limits = &self.rules.limits;
        if reached(self.messages, limits.messages_unauthenticated) {
            return Err(reply::TOO_MANY_MESSAGES);
        }
        let mail = command::mail(argument, self.lenient())?;
        if mail.size > limits.message.0 {
            return Err(reply::TOO_BIG);
        }
        let id = format!("{}-{}", self.label, self.messages + 1);
        self.state = State::AwaitingRoom(Envelope { id, from: mail.from, to: Vec::new() });
        Ok(Said::Ask(Ask::Room { size: mail.size }))
    }

    fn rcpt(&mut self, cx: &Cx<'_>, argument: &[u8]) -> Result<Said, Reply> {
        let address = command::rcpt(argument, self.lenient())?;
        let most = self.rules.limits.recipients_unauthenticated;
        let State::Open(envelope) = &mut self.state else { return Err(reply::BAD_SEQUENCE) };
        let mailbox = match cx.directory.lookup(&address) {
            Lookup::Local(mailbox) => mailbox,
            Lookup::Foreign => return Err(reply::NO_RELAY),
            Lookup::Unknown => return Err(reply::NO_SUCH_USER),
        };
        if !envelope.to.iter().any(|recipient| recipient.mailbox == mailbox) {
            if envelope.to.len() >= most {
                return Err(reply::TOO_MANY_RECIPIENTS);
            }
            envelope.to.push(Recipient { address, mailbox });
        }
        Ok(Said::Reply(reply::RECIPIENT_OK))
    }

    fn data(&mut self) -> Result<Said, Reply> {
        match mem::replace(&mut self.state, State::Idle) {
            State::Open(envelope) if !envelope.to.is_empty() => {
                self.state = State::AwaitingBegin(envelope);
                Ok(Said::Ask(Ask::Begin))
            }
            state => {
                self.state = state;
                Err(reply::NO_RECIPIENTS)
            }
        }
    }

    fn help(&self, argument: &[u8]) -> Result<Said, Reply> {
        let text = if argument.is_empty() {
            self.rules.overview()
        } else {
            let rule = self.rules.rule(argument);
            rule.ok_or_else(|| reply::BAD_ARGUMENT.with_text("No such command, try HELP"))?.help()
        };
        Ok(Said::Reply(Reply::new(214, "2.0.0", "").with_text(text)))
    }

    // Message data

    fn begin(&mut self, cx: &Cx<'_>, envelope: Envelope) -> State {
        let client = self.client.as_ref();
        let hop = trace::Hop {
            client: client.map_or("unknown", |client| &client.name),
            peer: self.peer,
            hostname: &self.rules.hostname,
            protocol: if client.is_some_and(|client| client.extended) { "ESMTP" } else { "SMTP" },
        };
        let bytes = trace::header(&envelope, &hop, cx.now.date).into_bytes();
        State::Data(Box::new(Receiving::new(envelope, bytes, self.rules.line_endings, cx.now.steady)))
    }

    fn data_step(
        &mut self,
        cx: &Cx<'_>,
        mut body: Box<Receiving>,
        inbox: &mut Inbox,
        out: &mut Outbox,
    ) -> Step {
        let ask = match body.take(inbox, &self.rules.limits, cx.now.steady) {
            Taken::Nothing => {
                self.state = State::Data(body);
                return Step::Idle;
            }
            Taken::Some => {
                self.state = State::Data(body);
                return Step::Again;
            }
            Taken::End => return self.end_of_data(*body, out),
            Taken::Endless => return self.hang_up(out, "message without end", &reply::TOO_BIG),
            Taken::TooSlow => return self.hang_up(out, "data too slow", &reply::TOO_SLOW),
            Taken::TooBig => Ask::Discard,
            Taken::Enough { mailbox, bytes } => Ask::Spill { mailbox, bytes },
        };
        self.state = State::AwaitingSpill(body);
        Step::Ask(ask)
    }

    fn end_of_data(&mut self, body: Receiving, out: &mut Outbox) -> Step {
        if let Some(refusal) = body.refusal() {
            out.tell(Event::Refused { what: "data".into(), reply: refusal.codes() });
            self.state = State::AwaitingDiscard(refusal);
            return Step::Ask(Ask::Discard);
        }
        self.state = State::AwaitingDelivery(body.accepted());
        let (envelope, bytes) = body.into_parts();
        Step::Ask(Ask::Deliver { envelope, bytes })
    }

    fn delivered(&mut self, event: Event, out: &mut Outbox) -> Step {
        self.messages += 1;
        self.junk = 0;
        if let Event::Accepted { id, .. } = &event {
            Reply::new(250, "2.0.0", "").with_text(format!("Queued as {id}")).write(out);
        }
        out.tell(event);
        self.after_message(out)
    }

    fn after_message(&self, out: &mut Outbox) -> Step {
        if !self.stopping {
            return Step::Again;
        }
        reply::SHUTTING_DOWN.write(out);
        Step::Close
    }

    // Refusals

    /// Says no, counts it, and gives up on a client that makes nothing but errors.
    fn refuse(&mut self, out: &mut Outbox, line: &[u8], reply: &Reply) -> Step {
        reply.write(out);
        let what = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
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

    fn hang_up(&mut self, out: &mut Outbox, why: &'static str, reply: &Reply) -> Step {
        reply.write(out);
        out.tell(Event::Ended { why });
        Step::Close
    }

    fn over_junk(&mut self, rule: &Rule) -> bool {
        let over = rule.junk && reached(self.junk, self.rules.limits.junk_commands);
        self.junk += usize::from(rule.junk);
        over
    }
}

/// What a command comes to.
enum Said {
    Reply(Reply),
    Ask(Ask),
}

impl Protocol for Smtp {
    fn greet(&mut self, _: &Cx<'_>, out: &mut Outbox) -> Step {
        let protocol = if self.rules.persona == Persona::Rfc821 { "SMTP" } else { "ESMTP" };
        out.line(&format!("220 {} {protocol} restante", self.rules.hostname));
        Step::Again
    }

    fn step(&mut self, cx: &Cx<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        match mem::replace(&mut self.state, State::Idle) {
            State::Data(body) => self.data_step(cx, body, inbox, out),
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
            (State::AwaitingRoom(envelope), None) => {
                reply::SENDER_OK.write(out);
                State::Open(envelope)
            }
            (State::AwaitingBegin(envelope), None) => {
                reply::GO_AHEAD.write(out);
                self.begin(cx, envelope)
            }
            (State::AwaitingSpill(body), None) => State::Data(body),
            (State::AwaitingDelivery(event), None) => return self.delivered(event, out),
            (State::AwaitingDiscard(reply), _) => {
                reply.write(out);
                return self.after_message(out);
            }
            // A body that can't be stored is read to its end like any other that is refused.
            (State::AwaitingSpill(mut body), Some(fault)) => {
                body.refuse(reply::fault(fault));
                State::Data(body)
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

    fn secured(&mut self, _: &Cx<'_>, _: Encryption) {
        *self = Self::new(Rc::clone(&self.rules), self.peer, mem::take(&mut self.label));
    }

    fn patience(&self) -> Patience {
        let limits = &self.rules.limits;
        let (limit, renewed_by) = match (&self.state, &self.client) {
            (State::Data(_), _) => (limits.data_silence, Renewal::Octet),
            (_, None) => (limits.smtp_greeting, Renewal::Command),
            _ => (limits.smtp_idle, Renewal::Command),
        };
        let (write, lifetime) = (limits.smtp_write.0, Some(limits.smtp_session.0));
        Patience { limit: limit.0, renewed_by, write, lifetime }
    }

    fn expire(&mut self, out: &mut Outbox) {
        self.hang_up(out, "timeout", &reply::TOO_SLOW);
    }

    fn stop(&mut self, out: &mut Outbox) -> Step {
        self.stopping = true;
        match self.state {
            State::AwaitingDelivery(_) | State::AwaitingDiscard(_) => Step::Idle,
            _ => self.hang_up(out, "shutting down", &reply::SHUTTING_DOWN),
        }
    }
}

/// Whether all that waits is a QUIT.
fn quits(inbox: &Inbox) -> bool {
    inbox.unread().trim_ascii_end().eq_ignore_ascii_case(b"QUIT")
}

/// What each error costs from the tenth on.
const PENALTY: Duration = Duration::from_secs(1);
/// How TLS begins: a handshake record of any version.
const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];
