//! The configuration of SMTP and LMTP sessions: the purpose of their listener, the permissions of its clients, and the
//! commands that follow from them.

use serde::{Deserialize, Serialize};

use super::command_table::{COMMANDS, CommandSpec, UNIMPLEMENTED, Verb};
use crate::proto::session_config::{self, ProtocolConfig};

/// The configuration that the sessions of a listener share.
pub type SessionConfig = session_config::SessionConfig<SmtpConfig>;

/// The settings that only SMTP and LMTP have.
#[derive(Debug, Clone, Copy)]
pub struct SmtpConfig {
    /// The generation of the protocol.
    pub persona: Persona,
    /// The permissions of the listener's clients.
    pub policy: Policy,
}

impl ProtocolConfig for SmtpConfig {
    fn is_modern(&self) -> bool {
        self.persona == Persona::Modern
    }
}

/// The permissions of the clients of a listener, or of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// The purpose of the listener.
    pub kind: Kind,
    /// When users may log in.
    pub auth: AuthPolicy,
    /// True if STARTTLS works, because there is a certificate.
    pub starttls: bool,
    /// True if the client is trusted by its address, and may send without a login on a listener that requires
    /// one.
    pub trusted: bool,
}

/// The purpose of a listener. No listener relays: recipients are always local.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Receives mail from other servers.
    #[default]
    Smtp,
    /// Receives mail from users, who must log in (RFC 6409).
    Submission,
    /// Receives mail from a trusted server, which needs a reply for each recipient (LMTP, RFC 2033).
    Lmtp,
}

/// The connections on which clients may use AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthPolicy {
    /// None: AUTH is not announced.
    #[default]
    Off,
    /// Those under TLS.
    UnderTls,
    /// In clear text too: on loopback, or if the operator enables it.
    InClear,
}

/// A generation of SMTP, which determines the commands and extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Persona {
    /// The current protocol, with all extensions of this server.
    #[default]
    Modern,
    /// SMTP as of 1982: EHLO is not implemented.
    Rfc821,
}

impl SessionConfig {
    /// The row of a command. A known command that this listener lacks gets a row with [`Verb::Unimplemented`].
    /// `name` may be in any case.
    pub fn command(&self, name: &[u8]) -> Option<&'static CommandSpec> {
        let named = |rule: &&CommandSpec| rule.is_named(name);
        let here = COMMANDS.iter().find(named).filter(|rule| self.has(rule.verb));
        here.or_else(|| UNIMPLEMENTED.iter().find(named))
    }

    /// True if the listener speaks LMTP, with a reply for every recipient.
    pub fn is_lmtp(&self) -> bool {
        self.protocol.policy.kind == Kind::Lmtp
    }

    /// The command that a session begins with.
    pub fn hello(&self) -> &'static str {
        match self.protocol.persona {
            _ if self.is_lmtp() => "LHLO",
            Persona::Modern => "EHLO",
            Persona::Rfc821 => "HELO",
        }
    }

    fn has(&self, verb: Verb) -> bool {
        let modern = self.protocol.is_modern();
        match verb {
            Verb::Ehlo => modern && !self.is_lmtp(),
            Verb::Helo => !self.is_lmtp(),
            Verb::Lhlo => self.is_lmtp(),
            Verb::Bdat => modern,
            Verb::Auth => modern && self.protocol.policy.auth != AuthPolicy::Off,
            Verb::Starttls => modern && self.protocol.policy.starttls,
            _ => true,
        }
    }

    /// The text of HELP without an argument.
    pub fn overview(&self) -> String {
        let here = COMMANDS.iter().filter_map(|rule| self.command(rule.name.as_bytes()));
        let names: Vec<&str> =
            here.filter(|rule| rule.verb != Verb::Unimplemented).map(|rule| rule.name).collect();
        format!("Commands: {}\nHELP <command> tells its syntax and where it is ruled", names.join(" "))
    }
}
