//! Single steps on directories and the names in them, relative to an open directory, each with its path for the error.

use std::{
    ffi::{OsStr, OsString},
    io,
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
use crate::{deferred_drop::DeferredFd, safe_file};

pub(super) fn open_directory(
    at: impl AsFd,
    name: impl rustix::path::Arg + Copy,
    path: &Path,
) -> Result<DeferredFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = fs::openat(at.as_fd(), name, flags, Mode::empty());
    opened.map(DeferredFd::from).map_err(|error| not_opened(at, name, path, error))
}

/// The error for a directory below the spool that does not open. It tells a link or a file that has its name, and the
/// remedy.
pub(crate) fn not_opened(at: impl AsFd, name: impl rustix::path::Arg, path: &Path, error: Errno) -> Error {
    let stat = fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).ok();
    let why = match (error, stat.map(|stat| FileType::from_raw_mode(stat.st_mode))) {
        (Errno::NOTDIR | Errno::LOOP, Some(FileType::Symlink)) => IS_LINK,
        (Errno::NOTDIR, Some(kind)) if kind != FileType::Directory => IS_NO_DIRECTORY,
        _ => return Error::at(path, "open directory", error),
    };
    Error::at(path, "open directory", io::Error::new(io::ErrorKind::NotADirectory, why))
}

/// The words after the path of a link in the place of a directory of the spool.
pub(crate) const IS_LINK: &str = "is a symbolic link, and none is followed below the spool: put a directory in its place and mount the \
                                  other one there with `mount --bind`, or move the whole spool";
/// The words after the path of another thing in that place.
pub(crate) const IS_NO_DIRECTORY: &str =
    "is not a directory: move it away, and a directory is made when the next mail comes";

/// Makes a directory. `false`: it exists already.
pub(super) fn make_directory(
    at: impl AsFd,
    name: impl rustix::path::Arg,
    path: &Path,
) -> Result<bool, Error> {
    fault_point(path, "make directory")?;
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
    names_of_kind(dir, path, |_, kind| kind == FileType::Directory)
}

/// The names in a directory that are wanted, by name and kind, without `.` and `..`.
pub(super) fn names_of_kind(
    dir: &OwnedFd,
    path: &Path,
    is_wanted: impl Fn(&[u8], FileType) -> bool,
) -> Result<Vec<OsString>, Error> {
    let failed = |e| Error::at(path, "read directory", e);
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = match entry.file_type() {
            FileType::Unknown => fs::statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
            known => known,
        };
        let name = entry.file_name().to_bytes();
        if ![&b"."[..], b".."].contains(&name) && is_wanted(name, kind) {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(dir: &OwnedFd, path: &Path) -> Result<(), Error> {
    safe_file::sync_directory(dir).map_err(|e| Error::at(path, "fsync directory", e))
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
