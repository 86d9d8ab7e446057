//! Dropped mailboxes: those that can't be read, and the longest unused while a limit is exceeded.

use std::sync::Arc;

use super::{IndexId, IndexJob, Registry};
use crate::{deferred_drop::drop_deferred, index::entry::MailboxEntry, proto::request::Failure};

impl Registry {
    pub(super) fn drop_entry(&mut self, id: IndexId, fault: Failure) {
        let Some(held) = self.entries.remove(&id) else { return };
        self.ids.remove(&held.mailbox);
        self.ready.extend(held.logins.iter().map(|login| (login.to, Err(fault))));
        self.jobs.push((id, IndexJob::Unwatch(Arc::clone(&held.maildir))));
        drop_deferred(held);
    }

    /// Drops the longest unused mailboxes while there are too many, or they take too much memory.
    pub(super) fn make_room(&mut self) {
        let mut all: usize = self.entries.values().map(MailboxEntry::memory).sum();
        let is_too_much = |all, held| all > self.max_memory || held > self.max_mailboxes;
        let mut left = self.entries.len();
        if !is_too_much(all, left) {
            return;
        }
        let idle = self.entries.iter().filter(|(_, held)| held.is_idle());
        let mut idle: Vec<_> = idle.map(|(id, held)| (held.last_used, *id, held.memory())).collect();
        idle.sort_unstable();
        let mut dropped = Vec::new();
        for (_, id, memory) in idle {
            if !is_too_much(all, left) {
                break;
            }
            (all, left) = (all - memory, left - 1);
            dropped.push(id);
        }
        dropped.into_iter().for_each(|id| self.drop_entry(id, Failure::Broken));
    }

    /// Drops the longest unused idle mailbox, if there is one.
    pub fn drop_one_idle(&mut self) {
        let idle = self.entries.iter().filter(|(_, held)| held.is_idle());
        if let Some(id) = idle.min_by_key(|(id, held)| (held.last_used, **id)).map(|(id, _)| *id) {
            self.drop_entry(id, Failure::Broken);
        }
    }
}
