//! The POP3 command table: for each command its phases, its generations of the protocol, and its RFC section.
//! Refusals, CAPA and the personas of older protocols all read it.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::proto::command_table::{self, row};

/// One row of the table.
pub type CommandSpec = command_table::CommandSpec<Verb, CommandPhase>;

/// A generation of POP3, which determines the commands and extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Persona {
    /// RFC 1081 of 1988, with LAST.
    Rfc1081,
    /// 1993, the last one with LAST.
    Rfc1460,
    /// RFC 1939 of 1996, with UIDL and without LAST.
    Rfc1939,
    /// The current protocol, with all extensions of this server.
    #[default]
    Modern,
}

/// The phase of a session (RFC 1939 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandPhase {
    /// AUTHORIZATION: before the login.
    Authorization,
    /// TRANSACTION: after the login.
    Transaction,
}

/// The commands of POP3, as values.
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

impl Verb {
    /// The generations of the protocol that have the command.
    pub fn personas(self) -> RangeInclusive<Persona> {
        match self {
            Self::Last => Rfc1081..=Rfc1460,
            Self::Apop => Rfc1460..=Modern,
            Self::Uidl => Rfc1939..=Modern,
            Self::Capa | Self::Stls | Self::Utf8 | Self::Lang | Self::Auth => Modern..=Modern,
            _ => Rfc1081..=Modern,
        }
    }
}

use CommandPhase::{Authorization, Transaction};
use Persona::{Modern, Rfc1081, Rfc1460, Rfc1939};

const BEFORE_LOGIN: &[CommandPhase] = &[Authorization];
const AFTER_LOGIN: &[CommandPhase] = &[Transaction];
const ANY_PHASE: &[CommandPhase] = &[Authorization, Transaction];

/// The commands of all generations.
#[rustfmt::skip]
pub const COMMANDS: &[CommandSpec] = &[
    row(Verb::User, "USER", "USER name", "Says who wants the mail", "RFC 1939 section 7", BEFORE_LOGIN),
    row(Verb::Pass, "PASS", "PASS password", "Opens and locks the mailbox", "RFC 1939 section 7", BEFORE_LOGIN),
    row(Verb::Stat, "STAT", "STAT", "Counts messages and octets", "RFC 1939 section 5", AFTER_LOGIN),
    row(Verb::List, "LIST", "LIST [message]", "Tells the octets of messages", "RFC 1939 section 5", AFTER_LOGIN),
    row(Verb::Retr, "RETR", "RETR message", "Sends a message", "RFC 1939 section 5", AFTER_LOGIN),
    row(Verb::Dele, "DELE", "DELE message", "Marks a message to be deleted at QUIT", "RFC 1939 section 5", AFTER_LOGIN),
    row(Verb::Noop, "NOOP", "NOOP", "Does nothing", "RFC 1939 section 5", AFTER_LOGIN),
    row(Verb::Last, "LAST", "LAST", "Tells the highest message number accessed", "RFC 1460 section 4", AFTER_LOGIN),
    row(Verb::Rset, "RSET", "RSET", "Takes all deletion marks back", "RFC 1939 section 5", AFTER_LOGIN),
    row(Verb::Quit, "QUIT", "QUIT", "Deletes what is marked and ends", "RFC 1939 section 6", ANY_PHASE),
    row(Verb::Top, "TOP", "TOP message lines", "Sends the header and some lines of a message", "RFC 1939 section 7", AFTER_LOGIN),
    row(Verb::Uidl, "UIDL", "UIDL [message]", "Tells the unique ids of messages", "RFC 1939 section 7", AFTER_LOGIN),
    row(Verb::Capa, "CAPA", "CAPA", "Tells what this server can do", "RFC 2449 section 5", ANY_PHASE),
    row(Verb::Stls, "STLS", "STLS", "Begins TLS", "RFC 2595 section 4", BEFORE_LOGIN),
    row(Verb::Utf8, "UTF8", "UTF8", "Asks for messages in UTF-8", "RFC 6856 section 2", BEFORE_LOGIN),
    row(Verb::Lang, "LANG", "LANG [tag]", "Chooses the language of the replies", "RFC 6856 section 3", ANY_PHASE),
    row(Verb::Auth, "AUTH", "AUTH [mechanism [response in base64]]", "Opens and locks the mailbox; alone it lists the mechanisms", "RFC 5034 section 4", BEFORE_LOGIN),
    row(Verb::Apop, "APOP", "APOP name digest", "Refused: it needs the password in clear on the disk", "RFC 1939 section 7", BEFORE_LOGIN),
    row(Verb::Rpop, "RPOP", "RPOP name", "Refused: it trusts the client's word", "RFC 1081", BEFORE_LOGIN),
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
    fn each_persona_speaks_as_its_time_did() {
        let spoken = |persona| {
            let spoken = |rule: &&CommandSpec| rule.verb.personas().contains(&persona);
            COMMANDS.iter().filter(spoken).map(|rule| rule.name).collect::<Vec<_>>().join(" ")
        };
        const FIRST: &str = "USER PASS STAT LIST RETR DELE NOOP";
        assert_eq!(spoken(Rfc1081), format!("{FIRST} LAST RSET QUIT TOP RPOP"));
        assert_eq!(spoken(Rfc1460), format!("{FIRST} LAST RSET QUIT TOP APOP RPOP"));
        assert_eq!(spoken(Rfc1939), format!("{FIRST} RSET QUIT TOP UIDL APOP RPOP"));
        assert_eq!(spoken(Modern), format!("{FIRST} RSET QUIT TOP UIDL CAPA STLS UTF8 LANG AUTH APOP RPOP"));
    }
}
