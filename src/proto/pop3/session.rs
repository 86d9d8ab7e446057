//! One POP3 session. Everything that moves the POP3 state is in this file; nothing here reads a clock, a
//! socket or a disk.

use std::{mem, rc::Rc, time::Duration};

use super::{
    Rules,
    reply::{self, Language, Text},
    rules::{Phase, Rule, Verb},
    visit::{Column, Transfer, Visit},
};
use crate::{
    octets::octets,
    proto::{
        Cx, Patience, Protocol, Renewal, Step,
        ask::{Answer, Ask, Fault, Mailbox, Secret},
        buf::{Inbox, Line, Outbox},
        dot::LineEndings,
        event::Event,
        reached, telnet,
    },
};

/// One POP3 session.
pub struct Pop3 {
    pub(super) rules: Rc<Rules>,
    language: Language,
    pub(super) state: State,
    pub(super) errors: usize,
    /// The distinct (user, password) pairs that were wrong: a client that tries one pair by several
    /// mechanisms has made one mistake.
    pub(super) wrong: Vec<(String, Secret)>,
}

pub(super) enum State {
    /// AUTHORIZATION, perhaps with the name of USER.
    Authorization { user: Option<String> },
    /// PASS waits for [`Ask::Verify`].
    AwaitingVerify { user: String, password: Secret },
    /// The answer to a wrong password is being held back.
    HoldingBack { last: bool },
    /// The login waits for [`Ask::Open`].
    AwaitingOpen { mailbox: Mailbox, since: Duration },
    /// The login waits for another session to leave the mailbox.
    Queueing { mailbox: Mailbox, since: Duration },
    /// TRANSACTION.
    Transaction(Visit),
    /// LIST or UIDL of everything, at the message that comes next.
    Listing(Visit, Column, usize),
    /// RETR or TOP, between two pieces of the message.
    Sending(Visit, Transfer),
    /// RETR or TOP waits for [`Ask::Read`].
    AwaitingRead(Visit, Transfer),
    /// UPDATE: QUIT waits for [`Ask::Update`].
    AwaitingUpdate { deleted: usize, seen: usize },
    /// Nothing more to say.
    Over,
}

impl Pop3 {
    /// A session of a listener with those rules.
    pub fn new(rules: Rc<Rules>) -> Self {
        let state = State::Authorization { user: None };
        Self { rules, language: Language::En, state, errors: 0, wrong: Vec::new() }
    }

    fn phase(&self) -> Phase {
        if matches!(self.state, State::Transaction(_)) { Phase::Transaction } else { Phase::Authorization }
    }

    // Commands

    fn command_step(&mut self, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        if self.phase() == Phase::Authorization && inbox.unread().starts_with(TLS_HANDSHAKE) {
            return self.hang_up(out, "TLS handshake", reply::NOT_TLS);
        }
        let limits = &self.rules.limits;
        match inbox.line(limits.pop3_line, limits.line_discard) {
            Line::Partial => Step::Idle,
            Line::Endless => self.hang_up(out, "endless line", reply::LINE_TOO_LONG),
            Line::TooLong => self.refuse(out, "long line", reply::LINE_TOO_LONG),
            Line::Full(line) if self.rules.line_endings == LineEndings::Lenient => {
                self.command(&telnet::as_typed(&line), out)
            }
            Line::Full(line) => self.command(&line, out),
        }
    }

    fn command(&mut self, line: &[u8], out: &mut Outbox) -> Step {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (verb, argument) = match memchr::memchr(b' ', line) {
            Some(at) => (&line[..at], Some(&line[at + 1..])),
            None => (line, None),
        };
        let Some(rule) = self.rules.rule(verb) else {
            return self.refuse(out, "unknown command", reply::UNKNOWN_COMMAND);
        };
        if !rule.allowed.contains(&self.phase()) {
            return self.refuse(out, rule.name, reply::NOT_NOW);
        }
        // A password is any octets at all (RFC 1939 section 7); nothing else needs control characters.
        if rule.verb != Verb::Pass && line.iter().any(u8::is_ascii_control) {
            return self.refuse(out, rule.name, reply::BAD_LINE);
        }
        match mem::replace(&mut self.state, State::Over) {
            State::Transaction(visit) => self.transaction(rule, argument, visit, out),
            State::Authorization { user } => {
                self.state = State::Authorization { user: None };
                self.authorization(rule, argument, user, out)
            }
            state => {
                self.state = state;
                self.refuse(out, rule.name, reply::NOT_NOW)
            }
        }
    }

    fn authorization(
        &mut self,
        rule: &Rule,
        argument: Option<&[u8]>,
        user: Option<String>,
        out: &mut Outbox,
    ) -> Step {
        match (rule.verb, argument) {
            (Verb::User, Some(name)) if !name.trim_ascii().is_empty() => {
                let user = String::from_utf8_lossy(name.trim_ascii()).into_owned();
                self.state = State::Authorization { user: Some(user) };
                self.ok(out, reply::SEND_PASS)
            }
            (Verb::Pass, Some(password)) => match user {
                Some(user) => {
                    let password = Secret::new(password);
                    self.state = State::AwaitingVerify { user: user.clone(), password: password.clone() };
                    Step::Ask(Ask::Verify { user, password })
                }
                None => self.refuse(out, rule.name, reply::NOT_NOW),
            },
            (Verb::Quit, None) => {
                self.state = State::Over;
                reply::BYE.ok(self.language, out);
                Step::Close
            }
            (Verb::Apop | Verb::Rpop, _) => self.refuse(out, rule.name, reply::WEAK_LOGIN),
            (verb, argument) => {
                self.state = State::Authorization { user };
                self.anytime(verb, argument, out).unwrap_or_else(|| self.misused(rule, out))
            }
        }
    }

    fn transaction(
        &mut self,
        rule: &Rule,
        argument: Option<&[u8]>,
        mut visit: Visit,
        out: &mut Outbox,
    ) -> Step {
        let language = self.language;
        let said = match (rule.verb, argument) {
            (Verb::Stat, None) => {
                let (messages, octets) = visit.remaining();
                out.line(&format!("+OK {messages} {octets}"));
                Some(Ok(()))
            }
            (Verb::List | Verb::Uidl, None) => {
                reply::LIST_FOLLOWS.ok(language, out);
                self.state = State::Listing(visit, Column::of(rule.verb), 0);
                return Step::Again;
            }
            (Verb::List | Verb::Uidl, Some(number)) => Some(visit.find(number).map(|message| {
                out.push(b"+OK ");
                visit.line(message, Column::of(rule.verb), out);
            })),
            (Verb::Retr, Some(number)) => match visit.find(number) {
                Ok(message) => return self.read(visit, Transfer::whole(message)),
                Err(why) => Some(Err(why)),
            },
            (Verb::Top, Some(arguments)) => match visit.find_top(arguments) {
                Some(Ok((message, lines))) => return self.read(visit, Transfer::top(message, lines)),
                Some(Err(why)) => Some(Err(why)),
                None => None,
            },
            (Verb::Dele, Some(number)) => Some(visit.find(number).map(|message| {
                visit.delete(message);
                reply::DELETED.ok(language, out);
            })),
            (Verb::Noop, None) => {
                reply::NOTHING_DONE.ok(language, out);
                Some(Ok(()))
            }
            (Verb::Last, None) => {
                out.line(&format!("+OK {}", visit.highest));
                Some(Ok(()))
            }
            (Verb::Rset, None) => {
                visit.reset();
                reply::RESTORED.ok(language, out);
                Some(Ok(()))
            }
            (Verb::Quit, None) => return self.quit(&visit),
            (verb, argument) => {
                self.state = State::Transaction(visit);
                return self.anytime(verb, argument, out).unwrap_or_else(|| self.misused(rule, out));
            }
        };
        self.state = State::Transaction(visit);
        match said {
            Some(Ok(())) => Step::Again,
            Some(Err(why)) => self.refuse(out, rule.name, why),
            None => self.misused(rule, out),
        }
    }

    /// The commands that both phases have. `None`: the arguments don't fit.
    fn anytime(&mut self, verb: Verb, argument: Option<&[u8]>, out: &mut Outbox) -> Option<Step> {
        let step = match (verb, argument) {
            (Verb::Capa, None) => {
                reply::CAPABILITIES.ok(self.language, out);
                CAPABILITIES.iter().for_each(|capability| out.line(capability));
                out.line(".");
                Step::Again
            }
            (Verb::Utf8, None) => self.ok(out, reply::UTF8),
            (Verb::Lang, None) => {
                reply::LANGUAGES.ok(self.language, out);
                ["en English", "fr Français", "."].iter().for_each(|line| out.line(line));
                Step::Again
            }
            (Verb::Lang, Some(tag)) => {
                let (tag, language) = match tag.to_ascii_lowercase().as_slice() {
                    b"fr" => ("fr", Language::Fr),
                    b"en" | b"*" | b"i-default" => ("en", Language::En),
                    _ => return Some(self.refuse(out, "LANG", reply::NO_SUCH_LANGUAGE)),
                };
                self.language = language;
                out.line(&format!("+OK {tag} {}", reply::LANGUAGE_CHANGED.text(language)));
                Step::Again
            }
            _ => return None,
        };
        Some(step)
    }

    fn quit(&mut self, visit: &Visit) -> Step {
        let delete: Vec<usize> = visit.deleted.iter().copied().collect();
        let seen: Vec<usize> = visit.retrieved.difference(&visit.deleted).copied().collect();
        self.state = State::AwaitingUpdate { deleted: delete.len(), seen: seen.len() };
        Step::Ask(Ask::Update { delete, seen })
    }

    fn list_step(&mut self, visit: Visit, column: Column, from: usize, out: &mut Outbox) -> Step {
        let to = visit.maildrop.len().min(from + LINES_A_STEP);
        (from..to)
            .filter(|message| !visit.deleted.contains(message))
            .for_each(|message| visit.line(message, column, out));
        if to == visit.maildrop.len() {
            out.line(".");
            self.state = State::Transaction(visit);
        } else {
            self.state = State::Listing(visit, column, to);
        }
        Step::Again
    }

    // Messages

    fn read(&mut self, visit: Visit, transfer: Transfer) -> Step {
        let ask = Ask::Read { message: transfer.message, from: transfer.from };
        self.state = State::AwaitingRead(visit, transfer);
        Step::Ask(ask)
    }

    fn send(
        &mut self,
        mut visit: Visit,
        mut transfer: Transfer,
        bytes: &[u8],
        last: bool,
        out: &mut Outbox,
    ) -> Step {
        let announced = visit.maildrop.octets(transfer.message);
        if transfer.from == 0 {
            if transfer.whole && last && octets(bytes) != announced {
                return self.not_sent(visit, transfer, Fault::Changed, out);
            }
            if transfer.whole {
                out.line(&format!("+OK {announced} octets"));
            } else {
                reply::TOP_FOLLOWS.ok(self.language, out);
            }
        }
        transfer.from += bytes.len() as u64;
        transfer.encoder.encode(bytes, out.buffer());
        if !last && !transfer.encoder.satisfied() {
            self.state = State::Sending(visit, transfer);
            return Step::Again;
        }
        let sent = transfer.encoder.finish(out.buffer());
        if transfer.whole && sent != announced {
            out.tell(Event::Ended { why: "message is not as long as announced" });
            return Step::Abort;
        }
        if transfer.whole {
            visit.retrieved.insert(transfer.message);
        }
        visit.highest = visit.highest.max(transfer.message + 1);
        self.state = State::Transaction(visit);
        Step::Again
    }

    /// Before the `+OK` it is a refusal. After it the client would take anything we say for the message,
    /// and a final dot for its end: all we can do is to hang up, so that it does not delete the only copy.
    fn not_sent(&mut self, visit: Visit, transfer: Transfer, fault: Fault, out: &mut Outbox) -> Step {
        if transfer.from == 0 {
            self.state = State::Transaction(visit);
            self.refuse(out, "message", reply::fault(fault))
        } else {
            out.tell(Event::Ended { why: "message could not be read to its end" });
            Step::Abort
        }
    }

    // Replies

    fn ok(&self, out: &mut Outbox, text: Text) -> Step {
        text.ok(self.language, out);
        Step::Again
    }

    fn misused(&mut self, rule: &Rule, out: &mut Outbox) -> Step {
        out.line(&format!("-ERR {} {}", reply::BAD_ARGUMENT.text(self.language), rule.syntax));
        self.count_error(out)
    }

    pub(super) fn refuse(&mut self, out: &mut Outbox, what: &str, text: Text) -> Step {
        text.err(self.language, out);
        out.tell(Event::Refused { what: what.into(), reply: text.codes() });
        self.count_error(out)
    }

    fn count_error(&mut self, out: &mut Outbox) -> Step {
        let limits = &self.rules.limits;
        let most = match self.phase() {
            Phase::Authorization => limits.errors_login,
            Phase::Transaction => limits.errors,
        };
        self.errors += 1;
        if reached(self.errors, most) {
            return self.hang_up(out, "too many errors", reply::TOO_MANY_ERRORS);
        }
        Step::Again
    }

    fn hang_up(&mut self, out: &mut Outbox, why: &'static str, text: Text) -> Step {
        text.err(self.language, out);
        out.tell(Event::Ended { why });
        Step::Close
    }
}

impl Protocol for Pop3 {
    fn greet(&mut self, _: &Cx<'_>, out: &mut Outbox) -> Step {
        out.line(&format!("+OK {} restante", self.rules.hostname));
        Step::Again
    }

    fn step(&mut self, _: &Cx<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        match mem::replace(&mut self.state, State::Over) {
            State::Listing(visit, column, from) => self.list_step(visit, column, from, out),
            State::Sending(visit, transfer) => self.read(visit, transfer),
            State::Queueing { mailbox, since } => self.open(mailbox, since),
            State::HoldingBack { last } => {
                self.state = State::Authorization { user: None };
                if last {
                    return self.hang_up(out, "too many wrong passwords", reply::WRONG_PASSWORD);
                }
                self.refuse(out, "login", reply::WRONG_PASSWORD)
            }
            state => {
                self.state = state;
                self.command_step(inbox, out)
            }
        }
    }

    fn answer(&mut self, cx: &Cx<'_>, answer: Answer, out: &mut Outbox) -> Step {
        match (mem::replace(&mut self.state, State::Over), answer) {
            (State::AwaitingVerify { user, .. }, Answer::Welcome(mailbox)) => {
                self.verified(cx, user, mailbox, out)
            }
            (State::AwaitingVerify { user, password }, Answer::Failed(Fault::Denied)) => {
                self.denied(user, password, out)
            }
            (State::AwaitingVerify { .. }, Answer::Failed(fault)) => {
                self.state = State::Authorization { user: None };
                self.refuse(out, "login", reply::fault(fault))
            }
            (State::AwaitingOpen { mailbox, .. }, Answer::Opened(maildrop)) => {
                self.opened(mailbox, maildrop, out)
            }
            (State::AwaitingOpen { mailbox, since }, Answer::Failed(fault)) => {
                self.not_opened(cx, mailbox, since, fault, out)
            }
            (State::AwaitingRead(visit, transfer), Answer::Chunk { bytes, last }) => {
                self.send(visit, transfer, &bytes, last, out)
            }
            (State::AwaitingRead(visit, transfer), Answer::Failed(fault)) => {
                self.not_sent(visit, transfer, fault, out)
            }
            (State::AwaitingUpdate { deleted, seen }, Answer::Updated) => {
                out.tell(Event::Updated { deleted, seen });
                reply::BYE.ok(self.language, out);
                Step::Close
            }
            (State::AwaitingUpdate { .. }, _) => {
                out.tell(Event::Refused { what: "QUIT".into(), reply: reply::NOT_ALL_DELETED.codes() });
                reply::NOT_ALL_DELETED.err(self.language, out);
                Step::Close
            }
            _ => self.hang_up(out, "internal error", reply::INTERNAL),
        }
    }

    fn patience(&self) -> Patience {
        let limits = &self.rules.limits;
        let limit = match self.state {
            State::Authorization { .. } => limits.pop3_login,
            _ => limits.pop3_idle,
        };
        Patience { limit: limit.0, renewed_by: Renewal::Command, write: limits.pop3_write.0, lifetime: None }
    }

    fn expire(&mut self, out: &mut Outbox) {
        self.hang_up(out, "timeout", reply::TOO_SLOW);
    }

    fn stop(&mut self, out: &mut Outbox) -> Step {
        match self.state {
            State::AwaitingUpdate { .. } => Step::Idle,
            // In the midst of a message any text of ours would look like part of it.
            State::Sending(..) | State::AwaitingRead(..) | State::Listing(..) => Step::Abort,
            _ => self.hang_up(out, "shutting down", reply::SHUTTING_DOWN),
        }
    }
}

/// What CAPA lists (RFC 2449, RFC 3206, RFC 6856).
const CAPABILITIES: &[&str] = &[
    "TOP",
    "UIDL",
    "USER",
    "PIPELINING",
    "RESP-CODES",
    "AUTH-RESP-CODE",
    "UTF8",
    "LANG",
    "IMPLEMENTATION restante",
];

/// Lines of a listing between two looks at the outbox.
const LINES_A_STEP: usize = 512;
/// How TLS begins: a handshake record of any version.
const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];
