//! The refusals of a pedantic listener, which name the broken rule by RFC and section.
//!
//! The rule: everything that the grammar of the RFCs does not allow is refused, and every refusal of a
//! client's mistake names the broken section. Verbs in any case are allowed.

use super::{
    command_table::{CommandPhase, CommandSpec, Verb},
    reply::{self, ReplyText},
    state::{Pop3Session, State},
};
use crate::proto::{Step, buffer::Outbox, event::Event};

impl Pop3Session {
    /// The rule that a line breaks by its form alone, before the session interprets it.
    pub(super) fn violated_rule(&self, line: &[u8], rule: Option<&CommandSpec>) -> Option<&'static str> {
        let text = line.strip_suffix(b"\r\n")?;
        let verb = rule.map(|rule| rule.verb);
        let argument = memchr::memchr(b' ', text).map(|at| &text[at + 1..]);
        // A password may contain any octets (RFC 1939 section 7).
        let is_password = verb == Some(Verb::Pass);
        match argument {
            // A longer AUTH response must be sent on a line of its own (RFC 5034 section 4).
            _ if line.len() > MAX_COMMAND => Some("RFC 2449 4: a command line has at most 255 octets"),
            _ if text.starts_with(b" ") => Some("RFC 1939 3: a line begins with the command"),
            Some(b"") if is_password => Some("RFC 1939 7: PASS takes a password"),
            _ if is_password => None,
            _ if text.iter().any(u8::is_ascii_control) => Some("RFC 1939 3: commands are printable"),
            // A name in UTF-8 would need `USER` behind `UTF8` in CAPA (RFC 6856 section 2.2).
            _ if !text.is_ascii() => Some("RFC 1939 3: commands are ASCII"),
            Some(argument) if argument.starts_with(b" ") || argument.windows(2).any(|pair| pair == b"  ") => {
                Some("RFC 1939 3: one blank between the words of a command")
            }
            Some(argument) if argument.is_empty() || argument.ends_with(b" ") => {
                Some("RFC 1939 3: no blank before the line end")
            }
            None if verb == Some(Verb::Auth) => Some("RFC 5034 4: AUTH names a mechanism"),
            Some(number) if is_numbered(verb) && !number.iter().all(u8::is_ascii_digit) => {
                Some("RFC 1939 5: a message number is decimal digits")
            }
            Some(name) if verb == Some(Verb::User) && name.contains(&b' ') => {
                Some("RFC 1939 7: USER takes one name, without blanks")
            }
            Some(tag) if verb == Some(Verb::Lang) && !is_language_range(tag) => {
                Some("RFC 6856 3.1: LANG takes one tag of a language, like fr or fr-CA, or *")
            }
            _ => None,
        }
    }

    /// Refuses a line that breaks the rule.
    pub(super) fn refuse_violation(&mut self, out: &mut Outbox, rule: &str) -> Step {
        out.push_event(Event::Refused { what: "a broken rule".into(), reply: "-ERR".into() });
        self.count_error(out, reply::BAD_LINE, |_, out| out.line(&format!("-ERR {rule}")))
    }

    /// Writes a refusal. On a pedantic listener it names the broken rule.
    pub(super) fn write_refusal(&self, what: &str, text: ReplyText, out: &mut Outbox) {
        match self.citation(what, text) {
            Some(section) => text.write_err_citing(section, self.language, out),
            None => text.write_err(self.language, out),
        }
    }

    /// The section for a refusal, if its reason is a mistake of the client.
    fn citation(&self, what: &str, text: ReplyText) -> Option<&'static str> {
        if !self.config.pedantic {
            return None;
        }
        let not_now = || match (what, self.phase()) {
            ("PASS", CommandPhase::Authorization) => "RFC 1939 7",
            (_, CommandPhase::Authorization) => "RFC 1939 4",
            (_, CommandPhase::Transaction) => "RFC 1939 5",
        };
        let cited = CITED.iter().find(|(of, _)| *of == text).map(|(_, section)| *section);
        let out_of_order = [reply::LOG_IN_FIRST, reply::USER_FIRST, reply::LOGGED_IN_ALREADY];
        if out_of_order.contains(&text) { Some(not_now()) } else { cited }
    }

    /// Forgets the user name unless PASS follows USER directly (RFC 1939 section 7).
    pub(super) fn clears_user(&mut self, verb: Verb) {
        if self.config.pedantic
            && verb != Verb::Pass
            && let State::Authorization { user } = &mut self.state
        {
            *user = None;
        }
    }
}

/// An attacker may have smuggled in the octets after a bare LF, so the session reads no more of them.
pub(super) fn bare_line_feed(out: &mut Outbox) -> Step {
    out.line("-ERR RFC 1939 3: a line ends in CR LF");
    out.push_event(Event::Ended { why: "bare LF" });
    Step::Close
}

/// Whether a text is a range of languages (RFC 4647 section 2.1).
fn is_language_range(text: &[u8]) -> bool {
    let is_part = |part: &[u8]| (1..=8).contains(&part.len()) && part.iter().all(u8::is_ascii_alphanumeric);
    let mut parts = text.split(|&b| b == b'-');
    let begins =
        parts.next().is_some_and(|first| is_part(first) && first.iter().all(u8::is_ascii_alphabetic));
    text == b"*" || begins && parts.all(is_part)
}

fn is_numbered(verb: Option<Verb>) -> bool {
    matches!(verb, Some(Verb::List | Verb::Uidl | Verb::Retr | Verb::Dele))
}

/// The section for each refusal.
const CITED: &[(ReplyText, &str)] = &[
    (reply::UNKNOWN_COMMAND, "RFC 1939 3"),
    (reply::LINE_TOO_LONG, "RFC 2449 4"),
    (reply::BAD_LINE, "RFC 1939 3"),
    (reply::ALREADY_DELETED, "RFC 1939 5"),
    (reply::NO_SUCH_MECHANISM, "RFC 5034 4"),
    (reply::BAD_RESPONSE, "RFC 5034 4"),
    (reply::TLS_ALREADY, "RFC 2595 4"),
    (reply::PIPELINED_AFTER_STLS, "RFC 2595 4"),
    (reply::NOT_TLS, "RFC 2595 4"),
    (reply::NOT_POP3, "RFC 1939 3"),
];

/// The longest command line, its line end included, in octets (RFC 2449 section 4).
const MAX_COMMAND: usize = 255;
