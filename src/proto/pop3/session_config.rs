//! The configuration of POP3 sessions: the generation of the protocol, the time that mail may stay, and the commands that
//! follow from them.

use std::{fmt, str::FromStr};

use super::command_table::{COMMANDS, CommandSpec, Persona};
use crate::{
    limits::{Span, text_in_configuration},
    printable::counted,
    proto::session_config::{self, ProtocolConfig},
};

/// The configuration that the sessions of a listener share.
pub type SessionConfig = session_config::SessionConfig<Pop3Config>;

/// The settings that only POP3 has.
#[derive(Debug, Clone, Copy)]
pub struct Pop3Config {
    /// The generation of the protocol.
    pub persona: Persona,
    /// The time for which messages may stay. `None` keeps them, and CAPA does not announce EXPIRE.
    pub expire: Option<Expire>,
    /// True if STLS is offered.
    pub stls: bool,
    /// True if passwords are accepted in clear text too: on loopback, or if the operator enables it.
    pub plaintext_auth: bool,
}

impl ProtocolConfig for Pop3Config {
    fn is_modern(&self) -> bool {
        self.persona == Persona::Modern
    }
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
            Self::Days(days) => f.write_str(&counted(days, "day")),
        }
    }
}

text_in_configuration!(Expire, "\"never\", \"0\" or days in quotes, like \"30 days\"");

/// Seconds in a day.
pub(super) const DAY: u64 = 24 * 3600;

impl SessionConfig {
    /// The row of a command, if this persona has it. `name` may be in any case.
    pub fn command(&self, name: &[u8]) -> Option<&'static CommandSpec> {
        COMMANDS
            .iter()
            .find(|rule| rule.is_named(name) && rule.verb.personas().contains(&self.protocol.persona))
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
            ("1 day", Expire::Days(1)),
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
