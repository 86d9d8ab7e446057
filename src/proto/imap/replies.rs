//! The replies of a session: their writing, the count of errors, and the updates before them.

use std::{mem, sync::Arc};

use super::{
    command_state::Tag,
    command_table::{self, CommandPhase, CommandSpec},
    mailbox_name::NameMistake,
    parser::{Expected, TagMistake, expected},
    recent,
    reply::{self, ReplyText},
    request::{ImapRequest, Interruption},
    response::writer::{Condition, Items, no_code, status, untagged},
    state::{AfterUpdates, ImapSession, ResponseCode, State, TaggedReply, WaitingCommand},
    updates::{self, OwnChange, Updates, Written},
};
use crate::language::Language;
use crate::proto::{Step, buffer::Outbox, event::Event, is_limit_reached, request::Request};

impl ImapSession {
    /// Sends a request, and waits for its response.
    pub(super) fn await_response(&mut self, tag: Tag, pending: WaitingCommand, request: ImapRequest) -> Step {
        self.state = State::Awaiting(tag, Box::new(pending));
        Step::Request(Request::Imap(request))
    }

    /// Writes the OK of a command.
    pub(super) fn done(&mut self, tag: &[u8], out: &mut Outbox) -> Step {
        self.ok(tag, reply::DONE, out)
    }

    /// Writes the OK of a command with another text.
    pub(super) fn ok(&mut self, tag: &[u8], text: ReplyText, out: &mut Outbox) -> Step {
        self.write(tag, Condition::Ok, text, out);
        self.state = State::Ready;
        Step::Continue
    }

    pub(super) fn write(&self, tag: &[u8], condition: Condition, text: ReplyText, out: &mut Outbox) {
        self.write_with(tag, condition, |code| text.write_code(code), text, out);
    }

    /// Writes a reply with another response code than that of its text.
    pub(super) fn write_with(
        &self,
        tag: &[u8],
        condition: Condition,
        code: impl FnOnce(&mut Items<'_>),
        text: ReplyText,
        out: &mut Outbox,
    ) {
        status(out.buffer(), Some(tag), condition, code, text.text(self.language));
    }

    /// LANGUAGE (RFC 5255 section 3.2). A tag like fr-CA matches the language without the country.
    pub(super) fn choose_language(&mut self, tag: &[u8], tags: &[Vec<u8>], out: &mut Outbox) -> Step {
        if tags.is_empty() {
            untagged(out.buffer(), |line| {
                line.atom("LANGUAGE").list(|list| {
                    list.atom("en").atom("fr").atom("i-default");
                });
            });
            return self.done(tag, out);
        }
        let known = tags.iter().find_map(|tag| {
            let tag = tag.to_ascii_lowercase();
            match tag.split(|&b| b == b'-').next().unwrap_or_default() {
                b"fr" => Some(("fr", Language::French)),
                b"en" => Some(("en", Language::English)),
                b"default" => Some(("i-default", Language::English)),
                _ if tag == b"i-default" => Some(("i-default", Language::English)),
                _ => None,
            }
        });
        let Some((name, language)) = known else {
            return self.no(tag, "LANGUAGE", reply::NO_SUCH_LANGUAGE, out);
        };
        self.language = language;
        untagged(out.buffer(), |line| {
            line.atom("LANGUAGE").list(|list| {
                list.atom(name);
            });
        });
        self.ok(tag, reply::LANGUAGE_CHANGED, out)
    }

    /// Ends a command with the updates that are allowed, and its reply.
    pub(super) fn conclude(&mut self, ending: TaggedReply, may_expunge: bool, out: &mut Outbox) -> Step {
        self.send_updates(None, may_expunge, AfterUpdates::Reply(ending), out)
    }

    /// The same, for a command without a code.
    pub(super) fn conclude_ok(&mut self, tag: Tag, may_expunge: bool, out: &mut Outbox) -> Step {
        let ending =
            TaggedReply { tag, condition: Condition::Ok, code: ResponseCode::OfText, text: reply::DONE };
        self.conclude(ending, may_expunge, out)
    }

    /// Sends the updates of the selected folder. `own` is a change of the client itself.
    pub(super) fn send_updates(
        &mut self,
        own: Option<OwnChange>,
        may_expunge: bool,
        after: AfterUpdates,
        out: &mut Outbox,
    ) -> Step {
        let Some(selected) = &mut self.selected else { return self.after_updates(after, out) };
        let (view, newest) = (&selected.view, &selected.newest);
        let is_known = Arc::ptr_eq(view, newest) && own.is_none();
        if is_known {
            return self.after_updates(after, out);
        }
        if view.uid_validity != newest.uid_validity {
            return self.close_with(out, "UID validity changed", reply::UIDS_CHANGED);
        }
        // With a change of the client itself, the updates come all the same: its flags must not seem to change back.
        if !may_expunge && own.is_none() && updates::has_expunged(view, newest) {
            return self.after_updates(after, out);
        }
        // A message that has come and gone meanwhile counts as known, too.
        let claimed = newest.recent.claim(view.uid_next, newest.uid_next, selected.read_only);
        let mut recent = mem::take(&mut selected.recent);
        if !claimed.is_empty() {
            recent::add(Arc::make_mut(&mut recent), &claimed);
        }
        let states = (Arc::clone(view), Arc::clone(newest));
        let updates = Updates::new(states, own, (recent, selected.read_only), may_expunge);
        self.state = State::SendingUpdates(Box::new(updates), Box::new(after));
        Step::Continue
    }

    pub(super) fn updates_step(
        &mut self,
        mut updates: Box<Updates>,
        after: Box<AfterUpdates>,
        out: &mut Outbox,
    ) -> Step {
        self.work += WORK_OF_UPDATES;
        match updates.write(self.condstore, self.language, out.buffer()) {
            Written::Part => {
                self.state = State::SendingUpdates(updates, after);
                Step::Continue
            }
            Written::All => {
                if let Some(selected) = &mut self.selected {
                    if updates.has_new {
                        selected.has_overlooked = !matches!(*after, AfterUpdates::Idle { .. });
                    }
                    (selected.view, selected.recent) = updates.into_view();
                }
                self.after_updates(*after, out)
            }
            Written::OutOfOrder => self.close_with(out, "UIDs out of order", reply::UIDS_CHANGED),
        }
    }

    fn after_updates(&mut self, after: AfterUpdates, out: &mut Outbox) -> Step {
        match after {
            AfterUpdates::Refreshed(ending) => {
                if let Some(selected) = &mut self.selected {
                    selected.has_overlooked = false;
                }
                self.after_updates(AfterUpdates::Reply(ending), out)
            }
            AfterUpdates::Reply(TaggedReply { tag, condition, code, text }) => {
                self.write_with(&tag, condition, |items| code.write(text, items), text, out);
                self.state = State::Ready;
                Step::Continue
            }
            AfterUpdates::Fetch(tag, plan) => self.begin_fetch(tag, plan, out),
            AfterUpdates::Idle { tag, since } => {
                // Thunderbird looks for new messages after a response in IDLE or the reply to NOOP. It overlooks an EXISTS that
                // comes with a FETCH, and would show the message after minutes.
                if let Some(selected) = &mut self.selected
                    && mem::take(&mut selected.has_overlooked)
                {
                    updates::write_exists(&selected.view, out.buffer());
                }
                self.state = State::Idling { tag, since };
                Step::Continue
            }
            AfterUpdates::Refuse { tag, what, interruption } => {
                self.refuse_interrupted(&tag, what, interruption, out)
            }
        }
    }

    // Refusals

    /// Refuses a command that does not follow the grammar: names the part that was expected, and shows the syntax.
    pub(super) fn refuse_malformed(
        &mut self,
        tag: &[u8],
        row: Option<&CommandSpec>,
        expected: Expected,
        out: &mut Outbox,
    ) -> Step {
        let what = row.map_or("a malformed command", |row| row.name);
        let section = match row {
            _ if expected == expected::ASCII => FORMAL_SYNTAX.into(),
            Some(row) => row.section(),
            None => GENERAL.into(),
        };
        let language = self.language;
        // The syntax of a command is the same in every language.
        let syntax = row.map_or(reply::ANY_COMMAND.text(language), |row| row.syntax);
        let colon = reply::COLON.text(language);
        let mut text =
            format!("{} {}{colon} {syntax}", reply::EXPECTED.text(language), expected.text(language));
        if row.is_some_and(|row| may_lack_quotes(row, expected)) {
            text.push_str(reply::NEEDS_QUOTES.text(language));
        }
        self.refuse_syntax((tag, what), &section, &text, out)
    }

    /// Refuses a command whose tag no reply can repeat (RFC 9051 section 7.1.3), and names the octet that no tag has.
    pub(super) fn refuse_tag(&mut self, mistake: TagMistake, out: &mut Outbox) -> Step {
        let octet = match mistake {
            TagMistake::Missing => return self.refuse_malformed(b"*", None, expected::TAG, out),
            TagMistake::Forbidden(octet) if octet.is_ascii_graphic() => char::from(octet).to_string(),
            TagMistake::Forbidden(octet) => format!("0x{octet:02X}"),
        };
        let (before, after) = (reply::TAG_WITHOUT, reply::ANY_COMMAND);
        let (before, after) = (before.text(self.language), after.text(self.language));
        let text = format!("{before} {octet}{} {after}", reply::COLON.text(self.language));
        self.refuse_syntax((b"*", "a malformed tag"), GENERAL, &text, out)
    }

    /// Refuses a name that no mailbox can have: names the mistake, and shows how the name is written.
    pub(super) fn refuse_name(
        &mut self,
        tag: &[u8],
        what: &str,
        mistake: &NameMistake,
        out: &mut Outbox,
    ) -> Step {
        let refusal = reply::IMPOSSIBLE_NAME;
        let rule = reply::name_rule(mistake.rule).text(self.language);
        let mut text = format!("{} {rule}", refusal.text(self.language));
        if let Some(written) = &mistake.written {
            text.push_str(&format!("{} {written}", reply::WRITE.text(self.language)));
        }
        self.refuse_saying((tag, Condition::No), what, refusal, &text, out)
    }

    /// Refuses a line that begins with a command in place of its tag. A person has typed it.
    pub(super) fn refuse_untagged(&mut self, tag: &[u8], row: &CommandSpec, out: &mut Outbox) -> Step {
        let text = format!("{} a1 {}", reply::NO_TAG.text(self.language), row.syntax);
        self.refuse_syntax((tag, "a command without a tag"), GENERAL, &text, out)
    }

    /// Refuses an unknown command, and names the one that is meant.
    pub(super) fn refuse_unknown(&mut self, tag: &[u8], name: &str, out: &mut Outbox) -> Step {
        let language = self.language;
        let text = if name.starts_with(command_table::BY_UID) {
            reply::COMMAND_WITH_UID.text(language).to_owned()
        } else if let Some(meant) = command_table::meant_by(name) {
            let end = reply::QUESTION_MARK.text(language);
            format!("{} {meant}{end}", reply::UNKNOWN_COMMAND_BUT.text(language))
        } else {
            return self.refuse(tag, Condition::Bad, "unknown command", reply::UNKNOWN_COMMAND, out);
        };
        self.refuse_syntax((tag, "unknown command"), GENERAL, &text, out)
    }

    /// Refuses HELP, as any unknown command, with examples of the commands that are possible now.
    pub(super) fn refuse_help(&mut self, tag: &[u8], out: &mut Outbox) -> Step {
        let offers_tls = self.config.protocol.starttls && !self.is_encrypted;
        let examples = match self.phase() {
            CommandPhase::NotAuthenticated if self.passwords_allowed() => "a1 LOGIN user password",
            CommandPhase::NotAuthenticated if offers_tls => "a1 STARTTLS",
            CommandPhase::NotAuthenticated => "a1 CAPABILITY",
            CommandPhase::Authenticated => {
                r#"a1 LIST "" *, a1 SELECT INBOX, a1 STATUS INBOX (MESSAGES UNSEEN)"#
            }
            CommandPhase::Selected => {
                r"a1 FETCH 1 BODY[], a1 SEARCH UNSEEN, a1 STORE 1 +FLAGS (\Seen), a1 CLOSE"
            }
        };
        let text = format!("{} {examples}, a1 LOGOUT", reply::NO_HELP.text(self.language));
        self.refuse_syntax((tag, "unknown command"), GENERAL, &text, out)
    }

    /// Refuses a change that a failure has interrupted: tells how many messages are changed all the same, and why the others are
    /// not.
    fn refuse_interrupted(
        &mut self,
        tag: &[u8],
        what: &'static str,
        Interruption { done, failure }: Interruption,
        out: &mut Outbox,
    ) -> Step {
        let (language, reason) = (self.language, reply::failure_text(failure));
        let mut text = reason.text(language).to_owned();
        if done > 0 {
            let (before, after) =
                (reply::done_messages(what).text(language), reply::AND_NO_MORE.text(language));
            text = format!("{before}{} {done}{after}. {text}", reply::COLON.text(language));
        }
        self.refuse_saying((tag, Condition::No), what, reason, &text, out)
    }

    /// Writes BAD. A pedantic listener names the section.
    fn refuse_syntax(
        &mut self,
        (tag, what): (&[u8], &str),
        section: &str,
        text: &str,
        out: &mut Outbox,
    ) -> Step {
        out.push_event(Event::Refused { what: what.into(), reply: "BAD".into() });
        let text = if self.config.pedantic { format!("{section}: {text}") } else { text.to_owned() };
        self.count_error(Condition::Bad, out, |out| {
            status(out.buffer(), Some(tag), Condition::Bad, no_code, &text);
        })
    }

    /// Refuses a command. `what` is its name for the log, or the kind of the mistake. A pedantic listener names the section, if the
    /// client has broken a rule.
    pub(super) fn refuse(
        &mut self,
        tag: &[u8],
        condition: Condition,
        what: &str,
        text: ReplyText,
        out: &mut Outbox,
    ) -> Step {
        let is_cited = self.config.pedantic && condition == Condition::Bad;
        let section = if is_cited { format!("{}: ", citation(what, text)) } else { String::new() };
        let said = format!("{section}{}", text.text(self.language));
        self.refuse_saying((tag, condition), what, text, &said, out)
    }

    /// Refuses a command with the code of a text and other words.
    fn refuse_saying(
        &mut self,
        (tag, condition): (&[u8], Condition),
        what: &str,
        text: ReplyText,
        said: &str,
        out: &mut Outbox,
    ) -> Step {
        out.push_event(Event::Refused { what: what.into(), reply: text.codes(condition) });
        self.state = State::Ready;
        self.count_error(condition, out, |out| {
            status(out.buffer(), Some(tag), condition, |code| text.write_code(code), said);
        })
    }

    /// Refuses a command with NO.
    pub(super) fn no(&mut self, tag: &[u8], what: &str, text: ReplyText, out: &mut Outbox) -> Step {
        self.refuse(tag, Condition::No, what, text, out)
    }

    /// Counts an error and writes its reply. After the login only malformed commands count, and a good one ends the count,
    /// because the sessions of mail programs last for days.
    fn count_error(&mut self, condition: Condition, out: &mut Outbox, say: impl FnOnce(&mut Outbox)) -> Step {
        let limits = &self.config.limits.imap;
        let most = if self.user.is_none() { limits.login_error_limit } else { limits.hard_error_limit };
        say(out);
        self.errors += usize::from(self.user.is_none() || condition == Condition::Bad);
        if is_limit_reached(self.errors, most) {
            return self.close_with(out, "too many errors", reply::TOO_MANY_ERRORS);
        }
        Step::Continue
    }

    /// Ends the session with BYE.
    pub(super) fn close_with(&mut self, out: &mut Outbox, why: &'static str, text: ReplyText) -> Step {
        self.write(b"*", Condition::Bye, text, out);
        out.push_event(Event::Ended { why });
        self.state = State::Over;
        Step::Close
    }

    /// Ends the session without a word: the client must see that a response is cut.
    pub(super) fn abort(&mut self, out: &mut Outbox, why: &'static str) -> Step {
        out.push_event(Event::Ended { why });
        self.state = State::Over;
        Step::Abort
    }
}

/// The section of the rule that a client has broken.
fn citation(what: &str, text: ReplyText) -> String {
    let out_of_order = [reply::LOG_IN_FIRST, reply::LOGGED_IN_ALREADY, reply::SELECT_FIRST];
    if out_of_order.contains(&text) {
        return "RFC 3501 3".into();
    }
    command_table::find(what).map_or_else(|| GENERAL.into(), CommandSpec::section)
}

/// Whether a name in the place of another argument may be the rest of one with a blank: `SELECT New Folder`.
fn may_lack_quotes(row: &CommandSpec, expected: Expected) -> bool {
    let after_a_name = [
        expected::MESSAGE,
        expected::END_OF_LINE,
        expected::PARAMETERS,
        expected::STATUS_ITEMS,
        expected::ONE_SPECIAL_USE,
    ];
    [" mailbox", " user"].iter().any(|name| row.syntax.contains(name)) && after_a_name.contains(&expected)
}

/// The section about the form of commands.
const GENERAL: &str = "RFC 3501 2.2.1";
/// The section with the octets of atoms and quoted strings.
const FORMAL_SYNTAX: &str = "RFC 3501 9";
/// The work of one step of updates, in mailboxes that are examined: some microseconds.
const WORK_OF_UPDATES: usize = 32;
