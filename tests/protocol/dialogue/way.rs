//! The ways in which a client's octets come in, and the points at which a client has to wait.

use super::world::Service;

/// The way in which the client's octets come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Adjacent client lines of the file come together.
    Whole,
    /// Octet by octet.
    Bytewise,
    /// Three octets at a time.
    Threes,
    /// All lines up to the next point where a client has to wait come together.
    Pipelined,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::Whole, Self::Bytewise, Self::Threes, Self::Pipelined];

    /// Those of a list of names.
    pub(crate) fn named(names: &str) -> Result<Vec<Self>, String> {
        let named = |name| Self::ALL.into_iter().find(|way| way.name() == name);
        names.split_whitespace().map(|name| named(name).ok_or(format!("{name} is not a way"))).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Bytewise => "bytewise",
            Self::Threes => "threes",
            Self::Pipelined => "pipelined",
        }
    }

    /// The pieces in which these octets of the client come in.
    pub(crate) fn pieces(self, octets: &[u8]) -> impl Iterator<Item = &[u8]> {
        octets.chunks(match self {
            Self::Bytewise => 1,
            Self::Threes => 3,
            Self::Whole | Self::Pipelined => octets.len().max(1),
        })
    }
}

/// Whether a client that pipelines waits for the reply to this line (RFC 2920 section 3.1, RFC 2595 section 4).
pub(crate) fn waits_for_reply(service: Service, is_prompted: bool, line: &[u8]) -> bool {
    let words: Vec<Vec<u8>> =
        line.trim_ascii().split(|&b| b == b' ').map(<[u8]>::to_ascii_uppercase).collect();
    let is_among = |at: usize, names: &[&[u8]]| words.get(at).is_some_and(|word| names.contains(&&**word));
    match service {
        Service::Smtp => is_prompted || is_among(0, &WAIT_AFTER),
        Service::Pop3 => is_among(0, &[b"STLS"]),
        Service::Http => false,
        // The client waits for a continuation, or for TLS.
        Service::Imap => {
            let is_literal = line.ends_with(b"}\r\n") && !line.ends_with(b"+}\r\n");
            is_literal || is_among(1, &WAIT_AFTER_OF_IMAP)
        }
    }
}

/// After these commands of IMAP a client waits.
const WAIT_AFTER_OF_IMAP: [&[u8]; 3] = [b"AUTHENTICATE", b"IDLE", b"STARTTLS"];
/// After these a client that pipelines waits for the reply.
const WAIT_AFTER: [&[u8]; 11] =
    [b"EHLO", b"HELO", b"LHLO", b"DATA", b"VRFY", b"EXPN", b"TURN", b"QUIT", b"NOOP", b"AUTH", b"STARTTLS"];
