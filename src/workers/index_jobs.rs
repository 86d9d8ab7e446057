//! Jobs for the index: lock a mailbox, scan it, read the times of its directories.

use std::{mem, ops::ControlFlow, sync::Arc, time::SystemTime};

use super::{
    job::{KnownMaildir, OpenedMaildir},
    storage::{Storage, log_failure},
};
use crate::{
    index::{
        MailboxIndex, MessageList,
        job::{IndexId, IndexJob, IndexResult, KeepJob, RecheckResult, ScanJob, ScanResult},
    },
    maildir::{
        Error, Maildir,
        lock::Lock,
        scan::{self, DirTimes, Recheck},
        size_cache::SizeCache,
        size_counter::{CountProgress, CountSlice},
    },
    proto::request::{Access, Failure, Mailbox},
};

/// Runs a job of the index.
pub(super) fn run(storage: &Storage, id: IndexId, job: IndexJob) -> Option<IndexResult> {
    match job {
        IndexJob::Scan(scan) => Some(IndexResult::Scanned(full_scan(storage, id, scan))),
        IndexJob::Recheck(maildir, names) => Some(IndexResult::Rechecked(recheck(storage, &maildir, &names))),
        IndexJob::Unwatch => {
            storage.watcher.unwatch(id);
            None
        }
        IndexJob::Keep(KeepJob { maildir, lists, times }) => {
            let began = maildir.file_clock(SystemTime::now());
            let messages = lists.iter().flat_map(MessageList::iter);
            if let Err(error) = scan::keep(&maildir, messages, (times, began)) {
                log::debug!("{error}: the next start looks at each message");
            }
            None
        }
    }
}

/// Opens a mailbox for a session, and locks it for the only one. Uses the open Maildir if the mailbox's path still
/// leads to it. Creates a barrier, unless the times of the directories show that nothing has changed.
pub(super) fn open_maildir(
    storage: &Storage,
    mailbox: &Mailbox,
    access: Access,
    known: Option<KnownMaildir>,
) -> Result<OpenedMaildir, Failure> {
    storage.check_in_place()?;
    let current = known.filter(|known| storage.still_resolves_to(mailbox, &known.maildir));
    let (maildir, settled_times) = match current {
        Some(known) => (known.maildir, known.settled_times),
        None => match access {
            Access::Exclusive => (Arc::new(storage.maildir(mailbox)?), None),
            Access::Shared => (Arc::new(storage.imap_maildir(mailbox)?), None),
        },
    };
    let lock = match access {
        Access::Exclusive => Some(Lock::acquire(&maildir).map_err(|error| scan_failure(&error))?),
        Access::Shared => None,
    };
    let times = scan::dir_times(&maildir).map_err(|error| scan_failure(&error))?;
    let racy = scan::is_racy(&times, SystemTime::now());
    let barrier = if settled_times == Some(times) { None } else { storage.watcher.create_barrier() };
    Ok(OpenedMaildir { maildir, times, racy, lock, barrier })
}

/// Starts to watch a mailbox, if requested, and then scans it, so that the watcher reports changes during the scan.
/// If one turn cannot count everything, returns the `ScanJob` that continues it, so that other jobs run in between.
fn full_scan(
    storage: &Storage,
    id: IndexId,
    mut load: Box<ScanJob>,
) -> Result<ControlFlow<ScanResult, Box<ScanJob>>, Failure> {
    let maildir = Arc::clone(&load.maildir);
    let _busy = storage.scan_threads.enter();
    let turn = CountSlice::new(storage.scan_limits(), mem::take(&mut load.progress))
        .with_threads(Arc::clone(&storage.scan_threads));
    let watched = load.watch && storage.watcher.watch(id, &maildir);
    let scanned = scan_watched(storage, load, watched, turn);
    if scanned.is_err() && watched {
        storage.watcher.unwatch(id); // no index will end it
    }
    scanned
}

fn scan_watched(
    storage: &Storage,
    mut load: Box<ScanJob>,
    watched: bool,
    mut turn: CountSlice,
) -> Result<ControlFlow<ScanResult, Box<ScanJob>>, Failure> {
    let maildir = Arc::clone(&load.maildir);
    let nothing = ScanResult {
        maildir: Arc::clone(&maildir),
        index: None,
        watched,
        skipped: Vec::new(),
        missing: Vec::new(),
        duplicates: Vec::new(),
        barrier: None,
    };
    if let Some(times) = load.skip_if_times.take()
        && dir_times(&maildir)? == times
    {
        return Ok(ControlFlow::Break(nothing));
    }
    let began = maildir.file_clock(SystemTime::now());
    let mut sizes = SizeCache::load(&maildir);
    if storage.is_alone {
        sizes.rewrite_uids();
    }
    // A scan of a mailbox in use is to find changes without an event, and looks at every file.
    if load.known.is_empty() && load.known_trashed.is_empty() {
        sizes.trust_times();
    }
    let known = load.known.iter().chain(load.known_trashed.iter());
    let scan = scan::scan_with_sizes(&maildir, (sizes, began), known, &mut turn)
        .map_err(|error| scan_failure(&error))?;
    let Some(scan) = scan else {
        load.progress = turn.progress;
        return Ok(ControlFlow::Continue(load));
    };
    let racy = began.is_none_or(|began| scan::is_racy(&scan.times, began));
    let list = MessageList::from_messages(scan.messages);
    let duplicates = list.duplicates().take(MAX_DUPLICATES).map(Box::from).collect();
    let trashed = MessageList::from_messages(scan.trashed);
    let missing = [load.known.difference(&list), load.known_trashed.difference(&trashed)].concat();
    let index = MailboxIndex::new(list, scan.times, racy).with_trashed(trashed);
    let barrier = storage.watcher.create_barrier();
    Ok(ControlFlow::Break(ScanResult {
        index: Some(index),
        skipped: scan.skipped,
        missing,
        duplicates,
        barrier,
        ..nothing
    }))
}

/// Reads the times of the directories, then rechecks names. Fails if one turn cannot count everything, and a full scan takes its place: readers wait for the
/// workers that do rechecks.
fn recheck(storage: &Storage, maildir: &Maildir, rechecks: &[Recheck]) -> Result<RecheckResult, Failure> {
    let times = dir_times(maildir)?;
    let racy = scan::is_racy(&times, SystemTime::now());
    if rechecks.is_empty() {
        let (changes, skipped) = Default::default();
        return Ok(RecheckResult { times, racy, changes, skipped, barrier: None });
    }
    let mut turn = CountSlice::new(storage.scan_limits(), CountProgress::default());
    let seen = scan::recheck(maildir, rechecks, &mut turn).map_err(|error| scan_failure(&error))?;
    let (changes, skipped) = seen.ok_or(Failure::TempFail)?;
    Ok(RecheckResult { times, racy, changes, skipped, barrier: storage.watcher.create_barrier() })
}

/// Reads the times of the directories.
fn dir_times(maildir: &Maildir) -> Result<DirTimes, Failure> {
    scan::dir_times(maildir).map_err(|error| scan_failure(&error))
}

/// A mailbox that cannot be found or read now must not look empty, nor must a message seem to be missing.
fn scan_failure(error: &Error) -> Failure {
    match log_failure(error) {
        Failure::Gone | Failure::Changed => Failure::TempFail,
        failure => failure,
    }
}

/// Duplicates that the log lists.
const MAX_DUPLICATES: usize = 100;
