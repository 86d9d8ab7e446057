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
    changed: (i64, i64),
}

impl FileStamp {
    /// What the file at `path` is like now; `None` if it is not there, or can't be looked at.
    pub fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        let changed = (file.mtime(), file.mtime_nsec());
        Some(Self { device: file.dev(), inode: file.ino(), octets: file.len(), changed })
    }

    /// Whether the file has been written to so lately that a further change may leave no trace: the clock of
    /// a file system ticks slowly.
    pub fn is_young(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        u64::try_from(self.changed.0).unwrap_or(0).abs_diff(now) <= YOUNG
    }
}

/// Seconds.
const YOUNG: u64 = 2;
