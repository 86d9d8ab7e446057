//! Reads commands and dispatches them. A command that is refused is read to its end, with its literals, so that no octet of
//! it is taken for a command.

use super::{
    command::Command,
    command_reader::{Announcement, Input, RawCommand, tag},
    command_state::{EarlyRefusal, Tag},
    command_table::{self, CommandPhase, CommandSpec},
    parser::{self, expected},
    reply,
    response::writer::{Condition, continuation, untagged},
    state::{AfterClose, Discarding, ImapSession, State},
};
use crate::proto::{
    Context, Step, TLS_HANDSHAKE,
    buffer::{Inbox, Line, Outbox},
    is_help, is_http_request, telnet,
};

impl ImapSession {
    pub(super) fn command_step(&mut self, cx: &Context<'_>, inbox: &mut Inbox, out: &mut Outbox) -> Step {
        let is_first = self.user.is_none() && self.reader.octets() == 0;
        if is_first && inbox.line_start().starts_with(TLS_HANDSHAKE) {
            return self.close_with(out, "TLS handshake", reply::NOT_TLS);
        }
        if is_first && is_http_request(inbox.line_start()) {
            return self.close_with(out, "HTTP", reply::NOT_IMAP);
        }
        match self.read(inbox, out) {
            Input::Partial => Step::Idle,
            Input::NoLineEnd => self.close_with(out, "endless line", reply::TOO_LONG),
            Input::BareLineFeed => self.refuse_bare_line_feed(out),
            Input::TooLong(tag) => {
                let tag = tag.unwrap_or_else(|| b"*".to_vec());
                self.refuse(&tag, Condition::Bad, "long command", reply::TOO_LONG, out)
            }
            Input::Literal(announcement) => self.literal(cx, announcement, out),
            Input::Command(raw) => self.command(cx, &raw, inbox.is_empty(), out),
        }
    }

    /// Reads the next part of a command.
    pub(super) fn read(&mut self, inbox: &mut Inbox, out: &mut Outbox) -> Input {
        let limits = &self.config.limits;
        let discard = limits.connections.line_discard_limit;
        let typed = self.lenient().then_some(out);
        match self.reader.read(inbox, limits.imap.max_line_length, discard, typed) {
            Input::Literal(_) | Input::Command(_)
                if self.config.pedantic && self.reader.has_bare_line_feed() =>
            {
                Input::BareLineFeed
            }
            input => input,
        }
    }

    /// A line that is no command as its typist meant it.
    pub(super) fn typed(&self, line: Line, out: &mut Outbox) -> Line {
        match line {
            Line::Complete(line) => Line::Complete(telnet::typed_line(line, self.lenient(), out)),
            other => other,
        }
    }

    /// Whether a line that is no command ends in a bare LF, and the listener takes none.
    pub(super) fn is_bare(&self, line: &[u8]) -> bool {
        self.config.pedantic && !line.ends_with(b"\r\n")
    }

    /// Ends the session at a bare LF: an attacker may have smuggled in the octets after it. Every line of a client ends in CR LF
    /// (RFC 9051 section 2.2), also in IDLE and AUTHENTICATE.
    pub(super) fn refuse_bare_line_feed(&mut self, out: &mut Outbox) -> Step {
        self.close_with(out, "bare LF", reply::BARE_LINE_FEED)
    }

    /// Accepts or refuses a literal.
    fn literal(&mut self, cx: &Context<'_>, announcement: Announcement, out: &mut Outbox) -> Step {
        if let Err(mistake) = parser::begun_tag(self.reader.begun()) {
            return self.refuse_literal(announcement, EarlyRefusal::Tag(mistake), out);
        }
        if let Some(head) = parser::append_head(self.reader.begun(), self.grammar()) {
            return self.append(cx, head, announcement, out);
        }
        let max = self.config.limits.imap.max_line_length as u64;
        let most = if self.user.is_none() { 2 * MAX_LITERAL } else { max };
        let octets = announcement.octets;
        if octets > MAX_LITERAL || self.reader.octets().saturating_add(octets) > most {
            let refused = EarlyRefusal::Text(Condition::Bad, "long literal", reply::LITERAL_TOO_LONG);
            return self.refuse_literal(announcement, refused, out);
        }
        if announcement.synchronizing {
            continuation(out.buffer(), "Go on");
        }
        self.reader.accept_literal(octets);
        Step::Continue
    }

    /// The tag of the command that has begun.
    pub(super) fn begun_tag(&self) -> Tag {
        tag(&self.reader.begun().text).unwrap_or(b"*").to_vec()
    }

    /// Refuses the command that has announced a literal. A client that waits for a continuation gets the reply at once.
    /// Another one sends the literal anyway, so it is read first, with the rest of the command.
    pub(super) fn refuse_literal(
        &mut self,
        announcement: Announcement,
        refused: EarlyRefusal,
        out: &mut Outbox,
    ) -> Step {
        let discarding = Discarding { tag: self.begun_tag(), refused, left: 0, octets: 0 };
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
            return self.send_refusal(&discarding.tag, discarding.refused, out);
        }
        discarding.left = octets;
        discarding.octets = discarding.octets.saturating_add(octets);
        if discarding.octets >= self.config.limits.smtp.max_message_size.0.saturating_mul(2) {
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
        match self.read(inbox, out) {
            Input::Partial => {
                self.state = State::Discarding(discarding);
                Step::Idle
            }
            Input::NoLineEnd => self.close_with(out, "endless line", reply::TOO_LONG),
            Input::BareLineFeed => self.refuse_bare_line_feed(out),
            Input::Literal(announcement) => self.discard(discarding, announcement, out),
            Input::TooLong(_) | Input::Command(_) => {
                self.send_refusal(&discarding.tag, discarding.refused, out)
            }
        }
    }

    pub(super) fn send_refusal(&mut self, tag: &[u8], refused: EarlyRefusal, out: &mut Outbox) -> Step {
        self.state = State::Ready;
        match refused {
            EarlyRefusal::Text(condition, what, text) => self.refuse(tag, condition, what, text, out),
            EarlyRefusal::Tag(mistake) => self.refuse_tag(mistake, out),
            EarlyRefusal::Name(mistake) => self.refuse_name(tag, "APPEND", &mistake, out),
            EarlyRefusal::Malformed(expected) => {
                self.refuse_malformed(tag, command_table::find("APPEND"), expected, out)
            }
        }
    }

    /// Runs a command. `last`: no input follows it.
    fn command(&mut self, cx: &Context<'_>, raw: &RawCommand, last: bool, out: &mut Outbox) -> Step {
        // iOS sends empty lines before a tag.
        if raw.text.is_empty() && !self.config.pedantic {
            return Step::Continue;
        }
        let tagged = match parser::parse(raw, self.grammar()) {
            Ok(tagged) => tagged,
            Err(mistake) => return self.refuse_tag(mistake, out),
        };
        let tag = tagged.tag;
        let row = command_table::find(&tagged.name);
        let command_as_tag = command_table::find_any_case(&tag).or_else(|| command_table::logout_for(&tag));
        match (tagged.command, row) {
            (None | Some(Err(_)), None) if is_help(tagged.name.as_bytes()) || is_help(&tag) => {
                self.refuse_help(&tag, out)
            }
            (None | Some(Err(_)), None) if let Some(row) = command_as_tag => {
                self.refuse_untagged(&tag, row, out)
            }
            (Some(_), Some(row)) if !row.allowed.contains(&self.phase()) => {
                let text = match self.phase() {
                    CommandPhase::NotAuthenticated => reply::LOG_IN_FIRST,
                    _ if row.allowed.contains(&CommandPhase::Selected) => reply::SELECT_FIRST,
                    _ => reply::LOGGED_IN_ALREADY,
                };
                self.refuse(&tag, Condition::Bad, row.name, text, out)
            }
            (Some(Ok(command)), Some(row)) => {
                if self.user.is_some() {
                    self.errors = 0;
                }
                self.run(cx, tag, row, command, last, out)
            }
            (Some(Err(expected)), row) => self.refuse_malformed(&tag, row, expected, out),
            _ => self.refuse_unknown(&tag, &tagged.name, out),
        }
    }

    fn run(
        &mut self,
        cx: &Context<'_>,
        tag: Tag,
        row: &'static CommandSpec,
        command: Command,
        last: bool,
        out: &mut Outbox,
    ) -> Step {
        match command {
            Command::Capability => {
                untagged(out.buffer(), |line| {
                    line.atom("CAPABILITY");
                    self.write_capabilities(line);
                });
                self.done(&tag, out)
            }
            Command::Noop | Command::Check => self.refresh(tag, out),
            Command::Logout => {
                self.write(b"*", Condition::Bye, reply::BYE, out);
                self.write(&tag, Condition::Ok, reply::DONE, out);
                self.state = State::Over;
                Step::Close
            }
            Command::Id(_) => {
                untagged(out.buffer(), |line| {
                    line.atom("ID").list(|list| {
                        list.string(b"name").string(b"restante");
                    });
                });
                self.done(&tag, out)
            }
            Command::StartTls => self.starttls(&tag, last, out),
            Command::Login { user, password } => self.login(tag, user, &password, out),
            Command::Authenticate { mechanism, initial } => self.authenticate(tag, &mechanism, initial, out),
            Command::Language(tags) => self.choose_language(&tag, &tags, out),
            Command::Enable(names) => self.enable(&tag, &names, out),
            Command::Select { mailbox, read_only, condstore } => {
                self.select(tag, mailbox, (read_only, condstore), out)
            }
            Command::Close => self.expunge_and_close(tag),
            Command::Unselect => self.close(tag, AfterClose::Reply),
            command @ (Command::Create(..)
            | Command::Delete(_)
            | Command::Rename(..)
            | Command::Subscribe(_)
            | Command::Unsubscribe(_)) => self.change(tag, row.name, command, out),
            Command::List(list) => self.list(tag, list, out),
            Command::Namespace => self.namespace(&tag, out),
            Command::Status(name, items) => self.status(tag, name, items, out),
            // The parser has it only if its message did not come as a literal.
            Command::Append(_) => self.refuse_malformed(&tag, Some(row), expected::MESSAGE, out),
            Command::Idle => self.idle(cx, tag, out),
            Command::GetQuota(root) if root.is_empty() => self.quota(cx, tag, None, out),
            Command::GetQuota(_) => self.no(&tag, row.name, reply::NO_SUCH_ROOT, out),
            Command::GetQuotaRoot(name) => self.quota(cx, tag, Some(name), out),
            Command::Expunge(set) => self.expunge(tag, set, out),
            Command::Search(search) => self.search(tag, search, out),
            Command::Fetch(fetch) => self.fetch(tag, fetch, out),
            Command::Store(store) => self.store(tag, row, store, out),
            Command::Copy(messages, to) => self.copy(tag, &messages, to, false, out),
            Command::Move(messages, to) => self.copy(tag, &messages, to, true, out),
        }
    }
}

/// The longest literal outside APPEND, in octets.
const MAX_LITERAL: u64 = 4096;
