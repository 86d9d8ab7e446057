//! The share of the desk in a turn of the loop: how much of what the watcher and the workers tell it takes in before
//! connections go on. The rest is for the next turn, which begins at once.

use std::time::Duration;

use super::Desk;
use crate::{
    mailbox::{budget::Budget, watch::News},
    proto::ask::{Answer, ConnId},
    work::Outcome,
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
    pub(super) fn charge(&mut self, outcome: &Outcome) {
        self.results.charge(match outcome {
            Outcome::Looked(Ok(looked)) => looked.changes.len().max(1),
            Outcome::Updated(done, _) => (done.gone.len() + done.touched.len()).max(1),
            _ => 1,
        });
    }
}

impl Desk {
    /// A turn of the loop begins, at that time on the steady clock.
    pub fn begin_turn(&mut self, now: Duration) {
        self.now = now;
        self.registry.begin_turn();
        self.turn.notices.renew();
        self.turn.results.renew();
    }

    /// Whether [`Desk::take`] is to be called no more in this turn.
    pub fn has_enough(&self) -> bool {
        self.turn.results.is_spent()
    }

    /// Whether something may be left for the next turn.
    pub fn has_more(&self) -> bool {
        let Turn { notices, results } = &self.turn;
        notices.is_spent() || results.is_spent() || self.registry.is_spent() || !self.answers.is_empty()
    }

    /// Takes what the watcher has to tell. To be called before results are taken, so that no session is
    /// shown a mailbox without what was told before.
    pub fn notice(&mut self, now: Duration) {
        self.registry.set_time(now);
        let registry = &mut self.registry;
        self.notices.read(&mut self.turn.notices, |news| match news {
            News::Missed => registry.missed(),
            News::Notice(notice) => registry.notice(notice),
            News::Mark(mark) => registry.told(mark),
        });
        self.carry_out();
    }

    /// The next answer to be given, and to whom.
    pub fn next_answer(&mut self) -> Option<(ConnId, Answer)> {
        self.answers.pop_front()
    }
}

/// Notices that one turn takes in: less than a microsecond each.
const NOTICES_A_TURN: usize = 1000;
/// Results that one turn takes in, by the names that are in them: a session goes on with each.
const RESULTS_A_TURN: usize = 256;
