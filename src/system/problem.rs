//! A problem of a place that the configuration names.

use std::path::{Path, PathBuf};

/// A reason why a place cannot be used.
#[derive(Debug)]
pub struct Problem {
    /// The key of the configuration, like `listen.0.address`.
    pub key: String,
    /// The place and the remedy, in a sentence for the operator.
    pub why: String,
    /// Whether this user lacks a right that another user may have.
    pub is_denied: bool,
    /// The place that this user has no right to, if that is the reason.
    pub closed: Option<PathBuf>,
    /// Whether the server starts in spite of it.
    pub is_warning: bool,
}

impl Problem {
    pub(super) fn new(key: &str, why: String) -> Self {
        Self { key: key.to_owned(), why, is_denied: false, closed: None, is_warning: false }
    }

    pub(super) fn denied(key: &str, why: String) -> Self {
        Self { is_denied: true, ..Self::new(key, why) }
    }

    /// A place that is closed to this user.
    pub(super) fn closed(key: &str, place: &Path, why: String) -> Self {
        Self { closed: Some(place.to_owned()), ..Self::denied(key, why) }
    }

    /// The sentence for a user who is not the server's, and whose rights say nothing of those of the server.
    pub fn for_another_user(&self) -> String {
        match &self.closed {
            Some(place) => {
                let shown = place.display();
                format!("{shown}: this user cannot see whether the server may use it: run this as root")
            }
            None => self.why.clone(),
        }
    }
}
