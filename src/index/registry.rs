//! The mailboxes in use: the index of each, the changes that it does not have yet, and the logins that wait for
//! them.
//!
//! A state machine without threads or files. It takes in logins, deliveries, events and results, and returns the
//! next jobs, the answers to logins, and the mailboxes whose sessions get an event. Each mailbox has one job in flight
//! at a time, so that results come in the order of the jobs. `docs/index.md` names the source of each input, and
//! explains why an index may be stale.

mod events;
mod metrics;
mod room;
mod ticks;

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use super::{
    Snapshot,
    budget::Budget,
    entry::{AwaitingBarrier, BarrierWait, InFlight, MailboxEntry, PendingLogin, ScanNeed},
    job::{IndexId, IndexJob, IndexResult, RecheckResult, ScanJob, ScanResult, SessionChanges},
    watcher::MailboxEvent,
};
use crate::{
    deferred_drop::drop_deferred,
    limits::Limits,
    maildir::{Change, Maildir, MessageEntry, Subdir, scan::DirTimes},
    metrics::METRICS,
    proto::request::{ConnId, Failure, Mailbox},
    rota::take_after,
};

/// The mailboxes in use.
#[derive(Debug)]
pub struct Registry {
    max_mailboxes: usize,
    max_memory: usize,
    idle: Duration,
    now: Duration,
    ids: HashMap<Mailbox, IndexId>,
    entries: HashMap<IndexId, MailboxEntry>,
    next: u64,
    /// The last barrier reached.
    last_barrier: u64,
    /// Mailboxes that wait for a barrier.
    awaiting_barrier: BTreeSet<IndexId>,
    /// Mailboxes with work to continue.
    touched: BTreeSet<IndexId>,
    last_stirred: Option<IndexId>,
    budget: Budget,
    jobs: Vec<(IndexId, IndexJob)>,
    /// The answers to logins.
    ready: Vec<(ConnId, Result<Arc<Snapshot>, Failure>)>,
    /// Mailboxes that have changed since their sessions last had an event.
    changed: BTreeSet<IndexId>,
    /// Whether, at the last tick, a directory had new times that no event had explained.
    is_suspicious: bool,
}

impl Registry {
    /// Creates a registry without mailboxes. It holds at most `most_mailboxes` that no session has open.
    pub fn new(limits: &Limits, most_mailboxes: usize) -> Self {
        Self {
            max_mailboxes: most_mailboxes,
            max_memory: limits.index_memory.as_len(),
            idle: limits.index_idle.0,
            now: Duration::ZERO,
            ids: HashMap::new(),
            entries: HashMap::new(),
            next: 0,
            last_barrier: 0,
            awaiting_barrier: BTreeSet::new(),
            touched: BTreeSet::new(),
            last_stirred: None,
            budget: Budget::new(NAMES_A_TURN),
            jobs: Vec::new(),
            ready: Vec::new(),
            changed: BTreeSet::new(),
            is_suspicious: false,
        }
    }

    /// Sets other bounds from now on.
    pub fn reconfigure(&mut self, limits: &Limits, most_mailboxes: usize) {
        self.max_mailboxes = most_mailboxes;
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

    /// Takes the jobs to run now. [`Registry::complete`] takes their results.
    pub fn take_jobs(&mut self) -> Vec<(IndexId, IndexJob)> {
        mem::take(&mut self.jobs)
    }

    /// Takes the answers to logins that are ready: the messages, or the reason why they can't be had.
    pub fn take_ready(&mut self) -> Vec<(ConnId, Result<Arc<Snapshot>, Failure>)> {
        mem::take(&mut self.ready)
    }

    /// Whether the registry waits for an event that comes within a second, or never. All other checks of
    /// [`Registry::tick`] take minutes.
    pub fn needs_ticks(&self) -> bool {
        self.is_suspicious || !self.awaiting_barrier.is_empty()
    }

    /// The open directories of a mailbox in use, for the caller to use again if its path still leads to them.
    pub fn maildir(&self, mailbox: &Mailbox) -> Option<Arc<Maildir>> {
        Some(Arc::clone(&self.entries.get(self.ids.get(mailbox)?)?.maildir))
    }

    // Sessions and deliveries

    /// Handles a session that has locked a mailbox. The directories had these times at that moment, and the worker
    /// created the barrier `mark` after it. [`Registry::take_ready`] has the answer later.
    pub fn login(
        &mut self,
        mailbox: &Mailbox,
        maildir: &Arc<Maildir>,
        times: DirTimes,
        mark: Option<u64>,
        to: ConnId,
    ) {
        if let Some((id, held)) = self.entry(mailbox)
            && !Arc::ptr_eq(&held.maildir, maildir)
        {
            self.drop_entry(id, Failure::Broken); // it was removed or replaced
        }
        let id = self.ids.get(mailbox).copied().unwrap_or_else(|| self.insert_entry(mailbox, maildir));
        let now = self.now;
        let Some(held) = self.entries.get_mut(&id) else { return };
        held.last_used = now;
        if let Some(index) = &held.index {
            if !held.watched {
                held.require_scan(ScanNeed::IfChanged);
            } else if index.times() != times {
                held.suspect_since.get_or_insert(now);
                self.is_suspicious = true;
            }
        }
        let mark = mark.filter(|_| held.watched).map(|number| BarrierWait { number, since: now });
        held.logins.push(PendingLogin { to, needed_event: held.events_seen, barrier: mark });
        held.barrier_reached(self.last_barrier);
        self.awaiting_barrier.insert(id);
        self.advance(id);
    }

    /// Handles the end of a session, or of a login that is not answered yet.
    pub fn logout(&mut self, mailbox: &Mailbox, session: ConnId) {
        let now = self.now;
        if let Some((id, held)) = self.entry(mailbox) {
            held.sessions.remove(&session);
            held.logins.retain(|login| login.to != session);
            held.last_used = now;
            held.update_lost();
            self.touched.insert(id);
        }
    }

    /// Handles a message of ours that is durable in that Maildir. Another program may have seen it there before,
    /// and even have moved or removed it, so its name is rechecked too.
    pub fn message_delivered(&mut self, mailbox: &Mailbox, maildir: (u64, u64), found: MessageEntry) {
        let Some((id, held)) = self.entry(mailbox).filter(|(_, held)| held.maildir.id() == maildir) else {
            return;
        };
        // A recheck has seen it, and the watcher reports later changes.
        if held.watched && held.index.as_ref().is_some_and(|index| index.has(&found)) {
            return;
        }
        held.name_changed(found.subdir, found.name.clone());
        held.apply_own(vec![Change::Present(found)]);
        self.touched.insert(id);
    }

    /// Rechecks a message, because a session found that it differs from the index.
    pub fn recheck_message(&mut self, mailbox: &Mailbox, place: Subdir, name: &[u8]) {
        if let Some((id, held)) = self.entry(mailbox) {
            held.name_changed(place, name.into());
            self.touched.insert(id);
        }
    }

    // Events of the watcher

    /// Handles an event.
    pub fn on_event(&mut self, notice: MailboxEvent) {
        let (MailboxEvent::NameChanged(id, ..)
        | MailboxEvent::NameRemoved(id, ..)
        | MailboxEvent::DirectoryLost(id)) = notice;
        let Some(held) = self.entries.get_mut(&id) else { return };
        self.touched.insert(id);
        match notice {
            MailboxEvent::NameChanged(_, place, name) => held.name_changed(place, name),
            MailboxEvent::NameRemoved(_, place, name) => held.name_removed(place, name),
            MailboxEvent::DirectoryLost(_) => {
                held.watched = false;
                held.fall_back_to_scan();
            }
        }
    }

    /// Handles a reached barrier: every event before it has been reported.
    pub fn barrier_reached(&mut self, mark: u64) {
        self.last_barrier = mark;
        for id in mem::take(&mut self.awaiting_barrier) {
            let Some(held) = self.entries.get_mut(&id) else { continue };
            held.barrier_reached(mark);
            self.touched.insert(id);
            if held.barrier_wait_since().is_some() {
                self.awaiting_barrier.insert(id);
            }
        }
    }

    /// Handles a loss of events: all watched mailboxes need a full scan.
    pub fn events_lost(&mut self) {
        for (id, held) in self.entries.iter_mut().filter(|(_, held)| held.is_maybe_watched()) {
            held.fall_back_to_scan();
            self.touched.insert(*id);
        }
    }

    /// Begins the work that follows from all events reported so far, as far as the budget of this turn goes.
    pub fn apply_events(&mut self) {
        while !self.budget.is_spent()
            && let Some(id) = take_after(&mut self.touched, self.last_stirred)
        {
            self.last_stirred = Some(id);
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

    /// Queues a scan again, because its turn ended before everything was counted: other jobs go first.
    fn continue_scan(&mut self, id: IndexId, scan: Box<ScanJob>) {
        if self.entries.contains_key(&id) {
            return self.jobs.push((id, IndexJob::Scan(scan)));
        }
        self.jobs.push((id, IndexJob::Unwatch(Arc::clone(&scan.maildir))));
        drop_deferred(scan);
    }

    fn scan_finished(&mut self, id: IndexId, result: Result<ScanResult, Failure>) {
        let now = self.now;
        let Some(held) = self.entries.get_mut(&id) else {
            // The mailbox was dropped meanwhile, perhaps before the watch began.
            if let Ok(loaded) = result {
                self.jobs.push((id, IndexJob::Unwatch(Arc::clone(&loaded.maildir))));
                drop_deferred(loaded);
            }
            return;
        };
        let Some(InFlight::FullScan(from)) = held.in_flight.take() else { return };
        let loaded = match result {
            Ok(loaded) => loaded,
            // A mailbox that can't be scanned is dropped, and the next login begins anew.
            Err(fault) => return self.drop_entry(id, fault),
        };
        held.watched |= loaded.watched && !held.rewatch_needed;
        held.last_checked = now;
        (held.suspect_since, held.explained_since) = (None, None);
        held.left_out = loaded.skipped;
        held.report_duplicates(&loaded.duplicates);
        let is_new = loaded.index.is_some();
        if let Some(index) = loaded.index {
            drop_deferred(held.replace_index(index));
        }
        self.await_barrier(
            id,
            AwaitingBarrier::FullScan { from, missing: loaded.missing, is_new },
            loaded.barrier,
        );
        self.make_room();
    }

    fn recheck_finished(&mut self, id: IndexId, result: Result<RecheckResult, Failure>) {
        let Some(held) = self.entries.get_mut(&id) else { return };
        match held.in_flight.take() {
            Some(InFlight::Recheck) => {}
            Some(InFlight::CheckTimes) => return self.times_checked(id, result.map(|found| found.times)),
            _ => return,
        }
        let (Ok(looked), Some(index)) = (result, &mut held.index) else {
            held.require_scan(ScanNeed::Yes);
            return self.advance(id);
        };
        self.budget.charge(looked.changes.len());
        index.apply_present(&looked.changes);
        // Without a watch, other changes with the same times may have no report.
        if held.watched {
            index.rechecked(looked.times, looked.racy);
            held.explained_since.get_or_insert(self.now);
        }
        held.suspect_since = None;
        held.report_skipped(&looked.skipped);
        held.report_new_duplicates(&looked.changes);
        held.gone_names.extend(looked.changes.into_iter().filter_map(Change::absent));
        if !held.checking.is_empty() {
            return self.advance(id);
        }
        let gone = mem::take(&mut held.gone_names);
        self.await_barrier(id, AwaitingBarrier::Recheck(gone), looked.barrier);
    }

    fn times_checked(&mut self, id: IndexId, result: Result<DirTimes, Failure>) {
        let now = self.now;
        let Some(held) = self.entries.get_mut(&id) else { return };
        held.own_changes.clear(); // the index has them, and every later job sees them
        held.last_checked = now;
        let as_known = result.is_ok_and(|times| held.index.as_ref().is_some_and(|i| i.times() == times));
        match held.suspect_since {
            _ if as_known => held.suspect_since = None,
            // An event may be on its way, if the mailbox is watched.
            Some(since) if held.watched && now < since + ticks::EVENT_GRACE => {}
            None if held.watched => {
                held.suspect_since = Some(now);
                self.is_suspicious = true;
            }
            _ => {
                if held.watched {
                    log::info!("{}: changed, and no notice told so; looked through again", held.mailbox);
                }
                held.require_scan(ScanNeed::Yes);
            }
        }
        self.advance(id);
    }

    // Internal steps

    /// Waits for the barrier that a worker created after its recheck or scan, if the result depends on it. Takes in
    /// the result at once otherwise.
    fn await_barrier(&mut self, id: IndexId, done: AwaitingBarrier, mark: Option<u64>) {
        let Some(held) = self.entries.get_mut(&id) else { return };
        match mark.filter(|number| held.watched && *number > self.last_barrier && done.must_wait()) {
            Some(number) => {
                held.in_flight =
                    Some(InFlight::AwaitingBarrier(done, BarrierWait { number, since: self.now }));
                self.awaiting_barrier.insert(id);
            }
            None => held.begin_to_reconcile(done),
        }
        self.advance(id);
    }

    fn entry(&mut self, mailbox: &Mailbox) -> Option<(IndexId, &mut MailboxEntry)> {
        let id = *self.ids.get(mailbox)?;
        Some((id, self.entries.get_mut(&id)?))
    }

    fn insert_entry(&mut self, mailbox: &Mailbox, maildir: &Arc<Maildir>) -> IndexId {
        self.next += 1;
        let id = IndexId(self.next);
        self.ids.insert(mailbox.clone(), id);
        self.entries.insert(id, MailboxEntry::new(mailbox.clone(), Arc::clone(maildir), self.now));
        id
    }

    /// Serves the logins for which the index is ready, and begins the next step.
    fn advance(&mut self, id: IndexId) {
        let Some(held) = self.entries.get_mut(&id) else { return };
        if !held.reconcile(&mut self.budget) {
            self.touched.insert(id);
            return;
        }
        if let Some((served, snapshot)) = held.serve_logins() {
            self.ready.extend(served.into_iter().map(|to| (to, Ok(Arc::clone(&snapshot)))));
        }
        if held.has_news() {
            self.changed.insert(id);
        }
        if held.in_flight.is_some() || held.session_update.is_some() {
            return;
        }
        if held.index.is_none() || held.scan_need > ScanNeed::No {
            METRICS.index_scans.inc();
            self.jobs.push((id, IndexJob::Scan(Box::new(held.begin_scan()))));
        } else if held.has_names() {
            let looks = held.begin_recheck();
            self.budget.charge(looks.len());
            METRICS.index_rechecks.add(looks.len() as u64);
            self.jobs.push((id, IndexJob::Recheck(Arc::clone(&held.maildir), looks)));
        }
    }
}

/// The most names and messages that one turn of the loop takes in here: some microseconds each.
const NAMES_A_TURN: usize = 1000;

mod session_updates;
#[cfg(test)]
mod tests;
