//! Networks of clients and proxies.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Networks in CIDR notation: `192.168.0.0/16`, `2001:db8::/32`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// 127.0.0.0/8 and ::1.
    pub fn loopback() -> Self {
        let addresses = [(IpAddr::from([127, 0, 0, 0]), 8), (IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), 128)];
        Self(addresses.into_iter().filter_map(|(address, bits)| IpNet::new(address, bits).ok()).collect())
    }

    /// True if one of the networks contains the address. An IPv4 address is the same one as a part of IPv6.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The first network that no single owner has, as the subject of a sentence, and the word for each of its machines: all
    /// of IPv4 or of IPv6, or a public part that is larger than a /8 or a /16.
    pub(super) fn crowd(&self) -> Option<(String, &'static str)> {
        let network = self.0.iter().find(|network| is_crowd(network))?;
        Some(match network.prefix_len() {
            0 => ("every machine".into(), "each"),
            _ => (format!("{}, a large part of the Internet,", network.trunc()), "each machine of it"),
        })
    }

    /// The networks that are written with an address inside of them, each with the network that is meant.
    pub(super) fn with_host_bits(&self) -> impl Iterator<Item = (IpNet, IpNet)> {
        self.0.iter().map(|network| (*network, network.trunc())).filter(|(written, meant)| written != meant)
    }

    /// True if there are no networks.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let network = |text: String| {
            text.parse().map(canonical).map_err(|_| {
                let form = "write it like \"192.168.0.0/16\", \"10.0.0.5/32\" or \"2001:db8::/32\"";
                D::Error::custom(format!("{text:?} is not a network: {form}"))
            })
        };
        Vec::deserialize(d)?.into_iter().map(network).collect::<Result<_, _>>().map(Self)
    }
}

fn is_crowd(network: &IpNet) -> bool {
    match network {
        IpNet::V4(four) => four.prefix_len() < 8,
        // fc00::/7 is for private networks (RFC 4193), fe80::/10 for those on one link (RFC 4291 section 2.5.6).
        IpNet::V6(six) => {
            let first = six.addr().segments()[0];
            let is_private = (six.prefix_len() >= 7 && first & 0xFE00 == 0xFC00)
                || (six.prefix_len() >= 10 && first & 0xFFC0 == 0xFE80);
            six.prefix_len() < 16 && !is_private
        }
    }
}

/// A network of IPv4 addresses that is written as a part of IPv6 (`::ffff:192.0.2.0/120`) becomes one of IPv4, because
/// clients have their IPv4 addresses here.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else { return network };
    let four = six.addr().to_ipv4_mapped().zip(six.prefix_len().checked_sub(96));
    four.and_then(|(address, bits)| IpNet::new(address.into(), bits).ok()).unwrap_or(network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{GOOD, load};

    #[test]
    fn w14_trusted_networks_are_read_and_asked_in_both_forms() {
        let lines = "protocol = \"submission\"\naddress = \"[::]:587\"\nauth_allow_cleartext = true\n\
                     trusted_networks = [\"192.168.0.0/16\", \"2001:db8::/32\", \"::ffff:10.0.0.5/128\"]";
        let text = GOOD.replace("protocol = \"smtp\"\naddress = \"127.0.0.1:2525\"", lines);
        let listen = &load(&text).unwrap().listen[0];
        assert!(listen.auth_allow_cleartext);
        for (address, trusted) in [
            ("192.168.255.1", true),
            ("192.169.0.1", false),
            ("10.0.0.5", true),
            ("10.0.0.4", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
            ("127.0.0.1", false),
            ("::ffff:192.168.0.1", true),
            ("::ffff:10.0.0.4", false),
        ] {
            assert_eq!(listen.trusted_networks.contain(address.parse().unwrap()), trusted, "{address}");
        }
        assert!(Networks::loopback().contain("127.9.9.9".parse().unwrap()));
        assert!(Networks::loopback().contain("::1".parse().unwrap()));
        assert!(!Networks::default().contain("127.0.0.1".parse().unwrap()));
    }

    fn networks(written: &str) -> Networks {
        Networks(written.split_whitespace().map(|network| network.parse().map(canonical).unwrap()).collect())
    }

    #[test]
    fn n193_a_network_that_no_single_owner_has_is_a_crowd() {
        for (written, crowd) in [
            ("10.0.0.0/8 0.0.0.0/0", Some("every machine")),
            ("::/0", Some("every machine")),
            ("0.0.0.0/1 128.0.0.0/1", Some("0.0.0.0/1, a large part of the Internet,")),
            ("64.0.0.0/7", Some("64.0.0.0/7, a large part of the Internet,")),
            ("2000::/3", Some("2000::/3, a large part of the Internet,")),
            ("::ffff:0.0.0.0/97", Some("0.0.0.0/1, a large part of the Internet,")),
            ("10.0.0.0/8 127.0.0.0/8 2001::/16 fc00::/7 fe80::/10", None),
            ("", None),
        ] {
            let found = networks(written).crowd();
            assert_eq!(found.as_ref().map(|(who, _)| who.as_str()), crowd, "{written}");
        }
    }

    #[test]
    fn n194_a_network_that_is_written_with_an_address_in_it_stands_for_the_whole() {
        let networks = networks("10.0.0.1/8 192.168.0.0/16 2001:db8::1/32 10.0.0.5/32");
        let told: Vec<String> =
            networks.with_host_bits().map(|(written, meant)| format!("{written} {meant}")).collect();
        assert_eq!(told, ["10.0.0.1/8 10.0.0.0/8", "2001:db8::1/32 2001:db8::/32"]);
        assert!(networks.contain("10.255.0.1".parse().unwrap()));
    }
}
