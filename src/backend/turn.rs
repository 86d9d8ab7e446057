//! The share of the backend in a turn of the loop: how much of what the watcher and the workers tell it takes in before
//! connections go on. The rest is for the next turn, which begins at once.

use std::time::Duration;

use super::Backend;
use crate::{
    index::{budget::Budget, watcher::News},
    workers::Completion,
};

/// What this turn may still take in.
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
            Completion::Rechecked(_, Ok(looked)) => looked.changes.len().max(1),
            Completion::Updated(_, done, _) => (done.gone.len() + done.touched.len()).max(1),
            _ => 1,
        });
    }
}

impl Backend {
    /// A turn of the loop begins, at that time on the steady clock.
    pub fn begin_turn(&mut self, now: Duration) {
        self.now = now;
        self.index.begin_turn();
        self.turn.notices.renew();
        self.turn.results.renew();
    }

    /// Whether [`Backend::complete`] is to be called no more in this turn.
    pub fn has_enough(&self) -> bool {
        self.turn.results.is_spent()
    }

    /// Whether something is left for the next turn, which begins at once.
    pub fn goes_on(&self) -> bool {
        let Turn { notices, results } = &self.turn;
        notices.is_spent()
            || results.is_spent()
            || self.index.is_spent()
            || self.clients.has_responses()
            || self.receiver.has_walks()
            || self.auth.goes_on()
    }

    /// Takes the changes that the watcher has seen. To be called before completions are taken, so that no session is
    /// shown a mailbox without what was seen before.
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

/// Notices that one turn takes in: less than a microsecond each.
const NOTICES_A_TURN: usize = 1000;
/// Results that one turn takes in, by the names that are in them: a session goes on with each.
const RESULTS_A_TURN: usize = 256;
