//! The place of a service on a command line: a port, or an address with a port.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use crate::net::endpoint::{ip_addr, socket_addr};

/// The place of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A port of the address that all services share.
    Port(u16),
    /// An address of its own.
    Address(SocketAddr),
}

impl Place {
    /// The address, where a port alone belongs to `shared`.
    pub(super) fn at(self, shared: IpAddr) -> SocketAddr {
        match self {
            Self::Port(port) => SocketAddr::new(shared, port),
            Self::Address(address) => address,
        }
    }
}

impl FromStr for Place {
    type Err = String;

    /// The refusal has an example to type.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse() {
            return Ok(Self::Port(port));
        }
        let port = text.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(2525_u16);
        let address = socket_addr(text).map(Self::Address);
        address.ok_or_else(|| {
            format!("it needs a port, or an IP address and a port: {port} or 127.0.0.1:{port}")
        })
    }
}

/// The address of `--listen`. The refusal has the words to type.
pub(super) fn listen_address(text: &str) -> Result<IpAddr, String> {
    ip_addr(text).ok_or_else(|| match socket_addr(text) {
        Some(with_port) => format!(
            "it needs an IP address alone: --listen {} --smtp {} (--pop3, --imap and --http likewise)",
            with_port.ip(),
            with_port.port()
        ),
        None => {
            "it needs an IP address of this machine: --listen 127.0.0.1, or --listen 0.0.0.0 --network for other machines"
                .to_owned()
        }
    })
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => port.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_at_the_shared_address() {
        let shared = IpAddr::from([0, 0, 0, 0]);
        for (text, at) in [
            ("1025", "0.0.0.0:1025"),
            ("0", "0.0.0.0:0"),
            ("127.0.0.1:25", "127.0.0.1:25"),
            ("[::1]:25", "[::1]:25"),
            ("localhost:25", "127.0.0.1:25"),
        ] {
            assert_eq!(
                text.parse().map(|place: Place| place.at(shared).to_string()),
                Ok(at.to_owned()),
                "{text}"
            );
        }
        for bad in ["", "localhost", "mx.test:2525", "65536", "0.0.0.0", ":25", "-1"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
        let refusal = "mx.test:26".parse::<Place>().unwrap_err();
        assert!(refusal.ends_with("26 or 127.0.0.1:26"), "{refusal}");
    }

    #[test]
    fn h38_the_refusal_of_an_address_has_the_words_to_type() {
        assert_eq!(listen_address("localhost"), Ok(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(listen_address("::1").map(|ip| ip.is_loopback()), Ok(true));
        for (text, told) in [
            ("mx.example.test", "--listen 127.0.0.1, or --listen 0.0.0.0 --network"),
            ("", "--listen 127.0.0.1"),
            ("2525", "--listen 127.0.0.1"),
            ("127.0.0.1:2525", "--listen 127.0.0.1 --smtp 2525 "),
            ("localhost:2525", "--listen 127.0.0.1 --smtp 2525 "),
        ] {
            assert!(listen_address(text).unwrap_err().contains(told), "{text}");
        }
    }
}
