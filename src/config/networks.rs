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

    /// True if one of the networks has all addresses of IPv4 or of IPv6.
    pub fn contain_everything(&self) -> bool {
        self.0.iter().any(|network| network.prefix_len() == 0)
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
}
