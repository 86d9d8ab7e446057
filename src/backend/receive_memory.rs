//! The memory and the files of inbound messages: their pressure, and the counts of both.

use std::time::Duration;

use super::{body_memory::MemoryRelief, receive::Receiver};
use crate::proto::{BodyProgress, request::ConnId};

impl Receiver {
    /// Records the progress of an inbound message. `is_trusted`: the user has logged in, the client is trusted, or the
    /// peer is a server of this site.
    pub(super) fn record_body_progress(&mut self, id: ConnId, is_trusted: bool, body: Option<BodyProgress>) {
        self.bodies.record_progress(id, is_trusted, body);
    }

    /// Whether message data is not read for now.
    pub(super) fn is_under_memory_pressure(&self, id: ConnId) -> bool {
        self.bodies.is_under_pressure(id)
    }

    /// The actions that free memory.
    pub(super) fn memory_relief(&mut self, now: Duration) -> MemoryRelief {
        // An abandoned message stays in memory until the disk has finished with it.
        self.bodies.update_pressure(now, self.abandoned as u64 * self.limits.spill_threshold);
        self.bodies.plan_relief(now, self.orphaned_files())
    }

    /// Files of messages for which no client waits: they are being removed, or the committer still holds them.
    pub(super) fn orphaned_files(&self) -> usize {
        self.permits.in_use().saturating_sub(self.bodies.files())
    }

    /// Whether there is an inbound message.
    pub(super) fn has_messages(&self) -> bool {
        self.inbound > 0 || self.waiting.len() > 0
    }

    /// Whether nothing is in progress that would have to be undone.
    pub(super) fn is_idle(&self) -> bool {
        self.abandoned == 0 && self.permits.in_use() == 0 && self.pending_recipients.is_empty()
    }

    /// Counts for the log: messages inbound, with the committer, and abandoned.
    pub(super) fn queue_counts(&self) -> [usize; 3] {
        [self.inbound, self.deliveries, self.abandoned]
    }
}
