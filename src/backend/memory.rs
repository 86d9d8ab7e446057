//! The memory of messages and documents: the loop reports what sessions hold, and carries out the actions that free it.

use super::{MemoryRelief, state::Backend};
use crate::proto::{BodyProgress, HeldDocument, request::ConnId};

impl Backend {
    /// Records the progress of an inbound message. `is_trusted`: the user has logged in, the client is trusted, or the
    /// peer is a server of this site.
    pub fn record_body_progress(&mut self, id: ConnId, is_trusted: bool, body: Option<BodyProgress>) {
        self.receiver.record_body_progress(id, is_trusted, body);
    }

    /// Whether the loop must read no message data of this connection, until others have freed memory.
    pub fn is_under_memory_pressure(&self, id: ConnId) -> bool {
        self.receiver.is_under_memory_pressure(id)
    }

    /// The actions that free memory.
    pub fn memory_relief(&mut self) -> MemoryRelief {
        self.receiver.memory_relief(self.now)
    }

    /// Records the document that a session of the web API holds until its client has read it.
    pub fn record_held_document(&mut self, id: ConnId, document: Option<HeldDocument>) {
        self.documents.record(id, document, self.now);
    }

    /// The connections to evict, because documents that their clients do not read fill the memory for them.
    pub fn slow_clients(&self) -> Vec<ConnId> {
        self.documents.slow_clients(self.now)
    }
}
