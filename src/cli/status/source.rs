//! The file from which the figures are read.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    cli::{failure::Failure, output},
    config::Config,
    metrics::{
        location::{self, MetricsFile, Search},
        reader::MetricsSnapshot,
    },
};

/// The source of the metrics.
pub(super) enum Source {
    /// A file named by the user.
    Named(PathBuf),
    /// A file found by search.
    Found(MetricsFile),
}

impl Source {
    pub(super) fn read(&self) -> io::Result<MetricsSnapshot> {
        match self {
            Self::Named(path) => MetricsSnapshot::from_file(path),
            Self::Found(metrics) => metrics.read(),
        }
    }
}

pub(super) fn source_of_config(config: &Config) -> Result<(Source, MetricsSnapshot), Failure> {
    match &config.metrics.file {
        Some(file) => named_source(file),
        None => latest_source(location::find(&config.spool, &config.hostname)),
    }
}

pub(super) fn named_source(file: &Path) -> Result<(Source, MetricsSnapshot), Failure> {
    let source = Source::Named(file.to_owned());
    let reading = source.read().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Other(format!("{}: {NO_SERVER}", file.display())),
        _ => Failure::Other(format!("{}: {error}", file.display())),
    })?;
    Ok((source, reading))
}

/// Reads the newest metrics that can be read. Reports skipped directories and files, which another user has
/// written or could have written.
pub(super) fn latest_source(search: Search) -> Result<(Source, MetricsSnapshot), Failure> {
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

const NO_SERVER: &str =
    "no metrics: the server is not running, or writes them elsewhere (choose with --config or --file)";
