//! What is looked after once in a while.

use std::{sync::Arc, time::Duration};

use super::{IndexId, Order, Registry};
use crate::{
    index::entry::{InFlight, ScanNeed},
    proto::request::Failure,
};

impl Registry {
    /// The time is `now`: checks what was not checked for a while, and drops what nobody uses.
    pub fn tick(&mut self, now: Duration) {
        self.set_time(now);
        let ids: Vec<IndexId> = self.entries.keys().copied().collect();
        for id in ids {
            let Some(held) = self.entries.get_mut(&id) else { continue };
            if held.is_idle() && held.last_used + self.idle <= now {
                self.drop_entry(id, Failure::Broken);
                continue;
            }
            if held.barrier_wait_since().is_some_and(|since| since + EVENT_GRACE <= now) {
                log::info!("{}: the watch is silent; looked through again", held.mailbox);
                held.watched = false;
                held.fall_back_to_scan();
                self.advance(id);
                continue;
            }
            if held.explained_since.is_some_and(|since| since + FULL_SCAN_INTERVAL <= now)
                && held.is_current()
            {
                held.scan_need = ScanNeed::Yes; // nothing is known to have happened: no login waits for it
                self.advance(id);
                continue;
            }
            let due = held.suspect_since.map_or(held.last_checked + CHECK_EVERY, |since| since + EVENT_GRACE);
            if due <= now && held.is_current() {
                held.in_flight = Some(InFlight::CheckTimes);
                self.orders.push(Order::Check(id, Arc::clone(&held.maildir)));
            }
        }
        self.is_suspicious = self.entries.values().any(|held| held.suspect_since.is_some());
        self.update_metrics();
    }
}

/// How long a change of the times of a directory may go without a notice that explains it.
pub(super) const EVENT_GRACE: Duration = Duration::from_secs(1);
/// How long it is believed that the changes that were told are all there were: a change that was not told has
/// the same times of the directory behind it as one that was.
const FULL_SCAN_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// How often the times of a directory are compared when nothing happens.
const CHECK_EVERY: Duration = Duration::from_secs(60);
