//! Pumps the ready connections of a turn, each once and in rotation, until the turn's work is spent. The others come
//! first in the next turn.

use std::collections::BTreeSet;

use super::state::Server;
use crate::{clock::Now, connection::work::Share, proto::request::ConnId, round_robin::take_after};

impl Server {
    /// Pumps the connections that are ready.
    pub(super) fn pump_ready(&mut self, mut ready: BTreeSet<ConnId>, now: Now) {
        self.share = Share::of_each(ready.len());
        let mut left = MAX_WORK_PER_TURN;
        while left > 0
            && let Some(id) = take_after(&mut ready, self.last_pumped)
        {
            self.last_pumped = Some(id);
            if self.backend.is_under_memory_pressure(id)
                && self.connections.get(&id).is_some_and(|open| open.conn.is_receiving_data())
            {
                self.read_paused.insert(id);
                continue;
            }
            self.pump(id, now);
            left = left.saturating_sub(self.work_of(id));
        }
        self.pump_next_turn.append(&mut ready);
    }

    /// Delivers the responses that are ready.
    pub(super) fn deliver_responses(&mut self, now: Now) {
        while self.response_work_left > 0
            && let Some((id, response)) = self.backend.next_response()
        {
            self.call_and_pump(id, now, |conn, handler| conn.deliver_response(response, handler, now));
            self.response_work_left = self.response_work_left.saturating_sub(self.work_of(id));
        }
    }

    /// Delivers the events that sessions did not ask for.
    pub(super) fn deliver_events(&mut self, now: Now) {
        while self.response_work_left > 0
            && let Some((id, event)) = self.backend.next_event()
        {
            self.call_and_pump(id, now, |conn, _| conn.notify(&event, now));
            self.response_work_left = self.response_work_left.saturating_sub(self.work_of(id));
        }
    }

    /// The cost of the last pump of a connection. A connection that has closed since has a cost too.
    fn work_of(&self, id: ConnId) -> usize {
        self.connections.get(&id).map_or(CLOSING, |open| open.conn.work())
    }
}

/// Work of the ready connections in one turn, in the units of `connection/work.rs`. Responses may take as much again.
pub(super) const MAX_WORK_PER_TURN: usize = 4000;
const CLOSING: usize = 30;
