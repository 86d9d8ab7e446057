//! The section `[metrics]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits::Span;

/// Where the figures of a running server go, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// The file, absolute after reading; without one they go where `restante status` finds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// How often.
    pub every: Span,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { file: None, every: Span::secs(5) }
    }
}
