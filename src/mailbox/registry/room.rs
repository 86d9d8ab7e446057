//! The indexes that nobody uses: the first to go when memory or descriptors are short.

use super::{Fault, Held, Registry};

impl Registry {
    /// Drops those that were not used for longest while there is too much.
    pub(super) fn make_room(&mut self) {
        let mut all: usize = self.held.values().map(Held::memory).sum();
        while all > self.most_memory || self.held.len() > self.most_mailboxes {
            let Some(freed) = self.drop_one_idle() else { return };
            all -= freed;
        }
    }

    /// Drops the one that was not used for longest. Returns the memory that its index had.
    pub fn drop_one_idle(&mut self) -> Option<usize> {
        let idle = self.held.iter().filter(|(_, held)| held.is_idle());
        let (id, memory) =
            idle.min_by_key(|(id, held)| (held.last_used, **id)).map(|(id, held)| (*id, held.memory()))?;
        self.drop_index(id, Fault::Broken);
        Some(memory)
    }
}
