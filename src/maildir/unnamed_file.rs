//! Files without a name (`O_TMPFILE`): each ends with its last descriptor, unless it gets a name before that.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags},
    io::Errno,
};

use super::directory::FILE_MODE;

/// Creates one for writing, on the file system of that directory.
pub(super) fn create(dir: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY.union(OFlags::TMPFILE).union(OFlags::CLOEXEC);
    fs::openat(dir, ".", flags, FILE_MODE)
}

/// Opens a file once more, for reading, whether it has a name or not.
pub(super) fn reopen(file: impl AsFd) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    fs::openat(fs::CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether files without a name can be made in that directory, and get one later.
pub(super) fn are_possible(dir: &OwnedFd) -> bool {
    let handle = create(dir).and_then(reopen);
    handle.is_ok_and(|handle| link(&handle, dir, ".") == Err(Errno::EXIST))
}

/// Gives a name to an open file. Before Linux 6.10, only root may do so by the descriptor alone (linkat(2)).
pub(super) fn link(handle: &OwnedFd, dir: &OwnedFd, name: &str) -> Result<(), Errno> {
    match fs::linkat(handle, "", dir, name, AtFlags::EMPTY_PATH) {
        Err(Errno::NOENT) => {
            let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
            fs::linkat(fs::CWD, path, dir, name, AtFlags::SYMLINK_FOLLOW)
        }
        done => done,
    }
}
