//! `restante status`: shows the metrics of a running server as a table, as a live screen or as JSON.
//!
//! It reads the file that the server writes every few seconds. The server opens no socket for it, which other
//! users could misuse.

#[cfg(feature = "tools")]
mod live;
mod refusal;
mod source;
mod summary;

use std::{io, path::PathBuf, time::SystemTime};

use clap::Args;

use super::{
    config_arg::{default_config, named_config, tell_of_unnamed},
    default_spool::{CONFIGURATIONS, no_spool_here},
    failure::Failure,
    output,
};
use crate::{
    config::{self, Config},
    metrics::reader::MetricsSnapshot,
    printable,
};
use refusal::Refusal;
use source::{
    is_spool_here, named_source, only_source, source_of_config, source_of_here, source_of_mistaken_config,
    source_of_spool,
};
pub(super) use summary::staleness;

/// Show the statistics of a running server.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Configuration file of the server [default: $RESTANTE_CONFIG; without it, the server of ./spool if that is a spool, else
    /// /etc/restante/restante.toml, else, without --check, the only server that runs]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory with the mailboxes of the server
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    spool: Option<PathBuf>,
    /// File that the server writes its metrics to
    #[arg(long, value_name = "PATH", conflicts_with_all = ["config", "spool"])]
    file: Option<PathBuf>,
    /// Update the screen until q is pressed
    #[cfg(feature = "tools")]
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Print all metrics as JSON, by their Prometheus names
    #[arg(long)]
    json: bool,
    /// Print one line, and exit with 1 unless the server runs and takes mail: the health check of a container
    #[arg(long, conflicts_with = "json")]
    #[cfg_attr(feature = "tools", arg(conflicts_with = "watch"))]
    check: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    #[cfg(feature = "tools")]
    if arguments.watch && !live::has_terminal() {
        return Err(Failure::Usage(
            "--watch needs a terminal for its screen and its keys: without one, use `restante status`".into(),
        ));
    }
    let config = config_meant(arguments);
    if let (None, Some(taken)) = (&arguments.config, &config) {
        tell_of_unnamed(taken);
    }
    let (metrics, config_error) = match (&arguments.file, &arguments.spool, &config) {
        (Some(file), ..) => (named_source(file)?, None),
        (None, Some(spool), _) => (source_of_spool(spool)?, None),
        (None, None, Some(config)) => match Config::load(config) {
            Ok(loaded) => (source_of_config(config, &loaded, arguments.config.is_none())?, None),
            // Nobody has named the file. A health check needs the spool that is in it.
            Err(error) if is_closed(&error) && !arguments.check && !is_named(arguments) => {
                let only = only_source()?;
                output::message(format_args!("restante: {error}; this is the only server that is found"));
                (only, None)
            }
            // A server that runs does so with the configuration before the mistake.
            Err(error) => match source_of_mistaken_config(config) {
                Some(metrics) => (metrics, Some(error)),
                None => return Err(error.into()),
            },
        },
        (None, None, None) if is_spool_here() => (source_of_here()?, None),
        // A green light of another server would hide that the right one has ended.
        (None, None, None) if arguments.check => {
            return Err(Failure::Usage(format!(
                "--check needs --spool or --config, because {}",
                no_spool_here(CONFIGURATIONS)
            )));
        }
        (None, None, None) => (only_source()?, None),
    };
    let now = SystemTime::now();
    // The metrics that --file names may be of a server with other file systems.
    let is_here = arguments.file.is_none();
    #[cfg(feature = "tools")]
    if arguments.watch {
        let (source, reading) = metrics;
        return live::run(&source, reading, is_here).map_err(Failure::output);
    }
    let (_, reading) = metrics;
    let refusal = Refusal::of(&reading, is_here);
    let text = match () {
        () if arguments.check => format!("{}\n", summary::verdict(&reading, refusal, now)),
        () if arguments.json => json(&reading, refusal, now),
        () => table(&reading, refusal, now),
    };
    output::page(&text)?;
    if let Some(error) = config_error {
        return Err(error.into());
    }
    match staleness(&reading, now) {
        None => match refusal.filter(|_| arguments.check) {
            Some(refusal) => Err(Failure::Other(refusal.sentence().into())),
            None => Ok(()),
        },
        Some(age) => Err(Failure::Other(summary::outdated(&age))),
    }
}

/// The configuration that an option or the environment names, or else that of the machine, unless this directory has the spool
/// of another server.
fn config_meant(arguments: &Arguments) -> Option<PathBuf> {
    if arguments.spool.is_some() || arguments.file.is_some() {
        return None;
    }
    let found = || default_config().filter(|_| named_config().is_some() || !is_spool_here());
    arguments.config.clone().or_else(found)
}

/// Whether the user has named a configuration, by an option or in the environment.
fn is_named(arguments: &Arguments) -> bool {
    arguments.config.is_some() || named_config().is_some()
}

/// Whether this user may not read the configuration.
fn is_closed(error: &config::Error) -> bool {
    matches!(error, config::Error::Unreadable(_, error) if error.kind() == io::ErrorKind::PermissionDenied)
}

fn table(reading: &MetricsSnapshot, refusal: Option<Refusal>, now: SystemTime) -> String {
    let mut text = format!("{}\n\n", summary::heading(reading, now));
    summary::lines(reading, None, refusal).iter().for_each(|line| {
        text.push_str(line);
        text.push('\n');
    });
    text
}

fn json(reading: &MetricsSnapshot, refusal: Option<Refusal>, now: SystemTime) -> String {
    let metrics: serde_json::Map<String, serde_json::Value> =
        reading.samples().map(|(name, value)| (name, value.into())).collect();
    let (age, refusal) = (reading.age(now).as_secs_f64(), refusal.map(Refusal::sentence));
    let all = serde_json::json!({ "age_seconds": age, "refusal": refusal, "figures": metrics });
    format!("{}\n", printable::json(&all, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n186_only_a_configuration_that_is_closed_to_this_user_is_passed_over() {
        for (kind, expected) in [
            (io::ErrorKind::PermissionDenied, true),
            (io::ErrorKind::NotFound, false),
            (io::ErrorKind::InvalidData, false),
        ] {
            assert_eq!(is_closed(&config::Error::Unreadable("restante.toml".into(), kind.into())), expected);
        }
        assert!(!is_closed(&config::Error::Development("no".into())));
    }
}
