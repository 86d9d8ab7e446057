//! The program that listens at an address of this machine, as far as /proc shows it to this user.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use crate::net::endpoint::Endpoint;

/// Whether the program that listens at an address may be the running server of a spool. True if it is that server, or if
/// the kernel does not show the program: only root can look into the processes of others. False if it is another program,
/// or if nothing listens.
pub fn may_be_server_of(spool: &Path, endpoint: &Endpoint) -> bool {
    let Endpoint::Ip(address) = endpoint else { return true };
    let sockets = listening_sockets(*address);
    let spool = fs::canonicalize(spool).unwrap_or_else(|_| spool.to_owned());
    let mut is_other = false;
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let (mut has_socket, mut has_spool) = (false, false);
        for file in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(file) = fs::read_link(file.path()) else { continue };
            has_socket |= file.to_str().is_some_and(|file| sockets.iter().any(|socket| socket == file));
            has_spool |= file.starts_with(&spool); // every server has the directory open
        }
        if has_socket && has_spool {
            return true;
        }
        is_other |= has_socket;
    }
    !sockets.is_empty() && !is_other
}

/// The directories in /proc of the processes that listen at an address, as far as the kernel shows them to this user.
pub fn processes_at(endpoint: &Endpoint) -> Vec<PathBuf> {
    let Endpoint::Ip(address) = endpoint else { return Vec::new() };
    let sockets = listening_sockets(*address);
    let has_socket = |process: &PathBuf| {
        let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let mut files = files.filter_map(|file| fs::read_link(file.path()).ok());
        files.any(|file| sockets.iter().any(|socket| file.as_path() == Path::new(socket)))
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.map(|process| process.path()).filter(has_socket).collect()
}

/// The sockets that listen at an address, or at one that includes it or is part of it, as /proc names open files.
fn listening_sockets(address: SocketAddr) -> Vec<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    lines
        .filter_map(listening_socket)
        .filter(|(at, _)| conflicts(*at, address))
        .map(|(_, name)| name)
        .collect()
}

fn conflicts(one: SocketAddr, other: SocketAddr) -> bool {
    let same_host = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && same_host
}

/// A line of `/proc/net/tcp`: the local address is the second field, the state the fourth, the inode the tenth (proc(5)).
fn listening_socket(line: &str) -> Option<(SocketAddr, String)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    let address = SocketAddr::new(ip_of(ip)?, u16::from_str_radix(port, 16).ok()?);
    let inode = fields.get(9)?;
    (*fields.get(3)? == LISTEN).then(|| (address, format!("socket:[{inode}]")))
}

/// The kernel writes an address as numbers of 32 bits in the order of this machine.
fn ip_of(digits: &str) -> Option<IpAddr> {
    let word =
        |at: usize| u32::from_str_radix(digits.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match digits.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            Some(IpAddr::from(octets).to_canonical())
        }
        _ => None,
    }
}

/// The state `TCP_LISTEN` of the kernel.
const LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn n53_another_program_at_an_address_is_told_from_the_server_of_the_spool() {
        let (spool, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = TcpListener::bind(host) else { continue };
            let address = socket.local_addr().unwrap();
            let _open = fs::File::open(spool.path()).unwrap();
            let any = SocketAddr::new([0, 0, 0, 0].into(), address.port());
            for address in [address, any].map(Endpoint::Ip) {
                assert!(may_be_server_of(spool.path(), &address), "{address}");
                assert!(!may_be_server_of(elsewhere.path(), &address), "{address}");
            }
            drop(socket);
            assert!(!may_be_server_of(spool.path(), &Endpoint::Ip(address)), "nothing listens at {address}");
        }
    }

    #[test]
    fn n136_the_process_at_an_address_is_found() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Endpoint::Ip(socket.local_addr().unwrap());
        let own = PathBuf::from(format!("/proc/{}", std::process::id()));
        assert!(processes_at(&address).contains(&own));
        drop(socket);
        assert!(!processes_at(&address).contains(&own));
    }
}
