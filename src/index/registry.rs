//! The mailboxes in use: the index of each, the changes that it does not have yet, and the logins that wait for
//! them.
//!
//! A state machine without threads or files. It takes in logins, deliveries, events and results, and returns the
//! next jobs, the answers to logins, and the mailboxes whose sessions get an event. Each mailbox has one job in flight
//! at a time, so that results come in the order of the jobs. `docs/index.md` names the source of each input, and
//! explains why an index may be stale.

mod events;
mod eviction;
mod folders;
mod metrics;
mod ticks;
mod updates;

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

pub use folders::IndexVersion;

use super::{
    Snapshot,
    budget::Budget,
    entry::MailboxEntry,
    job::{IndexId, IndexJob, IndexResult, RecheckResult, ScanJob, ScanResult, SessionChanges},
    pending_work::{AwaitedBarrier, EVENT_GRACE, FinishedJob, InFlight, PendingLogin, ScanNeed},
    watcher::MailboxEvent,
};
use crate::{
    deferred_drop::drop_deferred,
    limits::Limits,
    maildir::{Change, Maildir, MessageEntry, Subdir, scan::DirTimes},
    metrics::METRICS,
    proto::request::{ConnId, Failure, Mailbox},
    round_robin::take_after,
};

/// The indexes of the mailboxes in use. Pure state: it requests jobs, and takes their results and events.
#[derive(Debug)]
pub struct Registry {
    max_mailboxes: usize,
    max_memory: usize,
    idle: Duration,
    now: Duration,
    ids: HashMap<Mailbox, IndexId>,
    entries: HashMap<IndexId, MailboxEntry>,
    last_id: u64,
    /// The last barrier that the watcher reported.
    last_barrier: u64,
    /// Mailboxes that wait for a barrier.
    awaiting_barrier: BTreeSet<IndexId>,
    /// Mailboxes with work to continue.
    runnable: BTreeSet<IndexId>,
    last_advanced: Option<IndexId>,
    budget: Budget,
    jobs: Vec<(IndexId, IndexJob)>,
    /// Responses to logins that the backend has not yet taken.
    login_results: Vec<(ConnId, Result<Arc<Snapshot>, Failure>)>,
    /// Mailboxes that have changed since their sessions last had an event.
    changed: BTreeSet<IndexId>,
    /// Whether a directory may have new times that no event has explained; each tick recomputes it.
    has_times_mismatch: bool,
}

impl Registry {
    /// Creates a registry without mailboxes. It holds at most `max_mailboxes` that no session has open.
    pub fn new(limits: &Limits, max_mailboxes: usize) -> Self {
        Self {
            max_mailboxes,
            max_memory: limits.index.max_memory.as_len(),
            idle: limits.index.idle_timeout.0,
            now: Duration::ZERO,
            ids: HashMap::new(),
            entries: HashMap::new(),
            last_id: 0,
            last_barrier: 0,
            awaiting_barrier: BTreeSet::new(),
            runnable: BTreeSet::new(),
            last_advanced: None,
            budget: Budget::new(MAX_NAMES_PER_TURN),
            jobs: Vec::new(),
            login_results: Vec::new(),
            changed: BTreeSet::new(),
            has_times_mismatch: false,
        }
    }

    /// Sets other bounds from now on.
    pub fn reconfigure(&mut self, limits: &Limits, max_mailboxes: usize) {
        self.max_mailboxes = max_mailboxes;
        self.max_memory = limits.index.max_memory.as_len();
        self.idle = limits.index.idle_timeout.0;
    }

    /// The number of mailboxes in use.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Begins a turn of the loop.
    pub fn begin_turn(&mut self) {
        self.budget.renew();
    }

    /// Whether the next turn may have work left.
    pub fn is_spent(&self) -> bool {
        self.budget.is_spent()
    }

    /// Sets the time on the steady clock.
    pub fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    /// Takes the jobs to run now. [`Registry::complete`] takes their results.
    pub fn take_jobs(&mut self) -> Vec<(IndexId, IndexJob)> {
        mem::take(&mut self.jobs)
    }

    /// Takes the answers to logins that are ready: the messages, or the reason why they can't be had.
    pub fn take_login_results(&mut self) -> Vec<(ConnId, Result<Arc<Snapshot>, Failure>)> {
        mem::take(&mut self.login_results)
    }

    /// Whether the registry waits for an event that comes within a second, or never. All other checks of
    /// [`Registry::tick`] take minutes.
    pub fn needs_ticks(&self) -> bool {
        self.has_times_mismatch || !self.awaiting_barrier.is_empty()
    }

    /// The open directories of a mailbox in use, for the caller to use again if its path still leads to them.
    pub fn maildir(&self, mailbox: &Mailbox) -> Option<Arc<Maildir>> {
        Some(Arc::clone(&self.entries.get(self.ids.get(mailbox)?)?.maildir))
    }

    /// The times of the directories of a mailbox in use, if the index has every name while they stay: then a login needs no
    /// barrier.
    pub fn settled_times(&self, mailbox: &Mailbox) -> Option<DirTimes> {
        let entry = self.entries.get(self.ids.get(mailbox)?)?;
        entry.settled_times.filter(|_| entry.watched)
    }

    // Sessions and deliveries

    /// Handles a session that has opened a mailbox. The directories had `times` then, under the lock if there is one, and
    /// after that the worker created `barrier`, or found the times settled. `racy`: a later change may leave the same
    /// times. [`Registry::take_login_results`] has the answer later.
    pub fn login(
        &mut self,
        mailbox: &Mailbox,
        maildir: &Arc<Maildir>,
        (times, racy): (DirTimes, bool),
        barrier: Option<u64>,
        session: ConnId,
    ) {
        if let Some((id, entry)) = self.entry(mailbox)
            && !Arc::ptr_eq(&entry.maildir, maildir)
        {
            self.drop_entry(id, Failure::TempFail); // it was removed or replaced
        }
        let id = self.ids.get(mailbox).copied().unwrap_or_else(|| self.insert_entry(mailbox, maildir));
        let now = self.now;
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.last_used = now;
        if let Some(index) = &entry.index {
            if !entry.watched {
                entry.require_scan(ScanNeed::IfChanged);
            } else if index.times() != times {
                entry.times_mismatch_since.get_or_insert(now);
                self.has_times_mismatch = true;
            }
        }
        let awaited = barrier.filter(|number| entry.watched && *number > self.last_barrier);
        let barrier = awaited.map(|number| AwaitedBarrier { number, since: now });
        let times = awaited.and(Some(times)).filter(|_| !racy);
        entry.logins.push(PendingLogin { session, needed_event: entry.events_seen, barrier, times });
        self.awaiting_barrier.insert(id);
        self.advance(id);
    }

    /// Handles the end of a session, or of a login that is not answered yet.
    pub fn logout(&mut self, mailbox: &Mailbox, session: ConnId) {
        let now = self.now;
        if let Some((id, entry)) = self.entry(mailbox) {
            entry.sessions.remove(&session);
            entry.logins.retain(|login| login.session != session);
            entry.last_used = now;
            entry.update_lost(session);
            self.runnable.insert(id);
        }
    }

    /// Handles a message of ours that is durable in the Maildir with that id (device and inode). Another program may
    /// have seen it there before, and even have moved or removed it, so its name is rechecked too.
    pub fn message_delivered(&mut self, mailbox: &Mailbox, maildir_id: (u64, u64), found: MessageEntry) {
        let Some((id, entry)) = self.entry(mailbox).filter(|(_, entry)| entry.maildir.id() == maildir_id)
        else {
            return;
        };
        // A recheck has seen it, and the watcher reports later changes.
        if entry.watched && entry.index.as_ref().is_some_and(|index| index.has_version(&found)) {
            return;
        }
        entry.name_changed(found.subdir, found.name.clone());
        entry.apply_own_changes(vec![Change::Present(found)]);
        self.runnable.insert(id);
    }

    /// Rechecks a message, because a session found that it differs from the index.
    pub fn recheck_message(&mut self, mailbox: &Mailbox, subdir: Subdir, name: &[u8]) {
        if let Some((id, entry)) = self.entry(mailbox) {
            entry.name_changed(subdir, name.into());
            self.runnable.insert(id);
        }
    }

    // Events of the watcher

    /// Notes a change that the watcher reported. The work for it follows in the same turn of the loop.
    pub fn on_event(&mut self, event: MailboxEvent) {
        let (MailboxEvent::NameChanged(id, ..)
        | MailboxEvent::NameRemoved(id, ..)
        | MailboxEvent::DirectoryLost(id)) = event;
        let Some(entry) = self.entries.get_mut(&id) else { return };
        self.runnable.insert(id);
        match event {
            MailboxEvent::NameChanged(_, subdir, name) => entry.name_changed(subdir, name),
            MailboxEvent::NameRemoved(_, subdir, name) => entry.name_removed(subdir, name),
            MailboxEvent::DirectoryLost(_) => {
                entry.watched = false;
                entry.fall_back_to_scan();
            }
        }
    }

    /// Handles a reached barrier: every event before it has been reported.
    pub fn barrier_reached(&mut self, barrier: u64) {
        self.last_barrier = barrier;
        for id in mem::take(&mut self.awaiting_barrier) {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.barrier_reached(barrier);
            self.runnable.insert(id);
            if entry.awaiting_barrier_since().is_some() {
                self.awaiting_barrier.insert(id);
            }
        }
    }

    /// Handles a loss of events: all watched mailboxes need a full scan.
    pub fn events_lost(&mut self) {
        for (id, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.is_maybe_watched()) {
            entry.fall_back_to_scan();
            self.runnable.insert(*id);
        }
    }

    /// Begins the work that follows from all events reported so far, as far as the budget of this turn goes.
    pub fn apply_events(&mut self) {
        while !self.budget.is_spent()
            && let Some(id) = take_after(&mut self.runnable, self.last_advanced)
        {
            self.last_advanced = Some(id);
            self.advance(id);
        }
    }

    // Results of the workers

    /// Handles the result of a job.
    pub fn complete(&mut self, id: IndexId, result: IndexResult) {
        match result {
            IndexResult::Scanned(Ok(ControlFlow::Continue(scan))) => self.continue_scan(id, scan),
            IndexResult::Scanned(Ok(ControlFlow::Break(scan))) => self.scan_finished(id, Ok(scan)),
            IndexResult::Scanned(Err(failure)) => self.scan_finished(id, Err(failure)),
            IndexResult::Rechecked(result) => self.recheck_finished(id, result),
        }
    }

    /// Queues a scan again, because its slice ended before everything was counted: other jobs go first.
    fn continue_scan(&mut self, id: IndexId, scan: Box<ScanJob>) {
        if self.entries.contains_key(&id) {
            return self.jobs.push((id, IndexJob::Scan(scan)));
        }
        self.jobs.push((id, IndexJob::Unwatch));
        drop_deferred(scan);
    }

    fn scan_finished(&mut self, id: IndexId, result: Result<ScanResult, Failure>) {
        let now = self.now;
        let Some(entry) = self.entries.get_mut(&id) else {
            // The mailbox was dropped meanwhile, perhaps before the watch began.
            if let Ok(scan) = result {
                self.jobs.push((id, IndexJob::Unwatch));
                drop_deferred(scan);
            }
            return;
        };
        let Some(InFlight::FullScan(events_at_start)) = entry.in_flight.take() else { return };
        let scan = match result {
            Ok(scan) => scan,
            // A mailbox that can't be scanned is dropped, and the next login begins anew.
            Err(failure) => return self.drop_entry(id, failure),
        };
        entry.watched |= scan.watched && !entry.rewatch_needed;
        entry.last_checked = now;
        (entry.times_mismatch_since, entry.events_only_since) = (None, None);
        entry.skipped_to_log = scan.skipped;
        entry.log_duplicates(&scan.duplicates);
        let index = scan.index.map(Box::new);
        self.await_barrier(
            id,
            FinishedJob::FullScan { events_at_start, missing: scan.missing, index },
            scan.barrier,
        );
        self.evict_idle();
    }

    fn recheck_finished(&mut self, id: IndexId, result: Result<RecheckResult, Failure>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match entry.in_flight.take() {
            Some(InFlight::Recheck) => {}
            Some(InFlight::CheckTimes) => return self.times_checked(id, result),
            _ => return,
        }
        let (Ok(mut recheck), Some(index)) = (result, &mut entry.index) else {
            entry.require_scan(ScanNeed::Yes);
            return self.advance(id);
        };
        self.budget.charge(recheck.changes.len());
        recheck.changes.retain(|seen| !entry.own_changes.contradicts(seen));
        index.apply_present(&recheck.changes);
        // Without a watch, other changes with the same times may have no report.
        if entry.watched {
            index.set_times(recheck.times, recheck.racy);
            entry.events_only_since.get_or_insert(self.now);
        }
        entry.times_mismatch_since = None;
        entry.log_skipped(&recheck.skipped);
        entry.log_new_duplicates(&recheck.changes);
        entry.gone_names.extend(recheck.changes.into_iter().filter_map(Change::absent));
        if !entry.rechecking.is_empty() {
            return self.advance(id);
        }
        let gone = mem::take(&mut entry.gone_names);
        self.await_barrier(id, FinishedJob::Recheck(gone), recheck.barrier);
    }

    fn times_checked(&mut self, id: IndexId, result: Result<RecheckResult, Failure>) {
        let now = self.now;
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.own_changes.clear(); // the index has them, and every later job sees them
        entry.last_checked = now;
        let is_racy = result.as_ref().map_or(true, |found| found.racy);
        let as_known =
            result.is_ok_and(|found| entry.index.as_ref().is_some_and(|i| i.times() == found.times));
        match entry.times_mismatch_since {
            _ if as_known => entry.times_mismatch_since = None,
            // An event may be on its way, if the mailbox is watched.
            Some(since) if entry.watched && now < since + EVENT_GRACE => {}
            None if entry.watched => {
                entry.times_mismatch_since = Some(now);
                self.has_times_mismatch = true;
            }
            _ => {
                if entry.watched {
                    log::info!("{}: directory changed without an inotify event, rescanning", entry.mailbox);
                }
                entry.require_scan(ScanNeed::Yes);
            }
        }
        if as_known && !is_racy {
            self.keep_if_quiet(id);
        }
        self.advance(id);
    }

    // Internal steps

    /// Waits for the barrier that a worker created after its recheck or scan, if the result depends on it. Begins
    /// to reconcile at once otherwise.
    fn await_barrier(&mut self, id: IndexId, done: FinishedJob, barrier: Option<u64>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match barrier.filter(|number| entry.watched && *number > self.last_barrier && done.must_wait()) {
            Some(number) => {
                entry.in_flight =
                    Some(InFlight::AwaitingBarrier(done, AwaitedBarrier { number, since: self.now }));
                self.awaiting_barrier.insert(id);
            }
            None => entry.begin_to_reconcile(done),
        }
        self.advance(id);
    }

    fn entry(&mut self, mailbox: &Mailbox) -> Option<(IndexId, &mut MailboxEntry)> {
        let id = *self.ids.get(mailbox)?;
        Some((id, self.entries.get_mut(&id)?))
    }

    fn insert_entry(&mut self, mailbox: &Mailbox, maildir: &Arc<Maildir>) -> IndexId {
        self.last_id += 1;
        let id = IndexId(self.last_id);
        self.ids.insert(mailbox.clone(), id);
        self.entries.insert(id, MailboxEntry::new(mailbox.clone(), Arc::clone(maildir), self.now));
        id
    }

    /// Serves the logins for which the index is ready, and begins the next step.
    fn advance(&mut self, id: IndexId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if !entry.reconcile(&mut self.budget) {
            self.runnable.insert(id);
            return;
        }
        if let Some((served, snapshot)) = entry.serve_logins() {
            self.login_results.extend(served.into_iter().map(|session| (session, Ok(Arc::clone(&snapshot)))));
        }
        if entry.has_unreported_changes() {
            self.changed.insert(id);
        }
        if entry.in_flight.is_some() || entry.session_update.is_some() {
            return;
        }
        if entry.index.is_none() || entry.scan_need > ScanNeed::No {
            METRICS.index_scans.inc();
            self.jobs.push((id, IndexJob::Scan(Box::new(entry.begin_scan()))));
        } else if entry.has_names() {
            let rechecks = entry.begin_recheck();
            self.budget.charge(rechecks.len());
            METRICS.index_rechecks.add(rechecks.len() as u64);
            self.jobs.push((id, IndexJob::Recheck(Arc::clone(&entry.maildir), rechecks)));
        }
    }
}

/// The most names and messages that one turn of the loop takes in here: some microseconds each.
const MAX_NAMES_PER_TURN: usize = 1000;

#[cfg(test)]
mod tests;
