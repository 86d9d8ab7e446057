//! The protocols of mail, as a client finds them on the wire.

use std::fmt;

use super::server_addr::ServerAddr;

/// A protocol of mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireProtocol {
    /// RFC 5321.
    Smtp,
    /// RFC 1939.
    Pop3,
    /// RFC 9051.
    Imap,
}

impl WireProtocol {
    /// The protocol of a server that begins with these octets.
    pub(super) fn of_greeting(octets: &[u8]) -> Option<Self> {
        match octets {
            [b'+', b'O', b'K', ..] | [b'-', b'E', b'R', b'R', ..] => Some(Self::Pop3),
            [b'*', b' ', ..] => Some(Self::Imap),
            [b'2' | b'4' | b'5', tens, ones, b' ' | b'-', ..]
                if [tens, ones].iter().all(|b| b.is_ascii_digit()) =>
            {
                Some(Self::Smtp)
            }
            _ => None,
        }
    }

    /// True if only a server of this protocol begins like that. The codes of SMTP are those of FTP too (RFC 959), so its
    /// greeting has to have the name.
    pub(super) fn is_named_in(self, greeting: &[u8]) -> bool {
        let mut words = greeting.split(u8::is_ascii_whitespace);
        self != Self::Smtp
            || words.any(|word| word.eq_ignore_ascii_case(b"SMTP") || word.eq_ignore_ascii_case(b"ESMTP"))
    }

    /// The port that a server probably has for this protocol, if it has this address for another one; else all usual ports.
    pub(super) fn likely_port(self, other: &ServerAddr) -> &'static str {
        let row = PORTS.iter().find(|(known, _)| known.contains(&other.port));
        let [smtp, pop3, imap] = row.map_or(["25, 587, 2525", "110, 1110", "143, 1143"], |(_, ports)| *ports);
        match self {
            Self::Smtp => smtp,
            Self::Pop3 => pop3,
            Self::Imap => imap,
        }
    }
}

impl fmt::Display for WireProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smtp => "SMTP",
            Self::Pop3 => "POP3",
            Self::Imap => "IMAP",
        })
    }
}

/// Ports that a server has together, and those of SMTP, POP3 and IMAP among them.
const PORTS: [(&[u16], [&str; 3]); 4] = [
    (&[25, 587, 110, 143], ["587 (25)", "110", "143"]),
    (&[465, 995, 993], ["465", "995", "993"]),
    (&[2525, 1110, 1143], ["2525", "1110", "1143"]),
    (&[2465, 1995, 1993], ["2465", "1995", "1993"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u100_a_greeting_tells_its_protocol_and_a_port_the_others_of_its_server() {
        for (greeting, protocol) in [
            (&b"+OK ready"[..], Some(WireProtocol::Pop3)),
            (b"-ERR busy", Some(WireProtocol::Pop3)),
            (b"* OK [CAPABILITY", Some(WireProtocol::Imap)),
            (b"220 mx ESMTP", Some(WireProtocol::Smtp)),
            (b"554-no", Some(WireProtocol::Smtp)),
            (b"SSH-2.0-x", None),
            (b"2200", None),
            (b"", None),
        ] {
            assert_eq!(WireProtocol::of_greeting(greeting), protocol, "{greeting:?}");
        }
        assert!(WireProtocol::Smtp.is_named_in(b"220 mx.test ESMTP ready\r\n"));
        assert!(!WireProtocol::Smtp.is_named_in(b"220 smtp.test FTP server\r\n"));
        assert!(WireProtocol::Imap.is_named_in(b"* OK ready\r\n"));
        let at = |port| ServerAddr { host: "mx.test".into(), port };
        assert_eq!(WireProtocol::Smtp.likely_port(&at(1110)), "2525");
        assert_eq!(WireProtocol::Imap.likely_port(&at(465)), "993");
        assert_eq!(WireProtocol::Smtp.likely_port(&at(4711)), "25, 587, 2525");
    }
}
