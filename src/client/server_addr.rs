//! The host and the port of a server.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use super::strings;
use crate::language::Language;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddr {
    /// A name, or an address without brackets.
    pub host: String,
    /// TCP port, which the user always names, also alone.
    pub port: u16,
}

impl ServerAddr {
    /// True if the host is this machine.
    pub fn is_loopback(&self) -> bool {
        self.host.parse().map_or(self.host.eq_ignore_ascii_case("localhost"), |ip: IpAddr| ip.is_loopback())
    }
}

impl FromStr for ServerAddr {
    type Err = String;

    /// A port alone is one of this machine, as in the options of `restante dev`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse() {
            return Ok(Self { host: Ipv4Addr::LOCALHOST.to_string(), port });
        }
        let wrong = || strings::BAD_SERVER.format(Language::of_environment(), &[&format!("{text:?}")]);
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = match host.strip_prefix('[') {
            Some(literal) => literal.strip_suffix(']').ok_or_else(wrong)?,
            None => host,
        };
        let good = |c: char| !c.is_control() && !c.is_whitespace() && !"[]/<>".contains(c);
        match port.parse() {
            Ok(port) if !host.is_empty() && host.chars().all(good) => Ok(Self { host: host.into(), port }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}
