//! What can go wrong between us and a server, each in a sentence that says what to do next.

use std::{io, time::Duration};

use super::{
    Place, explain, pop3, smtp,
    words::{self, Language},
};

/// Why something could not be done.
#[derive(Debug)]
pub enum Trouble {
    /// Nobody answers there.
    Unreachable(Place, io::Error),
    /// The connection ended in the middle.
    Lost(Place),
    /// No reply within that time.
    TooSlow(Place, Duration),
    /// Whoever answers does not speak the protocol.
    Babble(Place),
    /// TLS could not begin, or broke.
    Tls(Place, String),
    /// The server does not offer TLS where we were told to use it.
    NoTls(Place),
    /// Somebody spoke for the server in clear text after it had agreed to TLS.
    Injected(Place),
    /// The server has no way to log in that we know.
    NoLogin(Place),
    /// The message is longer than the server announced to take.
    TooBig {
        /// Octets in the message.
        octets: u64,
        /// Octets that the server takes.
        limit: u64,
    },
    /// The message, or an address, needs this extension, and the server does not announce it.
    Needs(&'static str),
    /// A file of ours cannot be read or written.
    Disk(io::Error),
    /// The SMTP server said no.
    Refused(smtp::Reply),
    /// The POP3 server said no.
    Denied(pop3::Denial),
}

impl Trouble {
    /// Whether the connection is gone, and another one may do.
    pub fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(..) | Self::Lost(_) | Self::TooSlow(..) | Self::Babble(_) | Self::Tls(..)
        )
    }

    /// The sentence.
    pub fn tell(&self, language: Language) -> String {
        let with = |words: words::Words, values: &[&dyn std::fmt::Display]| words.with(language, values);
        match self {
            Self::Unreachable(place, error) => with(words::UNREACHABLE, &[place, error]),
            Self::Lost(place) => with(words::LOST, &[place]),
            Self::TooSlow(place, patience) => with(words::TOO_SLOW, &[place, &patience.as_secs()]),
            Self::Babble(place) => with(words::BABBLE, &[place]),
            Self::Tls(place, why) => with(words::NO_TRUST, &[place, why]),
            Self::NoTls(place) => with(words::NO_TLS, &[place]),
            Self::Injected(place) => with(words::INJECTED, &[place]),
            Self::NoLogin(place) => with(words::NO_LOGIN, &[place]),
            Self::TooBig { octets, limit } => with(words::TOO_BIG, &[octets, limit]),
            Self::Needs(extension) => with(words::NEEDS, &[extension]),
            Self::Disk(error) => with(words::DISK, &[error]),
            Self::Refused(reply) => explain::smtp(reply, language),
            Self::Denied(denial) => explain::pop3(denial, language),
        }
    }
}
