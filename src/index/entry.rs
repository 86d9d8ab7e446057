//! One mailbox in use: its index, what happened that the index does not have yet, and what is under way.

use std::{
    collections::{HashSet, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use super::{
    MailboxIndex, MessageList, name_set::NameSet, reconcile::Rest, session_update::SessionUpdate,
    spare::Garbage,
};
use crate::{
    logging,
    maildir::{
        Change, CountProgress, Maildir, MessageEntry, Subdir,
        message::FileName,
        name,
        scan::{DirTimes, Recheck, Skipped},
    },
    proto::request::{ConnId, Mailbox},
};

/// One mailbox in use.
#[derive(Debug)]
pub(super) struct MailboxEntry {
    pub(super) mailbox: Mailbox,
    pub(super) maildir: Arc<Maildir>,
    /// There once it was looked through.
    pub(super) index: Option<MailboxIndex>,
    pub(super) watched: bool,
    /// A worker was told to end the watch, perhaps after a walk that began before has begun another.
    pub(super) rewatch_needed: bool,
    pub(super) in_flight: Option<InFlight>,
    /// Nothing else begins while a session's changes are under way.
    pub(super) session_update: Option<SessionUpdate>,
    /// Names that something happened to since they were looked at.
    pub(super) dirty_names: NameSet,
    /// Those that were taken out of them to be looked at, some at a time, and what had happened by then.
    pub(super) checking: NameSet,
    pub(super) checking_since: u64,
    /// Those of them that were not there any more. It is decided about all of them together after the last look:
    /// until then the others of their identity are no sign that a message is moving.
    pub(super) gone_names: Vec<FileName>,
    /// Whether looking at names will not do.
    pub(super) scan_need: ScanNeed,
    /// Our own changes while something is under way that may or may not have seen them.
    pub(super) own_changes: VecDeque<Change>,
    /// Counts what happened, and how much of that the index is known to have.
    pub(super) events_seen: u64,
    pub(super) events_applied: u64,
    /// Looks in a row that did not find a message where it was told to be.
    pub(super) failed_rechecks: usize,
    /// What nobody needs any more.
    pub(super) garbage: Vec<Garbage>,
    pub(super) login: Option<PendingLogin>,
    pub(super) sessions: usize,
    pub(super) last_used: Duration,
    pub(super) last_checked: Duration,
    /// Since when the directories have times that no notice has explained.
    pub(super) suspect_since: Option<Duration>,
    /// Since when their times are believed that were seen by a look at some names, and not by a walk.
    pub(super) explained_since: Option<Duration>,
    /// What the last walk left out, and the log was not told of yet.
    pub(super) left_out: Vec<Skipped>,
    /// What the log was told of files that were left out.
    pub(super) reported: HashSet<Box<[u8]>>,
}

/// What a worker does for a mailbox. The count is what had happened when it began.
#[derive(Debug)]
pub(super) enum InFlight {
    FullScan(u64),
    /// At some names.
    Recheck,
    /// It is done, and the mark that was made afterwards is not yet told.
    AwaitingBarrier(AwaitingBarrier, BarrierWait),
    /// What was done is taken into the index.
    Reconciling(Rest),
    CheckTimes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ScanNeed {
    No,
    IfChanged,
    Yes,
}

/// A look or a walk that is done, but for what it could not see because it was moving at that time.
#[derive(Debug)]
pub(super) enum AwaitingBarrier {
    /// Names that were not there any more.
    Recheck(Vec<FileName>),
    /// Messages that were known before, and that it did not see: it looks at each name at another moment.
    FullScan {
        /// What had happened when it began.
        from: u64,
        missing: Vec<MessageEntry>,
        /// Whether it found anything at all to be another than before.
        is_new: bool,
    },
}

impl AwaitingBarrier {
    /// Whether what is told up to the mark may change what it means.
    pub(super) fn must_wait(&self) -> bool {
        match self {
            Self::Recheck(gone) => !gone.is_empty(),
            Self::FullScan { is_new, .. } => *is_new,
        }
    }
}

/// How to look through a mailbox.
#[derive(Debug)]
pub struct ScanJob {
    /// The mailbox.
    pub maildir: Arc<Maildir>,
    /// Start watching it first.
    pub watch: bool,
    /// Not at all if its directories have these times.
    pub unless: Option<DirTimes>,
    /// What was there, as far as is known.
    pub known: MessageList,
    /// What earlier turns have counted.
    pub progress: CountProgress,
}

/// What a session did to a mailbox at its end: names, and where they were.
#[derive(Debug, Default)]
pub struct SessionChanges {
    /// Messages that are gone.
    pub gone: Vec<FileName>,
    /// Names that have come, gone or changed in another way.
    pub touched: Vec<FileName>,
    /// The times that the directories had afterwards, and whether another change might bear the same times.
    pub seen: Option<(DirTimes, bool)>,
    /// A mark that was made after that.
    pub barrier: Option<u64>,
}

/// A mark that is waited for, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct BarrierWait {
    pub(super) number: u64,
    pub(super) since: Duration,
}

/// A login that waits until the index has everything that had happened when it came: until its mark is told,
/// if the mailbox is watched, and then until `need` is settled.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingLogin {
    pub(super) to: ConnId,
    pub(super) needed_event: u64,
    pub(super) barrier: Option<BarrierWait>,
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
            checking: NameSet::default(),
            checking_since: 0,
            gone_names: Vec::new(),
            scan_need: ScanNeed::No,
            own_changes: VecDeque::new(),
            left_out: Vec::new(),
            events_seen: 0,
            events_applied: 0,
            failed_rechecks: 0,
            garbage: Vec::new(),
            login: None,
            sessions: 0,
            last_used: now,
            last_checked: now,
            suspect_since: None,
            explained_since: None,
            reported: HashSet::new(),
        }
    }

    /// Something happened to a name. When there are so many of them that a walk costs less, it will be that.
    pub(super) fn name_changed(&mut self, place: Subdir, name: Box<[u8]>) {
        self.events_seen += 1;
        if self.scan_need < ScanNeed::Yes {
            self.dirty_names.insert((place, name));
        }
        let all = self.index.as_ref().map_or(0, |index| index.list().len());
        if self.dirty_names.len() > all.max(MAX_DIRTY_NAMES) {
            self.garbage.push(Garbage::of(mem::take(&mut self.dirty_names)));
            self.require_scan(ScanNeed::Yes);
        }
    }

    pub(super) fn require_scan(&mut self, walk: ScanNeed) {
        self.events_seen += 1;
        self.scan_need = self.scan_need.max(walk);
    }

    /// Takes in what we did ourselves, now and again after what is under way, which may not have seen it.
    pub(super) fn apply_own(&mut self, changes: Vec<Change>) {
        if let Some(index) = &mut self.index {
            index.apply_own(&changes);
        }
        if self.in_flight.is_some() {
            self.own_changes.extend(changes);
        }
    }

    /// Everything up to that mark has been told: goes on with what has waited for it.
    pub(super) fn barrier_reached(&mut self, number: u64) {
        let is_told = |mark: &BarrierWait| mark.number <= number;
        if self.session_update.as_ref().and_then(SessionUpdate::barrier).as_ref().is_some_and(is_told) {
            self.resume_after_update();
        }
        if let Some(login) = &mut self.login
            && login.barrier.as_ref().is_some_and(is_told)
        {
            (login.barrier, login.needed_event) = (None, self.events_seen);
        }
        if matches!(&self.in_flight, Some(InFlight::AwaitingBarrier(_, mark)) if is_told(mark))
            && let Some(InFlight::AwaitingBarrier(done, _)) = self.in_flight.take()
        {
            self.begin_to_reconcile(done);
        }
    }

    /// The mark that has been waited for longest, if any.
    pub(super) fn barrier_wait_since(&self) -> Option<Duration> {
        let login = self.login.and_then(|login| login.barrier).map(|mark| mark.since);
        let telling = match &self.in_flight {
            Some(InFlight::AwaitingBarrier(_, mark)) => Some(mark.since),
            _ => None,
        };
        let updating = self.session_update.as_ref().and_then(SessionUpdate::barrier).map(|mark| mark.since);
        login.into_iter().chain(telling).chain(updating).min()
    }

    /// Whether events of it may be lost. A walk may have begun to watch, and not have told so yet.
    pub(super) fn is_maybe_watched(&self) -> bool {
        self.watched || matches!(self.in_flight, Some(InFlight::FullScan(_)))
    }

    /// What was not told is to be seen by a walk.
    pub(super) fn fall_back_to_scan(&mut self) {
        self.require_scan(ScanNeed::Yes);
        self.barrier_reached(u64::MAX);
    }

    /// Whether it was looked through, and nothing is known to have happened since.
    pub(super) fn is_current(&self) -> bool {
        let has_work = self.scan_need > ScanNeed::No || self.has_names();
        self.index.is_some() && self.in_flight.is_none() && self.session_update.is_none() && !has_work
    }

    /// Whether there are names to be looked at.
    pub(super) fn has_names(&self) -> bool {
        !self.dirty_names.is_empty() || !self.checking.is_empty()
    }

    /// Octets of its index.
    pub(super) fn memory(&self) -> usize {
        self.index.as_ref().map_or(0, |index| index.list().memory_of())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.sessions == 0
            && self.login.is_none()
            && self.in_flight.is_none()
            && self.session_update.is_none()
    }

    pub(super) fn begin_scan(&mut self) -> ScanJob {
        let unless = match (&self.index, self.scan_need) {
            (Some(index), ScanNeed::IfChanged) if !self.has_names() => index.trusted_times(),
            _ => None,
        };
        if unless.is_none() {
            // The walk will see what happened to them.
            let names = [mem::take(&mut self.dirty_names), mem::take(&mut self.checking)];
            self.garbage.extend(names.into_iter().filter(|names| !names.is_empty()).map(Garbage::of));
            let gone = mem::take(&mut self.gone_names);
            self.garbage.extend((!gone.is_empty()).then(|| Garbage::of(gone)));
        }
        (self.scan_need, self.rewatch_needed) = (ScanNeed::No, false);
        self.in_flight = Some(InFlight::FullScan(self.events_seen));
        ScanJob {
            maildir: Arc::clone(&self.maildir),
            watch: !self.watched,
            unless,
            known: self.index.as_ref().map(|index| index.list().read_only_copy()).unwrap_or_default(),
            progress: CountProgress::default(),
        }
    }

    /// Begins to look at the names there are, or goes on with them.
    pub(super) fn begin_recheck(&mut self) -> Vec<Recheck> {
        self.in_flight = Some(InFlight::Recheck);
        if self.checking.is_empty() {
            self.checking = mem::take(&mut self.dirty_names);
            self.checking_since = self.events_seen;
        }
        let known = |place, name: &[u8]| self.index.as_ref().map(|index| index.known_files(place, name));
        let look = |(place, name): FileName| Recheck {
            subdir: place,
            known: known(place, &name).unwrap_or_default(),
            name,
        };
        self.checking.take_up_to(MAX_RECHECKS).into_iter().map(look).collect()
    }

    /// Says once which identities several files have, since other programs take them for one message.
    pub(super) fn report_duplicates(&mut self, doubles: &[Box<[u8]>]) {
        for identity in doubles {
            if self.reported.len() < MAX_DIRTY_NAMES && self.reported.insert(identity.clone()) {
                let (path, name) = (self.maildir.path().display(), String::from_utf8_lossy(identity));
                log::warn!("{path}: two messages are called {}: copied?", logging::escape(&name));
            }
        }
    }

    pub(super) fn report_new_duplicates(&mut self, changes: &[Change]) {
        let Some(index) = &self.index else { return };
        let doubled = |change: &Change| match change {
            Change::Present(found) => {
                let identity = name::identity(&found.name);
                index.list().of_identity(identity).nth(1).map(|_| identity.into())
            }
            Change::Absent { .. } => None,
        };
        let doubles: Vec<Box<[u8]>> = changes.iter().filter_map(doubled).collect();
        self.report_duplicates(&doubles);
    }

    /// Says once what was left out, and why.
    pub(super) fn report_skipped(&mut self, left_out: &[Skipped]) {
        for file in left_out {
            if self.reported.len() < MAX_DIRTY_NAMES && self.reported.insert(file.name.clone()) {
                let path = self.maildir.path().join(file.subdir.name());
                let name = String::from_utf8_lossy(&file.name);
                log::warn!("{}/{}: left out: {}", path.display(), logging::escape(&name), file.why);
            }
        }
    }
}

/// More names than this are not looked at one by one, unless the mailbox has as many messages.
const MAX_DIRTY_NAMES: usize = 10_000;
/// Names that are looked at in one go: the loop has other things to do between them.
const MAX_RECHECKS: usize = 500;
