//! The configuration of POP3 sessions: the generation of the protocol, the time that mail may stay, and the commands that
//! follow from them.

use std::{fmt, str::FromStr};

use super::command_table::{COMMANDS, CommandSpec, Persona};
use crate::{
    limits::{Limits, Span, text_in_configuration},
    proto::{dot::LineEndings, syntax::Syntax},
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

impl SessionConfig {
    /// The accepted syntax of commands. A persona of an older protocol keeps the syntax of its time, unless its line
    /// ends are lenient too.
    pub fn syntax(&self) -> Syntax {
        let of_its_time = self.persona != Persona::Modern && self.line_endings != LineEndings::Lenient;
        if self.pedantic || of_its_time { Syntax::Exact } else { self.syntax }
    }

    /// The row of a command, if this persona has it. `name` may be in any case.
    pub fn command(&self, name: &[u8]) -> Option<&'static CommandSpec> {
        COMMANDS.iter().find(|rule| rule.is_named(name) && rule.verb.personas().contains(&self.persona))
    }
}

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
}
