//! What is looked after once in a while.

use std::{sync::Arc, time::Duration};

use super::{IndexId, Order, Registry};
use crate::{
    index::entry::{UnderWay, Walk},
    proto::request::Fault,
};

impl Registry {
    /// The time is `now`: checks what was not checked for a while, and drops what nobody uses.
    pub fn tick(&mut self, now: Duration) {
        self.set_time(now);
        let ids: Vec<IndexId> = self.held.keys().copied().collect();
        for id in ids {
            let Some(held) = self.held.get_mut(&id) else { continue };
            if held.is_idle() && held.last_used + self.idle <= now {
                self.drop_index(id, Fault::Broken);
                continue;
            }
            if held.waits_since().is_some_and(|since| since + EXPLAINED_WITHIN <= now) {
                log::info!("{}: the watch is silent; looked through again", held.mailbox);
                held.watched = false;
                held.walk_instead();
                self.go_on(id);
                continue;
            }
            if held.explained.is_some_and(|since| since + BELIEVED_FOR <= now) && held.is_at_rest() {
                held.walk = Walk::Yes; // nothing is known to have happened: no login waits for it
                self.go_on(id);
                continue;
            }
            let due = held.suspect.map_or(held.last_checked + CHECK_EVERY, |since| since + EXPLAINED_WITHIN);
            if due <= now && held.is_at_rest() {
                held.under_way = Some(UnderWay::Check);
                self.orders.push(Order::Check(id, Arc::clone(&held.maildir)));
            }
        }
        self.is_suspicious = self.held.values().any(|held| held.suspect.is_some());
        self.measure();
    }
}

/// How long a change of the times of a directory may go without a notice that explains it.
pub(super) const EXPLAINED_WITHIN: Duration = Duration::from_secs(1);
/// How long it is believed that the changes that were told are all there were: a change that was not told has
/// the same times of the directory behind it as one that was.
const BELIEVED_FOR: Duration = Duration::from_secs(15 * 60);
/// How often the times of a directory are compared when nothing happens.
const CHECK_EVERY: Duration = Duration::from_secs(60);
