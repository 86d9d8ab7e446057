//! The bound on the events and completions that the backend handles in one turn of the loop.

use crate::{
    index::{budget::Budget, job::IndexResult},
    workers::{Completion, folder_job::FolderResult},
};

/// The work that this turn may still do.
#[derive(Debug)]
pub(super) struct TurnBudget {
    pub(super) events: Budget,
    pub(super) completions: Budget,
}

impl Default for TurnBudget {
    fn default() -> Self {
        Self { events: Budget::new(MAX_EVENTS_PER_TURN), completions: Budget::new(MAX_COMPLETIONS_PER_TURN) }
    }
}

impl TurnBudget {
    pub(super) fn charge(&mut self, completion: &Completion) {
        self.completions.charge(match completion {
            Completion::Index(_, IndexResult::Rechecked(Ok(found))) => found.changes.len().max(1),
            Completion::Updated(_, Some(done), _) => (done.deleted.len() + done.changed.len()).max(1),
            Completion::Folder(_, FolderResult { outcome, .. }) => outcome.names().max(1),
            _ => 1,
        });
    }
}

/// Events that one turn handles: less than a microsecond each.
const MAX_EVENTS_PER_TURN: usize = 1000;
/// Completions that one turn handles, counted by the names in them, because a session continues with each.
const MAX_COMPLETIONS_PER_TURN: usize = 256;
