//! `restante serve`: the server, as a configuration file has it.

use std::{
    error::Error,
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use log::LevelFilter;

use super::Failure;
use crate::{
    accounts::Accounts,
    config::{Config, Service, Unknown},
    logging,
    server::{self, Server},
};

/// Run the server.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    running: Running,
}

/// What `serve` and `dev` have in common.
#[derive(Debug, Args)]
pub(super) struct Running {
    /// Write the addresses that were taken to FILE, one line each: smtp=127.0.0.1:2525.
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
    /// How much to log: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: LevelFilter,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = Config::load(&arguments.config)?;
    let accounts = match config.unknown {
        Unknown::Refuse => Accounts::load(&config.accounts, &config.domains)?,
        Unknown::Create => Accounts::open_house(&config.domains),
    };
    let another = format!("change `address` in {}", arguments.config.display());
    start(config, accounts, &arguments.running, &another)?.run().map_err(failed)
}

/// Starts logging, takes the ports, and says which. `another` tells how to choose other ones.
pub(super) fn start(
    config: Config,
    accounts: Accounts,
    running: &Running,
    another: &str,
) -> Result<Server, Failure> {
    logging::start(running.log_level).map_err(|error| Failure::Other(error.to_string()))?;
    let server = Server::bind(config, accounts).map_err(|error| explain(&error, another))?;
    let addresses = server.addresses();
    for &(protocol, address) in &addresses {
        logging::listening(protocol, address);
    }
    if let Some(path) = &running.ports_file {
        write_ports(path, &addresses)
            .map_err(|error| Failure::Other(format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(server)
}

pub(super) fn failed(error: server::Error) -> Failure {
    Failure::Other(error.to_string())
}

fn explain(error: &server::Error, another: &str) -> Failure {
    let advice = match error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
    {
        Some(io::ErrorKind::AddrInUse) => {
            format!(": another program listens there (`ss -ltnp` shows which); stop it, or {another}")
        }
        Some(io::ErrorKind::AddrNotAvailable) => {
            format!(": this machine does not have that address; {another}")
        }
        Some(io::ErrorKind::PermissionDenied) => format!(
            ": a port below 1024 needs root or CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=); \
             or {another}"
        ),
        _ => String::new(),
    };
    Failure::Other(format!("{error}{advice}"))
}

/// Whoever waits for the file finds it whole.
fn write_ports(path: &Path, addresses: &[(Service, SocketAddr)]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let mut file = fs::File::create(&temporary)?;
    for (protocol, address) in addresses {
        writeln!(file, "{protocol}={address}")?;
    }
    drop(file);
    fs::rename(&temporary, path)
}
