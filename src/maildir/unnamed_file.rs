//! Files without a name (`O_TMPFILE`): each ends with its last descriptor, unless it gets a name before that.

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags},
    io::Errno,
};

use super::directory::FILE_MODE;
use crate::local_fs::is_one_of;

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

/// Whether files without a name can be made in that directory, and get one later that a power cut spares.
///
/// The file has no links on the disk when it is synced, and a sync of the directory must make its first link durable
/// too. A journal does so. ext4 without one writes the name alone, and then the check of the file system removes it.
/// Other file systems may be the same: they get files with names.
pub(super) fn are_safe(dir: &OwnedFd) -> bool {
    has_atomic_names(dir) && are_possible(dir)
}

/// Whether a journal keeps the changes of one call to names and links together, as that of ext4 and XFS does.
pub(super) fn has_atomic_names(dir: &OwnedFd) -> bool {
    is_one_of(dir, &[XFS, TMPFS]) || is_one_of(dir, &[EXT4]) && has_journal(dir)
}

fn are_possible(dir: &OwnedFd) -> bool {
    let handle = create(dir).and_then(reopen);
    handle.is_ok_and(|handle| link(&handle, dir, ".") == Err(Errno::EXIST))
}

/// Whether the ext4 of that directory has a journal, as far as the kernel tells. ext2 and ext3 are ext4 too.
fn has_journal(dir: &OwnedFd) -> bool {
    let Ok(stat) = fs::fstat(dir) else { return false };
    let device = format!("/sys/dev/block/{}:{}", fs::major(stat.st_dev), fs::minor(stat.st_dev));
    let thread = std::fs::read_link(device).ok().and_then(|device| {
        let state = Path::new(EXT4_STATES).join(device.file_name()?).join("journal_task");
        std::fs::read_to_string(state).ok() // a number of a process, or <none>
    });
    thread.is_some_and(|id| id.trim().parse::<i32>().is_ok())
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

/// The directory in which the kernel tells the state of each ext4.
pub const EXT4_STATES: &str = "/sys/fs/ext4";
/// The `statfs` types of file systems whose syncs were measured and power-cut (linux/magic.h) ...
pub(super) const EXT4: u32 = 0xef53;
pub(super) const XFS: u32 = 0x5846_5342;
/// ... and of the one that a power cut ends.
const TMPFS: u32 = 0x0102_1994;
