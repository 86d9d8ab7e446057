//! Directories and deliveries: the spool, its Maildirs, and a message on its way from `tmp/` to `new/`.
//!
//! The steps of a delivery are single functions here, in the order of `docs/DISK.md`; `commit` puts them
//! together for many messages at a time.

use std::{
    fs::File,
    io::Write,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    error::{Error, Kind},
    lock::Lock,
    name::Unique,
    scan::Stamp,
};

/// The directory that holds the mailboxes.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    dir: OwnedFd,
    device: u64,
}

/// One mailbox: its directories, held open, so that nothing that happens to the path above them can send a
/// message elsewhere.
#[derive(Debug)]
pub struct Maildir {
    path: PathBuf,
    /// Device and inode of the mailbox.
    id: (u64, u64),
    root: OwnedFd,
    tmp: OwnedFd,
    new: OwnedFd,
    cur: OwnedFd,
}

/// One of the two directories that hold messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Delivered, and not yet seen by a mail reader.
    New,
    /// Seen.
    Cur,
}

impl Place {
    /// Both, in the order in which a message goes through them.
    pub const BOTH: [Self; 2] = [Self::New, Self::Cur];

    /// The name of the directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Cur => "cur",
        }
    }
}

/// The two parts of a message that are made durable one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What is in its file (D2 in docs/DISK.md).
    Contents,
    /// Where its file is found (D4).
    Names,
}

impl Spool {
    /// Opens the spool, making the directory if need be (its parent must exist).
    pub fn open(path: &Path) -> Result<Self, Error> {
        make_directory(fs::CWD, path, path)?;
        let dir = open_directory(fs::CWD, path, path)?;
        let (device, _) = id_of(&dir, path)?;
        Ok(Self { path: path.to_owned(), dir, device })
    }

    /// Locks the spool for this process. An error of kind `Locked`: another one has it, and has not let go of
    /// it within `patience`.
    pub fn lock(&self, patience: Duration) -> Result<Lock, Error> {
        let began = Instant::now();
        loop {
            match Lock::take_in(&self.dir, &self.path) {
                Err(error) if error.kind() == Kind::Locked && began.elapsed() < patience => {
                    thread::sleep(patience / 20);
                }
                done => return done,
            }
        }
    }

    /// Opens a mailbox. `name` is one path component that is known to be harmless.
    pub fn maildir(&self, name: &str) -> Result<Maildir, Error> {
        let path = self.path.join(name);
        Maildir::at(open_directory(&self.dir, name, &path)?, path)
    }

    /// Opens a folder of a mailbox: a Maildir in the mailbox's own directory, never behind a link. Both names
    /// are one path component that is known to be harmless.
    pub fn folder(&self, name: &str, folder: &str) -> Result<Maildir, Error> {
        let home = self.path.join(name);
        let path = home.join(folder);
        let home = open_directory(&self.dir, name, &home)?;
        Maildir::at(open_directory(&home, folder, &path)?, path)
    }

    /// Opens a mailbox, making what is missing of it. What it makes is durable when it returns.
    pub fn maildir_or_new(&self, name: &str) -> Result<Maildir, Error> {
        match self.maildir(name) {
            Err(error) if error.kind() == Kind::Gone => {}
            done => return done,
        }
        let path = self.path.join(name);
        make_directory(&self.dir, name, &path)?;
        let root = open_directory(&self.dir, name, &path)?;
        for part in ["tmp", "new", "cur"] {
            make_directory(&root, part, &path.join(part))?;
        }
        let maildir = self.maildir(name)?;
        if let Err(error) = self.sync_new(&maildir) {
            // Without a tmp/ nobody takes the mailbox for a finished one, and the next who wants it syncs it.
            let _ = fs::unlinkat(&root, "tmp", AtFlags::REMOVEDIR); // the error to tell is the first one
            return Err(error);
        }
        Ok(maildir)
    }

    /// Makes a mailbox durable that was made shortly before `now`: who made it may have been killed before it
    /// came to that, or never meant to.
    pub fn sync_if_new(&self, maildir: &Maildir, now: SystemTime) -> Result<(), Error> {
        let stat = fs::fstat(&maildir.root).map_err(|e| Error::at(&maildir.path, "stat", e))?;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let old = u64::try_from(stat.st_ctime).unwrap_or(0).saturating_add(WRITTEN_WITHIN) < now;
        if old { Ok(()) } else { self.sync_new(maildir) }
    }

    /// Makes all directories of a new mailbox durable, and its name.
    fn sync_new(&self, maildir: &Maildir) -> Result<(), Error> {
        for (dir, what) in [
            (&maildir.tmp, maildir.path.join("tmp")),
            (&maildir.new, maildir.path.join("new")),
            (&maildir.cur, maildir.path.join("cur")),
            (&maildir.root, maildir.path.clone()),
            (&self.dir, self.path.clone()),
        ] {
            sync_directory(dir, &what)?;
        }
        Ok(())
    }

    /// Whether `maildir` is still what the path of the mailbox leads to, or of a folder of it, with all its
    /// directories: it may have been removed or replaced since it was opened.
    pub fn still_has(&self, name: &str, folder: Option<&str>, maildir: &Maildir) -> bool {
        let there = match folder {
            None => leads_to(&self.dir, name, &maildir.root),
            Some(folder) => open_directory(&self.dir, name, &self.path)
                .is_ok_and(|home| leads_to(&home, folder, &maildir.root)),
        };
        there && maildir.is_whole()
    }

    /// Whether `maildir` is on the spool's own file system.
    pub fn holds(&self, maildir: &Maildir) -> bool {
        maildir.id.0 == self.device
    }

    /// Whether one sync of the whole file system is known to make files and names durable here.
    pub fn syncs_as_a_whole(&self) -> bool {
        fs::fstatfs(&self.dir).is_ok_and(|stat| [EXT4, XFS].contains(&(stat.f_type as u64 & 0xffff_ffff)))
    }

    /// Syncs the whole file system that holds the spool, for the sake of one part of the messages.
    pub fn sync(&self, part: Part) -> Result<(), Error> {
        if left_out(part) {
            return Ok(());
        }
        fs::syncfs(&self.dir).map_err(|e| Error::at(&self.path, "syncfs", e))
    }

    /// Octets that an unprivileged process may still write on the spool's file system.
    pub fn free(&self) -> Result<u64, Error> {
        let stat = fs::fstatvfs(&self.dir).map_err(|e| Error::at(&self.path, "statvfs", e))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// How many directories of the spool may be mailboxes.
    pub fn count(&self) -> Result<usize, Error> {
        Ok(directories(&self.path)?.count())
    }

    /// Every mailbox and every folder of one, those that can't be opened as errors. Other directories are
    /// passed over.
    pub fn maildirs(&self) -> impl Iterator<Item = Result<Maildir, Error>> {
        let mailboxes = names(&self.path, |name| !name.starts_with('.'));
        mailboxes
            .into_iter()
            .flat_map(|mailbox| {
                let folders = names(&self.path.join(&mailbox), |name| name.starts_with('.'));
                let folders = folders.into_iter().map(|folder| self.folder(&mailbox, &folder));
                std::iter::once(self.maildir(&mailbox)).chain(folders).collect::<Vec<_>>()
            })
            .filter(|maildir| !maildir.as_ref().is_err_and(|error| error.kind() == Kind::Gone))
    }
}

fn directories(path: &Path) -> Result<impl Iterator<Item = std::fs::DirEntry>, Error> {
    let entries = std::fs::read_dir(path).map_err(|e| Error::at(path, "read directory", e))?;
    Ok(entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())))
}

/// The names of the directories that are such ones; none if they can't be read.
fn names(path: &Path, such: impl Fn(&str) -> bool) -> Vec<String> {
    let all =
        directories(path).into_iter().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    all.filter(|name| such(name)).collect()
}

impl Maildir {
    fn at(root: OwnedFd, path: PathBuf) -> Result<Self, Error> {
        let below = |name: &str| open_directory(&root, name, &path.join(name));
        let (tmp, new, cur) = (below("tmp")?, below("new")?, below("cur")?);
        Ok(Self { id: id_of(&root, &path)?, path, root, tmp, new, cur })
    }

    /// Where it is, for messages to people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What tells this mailbox from every other.
    pub fn key(&self) -> (u64, u64) {
        self.id
    }

    /// What tells the directory of one place from every other: device and inode.
    pub fn key_of(&self, place: Place) -> Result<(u64, u64), Error> {
        id_of(self.dir(place), &self.path.join(place.name()))
    }

    /// Whether the directories below it are still the ones that are open.
    pub fn is_whole(&self) -> bool {
        let parts = [("tmp", &self.tmp), ("new", &self.new), ("cur", &self.cur)];
        parts.into_iter().all(|(name, dir)| leads_to(&self.root, name, dir))
    }

    /// Whether other machines may change it, of which this one's kernel tells nobody.
    pub fn is_remote(&self) -> bool {
        fs::fstatfs(&self.root).is_ok_and(|stat| REMOTE.contains(&(stat.f_type as u64 & 0xffff_ffff)))
    }

    /// The directory of one place.
    pub fn dir(&self, place: Place) -> &OwnedFd {
        match place {
            Place::New => &self.new,
            Place::Cur => &self.cur,
        }
    }

    /// The directory of messages on their way.
    pub fn tmp(&self) -> &OwnedFd {
        &self.tmp
    }

    /// The Maildir itself, for files beside the messages.
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Begins a message in `tmp/` (D1 in docs/DISK.md).
    pub fn draft(&self, name: Unique) -> Result<Draft, Error> {
        let unfinished = name.unfinished();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = self.path.join("tmp").join(&unfinished);
        let file = fs::openat(&self.tmp, &unfinished, flags, FILE_MODE)
            .map_err(|e| Error::at(&path, "create", e))?;
        Ok(Draft { file: File::from(file), name, unfinished, path, bytes: 0 })
    }

    /// Makes all changes to the names in `new/` or `cur/` durable.
    pub fn sync(&self, place: Place) -> Result<(), Error> {
        if left_out(Part::Names) {
            return Ok(());
        }
        sync_directory(self.dir(place), &self.path.join(place.name()))
    }

    /// Takes a message out of `new/` that was not acknowledged after all.
    pub fn withdraw(&self, name: &str) -> Result<(), Error> {
        fs::unlinkat(&self.new, name, AtFlags::empty())
            .map_err(|e| Error::at(self.path.join("new").join(name), "unlink", e))
    }
}

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

    /// Makes the message visible in a further mailbox on the same file system, under the name it will have
    /// in its own. `Ok(false)`: it is on another one, or the file has as many names as it can have.
    pub fn link(&self, home: &Maildir, to: &Maildir, name: &str) -> Result<bool, Error> {
        match fs::linkat(&home.tmp, &self.unfinished, &to.new, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(Error::at(to.path.join("new").join(name), "link", error)),
        }
    }

    /// The same content in the `tmp/` of a mailbox on another file system.
    pub fn copy(&self, home: &Maildir, to: &Maildir) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = fs::openat(&home.tmp, &self.unfinished, flags, Mode::empty())
            .map_err(|e| Error::at(&self.path, "open", e))?;
        let mut copy = to.draft(self.name.clone())?;
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

    /// Makes the message visible in its own mailbox (D3). Durable only after [`Maildir::sync`].
    pub fn publish(self, home: &Maildir, name: &str) -> Result<(), Error> {
        let Err(error) = self.rename(home, name) else { return Ok(()) };
        let error = Error::at(home.path.join("new").join(name), "rename", error);
        self.discard(home);
        Err(error)
    }

    /// Renames without overwriting, also where the file system can't say so in one call.
    fn rename(&self, home: &Maildir, name: &str) -> Result<(), Errno> {
        match fs::renameat_with(&home.tmp, &self.unfinished, &home.new, name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::linkat(&home.tmp, &self.unfinished, &home.new, name, AtFlags::empty())?;
                fs::unlinkat(&home.tmp, &self.unfinished, AtFlags::empty())
            }
            done => done,
        }
    }

    /// Forgets the message. A file that can't be removed is left to the cleaning of `tmp/`.
    pub fn discard(self, home: &Maildir) {
        let _ = fs::unlinkat(&home.tmp, &self.unfinished, AtFlags::empty());
    }
}

/// Whether that name is the open directory.
fn leads_to(at: &OwnedFd, name: &str, open: &OwnedFd) -> bool {
    let Ok(open) = fs::fstat(open) else { return false };
    fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|there| (there.st_dev, there.st_ino) == (open.st_dev, open.st_ino))
}

fn id_of(dir: &OwnedFd, path: &Path) -> Result<(u64, u64), Error> {
    let stat = fs::fstat(dir).map_err(|e| Error::at(path, "stat", e))?;
    Ok((stat.st_dev, stat.st_ino))
}

fn make_directory(at: impl AsFd, name: impl rustix::path::Arg, path: &Path) -> Result<(), Error> {
    match fs::mkdirat(at, name, DIRECTORY_MODE) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(Error::at(path, "make directory", error)),
    }
}

fn open_directory(at: impl AsFd, name: impl rustix::path::Arg, path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(at, name, flags, Mode::empty()).map_err(|e| Error::at(path, "open directory", e))
}

/// Makes the names in a directory durable. XFS that has shut itself down, after an error of its disk, has
/// nothing left to write and calls that a success; asked for the state of a file, it admits the shutdown.
fn sync_directory(dir: &OwnedFd, path: &Path) -> Result<(), Error> {
    let failed = |e: Errno| Error::at(path, "fsync directory", e);
    fs::fsync(dir).map_err(failed)?;
    fs::fstat(dir).map(drop).map_err(failed)
}

/// Whether the sync of that part is left out: never, but in a build that shows that the power-cut test would
/// see it.
#[cfg(not(feature = "mutations"))]
fn left_out(_: Part) -> bool {
    false
}

#[cfg(feature = "mutations")]
fn left_out(part: Part) -> bool {
    static LEFT_OUT: std::sync::OnceLock<Option<Part>> = std::sync::OnceLock::new();
    *LEFT_OUT.get_or_init(|| match std::env::var("RESTANTE_MUTATION").as_deref() {
        Ok("no-file-sync") => Some(Part::Contents),
        Ok("no-name-sync") => Some(Part::Names),
        _ => None,
    }) == Some(part)
}

/// Seconds after which the kernel has written a directory by itself.
const WRITTEN_WITHIN: u64 = 120;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIRECTORY_MODE: Mode = Mode::RWXU;
/// What `statfs` calls the file systems whose `syncfs` was measured and cut (linux/magic.h).
const EXT4: u64 = 0xef53;
const XFS: u64 = 0x5846_5342;
/// What `statfs` calls file systems whose files others may change: NFS, SMB (three names), Ceph, AFS, 9P,
/// FUSE, GFS2, OCFS2.
const REMOTE: [u64; 10] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x00c3_6400,
    0x5346_414f,
    0x0102_1997,
    0x6573_5546,
    0x0116_1970,
    0x7461_636f,
];
