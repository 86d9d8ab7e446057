//! The last good date, in a file of the spool, so that a server that starts with a wrong clock does not take every
//! message for an old one.

use std::{
    fs::File,
    io::Read,
    time::{Duration, SystemTime},
};

use rustix::fs::{self, Mode, OFlags};

use super::{Error, Spool, directory::FILE_MODE};
use crate::safe_file::{self, Durability};

/// The file, beside the mailboxes.
pub const FILE: &str = ".restante.clock";

/// The date in the file. Without one, the last change of any mailbox, because the same clock stamps files and so many
/// of them were right. `None`: there is no mailbox either.
pub fn read(spool: &Spool) -> Option<SystemTime> {
    from_file(spool).or_else(|| newest_change(spool))
}

fn from_file(spool: &Spool) -> Option<SystemTime> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = fs::openat(spool.dir(), FILE, flags, Mode::empty()).ok()?;
    let mut text = String::new();
    File::from(file).take(32).read_to_string(&mut text).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(text.trim().parse().ok()?))
}

fn newest_change(spool: &Spool) -> Option<SystemTime> {
    let changes = spool.maildirs().flatten().flat_map(|maildir| {
        super::Subdir::ALL.map(|subdir| fs::fstat(maildir.dir(subdir)).map_or(0, |stat| stat.st_mtime))
    });
    let newest = changes.filter_map(|seconds| u64::try_from(seconds).ok()).max()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(newest))
}

/// Writes a good date. This is not durable, because an older one does no harm.
pub fn write(spool: &Spool, date: SystemTime) -> Result<(), Error> {
    let seconds = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let text = format!("{seconds}\n");
    let (dir, mode) = (spool.dir(), FILE_MODE.bits());
    safe_file::replace_in((dir, dir), FILE.as_ref(), mode, text.as_bytes(), Durability::Cached)
        .map_err(|e| Error::at(FILE, "replace", e))
}
