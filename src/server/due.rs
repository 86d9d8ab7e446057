//! Timers of the loop.

use std::time::Duration;

use super::{Due, Server, shutdown::Stopping};
use crate::{clock::Now, proto::request::ConnId, server::listener::Listener};

impl Server {
    /// Does what is due. Where very many connections expire at once, some do in the next turn.
    pub(super) fn due(&mut self, now: Now) {
        let mut expiring = EXPIRING_A_TURN;
        while expiring > 0
            && let Some(due) = self.timers.due(now.steady)
        {
            match due {
                Due::Conn(id) => {
                    expiring -= 1;
                    self.expire(id, now);
                }
                Due::Accept => self.listeners.values_mut().for_each(Listener::look_again),
                Due::Measure => {
                    self.manager.remind();
                    self.backend.keep_house(self.clock.with_stops(now));
                    self.backend.tick(now.steady);
                    self.shrink();
                    self.answers(now);
                    self.timers.set(now.steady + MEASURE_EVERY, Due::Measure);
                }
                Due::Tick => {
                    self.ticking = self.backend.tick(now.steady);
                    if self.ticking {
                        self.timers.set(now.steady + TICK_EVERY, Due::Tick);
                    }
                    // What a tick has decided is told now: nothing else need wake the loop for a while.
                    self.answers(now);
                }
                Due::Reload => self.look_after_reload(now),
                Due::Watchdog => {
                    self.manager.alive();
                    let next = self.manager.watchdog().map(|interval| now.steady + interval);
                    next.into_iter().for_each(|next| self.timers.set(next, Due::Watchdog));
                }
                // Who still waits for the disk learns now that the message is not stored, if that is sure.
                Due::Stop => {
                    self.backend.give_up_unpublished();
                    self.answering = usize::MAX; // there is no other turn
                    self.answers(now);
                    self.stopping = Some(Stopping::Now);
                }
            }
        }
    }

    fn expire(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(&id) else { return self.lose_patience(id) };
        conn.timer = None;
        self.pump_after(id, now, |conn, _| conn.expire(now));
    }
}

/// Connections whose deadline comes in one turn.
const EXPIRING_A_TURN: usize = 200;
const MEASURE_EVERY: Duration = Duration::from_secs(5);
const TICK_EVERY: Duration = Duration::from_secs(1);
