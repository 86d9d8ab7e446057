//! Looks for what is wrong in a mailbox, and mends what can be mended beside running servers and other programs.
//!
//! The rule: nothing is written unless it is asked for, no mail is ever deleted, no name ever taken from another
//! file, and a file is only touched while it is the one that was looked at. To mend twice is to mend once.

mod mend;
mod names;
mod problem;
mod walk;

use std::{
    ffi::{CString, OsStr, OsString},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

pub use names::{check as check_name, told as told_in_name};
pub use problem::Problem;
use rustix::{
    fs::{self, Mode, OFlags},
    io::Errno,
};

use crate::maildir::{Error, Spool, store::directories};

/// Something that is wrong.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub problem: Problem,
    /// How it shows.
    pub detail: String,
    /// What can be done about it.
    pub mend: Mend,
    spot: Spot,
}

/// What can be done about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// Nothing that is safe; what a person may do.
    ByHand(&'static str),
    /// The file gets that name, in the same directory.
    Rename(Vec<u8>),
    /// The file is removed: it is no mail.
    Remove,
    /// It gets that mode.
    Mode(u32),
    /// The directory is made.
    MakeDirectory,
}

/// Which file it is, for the mending.
#[derive(Debug, Clone)]
struct Spot {
    dir: Dir,
    name: CString,
    /// 0: there is none.
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

/// A mailbox or a folder that is looked at, whole or not.
#[derive(Debug)]
pub struct Mailbox {
    path: PathBuf,
    root: OwnedFd,
    /// `tmp`, `new`, `cur`, those that are there.
    parts: [Option<OwnedFd>; 3],
    /// The user who has the mailbox.
    owner: u32,
}

/// What was found in a mailbox.
#[derive(Debug, Default)]
pub struct Report {
    /// Message files that were looked at.
    pub messages: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Mailbox {
    /// Opens a directory of the spool that is, or should be, a mailbox. `None`: it has nothing of a Maildir.
    pub fn open(spool: &Spool, name: &OsStr) -> Result<Option<Self>, Error> {
        Self::open_in(spool.dir(), spool.path().join(name), name)
    }

    /// The same with a folder of it. Links are not followed, at no step of the way.
    pub fn folder(&self, name: &OsStr) -> Result<Option<Self>, Error> {
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
                Err(_) => there = true, // told by the walk
            }
        }
        Ok(there.then(|| Self { path, root, parts, owner: stat.st_uid }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the directories in it that are folders, or look like ones.
    pub fn folders(&self) -> Result<Vec<OsString>, Error> {
        let mut folders = directories(&self.root, &self.path)?;
        folders.retain(|name| name.as_bytes().starts_with(b"."));
        folders.sort();
        Ok(folders)
    }

    /// Looks at everything in it. Files that lie in `tmp/` for longer than `age` before `now` are stale.
    pub fn look(&self, now: SystemTime, age: Duration) -> Result<Report, Error> {
        walk::look(self, now, age)
    }

    /// Does what is to be done about these findings of this mailbox; durable when it returns. For each of them
    /// whether it was done.
    pub fn mend(&self, findings: &[Finding]) -> Vec<Result<(), Error>> {
        mend::mend(self, findings)
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
    /// A mailbox, or a directory of one, that can't be looked at.
    pub fn unusable(path: &Path, error: &Error) -> Self {
        Self {
            path: path.to_owned(),
            problem: Problem::ClosedToOwner,
            detail: error.to_string(),
            mend: Mend::ByHand("see who owns it, and its mode"),
            spot: Spot { dir: Dir::Root, name: CString::default(), inode: 0 },
        }
    }

    /// What `--fix` does about it, or a person may.
    pub fn advice(&self) -> String {
        match &self.mend {
            Mend::ByHand(advice) => (*advice).to_owned(),
            Mend::Rename(name) => format!("--fix renames it to {}", shown(name)),
            Mend::Remove => "--fix removes it".into(),
            Mend::Mode(mode) => format!("--fix sets its mode to {mode:04o}"),
            Mend::MakeDirectory => "--fix makes it".into(),
        }
    }

    /// What `--fix` has done about it.
    pub fn done(&self) -> String {
        match &self.mend {
            Mend::ByHand(_) => "nothing".into(),
            Mend::Rename(name) => format!("renamed to {}", shown(name)),
            Mend::Remove => "removed".into(),
            Mend::Mode(mode) => format!("mode set to {mode:04o}"),
            Mend::MakeDirectory => "made".into(),
        }
    }

    /// Whether it can be mended.
    pub fn is_mendable(&self) -> bool {
        !matches!(self.mend, Mend::ByHand(_))
    }
}

/// A name of octets, for people: what is no printable ASCII is escaped.
pub fn shown(name: &[u8]) -> String {
    name.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

fn open_directory(at: impl std::os::fd::AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(at, name, flags, Mode::empty())
}
