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
    limits::{Limits, SCAN_TURN_SIZE},
    maildir::{
        Error, Kind, Maildir, Spool,
        lock::{self, Lock},
        size_counter::ScanLimits,
    },
    metrics::METRICS,
    proto::{
        folder::Folder,
        request::{Failure, Mailbox},
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
    max_listed_size: AtomicU64,
    /// How many mailboxes may be there, where strangers' mail creates them.
    max_mailboxes: Option<usize>,
    mailboxes: AtomicUsize,
    /// Of the spool. Workers alone take the mutex.
    lock: Mutex<Lock>,
    /// Whether the spool was found not to be in its place, or not to be ours.
    misplaced: AtomicBool,
    /// Octets free on its file system, and `UNKNOWN` until that was asked for.
    free_space: AtomicU64,
}

impl Storage {
    /// Storage in that spool. `max_mailboxes` bounds them where anybody's mail creates one.
    pub fn new(
        spool: Spool,
        lock: Lock,
        watcher: Watcher,
        read_chunk: usize,
        largest_listed: u64,
        most_mailboxes: Option<usize>,
    ) -> Result<Self, Error> {
        let mailboxes = AtomicUsize::new(spool.count_mailboxes()?);
        let (lock, misplaced) = (Mutex::new(lock), AtomicBool::new(false));
        let largest_listed = AtomicU64::new(largest_listed);
        Ok(Self {
            spool,
            watcher,
            read_chunk,
            max_listed_size: largest_listed,
            max_mailboxes: most_mailboxes,
            mailboxes,
            lock,
            misplaced,
            free_space: AtomicU64::new(UNKNOWN),
        })
    }

    /// Another bound is in force from now on.
    pub fn reconfigure(&self, limits: &Limits) {
        self.max_listed_size.store(limits.max_listed_size(), Ordering::Relaxed);
    }

    /// How much is counted in one mailbox at a time.
    pub fn scan_limits(&self) -> ScanLimits {
        ScanLimits { max_size: self.max_listed_size.load(Ordering::Relaxed), turn_bytes: SCAN_TURN_SIZE.0 }
    }

    /// Whether mail may go into the spool and be read from it: the path of the configuration leads to it, and its lock
    /// is ours. The log is told of each change.
    pub fn check_in_place(&self) -> Result<(), Failure> {
        let there = self.spool.is_in_place().and_then(|()| {
            let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.spool.revalidate_lock(&mut lock)
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
                Err(Failure::Broken)
            }
        }
    }

    /// Asks the file system for free space, and whether the spool is in its place.
    pub fn refresh(&self) {
        let free = self.spool.free_space().map_err(|error| log_failure(&error));
        if let Ok(free) = free {
            METRICS.spool_free.set(free);
        }
        self.free_space.store(free.unwrap_or(UNKNOWN), Ordering::Release);
        let _ = self.check_in_place(); // kept in `misplaced`
    }

    /// Octets that were free at the last check, if that is known.
    pub fn free_space(&self) -> Option<u64> {
        Some(self.free_space.load(Ordering::Acquire)).filter(|free| *free != UNKNOWN)
    }

    /// Whether the spool was in its place when that was last looked at.
    pub fn was_in_place(&self) -> Result<(), Failure> {
        if self.misplaced.load(Ordering::Acquire) { Err(Failure::Broken) } else { Ok(()) }
    }

    /// Storage for a test: nothing is watched.
    #[cfg(test)]
    pub(crate) fn unwatched(spool: Spool) -> Self {
        let lock = spool.lock(lock::LockMode::Exclusive, std::time::Duration::ZERO).unwrap();
        let largest = Limits::default().max_listed_size();
        Self::new(spool, lock, Watcher::disabled().0, 4096, largest, None).unwrap()
    }

    /// Whether `maildir` is still what the path of the mailbox leads to.
    pub fn still_leads_to(&self, mailbox: &Mailbox, maildir: &Maildir) -> bool {
        self.spool.still_leads_to(mailbox.as_str(), mailbox.folder().map(Folder::directory), maildir)
    }

    /// Opens a mailbox for a message that is to be durable in it: so must be the mailbox.
    pub fn durable_maildir(&self, mailbox: &Mailbox) -> Result<Maildir, Failure> {
        if mailbox.folder().is_some() {
            self.durable_maildir(&mailbox.clone().whole())?;
        }
        let (maildir, made) = self.open_or_create(mailbox)?;
        if !made {
            maildir.sync_if_new(SystemTime::now()).map_err(|error| log_failure(&error))?;
        }
        Ok(maildir)
    }

    /// Opens a folder of a mailbox for the same purpose, and makes both where they are not there and may be
    /// made.
    pub fn durable_folder(&self, mailbox: &Mailbox, folder: &Folder) -> Result<Maildir, Failure> {
        self.durable_maildir(mailbox)?;
        let opened = self.spool.open_or_create_folder(mailbox.as_str(), folder.directory());
        let maildir = opened.map_err(|error| log_failure(&error))?;
        maildir.sync_if_new(SystemTime::now()).map_err(|error| log_failure(&error))?;
        Ok(maildir)
    }

    /// Opens a mailbox, and makes it when it is not there and may be made; or opens a folder, which is there or
    /// not.
    pub fn maildir(&self, mailbox: &Mailbox) -> Result<Maildir, Failure> {
        self.open_or_create(mailbox).map(|(maildir, _)| maildir)
    }

    /// The flag says that it was made, and is durable.
    fn open_or_create(&self, mailbox: &Mailbox) -> Result<(Maildir, bool), Failure> {
        #[cfg(test)]
        assert_ne!(mailbox.as_str(), "bug@localhost", "the bug that a test is about");
        if let Some(folder) = mailbox.folder() {
            let opened = self.spool.folder(mailbox.as_str(), folder.directory());
            return opened.map(|maildir| (maildir, false)).map_err(|error| match error.kind() {
                Kind::Gone => Failure::NoFolder,
                _ => log_failure(&error),
            });
        }
        match self.spool.maildir(mailbox.as_str()) {
            Ok(maildir) => return Ok((maildir, false)),
            Err(error) if error.kind() == Kind::Gone => {}
            Err(error) => return Err(log_failure(&error)),
        }
        if self.max_mailboxes.is_some_and(|most| self.mailboxes.load(Ordering::Relaxed) >= most) {
            return Err(Failure::Full);
        }
        let maildir =
            self.spool.open_or_create_maildir(mailbox.as_str()).map_err(|error| log_failure(&error))?;
        self.mailboxes.fetch_add(1, Ordering::Relaxed);
        Ok((maildir, true))
    }
}

/// Stands for an amount that is not known.
const UNKNOWN: u64 = u64::MAX;

/// Logs a failure of the disk and turns it into what a peer may know of it.
pub fn log_failure(error: &Error) -> Failure {
    let fault = match error.kind() {
        Kind::Full => Failure::Full,
        Kind::Quota => Failure::Quota,
        Kind::Gone => Failure::Gone,
        Kind::Changed => Failure::Changed,
        Kind::Truncated => Failure::Cut,
        Kind::Unusable => Failure::Unusable,
        Kind::Locked => Failure::InUse,
        Kind::Other => Failure::Broken,
    };
    match fault {
        Failure::Gone | Failure::InUse => log::debug!("{error}"),
        _ => log::error!("{error}"),
    }
    fault
}
