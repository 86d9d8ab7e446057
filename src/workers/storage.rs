//! What every worker has at hand.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use crate::{
    index::watcher::Watcher,
    limits::{COUNTED_AT_A_TIME, Limits},
    maildir::{
        Error, Kind, Maildir, Spool,
        lock::{self, Lock},
        size_counter::Bounds,
    },
    metrics::METRICS,
    proto::{
        folder::Folder,
        request::{Fault, Mailbox},
    },
};

/// What every worker has at hand: shared, and changed by nobody but for one count.
#[derive(Debug)]
pub struct Storage {
    /// The mailboxes.
    pub spool: Spool,
    /// What watches them.
    pub watcher: Watcher,
    /// Octets of a message read at a time.
    pub read_chunk: usize,
    /// Bytes of the largest file that is a message.
    largest_listed: AtomicU64,
    /// How many mailboxes may be there, where strangers' mail creates them.
    most_mailboxes: Option<usize>,
    mailboxes: AtomicUsize,
    /// Of the spool. Workers alone take the mutex.
    lock: Mutex<Lock>,
    /// Whether the spool was found not to be in its place, or not to be ours.
    misplaced: AtomicBool,
    /// Octets free on its file system, and `UNKNOWN` until that was asked for.
    free: AtomicU64,
}

impl Storage {
    /// Storage in that spool. `most_mailboxes` bounds them where anybody's mail creates one.
    pub fn new(
        spool: Spool,
        lock: Lock,
        watcher: Watcher,
        read_chunk: usize,
        largest_listed: u64,
        most_mailboxes: Option<usize>,
    ) -> Result<Self, Error> {
        let mailboxes = AtomicUsize::new(spool.count()?);
        let (lock, misplaced) = (Mutex::new(lock), AtomicBool::new(false));
        let largest_listed = AtomicU64::new(largest_listed);
        Ok(Self {
            spool,
            watcher,
            read_chunk,
            largest_listed,
            most_mailboxes,
            mailboxes,
            lock,
            misplaced,
            free: AtomicU64::new(UNKNOWN),
        })
    }

    /// Another bound is in force from now on.
    pub fn reconfigure(&self, limits: &Limits) {
        self.largest_listed.store(limits.largest_listed(), Ordering::Relaxed);
    }

    /// How much is counted in one mailbox at a time.
    pub fn bounds(&self) -> Bounds {
        Bounds { largest: self.largest_listed.load(Ordering::Relaxed), turn: COUNTED_AT_A_TIME.0 }
    }

    /// Whether mail may go into the spool and be read from it: the path of the configuration leads to it, and its lock
    /// is ours. The log is told of each change.
    pub fn in_place(&self) -> Result<(), Fault> {
        let there = self.spool.is_in_place().and_then(|()| {
            let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.spool.keep(&mut lock)
        });
        let was_misplaced = self.misplaced.swap(there.is_err(), Ordering::AcqRel);
        match there {
            Ok(replaced) => {
                if replaced {
                    log::warn!(
                        "another file has taken the place of {} in the spool, and is locked now: leave it out of restores",
                        lock::FILE
                    );
                }
                if was_misplaced {
                    log::info!("the spool is in its place again, mail is taken");
                }
                Ok(())
            }
            Err(error) => {
                if !was_misplaced {
                    let why = match error.kind() {
                        Kind::Locked => "end the other server",
                        _ => "put it back (mv, umount), or restart the server to use what is there now",
                    };
                    log::error!("no mail is taken, and no mailbox opened: {error}; {why}");
                }
                Err(Fault::Broken)
            }
        }
    }

    /// Asks the file system for free space, and whether the spool is in its place.
    pub fn check(&self) {
        let free = self.spool.free().map_err(|error| report(&error));
        if let Ok(free) = free {
            METRICS.spool_free.set(free);
        }
        self.free.store(free.unwrap_or(UNKNOWN), Ordering::Release);
        let _ = self.in_place(); // kept in `misplaced`
    }

    /// Octets that were free at the last check, if that is known.
    pub fn free(&self) -> Option<u64> {
        Some(self.free.load(Ordering::Acquire)).filter(|free| *free != UNKNOWN)
    }

    /// Whether the spool was in its place when that was last looked at.
    pub fn was_in_place(&self) -> Result<(), Fault> {
        if self.misplaced.load(Ordering::Acquire) { Err(Fault::Broken) } else { Ok(()) }
    }

    /// Storage for a test: nothing is watched.
    #[cfg(test)]
    pub(crate) fn unwatched(spool: Spool) -> Self {
        let lock = spool.lock(lock::Hold::Alone, std::time::Duration::ZERO).unwrap();
        let largest = Limits::default().largest_listed();
        Self::new(spool, lock, Watcher::off().0, 4096, largest, None).unwrap()
    }

    /// Whether `maildir` is still what the path of the mailbox leads to.
    pub fn still_has(&self, mailbox: &Mailbox, maildir: &Maildir) -> bool {
        self.spool.still_has(mailbox.as_str(), mailbox.folder().map(Folder::directory), maildir)
    }

    /// Opens a mailbox for a message that is to be durable in it: so must be the mailbox.
    pub fn durable_maildir(&self, mailbox: &Mailbox) -> Result<Maildir, Fault> {
        if mailbox.folder().is_some() {
            self.durable_maildir(&mailbox.clone().whole())?;
        }
        let (maildir, made) = self.find_or_make(mailbox)?;
        if !made {
            maildir.sync_if_new(SystemTime::now()).map_err(|error| report(&error))?;
        }
        Ok(maildir)
    }

    /// Opens a folder of a mailbox for the same purpose, and makes both where they are not there and may be
    /// made.
    pub fn durable_folder(&self, mailbox: &Mailbox, folder: &Folder) -> Result<Maildir, Fault> {
        self.durable_maildir(mailbox)?;
        let opened = self.spool.folder_or_new(mailbox.as_str(), folder.directory());
        let maildir = opened.map_err(|error| report(&error))?;
        maildir.sync_if_new(SystemTime::now()).map_err(|error| report(&error))?;
        Ok(maildir)
    }

    /// Opens a mailbox, and makes it when it is not there and may be made; or opens a folder, which is there or
    /// not.
    pub fn maildir(&self, mailbox: &Mailbox) -> Result<Maildir, Fault> {
        self.find_or_make(mailbox).map(|(maildir, _)| maildir)
    }

    /// The flag says that it was made, and is durable.
    fn find_or_make(&self, mailbox: &Mailbox) -> Result<(Maildir, bool), Fault> {
        #[cfg(test)]
        assert_ne!(mailbox.as_str(), "bug@localhost", "the bug that a test is about");
        if let Some(folder) = mailbox.folder() {
            let opened = self.spool.folder(mailbox.as_str(), folder.directory());
            return opened.map(|maildir| (maildir, false)).map_err(|error| match error.kind() {
                Kind::Gone => Fault::NoFolder,
                _ => report(&error),
            });
        }
        match self.spool.maildir(mailbox.as_str()) {
            Ok(maildir) => return Ok((maildir, false)),
            Err(error) if error.kind() == Kind::Gone => {}
            Err(error) => return Err(report(&error)),
        }
        if self.most_mailboxes.is_some_and(|most| self.mailboxes.load(Ordering::Relaxed) >= most) {
            return Err(Fault::Full);
        }
        let maildir = self.spool.maildir_or_new(mailbox.as_str()).map_err(|error| report(&error))?;
        self.mailboxes.fetch_add(1, Ordering::Relaxed);
        Ok((maildir, true))
    }
}

/// Stands for an amount that is not known.
const UNKNOWN: u64 = u64::MAX;

/// Logs a failure of the disk and turns it into what a peer may know of it.
pub fn report(error: &Error) -> Fault {
    let fault = match error.kind() {
        Kind::Full => Fault::Full,
        Kind::Quota => Fault::Quota,
        Kind::Gone => Fault::Gone,
        Kind::Changed => Fault::Changed,
        Kind::Cut => Fault::Cut,
        Kind::Unusable => Fault::Unusable,
        Kind::Locked => Fault::InUse,
        Kind::Broken => Fault::Broken,
    };
    match fault {
        Fault::Gone | Fault::InUse => log::debug!("{error}"),
        _ => log::error!("{error}"),
    }
    fault
}
