//! Dropped mailboxes: those that can't be read, and the longest unused while a limit is exceeded.

use super::{IndexId, IndexJob, Registry};
use crate::{deferred_drop::drop_deferred, index::entry::MailboxEntry, proto::request::Failure};

impl Registry {
    pub(super) fn drop_entry(&mut self, id: IndexId, failure: Failure) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.ids.remove(&entry.mailbox);
        self.login_results.extend(entry.logins.iter().map(|login| (login.session, Err(failure))));
        self.jobs.push((id, IndexJob::Unwatch));
        drop_deferred(entry);
    }

    /// Drops the longest unused mailboxes while there are too many, or they take too much memory.
    pub(super) fn evict_idle(&mut self) {
        let mut all: usize = self.entries.values().map(MailboxEntry::memory).sum();
        let is_too_much = |memory, count| memory > self.max_memory || count > self.max_mailboxes;
        let mut count = self.entries.len();
        if !is_too_much(all, count) {
            return;
        }
        let idle = self.entries.iter().filter(|(_, entry)| entry.is_idle());
        let mut idle: Vec<_> = idle.map(|(id, entry)| (entry.last_used, *id, entry.memory())).collect();
        idle.sort_unstable();
        let mut dropped = Vec::new();
        for (_, id, memory) in idle {
            if !is_too_much(all, count) {
                break;
            }
            (all, count) = (all - memory, count - 1);
            dropped.push(id);
        }
        dropped.into_iter().for_each(|id| self.drop_entry(id, Failure::TempFail));
    }

    /// Drops the longest unused idle mailbox, if there is one.
    pub fn evict_one_idle(&mut self) {
        let idle = self.entries.iter().filter(|(_, entry)| entry.is_idle());
        if let Some(id) = idle.min_by_key(|(id, entry)| (entry.last_used, **id)).map(|(id, _)| *id) {
            self.drop_entry(id, Failure::TempFail);
        }
    }
}
