//! The server of a configuration that runs already, as far as the user of a command can know it.
//!
//! The rule: another user than root and the server's sees neither its processes nor its spool. The lock on the spool,
//! and metrics that are new, tell that it runs; the program that has a port stays unknown to such a user.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::process::geteuid;

use super::{failure::Failure, same_place::is_same, start_failure::Alternatives, status::staleness};
use crate::{
    command_hint::restante,
    config::{Config, ConfigText},
    file_rights::lock_holder,
    listener::Error::Bind,
    maildir::Spool,
    metrics::{location, reader::MetricsSnapshot},
    net::endpoint::Endpoint,
    server,
    system::port_holder,
};

/// The spools of the servers that may have the addresses of a configuration: its own, if a server uses it, and those with
/// which servers of the same file run.
pub(super) fn spools(config: &Config, file: Option<&Path>) -> Vec<PathBuf> {
    let own = is_in_use(config, file).then(|| config.spool.clone());
    own.into_iter().chain(elsewhere(config, file)).collect()
}

/// Whether one of these servers may have that address.
pub(super) fn may_have(spools: &[PathBuf], address: &Endpoint) -> bool {
    spools.iter().any(|spool| port_holder::may_be_server_of(spool, address))
}

/// The spools of the servers that run with a configuration file, and had another spool in it at their start.
pub(super) fn elsewhere(config: &Config, file: Option<&Path>) -> Vec<PathBuf> {
    let mut spools: Vec<PathBuf> = of_file(config, file)
        .filter_map(|reading| reading.spool().map(PathBuf::from))
        .filter(|spool| !is_same(spool, &config.spool))
        .filter(|spool| Spool::open_existing(spool).is_ok_and(|spool| spool.is_in_use()))
        .collect();
    spools.sort();
    spools.dedup();
    spools
}

/// The failure of a start at an address that the server of this configuration has already. `None` if another program may
/// have it, or certainly has it.
pub(super) fn own_server(
    error: &server::Error,
    config: &Config,
    text: &ConfigText,
    alternatives: Alternatives<'_>,
) -> Option<Failure> {
    let server::Error::Listen(Bind(_, address, cause)) = error else { return None };
    let may_be_taken = match cause.kind() {
        io::ErrorKind::AddrInUse => true,
        // This user may not bind the port or the socket, so the kernel does not tell whether it is taken.
        io::ErrorKind::PermissionDenied => !matches!(address, Endpoint::Unix(path) if !path.exists()),
        _ => false,
    };
    if !may_be_taken {
        return None;
    }
    let spools = spools(config, text.path());
    let spool = spools.iter().find(|spool| port_holder::may_be_server_of(spool, address))?;
    let certainty = if geteuid().is_root() { "" } else { "; run this as root to be certain" };
    let (server, status, otherwise) = match text.path() {
        Some(file) => {
            let server = format!("the server of {}, which runs", file.display());
            (server, restante(&["status"]), "end it before you start it again".to_owned())
        }
        None => {
            let Alternatives { addresses, spool: other_spool } = alternatives;
            let status = restante(&["status", "--spool", &spool.to_string_lossy()]);
            ("a server that runs".to_owned(), status, format!("end it, or {addresses}, and {other_spool}"))
        }
    };
    Some(Failure::Other(format!(
        "{error}: that is probably {server} with the spool {}; {status} shows it{certainty}; {otherwise}",
        spool.display()
    )))
}

/// Whether a server uses the spool of the configuration.
fn is_in_use(config: &Config, file: Option<&Path>) -> bool {
    let spool = &config.spool;
    lock_holder(spool).is_some()
        || Spool::open_existing(spool).is_ok_and(|spool| spool.is_in_use())
        // The directory may be closed to this user.
        || of_file(config, file).any(|reading| {
            staleness(&reading, SystemTime::now()).is_none()
                && reading.spool().is_some_and(|of| is_same(Path::new(of), spool))
        })
}

/// The metrics of the servers that were started with a configuration file.
fn of_file<'a>(config: &'a Config, file: Option<&'a Path>) -> impl Iterator<Item = MetricsSnapshot> + 'a {
    let is_of_file = |reading: &MetricsSnapshot, file: &Path| {
        fs::canonicalize(file).is_ok_and(|file| reading.configuration() == Some(&file))
    };
    file.into_iter().flat_map(move |file| {
        let named = config.metrics.file.iter().filter_map(|path| MetricsSnapshot::from_file(path).ok());
        let named = named.filter(move |reading| is_of_file(reading, file));
        location::of_configuration(file).into_iter().chain(named)
    })
}
