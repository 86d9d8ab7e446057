//! The servers that a mail program of a user needs to know: one for reading, and one for sending.
//!
//! The table of protocols is here. Another protocol for reading mail is one more line in it.

use std::{fmt, str::FromStr};

/// The listeners for mail programs of users.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailServers {
    /// The listeners that a program should try, in this order.
    pub servers: Vec<MailServer>,
    /// The domains of the users; the first one completes a name. Empty in `restante dev`, where any domain has
    /// mailboxes, and where the server has the name under which the client reached it.
    pub domains: Vec<String>,
}

/// A listener for mail programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailServer {
    /// The protocol that it speaks.
    pub protocol: MailProtocol,
    /// The point at which its connections are encrypted.
    pub encryption: MailEncryption,
    /// The port that programs connect to.
    pub port: u16,
}

/// A protocol of mail programs. Of those for reading, a program should prefer the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MailProtocol {
    /// Reads mail that stays on the server (RFC 9051).
    Imap,
    /// Fetches mail (RFC 1939).
    Pop3,
    /// Sends mail (RFC 6409).
    Smtp,
}

/// The point at which the connections of a mail program are encrypted, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MailEncryption {
    /// Before the first octet (RFC 8314).
    Tls,
    /// With STARTTLS or STLS, before the password.
    StartTls,
    /// Never.
    None,
}

/// The names of a protocol.
struct Names {
    protocol: MailProtocol,
    /// `type` in Mozilla's format; the word of a directive.
    autoconfig: &'static str,
    /// `Type` in Outlook's format.
    autodiscover: &'static str,
    /// The type of an account in Apple's format, if the protocol reads mail.
    account: Option<&'static str>,
}

const PROTOCOLS: &[Names] = &[
    Names {
        protocol: MailProtocol::Imap,
        autoconfig: "imap",
        autodiscover: "IMAP",
        account: Some("EmailTypeIMAP"),
    },
    Names {
        protocol: MailProtocol::Pop3,
        autoconfig: "pop3",
        autodiscover: "POP3",
        account: Some("EmailTypePOP"),
    },
    Names { protocol: MailProtocol::Smtp, autoconfig: "smtp", autodiscover: "SMTP", account: None },
];

const ENCRYPTIONS: &[(MailEncryption, &str)] =
    &[(MailEncryption::Tls, "tls"), (MailEncryption::StartTls, "starttls"), (MailEncryption::None, "none")];

impl MailServers {
    /// The servers for reading mail, the best first.
    pub(super) fn incoming(&self) -> impl Iterator<Item = MailServer> {
        self.servers.iter().copied().filter(|server| server.protocol.reads())
    }

    /// The servers for sending mail, the best first.
    pub(in crate::proto::http) fn outgoing(&self) -> impl Iterator<Item = MailServer> {
        self.servers.iter().copied().filter(|server| !server.protocol.reads())
    }

    /// True if users may have addresses in that domain.
    pub(super) fn serve(&self, domain: &str) -> bool {
        let is_literal = domain.starts_with('[');
        !is_literal && (self.domains.is_empty() || self.domains.iter().any(|ours| ours == domain))
    }

    /// True if mail programs look for one of the domains under that host name.
    pub(in crate::proto::http) fn are_looked_for_at(&self, host: &str) -> bool {
        self.domains.iter().any(|domain| domain == domain_of_host(host))
    }
}

/// The domain of which mail programs make that host name.
pub(super) fn domain_of_host(host: &str) -> &str {
    let stripped = ["autoconfig.", "autodiscover."].into_iter().find_map(|prefix| host.strip_prefix(prefix));
    stripped.unwrap_or(host)
}

impl MailProtocol {
    /// True if programs read mail with the protocol.
    pub fn reads(self) -> bool {
        self.account_type().is_some()
    }

    pub(super) fn autoconfig_name(self) -> &'static str {
        self.names().map_or("", |names| names.autoconfig)
    }

    pub(super) fn autodiscover_name(self) -> &'static str {
        self.names().map_or("", |names| names.autodiscover)
    }

    pub(super) fn account_type(self) -> Option<&'static str> {
        self.names().and_then(|names| names.account)
    }

    fn names(self) -> Option<&'static Names> {
        PROTOCOLS.iter().find(|names| names.protocol == self)
    }
}

/// The words of a directive: `pop3 tls 995`.
impl fmt::Display for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encryption = ENCRYPTIONS.iter().find(|(known, _)| *known == self.encryption);
        let encryption = encryption.map_or("", |(_, word)| word);
        write!(f, "{} {encryption} {}", self.protocol.autoconfig_name(), self.port)
    }
}

impl FromStr for MailServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let parse = || {
            let [protocol, encryption, port] = words[..] else { return None };
            Some(Self {
                protocol: PROTOCOLS.iter().find(|names| names.autoconfig == protocol)?.protocol,
                encryption: ENCRYPTIONS.iter().find(|(_, word)| *word == encryption)?.0,
                port: port.parse().ok()?,
            })
        };
        parse().ok_or_else(|| format!("{text:?} is not a server for mail programs, like \"pop3 tls 995\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_and_encryption_reads_back() {
        for names in PROTOCOLS {
            for (encryption, _) in ENCRYPTIONS {
                let server = MailServer { protocol: names.protocol, encryption: *encryption, port: 995 };
                assert_eq!(server.to_string().parse(), Ok(server));
            }
        }
        for bad in ["", "pop3", "pop3 tls", "pop3 ssl 995", "nntp tls 563", "pop3 tls 99999", "pop3 tls 1 2"]
        {
            assert!(bad.parse::<MailServer>().is_err(), "{bad}");
        }
    }

    #[test]
    fn mail_programs_look_under_three_names_of_a_domain_and_no_other() {
        let servers = MailServers { servers: Vec::new(), domains: vec!["here.test".into()] };
        for host in ["here.test", "autoconfig.here.test", "autodiscover.here.test"] {
            assert!(servers.are_looked_for_at(host), "{host}");
        }
        for host in
            ["", "autoconfig.", "www.here.test", "autoconfig.autoconfig.here.test", "autoconfig.there.test"]
        {
            assert!(!servers.are_looked_for_at(host), "{host}");
        }
        assert!(
            !MailServers::default().are_looked_for_at("autoconfig.here.test"),
            "any domain is not every name"
        );
    }
}
