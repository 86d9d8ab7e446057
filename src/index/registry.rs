//! The mailboxes in use: the index of each, the changes that it does not have yet, and the logins that wait for
//! them.
//!
//! A state machine without threads or files. It takes in logins, deliveries, events and results, and returns the
//! next steps as [`Order`]s. Each mailbox has one job in flight at a time, so that results come in the order of the
//! jobs. `docs/index.md` names the source of each input, and explains why an index may be stale.

mod eviction;
mod metrics;
mod ticks;

use std::{
    collections::{BTreeSet, HashMap},
    fmt, mem,
    sync::Arc,
    time::Duration,
};

pub use super::entry::{ScanJob, SessionChanges};
use super::{
    MailboxIndex, Snapshot,
    budget::Budget,
    entry::{AwaitedBarrier, FinishedJob, InFlight, MailboxEntry, PendingLogin, ScanNeed},
    pending_drop::PendingDrop,
    watcher::MailboxEvent,
};
use crate::{
    limits::Limits,
    maildir::{
        Change, Maildir, MessageEntry, Subdir,
        scan::{DirTimes, Recheck, Skipped},
    },
    metrics::METRICS,
    proto::request::{ConnId, Failure, Mailbox},
    rota::take_after,
};

/// The number of an index. It is never used twice, so a late result for a dropped index has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexId(pub u64);

impl fmt::Display for IndexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

/// A step for the caller to carry out.
#[derive(Debug)]
pub enum Order {
    /// Run a full scan, and report to [`Registry::full_scan_finished`].
    Load(IndexId, Box<ScanJob>),
    /// Recheck some names, and report to [`Registry::recheck_finished`].
    Look(IndexId, Arc<Maildir>, Vec<Recheck>),
    /// Read the times of the directories, and report to [`Registry::times_checked`].
    Check(IndexId, Arc<Maildir>),
    /// Stop watching the mailbox.
    Unwatch(IndexId, Arc<Maildir>),
    /// Free memory on another thread, because a large amount takes a while.
    Free(PendingDrop),
    /// Answer a login.
    Serve(ConnId, Arc<Snapshot>),
    /// Refuse a login.
    Fail(ConnId, Failure),
}

/// The result of a full scan.
#[derive(Debug)]
pub struct ScanResult {
    /// The open directories of the mailbox.
    pub maildir: Arc<Maildir>,
    /// The messages, or `None` if nothing has changed.
    pub index: Option<MailboxIndex>,
    /// Whether the mailbox is watched from now on. Only set if the job asked for it.
    pub watched: bool,
    /// Files that the scan skipped.
    pub skipped: Vec<Skipped>,
    /// Known messages that the scan did not see.
    pub missing: Vec<MessageEntry>,
    /// Identities that several messages have, or some of them if there are many.
    pub duplicates: Vec<Box<[u8]>>,
    /// The barrier that the worker created afterwards.
    pub barrier: Option<u64>,
}

/// The result of a recheck.
#[derive(Debug)]
pub struct RecheckResult {
    /// The times of the directories before the recheck.
    pub times: DirTimes,
    /// Whether another change might have the same times.
    pub racy: bool,
    /// Names that exist, and names that do not.
    pub changes: Vec<Change>,
    /// Files that the recheck skipped.
    pub skipped: Vec<Skipped>,
    /// The barrier that the worker created afterwards.
    pub barrier: Option<u64>,
}

/// The mailboxes in use.
#[derive(Debug)]
pub struct Registry {
    max_mailboxes: usize,
    max_memory: usize,
    idle: Duration,
    now: Duration,
    ids: HashMap<Mailbox, IndexId>,
    entries: HashMap<IndexId, MailboxEntry>,
    last_id: u64,
    /// The last barrier reached.
    last_barrier: u64,
    /// Mailboxes that wait for a barrier.
    awaiting_barrier: BTreeSet<IndexId>,
    /// Mailboxes with work to continue.
    runnable: BTreeSet<IndexId>,
    last_advanced: Option<IndexId>,
    budget: Budget,
    orders: Vec<Order>,
    /// Whether, at the last tick, a directory had new times that no event had explained.
    has_times_mismatch: bool,
}

impl Registry {
    /// Creates a registry without mailboxes. It holds at most `max_mailboxes` that no session has open.
    pub fn new(limits: &Limits, max_mailboxes: usize) -> Self {
        Self {
            max_mailboxes,
            max_memory: limits.index_memory.as_len(),
            idle: limits.index_idle.0,
            now: Duration::ZERO,
            ids: HashMap::new(),
            entries: HashMap::new(),
            last_id: 0,
            last_barrier: 0,
            awaiting_barrier: BTreeSet::new(),
            runnable: BTreeSet::new(),
            last_advanced: None,
            budget: Budget::new(MAX_NAMES_PER_TURN),
            orders: Vec::new(),
            has_times_mismatch: false,
        }
    }

    /// Sets other bounds from now on.
    pub fn reconfigure(&mut self, limits: &Limits, max_mailboxes: usize) {
        self.max_mailboxes = max_mailboxes;
        self.max_memory = limits.index_memory.as_len();
        self.idle = limits.index_idle.0;
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

    /// Takes the steps to carry out now.
    pub fn orders(&mut self) -> Vec<Order> {
        mem::take(&mut self.orders)
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

    // Sessions and deliveries

    /// Handles a session that has locked a mailbox. The directories had these times at that moment, and the worker
    /// created `barrier` after it. [`Order::Serve`] or [`Order::Fail`] answers.
    pub fn login(
        &mut self,
        mailbox: &Mailbox,
        maildir: &Arc<Maildir>,
        times: DirTimes,
        barrier: Option<u64>,
        to: ConnId,
    ) {
        if let Some((id, entry)) = self.entry(mailbox)
            && !Arc::ptr_eq(&entry.maildir, maildir)
        {
            self.drop_entry(id, Failure::TempFail); // it was removed or replaced
        }
        let id = self.ids.get(mailbox).copied().unwrap_or_else(|| self.insert_entry(mailbox, maildir));
        let now = self.now;
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.sessions += 1;
        entry.last_used = now;
        if let Some(index) = &entry.index {
            if !entry.watched {
                entry.require_scan(ScanNeed::IfChanged);
            } else if index.times() != times {
                entry.times_mismatch_since.get_or_insert(now);
                self.has_times_mismatch = true;
            }
        }
        let barrier = barrier.filter(|_| entry.watched).map(|number| AwaitedBarrier { number, since: now });
        entry.login = Some(PendingLogin { to, needed_event: entry.events_seen, barrier });
        entry.barrier_reached(self.last_barrier);
        self.awaiting_barrier.insert(id);
        self.advance(id);
    }

    /// Handles the end of a session.
    pub fn logout(&mut self, mailbox: &Mailbox) {
        let now = self.now;
        if let Some((id, entry)) = self.entry(mailbox) {
            entry.sessions = entry.sessions.saturating_sub(1);
            entry.last_used = now;
            entry.update_lost();
            self.runnable.insert(id);
        }
    }

    /// Handles a message of ours that is durable in that Maildir. Another program may have seen it there before,
    /// and even have moved or removed it, so its name is rechecked too.
    pub fn message_delivered(&mut self, mailbox: &Mailbox, maildir: (u64, u64), found: MessageEntry) {
        let Some((id, entry)) = self.entry(mailbox).filter(|(_, entry)| entry.maildir.id() == maildir) else {
            return;
        };
        // A recheck has seen it, and the watcher reports later changes.
        if entry.watched && entry.index.as_ref().is_some_and(|index| index.has(&found)) {
            return;
        }
        entry.name_changed(found.subdir, found.name.clone());
        entry.apply_own(vec![Change::Present(found)]);
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

    /// Handles an event.
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

    /// Handles the result of [`Order::Load`].
    pub fn full_scan_finished(&mut self, id: IndexId, result: Result<ScanResult, Failure>) {
        let now = self.now;
        let Some(entry) = self.entries.get_mut(&id) else {
            // The mailbox was dropped meanwhile, perhaps before the watch began.
            if let Ok(loaded) = result {
                self.orders.push(Order::Unwatch(id, Arc::clone(&loaded.maildir)));
                self.orders.push(Order::Free(PendingDrop::of(loaded)));
            }
            return;
        };
        let Some(InFlight::FullScan(from)) = entry.in_flight.take() else { return };
        let loaded = match result {
            Ok(loaded) => loaded,
            // A mailbox that can't be scanned is dropped, and the next login begins anew.
            Err(failure) => return self.drop_entry(id, failure),
        };
        entry.watched |= loaded.watched && !entry.rewatch_needed;
        entry.last_checked = now;
        (entry.times_mismatch_since, entry.events_only_since) = (None, None);
        entry.skipped_to_log = loaded.skipped;
        entry.log_duplicates(&loaded.duplicates);
        let is_new = loaded.index.is_some();
        if let Some(before) = loaded.index.and_then(|index| entry.index.replace(index)) {
            entry.pending_drops.push(PendingDrop::of(before));
        }
        self.await_barrier(
            id,
            FinishedJob::FullScan { from, missing: loaded.missing, is_new },
            loaded.barrier,
        );
        self.evict_idle();
    }

    /// Handles the result of [`Order::Look`].
    pub fn recheck_finished(&mut self, id: IndexId, result: Result<RecheckResult, Failure>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(InFlight::Recheck) = entry.in_flight.take() else { return };
        let (Ok(recheck), Some(index)) = (result, &mut entry.index) else {
            entry.require_scan(ScanNeed::Yes);
            return self.advance(id);
        };
        self.budget.charge(recheck.changes.len());
        index.apply_present(&recheck.changes);
        // Without a watch, other changes with the same times may have no report.
        if entry.watched {
            index.rechecked(recheck.times, recheck.racy);
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

    /// Handles the result of [`Order::Check`].
    pub fn times_checked(&mut self, id: IndexId, result: Result<DirTimes, Failure>) {
        let now = self.now;
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.in_flight = None;
        entry.own_changes.clear(); // the index has them, and every later job sees them
        entry.last_checked = now;
        let as_known = result.is_ok_and(|times| entry.index.as_ref().is_some_and(|i| i.times() == times));
        match entry.times_mismatch_since {
            _ if as_known => entry.times_mismatch_since = None,
            // An event may be on its way, if the mailbox is watched.
            Some(since) if entry.watched && now < since + ticks::EVENT_GRACE => {}
            None if entry.watched => {
                entry.times_mismatch_since = Some(now);
                self.has_times_mismatch = true;
            }
            _ => {
                if entry.watched {
                    log::info!("{}: changed, and no notice told so; looked through again", entry.mailbox);
                }
                entry.require_scan(ScanNeed::Yes);
            }
        }
        self.advance(id);
    }

    /// Drops a mailbox, because an order for it failed.
    pub fn job_failed(&mut self, id: IndexId) {
        self.drop_entry(id, Failure::TempFail);
    }

    // Internal steps

    /// Waits for the barrier that a worker created after its recheck or scan, if the result depends on it. Takes in
    /// the result at once otherwise.
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

    /// Serves the login if the index is ready for it, and begins the next step.
    fn advance(&mut self, id: IndexId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let is_done = entry.reconcile(&mut self.budget);
        self.orders.extend(entry.pending_drops.drain(..).map(Order::Free));
        if !is_done {
            self.runnable.insert(id);
            return;
        }
        if let (Some(PendingLogin { to, .. }), Some(index)) = (
            entry.login.filter(|login| login.barrier.is_none() && entry.events_applied >= login.needed_event),
            &entry.index,
        ) {
            let snapshot = Arc::new(Snapshot::new(index.list()));
            entry.login = None;
            self.orders.push(Order::Serve(to, snapshot));
        }
        if entry.in_flight.is_some() || entry.session_update.is_some() {
            return;
        }
        if entry.index.is_none() || entry.scan_need > ScanNeed::No {
            METRICS.index_scans.inc();
            self.orders.push(Order::Load(id, Box::new(entry.begin_scan())));
        } else if entry.has_names() {
            let rechecks = entry.begin_recheck();
            self.budget.charge(rechecks.len());
            METRICS.index_rechecks.add(rechecks.len() as u64);
            self.orders.push(Order::Look(id, Arc::clone(&entry.maildir), rechecks));
        }
    }
}

/// The most names and messages that one turn of the loop takes in here: some microseconds each.
const MAX_NAMES_PER_TURN: usize = 1000;

mod scan_slices;
mod session_updates;
#[cfg(test)]
mod tests;
