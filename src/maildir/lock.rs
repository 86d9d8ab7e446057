//! Advisory locks: of a mailbox, held by one POP3 session, and of the spool, held by one server or by several that
//! share it. A lock ends with its process.
//!
//! These are locks of flock(2). Every server on this machine honours them. The clients of NFS, CephFS and other file
//! servers pass them on, so servers on other machines honour them too.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{self, AtFlags, FlockOperation, Mode, OFlags},
    io::Errno,
};

use super::{Error, Kind, Maildir, Spool};
use crate::{command_hint::path_word, deferred_drop::DeferredFd};

/// The lock file, beside the messages or the mailboxes.
pub const FILE: &str = ".restante.lock";

/// The mode of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// No other process may hold the lock in any mode.
    Exclusive,
    /// Shared with other processes that also share it.
    Shared,
}

/// A held lock, released when dropped.
///
/// It covers two things at once. Other machines see the lock on the file. The directory of the file is locked as well,
/// because a restore can replace a locked file, but not an open directory. If the file cannot be made, the lock on the
/// directory is enough.
#[derive(Debug)]
pub struct Lock {
    mode: LockMode,
    file: Option<DeferredFd>,
    /// `None`: this file system cannot lock directories.
    _dir: Option<DeferredFd>,
}

impl Lock {
    /// Takes the lock of a mailbox. An error of kind `Locked`: another process has it.
    pub fn acquire(maildir: &Maildir) -> Result<Self, Error> {
        Self::acquire_in(maildir.root(), maildir.path(), LockMode::Exclusive)
    }

    /// Whether no other process may hold it.
    pub fn is_exclusive(&self) -> bool {
        self.mode == LockMode::Exclusive
    }

    /// Takes the lock of a directory, whose path is `path`.
    fn acquire_in(dir: &OwnedFd, path: &Path, hold: LockMode) -> Result<Self, Error> {
        let opened = open(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY);
        let opened = opened.map_err(|e| Error::at(path, "open directory", e))?;
        let above = match fs::flock(&opened, operation(hold)) {
            Ok(()) => Some(opened),
            Err(Errno::WOULDBLOCK) => return Err(Error::at(path, "lock", Errno::WOULDBLOCK)),
            Err(_) => None,
        };
        let file = lock_file((dir, path, FILE), hold, above.is_some())?;
        Ok(Self { mode: hold, file, _dir: above })
    }

    /// Waits for the lock on the folders of a mailbox, under which they get other names and UID validities. Unlike the lock of a
    /// POP3 session it is held for moments. `inbox` is the directory of the mailbox. An error of kind `Locked`: another process has
    /// it for too long.
    pub(super) fn of_folders((inbox, path): (&OwnedFd, &Path)) -> Result<Self, Error> {
        let (mode, began) = (LockMode::Exclusive, Instant::now());
        loop {
            match lock_file((inbox, path, FOLDERS_FILE), mode, true) {
                Err(error) if error.kind() == Kind::Locked && began.elapsed() < FOLDERS_PATIENCE => {
                    thread::sleep(FOLDERS_PATIENCE / 500);
                }
                locked => return Ok(Self { mode, file: locked?, _dir: None }),
            }
        }
    }

    /// Checks that the lock is still on the file with its name, or else locks the file that has it. `true`: another
    /// file had the name. An error of kind `Locked`: another process has locked that file.
    fn revalidate(&mut self, dir: &OwnedFd, path: &Path) -> Result<bool, Error> {
        if self.file.as_ref().is_some_and(|file| is_current(dir, FILE, file)) {
            return Ok(false);
        }
        let had_one = self.file.is_some();
        self.file = lock_file((dir, path, FILE), self.mode, self._dir.is_some())?;
        Ok(had_one)
    }
}

impl Spool {
    /// Locks the spool for this process, alone or with others that share it. An error of kind `Locked`: another process
    /// has the lock, does not share it, and has not released it within `patience`.
    pub fn lock(&self, hold: LockMode, patience: Duration) -> Result<Lock, Error> {
        let began = Instant::now();
        loop {
            match Lock::acquire_in(self.dir(), self.path(), hold) {
                Err(error) if error.kind() == Kind::Locked && began.elapsed() < patience => {
                    thread::sleep(patience / 20);
                }
                done => return done,
            }
        }
    }

    /// Whether a server uses the spool now. It is asked of the lock on the directory, so no file is made, and nothing
    /// is locked when this returns.
    pub fn is_in_use(&self) -> bool {
        let opened = open(self.dir(), ".", OFlags::RDONLY | OFlags::DIRECTORY);
        opened.is_ok_and(|dir| {
            fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
        })
    }

    /// Checks that a lock of the spool is still on the file with its name; see [`Lock`].
    pub fn revalidate_lock(&self, lock: &mut Lock) -> Result<bool, Error> {
        lock.revalidate(self.dir(), self.path())
    }
}

/// Locks the file, and makes it if it is missing. `None`: it is missing and cannot be made, and `do_without` allows
/// that.
fn lock_file(
    (dir, path, name): (&OwnedFd, &Path, &str),
    hold: LockMode,
    do_without: bool,
) -> Result<Option<DeferredFd>, Error> {
    let path = || path.join(name);
    for _ in 0..ATTEMPTS {
        // Opened for reading, so that the disk can still be made read-only.
        let opened = match open(dir, name, OFlags::RDONLY | OFlags::CREATE) {
            // Clients can read mail from a read-only disk, and delete mail from a full one.
            Err(Errno::ROFS | Errno::NOSPC | Errno::DQUOT) if do_without => return Ok(None),
            done => done,
        };
        let mut file = opened.map_err(|e| not_opened(path(), e))?;
        let mut locked = fs::flock(&file, operation(hold));
        if locked == Err(Errno::BADF) {
            // NFS locks by ranges, and those want a file open for writing (flock(2)).
            file = open(dir, name, OFlags::RDWR).map_err(|e| Error::at(path(), "open", e))?;
            locked = fs::flock(&file, operation(hold));
        }
        locked.map_err(|e| Error::at(path(), "lock", e))?;
        // Another file may have taken its name before it was locked; then that file must be locked.
        if is_current(dir, name, &file) {
            return Ok(Some(file));
        }
    }
    Err(Error::at(path(), "lock", io::Error::other("it is replaced all the time")))
}

/// The error for a lock file that does not open.
fn not_opened(path: PathBuf, error: Errno) -> Error {
    if error != Errno::LOOP {
        return Error::at(path, "open", error);
    }
    let why = format!(
        "is a symbolic link, and a lock is none: remove it with `rm {}`, and a file is made in its place",
        path_word(&path)
    );
    Error::at(path, "open", io::Error::new(io::ErrorKind::NotADirectory, why))
}

fn open(dir: &OwnedFd, name: &str, how: OFlags) -> Result<DeferredFd, Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    fs::openat(dir, name, flags | how, Mode::RUSR | Mode::WUSR).map(DeferredFd::from)
}

fn operation(hold: LockMode) -> FlockOperation {
    match hold {
        LockMode::Exclusive => FlockOperation::NonBlockingLockExclusive,
        LockMode::Shared => FlockOperation::NonBlockingLockShared,
    }
}

/// Whether the lock file of the directory is this one.
fn is_current(dir: &OwnedFd, name: &str, file: &DeferredFd) -> bool {
    let there = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    matches!((there, fs::fstat(file)), (Ok(there), Ok(ours))
        if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino))
}

/// The lock file of the folders of a mailbox.
const FOLDERS_FILE: &str = ".restante.folders.lock";
/// Time to wait for that lock.
const FOLDERS_PATIENCE: Duration = Duration::from_secs(5);
/// The largest number of files opened to find the right one.
const ATTEMPTS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn spool() -> (tempfile::TempDir, Spool) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        (dir, spool)
    }

    #[test]
    fn r8_a_lock_keeps_others_out_also_when_its_file_is_replaced_or_removed() {
        let (dir, spool) = spool();
        let maildir = spool.open_or_create_maildir("box").unwrap();
        let file = dir.path().join("box").join(FILE);
        let lock = Lock::acquire(&maildir).unwrap();
        let is_locked = || Lock::acquire(&maildir).is_err_and(|error| error.kind() == Kind::Locked);
        assert!(is_locked());
        std::fs::write(dir.path().join("other"), "").unwrap();
        std::fs::rename(dir.path().join("other"), &file).unwrap();
        assert!(is_locked(), "replaced");
        std::fs::remove_file(&file).unwrap();
        assert!(is_locked(), "removed");
        drop(lock);
        Lock::acquire(&maildir).unwrap();
    }

    #[test]
    fn n192_a_link_in_the_place_of_the_lock_file_is_to_be_removed() {
        let (dir, spool) = spool();
        let file = dir.path().join(FILE);
        std::os::unix::fs::symlink("/elsewhere", &file).unwrap();
        let error = spool.lock(LockMode::Exclusive, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), Kind::Unusable);
        assert!(error.to_string().contains(&format!("remove it with `rm {}`", path_word(&file))), "{error}");
        std::fs::remove_file(&file).unwrap();
        spool.lock(LockMode::Exclusive, Duration::ZERO).unwrap();
    }

    #[test]
    fn r8_a_lock_is_kept_on_the_file_that_has_its_name() {
        let (dir, spool) = spool();
        let file = dir.path().join(FILE);
        let mut lock = Lock::acquire_in(spool.dir(), dir.path(), LockMode::Exclusive).unwrap();
        assert!(!lock.revalidate(spool.dir(), dir.path()).unwrap());
        std::fs::remove_file(&file).unwrap();
        assert!(lock.revalidate(spool.dir(), dir.path()).unwrap());
        assert!(!lock.revalidate(spool.dir(), dir.path()).unwrap());
        // One that another process has: an older server, which locks the file alone.
        std::fs::remove_file(&file).unwrap();
        let others = std::fs::File::create(&file).unwrap();
        others.lock().unwrap();
        assert_eq!(lock.revalidate(spool.dir(), dir.path()).unwrap_err().kind(), Kind::Locked);
        drop(others);
        assert!(lock.revalidate(spool.dir(), dir.path()).is_ok());
    }
}
