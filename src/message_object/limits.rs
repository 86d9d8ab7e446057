//! Bounds of a message object, given by the caller.

use crate::mime;

/// Bounds of one message object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The bounds of the reader.
    pub mime: mime::Limits,
    /// Links that are listed; further ones stand in the text only.
    pub links: usize,
    /// Octets of the longest link that is listed.
    pub link_length: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { mime: mime::Limits::default(), links: 1000, link_length: 8192 }
    }
}
