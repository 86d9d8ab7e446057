//! The connections of a turn, one round each, in turns: as many as the turn has room for, and the others first in the
//! next one.

use std::collections::BTreeSet;

use super::Server;
use crate::{
    clock::Now,
    connection::{Connection, work::Share},
    proto::request::ConnId,
    rota::take_after,
};

impl Server {
    /// Goes on with those that are ready.
    pub(super) fn pump_ready(&mut self, mut ready: BTreeSet<ConnId>, now: Now) {
        self.share = Share::of_each(ready.len());
        let mut left = WORK_A_TURN;
        while left > 0
            && let Some(id) = take_after(&mut ready, self.last_pumped)
        {
            self.last_pumped = Some(id);
            if self.backend.is_under_memory_pressure(id)
                && self.connections.get(&id).is_some_and(Connection::is_receiving_data)
            {
                self.read_paused.insert(id);
                continue;
            }
            self.pump(id, now);
            left = left.saturating_sub(self.work_of(id));
        }
        self.unfinished.append(&mut ready);
    }

    /// Gives the answers that there are.
    pub(super) fn give_answers(&mut self, now: Now) {
        while self.answering > 0
            && let Some((id, answer)) = self.backend.next_response()
        {
            self.call_and_pump(id, now, |conn, world| conn.deliver_response(answer, world, now));
            self.answering = self.answering.saturating_sub(self.work_of(id));
        }
    }

    /// What its last round has cost; one that is gone cost something, too.
    fn work_of(&self, id: ConnId) -> usize {
        self.connections.get(&id).map_or(CLOSING, Connection::work)
    }
}

/// Work of connections in one turn, see `conn/work.rs`, and once more of those that are answered.
pub(super) const WORK_A_TURN: usize = 4000;
const CLOSING: usize = 30;
