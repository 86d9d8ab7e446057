//! The server of a configuration that runs already, as far as the user of a command can know it.
//!
//! The rule: another user than root and the server's sees neither its processes nor its spool. The lock on the spool,
//! and metrics that are new, tell that it runs; the program that has a port stays unknown to such a user.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process,
    time::SystemTime,
};

use rustix::process::geteuid;

use super::{
    config_arg::config_of_server, failure::Failure, same_place::is_same, start_failure::Alternatives,
    status::staleness,
};
use crate::{
    command_hint::{restante, with_paths},
    config::{Config, ConfigText},
    file_rights::{lock_holder, process_with_lock},
    listener::Error::Bind,
    maildir::{Spool, lock},
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

/// Whether a server of the configuration file runs, and the spool is not in its place, as after `mv`. Another directory may be
/// there, which no server has used.
pub(super) fn is_displaced(config: &Config, file: Option<&Path>) -> bool {
    let is_missing =
        |path: &Path| path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let has_address =
        || file.is_some_and(|file| config.listen.iter().any(|listen| is_of_server(file, &listen.address)));
    let is_of_running_server = match fs::metadata(&config.spool) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => is_in_use(config, file) || has_address(),
        // Metrics outlive their server, so only its address tells that it runs.
        Ok(about) if about.is_dir() && is_missing(&config.spool.join(lock::FILE)) => {
            !has_lock(&config.spool) && has_address()
        }
        _ => false,
    };
    is_of_running_server && elsewhere(config, file).is_empty()
}

/// Whether the process that uses the spool has another configuration, so that a start with this one is refused. False if the
/// kernel does not show that to this user.
pub(super) fn is_of_another_file(config: &Config, file: Option<&Path>) -> bool {
    let process = process_with_lock(&config.spool).filter(|_| !config.shared_spool);
    process.zip(file).is_some_and(|(process, file)| is_server_of(&process, file) == Some(false))
}

/// Whether the server of a configuration file may have an address, while its spool is not in its place.
pub(super) fn may_have_displaced(file: Option<&Path>, address: &Endpoint) -> bool {
    !matches!(address, Endpoint::Ip(_)) || file.is_some_and(|file| is_of_server(file, address))
}

/// The sentence about a spool that [is not in its place](is_displaced).
pub(super) fn about_displaced(config: &Config) -> String {
    let (spool, status) = (config.spool.display(), restante(&["status"]));
    let remedy = if config.spool.exists() {
        "another directory is there: move that one away and the spool back, or restart the server to use it"
    } else {
        "move the spool back there"
    };
    format!(
        "the spool {spool} is not in its place, and a server of this file runs with it: {status} shows that server; {remedy}"
    )
}

/// Whether another process, a server with that configuration file, has an address. Only root sees the processes of others.
fn is_of_server(file: &Path, address: &Endpoint) -> bool {
    let own = PathBuf::from(format!("/proc/{}", process::id()));
    let processes = port_holder::processes_at(address);
    processes.iter().any(|process| *process != own && is_server_of(process, file) == Some(true))
}

/// Whether a process, by its directory in /proc, is a server with that configuration file. `None` if the kernel does not show
/// that to this user.
fn is_server_of(process: &Path, file: &Path) -> Option<bool> {
    let words = fs::read(process.join("cmdline")).ok().filter(|words| !words.is_empty())?;
    let environment = fs::read(process.join("environ"));
    let has_option = words.split(|octet| *octet == 0).any(|word| word.starts_with(b"--config"));
    let Some(named) = config_of_server(&words, environment.as_deref().unwrap_or_default()) else {
        return Some(false);
    };
    let directory = fs::read_link(process.join("cwd"));
    if environment.is_err() && !has_option || directory.is_err() && named.is_relative() {
        return None;
    }
    Some(is_same(&directory.unwrap_or_default().join(named), file))
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
    let is_displaced = is_displaced(config, text.path());
    let place = if is_displaced { ", which is not in its place" } else { "" };
    let displaced = (is_displaced && may_have_displaced(text.path(), address)).then_some(&config.spool);
    let spool = spools.iter().find(|spool| port_holder::may_be_server_of(spool, address)).or(displaced)?;
    let certainty = if geteuid().is_root() { "" } else { "; run this as root to be certain" };
    let (server, status, otherwise) = match text.path() {
        Some(file) => {
            let server = format!("the server of {}, which runs", file.display());
            (server, restante(&["status"]), "end it before you start it again".to_owned())
        }
        None => {
            let Alternatives { addresses, spool: other_spool } = alternatives;
            let words: [&OsStr; 3] = ["status".as_ref(), "--spool".as_ref(), spool.as_os_str()];
            let status = format!("`{}`", with_paths(&words));
            ("a server that runs".to_owned(), status, format!("end it, or {addresses}, and {other_spool}"))
        }
    };
    Some(Failure::Other(format!(
        "{error}: that is probably {server} with the spool {}{place}; {status} shows it{certainty}; {otherwise}",
        spool.display()
    )))
}

/// Whether a server uses the spool of the configuration.
fn is_in_use(config: &Config, file: Option<&Path>) -> bool {
    let spool = &config.spool;
    has_lock(spool)
        // The directory may be closed to this user.
        || of_file(config, file).any(|reading| {
            staleness(&reading, SystemTime::now()).is_none()
                && reading.spool().is_some_and(|of| is_same(Path::new(of), spool))
        })
}

/// Whether a server has a lock on that directory.
fn has_lock(spool: &Path) -> bool {
    lock_holder(spool).is_some() || Spool::open_existing(spool).is_ok_and(|spool| spool.is_in_use())
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
