//! One spool, and the way of each instance to it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::common::{eventually, home};

/// How the instances come to their spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is a directory of this machine for both.
    Local,
    /// Each has a mount of its own, which caches names and attributes; locks are passed on, and events are not: what a
    /// file server's clients do.
    Mounts,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Local, Self::Mounts];

    /// What chooses it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Mounts => "mounts",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Local => "on one file system",
            Self::Mounts => "through two mounts with caches",
        }
    }

    pub(crate) fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Local => &[],
            Self::Mounts => &["bindfs"],
        }
    }
}

/// The spool; the mounts end with it.
pub(crate) struct Spool {
    home: TempDir,
    mounts: Vec<Mount>,
}

impl Spool {
    pub(crate) fn new(kind: Kind) -> Self {
        let home = home();
        fs::create_dir(home.path().join("spool")).unwrap();
        let mounts = match kind {
            Kind::Local => Vec::new(),
            Kind::Mounts => {
                ["a", "b"].map(|name| Mount::of(&home.path().join("spool"), home.path(), name)).into()
            }
        };
        Self { home, mounts }
    }

    /// Where the files are.
    pub(crate) fn path(&self) -> PathBuf {
        self.home.path().join("spool")
    }

    /// The same, as the first or the second instance sees it.
    pub(crate) fn way(&self, instance: usize) -> PathBuf {
        self.mounts.get(instance).map_or_else(|| self.path(), |mount| mount.path.clone())
    }
}

struct Mount {
    path: PathBuf,
    child: Child,
}

impl Mount {
    fn of(spool: &Path, home: &Path, name: &str) -> Self {
        let path = home.join(name);
        fs::create_dir(&path).unwrap();
        let device = |path: &Path| rustix::fs::stat(path).unwrap().st_dev;
        let before = device(&path);
        let mut command = Command::new("bindfs");
        command
            .args(["-f", "--multithreaded", "--enable-lock-forwarding", "-o", CACHES])
            .arg(spool)
            .arg(&path);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        eventually("it is mounted", || (device(&path) != before).then_some(()));
        Self { path, child }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status(); // it goes with the namespace
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As an NFS client does, without `noac`: half a minute and more.
const CACHES: &str = "attr_timeout=30,entry_timeout=30";
