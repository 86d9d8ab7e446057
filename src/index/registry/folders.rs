//! Folders as IMAP shows them: the contents of a mailbox at any moment, and the changes that jobs for IMAP have made.

use std::sync::Arc;

use super::{IndexId, Registry};
use crate::{
    deferred_drop::drop_deferred,
    index::{FolderSnapshot, pending_work::ScanNeed, session_update::MAX_APPLIED_CHANGES},
    maildir::{Change, Maildir, MessageEntry},
    proto::request::{ConnId, Mailbox},
};

/// The contents of an index at one moment. A later moment has a larger version, also in a later index of the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexVersion {
    id: IndexId,
    revision: u64,
}

impl Registry {
    /// The version of the present contents of a mailbox. `None`: no full scan is done.
    pub fn version(&self, mailbox: &Mailbox) -> Option<IndexVersion> {
        let id = *self.ids.get(mailbox)?;
        let revision = self.entries.get(&id)?.index.as_ref()?.folder_revision();
        Some(IndexVersion { id, revision })
    }

    /// Begins an index for sessions that have the mailbox open, after that index was dropped because a scan failed. They get an
    /// event when the messages are known.
    pub fn reopen(
        &mut self,
        mailbox: &Mailbox,
        maildir: &Arc<Maildir>,
        sessions: impl Iterator<Item = ConnId>,
    ) {
        if self.ids.contains_key(mailbox) {
            return;
        }
        let id = self.insert_entry(mailbox, maildir);
        if let Some((_, entry)) = self.entry(mailbox) {
            entry.sessions.extend(sessions);
            (entry.known_revision, entry.known_folder_revision) = (UNKNOWN_REVISION, UNKNOWN_REVISION);
        }
        self.advance(id);
    }

    /// The directories of a mailbox as the index has them open, if a session has opened the same ones once more. Sessions do so if
    /// they begin at once, and none had the mailbox open.
    pub fn shared(&self, mailbox: &Mailbox, opened: Arc<Maildir>) -> Arc<Maildir> {
        match self.maildir(mailbox).filter(|known| known.has_directories_of(&opened)) {
            Some(known) => {
                drop_deferred(opened);
                known
            }
            None => opened,
        }
    }

    /// The present contents of a mailbox, and their version.
    pub fn folder_snapshot(&self, mailbox: &Mailbox) -> Option<(IndexVersion, Arc<FolderSnapshot>)> {
        let version = self.version(mailbox)?;
        let index = self.entries.get(&version.id)?.index.as_ref()?;
        Some((version, Arc::new(FolderSnapshot::new(index))))
    }

    /// Applies changes that a job has made in the Maildir with that id (device and inode). Another program may have changed the
    /// same names again, and the watcher may have reported that already, so they are rechecked too. More changes than the loop may
    /// take in at once are left to a full scan.
    pub fn names_changed(&mut self, mailbox: &Mailbox, maildir_id: (u64, u64), changes: Vec<Change>) {
        if let Some((id, entry)) = self.entry(mailbox).filter(|(_, entry)| entry.maildir.id() == maildir_id) {
            if changes.len() > MAX_APPLIED_CHANGES {
                drop_deferred(changes);
                entry.require_scan(ScanNeed::Yes);
                self.runnable.insert(id);
                return;
            }
            for change in &changes {
                let (Change::Present(MessageEntry { subdir, name, .. }) | Change::Absent { subdir, name }) =
                    change;
                entry.name_changed(*subdir, name.clone());
            }
            entry.apply_own_changes(changes);
            self.runnable.insert(id);
        }
    }
}

/// A revision that no index has.
const UNKNOWN_REVISION: u64 = u64::MAX;
