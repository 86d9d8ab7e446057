//! Periodic checks.

use std::{sync::Arc, time::Duration};

use super::{IndexId, IndexJob, Registry};
use crate::{
    index::entry::MailboxEntry,
    index::pending_work::{EVENT_GRACE, InFlight, ScanNeed},
    proto::request::Failure,
};

impl Registry {
    /// Checks the mailboxes that are due at `now`, and drops those not used for too long.
    pub fn tick(&mut self, now: Duration) {
        self.set_time(now);
        let ids: Vec<IndexId> = self.entries.keys().copied().collect();
        for id in ids {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            if entry.is_idle() && entry.last_used + self.idle <= now {
                self.drop_entry(id, Failure::TempFail);
                continue;
            }
            if entry.awaiting_barrier_since().is_some_and(|since| since + EVENT_GRACE <= now) {
                log::info!("{}: inotify barrier timed out, rescanning", entry.mailbox);
                entry.watched = false;
                entry.fall_back_to_scan();
                self.advance(id);
                continue;
            }
            if entry.events_only_since.is_some_and(|since| since + FULL_SCAN_INTERVAL <= now)
                && entry.is_current()
            {
                entry.scan_need = ScanNeed::Yes; // no event is known, so no login waits for it
                self.advance(id);
                continue;
            }
            if times_check_due(entry) <= now && entry.is_current() {
                entry.in_flight = Some(InFlight::CheckTimes);
                self.jobs.push((id, IndexJob::Recheck(Arc::clone(&entry.maildir), Vec::new())));
            }
        }
        self.has_times_mismatch = self.entries.values().any(|entry| entry.times_mismatch_since.is_some());
        self.update_metrics();
    }

    /// Lets a worker write down the messages of a mailbox whose directories are as known, and not only since a moment ago.
    pub(super) fn keep_if_quiet(&mut self, id: IndexId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.is_current() {
            self.jobs.extend(entry.begin_to_keep().map(|job| (id, IndexJob::Keep(job))));
        }
    }

    /// The time at which [`Registry::tick`] has something to do for a mailbox, as far as is known.
    pub fn next_check(&self) -> Option<Duration> {
        let due = |entry: &MailboxEntry| {
            let end = if entry.is_idle() { entry.last_used + self.idle } else { Duration::MAX };
            end.min(times_check_due(entry))
        };
        self.entries.values().map(due).min()
    }
}

/// The time at which the times of the directories are to be compared.
fn times_check_due(entry: &MailboxEntry) -> Duration {
    entry.times_mismatch_since.map_or(entry.last_checked + CHECK_INTERVAL, |since| since + EVENT_GRACE)
}

/// Full-scan interval. If inotify drops one event and reports another in the same directory, the times of the
/// directory cannot show the loss: only a full scan finds the change.
const FULL_SCAN_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// The interval at which the times of a quiet directory are compared.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
