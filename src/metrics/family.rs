//! A figure by name, with its samples.

/// All samples of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Metric name.
    pub name: &'static str,
    /// Type of the metric.
    pub kind: Kind,
    /// Description.
    pub help: &'static str,
    /// Values.
    pub samples: Vec<Sample>,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
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

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Suffix of the name: `_bucket`, `_sum`, `_count` or nothing.
    pub suffix: &'static str,
    /// Labels.
    pub labels: Vec<(&'static str, String)>,
    /// Value.
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
