//! The PROXY protocol, versions 1 and 2: a proxy in front of the server announces its client (haproxy.org,
//! proxy-protocol.txt).
//!
//! The rule: the header is read completely or not at all. Octets after it belong to the client and are not
//! touched; an invalid header ends the connection.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::{self, FromStr},
};

/// The beginning of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// A complete header of version 1 or 2.
    Complete {
        /// Address of the client. `None` for the proxy's own connection, or a client that it cannot name.
        client: Option<SocketAddr>,
        /// Octets of the header. The session's data follows them.
        length: usize,
    },
    /// The beginning of a header.
    Partial,
    /// A header of more octets than its version allows.
    TooLong {
        /// Octets of the longest accepted header of that version.
        limit: usize,
    },
    /// Octets that no header begins with.
    Invalid,
}

/// Octets of the longest accepted header. Version 1 has at most 107. Version 2 may have more in its TLV vectors, such
/// as the client's certificate; a proxy like HAProxy writes it into one buffer of this size.
pub const MAX_HEADER: usize = 16 * 1024;

/// Parses the header in the first octets from a proxy.
pub fn parse(octets: &[u8]) -> Header {
    if is_prefix_of(octets, SIGNATURE) {
        version_2(octets)
    } else if is_prefix_of(octets, b"PROXY ") {
        version_1(octets)
    } else {
        Header::Invalid
    }
}

/// True if `octets` begin with `like`, as far as they go.
fn is_prefix_of(octets: &[u8], like: &[u8]) -> bool {
    octets.iter().zip(like).all(|(one, other)| one == other)
}

/// Parses `PROXY TCP4 192.0.2.1 198.51.100.1 56324 25`, one line.
fn version_1(octets: &[u8]) -> Header {
    let line = &octets[..octets.len().min(MAX_V1_LINE)];
    let Some(end) = memchr::memchr(b'\n', line) else {
        return if line.len() < MAX_V1_LINE {
            Header::Partial
        } else {
            Header::TooLong { limit: MAX_V1_LINE }
        };
    };
    let words = line[..end].strip_suffix(b"\r").and_then(|text| str::from_utf8(text).ok());
    let words: Vec<&str> = words.unwrap_or_default().split(' ').collect();
    let client = match words.as_slice() {
        // The rest of the line has no meaning.
        ["PROXY", "UNKNOWN", ..] => Some(None),
        ["PROXY", "TCP4", addresses @ ..] => client::<Ipv4Addr>(addresses).map(Some),
        ["PROXY", "TCP6", addresses @ ..] => client::<Ipv6Addr>(addresses).map(Some),
        _ => None,
    };
    client.map_or(Header::Invalid, |client| Header::Complete { client, length: end + 1 })
}

/// Parses source and destination, then their ports.
fn client<A: FromStr + Into<IpAddr>>(words: &[&str]) -> Option<SocketAddr> {
    let &[source, destination, source_port, destination_port] = words else { return None };
    destination.parse::<A>().ok()?;
    port(destination_port)?;
    Some(socket_addr(source.parse::<A>().ok()?.into(), port(source_port)?))
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

/// Parses signature, version and command, family, length, and that many octets.
fn version_2(octets: &[u8]) -> Header {
    let Some((&[version_and_command, family, high, low], rest)) =
        octets.get(SIGNATURE.len()..).and_then(<[u8]>::split_first_chunk::<4>)
    else {
        return Header::Partial;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = SIGNATURE.len() + 4 + length;
    if ![LOCAL, PROXY].contains(&version_and_command) {
        return Header::Invalid;
    }
    if whole > MAX_HEADER {
        return Header::TooLong { limit: MAX_HEADER };
    }
    let Some(rest) = rest.get(..length) else { return Header::Partial };
    let client = match (version_and_command, family) {
        // A check by the proxy itself, or a client without an address.
        (LOCAL, _) | (_, UNSPECIFIED) => Some(None),
        (_, UNIX) if length >= 216 => Some(None),
        (_, TCP4) => rest.first_chunk::<12>().map(|a| {
            let source = Ipv4Addr::new(a[0], a[1], a[2], a[3]);
            Some(socket_addr(source.into(), u16::from_be_bytes([a[8], a[9]])))
        }),
        (_, TCP6) => rest.first_chunk::<36>().map(|a| {
            let mut source = [0; 16];
            source.copy_from_slice(&a[..16]);
            Some(socket_addr(Ipv6Addr::from(source).into(), u16::from_be_bytes([a[32], a[33]])))
        }),
        _ => None,
    };
    client.map_or(Header::Invalid, |client| Header::Complete { client, length: whole })
}

fn socket_addr(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}

const MAX_V1_LINE: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOCAL_HEAD: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20";

    fn header_2(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[version_and_command, family], &length, rest].concat()
    }

    fn of(client: &str) -> Option<Option<SocketAddr>> {
        Some((!client.is_empty()).then(|| client.parse().unwrap()))
    }

    /// The client of octets that are exactly one header.
    fn whole(octets: &[u8]) -> Option<Option<SocketAddr>> {
        match parse(octets) {
            Header::Complete { client, length } if length == octets.len() => Some(client),
            _ => None,
        }
    }

    #[test]
    fn version_1_names_the_client() {
        for (line, client) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n", of("192.0.2.1:56324")),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", of("[2001:db8::1]:1")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", of("192.0.2.1:1")),
            ("PROXY UNKNOWN\r\n", of("")),
            ("PROXY UNKNOWN ffff:f...f:ffff 1 2 3\r\n", of("")),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\n", None),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n", None),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n", None),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 +1 25\r\n", None),
            ("PROXY TCP4 192.0.2.1  198.51.100.1 1 25\r\n", None),
            ("PROXY TCP4 2001:db8::1 2001:db8::2 1 25\r\n", None),
            ("PROXY TCP6 192.0.2.1 198.51.100.1 1 25\r\n", None),
            ("PROXY TCP4 localhost 198.51.100.1 1 25\r\n", None),
            ("PROXY tcp4 192.0.2.1 198.51.100.1 1 25\r\n", None),
            ("PROXY \r\n", None),
            ("EHLO client.test\r\n", None),
        ] {
            assert_eq!(whole(line.as_bytes()), client, "{line}");
        }
    }

    #[test]
    fn t21_a_header_that_is_too_long_is_told_with_the_limit_of_its_version() {
        let line = [&b"PROXY UNKNOWN"[..], &[b' '; 94]].concat();
        assert_eq!((parse(&line), line.len()), (Header::TooLong { limit: 107 }, 107));
        let header = header_2(PROXY, TCP4, &vec![0x20; MAX_HEADER]);
        assert_eq!(parse(&header), Header::TooLong { limit: 16_384 });
    }

    #[test]
    fn version_2_names_the_client() {
        let four = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 0, 25];
        let mut six = [0; 36];
        six[..2].copy_from_slice(&[0x20, 1]);
        six[33] = 7;
        let more = [&four[..], &[4, 0, 1, 0]].concat();
        for (command, family, rest, client) in [
            (PROXY, TCP4, &four[..], of("192.0.2.1:56324")),
            (PROXY, TCP4, &more, of("192.0.2.1:56324")),
            (PROXY, TCP6, &six, of("[2001::]:7")),
            (PROXY, UNIX, &[0; 216], of("")),
            (PROXY, UNSPECIFIED, b"", of("")),
            (LOCAL, UNSPECIFIED, b"", of("")),
            (LOCAL, TCP4, &four, of("")),
            (PROXY, TCP4, &four[..11], None),
            (PROXY, TCP6, &six[..35], None),
            (PROXY, UNIX, &[0; 215], None),
            (PROXY, 0x12, &four, None),
            (0x22, TCP4, &four, None),
            (0x11, TCP4, &four, None),
        ] {
            let header = header_2(command, family, rest);
            assert_eq!(whole(&header), client, "{command:x} {family:x} {rest:?}");
        }
    }

    #[test]
    fn w10_a_certificate_in_the_header_is_skipped_and_too_long_is_told() {
        let address = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 0, 25];
        for certificate in [0, 2048, 4096, MAX_HEADER - 28] {
            let header = header_2(PROXY, TCP4, &[&address[..], &vec![0x20; certificate]].concat());
            assert_eq!(whole(&header), of("192.0.2.1:56324"), "{certificate}");
            assert_eq!(parse(&header[..header.len() - 1]), Header::Partial);
        }
        let header = header_2(PROXY, TCP4, &[&address[..], &vec![0x20; MAX_HEADER - 27]].concat());
        let too_long = Header::TooLong { limit: MAX_HEADER };
        assert_eq!((parse(&header), parse(&header[..16])), (too_long, too_long));
    }

    proptest! {
        #[test]
        fn a_header_is_found_however_it_comes_and_whatever_follows(
            address in any::<[u8; 4]>(), port in any::<u16>(), rest in any::<Vec<u8>>(), new in any::<bool>()
        ) {
            let expected = SocketAddr::new(IpAddr::from(address), port);
            let header = if new {
                let [high, low] = port.to_be_bytes();
                header_2(PROXY, TCP4, &[&address[..], &[1, 2, 3, 4, high, low, 0, 25]].concat())
            } else {
                format!("PROXY TCP4 {} 1.2.3.4 {port} 25\r\n", expected.ip()).into_bytes()
            };
            for cut in 0..header.len() {
                prop_assert_eq!(parse(&header[..cut]), Header::Partial);
            }
            let found = Header::Complete { client: Some(expected), length: header.len() };
            prop_assert_eq!(parse(&[header, rest].concat()), found);
        }

        #[test]
        fn no_octets_break_the_reader(
            head in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE, LOCAL_HEAD]),
            octets in any::<Vec<u8>>()
        ) {
            let octets = [head, &octets].concat();
            if let Header::Complete { length, .. } = parse(&octets) {
                prop_assert!(length <= octets.len() && length <= MAX_HEADER);
            }
        }
    }
}
