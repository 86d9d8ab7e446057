//! Looking at mailboxes for the index: locking, walking, asking for times.

use std::{mem, ops::ControlFlow, sync::Arc, time::SystemTime};

use super::{
    job::LockedMaildir,
    storage::{Storage, log_failure},
};
use crate::{
    index::{
        MailboxIndex, MessageList,
        registry::{IndexId, RecheckResult, ScanJob, ScanResult},
    },
    maildir::{
        Error, Maildir,
        lock::Lock,
        scan::{self, DirTimes, Recheck},
        size_counter::{CountProgress, CountingTurn},
    },
    proto::request::{Failure, Mailbox},
};

/// Locks a mailbox: the one that is open already, if it is still what its path leads to.
pub(super) fn lock_maildir(
    storage: &Storage,
    mailbox: &Mailbox,
    known: Option<Arc<Maildir>>,
) -> Result<LockedMaildir, Failure> {
    storage.check_in_place()?;
    let current = known.filter(|maildir| storage.still_leads_to(mailbox, maildir));
    let maildir = match current {
        Some(maildir) => maildir,
        None => Arc::new(storage.maildir(mailbox)?),
    };
    let lock = Lock::acquire(&maildir).map_err(|error| scan_failure(&error))?;
    let times = scan::dir_times(&maildir).map_err(|error| scan_failure(&error))?;
    let mark = storage.watcher.create_barrier();
    Ok(LockedMaildir { maildir, times, lock, barrier: mark })
}

/// Begins to watch a mailbox, if that is wanted, and then looks through it: what changes meanwhile is told. When there
/// is more to count than one turn has, others go first: to be continued with the `Load` that is given back.
pub(super) fn full_scan(
    storage: &Storage,
    id: IndexId,
    mut load: Box<ScanJob>,
) -> Result<ControlFlow<ScanResult, Box<ScanJob>>, Failure> {
    let maildir = Arc::clone(&load.maildir);
    let watched = load.watch && storage.watcher.watch(id, &maildir);
    let nothing = ScanResult {
        maildir: Arc::clone(&maildir),
        index: None,
        watched,
        skipped: Vec::new(),
        missing: Vec::new(),
        duplicates: Vec::new(),
        barrier: None,
    };
    if let Some(times) = load.unless.take()
        && dir_times(&maildir)? == times
    {
        return Ok(ControlFlow::Break(nothing));
    }
    let began = maildir.file_clock(SystemTime::now());
    let mut turn = CountingTurn::new(storage.scan_limits(), mem::take(&mut load.progress));
    let scan = scan::scan(&maildir, load.known.iter(), &mut turn).map_err(|error| scan_failure(&error))?;
    let Some(scan) = scan else {
        load.progress = turn.progress;
        return Ok(ControlFlow::Continue(load));
    };
    let young = began.is_none_or(|began| scan::is_racy(&scan.times, began));
    let list = MessageList::from_messages(scan.messages);
    let doubles = list.duplicates().take(MAX_DUPLICATES).map(Box::from).collect();
    let missing = load.known.difference(&list);
    let index = MailboxIndex::new(list, scan.times, young);
    let mark = storage.watcher.create_barrier();
    Ok(ControlFlow::Break(ScanResult {
        index: Some(index),
        skipped: scan.skipped,
        missing,
        duplicates: doubles,
        barrier: mark,
        ..nothing
    }))
}

/// Looks at names. If there is more to count than one turn has, it fails, and a walk takes its place: readers wait for
/// the workers that look.
pub(super) fn recheck(
    storage: &Storage,
    maildir: &Maildir,
    looks: &[Recheck],
) -> Result<RecheckResult, Failure> {
    let times = dir_times(maildir)?;
    let young = scan::is_racy(&times, SystemTime::now());
    let mut turn = CountingTurn::new(storage.scan_limits(), CountProgress::default());
    let seen = scan::recheck(maildir, looks, &mut turn).map_err(|error| scan_failure(&error))?;
    let (changes, left_out) = seen.ok_or(Failure::Broken)?;
    Ok(RecheckResult {
        times,
        racy: young,
        changes,
        skipped: left_out,
        barrier: storage.watcher.create_barrier(),
    })
}

/// Asks for the times of the directories.
pub(super) fn dir_times(maildir: &Maildir) -> Result<DirTimes, Failure> {
    scan::dir_times(maildir).map_err(|error| scan_failure(&error))
}

/// A mailbox that can't be found or read now must not look empty, nor as if a message were missing.
fn scan_failure(error: &Error) -> Failure {
    match log_failure(error) {
        Failure::Gone | Failure::Changed => Failure::Broken,
        fault => fault,
    }
}

/// Doubles that the log is told of.
const MAX_DUPLICATES: usize = 100;
