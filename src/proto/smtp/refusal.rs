//! Replies to commands, refusals, and ends of sessions because of a client's errors.

use std::{borrow::Cow, time::Duration};

use super::{
    command,
    command_table::{CommandPhase, CommandSpec, Verb},
    reply::{self, Reply},
    state::SmtpSession,
};
use crate::proto::{
    Step, buffer::Outbox, event::Event, is_limit_reached, loggable, protocol::Protocol, request::Request,
};

/// The result of an accepted command: its reply, or the request whose response decides.
pub(super) enum CommandOutcome {
    Reply(Reply),
    Request(Request),
}

impl SmtpSession {
    /// Writes the reply to a command, or sends its request to the backend.
    pub(super) fn finish_command(
        &mut self,
        outcome: Result<CommandOutcome, Reply>,
        line: &[u8],
        out: &mut Outbox,
    ) -> Step {
        match outcome {
            Ok(CommandOutcome::Reply(reply)) => {
                reply.write(out);
                Step::Continue
            }
            Ok(CommandOutcome::Request(request)) => Step::Request(request),
            Err(reply) if reply == reply::TOO_MANY_MESSAGES => {
                self.close_with(out, "too many messages", &reply)
            }
            Err(reply) => self.refuse(out, line, &reply),
        }
    }

    /// Writes a refusal and counts it. A client that reaches the error limit is disconnected.
    pub(super) fn refuse(&mut self, out: &mut Outbox, line: &[u8], reply: &Reply) -> Step {
        self.with_citation(reply, line).write(out);
        let what = self.loggable(line);
        let what = String::from_utf8_lossy(what.trim_ascii_end()).into_owned();
        out.push_event(Event::Refused { what, reply: reply.codes() });
        let limits = &self.config.limits;
        self.errors += 1;
        self.unknown_recipients += usize::from(*reply == reply::NO_SUCH_USER);
        if is_limit_reached(self.errors, limits.smtp.hard_error_limit)
            || (self.client.is_none() && is_limit_reached(self.errors, limits.smtp.greeting_error_limit))
            || is_limit_reached(self.unknown_recipients, limits.smtp.unknown_recipient_limit)
        {
            return self.close_with(out, "too many errors", &reply::TOO_MUCH);
        }
        if is_limit_reached(self.errors, limits.smtp.soft_error_limit) {
            Step::Pause(PENALTY)
        } else {
            Step::Continue
        }
    }

    /// The refusal of a command that its row in the table does not allow now. It names the command to send first.
    pub(super) fn out_of_order(&self, rule: &CommandSpec) -> Reply {
        let phase = self.phase();
        let text = match (rule.verb, phase) {
            (_, CommandPhase::Start) => self.say_hello_first(),
            (Verb::Auth, _) if self.user.is_some() => "You are logged in already".into(),
            (Verb::Starttls, _) if self.is_encrypted => "TLS is active already".into(),
            (_, CommandPhase::Chunks) => "End the message with BDAT <octets> LAST, or say RSET first".into(),
            (Verb::Mail, _) => "A message is begun already, say RSET to forget it".into(),
            (_, CommandPhase::Greeted) => "Say MAIL first".into(),
            (Verb::Auth | Verb::Starttls, _) => "Not inside a message, say RSET first".into(),
            _ => return reply::BAD_SEQUENCE,
        };
        reply::BAD_SEQUENCE.with_text(text)
    }

    fn say_hello_first(&self) -> String {
        let hello = self.config.hello();
        // The session before TLS is forgotten (RFC 3207 section 4.2), and some clients do not know it.
        let again = self.is_encrypted && self.config.protocol.policy.starttls;
        if again { format!("Say {hello} again after STARTTLS") } else { format!("Say {hello} first") }
    }

    /// The refusal of a command that this listener lacks. A greeting of the other protocol hears of the right one.
    pub(super) fn not_implemented(&self, rule: &CommandSpec) -> Reply {
        let (here, hello) = (if self.config.is_lmtp() { "LMTP" } else { "SMTP" }, self.config.hello());
        match rule.name {
            "EHLO" | "HELO" | "LHLO" if self.config.is_lmtp() || rule.name == "LHLO" => {
                reply::NOT_IMPLEMENTED.with_text(format!("This is {here}, say {hello}"))
            }
            _ => reply::NOT_IMPLEMENTED,
        }
    }

    /// The part of a line that the log may contain. The line may be a password, or a mistyped AUTH with one.
    /// The log gets a command as far as its words are known, the first word if it may be a command, and nothing from a
    /// client that has begun AUTH.
    fn loggable<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        let (verb, argument) = command::split(line);
        let is_word = (1..=MAX_VERB).contains(&verb.len()) && verb.iter().all(u8::is_ascii_alphabetic);
        match self.config.command(verb) {
            _ if command::is_auth(verb) => b"AUTH".into(),
            Some(_) => match loggable::argument(Protocol::Smtp, verb, argument) {
                Cow::Borrowed(_) => line.into(),
                Cow::Owned(shown) => [verb, b" ", &shown].concat().into(),
            },
            None if is_word && !self.auth_seen => verb.into(),
            None => b"a line".into(),
        }
    }

    pub(super) fn close_with(&mut self, out: &mut Outbox, why: &'static str, reply: &Reply) -> Step {
        self.close_with_at(out, why, reply, b"")
    }

    /// Closes the session because of this line.
    pub(super) fn close_with_at(
        &mut self,
        out: &mut Outbox,
        why: &'static str,
        reply: &Reply,
        line: &[u8],
    ) -> Step {
        self.with_citation(reply, line).write(out);
        out.push_event(Event::Ended { why });
        Step::Close
    }

    pub(super) fn is_over_junk_limit(&mut self) -> bool {
        let over = is_limit_reached(self.junk, self.config.limits.smtp.junk_command_limit);
        self.junk += 1;
        over
    }
}

/// The pause after each error from `soft_error_limit` on.
const PENALTY: Duration = Duration::from_secs(1);
/// Letters of the longest command: STARTTLS. A longer word is not logged.
const MAX_VERB: usize = 8;
