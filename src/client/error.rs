//! Errors between a client and a server, each with a sentence that says what to do next.

use std::{io, time::Duration};

use super::{
    Place, pop3, reply_help, smtp,
    strings::{self, Language},
};

/// An error of a client.
#[derive(Debug)]
pub enum Trouble {
    /// No connection could be made.
    Unreachable(Place, io::Error),
    /// The connection ended in the middle.
    Lost(Place),
    /// No reply came within that time.
    TooSlow(Place, Duration),
    /// The peer does not speak the protocol.
    Babble(Place),
    /// TLS could not begin, or broke.
    Tls(Place, String),
    /// The server does not announce the TLS that the route asks for.
    NoTls(Place),
    /// Octets arrived in clear text after the server had agreed to TLS: a third party may have inserted them.
    Injected(Place),
    /// The server announces no login mechanism that the client knows.
    NoLogin(Place),
    /// The message is longer than the server's announced limit.
    TooBig {
        /// Octets of the message.
        octets: u64,
        /// The server's limit in octets.
        limit: u64,
    },
    /// The message or an address needs this extension, and the server does not announce it.
    Needs(&'static str),
    /// A local file cannot be read or written.
    Disk(io::Error),
    /// The SMTP server refused.
    Refused(smtp::Reply),
    /// The POP3 server refused.
    Denied(pop3::Denial),
}

impl Trouble {
    /// True if the connection is gone and a new one may help.
    pub fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(..) | Self::Lost(_) | Self::TooSlow(..) | Self::Babble(_) | Self::Tls(..)
        )
    }

    /// The sentence for the user.
    pub fn tell(&self, language: Language) -> String {
        let with = |words: strings::Words, values: &[&dyn std::fmt::Display]| words.with(language, values);
        match self {
            Self::Unreachable(place, error) => with(strings::UNREACHABLE, &[place, error]),
            Self::Lost(place) => with(strings::LOST, &[place]),
            Self::TooSlow(place, patience) => with(strings::TOO_SLOW, &[place, &patience.as_secs()]),
            Self::Babble(place) => with(strings::BABBLE, &[place]),
            Self::Tls(place, why) => with(strings::NO_TRUST, &[place, why]),
            Self::NoTls(place) => with(strings::NO_TLS, &[place]),
            Self::Injected(place) => with(strings::INJECTED, &[place]),
            Self::NoLogin(place) => with(strings::NO_LOGIN, &[place]),
            Self::TooBig { octets, limit } => with(strings::TOO_BIG, &[octets, limit]),
            Self::Needs(extension) => with(strings::NEEDS, &[extension]),
            Self::Disk(error) => with(strings::DISK, &[error]),
            Self::Refused(reply) => reply_help::smtp(reply, language),
            Self::Denied(denial) => reply_help::pop3(denial, language),
        }
    }
}
