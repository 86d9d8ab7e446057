//! Advisory locks: of a mailbox, held by one POP3 session, and of the spool, held by one server or by several
//! that share it. They die with the process that has them.
//!
//! They are those of flock(2), which every server on this machine honours, and which the clients of NFS, CephFS and
//! other file servers pass on, so that those on other machines honour them too.

use std::{
    fs::{File, TryLockError},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{self, Mode, OFlags},
    io::Errno,
};

use super::{Error, Maildir};

/// The lock file, beside the messages or the mailboxes.
pub const FILE: &str = ".restante.lock";

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// By nobody else.
    Alone,
    /// By others too, if they share it.
    Shared,
}

/// A held lock: let go when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a mailbox. An error of kind `Locked`: another process has it.
    pub fn take(maildir: &Maildir) -> Result<Self, Error> {
        Self::take_in(maildir.root(), maildir.path(), Hold::Alone)
    }

    /// Takes the lock of a directory, whose path is `path`.
    pub(super) fn take_in(dir: &OwnedFd, path: &Path, hold: Hold) -> Result<Self, Error> {
        let path = || path.join(FILE);
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = |name, how| fs::openat(dir, name, flags | how, Mode::RUSR | Mode::WUSR);
        // For reading, so that it keeps nobody from making the disk read-only.
        let file = match open(FILE, OFlags::RDONLY | OFlags::CREATE) {
            // Mail can be read from a disk that can't be written, and be locked all the same.
            Err(Errno::ROFS) => open(".", OFlags::RDONLY | OFlags::DIRECTORY),
            done => done,
        };
        let lock = |file: &File| match hold {
            Hold::Alone => file.try_lock(),
            Hold::Shared => file.try_lock_shared(),
        };
        let mut file = File::from(file.map_err(|e| Error::at(path(), "open", e))?);
        let mut locked = lock(&file);
        if matches!(&locked, Err(TryLockError::Error(error)) if Errno::from_io_error(error) == Some(Errno::BADF))
        {
            // NFS locks by ranges, and those want a file open for writing (flock(2)).
            file = File::from(open(FILE, OFlags::RDWR).map_err(|e| Error::at(path(), "open", e))?);
            locked = lock(&file);
        }
        match locked {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::at(path(), "lock", Errno::WOULDBLOCK)),
            Err(TryLockError::Error(error)) => Err(Error::at(path(), "lock", error)),
        }
    }
}
