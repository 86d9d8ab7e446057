//! The state that all workers share.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use super::{catalog::Catalog, piece_files::PieceFiles, status_cache::StatusCache};
use crate::{
    index::{recent_marks::RecentMarks, watcher::Watcher},
    limits::{Limits, MAX_FOLDERS, SCAN_TURN_SIZE},
    logging,
    maildir::{
        Error, Kind, Maildir, Room, Spool,
        folders::{FolderError, FolderTree},
        lock::{self, Lock},
        scan_threads::ScanThreads,
        size_counter::ScanLimits,
    },
    metrics::METRICS,
    proto::{
        folder::Folder,
        request::{Failure, Mailbox},
    },
    transcript::Archive,
};

/// The state that all workers share. Except for the lock and a few atomic values, it never changes.
#[derive(Debug)]
pub struct Storage {
    /// The directory of all mailboxes.
    pub spool: Spool,
    /// The watcher of the mailboxes.
    pub watcher: Watcher,
    /// The threads that scan mailboxes.
    pub scan_threads: Arc<ScanThreads>,
    /// Octets of a message read at a time.
    pub read_chunk: usize,
    /// The files of messages that clients of IMAP and of the web API read in pieces.
    pub(crate) piece_files: PieceFiles,
    /// The transcripts that the web inbox shows; `None` if sessions have none.
    pub archive: Option<Arc<Archive>>,
    /// The lists of the web API.
    pub(super) catalog: Catalog,
    /// The numbers of folders that no session has selected.
    pub(super) statuses: StatusCache,
    /// The messages of each folder that no session of IMAP has been told of.
    pub(super) recent_marks: RecentMarks,
    /// Size in bytes of the largest file that is listed as a message.
    max_listed_size: AtomicU64,
    /// Whether no other server uses the spool.
    pub(super) is_alone: bool,
    /// The largest number of mailboxes, if mail from strangers creates them.
    max_mailboxes: Option<usize>,
    mailboxes: AtomicUsize,
    /// The lock of the spool. Workers and the committer acquire the mutex, the loop never does.
    lock: Mutex<Lock>,
    /// Whether the spool was last found to be out of its place, or locked by another process.
    misplaced: AtomicBool,
    /// Whether the reason was that its path no longer leads to it.
    moved: AtomicBool,
    /// Whether its disk was read-only at the last check.
    read_only: AtomicBool,
    /// Whether its disk was full at the last check.
    full: AtomicBool,
    /// Free octets on the file system of the spool; `UNKNOWN` until the first check.
    free_space: AtomicU64,
}

impl Storage {
    /// Creates the state. `max_mailboxes` bounds the mailboxes if mail from strangers creates them, and `piece_files` the files
    /// of messages that stay open between two pieces.
    pub fn new(
        spool: Spool,
        lock: Lock,
        watcher: Watcher,
        (scan_threads, read_chunk, piece_files): (usize, usize, usize),
        largest_listed: u64,
        max_mailboxes: Option<usize>,
    ) -> Result<Self, Error> {
        let mailboxes = AtomicUsize::new(spool.names()?.len());
        let is_alone = lock.is_exclusive();
        let (lock, misplaced) = (Mutex::new(lock), AtomicBool::new(false));
        let largest_listed = AtomicU64::new(largest_listed);
        Ok(Self {
            spool,
            watcher,
            scan_threads: Arc::new(ScanThreads::new(scan_threads)),
            read_chunk,
            piece_files: PieceFiles::new(piece_files),
            archive: None,
            catalog: Catalog::default(),
            statuses: StatusCache::default(),
            recent_marks: RecentMarks::default(),
            max_listed_size: largest_listed,
            is_alone,
            max_mailboxes,
            mailboxes,
            lock,
            misplaced,
            moved: AtomicBool::new(false),
            read_only: AtomicBool::new(false),
            full: AtomicBool::new(false),
            free_space: AtomicU64::new(UNKNOWN),
        })
    }

    /// Applies a reloaded bound on the size of listed files. The other values stay until a restart.
    pub fn reconfigure(&self, limits: &Limits) {
        self.max_listed_size.store(limits.max_listed_size(), Ordering::Relaxed);
    }

    /// The amount that one scan may count in one turn.
    pub fn scan_limits(&self) -> ScanLimits {
        ScanLimits { max_size: self.max_listed_size.load(Ordering::Relaxed), slice_bytes: SCAN_TURN_SIZE.0 }
    }

    /// Checks that mail may be stored in the spool and read from it: the configured path leads to it, and this
    /// process holds its lock. Logs each change.
    pub fn check_in_place(&self) -> Result<(), Failure> {
        let there = self.spool.is_in_place().and_then(|()| {
            let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.spool.revalidate_lock(&mut lock)
        });
        let moved = there.as_ref().is_err_and(|error| is_moved(&self.spool, error));
        self.moved.store(moved, Ordering::Release);
        let was_misplaced = self.misplaced.swap(there.is_err(), Ordering::AcqRel);
        METRICS.refusing.set(u64::from(there.is_err()));
        match there {
            Ok(replaced) => {
                if replaced {
                    log::warn!(
                        "the file {} in the spool was replaced, the new one is locked now: leave it out of restores",
                        lock::FILE
                    );
                }
                if was_misplaced {
                    log::info!("the spool is back, accepting mail");
                }
                Ok(())
            }
            Err(error) => {
                if !was_misplaced {
                    log::error!("refusing deliveries and logins: {}", refusal(&self.spool, &error));
                }
                Err(self.misplaced_failure())
            }
        }
    }

    /// The failure that clients hear while the spool is misplaced.
    fn misplaced_failure(&self) -> Failure {
        if self.moved.load(Ordering::Acquire) { Failure::SpoolMoved } else { Failure::TempFail }
    }

    /// Checks the free space, and that the spool is in its place.
    pub fn refresh(&self) {
        let room = self.spool.room().map_err(|error| log_failure(&error));
        if let Ok(room) = room {
            METRICS.spool_free.set(room.octets());
            self.note_room(room);
        }
        self.free_space.store(room.map_or(UNKNOWN, Room::octets), Ordering::Release);
        let _ = self.check_in_place(); // kept in `misplaced`
    }

    /// Remembers whether the disk can be written to. Logs each change. A full disk needs some more room to be none, so that
    /// one at the border does not fill the log.
    fn note_room(&self, room: Room) {
        let least = if self.full.load(Ordering::Acquire) { 2 * Room::LEAST } else { Room::LEAST };
        let is_read_only = room == Room::ReadOnly;
        let is_full = !is_read_only && room.octets() < least;
        METRICS.unwritable.set(u64::from(is_read_only || is_full));
        let path = logging::escape(&self.spool.path().to_string_lossy());
        match (self.read_only.swap(is_read_only, Ordering::AcqRel), is_read_only) {
            (false, true) => log::error!(
                "refusing deliveries: the disk of the spool {path} is read-only; see the log of the kernel (dmesg) for \
                 the reason, and mount it writable again"
            ),
            (true, false) => log::info!("the disk of the spool is writable again, accepting mail"),
            _ => {}
        }
        match (self.full.swap(is_full, Ordering::AcqRel), is_full) {
            (false, true) => {
                log::error!("refusing deliveries: the disk of the spool {path} is full; make room")
            }
            (true, false) if !is_read_only => {
                log::info!("the disk of the spool has room again, accepting mail")
            }
            _ => {}
        }
    }

    /// Octets that were free at the last check, if known.
    pub fn free_space(&self) -> Option<u64> {
        Some(self.free_space.load(Ordering::Acquire)).filter(|free| *free != UNKNOWN)
    }

    /// Whether the spool was in its place at the last check, and its disk writable.
    pub fn was_writable(&self) -> Result<(), Failure> {
        if self.misplaced.load(Ordering::Acquire) {
            return Err(self.misplaced_failure());
        }
        if self.read_only.load(Ordering::Acquire) { Err(Failure::TempFail) } else { Ok(()) }
    }

    /// Whether the last check found a reason to refuse all mail.
    pub fn refuses_mail(&self) -> bool {
        self.was_writable().is_err() || self.full.load(Ordering::Acquire)
    }

    /// Storage for a test, without a watcher.
    #[cfg(test)]
    pub(crate) fn unwatched(spool: Spool) -> Self {
        let lock = spool.lock(lock::LockMode::Exclusive, std::time::Duration::ZERO).unwrap();
        let largest = Limits::default().max_listed_size();
        Self::new(spool, lock, Watcher::disabled().0, (1, 4096, 1), largest, None).unwrap()
    }

    /// Whether the path of the mailbox still leads to `maildir`.
    pub fn still_resolves_to(&self, mailbox: &Mailbox, maildir: &Maildir) -> bool {
        self.spool.still_resolves_to(mailbox.as_str(), mailbox.folder().map(Folder::directory), maildir)
    }

    /// Opens a mailbox in which a message is to be durable, so the mailbox itself must be durable.
    pub fn durable_maildir(&self, mailbox: &Mailbox) -> Result<Maildir, Failure> {
        if mailbox.folder().is_some() {
            self.durable_maildir(&mailbox.clone().without_folder())?;
        }
        let (maildir, made) = self.open_or_create(mailbox)?;
        if !made {
            maildir.sync_if_new(SystemTime::now()).map_err(|error| log_failure(&error))?;
        }
        Ok(maildir)
    }

    /// Opens a folder of a mailbox in the same way. Creates both if they are missing and that is allowed.
    pub fn durable_folder(&self, mailbox: &Mailbox, folder: &Folder) -> Result<Maildir, Failure> {
        self.durable_maildir(mailbox)?;
        let opened = self.spool.open_or_create_folder(mailbox.as_str(), folder.directory());
        let maildir = opened.map_err(|error| log_failure(&error))?;
        maildir.sync_if_new(SystemTime::now()).map_err(|error| log_failure(&error))?;
        Ok(maildir)
    }

    /// Opens a mailbox as [`Storage::maildir`] does, or an existing folder as IMAP names it: the case of its letters counts,
    /// unlike in addresses.
    pub fn imap_maildir(&self, mailbox: &Mailbox) -> Result<Maildir, Failure> {
        let Some(folder) = mailbox.folder() else { return self.maildir(mailbox) };
        let inbox = self.maildir(&mailbox.clone().without_folder())?;
        match FolderTree::of(&inbox, MAX_FOLDERS).open(folder.directory()) {
            Ok(maildir) => Ok(maildir),
            Err(FolderError::Disk(error)) => Err(log_failure(&error)),
            Err(_) => Err(Failure::NoFolder),
        }
    }

    /// The same for a folder in which a message is to be durable.
    pub fn durable_imap_maildir(&self, mailbox: &Mailbox) -> Result<Maildir, Failure> {
        if mailbox.folder().is_none() {
            return self.durable_maildir(mailbox);
        }
        self.durable_maildir(&mailbox.clone().without_folder())?;
        let maildir = self.imap_maildir(mailbox)?;
        maildir.sync_if_new(SystemTime::now()).map_err(|error| log_failure(&error))?;
        Ok(maildir)
    }

    /// Opens a mailbox, which is created if it is missing and that is allowed; or opens an existing folder.
    pub fn maildir(&self, mailbox: &Mailbox) -> Result<Maildir, Failure> {
        self.open_or_create(mailbox).map(|(maildir, _)| maildir)
    }

    /// The flag says whether the mailbox was created and is durable.
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

/// Whether the path of the spool no longer leads to it.
fn is_moved(spool: &Spool, error: &Error) -> bool {
    let is_elsewhere = matches!(error.kind(), Kind::Gone | Kind::Changed | Kind::Unusable);
    is_elsewhere && !error.is_denied() && error.path() == spool.path()
}

/// The reason why no mail is stored in the spool, with the next step.
fn refusal(spool: &Spool, error: &Error) -> String {
    let step = match error.kind() {
        Kind::Locked => "end the other server",
        _ if is_moved(spool, error) => {
            "put it back (mv, umount), or restart the server to use what is there now"
        }
        _ => return error.at_spool(spool.path()),
    };
    format!("{error}; {step}")
}

/// Stands for an unknown amount.
const UNKNOWN: u64 = u64::MAX;

/// Logs a failure of the disk and converts it to the failure that the client may see.
pub fn log_failure(error: &Error) -> Failure {
    let failure = match error.kind() {
        Kind::Full => Failure::Full,
        Kind::Quota => Failure::Quota,
        Kind::ReadOnly => Failure::ReadOnly,
        Kind::Gone => Failure::Gone,
        Kind::Changed => Failure::Changed,
        Kind::Truncated => Failure::Truncated,
        Kind::Unusable => Failure::MailboxUnusable,
        Kind::Locked => Failure::InUse,
        Kind::Other if error.is_read_only() => Failure::ReadOnly,
        Kind::Other => Failure::TempFail,
    };
    match failure {
        Failure::Gone | Failure::InUse => log::debug!("{error}"),
        _ => log::error!("{error}"),
    }
    failure
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn n131_only_a_spool_that_is_gone_or_another_directory_is_to_be_put_back() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("spool");
        let spool = Spool::open(&path).unwrap();
        assert!(spool.is_in_place().is_ok());
        fs::rename(&path, home.path().join("elsewhere")).unwrap();
        let told = || refusal(&spool, &spool.is_in_place().unwrap_err());
        assert!(told().contains("; put it back (mv, umount), or restart the server"), "{}", told());
        assert!(is_moved(&spool, &spool.is_in_place().unwrap_err()));
        fs::create_dir(&path).unwrap();
        assert!(is_moved(&spool, &spool.is_in_place().unwrap_err()));
        assert!(told().contains("it is another directory now: "), "{}", told());
        assert!(told().contains("; put it back (mv, umount), or restart the server"), "{}", told());
        let locking = |errno: Errno| refusal(&spool, &Error::at(path.join(lock::FILE), "open", errno));
        for errno in [Errno::ACCESS, Errno::NOENT, Errno::IO] {
            assert!(!locking(errno).contains("put it back"), "{}", locking(errno));
            assert!(!is_moved(&spool, &Error::at(path.join(lock::FILE), "open", errno)));
        }
        let told = locking(Errno::WOULDBLOCK);
        assert!(told.ends_with("; end the other server"), "{told}");
    }
}
