//! The figures of the mailboxes in use, and the room for them.

use super::Registry;
use crate::{
    capacity::Shrinker,
    index::{mailbox_index::Index, message_list::List},
    metrics::METRICS,
};

impl Registry {
    /// Gives back room for mailboxes that are no longer in use.
    pub(crate) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.ids).shrink(&mut self.held);
    }

    pub(super) fn measure(&self) {
        let lists = || self.held.values().filter_map(|held| held.index.as_ref()).map(Index::list);
        METRICS.index_mailboxes.set(self.held.len() as u64);
        METRICS.index_unwatched.set(self.held.values().filter(|held| !held.watched).count() as u64);
        METRICS.index_messages.set(lists().map(|list| list.len() as u64).sum());
        METRICS.index_octets.set(lists().map(List::total).sum());
        METRICS.index_memory.set(lists().map(|list| list.memory() as u64).sum());
    }
}
