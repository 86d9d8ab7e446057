//! The header of a proxy: it is the same whatever follows it and however it is split, and a refused header stays
//! refused.

use std::net::{IpAddr, SocketAddr};

use restante::net::proxy_protocol::{Header, MAX_HEADER, parse};

use super::owned;
use crate::Target;

/// This target.
pub const TARGET: Target = Target { name: "proxy", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    let ipv4: SocketAddr = ([192, 0, 2, 1], 56324).into();
    let ipv6 = SocketAddr::new("2001:db8::1".parse().expect("an address"), 25);
    let mut seeds = owned([
        &b"PROXY UNKNOWN\r\nEHLO x\r\n"[..],
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00EHLO x\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x03\x04\x00\x00",
        b"EHLO x\r\n",
    ]);
    seeds.extend([ipv4, ipv6].into_iter().flat_map(|client| [version_1(client), version_2(client)]));
    seeds
}

fn run(data: &[u8]) {
    let whole = parse(data);
    // The first octets decide, and no later ones undo it. The last prefixes are enough where there are many.
    let mut before = Header::Partial;
    for end in 0..=data.len() {
        let now = parse(&data[..end]);
        match before {
            Header::Partial => {}
            _ => assert_eq!(now, before, "octet {end} has changed it"),
        }
        if let Header::Complete { length, .. } = now {
            assert!((1..=MAX_HEADER).contains(&length) && length <= end);
            assert!(before != Header::Partial || length == end, "it was whole before");
        }
        before = now;
    }
    assert_eq!(whole, before);
    if let Header::Complete { client: Some(client), .. } = whole {
        assert_eq!(client.ip(), client.ip().to_canonical());
        for header in [version_1(client), version_2(client)] {
            assert_eq!(parse(&header), Header::Complete { client: Some(client), length: header.len() });
        }
    }
}

/// The header that a proxy sends for that client.
fn version_1(client: SocketAddr) -> Vec<u8> {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let ours = if client.is_ipv4() { "198.51.100.1" } else { "2001:db8::2" };
    format!("PROXY {family} {} {ours} {} 25\r\n", client.ip(), client.port()).into_bytes()
}

fn version_2(client: SocketAddr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    match client.ip() {
        IpAddr::V4(ip) => header.extend([&[0x11, 0, 12][..], &ip.octets(), &[198, 51, 100, 1]].concat()),
        IpAddr::V6(ip) => header.extend([&[0x21, 0, 36][..], &ip.octets(), &[0; 16]].concat()),
    }
    header.extend(client.port().to_be_bytes());
    header.extend(25u16.to_be_bytes());
    header
}
