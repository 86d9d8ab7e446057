//! The reply to HELP, which a person types first and which POP3 does not have.

use super::{
    command_table::{COMMANDS, CommandSpec, Verb},
    reply,
    state::Pop3Session,
};
use crate::proto::{Step, buffer::Outbox, event::Event};

impl Pop3Session {
    /// Refuses HELP, as any unknown command, and names the commands that are possible now.
    pub(super) fn refuse_help(&mut self, out: &mut Outbox) -> Step {
        let section = if self.config.pedantic { "RFC 1939 3: " } else { "" };
        let possible: Vec<&str> =
            COMMANDS.iter().filter(|rule| self.is_possible(rule)).map(|rule| rule.syntax).collect();
        let text = format!("-ERR {section}{} {}", reply::NO_HELP.text(self.language), possible.join(", "));
        out.push_event(Event::Refused { what: "unknown command".into(), reply: reply::NO_HELP.codes() });
        self.count_error(out, reply::NO_HELP, |_, out| out.line(&text))
    }

    fn is_possible(&self, rule: &CommandSpec) -> bool {
        let is_offered = match rule.verb {
            Verb::User | Verb::Pass => self.passwords_allowed(),
            Verb::Stls => self.config.protocol.stls && !self.is_encrypted,
            // Two are always refused, and no person types the responses of AUTH.
            Verb::Apop | Verb::Rpop | Verb::Auth => false,
            _ => true,
        };
        let is_spoken = rule.verb.personas().contains(&self.config.protocol.persona);
        is_offered && is_spoken && rule.allowed.contains(&self.phase())
    }
}
