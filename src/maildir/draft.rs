//! A message on its way from `tmp/` into mailboxes.
//!
//! The steps of a delivery are single functions here, in the order of `docs/DISK.md`; `commit` puts them
//! together for many messages at a time.

use std::{fs::File, io::Write, path::PathBuf, time::SystemTime};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    Error, Maildir, Place,
    name::Unique,
    scan::Stamp,
    store::{FILE_MODE, Part, left_out},
};

/// A message in `tmp/`. Not visible to anybody, and rubbish if the power goes now.
#[derive(Debug)]
pub struct Draft {
    file: File,
    name: Unique,
    unfinished: String,
    path: PathBuf,
    bytes: u64,
}

impl Draft {
    /// Begins a message in the `tmp/` of `home` (D1 in docs/DISK.md).
    pub fn begin(home: &Maildir, name: Unique) -> Result<Self, Error> {
        let unfinished = name.unfinished();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = home.path().join("tmp").join(&unfinished);
        let file = fs::openat(home.tmp(), &unfinished, flags, FILE_MODE)
            .map_err(|e| Error::at(&path, "create", e))?;
        Ok(Self { file: File::from(file), name, unfinished, path, bytes: 0 })
    }

    /// Appends to the message.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|e| Error::at(&self.path, "write", e))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Octets written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the content durable (D2). After a failure the kernel may have dropped the data and call the
    /// next fsync a success: the draft must be discarded, never synced again.
    pub fn sync(&self) -> Result<(), Error> {
        if left_out(Part::Contents) {
            return Ok(());
        }
        self.file.sync_all().map_err(|e| Error::at(&self.path, "fsync", e))
    }

    /// What tells its file from every other.
    pub fn stamp(&self) -> Result<Stamp, Error> {
        fs::fstat(&self.file).map(|stat| Stamp::of(&stat)).map_err(|e| Error::at(&self.path, "stat", e))
    }

    /// The name the message will have in `new/`.
    pub fn final_name(&self, octets: u64) -> String {
        self.name.with_sizes(self.bytes, octets)
    }

    /// Makes the message visible in one mailbox of several (D3), under that name. `Ok(false)`: it is on
    /// another file system, or the file has as many names as it can have.
    pub fn link(&self, home: &Maildir, to: &Maildir, place: Place, name: &str) -> Result<bool, Error> {
        match link_once(home, &self.unfinished, to, place, name) {
            Ok(()) => Ok(true),
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(Error::at(to.path().join(place.name()).join(name), "link", error)),
        }
    }

    /// Makes the message visible in its only mailbox, or in the last one (D3): it leaves `tmp/`. Nothing is
    /// overwritten. `Ok(false)`: the mailbox is on another file system. Durable only after [`Maildir::sync`].
    pub fn rename(&self, home: &Maildir, to: &Maildir, place: Place, name: &str) -> Result<bool, Error> {
        match publish(home, &self.unfinished, to, place, name) {
            Ok(()) => Ok(true),
            Err(Errno::XDEV) if home.key() != to.key() => Ok(false),
            Err(Errno::NOENT | Errno::EXIST) if self.is_at(to, place, name) => Ok(true),
            Err(error) => Err(Error::at(to.path().join(place.name()).join(name), "rename", error)),
        }
    }

    /// The same for a message that a process has left durable in `tmp/` before it died. `Ok(false)`: it is not
    /// there.
    pub fn rename_left(maildir: &Maildir, unfinished: &str, place: Place, name: &str) -> Result<bool, Error> {
        match publish(maildir, unfinished, maildir, place, name) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(Error::at(maildir.path().join("tmp").join(unfinished), "rename", error)),
        }
    }

    /// Whether the file of that name is ours. A file server whose answer to a rename was lost is asked again, and
    /// says that the old name is not there, or that the new one is: it is done, if it is.
    fn is_at(&self, to: &Maildir, place: Place, name: &str) -> bool {
        let there = fs::statat(to.dir(place), name, AtFlags::SYMLINK_NOFOLLOW);
        matches!((there, fs::fstat(&self.file)), (Ok(there), Ok(ours))
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino))
    }

    /// Its name in `tmp/`.
    pub fn unfinished(&self) -> &str {
        &self.unfinished
    }

    /// Gives its file a time in the past: when it was delivered for the first time.
    pub fn set_modified(&self, time: SystemTime) -> Result<(), Error> {
        self.file.set_modified(time).map_err(|e| Error::at(&self.path, "set time", e))
    }

    /// The same content in the `tmp/` of a mailbox on another file system.
    pub fn copy(&self, home: &Maildir, to: &Maildir) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = fs::openat(home.tmp(), &self.unfinished, flags, Mode::empty())
            .map_err(|e| Error::at(&self.path, "open", e))?;
        // Something else may have taken its name: a FIFO, or another message.
        let (there, ours) = (fs::fstat(&source), fs::fstat(&self.file));
        if !matches!((there, ours), (Ok(there), Ok(ours)) if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino))
        {
            return Err(Error::at(&self.path, "open", Errno::STALE));
        }
        let mut copy = Self::begin(to, self.name.clone())?;
        match std::io::copy(&mut File::from(source), &mut copy.file) {
            Ok(bytes) => {
                copy.bytes = bytes;
                Ok(copy)
            }
            Err(error) => {
                let error = Error::at(&copy.path, "copy", error);
                copy.discard(to);
                Err(error)
            }
        }
    }

    /// Forgets the message. A file that can't be removed is left to the cleaning of `tmp/`.
    pub fn discard(&self, home: &Maildir) {
        let _ = fs::unlinkat(home.tmp(), &self.unfinished, AtFlags::empty());
    }
}

/// Moves a name from `tmp/` to where messages are. Nothing is overwritten.
fn publish(home: &Maildir, unfinished: &str, to: &Maildir, place: Place, name: &str) -> Result<(), Errno> {
    let (tmp, dir) = (home.tmp(), to.dir(place));
    let mut done = fs::renameat_with(tmp, unfinished, dir, name, RenameFlags::NOREPLACE);
    if let Err(Errno::INVAL | Errno::NOSYS) = done {
        // The file system can't say so in one call.
        done = link_once(home, unfinished, to, place, name);
        if done.is_ok() {
            let _ = fs::unlinkat(tmp, unfinished, AtFlags::empty()); // else tmp/ is cleaned one day
        }
    }
    done
}

/// A second name. A file server whose answer was lost is asked again, and says that the name is there: it is, if
/// it is ours.
fn link_once(home: &Maildir, unfinished: &str, to: &Maildir, place: Place, name: &str) -> Result<(), Errno> {
    let (tmp, dir) = (home.tmp(), to.dir(place));
    let file = |dir, name: &str| {
        let stat = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok::<_, Errno>((stat.st_dev, stat.st_ino))
    };
    match fs::linkat(tmp, unfinished, dir, name, AtFlags::empty()) {
        Err(Errno::EXIST) if file(dir, name)? == file(tmp, unfinished)? => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::maildir::{Spool, name::Namer};

    /// A mailbox, and two messages in its `tmp/`.
    fn two_drafts() -> (tempfile::TempDir, Maildir, [Draft; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let maildir = Spool::open(dir.path()).unwrap().maildir_or_new("box").unwrap();
        let mut namer = Namer::new("mx.example.test", 1);
        let mut draft = || Draft::begin(&maildir, namer.next(SystemTime::now(), 1)).unwrap();
        let drafts = [draft(), draft()];
        (dir, maildir, drafts)
    }

    #[test]
    fn a_link_that_is_there_already_is_good_if_it_is_ours() {
        let (_dir, maildir, [one, other]) = two_drafts();
        for _ in 0..2 {
            assert!(one.link(&maildir, &maildir, Place::New, "name").unwrap());
        }
        assert!(other.link(&maildir, &maildir, Place::New, "name").is_err());
    }

    #[test]
    fn a_rename_that_is_done_already_is_good_if_it_is_ours() {
        let (_dir, maildir, [one, other]) = two_drafts();
        for _ in 0..2 {
            assert!(one.rename(&maildir, &maildir, Place::New, "name").unwrap());
        }
        assert!(other.rename(&maildir, &maildir, Place::New, "name").is_err());
        other.discard(&maildir);
        assert!(other.rename(&maildir, &maildir, Place::New, "other").is_err());
    }
}
