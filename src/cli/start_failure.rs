//! The failure of a start, with advice.

use std::io;

use rustix::io::Errno;

use super::failure::Failure;
use crate::{
    command_hint::path_word, listener::Error::Bind, maildir, net::endpoint::Endpoint, safe_file, server,
    system::places,
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

/// The failure of a start, with what to type next.
pub(super) fn start_failure(error: &server::Error, alternatives: Alternatives<'_>) -> Failure {
    let Alternatives { addresses: others, spool: other_spool } = alternatives;
    let advice = match error {
        server::Error::Listen(Bind(_, Endpoint::Unix(path), cause))
            if cause.kind() == io::ErrorKind::AddrInUse =>
        {
            format!(
                ": another program listens there, find it with `fuser {}`; end it, or {others}",
                path_word(path)
            )
        }
        server::Error::Listen(Bind(_, Endpoint::Unix(path), cause))
            if cause.kind() == io::ErrorKind::NotFound =>
        {
            format!(": {}", places::no_directory(safe_file::parent(path)))
        }
        server::Error::Listen(Bind(_, Endpoint::Ip(address), cause)) => match cause.kind() {
            io::ErrorKind::AddrInUse => format!(
                ": another program listens there, find it with `ss -ltnp 'sport = :{}'`; end it, or {others}{}",
                address.port(),
                if address.ip().is_unspecified() { BOTH_FAMILIES } else { "" }
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
            format!(": another restante uses it, find it with `fuser {path}`; end it, or {other_spool}")
        }
        _ => String::new(),
    };
    Failure::Other(format!("{error}{advice}"))
}

const BOTH_FAMILIES: &str = " ([::] takes IPv4 too, so a listener at 0.0.0.0 is not needed)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Service;

    #[test]
    fn o06_an_address_that_cannot_be_had_comes_with_advice() {
        for (address, cause, advice) in [
            ("10.0.0.1:25", Errno::ADDRINUSE, "'sport = :25'"),
            ("[::]:25", Errno::ADDRINUSE, "[::] takes IPv4 too"),
            ("10.0.0.1:25", Errno::ADDRNOTAVAIL, "does not have that address"),
            ("10.0.0.1:25", Errno::ACCESS, "CAP_NET_BIND_SERVICE"),
            ("[::1]:25", Errno::AFNOSUPPORT, "has no IPv6"),
        ] {
            let error = Bind(Service::Smtp, address.parse().unwrap(), cause.into());
            let said = start_failure(&error.into(), IN_CONFIGURATION).to_string();
            for part in [address, advice, "choose another address"] {
                assert!(said.contains(part), "{part:?} is not in {said:?}");
            }
        }
    }
}
