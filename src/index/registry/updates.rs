//! Sessions that delete and mark messages at their end.

use super::{IndexId, Registry, SessionChanges};
use crate::{
    deferred_drop::drop_deferred,
    index::{pending_work::ScanNeed, session_update::MAX_APPLIED_CHANGES},
    proto::request::{ConnId, Mailbox},
};

impl Registry {
    /// Prepares the mailbox of the Maildir with that id (device and inode) for a worker that is about to delete and mark so many names for a session. Nothing else
    /// begins in that mailbox until [`Registry::session_updated`] reports the result, before [`Registry::logout`].
    /// If this returns an index, the worker must end its watch.
    pub fn session_updating(
        &mut self,
        mailbox: &Mailbox,
        maildir_id: (u64, u64),
        (session, names): (ConnId, usize),
    ) -> Option<IndexId> {
        let (id, entry) = self.entry(mailbox).filter(|(_, entry)| entry.maildir.id() == maildir_id)?;
        entry.begin_update(session, names).then_some(id)
    }

    /// Handles the changes of a session. Another file may have taken a name meanwhile, so every name is rechecked
    /// except those that the events have explained.
    pub fn session_updated(
        &mut self,
        mailbox: &Mailbox,
        maildir_id: (u64, u64),
        (session, done): (ConnId, SessionChanges),
    ) {
        let (now, last_barrier) = (self.now, self.last_barrier);
        let Some((id, entry)) = self.entry(mailbox).filter(|(_, entry)| entry.maildir.id() == maildir_id)
        else {
            return;
        };
        if done.deleted.len() + done.changed.len() > MAX_APPLIED_CHANGES {
            entry.require_scan(ScanNeed::Yes); // a login waits for it
            drop_deferred(done);
            entry.resume_after_update();
        } else {
            entry.update_finished(session, done, last_barrier, now);
        }
        let waits = entry.awaiting_barrier_since().is_some();
        self.awaiting_barrier.extend(waits.then_some(id));
        self.runnable.insert(id);
    }
}
