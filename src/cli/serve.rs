//! `restante serve`: runs the server with a configuration file.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use log::LevelFilter;

use super::{
    config_arg::ConfigArg,
    failure::Failure,
    orphans, output,
    start_failure::{Alternatives, IN_CONFIGURATION, start_failure},
    startup::{self, Prepared, Purpose},
};
use crate::{
    config::{Config, ConfigText, Destination, Service},
    logging,
    net::endpoint::Endpoint,
    safe_file::{self, Directory, Durability},
    server::Server,
    system::{
        DroppedPrivileges, places, sd_notify::SdNotify, socket_activation::InheritedSockets, spool_place,
        written_files,
    },
};

/// Run the server.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigArg,
    #[command(flatten)]
    running: RunArgs,
}

/// Options of both `serve` and `dev`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Write the listening addresses to FILE, one per line: smtp=127.0.0.1:2525
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
    /// Log level, instead of the configured one
    #[arg(long, value_name = "LEVEL", value_parser = log_levels())]
    log_level: Option<LevelFilter>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.file.path_for_log()?;
    let (config, text) = Config::read(&path)?;
    let others = format!("change `address` in {}", path.display());
    let alternatives = Alternatives { addresses: &others, ..IN_CONFIGURATION };
    start(config, &text, &arguments.running, alternatives)?.run_until_stopped()
}

/// A server that is ready to run, and the service manager to notify.
pub(super) struct ReadyServer {
    pub(super) server: Server,
    manager: SdNotify,
}

/// Binds the ports, starts everything, and reports the ports. `alternatives` tells the user how to start
/// beside another program.
///
/// The sandbox applies to the calling thread and to the threads it starts, so no other thread may exist before, not even
/// that of the log. It changes nothing on disk unless the files are valid.
pub(super) fn start(
    config: Config,
    text: &ConfigText,
    running: &RunArgs,
    alternatives: Alternatives<'_>,
) -> Result<ReadyServer, Failure> {
    let passed = InheritedSockets::from_environment().map_err(|error| Failure::Other(error.to_string()))?;
    let manager = SdNotify::from_environment();
    let Prepared { files, sockets, mut privileges, warnings } =
        startup::prepare(config, text, Purpose::Serve(passed, alternatives))?;
    // Before anything is made: a server that cannot start leaves nothing.
    let about_ports = |path: &Path| {
        places::ports_file(&files.config, path)
            .or_else(|| written_files::ports_file(path, &files.config, text.path()))
    };
    if let Some(problem) = running.ports_file.as_deref().and_then(about_ports) {
        return Err(Failure::Other(problem.why));
    }
    // Seen before the sandbox, which makes the directory.
    let is_new_spool = text.path().is_some() && is_unused(&files.config.spool);
    let spool = files.config.spool.clone();
    let meant = is_new_spool.then(|| spool_place::used_spool_near(&spool)).flatten();
    if let (Some(privileges), Some(file)) = (&mut privileges, text.path()) {
        privileges
            .enter_sandbox(&files.config, file, running.ports_file.as_deref())
            .map_err(|error| Failure::Other(error.to_string()))?;
    }
    let to = &files.config.log.destination;
    let is_in_place = logging::start(&files.config.log, running.log_level)
        .map_err(|error| Failure::Other(format!("cannot log to {to}: {error}")))?;
    match to {
        Destination::Stderr => {}
        _ if is_in_place => output::message(format_args!("restante: the log is in {to}")),
        _ => output::message(format_args!(
            "restante: no daemon at {to} accepts the log: it goes nowhere until one runs there; for a log without one, set \
             destination = \"stderr\" or a file in [log]"
        )),
    }
    privileges.iter().for_each(DroppedPrivileges::log);
    let manager = manager.unwrap_or_else(|error| {
        log::warn!("cannot notify the service manager: {error}");
        SdNotify::default()
    });
    warnings.iter().for_each(|warning| log::warn!("{warning}"));
    let orphans_warning = orphans::warning(&files.config.spool, &files.accounts);
    let listeners = files.config.listen.clone();
    let server = Server::open(files, sockets, text.path())
        .map_err(|error| start_failure(&error, &listeners, alternatives))?;
    if is_new_spool {
        log::warn!(
            "new spool, without mail: {}; right at a first start, otherwise stop the server and mount the disk of the spool{}",
            spool.display(),
            meant.map(|question| format!("; {question}")).unwrap_or_default()
        );
    }
    if let Some(warning) = orphans_warning {
        log::warn!("{warning}");
    }
    let endpoints = server.endpoints();
    for (protocol, endpoint) in &endpoints {
        logging::listening(protocol.name(), endpoint);
    }
    if let Some(path) = &running.ports_file {
        write_ports(path, &endpoints)
            .map_err(|error| Failure::Other(format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(ReadyServer { server, manager })
}

impl ReadyServer {
    /// Runs the server until a signal ends it.
    pub(super) fn run_until_stopped(self) -> Result<(), Failure> {
        let ended = self.server.run(self.manager).map_err(|error| Failure::Other(error.to_string()));
        logging::flush();
        ended
    }
}

/// Whether no server has used that directory as its spool: it is not there, or is empty. A disk that is not mounted
/// leaves an empty directory.
pub(super) fn is_unused(spool: &Path) -> bool {
    match spool.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn log_levels() -> impl TypedValueParser<Value = LevelFilter> {
    PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .try_map(|name| name.parse::<LevelFilter>())
}

/// Writes the file by renaming, so that a waiting program finds it complete.
fn write_ports(path: &Path, endpoints: &[(Service, Endpoint)]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let lines: String =
        endpoints.iter().map(|(protocol, endpoint)| format!("{protocol}={endpoint}\n")).collect();
    Directory::trusted_if_root(safe_file::parent(path))?.replace(
        name,
        0o600,
        lines.as_bytes(),
        Durability::Cached,
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_ports_file_is_written_whole_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ports");
        fs::write(&path, "what was there before").unwrap();
        let smtp = (Service::Smtp, "127.0.0.1:2525".parse().unwrap());
        let pop3 = (Service::Pop3, "[::1]:1110".parse().unwrap());
        write_ports(&path, &[pop3, smtp]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "pop3=[::1]:1110\nsmtp=127.0.0.1:2525\n");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }
}
