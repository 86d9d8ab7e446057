//! Advisory locks: of a mailbox, held by one POP3 session, and of the spool, held by one server. They die with
//! the process that has them.

use std::{
    fs::{File, TryLockError},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags},
    io::Errno,
};

use super::{Error, Maildir};

/// The lock file, beside the messages or the mailboxes.
pub const FILE: &str = ".restante.lock";

/// What tells the lock file from every other: device and inode.
pub fn key_of(maildir: &Maildir) -> Result<(u64, u64), Error> {
    let stat = fs::statat(maildir.root(), FILE, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| Error::at(maildir.path().join(FILE), "stat", e))?;
    Ok((stat.st_dev, stat.st_ino))
}

/// A held lock: let go when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a mailbox. An error of kind `Locked`: another process has it.
    pub fn take(maildir: &Maildir) -> Result<Self, Error> {
        Self::take_in(maildir.root(), maildir.path())
    }

    /// Takes the lock of a directory, whose path is `path`.
    pub(super) fn take_in(dir: &OwnedFd, path: &Path) -> Result<Self, Error> {
        let path = || path.join(FILE);
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = |name, how| fs::openat(dir, name, flags | how, Mode::RUSR | Mode::WUSR);
        let file = match open(FILE, OFlags::RDWR | OFlags::CREATE) {
            // Mail can be read from a disk that can't be written: what is there can be locked all the same.
            Err(Errno::ROFS) => match open(FILE, OFlags::RDONLY) {
                Err(Errno::NOENT) => open(".", OFlags::RDONLY | OFlags::DIRECTORY),
                done => done,
            },
            done => done,
        };
        let file = File::from(file.map_err(|e| Error::at(path(), "open", e))?);
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::at(path(), "lock", Errno::WOULDBLOCK)),
            Err(TryLockError::Error(error)) => Err(Error::at(path(), "lock", error)),
        }
    }
}
