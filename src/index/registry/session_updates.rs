//! Sessions that delete and mark messages at their end.

use super::{Done, IndexId, Registry};
use crate::{
    index::{entry::Walk, session_update::MOST_APPLIED, spare::Spare},
    proto::request::Mailbox,
};

impl Registry {
    /// A worker is about to delete and mark messages for a session, which changes so many names. Nothing else begins in
    /// that mailbox until it is told what was done, by [`Registry::updated`] before [`Registry::logout`]. The worker is
    /// to end the watch of the index that is returned.
    pub fn updating(&mut self, mailbox: &Mailbox, maildir: (u64, u64), names: usize) -> Option<IndexId> {
        let (id, held) = self.held(mailbox).filter(|(_, held)| held.maildir.key() == maildir)?;
        held.begin_update(names).then_some(id)
    }

    /// A session has deleted or marked messages. Another file may have taken a name meanwhile: every name is looked at
    /// but for those that the watch has told about.
    pub fn updated(&mut self, mailbox: &Mailbox, maildir: (u64, u64), done: Done) {
        let (now, told) = (self.now, self.told);
        let Some((id, held)) = self.held(mailbox).filter(|(_, held)| held.maildir.key() == maildir) else {
            return;
        };
        if done.gone.len() + done.touched.len() > MOST_APPLIED {
            held.note_walk(Walk::Yes); // a login waits for it
            held.spare.push(Spare::of(done));
            held.end_update();
        } else {
            held.take_update(done, told, now);
        }
        let waits = held.waits_since().is_some();
        self.waiting.extend(waits.then_some(id));
        self.stirred.insert(id);
    }
}
