//! `restante status`: shows the metrics of a running server as a table, as a live screen or as JSON.
//!
//! It reads the file that the server writes every few seconds. The server opens no socket for it, which other
//! users could misuse.

#[cfg(feature = "tools")]
mod live;
mod source;
mod summary;

use std::{path::PathBuf, time::SystemTime};

use clap::Args;

use super::{config_arg::named_config, failure::Failure, output};
use crate::{config::Config, metrics::reader::MetricsSnapshot, printable};
use source::{named_source, source_of_config, source_of_here, source_of_mistaken_config, source_of_spool};
pub(super) use summary::staleness;

/// Show the statistics of a running server.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Configuration file of the server [default: $RESTANTE_CONFIG; without it, the server of ./spool if that is a spool, else
    /// the one whose metrics are newest]
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
    let config = arguments.config.clone().or_else(|| named_config().filter(|_| arguments.spool.is_none()));
    let (metrics, config_error) = match (&arguments.file, &config) {
        (Some(file), _) => (named_source(file)?, None),
        (None, Some(config)) => match Config::load(config) {
            Ok(loaded) => (source_of_config(config, &loaded)?, None),
            // A server that runs does so with the configuration before the mistake.
            Err(error) => match source_of_mistaken_config(config) {
                Some(metrics) => (metrics, Some(error)),
                None => return Err(error.into()),
            },
        },
        (None, None) => match &arguments.spool {
            Some(spool) => (source_of_spool(spool)?, None),
            None => (source_of_here()?, None),
        },
    };
    let now = SystemTime::now();
    #[cfg(feature = "tools")]
    if arguments.watch {
        let (source, reading) = metrics;
        return live::run(&source, reading).map_err(Failure::output);
    }
    let (_, reading) = metrics;
    let text = match () {
        () if arguments.check => format!("{}\n", summary::verdict(&reading, now)),
        () if arguments.json => json(&reading, now),
        () => table(&reading, now),
    };
    output::page(&text)?;
    if let Some(error) = config_error {
        return Err(error.into());
    }
    match staleness(&reading, now) {
        None => match summary::refusal(&reading).filter(|_| arguments.check) {
            Some(refusal) => Err(Failure::Other(refusal.sentence().into())),
            None => Ok(()),
        },
        Some(age) => Err(Failure::Other(summary::outdated(&age))),
    }
}

fn table(reading: &MetricsSnapshot, now: SystemTime) -> String {
    let mut text = format!("{}\n\n", summary::heading(reading, now));
    summary::lines(reading, None).iter().for_each(|line| {
        text.push_str(line);
        text.push('\n');
    });
    text
}

fn json(reading: &MetricsSnapshot, now: SystemTime) -> String {
    let metrics: serde_json::Map<String, serde_json::Value> =
        reading.samples().map(|(name, value)| (name, value.into())).collect();
    let all = serde_json::json!({ "age_seconds": reading.age(now).as_secs_f64(), "figures": metrics });
    format!("{}\n", printable::json(&all, true))
}
