//! The file from which the figures are read.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::unistd::Uid;

use super::summary::staleness;
use crate::{
    cli::{
        default_spool::{HERE, NAME_SPOOL},
        failure::Failure,
        output,
        same_place::is_same,
    },
    command_hint::path_word,
    config::{Config, MistakenPlaces},
    file_rights::{as_another_user, lock_holder, server_words, way_to_become},
    maildir::Spool,
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

/// The server of a configuration. `names_others`: see [`chosen`].
pub(super) fn source_of_config(
    path: &Path,
    config: &Config,
    names_others: bool,
) -> Result<(Source, MetricsSnapshot), Failure> {
    match &config.metrics.file {
        Some(file) => {
            let (source, reading) = named_source(file)?;
            match reading.spool().filter(|spool| !is_same(Path::new(spool), &config.spool)) {
                Some(other) => Err(metrics_of_another(path, file, &config.spool, (other, &reading))),
                None => Ok((source, reading)),
            }
        }
        None => {
            let (mut found, _) = readable(location::find(&config.spool, &config.hostname));
            // The server may run with the host name that the file had at its start.
            let of_spool = || {
                chosen(&config.spool, names_others).map_err(|failure| match server_of_file(path) {
                    Some(spool) => Failure::Other(format!(
                        "{failure}; a server of this file runs with another spool, see `restante status --spool {}` (a \
                         new `spool` takes a restart)",
                        path_word(Path::new(&spool))
                    )),
                    None => failure,
                })
            };
            found.pop().map_or_else(of_spool, Ok)
        }
    }
}

/// The failure for the `file` of `[metrics]` if another server than that of the configuration writes to it.
fn metrics_of_another(
    path: &Path,
    file: &Path,
    spool: &Path,
    (other, reading): (&str, &MetricsSnapshot),
) -> Failure {
    let is_of_file = fs::canonicalize(path).is_ok_and(|path| reading.configuration() == Some(&path));
    let reason = if is_of_file {
        "a server of this file runs with that spool, because a new `spool` takes a restart".to_owned()
    } else {
        "two servers need two files: name another one in [metrics], and restart the server of this configuration".to_owned()
    };
    Failure::Other(format!(
        "{} has the metrics of the server of {other}, and `spool` is {}: {reason} (`restante status --file {}` shows that \
         server)",
        file.display(),
        spool.display(),
        path_word(file)
    ))
}

/// The server of a configuration with a mistake, and never that of another one.
pub(super) fn source_of_mistaken_config(path: &Path) -> Option<(Source, MetricsSnapshot)> {
    let MistakenPlaces { spool, metrics } = MistakenPlaces::read(path)?;
    match metrics {
        Some(file) => named_source(&file).ok().filter(|(_, reading)| {
            // A specifier of systemd stands in the place of a path.
            let is_path = !spool.to_string_lossy().contains('%');
            reading.spool().is_none_or(|of| !is_path || is_same(Path::new(of), &spool))
        }),
        None => source_of_spool(&spool).ok(),
    }
}

/// Whether this directory has a spool, `./spool`, or a server had one there that is gone or was replaced.
pub(super) fn is_spool_here() -> bool {
    let here = Path::new(HERE);
    // One that this user cannot read may be a spool.
    let is_there = here.is_dir() && Spool::has_sign_of_one(here).unwrap_or(true);
    let is_of_here = |metrics: &MetricsFile| {
        metrics.read().is_ok_and(|reading| reading.spool().is_some_and(|of| is_same(Path::new(of), here)))
    };
    is_there || location::latest().files.iter().any(is_of_here)
}

/// The server of `./spool`, and never that of another one. The answer would otherwise be that of any server of the machine
/// after its own has ended.
pub(super) fn source_of_here() -> Result<(Source, MetricsSnapshot), Failure> {
    let path = fs::canonicalize(HERE).or_else(|_| std::path::absolute(HERE));
    chosen(&path.unwrap_or_else(|_| HERE.into()), true)
}

/// The server of a spool. It may run although its spool is gone.
pub(super) fn source_of_spool(spool: &Path) -> Result<(Source, MetricsSnapshot), Failure> {
    let is_absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    chosen(spool, false).map_err(|failure| match spool.symlink_metadata() {
        Err(error) if is_absent(&error) => {
            Failure::Other(format!("{} is not there: {NAME_SPOOL}", spool.display()))
        }
        _ => failure,
    })
}

/// The only server that runs on the machine. If none does, the one that has written its metrics last.
pub(super) fn only_source() -> Result<(Source, MetricsSnapshot), Failure> {
    let (mut found, skipped) = readable(location::latest());
    let running: BTreeSet<&str> = found.iter().filter_map(spool_if_running).collect();
    if running.len() > 1 {
        let commands: Vec<String> = running.into_iter().map(command_for).collect();
        return Err(Failure::Usage(format!(
            "{} servers run: choose one with {}",
            commands.len(),
            commands.join(" or ")
        )));
    }
    // The newest are the last.
    let now = SystemTime::now();
    match found.iter().rposition(|(_, reading)| staleness(reading, now).is_none()) {
        Some(at) => Ok(found.swap_remove(at)),
        None => found.pop().ok_or_else(|| nothing_found(&skipped)),
    }
}

/// The server of a spool, which may be gone from its place. `names_others`: the spools of other servers that run are named,
/// because the user did not choose one.
fn chosen(spool: &Path, names_others: bool) -> Result<(Source, MetricsSnapshot), Failure> {
    let (found, skipped) = readable(location::latest());
    let is_of = |reading: &MetricsSnapshot| reading.spool().is_some_and(|of| is_same(Path::new(of), spool));
    let (mut ours, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, reading)| is_of(reading));
    // The newest are the last.
    let newest = ours.pop();
    let running = ours.iter().chain(&others).filter_map(spool_if_running).filter(|_| names_others);
    let running: Vec<&str> = running.collect();
    let Some(newest) = newest else {
        return Err(none_of_spool(spool, &running, &skipped));
    };
    if !running.is_empty() {
        output::message(format_args!(
            "restante: this is the server of {}; choose another one with --spool: {}",
            newest.1.spool().unwrap_or("?"),
            running.join(", ")
        ));
    }
    Ok(newest)
}

pub(super) fn named_source(file: &Path) -> Result<(Source, MetricsSnapshot), Failure> {
    let source = Source::Named(file.to_owned());
    let reading = source.read().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Other(format!("{}: {NO_SERVER}", file.display())),
        _ => {
            let advice = as_another_user(&error).map(|advice| format!(": {advice}")).unwrap_or_default();
            Failure::Other(format!("{}: {error}{advice}", file.display()))
        }
    })?;
    Ok((source, reading))
}

/// Reads all metrics that can be read, the newest last. Reports skipped directories and files, which another user has
/// written or could have written.
fn readable(search: Search) -> (Vec<(Source, MetricsSnapshot)>, Vec<String>) {
    let (mut found, mut skipped) = (Vec::new(), search.refused);
    for metrics in search.files.into_iter().rev() {
        match metrics.read() {
            Ok(reading) => found.push((Source::Found(metrics), reading)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // the server ended meanwhile
            Err(error) => skipped.push(format!("{}: {error}", metrics.path().display())),
        }
    }
    if !found.is_empty() {
        skipped.iter().for_each(|why| output::message(format_args!("restante: skipped: {why}")));
    }
    (found, skipped)
}

fn spool_if_running((_, reading): &(Source, MetricsSnapshot)) -> Option<&str> {
    staleness(reading, SystemTime::now()).is_none().then(|| reading.spool()).flatten()
}

/// The spool of the running server that was started with a configuration file.
fn server_of_file(path: &Path) -> Option<String> {
    location::of_configuration(path).iter().find_map(|reading| {
        staleness(reading, SystemTime::now()).is_none().then(|| reading.spool().map(str::to_owned)).flatten()
    })
}

/// `running`: the spools of the servers that run.
fn none_of_spool(spool: &Path, running: &[&str], skipped: &[String]) -> Failure {
    let others = running.iter().map(|spool| format!("; one of another spool runs: {}", command_for(spool)));
    let why = why_none(lock_holder(spool));
    Failure::Other(format!(
        "no metrics of a server of {}: {why}{}{}",
        spool.display(),
        others.collect::<String>(),
        told_of(skipped)
    ))
}

/// The reasons why a spool has no metrics. `holder`: the user of the server that has the spool.
fn why_none(holder: Option<Uid>) -> String {
    let elsewhere =
        "writes them elsewhere (choose with --config or --file), or cannot write them (see its log)";
    match holder {
        Some(user) if user == Uid::effective() => format!("it runs, and {elsewhere}"),
        Some(user) => format!(
            "{}, and this user cannot read its metrics, or it cannot write them (see its log): {}",
            server_words(user),
            way_to_become(user)
        ),
        None => format!("it is not running, {elsewhere}{}", told_of_closed(&location::closed())),
    }
}

/// The end of a sentence for directories of metrics that this user may not read.
fn told_of_closed(closed: &[PathBuf]) -> String {
    let told = closed.iter().map(|path| {
        format!(
            "; {} is closed to this user, and a server may write them there: run this as root, or as the server's user",
            path.display()
        )
    });
    told.collect()
}

/// The command that shows the server of a spool.
fn command_for(spool: &str) -> String {
    format!("`restante status --spool {}`", path_word(Path::new(spool)))
}

fn nothing_found(skipped: &[String]) -> Failure {
    Failure::Other(format!("{NO_SERVER}{}{}", told_of_closed(&location::closed()), told_of(skipped)))
}

fn told_of(skipped: &[String]) -> String {
    skipped.iter().map(|why| format!("; skipped: {why}")).collect()
}

const NO_SERVER: &str = "no metrics: the server is not running, writes them elsewhere (choose with --config, --spool or \
                         --file), or cannot write them (see its log)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u159_a_server_whose_metrics_cannot_be_read_is_not_said_to_have_ended() {
        let other = Uid::from_raw(Uid::effective().as_raw() + 1);
        for (holder, told) in [
            (None, "it is not running, writes them elsewhere "),
            (Some(Uid::effective()), "it runs, and writes them elsewhere "),
            (Some(other), "has it, and this user cannot read its metrics"),
        ] {
            let why = why_none(holder);
            assert!(why.contains(told), "{why}");
            assert_eq!(why.contains("not running"), holder.is_none(), "{why}");
            assert_eq!(why.contains("sudo -u"), holder == Some(other), "{why}");
        }
        let told = told_of_closed(&["/run/restante".into()]);
        assert!(
            told.starts_with("; /run/restante is closed to this user, ") && told.contains("as root"),
            "{told}"
        );
        assert_eq!(told_of_closed(&[]), "");
    }
}
