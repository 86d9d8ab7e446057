//! Reads a file of metrics, for `restante status`.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    open_regular::{open_regular, read_open},
    safe_file::Directory,
};

/// The metrics of a server at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricsSnapshot {
    /// Time of writing, since 1970.
    pub written: Duration,
    description: Option<String>,
    configuration: Option<PathBuf>,
    samples: Vec<SampleLine>,
}

#[derive(Debug, Clone, PartialEq)]
struct SampleLine {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl MetricsSnapshot {
    /// Reads a file named by the user.
    ///
    /// # Errors
    /// The file cannot be read, or is not a file of metrics.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        let file = open_regular(path)?;
        let written = file.metadata()?.modified()?;
        Self::from_text((read_open(file, MAX_FILE)?, written))
    }

    /// Reads a file in a directory.
    ///
    /// # Errors
    /// The file cannot be read, belongs to another user, or is not a file of metrics.
    pub fn in_directory(directory: &Directory, name: &OsStr) -> io::Result<Self> {
        Self::from_text(directory.read(name, MAX_FILE)?)
    }

    fn from_text((text, written): (Vec<u8>, SystemTime)) -> io::Result<Self> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not a file of metrics");
        let text = String::from_utf8(text).map_err(|_| wrong())?;
        Self::parse(&text, written)
            .filter(|reading| reading.value("restante_start_time_seconds").is_some())
            .ok_or_else(wrong)
    }

    fn parse(text: &str, written: SystemTime) -> Option<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let written = written.duration_since(UNIX_EPOCH).unwrap_or_default();
        let about = text.lines().find_map(|line| line.strip_prefix("# restante "));
        let about = about.map(|about| format!("restante {about}"));
        Some(Self {
            written,
            description: about,
            configuration: text.lines().find_map(|line| line.strip_prefix(CONFIGURATION)).map(PathBuf::from),
            samples: lines.map(SampleLine::parse).collect::<Option<_>>()?,
        })
    }

    /// Name and version of the server.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The configuration file of the server.
    pub fn configuration(&self) -> Option<&Path> {
        self.configuration.as_deref()
    }

    /// The spool of the server, as it describes itself.
    pub fn spool(&self) -> Option<&str> {
        self.description.as_deref()?.split_once(", ").map(|(_, spool)| spool)
    }

    /// The time between the writing of the file and `now`; 0 if the clock was set back.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(self.written)
    }

    /// Time since the server was ready.
    pub fn uptime(&self) -> Duration {
        let started = self.value("restante_start_time_seconds").unwrap_or_default();
        self.written.saturating_sub(Duration::try_from_secs_f64(started).unwrap_or_default())
    }

    /// The value of the metric with that name and without labels.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.samples.iter().find(|line| line.name == name && line.labels.is_empty()).map(|line| line.value)
    }

    /// The values of the metric with that name, each with its first label.
    pub fn by_label(&self, name: &str) -> Vec<(&str, f64)> {
        let lines = self.samples.iter().filter(|line| line.name == name);
        lines.filter_map(|line| Some((line.labels.first()?.1.as_str(), line.value))).collect()
    }

    /// The value of the metric with that name and that first label; 0 if there is none.
    pub fn labelled(&self, name: &str, label: &str) -> f64 {
        self.by_label(name).into_iter().find(|(which, _)| *which == label).map_or(0.0, |(_, value)| value)
    }

    /// The sum of the metric's values over all its labels.
    pub fn sum(&self, name: &str) -> f64 {
        // `sum()` would return -0 for an empty list.
        self.samples.iter().filter(|line| line.name == name).fold(0.0, |sum, line| sum + line.value)
    }

    /// A quantile of a histogram, interpolated within its bucket; `part` is from 0 to 1. `None` if the histogram is empty.
    pub fn quantile(&self, name: &str, part: f64) -> Option<f64> {
        let buckets = self.by_label(&format!("{name}_bucket"));
        let count = buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
        let wanted = part * count;
        let (mut bound_before, mut below) = (0.0, 0.0);
        for (bound, upto) in buckets {
            let bound: f64 = if bound == "+Inf" { return Some(bound_before) } else { bound.parse().ok()? };
            if upto >= wanted && upto > below {
                return Some(bound_before + (bound - bound_before) * (wanted - below) / (upto - below));
            }
            (bound_before, below) = (bound, upto);
        }
        None
    }

    /// The mean of a histogram. `None` if it is empty.
    pub fn mean(&self, name: &str) -> Option<f64> {
        let count = self.value(&format!("{name}_count")).filter(|count| *count > 0.0)?;
        Some(self.value(&format!("{name}_sum"))? / count)
    }

    /// All metrics, by name with labels.
    pub fn samples(&self) -> impl Iterator<Item = (String, f64)> {
        self.samples.iter().map(|line| {
            let labels: Vec<String> =
                line.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            (format!("{}{labels}", line.name), line.value)
        })
    }
}

impl SampleLine {
    fn parse(text: &str) -> Option<Self> {
        let (left, value) = text.rsplit_once(' ')?;
        let value = value.parse().ok()?;
        let Some((name, rest)) = left.split_once('{') else {
            return Some(Self { name: left.to_owned(), labels: Vec::new(), value });
        };
        let mut labels = Vec::new();
        let mut rest = rest.strip_suffix('}')?;
        while !rest.is_empty() {
            let (label, after) = rest.split_once("=\"")?;
            let (said, length) = quoted(after)?;
            labels.push((label.trim_start_matches(',').to_owned(), said));
            rest = &after[length..];
        }
        Some(Self { name: name.to_owned(), labels, value })
    }
}

/// The text up to the closing quote, and its length including that quote.
fn quoted(text: &str) -> Option<(String, usize)> {
    let mut said = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((said, at + 1)),
            '\\' => said.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            c => said.push(c),
        }
    }
    None
}

/// Begins the comment with the path of the configuration.
pub(super) const CONFIGURATION: &str = "# configuration ";
/// Octets of metrics that are read at most; a server writes about 40 KiB.
const MAX_FILE: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn what_was_written_reads_back() {
        let metrics = Metrics::new();
        metrics.started_at.set(1_000);
        metrics.refusal_replies.inc("550-5.1.1");
        metrics.refusal_replies.inc("say \"a\\b\"\n{x=1} ");
        metrics.listener("lmtp").connections.add(3);
        for micros in [300, 300, 300, 4_000] {
            metrics.delivery_time.observe_duration(Duration::from_micros(micros));
        }
        let reading =
            MetricsSnapshot::parse(&metrics.text(), UNIX_EPOCH + Duration::from_secs(1_060)).unwrap();
        assert_eq!(reading.uptime(), Duration::from_secs(60));
        assert_eq!(reading.labelled("restante_connections_total", "lmtp"), 3.0);
        assert_eq!(reading.labelled("restante_connections_total", "smtp"), 0.0);
        let none = reading.sum("restante_of_which_there_is_nothing");
        assert_eq!(format!("{none}"), "0", "and not -0");
        let refusals = reading.by_label("restante_refusals_total");
        assert_eq!(refusals, [("550-5.1.1", 1.0), ("say \"a\\b\"\n{x=1} ", 1.0)]);
        let quantile = |part| reading.quantile("restante_delivery_seconds", part).unwrap();
        assert!((0.000_25..0.000_5).contains(&quantile(0.5)), "{}", quantile(0.5));
        assert!((0.002_5..=0.005).contains(&quantile(0.99)), "{}", quantile(0.99));
        assert!((reading.mean("restante_delivery_seconds").unwrap() - 0.001_225).abs() < 1e-9);
        assert_eq!(reading.quantile("restante_commit_messages", 0.5), None);
        assert_eq!(reading.mean("restante_commit_messages"), None);
        assert_eq!(reading.age(UNIX_EPOCH + Duration::from_secs(1_065)), Duration::from_secs(5));
    }

    #[test]
    fn another_file_is_not_taken_for_figures() {
        for text in ["", "hello\n", "restante_bodies 1\n", "restante_start_time_seconds{ 1\n"] {
            let home = tempfile::tempdir().unwrap();
            fs::write(home.path().join("x"), text).unwrap();
            assert!(MetricsSnapshot::from_file(&home.path().join("x")).is_err(), "{text:?}");
        }
    }
}
