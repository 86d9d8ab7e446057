//! Replies to commands, refusals, and ends of sessions because of a client's errors.

use std::time::Duration;

use super::{
    command,
    reply::{self, Reply},
    state::SmtpSession,
};
use crate::proto::{Step, buffer::Outbox, event::Event, is_limit_reached, request::Request};

pub(super) enum CommandOutcome {
    Reply(Reply),
    Ask(Request),
}

impl SmtpSession {
    /// Writes the result of a command.
    pub(super) fn say(&mut self, said: Result<CommandOutcome, Reply>, line: &[u8], out: &mut Outbox) -> Step {
        match said {
            Ok(CommandOutcome::Reply(reply)) => {
                reply.write(out);
                Step::Continue
            }
            Ok(CommandOutcome::Ask(ask)) => Step::Request(ask),
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

    /// The part of a line that the log may contain. The line may be a password, or a mistyped AUTH with one.
    /// The log gets the whole of a command without a password, the first word if it may be a command, and
    /// nothing from a client that has begun AUTH.
    fn loggable<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        let (verb, _) = command::split(line);
        let is_word = (1..=MAX_VERB).contains(&verb.len()) && verb.iter().all(u8::is_ascii_alphabetic);
        match self.config.command(verb) {
            _ if command::is_auth(verb) => b"AUTH",
            Some(_) => line,
            None if is_word && !self.auth_seen => verb,
            None => b"a line",
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

/// The delay for each error from the tenth on.
const PENALTY: Duration = Duration::from_secs(1);
/// Letters of the longest command: STARTTLS. A longer word is not logged.
const MAX_VERB: usize = 8;
