//! Reads commands and dispatches them. A command that is refused is read to its end, with its literals, so that no octet of
//! it is taken for a command.

use super::{
    command::Command,
    command_reader::{Announcement, Input, RawCommand, tag},
    command_table::{self, CommandPhase, CommandSpec},
    parser::{self, Expected},
    reply::{self, ReplyText, Status, write_tagged},
    state::{Discarding, ImapSession, State, Tag},
};
use crate::proto::{
    Context, Step, TLS_HANDSHAKE,
    buffer::{Inbox, Outbox},
    event::Event,
    is_limit_reached,
};

impl ImapSession {
    pub(super) fn command_step(&mut self, cx: &Context<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        let is_first = self.user.is_none() && self.reader.octets() == 0;
        if is_first && inbox.line_start().starts_with(TLS_HANDSHAKE) {
            return self.close_with(out, "TLS handshake", reply::NOT_TLS);
        }
        let input = self.read(inbox);
        if self.config.pedantic && self.reader.has_bare_line_feed() {
            // An attacker may have smuggled in the octets after a bare LF, so the session reads no more of them.
            return self.close_with(out, "bare LF", reply::BARE_LINE_FEED);
        }
        match input {
            Input::Partial => Step::Idle,
            Input::NoLineEnd => self.close_with(out, "endless line", reply::TOO_LONG),
            Input::TooLong(tag) => {
                let tag = tag.unwrap_or_else(|| b"*".to_vec());
                self.refuse(&tag, Status::Bad, "long command", reply::TOO_LONG, out)
            }
            Input::Literal(announcement) => self.literal(announcement, out),
            Input::Command(raw) => self.command(cx, &raw, inbox.is_empty(), out),
        }
    }

    fn read(&mut self, inbox: &mut Inbox) -> Input {
        let limits = &self.config.limits;
        let discard = limits.connections.line_discard_limit;
        let is_typed = self.lenient();
        self.reader.read(inbox, limits.imap.max_line_length, discard, is_typed)
    }

    /// Accepts or refuses a literal.
    fn literal(&mut self, announcement: Announcement, out: &mut Outbox) -> Step {
        let max = self.config.limits.imap.max_line_length as u64;
        let most = if self.user.is_none() { 2 * MAX_LITERAL } else { max };
        let octets = announcement.octets;
        if octets > MAX_LITERAL || self.reader.octets().saturating_add(octets) > most {
            let text = reply::LITERAL_TOO_LONG;
            return self.refuse_literal(announcement, Status::Bad, "long literal", text, out);
        }
        if announcement.synchronizing {
            out.line("+ Go on");
        }
        self.reader.accept_literal(octets);
        Step::Continue
    }

    /// Refuses the command that has announced a literal. A client that waits for a continuation gets the reply at once.
    /// Another one sends the literal anyway, so it is read first, with the rest of the command.
    pub(super) fn refuse_literal(
        &mut self,
        announcement: Announcement,
        status: Status,
        what: &'static str,
        text: ReplyText,
        out: &mut Outbox,
    ) -> Step {
        let tag = tag(&self.reader.begun().text).unwrap_or(b"*").to_vec();
        let discarding = Discarding { tag, status, what, text, left: 0, octets: 0 };
        self.discard(Box::new(discarding), announcement, out)
    }

    fn discard(
        &mut self,
        mut discarding: Box<Discarding>,
        Announcement { octets, synchronizing }: Announcement,
        out: &mut Outbox,
    ) -> Step {
        if synchronizing {
            self.reader.reset();
            return self.end_discarding(&discarding, out);
        }
        discarding.left = octets;
        discarding.octets = discarding.octets.saturating_add(octets);
        if discarding.octets > self.config.limits.smtp.max_message_size.0 {
            return self.close_with(out, "long literal", reply::LITERAL_ENDLESS);
        }
        self.state = State::Discarding(discarding);
        Step::Continue
    }

    /// Reads on to the end of a refused command.
    pub(super) fn discard_step(
        &mut self,
        mut discarding: Box<Discarding>,
        inbox: &mut Inbox,
        out: &mut Outbox,
    ) -> Step {
        discarding.left -= inbox.skip(discarding.left);
        if discarding.left > 0 {
            self.state = State::Discarding(discarding);
            return Step::Idle;
        }
        match self.read(inbox) {
            Input::Partial => {
                self.state = State::Discarding(discarding);
                Step::Idle
            }
            Input::NoLineEnd => self.close_with(out, "endless line", reply::TOO_LONG),
            Input::Literal(announcement) => self.discard(discarding, announcement, out),
            Input::TooLong(_) | Input::Command(_) => self.end_discarding(&discarding, out),
        }
    }

    fn end_discarding(&mut self, discarding: &Discarding, out: &mut Outbox) -> Step {
        let Discarding { tag, status, what, text, .. } = discarding;
        self.state = State::Ready;
        self.refuse(tag, *status, what, *text, out)
    }

    /// Runs a command. `last`: no input follows it.
    fn command(&mut self, cx: &Context<'_>, raw: &RawCommand, last: bool, out: &mut Outbox) -> Step {
        // iOS sends empty lines before a tag.
        if raw.text.is_empty() && !self.config.pedantic {
            return Step::Continue;
        }
        let tagged = match parser::parse(raw, self.config.syntax().is_forgiving()) {
            Ok(tagged) if tagged.tag.is_ascii() => tagged,
            Ok(_) => return self.refuse_malformed(b"*", None, Expected("a tag"), out),
            Err(expected) => return self.refuse_malformed(b"*", None, expected, out),
        };
        let tag = tagged.tag;
        let row = command_table::find(&tagged.name);
        match (tagged.command, row) {
            (Some(_), Some(row)) if !row.allowed.contains(&self.phase()) => {
                let text = match self.phase() {
                    CommandPhase::NotAuthenticated => reply::LOG_IN_FIRST,
                    _ if row.allowed.contains(&CommandPhase::Selected) => reply::SELECT_FIRST,
                    _ => reply::LOGGED_IN_ALREADY,
                };
                self.refuse(&tag, Status::Bad, row.name, text, out)
            }
            (Some(Ok(command)), Some(row)) => {
                if self.user.is_some() {
                    self.errors = 0;
                }
                self.run(cx, tag, row, command, last, out)
            }
            (Some(Err(expected)), row) => self.refuse_malformed(&tag, row, expected, out),
            _ => self.refuse(&tag, Status::Bad, "unknown command", reply::UNKNOWN_COMMAND, out),
        }
    }

    fn run(
        &mut self,
        _cx: &Context<'_>,
        tag: Tag,
        row: &'static CommandSpec,
        command: Command,
        last: bool,
        out: &mut Outbox,
    ) -> Step {
        match command {
            Command::Capability => {
                out.line(&format!("* CAPABILITY {}", self.capabilities()));
                self.done(&tag, out)
            }
            Command::Noop => self.done(&tag, out),
            Command::Logout => {
                self.write(b"*", Status::Bye, reply::BYE, out);
                self.write(&tag, Status::Ok, reply::DONE, out);
                self.state = State::Over;
                Step::Close
            }
            Command::Id(_) => {
                out.line("* ID (\"name\" \"restante\")");
                self.done(&tag, out)
            }
            Command::StartTls => self.starttls(&tag, last, out),
            Command::Login { user, password } => self.login(tag, user, &password, out),
            Command::Authenticate { mechanism, initial } => self.authenticate(tag, &mechanism, initial, out),
            _ => self.refuse(&tag, Status::Bad, row.name, reply::UNKNOWN_COMMAND, out),
        }
    }

    // Replies

    /// Writes the OK of a command.
    pub(super) fn done(&mut self, tag: &Tag, out: &mut Outbox) -> Step {
        self.write(tag, Status::Ok, reply::DONE, out);
        Step::Continue
    }

    pub(super) fn write(&self, tag: &[u8], status: Status, text: ReplyText, out: &mut Outbox) {
        write_tagged(tag, status, &text.coded_text(self.language), out);
    }

    /// Writes a reply with a response code that has data. `code` ends with a blank.
    pub(super) fn write_with_code(
        &self,
        tag: &[u8],
        status: Status,
        code: &str,
        text: ReplyText,
        out: &mut Outbox,
    ) {
        write_tagged(tag, status, &format!("{code}{}", text.text(self.language)), out);
    }

    /// Refuses a command that does not follow the grammar, and says what was expected.
    fn refuse_malformed(
        &mut self,
        tag: &[u8],
        row: Option<&CommandSpec>,
        Expected(expected): Expected,
        out: &mut Outbox,
    ) -> Step {
        let what = row.map_or("a malformed command", |row| row.name);
        out.push_event(Event::Refused { what: what.into(), reply: "BAD".into() });
        let section = match row {
            Some(row) if self.config.pedantic => format!("{}: ", row.section()),
            None if self.config.pedantic => "RFC 3501 2.2.1: ".into(),
            _ => String::new(),
        };
        let text = format!("{section}{} {expected}", reply::EXPECTED.text(self.language));
        self.count_error(out, Status::Bad, |out| write_tagged(tag, Status::Bad, &text, out))
    }

    /// Refuses a command. A pedantic listener names the rule, if the client has broken one.
    pub(super) fn refuse(
        &mut self,
        tag: &[u8],
        status: Status,
        what: &str,
        text: ReplyText,
        out: &mut Outbox,
    ) -> Step {
        out.push_event(Event::Refused { what: what.into(), reply: text.codes(status) });
        let said = match self.citation(what, text).filter(|_| self.config.pedantic && status == Status::Bad) {
            Some(section) => format!("{section}: {}", text.coded_text(self.language)),
            None => text.coded_text(self.language),
        };
        self.count_error(out, status, |out| write_tagged(tag, status, &said, out))
    }

    /// The section that a client has broken.
    fn citation(&self, what: &str, text: ReplyText) -> Option<String> {
        let out_of_order = [reply::LOG_IN_FIRST, reply::LOGGED_IN_ALREADY, reply::SELECT_FIRST];
        if out_of_order.contains(&text) {
            return Some("RFC 3501 3".into());
        }
        command_table::find(what).map(CommandSpec::section).or_else(|| Some("RFC 3501 2.2.1".into()))
    }

    /// Counts an error and writes its reply. After the login only malformed commands count, and a good one ends the count,
    /// because the sessions of mail programs last for days.
    fn count_error(&mut self, out: &mut Outbox, status: Status, say: impl FnOnce(&mut Outbox)) -> Step {
        let limits = &self.config.limits.imap;
        let most = if self.user.is_none() { limits.login_error_limit } else { limits.hard_error_limit };
        say(out);
        self.errors += usize::from(self.user.is_none() || status == Status::Bad);
        if is_limit_reached(self.errors, most) {
            return self.close_with(out, "too many errors", reply::TOO_MANY_ERRORS);
        }
        Step::Continue
    }

    /// Ends the session with BYE.
    pub(super) fn close_with(&mut self, out: &mut Outbox, why: &'static str, text: ReplyText) -> Step {
        self.write(b"*", Status::Bye, text, out);
        out.push_event(Event::Ended { why });
        self.state = State::Over;
        Step::Close
    }
}

/// The longest literal outside APPEND, in octets.
const MAX_LITERAL: u64 = 4096;
