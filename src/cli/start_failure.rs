//! The failure of a start, with advice.

use std::io;

use rustix::{io::Errno, process::geteuid};

use super::failure::Failure;
use crate::{
    command_hint::path_word, config::ListenerConfig, listener::Error::Bind, maildir, net::endpoint::Endpoint,
    safe_file, server, system::places,
};

/// The ways to start beside another program, as the user of a command types them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alternatives<'a> {
    /// To use other ports.
    pub(super) addresses: &'a str,
    /// To use another spool, or to share it.
    pub(super) spool: &'a str,
}

/// The alternatives of a server with a configuration.
pub(super) const IN_CONFIGURATION: Alternatives<'static> = Alternatives {
    addresses: "choose another address",
    spool: "set `shared_spool = true` in both configurations (`restante dev` shares none)",
};

/// The failure of a start with these listeners, with what to type next.
pub(super) fn start_failure(
    error: &server::Error,
    listeners: &[ListenerConfig],
    alternatives: Alternatives<'_>,
) -> Failure {
    let Alternatives { addresses: others, spool: other_spool } = alternatives;
    let advice = match error {
        server::Error::Listen(Bind(_, Endpoint::Unix(path), cause))
            if cause.kind() == io::ErrorKind::AddrInUse =>
        {
            format!(
                ": another program listens there, find it with `fuser {}`{}; end it, or {others}",
                path_word(path),
                as_root(),
            )
        }
        server::Error::Listen(Bind(_, Endpoint::Unix(path), cause))
            if cause.kind() == io::ErrorKind::NotFound =>
        {
            format!(": {}", places::no_directory(safe_file::parent(path)))
        }
        server::Error::Listen(Bind(_, Endpoint::Ip(address), cause)) => match cause.kind() {
            io::ErrorKind::AddrInUse => format!(
                ": another program listens there, find it with `ss -ltnp 'sport = :{}'`{}; end it, or {others}{}",
                address.port(),
                as_root(),
                taken_by_both_families(&Endpoint::Ip(*address), listeners).unwrap_or_default()
            ),
            io::ErrorKind::AddrNotAvailable => format!(": this machine does not have that address; {others}"),
            io::ErrorKind::PermissionDenied => format!(
                ": ports below 1024 need root or CAP_NET_BIND_SERVICE \
                 (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE); grant it, or {others}"
            ),
            _ if Errno::from_io_error(cause) == Some(Errno::AFNOSUPPORT) => {
                format!(": this machine has no IPv6; {others}")
            }
            _ => String::new(),
        },
        server::Error::Spool(cause) if cause.kind() == maildir::Kind::Locked => {
            let path = path_word(cause.path());
            let as_root = as_root();
            format!(
                ": another restante uses it, find it with `fuser {path}`{as_root}; end it, or {other_spool}"
            )
        }
        _ => String::new(),
    };
    Failure::Other(format!("{error}{advice}"))
}

/// Text after a command that tells only root of the programs of others.
fn as_root() -> &'static str {
    if geteuid().is_root() { "" } else { " (as root, if that names none)" }
}

/// The cause that lies in the configuration itself: one listener takes the port in IPv4 and IPv6, another one in IPv4.
fn taken_by_both_families(at: &Endpoint, listeners: &[ListenerConfig]) -> Option<String> {
    let mut addresses = listeners.iter().map(|listen| &listen.address);
    let (all, spare) = addresses.find_map(|other| match () {
        () if other.includes(at) => Some((other, at)),
        () if at.includes(other) => Some((at, other)),
        () => None,
    })?;
    Some(format!(" (the listener at {all} takes IPv4 too, so that at {spare} is not needed)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Service};

    #[test]
    fn o06_an_address_that_cannot_be_had_comes_with_advice() {
        for (address, cause, advice) in [
            ("10.0.0.1:25", Errno::ADDRINUSE, "'sport = :25'"),
            ("10.0.0.1:25", Errno::ADDRNOTAVAIL, "does not have that address"),
            ("10.0.0.1:25", Errno::ACCESS, "CAP_NET_BIND_SERVICE"),
            ("[::1]:25", Errno::AFNOSUPPORT, "has no IPv6"),
        ] {
            let error = Bind(Service::Smtp, address.parse().unwrap(), cause.into());
            let said = start_failure(&error.into(), &[], IN_CONFIGURATION).to_string();
            for part in [address, advice, "choose another address"] {
                assert!(said.contains(part), "{part:?} is not in {said:?}");
            }
        }
    }

    #[test]
    fn h30_a_listener_that_takes_ipv4_too_is_told_only_if_there_is_one() {
        let told = |failed: &str, other: &str| {
            let at = |text: &str| text.parse().unwrap();
            let config = Config::development("spool".into(), (at(failed), at(other)), true).unwrap();
            let error = Bind(Service::Smtp, failed.parse().unwrap(), Errno::ADDRINUSE.into());
            start_failure(&error.into(), &config.listen, IN_CONFIGURATION).to_string()
        };
        for (failed, other) in
            [("0.0.0.0:25", "[::]:25"), ("[::]:25", "0.0.0.0:25"), ("[::]:25", "127.0.0.1:25")]
        {
            let told = told(failed, other);
            assert!(told.contains("the listener at [::]:25 takes IPv4 too, so that at "), "{told}");
        }
        for (failed, other) in
            [("0.0.0.0:25", "[::]:110"), ("[::]:25", "0.0.0.0:110"), ("0.0.0.0:25", "[::1]:25")]
        {
            assert!(!told(failed, other).contains("takes IPv4 too"), "{failed} beside {other}");
        }
    }
}
