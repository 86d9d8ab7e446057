//! The events for sessions: a mailbox that they have open has changed.

use super::Registry;
use crate::index::job::MailboxChange;

impl Registry {
    /// Whether [`Registry::take_changes`] may have something to return.
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Takes the mailboxes that have changed since the last call and are open in a session. The caller calls this once
    /// a turn, so that a thousand deliveries in one turn are one event.
    pub fn take_changes(&mut self) -> Vec<MailboxChange> {
        let mut changes = Vec::new();
        for id in std::mem::take(&mut self.changed) {
            let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.has_unreported_changes()) else {
                continue;
            };
            let Some(index) = &entry.index else { continue };
            entry.known_folder_revision = index.folder_revision();
            let is_listed =
                std::mem::replace(&mut entry.known_revision, index.revision()) != index.revision();
            changes.push(MailboxChange {
                mailbox: entry.mailbox.clone(),
                messages: index.list().len(),
                sessions: entry.sessions.iter().copied().filter(|_| is_listed).collect(),
            });
        }
        changes
    }
}
