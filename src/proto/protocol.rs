//! The protocols of this server, each as one value: its name, its replies for connections without a session,
//! and its vocabulary.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{http, imap, pop3, smtp, vocabulary::Vocabulary};

/// A protocol that listeners speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Receives mail (RFC 5321), also as submission.
    Smtp,
    /// Receives mail, with a reply for every recipient (RFC 2033).
    Lmtp,
    /// Serves the mail of one mailbox (RFC 1939).
    Pop3,
    /// Serves mail to browsers and test programs (RFC 9112).
    Http,
    /// Serves the mail of all folders to several clients at once (RFC 3501).
    Imap,
}

impl Protocol {
    /// All protocols, for tests and searches by name.
    pub const ALL: [Self; 5] = [Self::Smtp, Self::Lmtp, Self::Pop3, Self::Http, Self::Imap];

    /// The name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Lmtp => "lmtp",
            Self::Pop3 => "pop3",
            Self::Http => "http",
            Self::Imap => "imap",
        }
    }

    /// The word in the directive `= protocol` of a dialogue or transcript. LMTP counts as a kind of SMTP
    /// there.
    pub const fn directive(self) -> &'static str {
        match self {
            Self::Smtp | Self::Lmtp => "smtp",
            Self::Pop3 => "pop3",
            Self::Http => "http",
            Self::Imap => "imap",
        }
    }

    /// The protocol that a directive names.
    pub fn of_directive(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.directive() == word)
    }

    /// The last line for a client whose session has panicked.
    pub fn internal_error(self) -> String {
        match self {
            Self::Smtp | Self::Lmtp => smtp::reply::INTERNAL.line(),
            Self::Pop3 => pop3::reply::INTERNAL.line(),
            Self::Http => http::internal_error(),
            Self::Imap => imap::reply::INTERNAL.bye_line(),
        }
    }

    /// The only line for a client whose connection exceeds the limit.
    pub fn too_many_connections(self) -> String {
        match self {
            Self::Smtp | Self::Lmtp => smtp::reply::TOO_MANY_CONNECTIONS.line(),
            Self::Pop3 => pop3::reply::TOO_MANY_CONNECTIONS.line(),
            Self::Http => http::too_many_connections(),
            Self::Imap => imap::reply::TOO_MANY_CONNECTIONS.bye_line(),
        }
    }

    /// The meaning of its commands and replies.
    pub const fn vocabulary(self) -> &'static Vocabulary {
        match self {
            Self::Smtp | Self::Lmtp => &smtp::VOCABULARY,
            Self::Pop3 => &pop3::VOCABULARY,
            Self::Http => &http::VOCABULARY,
            Self::Imap => &imap::VOCABULARY,
        }
    }
}

/// The services of listeners: a protocol, its access rules, and whether TLS comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Receives mail from other servers, without logins.
    Smtp,
    /// Receives mail from users, who must log in (RFC 6409).
    Submission,
    /// Submission over TLS from the first octet (RFC 8314).
    #[serde(alias = "smtps")]
    Submissions,
    /// Receives mail from a trusted server, with one reply for each recipient (RFC 2033).
    Lmtp,
    /// Serves mail to users, who log in.
    Pop3,
    /// POP3 over TLS from the first octet (RFC 8314).
    Pop3s,
    /// The web API, for users who log in.
    Http,
    /// The web API over TLS from the first octet (RFC 9110 section 4.2.2).
    Https,
    /// Serves the mail of all folders to users, who log in.
    Imap,
    /// IMAP over TLS from the first octet (RFC 8314).
    Imaps,
}

impl Service {
    /// All services, each at the position of its number.
    pub const ALL: [Self; 10] = [
        Self::Smtp,
        Self::Submission,
        Self::Submissions,
        Self::Lmtp,
        Self::Pop3,
        Self::Pop3s,
        Self::Http,
        Self::Https,
        Self::Imap,
        Self::Imaps,
    ];

    /// The name in the configuration, the log, the metrics and the ports file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Submissions => "submissions",
            Self::Lmtp => "lmtp",
            Self::Pop3 => "pop3",
            Self::Pop3s => "pop3s",
            Self::Http => "http",
            Self::Https => "https",
            Self::Imap => "imap",
            Self::Imaps => "imaps",
        }
    }

    /// The protocol of the service.
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Smtp | Self::Submission | Self::Submissions => Protocol::Smtp,
            Self::Lmtp => Protocol::Lmtp,
            Self::Pop3 | Self::Pop3s => Protocol::Pop3,
            Self::Http | Self::Https => Protocol::Http,
            Self::Imap | Self::Imaps => Protocol::Imap,
        }
    }

    /// The service for the same users that does not begin with TLS. A service without implicit TLS returns
    /// itself.
    pub const fn without_tls(self) -> Self {
        match self {
            Self::Submissions => Self::Submission,
            Self::Pop3s => Self::Pop3,
            Self::Https => Self::Http,
            Self::Imaps => Self::Imap,
            Self::Smtp | Self::Submission | Self::Lmtp | Self::Pop3 | Self::Http | Self::Imap => self,
        }
    }

    /// The port that the service has by convention (RFC 8314 section 7, RFC 6409), if clients of other machines use one.
    pub const fn standard_port(self) -> Option<u16> {
        match self {
            Self::Smtp => Some(25),
            Self::Submission => Some(587),
            Self::Submissions => Some(465),
            Self::Lmtp => None,
            Self::Pop3 => Some(110),
            Self::Pop3s => Some(995),
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Imap => Some(143),
            Self::Imaps => Some(993),
        }
    }

    /// True if TLS comes before the first octet of the protocol.
    pub fn begins_with_tls(self) -> bool {
        self.without_tls() != self
    }

    /// True if users log in.
    pub const fn has_logins(self) -> bool {
        !matches!(self, Self::Smtp | Self::Lmtp)
    }

    /// True if users send mail there.
    pub const fn is_submission(self) -> bool {
        matches!(self, Self::Submission | Self::Submissions)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_stands_at_its_number_and_has_a_name_of_its_own() {
        for (at, service) in Service::ALL.into_iter().enumerate() {
            assert_eq!(service as usize, at, "{service}");
            assert!(Protocol::ALL.contains(&service.protocol()));
            assert_eq!(service.begins_with_tls(), service.name().ends_with('s'));
            assert_eq!(service.without_tls().protocol(), service.protocol());
            let same = |other: &&Service| other.name() == service.name();
            assert_eq!(Service::ALL.iter().filter(same).count(), 1);
        }
    }

    #[test]
    fn a_directive_leads_back_to_a_protocol_with_the_same_words() {
        for protocol in Protocol::ALL {
            let found = Protocol::of_directive(protocol.directive()).unwrap();
            assert_eq!(found.too_many_connections(), protocol.too_many_connections());
            assert!(std::ptr::eq(found.vocabulary(), protocol.vocabulary()));
        }
        assert_eq!(Protocol::of_directive("finger"), None);
    }
}
