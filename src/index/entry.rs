//! One mailbox in use: its index, the changes that the index does not have yet, and the job in flight.

use std::{collections::HashSet, ffi::OsStr, mem, os::unix::ffi::OsStrExt, sync::Arc, time::Duration};

use super::{
    MailboxIndex, MessageList, Snapshot,
    job::{KeepJob, ScanJob},
    name_set::NameSet,
    own_changes::OwnChanges,
    pending_work::{AwaitedBarrier, InFlight, PendingLogin, ScanNeed, SessionUpdate},
};
use crate::{
    deferred_drop::drop_deferred,
    limits::way_to_list,
    logging,
    maildir::{
        Change, CountProgress, FileName, Maildir, Subdir, name,
        scan::{DirTimes, Recheck, Skipped},
        size_cache::MIN_KEPT,
    },
    proto::request::{ConnId, Mailbox},
};

/// The index of one mailbox, and its work that is still to be done.
#[derive(Debug)]
pub(super) struct MailboxEntry {
    pub(super) mailbox: Mailbox,
    pub(super) maildir: Arc<Maildir>,
    /// `None` until the first full scan is done.
    pub(super) index: Option<MailboxIndex>,
    pub(super) watched: bool,
    /// A worker ends the watch, perhaps after a full scan in flight has begun another: that scan does not make the
    /// mailbox watched.
    pub(super) rewatch_needed: bool,
    pub(super) in_flight: Option<InFlight>,
    /// Nothing else begins while a worker makes the changes of a session.
    pub(super) session_update: Option<SessionUpdate>,
    /// Names that have changed since they were last checked.
    pub(super) dirty_names: NameSet,
    /// Names taken from the dirty ones for rechecks, some at a time, and the event count at that moment.
    pub(super) rechecking: NameSet,
    pub(super) rechecking_event: u64,
    /// Rechecked names that are gone. The index decides about all of them together, after the last recheck: until
    /// then other names of the same identity are no sign that a message is moving.
    pub(super) gone_names: Vec<FileName>,
    /// Whether rechecks of names are not enough.
    pub(super) scan_need: ScanNeed,
    /// Our own changes during a job that may or may not have seen them.
    pub(super) own_changes: OwnChanges,
    /// The number of events so far, and how many of them the index is known to have.
    pub(super) events_seen: u64,
    pub(super) events_applied: u64,
    /// Rechecks in a row that did not find a message under the name that was reported.
    pub(super) failed_rechecks: usize,
    /// Logins that are not answered yet.
    pub(super) logins: Vec<PendingLogin>,
    /// The sessions that have the mailbox open.
    pub(super) sessions: HashSet<ConnId>,
    /// The revision of the index that these sessions know.
    pub(super) known_revision: u64,
    /// The same with the messages that only IMAP shows.
    pub(super) known_folder_revision: u64,
    pub(super) last_used: Duration,
    pub(super) last_checked: Duration,
    /// The time at which directory times without an event to explain them were first seen.
    pub(super) times_mismatch_since: Option<Duration>,
    /// The time of the first recheck or update after the last full scan: from then on, events alone explain the
    /// directory times.
    pub(super) events_only_since: Option<Duration>,
    /// While the directories have these times, the index has every name: every event from before a barrier that was
    /// created after them is applied, and a later change leaves other times.
    pub(super) settled_times: Option<DirTimes>,
    /// The times of the directories whose messages were written down last for the next start of the server.
    pub(super) kept_times: Option<DirTimes>,
    /// Files that the last full scan skipped and the log does not have yet.
    pub(super) skipped_to_log: Vec<Skipped>,
    /// Files and identities that the log has already.
    pub(super) logged: HashSet<Box<[u8]>>,
}

impl MailboxEntry {
    pub(super) fn new(mailbox: Mailbox, maildir: Arc<Maildir>, now: Duration) -> Self {
        Self {
            mailbox,
            maildir,
            index: None,
            watched: false,
            rewatch_needed: false,
            in_flight: None,
            session_update: None,
            dirty_names: NameSet::default(),
            rechecking: NameSet::default(),
            rechecking_event: 0,
            gone_names: Vec::new(),
            scan_need: ScanNeed::No,
            own_changes: OwnChanges::default(),
            skipped_to_log: Vec::new(),
            events_seen: 0,
            events_applied: 0,
            failed_rechecks: 0,
            logins: Vec::new(),
            sessions: HashSet::new(),
            known_revision: 0,
            known_folder_revision: 0,
            last_used: now,
            last_checked: now,
            times_mismatch_since: None,
            events_only_since: None,
            settled_times: None,
            kept_times: None,
            logged: HashSet::new(),
        }
    }

    /// Records that something happened to a name. If there are so many names that a full scan costs less, requests
    /// that instead.
    pub(super) fn name_changed(&mut self, subdir: Subdir, name: Box<[u8]>) {
        self.events_seen += 1;
        if self.scan_need < ScanNeed::Yes {
            self.dirty_names.insert((subdir, name));
        }
        let all = self.index.as_ref().map_or(0, |index| index.list().len());
        if self.dirty_names.len() > all.max(MAX_DIRTY_NAMES) {
            drop_deferred(mem::take(&mut self.dirty_names));
            self.require_scan(ScanNeed::Yes);
        }
    }

    pub(super) fn require_scan(&mut self, need: ScanNeed) {
        self.events_seen += 1;
        self.scan_need = self.scan_need.max(need);
    }

    /// Applies our own changes, now and again after the job in flight, which may not have seen them.
    pub(super) fn apply_own_changes(&mut self, changes: Vec<Change>) {
        if let Some(index) = &mut self.index {
            index.apply_own_changes(&changes);
        }
        if self.in_flight.is_some() {
            self.own_changes.extend(changes);
        }
    }

    /// Continues the work that waited for that barrier: every earlier event has been reported.
    pub(super) fn barrier_reached(&mut self, number: u64) {
        let is_reached = |barrier: &AwaitedBarrier| barrier.number <= number;
        if self.session_update.as_ref().and_then(SessionUpdate::barrier).as_ref().is_some_and(is_reached) {
            self.resume_after_update();
        }
        for login in &mut self.logins {
            if login.barrier.as_ref().is_some_and(is_reached) {
                (login.barrier, login.needed_event) = (None, self.events_seen);
            }
        }
        if matches!(&self.in_flight, Some(InFlight::AwaitingBarrier(_, barrier)) if is_reached(barrier))
            && let Some(InFlight::AwaitingBarrier(done, _)) = self.in_flight.take()
        {
            self.begin_to_reconcile(done);
        }
    }

    /// The start of the longest wait for a barrier, if any.
    pub(super) fn awaiting_barrier_since(&self) -> Option<Duration> {
        let logins = self.logins.iter().filter_map(|login| login.barrier).map(|barrier| barrier.since);
        let job = match &self.in_flight {
            Some(InFlight::AwaitingBarrier(_, barrier)) => Some(barrier.since),
            _ => None,
        };
        let update =
            self.session_update.as_ref().and_then(SessionUpdate::barrier).map(|barrier| barrier.since);
        logins.chain(job).chain(update).min()
    }

    /// Whether events of this mailbox may be lost. A full scan may have begun a watch and not reported it yet.
    pub(super) fn is_maybe_watched(&self) -> bool {
        self.watched || matches!(self.in_flight, Some(InFlight::FullScan(_)))
    }

    /// Requests a full scan to find the changes without an event, and ends all waits for barriers.
    pub(super) fn fall_back_to_scan(&mut self) {
        self.settled_times = None;
        self.require_scan(ScanNeed::Yes);
        self.barrier_reached(u64::MAX);
    }

    /// Whether a full scan is done, and nothing is known to have happened since.
    pub(super) fn is_current(&self) -> bool {
        let has_work = self.scan_need > ScanNeed::No || self.has_names();
        self.index.is_some() && self.in_flight.is_none() && self.session_update.is_none() && !has_work
    }

    /// Whether there are names to recheck.
    pub(super) fn has_names(&self) -> bool {
        !self.dirty_names.is_empty() || !self.rechecking.is_empty()
    }

    /// Octets of memory that the index takes, also with the messages of a full scan beside it.
    pub(super) fn memory(&self) -> usize {
        let scanned = self.in_flight.as_ref().and_then(InFlight::scanned);
        self.index.iter().chain(scanned).map(MailboxIndex::memory).sum()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.sessions.is_empty()
            && self.logins.is_empty()
            && self.in_flight.is_none()
            && self.session_update.is_none()
    }

    /// Puts the result of a full scan in the place of the index, and returns the index before.
    pub(super) fn replace_index(&mut self, mut index: MailboxIndex) -> Option<MailboxIndex> {
        index.continue_revisions(self.index.as_ref());
        self.index.replace(index)
    }

    /// Takes the logins for which the index is ready, and the messages for them.
    pub(super) fn serve_logins(&mut self) -> Option<(Vec<ConnId>, Arc<Snapshot>)> {
        let index = self.index.as_ref()?;
        let is_ready =
            |login: &mut PendingLogin| login.barrier.is_none() && self.events_applied >= login.needed_event;
        let ready: Vec<PendingLogin> = self.logins.extract_if(.., is_ready).collect();
        if ready.is_empty() {
            return None;
        }
        if let Some(times) = ready.iter().rev().find_map(|login| login.times) {
            self.settled_times = Some(times).filter(|times| self.watched && *times == index.times());
        }
        let ready: Vec<ConnId> = ready.into_iter().map(|login| login.session).collect();
        if self.sessions.is_empty() {
            self.known_revision = index.revision();
            self.known_folder_revision = index.folder_revision();
        }
        self.sessions.extend(&ready);
        Some((ready, Arc::new(Snapshot::new(index.list()))))
    }

    /// Whether sessions have the mailbox open that do not know the present contents.
    pub(super) fn has_unreported_changes(&self) -> bool {
        !self.sessions.is_empty()
            && self.index.as_ref().is_some_and(|index| index.folder_revision() != self.known_folder_revision)
    }

    pub(super) fn begin_scan(&mut self) -> ScanJob {
        let unless = match (&self.index, self.scan_need) {
            (Some(index), ScanNeed::IfChanged) if !self.has_names() => index.trusted_times(),
            _ => None,
        };
        if unless.is_none() {
            // The full scan sees the changes of these names.
            let names = [mem::take(&mut self.dirty_names), mem::take(&mut self.rechecking)];
            let gone = mem::take(&mut self.gone_names);
            if !gone.is_empty() || names.iter().any(|names| !names.is_empty()) {
                drop_deferred((names, gone));
            }
        }
        let known = |list: fn(&MailboxIndex) -> &MessageList| {
            self.index.as_ref().map(|index| list(index).read_only_copy()).unwrap_or_default()
        };
        (self.scan_need, self.rewatch_needed) = (ScanNeed::No, false);
        self.in_flight = Some(InFlight::FullScan(self.events_seen));
        ScanJob {
            maildir: Arc::clone(&self.maildir),
            watch: !self.watched,
            skip_if_times: unless,
            known: known(MailboxIndex::list),
            known_trashed: known(MailboxIndex::trashed),
            progress: CountProgress::default(),
        }
    }

    /// The messages to be written down, if they are worth it and are others than the last time.
    pub(super) fn begin_to_keep(&mut self) -> Option<KeepJob> {
        let index = self.index.as_ref().filter(|index| index.list().len() >= MIN_KEPT)?;
        // With a watch, every change since then has been reported.
        let times = if self.watched { index.times() } else { index.trusted_times()? };
        if self.kept_times.replace(times) == Some(times) {
            return None;
        }
        let lists = [index.list(), index.trashed()].map(MessageList::read_only_copy);
        Some(KeepJob { maildir: Arc::clone(&self.maildir), lists, times })
    }

    /// Begins to recheck the dirty names, or continues with the rest of them.
    pub(super) fn begin_recheck(&mut self) -> Vec<Recheck> {
        self.in_flight = Some(InFlight::Recheck);
        if self.rechecking.is_empty() {
            self.rechecking = mem::take(&mut self.dirty_names);
            self.rechecking_event = self.events_seen;
        }
        let known = |subdir, name: &[u8]| self.index.as_ref().map(|index| index.known_files(subdir, name));
        let recheck = |(subdir, name): FileName| Recheck {
            subdir,
            known: known(subdir, &name).unwrap_or_default(),
            name,
        };
        self.rechecking.take_up_to(MAX_RECHECKS).into_iter().map(recheck).collect()
    }

    /// Logs once each identity that several files have, because other programs take these files for one message.
    pub(super) fn log_duplicates(&mut self, duplicates: &[Box<[u8]>]) {
        for identity in duplicates {
            if self.logged.len() < MAX_DIRTY_NAMES && self.logged.insert(identity.clone()) {
                let (path, name) = (self.maildir.path().display(), String::from_utf8_lossy(identity));
                log::warn!("{path}: duplicate unique-id {}: was a message copied?", logging::escape(&name));
            }
        }
    }

    pub(super) fn log_new_duplicates(&mut self, changes: &[Change]) {
        let Some(index) = &self.index else { return };
        let duplicate = |change: &Change| match change {
            Change::Present(found) => {
                let identity = name::identity(&found.name);
                index.list().of_identity(identity).nth(1).map(|_| identity.into())
            }
            Change::Absent { .. } => None,
        };
        let duplicates: Vec<Box<[u8]>> = changes.iter().filter_map(duplicate).collect();
        self.log_duplicates(&duplicates);
    }

    /// Logs once each file that was skipped, with the reason.
    pub(super) fn log_skipped(&mut self, skipped: &[Skipped]) {
        for file in skipped {
            if self.logged.len() < MAX_DIRTY_NAMES && self.logged.insert(file.name.clone()) {
                let path = self.maildir.path().join(file.subdir.name());
                let name = String::from_utf8_lossy(&file.name);
                let advice = file.advice(&path.join(OsStr::from_bytes(&file.name)), way_to_list);
                let advice = advice.map(|advice| format!(": {advice}")).unwrap_or_default();
                log::warn!("{}/{}: skipped: {}{advice}", path.display(), logging::escape(&name), file.why);
            }
        }
    }
}

/// The most names to recheck one by one, unless the mailbox has more messages.
const MAX_DIRTY_NAMES: usize = 10_000;
/// The most names in one recheck, because the loop has other work between two of them.
const MAX_RECHECKS: usize = 500;
