//! The replies to commands that POP3 does not have: HELP, which a person types first, and a mistyped command.

use super::{
    command_table::{COMMANDS, CommandSpec, Persona, Verb},
    reply,
    state::Pop3Session,
};
use crate::{
    near_name::nearest,
    proto::{Step, buffer::Outbox, event::Event},
};

/// The command that is meant by an unknown word. A command of an earlier generation means no other one.
fn meant_by(word: &[u8]) -> Option<&'static str> {
    if ["EXIT", "LOGOUT", "BYE"].iter().any(|end| end.as_bytes().eq_ignore_ascii_case(word)) {
        return Some("QUIT");
    }
    if COMMANDS.iter().any(|rule| rule.is_named(word)) {
        return None;
    }
    let is_spoken = |rule: &&CommandSpec| rule.verb.personas().contains(&Persona::Modern);
    // These two are always refused.
    let is_useful = |rule: &&CommandSpec| !matches!(rule.verb, Verb::Apop | Verb::Rpop);
    let names = COMMANDS.iter().filter(is_spoken).filter(is_useful).map(|rule| rule.name);
    nearest(std::str::from_utf8(word).ok()?, names)
}

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

    /// Refuses an unknown command, and names the one that is meant. The servers of the past did not, so their personas do not. The
    /// reply never repeats the typed word, which may be a password.
    pub(super) fn refuse_unknown(&mut self, word: &[u8], out: &mut Outbox) -> Step {
        let is_modern = self.config.protocol.persona == Persona::Modern;
        let Some(meant) = meant_by(word).filter(|_| is_modern) else {
            return self.refuse(out, "unknown command", reply::UNKNOWN_COMMAND);
        };
        let section = if self.config.pedantic { "RFC 1939 3: " } else { "" };
        let refusal = reply::UNKNOWN_COMMAND_BUT;
        let end = reply::QUESTION_MARK.text(self.language);
        let text = format!("-ERR {section}{} {meant}{end}", refusal.text(self.language));
        out.push_event(Event::Refused { what: "unknown command".into(), reply: refusal.codes() });
        self.count_error(out, refusal, |_, out| out.line(&text))
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
