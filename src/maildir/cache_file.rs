//! Files of ours beside the messages, which hold caches: opening, appending, replacing.

use std::{fs::File, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags},
    io::Errno,
};

use super::{Error, Kind, Maildir, directory::FILE_MODE};
use crate::safe_file::{self, Durability};

/// Opens a file of ours beside the messages to read it.
pub fn open(maildir: &Maildir, name: &str) -> Result<File, Error> {
    open_in(maildir.root(), maildir.path(), name)
}

pub(super) fn open_in(dir: &OwnedFd, path: &Path, name: &str) -> Result<File, Error> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let failed = |e: Errno| Error::at(path.join(name), "open", e);
    let file = fs::openat(dir, name, flags, Mode::empty()).map_err(failed)?;
    let stat = fs::fstat(&file).map_err(failed)?;
    let regular = fs::FileType::from_raw_mode(stat.st_mode) == fs::FileType::RegularFile;
    if regular { Ok(File::from(file)) } else { Err(failed(Errno::INVAL)) }
}

/// Whether a file did not open because it is no regular one, or because this user may not read it.
pub(super) fn is_foreign(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    let number = source.and_then(std::io::Error::raw_os_error).map(Errno::from_raw_os_error);
    error.kind() == Kind::Unusable
        || number.is_some_and(|number| [Errno::INVAL, Errno::NXIO, Errno::ISDIR].contains(&number))
}

/// Opens a file of ours beside the messages to append to it, and makes it if it is missing. A file with a second name
/// may be one that the owner of the mailbox may not write to, or part of a copy of the spool by links. Such a file is
/// left alone, and a new one begun.
pub fn open_to_append(maildir: &Maildir, name: &str) -> Result<File, Error> {
    let open = || safe_file::open_to_write_in(maildir.root(), name.as_ref(), OFlags::APPEND | OFlags::CREATE);
    let opened = match open() {
        Err(Errno::MLINK) => fs::unlinkat(maildir.root(), name, AtFlags::empty()).and_then(|()| open()),
        opened => opened,
    };
    opened.map_err(|e| Error::at(maildir.path().join(name), "open", e))
}

/// Replaces a file of ours beside the messages. It is written in `tmp/`, and the cleaning there removes the remains of
/// a crash.
pub fn replace(maildir: &Maildir, name: &str, bytes: &[u8], keep: Durability) -> Result<(), Error> {
    safe_file::replace_in((maildir.tmp(), maildir.root()), name.as_ref(), FILE_MODE.bits(), bytes, keep)
        .map_err(|e| Error::at(maildir.path().join(name), "replace", e))
}
