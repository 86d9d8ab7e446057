//! A mailbox or folder that is open for the check, complete or not.

use std::{
    ffi::{OsStr, OsString},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, Mode, OFlags},
    io::Errno,
};

use super::finding::Dir;
use crate::maildir::{
    Error, Spool,
    directory::{directories, not_opened},
};

/// An open mailbox or folder, complete or not.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(super) path: PathBuf,
    pub(super) root: OwnedFd,
    /// `tmp`, `new` and `cur`, if they exist.
    parts: [Option<OwnedFd>; 3],
    /// User id of the mailbox's owner.
    pub(super) owner: u32,
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
        let root = open_directory(above, name).map_err(|error| not_opened(above, name, &path, error))?;
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

    /// The same mailbox with its directories opened again, after a change of their modes.
    pub(crate) fn reopened(&self) -> Result<Option<Self>, Error> {
        Self::open_in(&self.root, self.path.clone(), OsStr::new("."))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// True for a folder of a mailbox.
    pub(super) fn is_folder(&self) -> bool {
        self.path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."))
    }

    /// Names of the directories in it that look like folders.
    pub(crate) fn folders(&self) -> Result<Vec<OsString>, Error> {
        let mut folders = directories(&self.root, &self.path)?;
        folders.retain(|name| name.as_bytes().starts_with(b"."));
        folders.sort();
        Ok(folders)
    }

    pub(super) fn dir(&self, dir: Dir) -> Option<&OwnedFd> {
        match dir {
            Dir::Root => Some(&self.root),
            Dir::Tmp => self.parts[0].as_ref(),
            Dir::New => self.parts[1].as_ref(),
            Dir::Cur => self.parts[2].as_ref(),
        }
    }

    pub(super) fn path_of(&self, dir: Dir, name: &[u8]) -> PathBuf {
        let dir = if dir == Dir::Root { self.path.clone() } else { self.path.join(dir.name()) };
        if name == b"." { dir } else { dir.join(OsStr::from_bytes(name)) }
    }
}

pub(super) fn open_directory(at: impl std::os::fd::AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(at, name, flags, Mode::empty())
}
