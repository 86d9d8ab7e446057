//! The reasons for which TLS with a server fails, each with a sentence that says what to do next.

use super::{server_addr::ServerAddr, strings};
use crate::language::{Language, LocalizedText};

/// The reason why TLS with a server could not begin, or broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFailure {
    /// The certificate has expired, at that time.
    Expired(String),
    /// The certificate is valid only after that time.
    NotYetValid(String),
    /// The certificate has these names, and not the one that the client connects to.
    OtherName(Vec<String>),
    /// No authority of this machine has signed the certificate.
    UnknownAuthority,
    /// The certificate is none of those that the user has named, nor signed by one of them.
    NotNamed,
    /// Another reason, in words.
    Other(String),
}

impl TlsFailure {
    pub(super) fn describe(&self, server: &ServerAddr, language: Language) -> String {
        let with = |words: LocalizedText, values: &[&dyn std::fmt::Display]| words.format(language, values);
        match self {
            Self::Expired(date) => with(strings::CERTIFICATE_EXPIRED, &[server, date]),
            Self::NotYetValid(date) => with(strings::CERTIFICATE_EARLY, &[server, date]),
            Self::OtherName(names) => {
                // A pattern stands for names that only its owner knows.
                let Some(first) = names.iter().find(|name| !name.contains('*')) else {
                    return with(strings::CERTIFICATE_WITHOUT_NAME, &[server, &server.host]);
                };
                let place = ServerAddr { host: first.clone(), ..server.clone() };
                let all = names.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
                with(strings::CERTIFICATE_OF_OTHER_NAME, &[server, &all, &server.host, &place])
            }
            Self::UnknownAuthority => with(strings::UNKNOWN_AUTHORITY, &[server]),
            Self::NotNamed => with(strings::CERTIFICATE_NOT_NAMED, &[server]),
            Self::Other(why) => with(strings::NO_TRUST, &[server, why]),
        }
    }
}

/// Names of a certificate in one sentence.
const MAX_NAMES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u62_the_advice_names_the_place_to_connect_to() {
        let server: ServerAddr = "127.0.0.1:2465".parse().unwrap();
        let told = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            TlsFailure::OtherName(names).describe(&server, Language::English)
        };
        let one = told(&["*.example.test", "localhost"]);
        assert!(one.contains("for *.example.test, localhost, and not for 127.0.0.1"), "{one}");
        assert!(one.ends_with("Connect to localhost:2465."), "{one}");
        for names in [&[][..], &["*.example.test"]] {
            assert!(told(names).contains("subjectAltName"), "{names:?}");
        }
        let unknown = TlsFailure::NotNamed.describe(&server, Language::English);
        assert!(!unknown.contains("Name the certificate"), "{unknown}");
    }
}
