//! Errors between a client and a server, each with a sentence that says what to do next.

use std::{io, time::Duration};

use super::{
    imap::Status, pop3::ErrReply, reply_help, server_addr::ServerAddr, smtp::Reply, strings,
    tls_failure::TlsFailure, wire_protocol::WireProtocol,
};
use crate::language::{Language, LocalizedText};

/// An error of a client.
#[derive(Debug)]
pub enum ClientError {
    /// No connection could be made.
    Unreachable(ServerAddr, io::Error),
    /// The name of the server has no address.
    UnknownHost(ServerAddr, io::Error),
    /// The connection ended in the middle.
    ConnectionLost(ServerAddr),
    /// The connection ended, or the time ran out, before the server said anything. The client had sent nothing.
    NoGreeting {
        /// The server that was connected to.
        server: ServerAddr,
        /// True if TLS was not to begin with the first octet.
        in_clear_text: bool,
    },
    /// The server speaks clear text where TLS was to begin with the first octet.
    ClearText(ServerAddr),
    /// The server answers as one for HTTP. The client had sent nothing.
    Http(ServerAddr),
    /// The server greets in another protocol of mail. The client had sent nothing.
    OtherProtocol {
        /// The server that was connected to.
        server: ServerAddr,
        /// Its protocol.
        spoken: WireProtocol,
        /// The client's.
        wanted: WireProtocol,
        /// False if the greeting may also be that of another service, such as FTP.
        is_certain: bool,
    },
    /// No reply came within that time.
    Timeout(ServerAddr, Duration),
    /// The peer does not speak the protocol.
    ProtocolError(ServerAddr),
    /// TLS could not begin, or broke.
    Tls(ServerAddr, TlsFailure),
    /// The server does not announce the TLS that the route asks for.
    NoTls(ServerAddr),
    /// Octets arrived in clear text after the server had agreed to TLS: a third party may have inserted them.
    InjectedBeforeTls(ServerAddr),
    /// The server announces no login mechanism that the client knows.
    NoAuthMechanism(ServerAddr),
    /// The message is longer than the server's announced limit.
    TooBig {
        /// Octets of the message on the wire.
        octets: u64,
        /// The server's limit in octets.
        limit: u64,
    },
    /// The message or an address needs this extension, and the server does not announce it.
    MissingExtension(&'static str),
    /// A local file cannot be read or written.
    Disk(io::Error),
    /// The SMTP server refused a command or the message, with this reply.
    Refused(Reply),
    /// The POP3 server refused a command, with this reply.
    Denied(ErrReply),
    /// The IMAP server refused a command, with this reply.
    ImapRefused(Status),
    /// The IMAP server ended the session, with this text.
    SaidBye(ServerAddr, String),
}

impl ClientError {
    /// True if the connection is gone and a new one may help.
    pub fn is_connection_lost(&self) -> bool {
        matches!(
            self,
            Self::UnknownHost(..)
                | Self::Unreachable(..)
                | Self::ConnectionLost(_)
                | Self::NoGreeting { .. }
                | Self::ClearText(_)
                | Self::Http(_)
                | Self::OtherProtocol { .. }
                | Self::Timeout(..)
                | Self::ProtocolError(_)
                | Self::Tls(..)
                | Self::SaidBye(..)
        )
    }

    /// The sentence for the user.
    pub fn describe(&self, language: Language) -> String {
        let with = |words: LocalizedText, values: &[&dyn std::fmt::Display]| words.format(language, values);
        match self {
            Self::UnknownHost(place, error) => {
                with(strings::UNKNOWN_HOST, &[&place.host, &language.reason(error)])
            }
            Self::Unreachable(place, error) => with(strings::UNREACHABLE, &[place, &language.reason(error)]),
            Self::ConnectionLost(place) => with(strings::LOST, &[place]),
            Self::NoGreeting { server, in_clear_text: true } => with(strings::NO_GREETING_TLS, &[server]),
            Self::NoGreeting { server, in_clear_text: false } => with(strings::NO_GREETING, &[server]),
            Self::ClearText(place) => with(strings::CLEAR_TEXT, &[place]),
            Self::Http(place) => with(strings::HTTP, &[place]),
            Self::OtherProtocol { server, spoken, wanted, is_certain } => {
                let words = if *is_certain { strings::OTHER_PROTOCOL } else { strings::LIKE_OTHER_PROTOCOL };
                with(words, &[server, spoken, wanted, &wanted.likely_port(server)])
            }
            Self::Timeout(place, patience) => with(strings::TOO_SLOW, &[place, &patience.as_secs()]),
            Self::ProtocolError(place) => with(strings::BABBLE, &[place]),
            Self::Tls(place, why) => why.describe(place, language),
            Self::NoTls(place) => with(strings::NO_TLS, &[place]),
            Self::InjectedBeforeTls(place) => with(strings::INJECTED, &[place]),
            Self::NoAuthMechanism(place) => with(strings::NO_LOGIN, &[place]),
            Self::TooBig { octets, limit } => with(strings::TOO_BIG, &[octets, limit]),
            Self::MissingExtension(extension) => with(strings::NEEDS, &[extension]),
            Self::Disk(error) => with(strings::DISK, &[&language.reason(error)]),
            Self::Refused(reply) => reply_help::explain_smtp(reply, &[], language),
            Self::Denied(denial) => reply_help::explain_pop3(denial, language),
            Self::ImapRefused(status) => reply_help::explain_imap(status, language),
            Self::SaidBye(place, text) => with(strings::SAID_BYE, &[place, text]),
        }
    }
}
