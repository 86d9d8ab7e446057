//! The next try after the state of a selected folder could not be brought up to date: its file of UIDs could not be written, or a
//! scan failed, so that its index was dropped.
//!
//! The rule: a session in IDLE hears of new mail although no request and no further change follows. So the ticks of the backend try
//! again, ever more seldom while the disk fails.

use std::time::Duration;

use super::{imap::Folders, imap_context::FolderContext, imap_folder::Folder};
use crate::{index::Registry, proto::request::Mailbox};

impl Folders {
    /// Begins to refresh the folders whose sessions lack changes, and that no job or request refreshes.
    pub(super) fn retry_refreshes(&mut self, now: Duration, cx: &mut FolderContext<'_>) {
        let behind = self.folders.iter_mut().filter(|(mailbox, folder)| folder.is_behind(mailbox, cx.index));
        let due = behind.filter_map(|(mailbox, folder)| folder.retry.is_due(now).then(|| mailbox.clone()));
        let due: Vec<Mailbox> = due.take(MAX_PER_TICK).collect();
        for mailbox in due {
            let Some(folder) = self.folders.get(&mailbox) else { continue };
            match folder.maildir.upgrade().filter(|_| cx.index.maildir(&mailbox).is_none()) {
                Some(maildir) => cx.index.reopen(&mailbox, &maildir, folder.sessions.keys().copied()),
                None => self.advance(&mailbox, cx),
            }
        }
    }
}

impl Folder {
    /// Whether its sessions lack changes, or may lack them because it has no index, and nothing is at work on that.
    fn is_behind(&self, mailbox: &Mailbox, index: &Registry) -> bool {
        let is_idle = !self.sessions.is_empty() && self.pending.is_empty() && self.book.is_free();
        is_idle && (index.version(mailbox) > self.version || index.maildir(mailbox).is_none())
    }
}

/// Folders that one tick begins to refresh. The others are due at the next one.
const MAX_PER_TICK: usize = 1000;
