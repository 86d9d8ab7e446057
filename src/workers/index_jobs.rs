//! Looking at mailboxes for the index: locking, walking, asking for times.

use std::{mem, ops::ControlFlow, sync::Arc, time::SystemTime};

use super::{
    job::Opened,
    storage::{Storage, report},
};
use crate::{
    index::{
        Index, List,
        registry::{IndexId, Load, Loaded, Looked},
    },
    maildir::{
        Error, Maildir,
        lock::Lock,
        scan::{self, Look, Times},
        size_counter::{Progress, Turn},
    },
    proto::request::{Fault, Mailbox},
};

/// Locks a mailbox: the one that is open already, if it is still what its path leads to.
pub(super) fn open(
    storage: &Storage,
    mailbox: &Mailbox,
    known: Option<Arc<Maildir>>,
) -> Result<Opened, Fault> {
    storage.in_place()?;
    let current = known.filter(|maildir| storage.still_has(mailbox, maildir));
    let maildir = match current {
        Some(maildir) => maildir,
        None => Arc::new(storage.maildir(mailbox)?),
    };
    let lock = Lock::take(&maildir).map_err(|error| failed(&error))?;
    let times = scan::times(&maildir).map_err(|error| failed(&error))?;
    let mark = storage.watcher.mark();
    Ok(Opened { maildir, times, lock, mark })
}

/// Begins to watch a mailbox, if that is wanted, and then looks through it: what changes meanwhile is told. When there
/// is more to count than one turn has, others go first: to be continued with the `Load` that is given back.
pub(super) fn load(
    storage: &Storage,
    id: IndexId,
    mut load: Box<Load>,
) -> Result<ControlFlow<Loaded, Box<Load>>, Fault> {
    let maildir = Arc::clone(&load.maildir);
    let watched = load.watch && storage.watcher.watch(id, &maildir);
    let nothing = Loaded {
        maildir: Arc::clone(&maildir),
        index: None,
        watched,
        left_out: Vec::new(),
        missing: Vec::new(),
        doubles: Vec::new(),
        mark: None,
    };
    if let Some(times) = load.unless.take()
        && check(&maildir)? == times
    {
        return Ok(ControlFlow::Break(nothing));
    }
    let began = maildir.clock(SystemTime::now());
    let mut turn = Turn::new(storage.bounds(), mem::take(&mut load.progress));
    let scan = scan::scan(&maildir, load.known.iter(), &mut turn).map_err(|error| failed(&error))?;
    let Some(scan) = scan else {
        load.progress = turn.progress;
        return Ok(ControlFlow::Continue(load));
    };
    let young = began.is_none_or(|began| scan::is_young(&scan.times, began));
    let list = List::of(scan.found);
    let doubles = list.doubles().take(MOST_DOUBLES).map(Box::from).collect();
    let missing = load.known.without(&list);
    let index = Index::new(list, scan.times, young);
    let mark = storage.watcher.mark();
    Ok(ControlFlow::Break(Loaded {
        index: Some(index),
        left_out: scan.left_out,
        missing,
        doubles,
        mark,
        ..nothing
    }))
}

/// Looks at names. If there is more to count than one turn has, it fails, and a walk takes its place: readers wait for
/// the workers that look.
pub(super) fn look(storage: &Storage, maildir: &Maildir, looks: &[Look]) -> Result<Looked, Fault> {
    let times = check(maildir)?;
    let young = scan::is_young(&times, SystemTime::now());
    let mut turn = Turn::new(storage.bounds(), Progress::default());
    let seen = scan::look(maildir, looks, &mut turn).map_err(|error| failed(&error))?;
    let (changes, left_out) = seen.ok_or(Fault::Broken)?;
    Ok(Looked { times, young, changes, left_out, mark: storage.watcher.mark() })
}

/// Asks for the times of the directories.
pub(super) fn check(maildir: &Maildir) -> Result<Times, Fault> {
    scan::times(maildir).map_err(|error| failed(&error))
}

/// A mailbox that can't be found or read now must not look empty, nor as if a message were missing.
fn failed(error: &Error) -> Fault {
    match report(error) {
        Fault::Gone | Fault::Changed => Fault::Broken,
        fault => fault,
    }
}

/// Doubles that the log is told of.
const MOST_DOUBLES: usize = 100;
