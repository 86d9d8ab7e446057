//! Sessions that delete and mark messages at their end.

use super::{IndexId, Registry, SessionChanges};
use crate::{
    deferred_drop::drop_deferred,
    index::{entry::ScanNeed, session_update::MAX_APPLIED_CHANGES},
    proto::request::Mailbox,
};

impl Registry {
    /// Prepares a mailbox for a worker that is about to delete and mark so many names for a session. Nothing else
    /// begins in that mailbox until [`Registry::session_updated`] reports the result, before [`Registry::logout`].
    /// If this returns an index, the worker must end its watch.
    pub fn session_updating(
        &mut self,
        mailbox: &Mailbox,
        maildir: (u64, u64),
        names: usize,
    ) -> Option<IndexId> {
        let (id, held) = self.entry(mailbox).filter(|(_, held)| held.maildir.id() == maildir)?;
        held.begin_update(names).then_some(id)
    }

    /// Handles the changes of a session. Another file may have taken a name meanwhile, so every name is rechecked
    /// except those that the events have explained.
    pub fn session_updated(&mut self, mailbox: &Mailbox, maildir: (u64, u64), done: SessionChanges) {
        let (now, told) = (self.now, self.last_barrier);
        let Some((id, held)) = self.entry(mailbox).filter(|(_, held)| held.maildir.id() == maildir) else {
            return;
        };
        if done.gone.len() + done.touched.len() > MAX_APPLIED_CHANGES {
            held.require_scan(ScanNeed::Yes); // a login waits for it
            drop_deferred(done);
            held.resume_after_update();
        } else {
            held.update_finished(done, told, now);
        }
        let waits = held.barrier_wait_since().is_some();
        self.awaiting_barrier.extend(waits.then_some(id));
        self.touched.insert(id);
    }
}
