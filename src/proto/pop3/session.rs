//! A POP3 session: dispatches commands and responses. The longer procedures are in `login`, `retrieve` and
//! `update`. All of them act on `state`; none reads a clock, a socket or a disk.

use std::mem;

use super::{
    command_table::{CommandPhase, CommandSpec, Verb},
    login,
    maildrop_view::{Column, MaildropView, Transfer},
    pedantic::bare_line_feed,
    reply::{self, ReplyText},
    session_config::Expire,
    state::{Pop3Session, State},
};
use crate::{
    language::Language,
    limits::Span,
    proto::{
        Context, Encryption, EndReason, Progress, ResetOn, Session, SessionEvent, SessionPhase, Step,
        TLS_HANDSHAKE, Timeouts,
        buffer::{Inbox, Line, Outbox},
        event::Event,
        is_help, is_http_request, is_limit_reached,
        request::{Failure, Response, Secret},
        sasl::{self, Credentials},
        telnet,
    },
};

impl Pop3Session {
    fn command_step(&mut self, cx: &Context<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        if self.phase() == CommandPhase::Authorization && inbox.line_start().starts_with(TLS_HANDSHAKE) {
            return self.close_with(out, "TLS handshake", reply::NOT_TLS);
        }
        if self.phase() == CommandPhase::Authorization && is_http_request(inbox.line_start()) {
            return self.close_with(out, "HTTP", reply::NOT_POP3);
        }
        let limits = &self.config.limits;
        // AUTH may include its initial response (RFC 5034 section 4).
        let start = self.config.syntax().command(inbox.line_start());
        let may_be_long = self.passwords_allowed() && login::is_auth(start);
        let longest = if may_be_long {
            limits.pop3.max_line_length.max(sasl::LINE)
        } else {
            limits.pop3.max_line_length
        };
        match inbox.line(longest, limits.connections.line_discard_limit) {
            Line::Partial => Step::Idle,
            Line::NoLineEnd => self.close_with(out, "endless line", reply::LINE_TOO_LONG),
            Line::TooLong => self.refuse(out, "long line", reply::LINE_TOO_LONG),
            Line::Complete(line) if self.config.pedantic && !line.ends_with(b"\r\n") => bare_line_feed(out),
            Line::Complete(line) if self.lenient() => {
                let line = telnet::typed_line(line, true, out);
                self.command(cx, &line, inbox.is_empty(), out)
            }
            Line::Complete(line) => self.command(cx, &line, inbox.is_empty(), out),
        }
    }

    /// Runs a command line. `last`: no input follows it.
    fn command(&mut self, cx: &Context<'_>, line: &[u8], last: bool, out: &mut Outbox) -> Step {
        let whole = line;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = self.config.syntax().command(line);
        let (verb, argument) = match memchr::memchr(b' ', line) {
            Some(at) => (&line[..at], Some(&line[at + 1..])),
            None => (line, None),
        };
        let rule = self.config.command(verb);
        if self.config.pedantic
            && let Some(broken) = self.violated_rule(whole, rule)
        {
            return self.refuse_violation(out, broken);
        }
        let Some(rule) = rule else {
            if is_help(verb) {
                return self.refuse_help(out);
            }
            return self.refuse_unknown(verb, out);
        };
        self.clears_user(rule.verb);
        if !rule.allowed.contains(&self.phase()) {
            let text = match self.phase() {
                CommandPhase::Authorization => reply::LOG_IN_FIRST,
                CommandPhase::Transaction => reply::LOGGED_IN_ALREADY,
            };
            return self.refuse(out, rule.name, text);
        }
        // A password may contain any octets (RFC 1939 section 7). No other command may contain control
        // characters.
        if rule.verb != Verb::Pass && line.iter().any(u8::is_ascii_control) {
            return self.refuse(out, rule.name, reply::BAD_LINE);
        }
        let keeps_blanks = matches!(rule.verb, Verb::Pass | Verb::User);
        let words = argument.filter(|_| !keeps_blanks && self.config.syntax().is_forgiving()).map(words);
        let argument =
            words.as_ref().map_or(argument, |words| Some(&words[..]).filter(|words| !words.is_empty()));
        if rule.verb == Verb::Stls {
            return self.stls(rule, argument, last, out);
        }
        match mem::replace(&mut self.state, State::Over) {
            State::Transaction(visit) => self.transaction(cx, rule, argument, visit, out),
            State::Authorization { user } => {
                self.state = State::Authorization { user: None };
                self.authorization(rule, argument, user, out)
            }
            state => {
                self.state = state;
                self.refuse(out, rule.name, reply::LOG_IN_FIRST)
            }
        }
    }

    fn authorization(
        &mut self,
        rule: &CommandSpec,
        argument: Option<&[u8]>,
        user: Option<String>,
        out: &mut Outbox,
    ) -> Step {
        let names_mechanism = rule.verb == Verb::Auth && argument.is_some();
        if (names_mechanism || matches!(rule.verb, Verb::User | Verb::Pass)) && !self.passwords_allowed() {
            return self.refuse(out, rule.name, reply::TLS_NEEDED);
        }
        match (rule.verb, argument) {
            (Verb::User, Some(name)) if !name.trim_ascii().is_empty() => {
                let user = String::from_utf8_lossy(name.trim_ascii()).into_owned();
                self.state = State::Authorization { user: Some(user) };
                self.login_steps += usize::from(!mem::replace(&mut self.user_given, true));
                self.ok(out, reply::SEND_PASS)
            }
            (Verb::Pass, Some(password)) => match user {
                Some(user) => {
                    let password = Secret::new(password);
                    self.verify(Credentials { mechanism: login::USER, user, password })
                }
                None => self.refuse(out, rule.name, reply::USER_FIRST),
            },
            (Verb::Quit, None) => {
                self.state = State::Over;
                reply::BYE.write_ok(self.language, out);
                Step::Close
            }
            (Verb::Auth, Some(argument)) => self.auth(argument, out),
            (Verb::Apop, _) => self.refuse(out, rule.name, reply::APOP_REFUSED),
            (Verb::Rpop, _) => self.refuse(out, rule.name, reply::RPOP_REFUSED),
            (verb, argument) => {
                self.state = State::Authorization { user };
                self.any_state(verb, argument, out).unwrap_or_else(|| self.refuse_arguments(rule, out))
            }
        }
    }

    fn transaction(
        &mut self,
        cx: &Context<'_>,
        rule: &CommandSpec,
        argument: Option<&[u8]>,
        mut visit: Box<MaildropView>,
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
                reply::LIST_FOLLOWS.write_ok(language, out);
                self.state = State::Listing(visit, Column::for_verb(rule.verb), 0);
                return Step::Continue;
            }
            (Verb::List | Verb::Uidl, Some(number)) => visit.find(number).map(|found| {
                found.map(|message| {
                    out.push(b"+OK ");
                    visit.write_line(message, Column::for_verb(rule.verb), out);
                })
            }),
            (Verb::Retr, Some(number)) => match visit.find(number) {
                Some(Ok(message)) => return self.request_chunk(visit, Transfer::whole(message)),
                Some(Err(why)) => Some(Err(why)),
                None => None,
            },
            (Verb::Top, Some(arguments)) => match visit.find_top(arguments) {
                Some(Ok((message, lines))) => {
                    return self.request_chunk(visit, Transfer::top(message, lines));
                }
                Some(Err(why)) => Some(Err(why)),
                None => None,
            },
            (Verb::Dele, Some(_)) if visit.read_only => Some(Err(reply::READ_ONLY)),
            (Verb::Dele, Some(number)) => visit.find(number).map(|found| {
                found.map(|message| {
                    visit.delete(message);
                    reply::DELETED.write_ok(language, out);
                })
            }),
            (Verb::Noop, None) => {
                reply::NOTHING_DONE.write_ok(language, out);
                Some(Ok(()))
            }
            (Verb::Last, None) => {
                out.line(&format!("+OK {}", visit.highest));
                Some(Ok(()))
            }
            (Verb::Rset, None) => {
                visit.reset();
                reply::RESTORED.write_ok(language, out);
                Some(Ok(()))
            }
            (Verb::Quit, None) => return self.quit(cx, visit),
            (verb, argument) => {
                self.state = State::Transaction(visit);
                return self
                    .any_state(verb, argument, out)
                    .unwrap_or_else(|| self.refuse_arguments(rule, out));
            }
        };
        self.state = State::Transaction(visit);
        match said {
            Some(Ok(())) => Step::Continue,
            Some(Err(why)) => self.refuse(out, rule.name, why),
            None => self.refuse_arguments(rule, out),
        }
    }

    /// Runs the commands that do not change the state. `None` if the arguments are wrong.
    fn any_state(&mut self, verb: Verb, argument: Option<&[u8]>, out: &mut Outbox) -> Option<Step> {
        let step = match (verb, argument) {
            (Verb::Capa, None) => {
                reply::CAPABILITIES.write_ok(self.language, out);
                self.capabilities(out);
                Step::Continue
            }
            (Verb::Auth, None) => {
                reply::MECHANISMS.write_ok(self.language, out);
                if self.passwords_allowed() {
                    out.line("PLAIN");
                }
                out.line(".");
                Step::Continue
            }
            (Verb::Utf8, None) => self.ok(out, reply::UTF8),
            (Verb::Lang, None) => {
                reply::LANGUAGES.write_ok(self.language, out);
                ["en English", "fr Français", "."].iter().for_each(|line| out.line(line));
                Step::Continue
            }
            (Verb::Lang, Some(range)) => {
                // A range like fr-CA matches the language without the country (RFC 4647 section 3.4).
                let primary = range.split(|&b| b == b'-').next().unwrap_or_default();
                let language = match primary.to_ascii_lowercase().as_slice() {
                    b"fr" => Language::French,
                    b"en" => Language::English,
                    _ if range == b"*" => Language::English,
                    _ => return Some(self.refuse(out, "LANG", reply::NO_SUCH_LANGUAGE)),
                };
                self.language = language;
                out.line(&format!("+OK {} {}", language.tag(), reply::LANGUAGE_CHANGED.text(language)));
                Step::Continue
            }
            _ => return None,
        };
        Some(step)
    }

    // Replies

    /// Lists the capabilities that work in the present state.
    fn capabilities(&self, out: &mut Outbox) {
        if self.passwords_allowed() {
            ["USER", "SASL PLAIN"].iter().for_each(|capability| out.line(capability));
        }
        CAPABILITIES.iter().for_each(|capability| out.line(capability));
        if self.config.protocol.stls && !self.is_encrypted && self.phase() == CommandPhase::Authorization {
            out.line("STLS");
        }
        match self.config.protocol.expire {
            Some(Expire::Never) => out.line("EXPIRE NEVER"),
            Some(Expire::Retrieved) => out.line("EXPIRE 0"),
            Some(Expire::Days(days)) => out.line(&format!("EXPIRE {days}")),
            None => {}
        }
        let Span(delay) = self.config.limits.pop3.login_delay;
        if !delay.is_zero() {
            out.line(&format!("LOGIN-DELAY {}", delay.as_millis().div_ceil(1000)));
        }
        if self.phase() == CommandPhase::Transaction {
            out.line("IMPLEMENTATION restante");
        }
        out.line(".");
    }

    fn ok(&self, out: &mut Outbox, text: ReplyText) -> Step {
        text.write_ok(self.language, out);
        Step::Continue
    }

    pub(super) fn refuse_arguments(&mut self, rule: &CommandSpec, out: &mut Outbox) -> Step {
        let section = if self.config.pedantic { format!("{}: ", rule.section()) } else { String::new() };
        let text = format!("-ERR {section}{} {}", reply::BAD_ARGUMENT.text(self.language), rule.syntax);
        self.count_error(out, reply::BAD_ARGUMENT, |_, out| out.line(&text))
    }

    pub(super) fn refuse(&mut self, out: &mut Outbox, what: &str, text: ReplyText) -> Step {
        out.push_event(Event::Refused { what: what.into(), reply: text.codes() });
        self.count_error(out, text, |session, out| session.write_refusal(what, text, out))
    }

    /// Counts an error and writes its refusal. If it is the last error allowed, the text says so instead,
    /// with the response code of the refusal, because a command has only one response (RFC 1939 section 3).
    pub(super) fn count_error(
        &mut self,
        out: &mut Outbox,
        error: ReplyText,
        say: impl FnOnce(&Self, &mut Outbox),
    ) -> Step {
        let limits = &self.config.limits;
        let most = match self.phase() {
            CommandPhase::Authorization => limits.pop3.login_error_limit,
            CommandPhase::Transaction => limits.pop3.hard_error_limit,
        };
        self.errors += 1;
        if is_limit_reached(self.errors, most) {
            return self.close_with(out, "too many errors", reply::TOO_MANY_ERRORS.with_code_of(error));
        }
        say(self, out);
        Step::Continue
    }

    pub(super) fn close_with(&mut self, out: &mut Outbox, why: &'static str, text: ReplyText) -> Step {
        self.write_refusal("", text, out);
        out.push_event(Event::Ended { why });
        Step::Close
    }
}

impl Session for Pop3Session {
    fn greet(&mut self, _: &Context<'_>, out: &mut Outbox) -> Step {
        out.line(&format!("+OK {} restante", self.config.hostname));
        Step::Continue
    }

    fn step(&mut self, cx: &Context<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        match mem::replace(&mut self.state, State::Over) {
            State::Listing(visit, column, from) => self.list_step(visit, column, from, out),
            State::Sending(visit, transfer) => self.request_chunk(visit, transfer),
            State::Plain => self.plain_step(inbox, out),
            State::WaitingForLock { mailbox, since } => self.open(cx, mailbox, since),
            State::Expiring { visit, before, next } => self.expire_step(visit, before, next),
            State::DelayingReply { last } => {
                self.state = State::Authorization { user: None };
                self.user_given = false;
                if last {
                    return self.close_with(out, "too many wrong passwords", reply::WRONG_PASSWORD);
                }
                self.refuse(out, "login", reply::WRONG_PASSWORD)
            }
            state => {
                self.state = state;
                self.command_step(cx, inbox, out)
            }
        }
    }

    fn respond(&mut self, cx: &Context<'_>, response: Response, out: &mut Outbox) -> Step {
        match (mem::replace(&mut self.state, State::Over), response) {
            (State::AwaitingVerify(credentials), Response::Verified(mailbox)) => {
                self.verified(cx, credentials, mailbox, out)
            }
            (State::AwaitingVerify(credentials), Response::Failed(Failure::AuthFailed { delay })) => {
                self.delay_refusal(credentials, delay, out)
            }
            (State::AwaitingVerify(_), Response::Failed(failure)) => {
                self.state = State::Authorization { user: None };
                self.refuse(out, "login", reply::failure_text(failure))
            }
            (State::AwaitingOpen { mailbox, .. }, Response::Opened(maildrop)) => {
                self.opened(mailbox, maildrop, out)
            }
            (State::AwaitingOpen { mailbox, since }, Response::Failed(failure)) => {
                self.open_failed(cx, mailbox, since, failure, out)
            }
            (State::AwaitingRead(visit, transfer), Response::Chunk { bytes, last }) => {
                self.send_chunk(visit, transfer, &bytes, last, out)
            }
            (State::AwaitingRead(visit, transfer), Response::Failed(failure)) => {
                self.read_failed(visit, transfer, failure, out)
            }
            (State::AwaitingUpdate { deleted, seen }, Response::Done) => {
                out.push_event(Event::Updated { deleted, seen });
                reply::BYE.write_ok(self.language, out);
                Step::Close
            }
            (State::AwaitingUpdate { .. }, _) => {
                out.push_event(Event::Refused { what: "QUIT".into(), reply: reply::NOT_ALL_DELETED.codes() });
                reply::NOT_ALL_DELETED.write_err(self.language, out);
                Step::Close
            }
            _ => self.close_with(out, "internal error", reply::INTERNAL),
        }
    }

    fn tls_started(&mut self, _: &Context<'_>, _: Encryption) {
        // Forgets everything that the client sent, but keeps the counts of its errors and attempts.
        self.is_encrypted = true;
        self.login_steps += 1;
        self.user_given = false;
        self.language = Language::English;
        self.state = State::Authorization { user: None };
    }

    fn session_phase(&self) -> SessionPhase {
        match &self.state {
            State::Authorization { user: None } => SessionPhase::Authorization,
            State::Authorization { user: Some(_) } => SessionPhase::UserGiven,
            State::Plain => SessionPhase::AuthPlain,
            State::Transaction(_) | State::Listing(..) => SessionPhase::Transaction,
            State::Sending(..) | State::AwaitingRead(..) => SessionPhase::Sending,
            State::Expiring { .. } | State::AwaitingUpdate { .. } => SessionPhase::Update,
            State::Over => SessionPhase::Ended,
            _ => SessionPhase::Pending,
        }
    }

    fn timeouts(&self) -> Timeouts {
        let limits = &self.config.limits;
        let (limit, renewed_by) = match self.state {
            State::Authorization { .. } | State::Plain => (limits.pop3.login_timeout, ResetOn::Progress),
            _ => (limits.pop3.idle_timeout, ResetOn::Command),
        };
        Timeouts { read: limit.0, reset_on: renewed_by, write: limits.pop3.write_timeout.0, session: None }
    }

    fn progress(&self) -> Progress {
        self.login_progress()
    }

    /// The client hears nothing: messages are numbered at the login (RFC 1939 section 4), and POP3 has no unsolicited
    /// response.
    fn notify(&mut self, event: &SessionEvent, out: &mut Outbox) {
        if let SessionEvent::MailboxChanged { mailbox, messages } = event {
            out.push_event(Event::MailboxChanged { mailbox: mailbox.clone(), messages: *messages });
        }
    }

    fn on_timeout(&mut self, out: &mut Outbox) {
        self.close_with(out, "timeout", reply::TOO_SLOW);
    }

    fn end(&mut self, why: EndReason, out: &mut Outbox) -> Step {
        match self.state {
            State::AwaitingUpdate { .. } => Step::Idle,
            // Inside a message, the client would take any text for a part of it.
            State::Sending(..) | State::AwaitingRead(..) | State::Listing(..) => {
                out.push_event(Event::Ended { why: why.words() });
                Step::Abort
            }
            _ => self.close_with(out, why.words(), reply::farewell(why)),
        }
    }
}

/// An argument without superfluous blanks: one between two words, none at either end.
fn words(argument: &[u8]) -> Vec<u8> {
    let words: Vec<&[u8]> = argument.split(|&octet| octet == b' ').filter(|word| !word.is_empty()).collect();
    words.join(&b' ')
}

/// The capabilities of every session (RFC 2449, RFC 3206, RFC 6856).
const CAPABILITIES: &[&str] = &["TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "UTF8", "LANG"];
