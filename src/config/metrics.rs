//! The section `[metrics]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits::Span;

/// File and interval of the server's metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// The file, absolute after reading; the default is one that `restante status` finds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Interval between two writes of the file.
    pub interval: Span,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { file: None, interval: Span::secs(5) }
    }
}
