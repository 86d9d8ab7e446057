//! `restante status`: shows the metrics of a running server as a table, as a live screen or as JSON.
//!
//! It reads the file that the server writes every few seconds. The server opens no socket for it, which other
//! users could misuse.

#[cfg(feature = "tools")]
mod live;
mod summary;

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::Args;

use super::{Failure, output};
use crate::{
    config::Config,
    metrics::{
        location::{self, MetricsFile, Search},
        reader::MetricsSnapshot,
    },
    printable,
};

/// Show the metrics of a running server.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Configuration file of the server [default: the server whose readable metrics are newest]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File that the server writes its metrics to
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// Update the screen until q is pressed
    #[cfg(feature = "tools")]
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Print all metrics as JSON, by their Prometheus names
    #[arg(long)]
    json: bool,
}

/// The source of the metrics.
enum Source {
    /// A file named by the user.
    Named(PathBuf),
    /// A file found by search.
    Found(MetricsFile),
}

impl Source {
    fn read(&self) -> io::Result<MetricsSnapshot> {
        match self {
            Self::Named(path) => MetricsSnapshot::from_file(path),
            Self::Found(metrics) => metrics.read(),
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let metrics = match (&arguments.file, &arguments.config) {
        (Some(file), _) => named_source(file)?,
        (None, Some(config)) => source_of_config(&Config::load(config)?)?,
        (None, None) => latest_source(location::latest())?,
    };
    let now = SystemTime::now();
    #[cfg(feature = "tools")]
    if arguments.watch {
        let (source, reading) = metrics;
        return live::run(&source, reading).map_err(Failure::output);
    }
    let (_, reading) = metrics;
    let text = if arguments.json { json(&reading, now) } else { table(&reading, now) };
    output::page(&text)?;
    match staleness(&reading, now) {
        None => Ok(()),
        Some(age) => Err(Failure::Other(format!("the metrics are {age} old: the server has ended or hangs"))),
    }
}

fn source_of_config(config: &Config) -> Result<(Source, MetricsSnapshot), Failure> {
    match &config.metrics.file {
        Some(file) => named_source(file),
        None => latest_source(location::find(&config.spool, &config.hostname)),
    }
}

fn named_source(file: &Path) -> Result<(Source, MetricsSnapshot), Failure> {
    let source = Source::Named(file.to_owned());
    let reading = source.read().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Other(format!("{}: {NO_SERVER}", file.display())),
        _ => Failure::Other(format!("{}: {error}", file.display())),
    })?;
    Ok((source, reading))
}

/// Reads the newest metrics that can be read. Reports skipped directories and files, which another user has
/// written or could have written.
fn latest_source(search: Search) -> Result<(Source, MetricsSnapshot), Failure> {
    let mut left_out = search.refused;
    for metrics in search.files {
        match metrics.read() {
            Ok(reading) => {
                for why in left_out {
                    output::message(format_args!("restante: skipped: {why}"));
                }
                return Ok((Source::Found(metrics), reading));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // the server ended meanwhile
            Err(error) => left_out.push(format!("{}: {error}", metrics.path().display())),
        }
    }
    let left_out: String = left_out.iter().map(|why| format!("; skipped: {why}")).collect();
    Err(Failure::Other(format!("{NO_SERVER}{left_out}")))
}

/// The age of the metrics, if a running server would have written newer ones.
fn staleness(reading: &MetricsSnapshot, now: SystemTime) -> Option<String> {
    let every = reading.value("restante_written_every_seconds").unwrap_or_default();
    let age = reading.age(now);
    let three_times = Duration::try_from_secs_f64(3.0 * every).unwrap_or_default();
    (age > three_times.saturating_add(SLACK)).then(|| summary::span(age))
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

const NO_SERVER: &str =
    "no metrics: the server is not running, or writes them elsewhere (choose with --config or --file)";
/// Delay allowed to a busy machine.
const SLACK: Duration = Duration::from_secs(5);
