//! The words about other machines: whether they can connect, and the address that their users type.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::Path,
};

use crate::{config::Service, net::endpoint::Endpoint};

/// The addresses of the services that other machines can reach.
pub(super) fn open_to_others(taken: &[(Service, Endpoint)]) -> Vec<(Service, SocketAddr)> {
    let at = taken.iter().filter_map(|(service, at)| Some((*service, at.ip()?)));
    at.filter(|(_, address)| !address.ip().is_loopback()).collect()
}

/// The warning of a server with these addresses, with the one that other machines connect to. `None` if it has none.
pub(super) fn warning(open: &[(Service, SocketAddr)]) -> Option<String> {
    let (_, first) = open.first()?;
    let http = open.iter().find(|(service, _)| *service == Service::Http).map(|(_, http)| *http);
    let place = match (reached_at(*first), http.and_then(reached_at)) {
        (Some(own), Some(http)) => format!("at {} (web inbox http://{http}/)", own.ip()),
        (Some(own), None) => format!("at {}", own.ip()),
        (None, _) => NO_ADDRESS.to_owned(),
    };
    Some(format!(
        "Other machines can connect {place}.
Each of them can read and delete the mail of everybody, and passwords are sent in
clear text. Use it only on a network whose users you know.

"
    ))
}

/// The text of a server that was to be open, and is not.
pub(super) const NOT_OPEN: &str = "\
No other machine can connect: every port is at an address that this machine alone
reaches. Add --listen 0.0.0.0 to --network for all addresses of this machine.

";

/// Text in the place of the address, after "Other machines can connect".
const NO_ADDRESS: &str = "as soon as this one is in a network: no network
interface that is up has an address. `ip address` shows it when there is one";

/// The address at which other machines reach a listener.
fn reached_at(address: SocketAddr) -> Option<SocketAddr> {
    let ip = address.ip();
    let own = if ip.is_unspecified() { own_address(ip) } else { Some(ip) };
    own.map(|own| SocketAddr::new(own, address.port()))
}

/// The addresses at which a listener there is reached: those of this machine, if it is at all of them.
pub(super) fn addresses_of(listener: IpAddr) -> Vec<IpAddr> {
    if listener.is_unspecified() { own_addresses(listener) } else { vec![listener] }
}

/// The address of this machine that others most likely reach: it has the route to all other networks, otherwise that to
/// a network of an interface. The unspecified IPv6 address includes IPv4, which is easier to type.
fn own_address(any: IpAddr) -> Option<IpAddr> {
    own_addresses(any).into_iter().next()
}

/// The addresses of this machine, the one that others most likely reach first.
fn own_addresses(any: IpAddr) -> Vec<IpAddr> {
    let table = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let is_v6 = any.is_ipv6();
    let far = [FAR_V4].into_iter().chain(is_v6.then_some(FAR_V6));
    let near = near_hosts(&table("/proc/net/route"), is_physical);
    let own = if is_v6 { own_v6(&table("/proc/net/if_inet6")) } else { Vec::new() };
    far.chain(near).chain(own).filter_map(address_towards).collect()
}

/// The address of this machine in packets to another one. The kernel looks up the route, and nothing is sent.
fn address_towards(other: IpAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if other.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((other, 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback() && !own.is_unspecified()).then_some(own)
}

/// A host of each IPv4 network that an interface is in, as `/proc/net/route` (proc(5)) has them: those of hardware before
/// those of bridges for containers and the like. A network in which each machine takes an address for itself (RFC 3927)
/// is the last.
fn near_hosts(routes: &str, is_physical: impl Fn(&str) -> bool) -> Vec<IpAddr> {
    let number = |field: Option<&&str>| u32::from_str_radix(field?, 16).ok();
    let mut hosts: Vec<(bool, bool, Ipv4Addr)> = Vec::new();
    for line in routes.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some(network), Some(flags), Some(mask)) =
            (number(fields.get(1)), number(fields.get(3)), number(fields.get(7)))
        else {
            continue; // the titles
        };
        // The kernel prints the octets of an address as one number of this machine.
        let (network, mask) =
            (u32::from_be_bytes(network.to_ne_bytes()), u32::from_be_bytes(mask.to_ne_bytes()));
        let host = Ipv4Addr::from(if mask == u32::MAX { network } else { network | 1 });
        if flags & (UP | REJECT) == UP && mask != 0 && !host.is_multicast() && !host.is_loopback() {
            hosts.push((host.is_link_local(), !is_physical(fields[0]), host));
        }
    }
    hosts.sort_by_key(|(link_local, bridge, _)| (*link_local, *bridge));
    hosts.into_iter().map(|(.., host)| host.into()).collect()
}

/// The IPv6 addresses of this machine that are valid beyond one link, as `/proc/net/if_inet6` has them: the address, the
/// number of the interface, the length of the prefix, the scope, flags, and the name.
fn own_v6(addresses: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let address = Ipv6Addr::from(u128::from_str_radix(fields.first()?, 16).ok()?);
        (*fields.get(3)? == GLOBAL).then_some(IpAddr::from(address))
    };
    addresses.lines().filter_map(address).collect()
}

fn is_physical(interface: &str) -> bool {
    Path::new("/sys/class/net").join(interface).join("device").exists()
}

/// Addresses for documentation (RFC 5737 section 3, RFC 3849), which only the route to all networks leads to.
const FAR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// Flags of a route (linux/route.h).
const UP: u32 = 0x1;
const REJECT: u32 = 0x200;
/// The scope of an address that is valid in other networks (linux/ipv6.h).
const GLOBAL: &str = "00";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h45_a_machine_without_a_route_to_all_networks_has_the_address_of_an_interface() {
        let word = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let route = |interface: &str, to, flags: &str, mask| {
            format!("{interface}\t{}\t00000000\t{flags}\t0\t0\t0\t{}\t0\t0\t0\n", word(to), word(mask))
        };
        let routes = [
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
                .to_owned(),
            route("eth0", [0; 4], "0003", [0; 4]),
            route("eth0", [169, 254, 0, 0], "0001", [255, 255, 0, 0]),
            route("docker0", [172, 17, 0, 0], "0001", [255, 255, 0, 0]),
            route("eth0", [10, 1, 2, 0], "0001", [255, 255, 255, 0]),
            route("eth1", [10, 9, 0, 0], "0000", [255, 255, 0, 0]),
            route("eth1", [10, 8, 0, 0], "0201", [255, 255, 0, 0]),
            route("eth1", [224, 0, 0, 0], "0001", [240, 0, 0, 0]),
            route("ppp0", [10, 7, 0, 9], "0005", [255; 4]),
        ];
        let hosts = near_hosts(&routes.concat(), |interface| interface.starts_with("eth"));
        let expected = [[10, 1, 2, 1], [172, 17, 0, 1], [10, 7, 0, 9], [169, 254, 0, 1]].map(IpAddr::from);
        assert_eq!(hosts, expected);
        let addresses = "00000000000000000000000000000001 01 80 10 80       lo\n\
                         fd000000000000000000000000000002 04 40 00 82     eth0\n\
                         fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n";
        assert_eq!(own_v6(addresses), ["fd00::2".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn h45_the_warning_has_the_address_of_the_listener_or_one_of_this_machine() {
        let at = |service, address: &str| (service, Endpoint::Ip(address.parse().unwrap()));
        let warning = |taken: &[(Service, Endpoint)]| warning(&open_to_others(taken));
        assert_eq!(warning(&[at(Service::Smtp, "127.0.0.1:25"), at(Service::Http, "[::1]:80")]), None);
        let told = warning(&[at(Service::Smtp, "192.0.2.7:25"), at(Service::Http, "192.0.2.8:80")]).unwrap();
        assert!(
            told.starts_with("Other machines can connect at 192.0.2.7 (web inbox http://192.0.2.8:80/).\n"),
            "{told}"
        );
        for any in ["0.0.0.0:25", "[::]:25"] {
            let told = warning(&[at(Service::Smtp, any)]).unwrap();
            let is_told =
                told.starts_with("Other machines can connect at ") || told.contains("no network\ninterface");
            assert!(is_told && !told.contains("0.0.0.0") && !told.contains("::."), "{told}");
            assert!(told.lines().all(|line| line.len() <= 82), "{told}");
        }
    }
}
