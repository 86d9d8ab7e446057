//! The share of the backend in a turn of the loop: a bound on the events and completions that it handles before
//! connections continue. The rest is for the next turn, which begins at once.

use std::time::Duration;

use super::Backend;
use crate::{
    index::{
        budget::Budget,
        job::{IndexResult, MailboxChange},
        watcher::News,
    },
    proto::SessionEvent,
    workers::Completion,
};

/// The work that this turn may still do.
#[derive(Debug)]
pub(super) struct Turn {
    notices: Budget,
    results: Budget,
}

impl Default for Turn {
    fn default() -> Self {
        Self { notices: Budget::new(NOTICES_A_TURN), results: Budget::new(RESULTS_A_TURN) }
    }
}

impl Turn {
    pub(super) fn charge(&mut self, completion: &Completion) {
        self.results.charge(match completion {
            Completion::Index(_, IndexResult::Rechecked(Ok(found))) => found.changes.len().max(1),
            Completion::Updated(_, Some(done), _) => (done.gone.len() + done.touched.len()).max(1),
            _ => 1,
        });
    }
}

impl Backend {
    /// Begins a turn of the loop, at this time on the steady clock.
    pub fn begin_turn(&mut self, now: Duration) {
        self.now = now;
        self.index.begin_turn();
        self.turn.notices.renew();
        self.turn.results.renew();
        for MailboxChange { mailbox, messages, sessions } in self.index.take_changes() {
            let event = SessionEvent::MailboxChanged { mailbox, messages };
            self.events.extend(sessions.into_iter().map(|id| (id, event.clone())));
        }
    }

    /// Whether [`Backend::complete`] must not be called again in this turn.
    pub fn has_enough(&self) -> bool {
        self.turn.results.is_spent()
    }

    /// Whether a message to many mailboxes is not done yet.
    pub fn has_walks(&self) -> bool {
        self.receiver.has_walks()
    }

    /// Whether work is left for the next turn, which begins at once.
    pub fn goes_on(&self) -> bool {
        let Turn { notices, results } = &self.turn;
        notices.is_spent()
            || results.is_spent()
            || self.index.is_spent()
            || self.index.has_changes()
            || !self.events.is_empty()
            || self.clients.has_responses()
            || self.receiver.has_walks()
            || self.auth.goes_on()
    }

    /// Handles the events of the watcher. Must be called before completions are handled, so that no session gets a
    /// mailbox without the changes that were seen earlier.
    pub fn poll_mailbox_events(&mut self, now: Duration) {
        let (receiver, clients, mut cx) = self.receiver_parts();
        receiver.go_on(clients, &mut cx);
        self.auth.dispatch_checks(&self.accounts, self.now, &mut self.effects);
        self.index.set_time(now);
        let index = &mut self.index;
        self.mailbox_events.read(&mut self.turn.notices, |news| match news {
            News::Missed => index.events_lost(),
            News::Notice(notice) => index.on_event(notice),
            News::Mark(mark) => index.barrier_reached(mark),
        });
        self.run_effects();
    }
}

/// Events that one turn handles: less than a microsecond each.
const NOTICES_A_TURN: usize = 1000;
/// Completions that one turn handles, counted by the names in them, because a session continues with each.
const RESULTS_A_TURN: usize = 256;
