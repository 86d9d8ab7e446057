//! A disk of its own for a test, small enough to be filled up.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::geteuid;
use tempfile::TempDir;

use super::home;

/// A file system that stays mounted as long as this lives.
pub(crate) struct Mount {
    pub(crate) at: PathBuf,
}

impl Mount {
    /// Mounts it there. Returns `None` if this user may not mount.
    pub(crate) fn new(arguments: &[&str], at: &Path) -> Option<Self> {
        let mounted = geteuid().is_root()
            && Command::new("mount").args(arguments).arg(at).status().is_ok_and(|status| status.success());
        mounted.then(|| Self { at: at.to_owned() })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status(); // a failure harms no test
    }
}

/// A very small disk.
pub(crate) struct SmallDisk {
    _mount: Mount, // it goes before its directory
    pub(crate) dir: TempDir,
}

impl SmallDisk {
    /// Mounts the disk. Returns `None` if this user may not mount.
    pub(crate) fn mount(size: &str) -> Option<Self> {
        let dir = home();
        let mount = Mount::new(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], dir.path())?;
        Some(Self { _mount: mount, dir })
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
