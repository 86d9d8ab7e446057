//! Errors of file operations, for the log: the operation, the path, and the system's reason.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use crate::printable;

/// A failed system call, with its path and its name.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    operation: &'static str,
    source: io::Error,
}

/// The kind of an [`Error`], for decisions of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No room: on the disk, or in the directory.
    Full,
    /// A quota of the file system is used up.
    Quota,
    /// The file system is mounted for reading only, or has become so after an error.
    ReadOnly,
    /// There is no such file or directory.
    Gone,
    /// The file is not the one that was expected.
    Changed,
    /// The file ended before its end.
    Truncated,
    /// Rights, or something that is not a Maildir: trying again won't help.
    Unusable,
    /// Another process holds the lock.
    Locked,
    /// Any other error of the system.
    Other,
}

impl Error {
    /// A failure of `operation` at `path`.
    pub fn at(path: impl Into<PathBuf>, operation: &'static str, source: impl Into<io::Error>) -> Self {
        Self { path: path.into(), operation, source: source.into() }
    }

    /// The path of the failed call.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a directory of a Maildir is missing, but not all three of them.
    pub fn is_incomplete_maildir(&self) -> bool {
        let parts = ["tmp", "new", "cur"];
        let is_part = self.path.file_name().is_some_and(|name| parts.iter().any(|part| name == *part));
        let beside = self.path.parent().filter(|_| is_part);
        beside.is_some_and(|home| parts.iter().any(|part| home.join(part).symlink_metadata().is_ok()))
    }

    /// Whether the file is longer than any that is read.
    pub(super) fn is_too_long(&self) -> bool {
        self.source.kind() == io::ErrorKind::FileTooLarge
    }

    /// Whether another file or directory has the name.
    pub(super) fn is_taken_name(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }

    /// The kind of the failure.
    pub fn kind(&self) -> Kind {
        match self.source.kind() {
            io::ErrorKind::InvalidData => return Kind::Changed,
            io::ErrorKind::UnexpectedEof => return Kind::Truncated,
            io::ErrorKind::WouldBlock => return Kind::Locked,
            io::ErrorKind::NotADirectory => return Kind::Unusable,
            _ => {}
        }
        match self.source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC) => Kind::Full,
            Some(Errno::DQUOT | Errno::FBIG) => Kind::Quota,
            Some(Errno::ROFS) => Kind::ReadOnly,
            Some(Errno::NOENT) => Kind::Gone,
            Some(Errno::ACCESS | Errno::PERM | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Kind::Unusable,
            _ => Kind::Other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", printable::escape_path(&self.path), self.operation, self.source)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
