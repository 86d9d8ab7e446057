//! What a file was like at one moment, so that a change of it is noticed. A leaf: imports nothing of ours.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// What a file was like at one moment: another stamp means that it has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    octets: u64,
    written: (i64, i64),
    /// Also when only its owner or its mode is another, which decide whether it can be read.
    changed: (i64, i64),
}

impl FileStamp {
    /// What the file at `path` is like now; `None` if it is not there, or can't be looked at.
    pub fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        let (written, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
        Some(Self { device: file.dev(), inode: file.ino(), octets: file.len(), written, changed })
    }

    /// Whether the file has been written to so lately that a further change may leave no trace: the clock of
    /// a file system ticks slowly.
    pub fn is_racy(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let is_young = |time: i64| u64::try_from(time).unwrap_or(0).abs_diff(now) <= RACY_WINDOW;
        is_young(self.written.0) || is_young(self.changed.0)
    }
}

/// Seconds.
const RACY_WINDOW: u64 = 2;
