//! A file system of its own in a file, that can lose its power: mounted through a loop device, and ended by
//! the ioctl that xfstests use for the same purpose.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use rustix::ioctl::{Setter, ioctl};

use crate::outage::Wrong;

/// The file systems that a power cut can be played on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ext4,
    Xfs,
}

impl Kind {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "ext4" => Some(Self::Ext4),
            "xfs" => Some(Self::Xfs),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// The programs that make the file system, and that check it without a change.
    pub(crate) fn programs(self) -> [&'static str; 2] {
        match self {
            Self::Ext4 => ["mkfs.ext4", "e2fsck"],
            Self::Xfs => ["mkfs.xfs", "xfs_repair"],
        }
    }

    fn check(self) -> [&'static str; 2] {
        match self {
            Self::Ext4 => ["e2fsck", "-fn"],
            Self::Xfs => ["xfs_repair", "-n"],
        }
    }
}

/// The state of the disk after the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Data that was not yet on the disk is lost.
    Hard = 2,
    /// The journal is written to its end first, so that names without contents are found.
    AfterJournal = 1,
}

pub(crate) struct Disk {
    kind: Kind,
    image: PathBuf,
    mount: PathBuf,
    mounted: bool,
}

impl Disk {
    /// Makes the file system below `home`, and mounts it.
    pub(crate) fn new(kind: Kind, home: &Path) -> Result<Self, String> {
        let (image, mount) = (home.join("disk.img"), home.join("disk"));
        File::create(&image).and_then(|file| file.set_len(BYTES)).map_err(|e| format!("disk image: {e}"))?;
        fs::create_dir_all(&mount).map_err(|e| format!("mount point: {e}"))?;
        run(Command::new(kind.programs()[0]).arg("-q").arg(&image))?;
        let mut disk = Self { kind, image, mount, mounted: false };
        disk.mount()?;
        Ok(disk)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.mount
    }

    /// Mounts it; the file system recovers from its journal, as after a reboot.
    pub(crate) fn mount(&mut self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).args([&self.image, &self.mount]))?;
        self.mounted = true;
        Ok(())
    }

    pub(crate) fn unmount(&mut self) -> Result<(), String> {
        let mut done = Ok(());
        for _ in 0..500 {
            done = run(Command::new("umount").arg(&self.mount));
            if done.is_ok() {
                self.mounted = false;
                break;
            }
            thread::sleep(Duration::from_millis(20)); // a killed process may still be closing its files
        }
        done
    }

    /// Takes the file system away: from now on every call on it fails.
    pub(crate) fn cut(&self, how: Cut) -> io::Result<()> {
        const FS_IOC_SHUTDOWN: u32 = 0x8004_587d;
        let root = File::open(&self.mount)?;
        // SAFETY: the call reads one u32 through the pointer, and `Setter` has one for as long as it lasts.
        #[allow(unsafe_code, reason = "rustix has no name for this call")]
        let done = unsafe { ioctl(&root, Setter::<{ FS_IOC_SHUTDOWN as _ }, u32>::new(how as u32)) };
        done.map_err(Into::into)
    }

    /// Whether the file system itself is sound. It must not be mounted.
    pub(crate) fn check(&self) -> Option<Wrong> {
        let [program, argument] = self.kind.check();
        run(Command::new(program).arg(argument).arg(&self.image)).err().map(|e| Wrong::new("file system", e))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted
            && let Err(error) = self.unmount()
        {
            eprintln!("{} stays mounted: {error}", self.mount.display());
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}\n{said}", output.status)) }
}

/// XFS takes no less than 300 MiB.
const BYTES: u64 = 320 << 20;
