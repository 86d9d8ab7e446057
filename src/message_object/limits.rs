//! Bounds of a message object, given by the caller.

use crate::mime;

/// Bounds of one message object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLimits {
    /// The bounds of the reader.
    pub mime: mime::MimeLimits,
    /// Fields of the header that are listed.
    pub fields: usize,
    /// Authors or recipients that are listed of one field.
    pub people: usize,
    /// Octets of a name, an address or the subject in a summary, which is kept in memory: a longer one is cut. The header has
    /// the whole.
    pub value: usize,
    /// Links that are listed; further ones stand in the text only.
    pub links: usize,
    /// Octets of the longest link that is listed.
    pub link_length: usize,
}

impl Default for ObjectLimits {
    fn default() -> Self {
        Self {
            mime: mime::MimeLimits::default(),
            fields: 20_000,
            people: 1000,
            value: 8192,
            links: 1000,
            link_length: 8192,
        }
    }
}
