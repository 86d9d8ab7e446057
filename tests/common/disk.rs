//! A disk of its own for a test, small enough to be filled up.

use std::{fs, path::PathBuf, process::Command};

use rustix::process::geteuid;
use tempfile::TempDir;

use super::home;

/// A very small disk.
pub(crate) struct SmallDisk {
    pub(crate) dir: TempDir,
}

impl SmallDisk {
    /// Mounts the disk. Returns `None` if this user may not mount.
    pub(crate) fn mount(size: &str) -> Option<Self> {
        let dir = home();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir.path());
        let mounted = geteuid().is_root() && mount.status().is_ok_and(|status| status.success());
        mounted.then_some(Self { dir })
    }

    /// Fills the disk until that many octets are left, and returns the file that does it.
    pub(crate) fn fill(&self, left: u64) -> PathBuf {
        let about = rustix::fs::statvfs(self.dir.path()).unwrap();
        let filler = self.dir.path().join("filler");
        let free = about.f_bavail * about.f_frsize;
        fs::write(&filler, vec![b'x'; usize::try_from(free.saturating_sub(left)).unwrap()]).unwrap();
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status(); // a failure harms no test
    }
}
