//! The endpoint of a listener: an address with a port, a socket file, or a socket opened by the service
//! manager.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Serialize, Serializer};

/// An endpoint. Reads and prints as `127.0.0.1:2525`, `[::1]:2525`, `unix:/run/restante/lmtp.sock` or
/// `systemd:smtp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// An address of this machine; port 0 takes any free port.
    Ip(SocketAddr),
    /// A socket in the file system, for programs on this machine.
    Unix(PathBuf),
    /// The sockets that the service manager passes under this name.
    Inherited(String),
}

impl Endpoint {
    /// The address, if it is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) | Self::Inherited(_) => None,
        }
    }

    /// True if certainly only programs on this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
            Self::Inherited(_) => false,
        }
    }

    /// True if the kernel cannot give both. Others may conflict too: the unspecified IPv6 address includes
    /// IPv4 if `net.ipv6.bindv6only` is 0.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (Self::Ip(one), Self::Ip(two)) = (self, other) else { return self == other };
        // An IPv4 address that is written as a part of IPv6 is the same one to the kernel.
        let (at, other) = (one.ip().to_canonical(), two.ip().to_canonical());
        let same_host = at == other
            || (at.is_ipv4() == other.is_ipv4() && (at.is_unspecified() || other.is_unspecified()));
        one.port() != 0 && one.port() == two.port() && same_host
    }

    /// True if this one takes the other one too: the unspecified IPv6 address includes IPv4, unless `net.ipv6.bindv6only` is 1.
    pub fn includes(&self, other: &Self) -> bool {
        let (Self::Ip(one), Self::Ip(other)) = (self, other) else { return false };
        let is_any = one.is_ipv6() && one.ip().is_unspecified();
        is_any && other.is_ipv4() && one.port() != 0 && one.port() == other.port()
    }

    /// Resolves a relative path against `directory`.
    pub fn relative_to(self, directory: &Path) -> Self {
        match self {
            Self::Unix(path) => Self::Unix(directory.join(path)),
            other => other,
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let behind = |scheme| text.strip_prefix(scheme).filter(|rest| !rest.is_empty());
        if let Some(path) = behind(UNIX) {
            return Ok(Self::Unix(path.into()));
        }
        // systemd.socket(5), FileDescriptorName=
        if let Some(name) =
            behind(SYSTEMD).filter(|name| !name.contains(|c: char| c == ':' || !c.is_ascii_graphic()))
        {
            return Ok(Self::Inherited(name.to_owned()));
        }
        socket_addr(text).map(Self::Ip).ok_or_else(|| {
            let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
            let is_name = host.contains(|c: char| c.is_ascii_alphabetic()) && !host.contains(':');
            let no_names = if is_name && host != LOCALHOST { ", and no name is looked up" } else { "" };
            let (example, no_port) = match (without_port(text), port_alone(text)) {
                (Some(ip), _) => (SocketAddr::new(ip, 2525), ", because it has no port"),
                (None, Some(port)) => ((Ipv4Addr::UNSPECIFIED, port).into(), ""),
                (None, None) => ((Ipv4Addr::LOCALHOST, 2525).into(), ""),
            };
            format!(
                "{text:?} is not an address{no_names}{no_port}: write it like \"{example}\", \"[::1]:2525\", \
                 \"unix:/run/restante/lmtp.sock\" or \"systemd:smtp\""
            )
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
            Self::Inherited(name) => write!(f, "{SYSTEMD}{name}"),
        }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// An address that has no port.
fn without_port(text: &str) -> Option<IpAddr> {
    let host = text.strip_suffix(':').unwrap_or(text);
    // `::1:25` is ambiguous: 25 may be a group or the port.
    ip_addr(host.trim_matches(['[', ']'])).filter(|_| host.matches(':').count() < 3 || host.ends_with(']'))
}

/// A port that has no address.
fn port_alone(text: &str) -> Option<u16> {
    text.trim_start_matches(['*', ':']).parse().ok()
}

/// Reads an address to listen on. `localhost` is 127.0.0.1, whatever a resolver says (RFC 6761 section 6.3): a listener has one
/// address, and all programs on this machine reach that one.
pub fn socket_addr(text: &str) -> Option<SocketAddr> {
    let of_localhost = || {
        let port = text.strip_prefix(LOCALHOST)?.strip_prefix(':')?;
        format!("{}:{port}", Ipv4Addr::LOCALHOST).parse().ok()
    };
    text.parse().ok().or_else(of_localhost)
}

/// Reads an address without a port, likewise.
pub fn ip_addr(text: &str) -> Option<IpAddr> {
    if text == LOCALHOST { Some(Ipv4Addr::LOCALHOST.into()) } else { text.parse().ok() }
}

const LOCALHOST: &str = "localhost";
const UNIX: &str = "unix:";
const SYSTEMD: &str = "systemd:";

/// The address at which this machine reaches itself: loopback for every address.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_overlap_that_cannot_both_be_had() {
        for (one, other, overlap) in [
            ("127.0.0.1:25", "127.0.0.1:25", true),
            ("127.0.0.1:25", "127.0.0.2:25", false),
            ("127.0.0.1:25", "127.0.0.1:26", false),
            ("127.0.0.1:25", "0.0.0.0:25", true),
            ("[::]:25", "[::1]:25", true),
            ("[::]:25", "0.0.0.0:25", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("unix:/run/a", "unix:/run/a", true),
            ("unix:/run/a", "systemd:a", false),
            ("systemd:a", "systemd:a", true),
        ] {
            let parse = |text: &str| text.parse::<Endpoint>().unwrap();
            assert_eq!(parse(one).overlaps(&parse(other)), overlap, "{one} {other}");
            assert_eq!(parse(other).overlaps(&parse(one)), overlap, "{other} {one}");
        }
    }

    #[test]
    fn an_endpoint_reads_back_what_it_prints() {
        for (text, local) in [
            ("127.0.0.1:2525", true),
            ("[::1]:0", true),
            ("0.0.0.0:25", false),
            ("[2001:db8::1]:25", false),
            ("unix:/run/restante/lmtp.sock", true),
            ("systemd:restante-smtp.socket", false),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.to_string().as_str(), endpoint.is_local()), (text, local));
        }
        for bad in [
            "",
            "localhost",
            "127.0.0.1",
            "::1:25",
            "unix:",
            "systemd:",
            "systemd:a:b",
            "/run/x",
            "127.0.0.1:65536",
        ] {
            assert!(bad.parse::<Endpoint>().unwrap_err().contains("unix:/run/"), "{bad}");
        }
    }

    #[test]
    fn h38_localhost_is_an_address_and_no_other_name_is() {
        let parse = |text: &str| text.parse::<Endpoint>().map(|endpoint| endpoint.to_string());
        assert_eq!(parse("localhost:2525").as_deref(), Ok("127.0.0.1:2525"));
        assert_eq!(ip_addr("localhost"), Some(Ipv4Addr::LOCALHOST.into()));
        for bad in ["localhost", "localhost:", "localhost:+25", "localhost.:25", "localhost:65536"] {
            assert!(parse(bad).unwrap_err().contains("write it like \"127.0.0.1:2525\""), "{bad}");
        }
        for (bad, is_name) in [("mx.example.test:25", true), ("localhost", false), ("fe80::1:25", false)] {
            let told = parse(bad).unwrap_err();
            assert_eq!(told.contains("no name is looked up"), is_name, "{told}");
        }
    }
}
