//! Finds problems in a mailbox, and repairs those that can be repaired beside running servers and other
//! programs.
//!
//! The rule: it writes only on request, never deletes mail, never overwrites a name, and changes a file only
//! while it is still the file it examined. A second repair changes nothing.

mod check;
mod name_check;
mod problem;
mod repair;

use std::{
    ffi::{CString, OsStr, OsString},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

pub(crate) use name_check::{check as check_name, number_in_name};
pub(crate) use problem::Problem;
use rustix::{
    fs::{self, Mode, OFlags},
    io::Errno,
};

use crate::maildir::{Error, Spool, store::directories};

/// A problem of one file or directory.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub path: PathBuf,
    pub problem: Problem,
    /// The evidence.
    pub detail: String,
    /// The repair.
    pub repair: Repair,
    file: FileRef,
}

/// The repair of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Repair {
    /// No safe repair; the advice for a person.
    Manual(&'static str),
    /// Rename the file in its directory.
    Rename(Vec<u8>),
    /// Remove the file, which is not mail.
    Remove,
    /// Set the mode.
    Mode(u32),
    /// Create the directory.
    MakeDirectory,
}

/// The file to repair.
#[derive(Debug, Clone)]
struct FileRef {
    dir: Dir,
    name: CString,
    /// 0 if it does not exist.
    inode: u64,
}

/// A directory of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dir {
    Root,
    Tmp,
    New,
    Cur,
}

impl Dir {
    const PARTS: [Self; 3] = [Self::Tmp, Self::New, Self::Cur];

    fn name(self) -> &'static str {
        match self {
            Self::Root => ".",
            Self::Tmp => "tmp",
            Self::New => "new",
            Self::Cur => "cur",
        }
    }
}

/// An open mailbox or folder, complete or not.
#[derive(Debug)]
pub(crate) struct Mailbox {
    path: PathBuf,
    root: OwnedFd,
    /// `tmp`, `new` and `cur`, if they exist.
    parts: [Option<OwnedFd>; 3],
    /// User id of the mailbox's owner.
    owner: u32,
}

/// The result of a check.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Number of message files checked.
    pub messages: u64,
    pub findings: Vec<Finding>,
}

impl Mailbox {
    /// Opens a directory of the spool that is, or should be, a mailbox. `None` if it has no part of a
    /// Maildir.
    pub(crate) fn open(spool: &Spool, name: &OsStr) -> Result<Option<Self>, Error> {
        Self::open_in(spool.dir(), spool.path().join(name), name)
    }

    /// Opens a folder of the mailbox. No component of the path may be a link.
    pub(crate) fn folder(&self, name: &OsStr) -> Result<Option<Self>, Error> {
        Self::open_in(&self.root, self.path.join(name), name)
    }

    fn open_in(above: &OwnedFd, path: PathBuf, name: &OsStr) -> Result<Option<Self>, Error> {
        let root = open_directory(above, name).map_err(|e| Error::at(&path, "open directory", e))?;
        let stat = fs::fstat(&root).map_err(|e| Error::at(&path, "stat", e))?;
        let mut there = false;
        let mut parts = [None, None, None];
        for (dir, part) in Dir::PARTS.into_iter().zip(&mut parts) {
            match open_directory(&root, OsStr::new(dir.name())) {
                Ok(fd) => {
                    *part = Some(fd);
                    there = true;
                }
                Err(Errno::NOENT) => {}
                Err(_) => there = true, // reported by the walk
            }
        }
        Ok(there.then(|| Self { path, root, parts, owner: stat.st_uid }))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the directories in it that look like folders.
    pub(crate) fn folders(&self) -> Result<Vec<OsString>, Error> {
        let mut folders = directories(&self.root, &self.path)?;
        folders.retain(|name| name.as_bytes().starts_with(b"."));
        folders.sort();
        Ok(folders)
    }

    /// Checks the whole mailbox. Files in `tmp/` are stale once they are older than `age` at `now`.
    pub(crate) fn check(&self, now: SystemTime, age: Duration) -> Result<Report, Error> {
        check::check(self, now, age)
    }

    /// Repairs these findings of this mailbox, durably. Returns one result for each.
    pub(crate) fn repair(&self, findings: &[Finding]) -> Vec<Result<(), Error>> {
        repair::repair(self, findings)
    }

    fn dir(&self, dir: Dir) -> Option<&OwnedFd> {
        match dir {
            Dir::Root => Some(&self.root),
            Dir::Tmp => self.parts[0].as_ref(),
            Dir::New => self.parts[1].as_ref(),
            Dir::Cur => self.parts[2].as_ref(),
        }
    }

    fn path_of(&self, dir: Dir, name: &[u8]) -> PathBuf {
        let dir = if dir == Dir::Root { self.path.clone() } else { self.path.join(dir.name()) };
        if name == b"." { dir } else { dir.join(OsStr::from_bytes(name)) }
    }
}

impl Finding {
    /// The finding for a mailbox, or a directory of one, that cannot be opened.
    pub(crate) fn unusable(path: &Path, error: &Error) -> Self {
        Self {
            path: path.to_owned(),
            problem: Problem::ClosedToOwner,
            detail: error.to_string(),
            repair: Repair::Manual("check its owner and its mode"),
            file: FileRef { dir: Dir::Root, name: CString::default(), inode: 0 },
        }
    }

    /// The repair that `--fix` would make, or the advice for a person.
    pub(crate) fn advice(&self) -> String {
        match &self.repair {
            Repair::Manual(advice) => (*advice).to_owned(),
            Repair::Rename(name) => format!("--fix renames it to {}", shown(name)),
            Repair::Remove => "--fix removes it".into(),
            Repair::Mode(mode) => format!("--fix sets its mode to {mode:04o}"),
            Repair::MakeDirectory => "--fix creates it".into(),
        }
    }

    /// The repair that `--fix` has made.
    pub(crate) fn repaired_text(&self) -> String {
        match &self.repair {
            Repair::Manual(_) => "nothing".into(),
            Repair::Rename(name) => format!("renamed to {}", shown(name)),
            Repair::Remove => "removed".into(),
            Repair::Mode(mode) => format!("mode set to {mode:04o}"),
            Repair::MakeDirectory => "created".into(),
        }
    }

    pub(crate) fn is_repairable(&self) -> bool {
        !matches!(self.repair, Repair::Manual(_))
    }
}

/// A file name for display: octets that are not printable ASCII are escaped.
pub(crate) fn shown(name: &[u8]) -> String {
    name.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

fn open_directory(at: impl std::os::fd::AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(at, name, flags, Mode::empty())
}
