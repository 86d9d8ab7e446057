//! Looking at mailboxes for the index: locking, walking, asking for times.

use std::{sync::Arc, time::SystemTime};

use super::{
    job::Opened,
    shop::{Shop, report},
};
use crate::{
    mailbox::{
        Index, List,
        registry::{IndexId, Load, Loaded, Looked},
    },
    maildir::{
        Error, Maildir,
        lock::Lock,
        scan::{self, Look, Times},
    },
    proto::ask::{Fault, Mailbox},
};

/// Locks a mailbox: the one that is open already, if it is still what its path leads to.
pub(super) fn open(shop: &Shop, mailbox: &Mailbox, known: Option<Arc<Maildir>>) -> Result<Opened, Fault> {
    shop.in_place()?;
    let current = known.filter(|maildir| shop.still_has(mailbox, maildir));
    let maildir = match current {
        Some(maildir) => maildir,
        None => Arc::new(shop.maildir(mailbox)?),
    };
    let lock = Lock::take(&maildir).map_err(|error| failed(&error))?;
    let times = scan::times(&maildir).map_err(|error| failed(&error))?;
    let mark = shop.watcher.mark();
    Ok(Opened { maildir, times, lock, mark })
}

/// Begins to watch a mailbox, if that is wanted, and then looks through it: what changes meanwhile is told.
pub(super) fn load(shop: &Shop, id: IndexId, load: Load) -> Result<Loaded, Fault> {
    let Load { maildir, watch, unless, known } = load;
    let watched = watch && shop.watcher.watch(id, &maildir);
    let nothing = Loaded {
        maildir: Arc::clone(&maildir),
        index: None,
        watched,
        left_out: Vec::new(),
        missing: Vec::new(),
        doubles: Vec::new(),
        mark: None,
    };
    if let Some(times) = unless
        && check(&maildir)? == times
    {
        return Ok(nothing);
    }
    let began = maildir.clock(SystemTime::now());
    let scan = scan::scan(&maildir, known.iter()).map_err(|error| failed(&error))?;
    let young = began.is_none_or(|began| scan::is_young(&scan.times, began));
    let list = List::of(scan.found);
    let doubles = list.doubles().take(MOST_DOUBLES).map(Box::from).collect();
    let missing = known.without(&list);
    let index = Index::new(list, scan.times, young);
    let mark = shop.watcher.mark();
    Ok(Loaded { index: Some(index), left_out: scan.left_out, missing, doubles, mark, ..nothing })
}

/// Looks at names.
pub(super) fn look(shop: &Shop, maildir: &Maildir, looks: &[Look]) -> Result<Looked, Fault> {
    let times = check(maildir)?;
    let young = scan::is_young(&times, SystemTime::now());
    let (changes, left_out) = scan::look(maildir, looks).map_err(|error| failed(&error))?;
    Ok(Looked { times, young, changes, left_out, mark: shop.watcher.mark() })
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
