//! Errors of file operations, for the log: the operation, the path, and the system's reason; for a lack of rights also
//! the command that gives them.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use super::entry::PARTS;
use crate::{
    file_rights::{way_back_into, way_to_change},
    printable,
};

/// A failed system call, with its path and its name.
#[derive(Debug)]
pub struct Error {
    path: PathBuf,
    operation: &'static str,
    source: io::Error,
    /// The owner or the mode that is the reason, with the advice that mends it.
    remedy: Option<Box<str>>,
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
        let (path, source) = (path.into(), source.into());
        let is_denied = matches!(Errno::from_io_error(&source), Some(Errno::ACCESS | Errno::PERM));
        let remedy = is_denied.then(|| way_to_change(&path)).flatten().map(String::into_boxed_str);
        Self { path, operation, source, remedy }
    }

    /// The owner or the mode that is the reason, with the advice that mends it.
    #[cfg(feature = "tools")]
    pub(crate) fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// The error alone.
    pub(crate) fn without_remedy(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            write!(f, "{}: {}: {}", printable::escape_path(&self.path), self.operation, self.source)
        })
    }

    /// The sentence for an error that keeps a server out of its spool: with the command that lets it in, if rights are the reason.
    pub(crate) fn at_spool(&self, spool: &Path) -> String {
        match way_back_into(spool).filter(|_| self.is_denied()) {
            Some(way) => format!("{}: {}", self.without_remedy(), printable::escape_line(&way)),
            None => self.to_string(),
        }
    }

    /// Whether the disk takes no changes.
    pub(crate) fn is_read_only(&self) -> bool {
        self.source.kind() == io::ErrorKind::ReadOnlyFilesystem
    }

    /// Whether the user of this process lacks a right.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(Errno::from_io_error(&self.source), Some(Errno::ACCESS | Errno::PERM))
    }

    /// The path of the failed call.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a directory of a Maildir is missing, but not all three of them.
    pub fn is_incomplete_maildir(&self) -> bool {
        let is_part = self.path.file_name().is_some_and(|name| PARTS.iter().any(|part| name == *part));
        let beside = self.path.parent().filter(|_| is_part);
        beside.is_some_and(|home| PARTS.iter().any(|part| home.join(part).symlink_metadata().is_ok()))
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
        self.without_remedy().fmt(f)?;
        self.remedy.iter().try_for_each(|remedy| write!(f, ": {}", printable::escape_line(remedy)))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
