//! A metric by name, with its samples.

/// All samples of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Metric name, with the prefix `restante_`.
    pub name: &'static str,
    /// Type of the metric, for the line `# TYPE`.
    pub kind: Kind,
    /// One sentence for the line `# HELP`.
    pub help: &'static str,
    /// One value for each set of labels, and for each bucket of a histogram.
    pub samples: Vec<Sample>,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// The present value, which goes up and down.
    Gauge,
    /// Counts by the size of a value.
    Histogram,
}

impl Kind {
    /// The type's name in the text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A value with the labels that tell it from others of its family.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Suffix of the name: `_bucket`, `_sum`, `_count` or nothing.
    pub suffix: &'static str,
    /// Label names and values, not escaped.
    pub labels: Vec<(&'static str, String)>,
    /// The value in base units: seconds, octets or a count.
    pub value: f64,
}

impl Sample {
    pub(super) fn labelled(label: &'static str, which: impl Into<String>, value: u64) -> Self {
        Self { suffix: "", labels: vec![(label, which.into())], value: value as f64 }
    }

    pub(super) fn unlabelled(value: f64) -> Self {
        Self { suffix: "", labels: Vec::new(), value }
    }
}
