//! A problem of a place that the configuration names.

/// A reason why a place cannot be used.
#[derive(Debug)]
pub struct Problem {
    /// The key of the configuration, like `listen.0.address`.
    pub key: String,
    /// The place and the remedy, in a sentence for the operator.
    pub why: String,
    /// Whether this user lacks a right that another user may have.
    pub is_denied: bool,
    /// Whether the server starts in spite of it.
    pub is_warning: bool,
}

impl Problem {
    pub(super) fn new(key: &str, why: String) -> Self {
        Self { key: key.to_owned(), why, is_denied: false, is_warning: false }
    }

    pub(super) fn denied(key: &str, why: String) -> Self {
        Self { is_denied: true, ..Self::new(key, why) }
    }

    /// The sentence for a user who is not the server's, and whose rights say nothing of those of the server.
    pub fn for_another_user(&self) -> &str {
        if self.is_denied {
            "this user has no right to see whether the server may use it: run this as root"
        } else {
            &self.why
        }
    }
}
