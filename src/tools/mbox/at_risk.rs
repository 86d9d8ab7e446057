//! Messages of an import that the server deletes soon, or that it shows to no login.

use std::time::SystemTime;

/// The bounds of the server, and the messages of this run beyond them.
#[derive(Debug, Clone, Copy, Default)]
pub struct AtRisk {
    /// The server deletes messages from before that time at the next end of a session.
    expires_before: Option<SystemTime>,
    /// Bytes of the largest message that the server lists.
    max_listed: Option<u64>,
    /// Number of messages from before that time.
    pub expired: u64,
    /// Number of messages that the server does not list.
    pub too_large: u64,
    /// Bytes of the largest of these.
    pub largest: u64,
}

impl AtRisk {
    /// No message so far is beyond these bounds.
    pub fn new(expires_before: Option<SystemTime>, max_listed: u64) -> Self {
        Self { expires_before, max_listed: Some(max_listed), ..Self::default() }
    }

    /// Whether the server would delete a message of that time.
    pub(super) fn is_expired(&self, delivered: SystemTime) -> bool {
        self.expires_before.is_some_and(|time| delivered < time)
    }

    /// Counts a message.
    pub(super) fn count(&mut self, delivered: SystemTime, bytes: u64) {
        self.expired += u64::from(self.is_expired(delivered));
        if self.max_listed.is_some_and(|max| bytes > max) {
            self.too_large += 1;
            self.largest = self.largest.max(bytes);
        }
    }
}
