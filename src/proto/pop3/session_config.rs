//! The POP3 command table: for each command its phases, its generations of the protocol, and its RFC section.
//! Refusals, CAPA and the personas of older protocols all read it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    limits::{Limits, Span, text_in_configuration},
    proto::{dot::LineEndings, section, syntax::Syntax},
};

/// The configuration shared by a listener's sessions.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The server's name in the banner.
    pub hostname: String,
    /// The accepted line ends. Lenient listeners also accept terminal input.
    pub line_endings: LineEndings,
    /// The accepted syntax of commands, except for older personas: see [`SessionConfig::syntax`].
    pub syntax: Syntax,
    /// The generation of the protocol.
    pub persona: Persona,
    /// The time for which messages may stay. `None` keeps them, and CAPA does not announce EXPIRE.
    pub expire: Option<Expire>,
    /// True if STLS is offered.
    pub stls: bool,
    /// True if passwords are accepted in clear text too: on loopback, or if the operator enables it.
    pub plaintext_auth: bool,
    /// The limits.
    pub limits: Limits,
    /// True if every rule is enforced to the letter, and each refusal names the broken rule.
    pub pedantic: bool,
}

/// The time for which messages may stay. CAPA announces it, and QUIT enforces it (RFC 2449 section 6.7). In a
/// configuration: "never", "0" or "30 days".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expire {
    /// Until the client deletes them.
    Never,
    /// Until they have been retrieved with RETR.
    Retrieved,
    /// This number of days after delivery, even if they have not been retrieved.
    Days(u32),
}

impl FromStr for Expire {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let days = |span: Span| {
            let secs = span.0.as_secs();
            let whole = span == Span::secs(secs) && secs.is_multiple_of(DAY);
            u32::try_from(secs / DAY).ok().filter(|days| whole && *days > 0)
        };
        match text {
            "never" => Ok(Self::Never),
            "0" => Ok(Self::Retrieved),
            _ => text.parse().ok().and_then(days).map(Self::Days).ok_or_else(|| {
                format!("{text:?} is not a time to keep mail: write \"never\", \"0\" (until it is fetched) or whole days like \"30 days\"")
            }),
        }
    }
}

impl fmt::Display for Expire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Retrieved => f.write_str("0"),
            Self::Days(days) => write!(f, "{days} days"),
        }
    }
}

text_in_configuration!(Expire, "\"never\", \"0\" or days in quotes, like \"30 days\"");

/// Seconds in a day.
pub(super) const DAY: u64 = 24 * 3600;

/// A generation of POP3, which determines the commands and extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Persona {
    /// 1988, with LAST.
    Rfc1081,
    /// 1993, the last one with LAST.
    Rfc1460,
    /// 1996, with UIDL.
    Rfc1939,
    /// The current protocol, with all extensions of this server.
    #[default]
    Modern,
}

/// The phase of a session (RFC 1939 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandPhase {
    /// Before the login.
    Authorization,
    /// After the login.
    Transaction,
}

/// The commands of POP3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is a word of the RFCs, and its row in the table explains it")]
pub enum Verb {
    User,
    Pass,
    Stat,
    List,
    Retr,
    Dele,
    Noop,
    Rset,
    Quit,
    Top,
    Uidl,
    Last,
    Capa,
    Utf8,
    Lang,
    Auth,
    Apop,
    Rpop,
    Stls,
}

/// One row of the command table.
#[derive(Debug)]
pub struct CommandSpec {
    /// The command.
    pub verb: Verb,
    /// Its name on the wire.
    pub name: &'static str,
    /// The syntax, for refusals and for people.
    pub syntax: &'static str,
    /// The purpose of the command.
    pub meaning: &'static str,
    /// The RFC sections that define it.
    pub rfc: &'static str,
    /// The phases in which it is allowed.
    pub allowed: &'static [CommandPhase],
    /// The first and last persona that have it.
    pub personas: (Persona, Persona),
}

impl SessionConfig {
    /// The accepted syntax of commands. A persona of an older protocol keeps the syntax of its time, unless its line
    /// ends are lenient too.
    pub fn syntax(&self) -> Syntax {
        let of_its_time = self.persona != Persona::Modern && self.line_endings != LineEndings::Lenient;
        if self.pedantic || of_its_time { Syntax::Exact } else { self.syntax }
    }

    /// The row of a command, if this persona has it. `name` may be in any case.
    pub fn command(&self, name: &[u8]) -> Option<&'static CommandSpec> {
        COMMANDS.iter().find(|rule| {
            let (first, last) = rule.personas;
            rule.name.as_bytes().eq_ignore_ascii_case(name) && (first..=last).contains(&self.persona)
        })
    }
}

impl CommandSpec {
    /// The first section that defines the command, abbreviated: `RFC 1939 5`.
    pub fn section(&self) -> String {
        section(self.rfc)
    }
}

use CommandPhase::{Authorization, Transaction};
use Persona::{Modern, Rfc1081, Rfc1460, Rfc1939};

const ALL_PERSONAS: (Persona, Persona) = (Rfc1081, Modern);
const BEFORE_LOGIN: &[CommandPhase] = &[Authorization];
const AFTER_LOGIN: &[CommandPhase] = &[Transaction];
const ANY_PHASE: &[CommandPhase] = &[Authorization, Transaction];

const fn row(
    verb: Verb,
    name: &'static str,
    syntax: &'static str,
    meaning: &'static str,
    rfc: &'static str,
    allowed: &'static [CommandPhase],
    spoken: (Persona, Persona),
) -> CommandSpec {
    CommandSpec { verb, name, syntax, meaning, rfc, allowed, personas: spoken }
}

/// The command table.
#[rustfmt::skip]
pub const COMMANDS: &[CommandSpec] = &[
    row(Verb::User, "USER", "USER name", "Says who wants the mail", "RFC 1939 section 7", BEFORE_LOGIN, ALL_PERSONAS),
    row(Verb::Pass, "PASS", "PASS password", "Opens and locks the mailbox", "RFC 1939 section 7", BEFORE_LOGIN, ALL_PERSONAS),
    row(Verb::Stat, "STAT", "STAT", "Counts messages and octets", "RFC 1939 section 5", AFTER_LOGIN, ALL_PERSONAS),
    row(Verb::List, "LIST", "LIST [message]", "Tells the octets of messages", "RFC 1939 section 5", AFTER_LOGIN, ALL_PERSONAS),
    row(Verb::Retr, "RETR", "RETR message", "Sends a message", "RFC 1939 section 5", AFTER_LOGIN, ALL_PERSONAS),
    row(Verb::Dele, "DELE", "DELE message", "Marks a message to be deleted at QUIT", "RFC 1939 section 5", AFTER_LOGIN, ALL_PERSONAS),
    row(Verb::Noop, "NOOP", "NOOP", "Does nothing", "RFC 1939 section 5", AFTER_LOGIN, ALL_PERSONAS),
    row(Verb::Last, "LAST", "LAST", "Tells the highest message number accessed", "RFC 1460 section 4", AFTER_LOGIN, (Rfc1081, Rfc1460)),
    row(Verb::Rset, "RSET", "RSET", "Takes all deletion marks back", "RFC 1939 section 5", AFTER_LOGIN, ALL_PERSONAS),
    row(Verb::Quit, "QUIT", "QUIT", "Deletes what is marked and ends", "RFC 1939 section 6", ANY_PHASE, ALL_PERSONAS),
    row(Verb::Top, "TOP", "TOP message lines", "Sends the header and some lines of a message", "RFC 1939 section 7", AFTER_LOGIN, ALL_PERSONAS),
    row(Verb::Uidl, "UIDL", "UIDL [message]", "Tells the unique ids of messages", "RFC 1939 section 7", AFTER_LOGIN, (Rfc1939, Modern)),
    row(Verb::Capa, "CAPA", "CAPA", "Tells what this server can do", "RFC 2449 section 5", ANY_PHASE, (Modern, Modern)),
    row(Verb::Stls, "STLS", "STLS", "Begins TLS", "RFC 2595 section 4", BEFORE_LOGIN, (Modern, Modern)),
    row(Verb::Utf8, "UTF8", "UTF8", "Asks for messages in UTF-8", "RFC 6856 section 2", BEFORE_LOGIN, (Modern, Modern)),
    row(Verb::Lang, "LANG", "LANG [tag]", "Chooses the language of the replies", "RFC 6856 section 3", ANY_PHASE, (Modern, Modern)),
    row(Verb::Auth, "AUTH", "AUTH [mechanism [response in base64]]", "Opens and locks the mailbox; alone it lists the mechanisms", "RFC 5034 section 4", BEFORE_LOGIN, (Modern, Modern)),
    row(Verb::Apop, "APOP", "APOP name digest", "Refused: it needs the password in clear on the disk", "RFC 1939 section 7", BEFORE_LOGIN, (Rfc1460, Modern)),
    row(Verb::Rpop, "RPOP", "RPOP name", "Refused: it trusts the client's word", "RFC 1081", BEFORE_LOGIN, ALL_PERSONAS),
];

/// The capabilities that CAPA may list: keyword, meaning and RFC section.
pub const CAPABILITIES: &[(&str, &str, &str)] = &[
    ("USER", "USER and PASS are there, now", "RFC 2449 section 6.3"),
    ("SASL", "AUTH is there, by these mechanisms", "RFC 5034 section 3"),
    ("TOP", "TOP is there", "RFC 2449 section 6.1"),
    ("UIDL", "UIDL is there", "RFC 2449 section 6.8"),
    ("PIPELINING", "commands may come in groups", "RFC 2449 section 6.6"),
    ("RESP-CODES", "refusals may have a code in brackets", "RFC 2449 section 6.4"),
    ("AUTH-RESP-CODE", "[AUTH] tells that name or password are the reason", "RFC 3206"),
    ("UTF8", "messages may be asked for in UTF-8", "RFC 6856 section 2"),
    ("LANG", "replies come in several languages", "RFC 6856 section 3"),
    ("STLS", "TLS may begin", "RFC 2595 section 4"),
    ("EXPIRE", "how long messages may stay", "RFC 2449 section 6.7"),
    ("LOGIN-DELAY", "seconds between two logins", "RFC 2449 section 6.5"),
    ("IMPLEMENTATION", "which server this is", "RFC 2449 section 6.9"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_keep_mail_reads_back_what_it_prints() {
        for (text, expire) in [
            ("never", Expire::Never),
            ("0", Expire::Retrieved),
            ("1 days", Expire::Days(1)),
            ("30 days", Expire::Days(30)),
        ] {
            assert_eq!(text.parse(), Ok(expire));
            assert_eq!(expire.to_string(), text);
        }
        assert_eq!("72h".parse(), Ok(Expire::Days(3)));
        for bad in
            ["", "always", "0s", "0 days", "12h", "1 day 1s", "1 month", "-1", "30", "999999999999 days"]
        {
            assert!(bad.parse::<Expire>().unwrap_err().contains("30 days"), "{bad}");
        }
    }

    #[test]
    fn each_persona_speaks_as_its_time_did() {
        let spoken = |persona| {
            let spoken = |rule: &&CommandSpec| (rule.personas.0..=rule.personas.1).contains(&persona);
            COMMANDS.iter().filter(spoken).map(|rule| rule.name).collect::<Vec<_>>().join(" ")
        };
        const FIRST: &str = "USER PASS STAT LIST RETR DELE NOOP";
        assert_eq!(spoken(Rfc1081), format!("{FIRST} LAST RSET QUIT TOP RPOP"));
        assert_eq!(spoken(Rfc1460), format!("{FIRST} LAST RSET QUIT TOP APOP RPOP"));
        assert_eq!(spoken(Rfc1939), format!("{FIRST} RSET QUIT TOP UIDL APOP RPOP"));
        assert_eq!(spoken(Modern), format!("{FIRST} RSET QUIT TOP UIDL CAPA STLS UTF8 LANG AUTH APOP RPOP"));
    }
}
