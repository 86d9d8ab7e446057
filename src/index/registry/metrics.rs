//! The metrics of the mailboxes in use, and the room for them.

use super::Registry;
use crate::{
    capacity::Shrinker,
    index::{mailbox_index::MailboxIndex, message_list::MessageList},
    metrics::METRICS,
};

impl Registry {
    /// Gives back room for mailboxes that are no longer in use.
    pub(crate) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.ids).shrink(&mut self.entries);
    }

    pub(super) fn update_metrics(&self) {
        let lists = || self.entries.values().filter_map(|entry| entry.index.as_ref()).map(MailboxIndex::list);
        METRICS.index_mailboxes.set(self.entries.len() as u64);
        METRICS.index_unwatched.set(self.entries.values().filter(|entry| !entry.watched).count() as u64);
        METRICS.index_messages.set(lists().map(|list| list.len() as u64).sum());
        METRICS.index_octets.set(lists().map(MessageList::total).sum());
        METRICS.index_memory.set(lists().map(|list| list.memory_of() as u64).sum());
    }
}
