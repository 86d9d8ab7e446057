//! Figures of several runs beside those of others, as JSON and as a table of Markdown.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde::{Deserialize, Serialize};

use super::table::Table;

/// All that one run of the comparison found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// RFC 3339.
    pub(crate) date: String,
    pub(crate) machine: Machine,
    /// Each program that was measured.
    pub(crate) versions: BTreeMap<String, String>,
    /// Seconds of a run, where a run has a length.
    pub(crate) seconds: f64,
    /// Programs that wanted a processor in the minute before the first run.
    pub(crate) load_average: f64,
    pub(crate) rows: Vec<Row>,
    /// The conditions, for people.
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
}

/// One figure of restante, beside the limit and the peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
    #[serde(flatten)]
    pub(crate) figure: Spread,
    pub(crate) limit: Option<Spread>,
    /// Each program that does such a thing at all.
    pub(crate) peers: BTreeMap<String, Peer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// The figure of another program, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Peer {
    Measured(Spread),
    Absent { absent: String },
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// In the unit of the row.
    pub(crate) value: f64,
    /// CPU time of all processes of the server for one operation.
    pub(crate) cpu_us: Option<f64>,
}

impl Sample {
    /// So many operations in that time, which used so much CPU time.
    pub(crate) fn rate(operations: u64, seconds: f64, used: Duration) -> Self {
        let operations = operations as f64;
        Self { value: operations / seconds, cpu_us: Some(used.as_secs_f64() * 1e6 / operations) }
    }
}

/// Several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) runs: usize,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// The median of the CPU times.
    pub(crate) cpu_us: Option<f64>,
}

impl Spread {
    /// `None` if there was no run.
    pub(crate) fn of(samples: &[Sample]) -> Option<Self> {
        let mut values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
        let mut cpu: Vec<f64> = samples.iter().filter_map(|sample| sample.cpu_us).collect();
        let median_value = median(&mut values)?;
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self {
            runs: values.len(),
            median: rounded(median_value),
            min: rounded(min),
            max: rounded(max),
            cpu_us: median(&mut cpu).map(rounded),
        })
    }

    fn cell(&self) -> String {
        let cpu = self.cpu_us.map(|cpu| format!(", {} µs", number(cpu))).unwrap_or_default();
        format!("{} ({}–{}){cpu}", number(self.median), number(self.min), number(self.max))
    }
}

/// Sorts the values, and returns the one in the middle, or the mean of both.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

impl Row {
    /// The factor by which this figure is better than another one of the same row.
    fn times(&self, other: &Spread) -> String {
        let times = match self.better {
            Better::Higher => self.figure.median / other.median,
            Better::Lower => other.median / self.figure.median,
        };
        format!("{} ×", if times < 10.0 { format!("{times:.2}") } else { format!("{times:.0}") })
    }
}

impl Report {
    /// The date, the machine and the table.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let day = self.date.split('T').next().unwrap_or_default();
        let Machine { cpu, cores, kernel, file_system } = &self.machine;
        let versions: Vec<String> =
            self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let runs = self.rows.iter().map(|row| row.figure.runs).max().unwrap_or(0);
        let fewest = self.rows.iter().map(|row| row.figure.runs).min().unwrap_or(0);
        let runs = if runs == fewest { runs.to_string() } else { format!("{fewest} to {runs}") };
        let _ = writeln!(
            text,
            "{day}, {cpu}, {cores} cores, Linux {kernel}, {file_system}; load before: {:.1}. {}.\n\n\
             A cell has the median of {runs} runs (the lowest–the highest), the CPU time that all processes of the server \
             take for one operation, and how many times as good restante is.\n",
            self.load_average,
            versions.join(", "),
        );
        let mut programs: Vec<&str> =
            self.rows.iter().flat_map(|row| row.peers.keys()).map(String::as_str).collect();
        programs.sort_unstable();
        programs.dedup();
        let mut table = Table::new(&[&["", "restante", "the limit"], &programs[..]].concat());
        for row in &self.rows {
            let beside = |other: &Spread| format!("{}: {}", other.cell(), row.times(other));
            let peer = |program: &&str| match row.peers.get(*program) {
                Some(Peer::Measured(other)) => beside(other),
                Some(Peer::Absent { absent }) => absent.clone(),
                None => NOTHING.to_owned(),
            };
            let limit = row.limit.as_ref().map_or(NOTHING.to_owned(), beside);
            let mut cells = vec![format!("{}, {}", row.name, row.unit), row.figure.cell(), limit];
            cells.extend(programs.iter().map(peer));
            table.row(cells);
        }
        let _ = writeln!(text, "{table}");
        for note in &self.notes {
            let _ = writeln!(text, "- {note}.");
        }
        text
    }
}

/// Replaces the text between the two comments of a page; `None` if the page does not have them.
pub(crate) fn put_into(page: &str, section: &str) -> Option<String> {
    let begin = page.find(BEGIN)? + BEGIN.len();
    let end = begin + page[begin..].find(END)?;
    Some(format!("{}\n{}\n{}", &page[..begin], section.trim_end(), &page[end..]))
}

/// A number as people read it: three digits or more, with commas.
fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
    }
}

/// To a thousandth: the rest is noise.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

pub(crate) const BEGIN: &str =
    "<!-- figures: `make bench ARGS=\"--json benches/figures.json --markdown README.md\"` writes them -->";
pub(crate) const END: &str = "<!-- end of the figures -->";
const NOTHING: &str = "–";
