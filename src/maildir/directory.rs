//! Single steps on directories and the names in them, relative to an open directory, each with its path for the error.

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

use super::{error::Error, fault_points::fault_point};
use crate::deferred_drop::DeferredFd;

pub(super) fn open_directory(
    at: impl AsFd,
    name: impl rustix::path::Arg,
    path: &Path,
) -> Result<DeferredFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = fs::openat(at, name, flags, Mode::empty());
    opened.map(DeferredFd::from).map_err(|e| Error::at(path, "open directory", e))
}

/// Makes a directory. `false`: it exists already.
pub(super) fn make_directory(
    at: impl AsFd,
    name: impl rustix::path::Arg,
    path: &Path,
) -> Result<bool, Error> {
    match fs::mkdirat(at, name, DIRECTORY_MODE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(Error::at(path, "make directory", error)),
    }
}

pub(super) fn id_of(dir: &OwnedFd, path: &Path) -> Result<(u64, u64), Error> {
    let stat = fs::fstat(dir).map_err(|e| Error::at(path, "stat", e))?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Whether that name is the open directory with that device and inode.
pub(super) fn is_same_directory(at: &OwnedFd, name: &str, open: (u64, u64)) -> bool {
    fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|there| (there.st_dev, there.st_ino) == open)
}

/// The names of the directories in a directory.
pub(crate) fn directories(dir: &OwnedFd, path: &Path) -> Result<Vec<OsString>, Error> {
    let failed = |e| Error::at(path, "read directory", e);
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_directory = match entry.file_type() {
            FileType::Unknown => fs::statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
            known => known == FileType::Directory,
        };
        if is_directory && ![&b"."[..], b".."].contains(&entry.file_name().to_bytes()) {
            names.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
        }
    }
    Ok(names)
}

/// Makes the names in a directory durable. XFS that has shut itself down, after an error of its disk, has
/// nothing left to write and calls that a success; asked for the state of a file, it admits the shutdown.
pub(super) fn sync_directory(dir: &OwnedFd, path: &Path) -> Result<(), Error> {
    let failed = |e: Errno| Error::at(path, "fsync directory", e);
    fs::fsync(dir).map_err(failed)?;
    fs::fstat(dir).map(drop).map_err(failed)
}

/// Removes a name, and tries once more after a failure, because a signal may have interrupted the call. A missing name
/// counts as removed.
pub(super) fn remove(dir: &OwnedFd, name: &str, path: &Path) -> Result<(), Error> {
    let unlink = || {
        fault_point(path, "unlink")?;
        match fs::unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(Error::at(path, "unlink", error)),
        }
    };
    unlink().or_else(|_| unlink())
}

pub(crate) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

const DIRECTORY_MODE: Mode = Mode::RWXU;
