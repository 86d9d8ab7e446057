//! The identity and times of a file, by which a change of it is noticed. A leaf: imports no other module of the
//! crate.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// The state of a file at one moment. A different stamp means that the file has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    octets: u64,
    written: (i64, i64),
    /// This time changes with the owner and the mode too, which decide whether the file can be read.
    changed: (i64, i64),
}

impl FileStamp {
    /// The stamp of the file at `path`; `None` if it does not exist or cannot be examined.
    pub fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        let (written, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
        Some(Self { device: file.dev(), inode: file.ino(), octets: file.len(), written, changed })
    }

    /// Whether the file was written so recently that a further change may leave no trace, because the clock of a file
    /// system ticks slowly.
    pub fn is_racy(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let is_young = |time: i64| u64::try_from(time).unwrap_or(0).abs_diff(now) <= RACY_WINDOW;
        is_young(self.written.0) || is_young(self.changed.0)
    }
}

/// The window in which a change may leave no trace, in seconds.
const RACY_WINDOW: u64 = 2;
