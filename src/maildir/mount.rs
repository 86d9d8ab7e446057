//! The mount that a directory is on: its file system, and the options that matter to mail.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
};

use rustix::fs::{self as sys, Mode, OFlags};

/// A mount of this process's view of the file systems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountInfo {
    /// The type of the file system, like `ext4`.
    pub kind: String,
    /// The place of the mount.
    pub place: PathBuf,
    options: Vec<String>,
}

impl MountInfo {
    /// The mount of an open directory. `None` if `/proc` does not tell.
    pub fn of(dir: impl AsFd) -> Option<Self> {
        let about = format!("/proc/self/fdinfo/{}", dir.as_fd().as_raw_fd());
        let about = fs::read_to_string(about).ok()?;
        let id = about.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
        Self::find(&fs::read_to_string("/proc/self/mountinfo").ok()?, id)
    }

    /// The mount that a directory is on, or will be on when it is made.
    pub fn at(path: &Path) -> Option<Self> {
        let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let open = |path: &Path| {
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            sys::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(io::Error::from)
        };
        let mut opened = path.ancestors().map(open);
        Self::of(opened.find(|opened| !opened.as_ref().is_err_and(is_missing))?.ok()?)
    }

    /// Finds the mount with that number in the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
    fn find(mounts: &str, id: &str) -> Option<Self> {
        let line = mounts.lines().find(|line| line.split(' ').next() == Some(id))?;
        let (mount, super_block) = line.split_once(" - ")?;
        let place = mount.split(' ').nth(4)?;
        let mut super_block = super_block.split(' ');
        let (kind, options) = (super_block.next()?, super_block.nth(1)?);
        Some(Self {
            kind: kind.to_owned(),
            place: unescape(place),
            options: options.split(',').map(str::to_owned).collect(),
        })
    }

    /// The options that say when the file system writes what: of the journal, and of barriers.
    pub fn durability_options(&self) -> Vec<&str> {
        self.options
            .iter()
            .map(String::as_str)
            .filter(|&it| it.starts_with("data=") || is_no_barrier(it))
            .collect()
    }

    /// Whether a sync ends before the disk has emptied its cache, so that a power cut may take what was synced.
    pub fn has_no_barriers(&self) -> bool {
        self.options.iter().any(|option| is_no_barrier(option))
    }
}

fn is_no_barrier(option: &str) -> bool {
    ["nobarrier", "barrier=0"].contains(&option)
}

/// Blanks and backslashes of a place are octal numbers there.
fn unescape(place: &str) -> PathBuf {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    pairs.iter().fold(place.to_owned(), |place, (from, to)| place.replace(from, to)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw\n\
                          28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,discard,errors=remount-ro\n\
                          341 28 7:0 / /var/spool/the\\040mail rw,noatime - ext4 /dev/loop0 rw,nobarrier,data=writeback\n\
                          34 28 7:1 / /srv rw - ext3 /dev/loop1 rw,barrier=0\n";

    #[test]
    fn m32_the_options_that_matter_are_those_of_the_mount_with_that_number() {
        let find = |id| MountInfo::find(MOUNTS, id).unwrap();
        assert_eq!((find("28").durability_options(), find("28").has_no_barriers()), (vec![], false));
        let mail = find("341");
        assert_eq!((mail.kind.as_str(), mail.place.as_path()), ("ext4", Path::new("/var/spool/the mail")));
        assert_eq!(
            (mail.durability_options(), mail.has_no_barriers()),
            (vec!["nobarrier", "data=writeback"], true)
        );
        assert!(find("34").has_no_barriers());
        assert_eq!(MountInfo::find(MOUNTS, "3"), None);
    }

    #[test]
    fn m32_the_mount_of_a_directory_that_is_not_there_yet_is_that_of_the_one_above() {
        let home = tempfile::tempdir().unwrap();
        let here = MountInfo::at(home.path());
        assert!(here.is_some());
        assert_eq!(MountInfo::at(&home.path().join("new/spool")), here);
        assert_ne!(MountInfo::at(Path::new("/proc/self")), here);
    }
}
