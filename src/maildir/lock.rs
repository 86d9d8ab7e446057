//! Advisory locks: of a mailbox, held by one POP3 session, and of the spool, held by one server or by several
//! that share it. They die with the process that has them.
//!
//! They are those of flock(2), which every server on this machine honours, and which the clients of NFS, CephFS and
//! other file servers pass on, so that those on other machines honour them too.

use std::{os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{self, FlockOperation, Mode, OFlags},
    io::Errno,
};

use super::{Error, Maildir};
use crate::closing::Handle;

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
    _file: Handle,
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
        let how = match hold {
            Hold::Alone => FlockOperation::NonBlockingLockExclusive,
            Hold::Shared => FlockOperation::NonBlockingLockShared,
        };
        let mut file = file.map(Handle::from).map_err(|e| Error::at(path(), "open", e))?;
        let mut locked = fs::flock(&file, how);
        if locked == Err(Errno::BADF) {
            // NFS locks by ranges, and those want a file open for writing (flock(2)).
            file = open(FILE, OFlags::RDWR).map(Handle::from).map_err(|e| Error::at(path(), "open", e))?;
            locked = fs::flock(&file, how);
        }
        match locked {
            Ok(()) => Ok(Self { _file: file }),
            Err(error) => Err(Error::at(path(), "lock", error)),
        }
    }
}
