//! Directories: the spool, its Maildirs and their folders.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, StatVfsMountFlags},
    io::Errno,
    process::geteuid,
    system::uname,
};

use super::{
    directory::{
        FILE_MODE, directories, id_of, is_same_directory, make_directory, names_of_kind, open_directory,
        remove, sync_directory,
    },
    entry::{PARTS, Subdir, has_all_parts},
    error::{Error, Kind},
    fault_points::fault_point,
    folder_name::is_same_but_for_case,
    sync_phase::{SyncPart, is_sync_skipped},
    unnamed_file::{self, EXT4, XFS},
};
use crate::{deferred_drop::DeferredFd, local_fs::is_one_of};

/// The directory that holds the mailboxes.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    dir: DeferredFd,
    /// Device and inode, which tell a replaced directory from this one.
    id: (u64, u64),
}

/// The room on a file system for an unprivileged process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// The file system is mounted read-only.
    ReadOnly,
    /// So many octets.
    Octets(u64),
}

impl Room {
    /// Octets below which a disk counts as full: a message needs some blocks for its file and for its name.
    pub const LEAST: u64 = 64 * 1024;

    /// The octets that may still be written.
    pub fn octets(self) -> u64 {
        match self {
            Self::ReadOnly => 0,
            Self::Octets(octets) => octets,
        }
    }
}

/// One mailbox. It holds its directories open, so that no change to the path above them can send a message elsewhere.
#[derive(Debug)]
pub struct Maildir {
    path: PathBuf,
    /// Device and inode of the mailbox.
    id: (u64, u64),
    /// The same of `tmp/`, `new/` and `cur/`.
    part_ids: [(u64, u64); 3],
    root: DeferredFd,
    tmp: Arc<DeferredFd>,
    new: DeferredFd,
    cur: DeferredFd,
    has_cached_reads: bool,
}

impl Spool {
    /// Opens the spool, making the directory if need be (its parent must exist). What it makes is durable when
    /// it returns. The operator has named the path, so a link there is followed; by root only if root has made it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if make_directory(fs::CWD, path, path)? {
            let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = fs::open(above, flags, Mode::empty()).map(DeferredFd::from);
            let dir = dir.map_err(|e| Error::at(above, "open directory", e))?;
            sync_directory(&dir, above)?;
        }
        Self::open_existing(path)
    }

    /// Whether a directory has a sign of a spool: a file of a server, a mailbox of an address, or a whole Maildir.
    pub fn has_sign_of_one(path: &Path) -> io::Result<bool> {
        let is_sign = |name: &str| {
            name.starts_with(".restante") || name.contains('@') || has_all_parts(&path.join(name))
        };
        let mut names = path.read_dir()?.flatten().map(|entry| entry.file_name());
        Ok(names.any(|name| name.to_str().is_some_and(is_sign)))
    }

    /// Opens a spool that is there, and makes nothing.
    pub fn open_existing(path: &Path) -> Result<Self, Error> {
        check_link(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = fs::open(path, flags, Mode::empty()).map(DeferredFd::from);
        let dir = dir.map_err(|error| match fs::readlink(path, Vec::new()) {
            Ok(target) if error == Errno::NOENT => {
                let why = format!("it is a link to {}, which is not there", target.to_string_lossy());
                Error::at(path, "open directory", io::Error::new(io::ErrorKind::NotFound, why))
            }
            _ => Error::at(path, "open directory", error),
        })?;
        let id = id_of(&dir, path)?;
        Ok(Self { path: path.to_owned(), dir, id })
    }

    /// Whether the path of the spool still leads to the open directory. Otherwise mail goes to a place that no reader
    /// looks at. Device and inode are enough, because no other file gets the inode of an open directory.
    pub fn is_in_place(&self) -> Result<(), Error> {
        let there = fs::stat(&self.path);
        let there = there.map_err(|e| Error::at(&self.path, "stat", e))?;
        if (there.st_dev, there.st_ino) == self.id {
            return Ok(());
        }
        let why = "it is another directory now: the spool was moved, replaced or mounted over";
        Err(Error::at(&self.path, "compare", io::Error::new(io::ErrorKind::InvalidData, why)))
    }

    /// Opens a mailbox. `name` is one path component that is known to be harmless.
    pub fn maildir(&self, name: &str) -> Result<Maildir, Error> {
        let path = self.path.join(name);
        Maildir::at(open_directory(&self.dir, name, &path)?, path)
    }

    /// Opens a folder of a mailbox: a Maildir in the mailbox's own directory, never through a link. Each name is one
    /// path component that is known to be harmless. If no folder has that name, one whose name differs in case only will
    /// do: addresses make no difference between upper and lower case.
    pub fn folder(&self, name: &str, folder: &str) -> Result<Maildir, Error> {
        let home_path = self.path.join(name);
        let home = open_directory(&self.dir, name, &home_path)?;
        let at = |folder: &str| {
            let path = home_path.join(folder);
            Maildir::at(open_directory(&home, folder, &path)?, path)
        };
        match at(folder) {
            Err(error) if error.kind() == Kind::Gone => {
                let names =
                    directories(&home, &home_path)?.into_iter().filter_map(|name| name.into_string().ok());
                let alike = names.filter(|name| is_same_but_for_case(name, folder)).min();
                alike.map_or(Err(error), |alike| at(&alike))
            }
            opened => opened,
        }
    }

    /// Opens a mailbox and makes its missing parts, durably.
    pub fn open_or_create_maildir(&self, name: &str) -> Result<Maildir, Error> {
        match self.maildir(name) {
            Err(error) if error.kind() == Kind::Gone => {}
            done => return done,
        }
        make_maildir(&self.dir, &self.path, name, None)
    }

    /// Opens a folder of an existing mailbox and makes the missing parts of the folder, durably.
    pub fn open_or_create_folder(&self, name: &str, folder: &str) -> Result<Maildir, Error> {
        match self.folder(name, folder) {
            Err(error) if error.kind() == Kind::Gone => {}
            done => return done,
        }
        let path = self.path.join(name);
        let home = open_directory(&self.dir, name, &path)?;
        make_maildir(&home, &path, folder, Some(FOLDER_MARK))
    }

    /// Whether the path of the mailbox, or of its folder, still leads to `maildir` with all its directories. Another
    /// program may have removed or replaced it since it was opened.
    pub fn still_resolves_to(&self, name: &str, folder: Option<&str>, maildir: &Maildir) -> bool {
        let there = match folder {
            None => is_same_directory(&self.dir, name, maildir.id),
            Some(folder) => open_directory(&self.dir, name, &self.path).is_ok_and(|home| {
                let named = maildir.path.file_name().and_then(OsStr::to_str).unwrap_or(folder);
                let exact = || fs::statat(&home, folder, AtFlags::SYMLINK_NOFOLLOW).is_ok();
                is_same_directory(&home, named, maildir.id) && (named == folder || !exact())
            }),
        };
        there && maildir.is_intact()
    }

    /// Whether `maildir` is on the spool's own file system.
    pub fn is_same_filesystem(&self, maildir: &Maildir) -> bool {
        maildir.id.0 == self.id.0
    }

    /// Whether one sync of the whole file system is known to make files and names durable here, or to fail.
    pub fn syncfs_is_reliable(&self) -> bool {
        is_one_of(&self.dir, &[EXT4, XFS]) && syncfs_reports_errors(uname().release().to_bytes())
    }

    /// Whether a message can be written without a name on the spool's file system, and get its first one durably in a
    /// mailbox.
    pub fn has_unnamed_files(&self) -> bool {
        unnamed_file::are_safe(&self.dir)
    }

    /// Syncs the whole file system that holds the spool, for the sake of one part of the messages.
    pub fn sync(&self, part: SyncPart) -> Result<(), Error> {
        fault_point(&self.path, "syncfs")?;
        if is_sync_skipped(part) {
            return Ok(());
        }
        fs::syncfs(&self.dir).map_err(|e| Error::at(&self.path, "syncfs", e))
    }

    /// The room on the spool's file system. Without an inode for another file there is none; some file systems count no
    /// inodes.
    pub fn room(&self) -> Result<Room, Error> {
        let stat = fs::fstatvfs(&self.dir).map_err(|e| Error::at(&self.path, "statvfs", e))?;
        if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Ok(Room::ReadOnly);
        }
        let has_inodes = stat.f_files == 0 || stat.f_favail > 0;
        Ok(Room::Octets(if has_inodes { stat.f_bavail.saturating_mul(stat.f_frsize) } else { 0 }))
    }

    /// The path, for messages to people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory, for calls relative to it.
    pub fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// The names of its directories, in no order, without the one that a file system makes for itself.
    pub fn names(&self) -> Result<Vec<OsString>, Error> {
        let mut names = directories(&self.dir, &self.path)?;
        names.retain(|name| name != LOST_AND_FOUND);
        Ok(names)
    }

    /// The names of mailboxes that are no directories, so that no mail can be delivered to them: each link, and a file
    /// whose name is an address. In no order.
    pub fn misplaced_names(&self) -> Result<Vec<OsString>, Error> {
        names_of_kind(&self.dir, &self.path, |name, kind| {
            let has_address = name.contains(&b'@');
            !name.starts_with(b".")
                && (kind == FileType::Symlink || (has_address && kind != FileType::Directory))
        })
    }

    /// Every mailbox and every folder, with errors for those that cannot be opened or listed. Other directories are
    /// skipped.
    pub fn maildirs(&self) -> impl Iterator<Item = Result<Maildir, Error>> {
        let (names, error) = split_names(self.names());
        let mailboxes = names.into_iter().filter(|name| !name.starts_with('.'));
        let maildirs = mailboxes.flat_map(|mailbox| self.maildirs_of(mailbox));
        let is_other = |maildir: &Result<Maildir, Error>| {
            maildir.as_ref().is_err_and(|error| error.kind() == Kind::Gone)
        };
        error.into_iter().map(Err).chain(maildirs.filter(move |maildir| !is_other(maildir)))
    }

    /// One mailbox and its folders, each opened when its turn comes, with errors for those that cannot be opened or
    /// listed.
    pub fn maildirs_of(&self, mailbox: String) -> impl Iterator<Item = Result<Maildir, Error>> {
        let path = self.path.join(&mailbox);
        let listed = match open_directory(&self.dir, mailbox.as_str(), &path) {
            Ok(home) => directories(&home, &path),
            Err(_) => Ok(Vec::new()), // told by its opening
        };
        let (names, error) = split_names(listed);
        let folders = names.into_iter().filter(|name| is_folder_name(name)).map(Some);
        let maildirs = std::iter::once(None).chain(folders).map(move |folder| match folder {
            None => self.maildir(&mailbox),
            Some(folder) => self.folder(&mailbox, &folder),
        });
        maildirs.chain(error.map(Err))
    }
}

/// Whether a directory in a mailbox may be a folder. A second dot hides it: it waits for its removal, here or in Dovecot.
pub(super) fn is_folder_name(name: &str) -> bool {
    name.starts_with('.') && !name.starts_with("..") && name.len() > 1
}

/// The names that are text, as those of mailboxes are, or the reason for a failure.
fn split_names(names: Result<Vec<OsString>, Error>) -> (Vec<String>, Option<Error>) {
    match names {
        Ok(names) => (names.into_iter().filter_map(|name| name.into_string().ok()).collect(), None),
        Err(error) => (Vec::new(), Some(error)),
    }
}

impl Maildir {
    pub(super) fn at(root: DeferredFd, path: PathBuf) -> Result<Self, Error> {
        fault_point(&path, "open directory")?;
        let below = |name: &str| open_directory(&root, name, &path.join(name));
        let (tmp, new, cur) = (below("tmp")?, below("new")?, below("cur")?);
        let has_cached_reads = Self::allows_cached_reads(&new, &cur);
        let part_id = |dir: &OwnedFd, name: &str| id_of(dir, &path.join(name));
        let part_ids = [part_id(&tmp, "tmp")?, part_id(&new, "new")?, part_id(&cur, "cur")?];
        Ok(Self {
            id: id_of(&root, &path)?,
            part_ids,
            path,
            root,
            tmp: Arc::new(tmp),
            new,
            cur,
            has_cached_reads,
        })
    }

    /// The path, for messages to people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The identity of the mailbox.
    pub fn id(&self) -> (u64, u64) {
        self.id
    }

    /// Whether another handle has the same directories open. One of them may have been replaced between the two.
    pub(crate) fn has_directories_of(&self, other: &Self) -> bool {
        self.id == other.id && self.part_ids == other.part_ids
    }

    /// The identity of the directory of one place: device and inode.
    pub fn subdir_id(&self, subdir: Subdir) -> (u64, u64) {
        let [_, new, cur] = self.part_ids;
        match subdir {
            Subdir::New => new,
            Subdir::Cur => cur,
        }
    }

    /// Makes a mailbox durable that was made shortly before `now`, because its maker may have been killed before the
    /// sync, or may never sync.
    pub fn sync_if_new(&self, now: SystemTime) -> Result<(), Error> {
        let stat = fs::fstat(&self.root).map_err(|e| Error::at(&self.path, "stat", e))?;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let old = u64::try_from(stat.st_ctime).unwrap_or(0).saturating_add(WRITEBACK_SECS) < now;
        // The clock of a file server may differ, and the server stores names at once.
        if old && !self.is_remote() { Ok(()) } else { self.sync_all() }
    }

    /// Makes all its directories durable, and its name.
    fn sync_all(&self) -> Result<(), Error> {
        let above = self.path.join("..");
        let parent = open_directory(&self.root, "..", &above)?;
        for (dir, what) in [
            (self.tmp(), self.path.join("tmp")),
            (&self.new, self.path.join("new")),
            (&self.cur, self.path.join("cur")),
            (&self.root, self.path.clone()),
            (&parent, above),
        ] {
            fault_point(&self.path, "fsync directory")?;
            if is_sync_skipped(SyncPart::Folders) {
                continue;
            }
            sync_directory(dir, &what)?;
        }
        Ok(())
    }

    /// Whether the directories below it are still the ones that are open.
    pub fn is_intact(&self) -> bool {
        let parts = PARTS.into_iter().zip(self.part_ids);
        parts.into_iter().all(|(name, id)| is_same_directory(&self.root, name, id))
    }

    /// The directory of one place.
    pub fn dir(&self, subdir: Subdir) -> &OwnedFd {
        match subdir {
            Subdir::New => &self.new,
            Subdir::Cur => &self.cur,
        }
    }

    /// Whether the event loop may read its messages from memory.
    pub(crate) fn has_cached_reads(&self) -> bool {
        self.has_cached_reads
    }

    /// The directory of messages on their way.
    pub fn tmp(&self) -> &OwnedFd {
        &self.tmp
    }

    /// The same, for a message that outlives this.
    pub(super) fn tmp_handle(&self) -> Arc<DeferredFd> {
        Arc::clone(&self.tmp)
    }

    /// The Maildir itself, for files beside the messages.
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Makes all changes to the names in `new/` or `cur/` durable.
    pub fn sync(&self, subdir: Subdir) -> Result<(), Error> {
        self.sync_part(subdir, SyncPart::Names)
    }

    /// The same, for the sake of one part of the mail.
    pub fn sync_part(&self, subdir: Subdir, part: SyncPart) -> Result<(), Error> {
        fault_point(&self.path, "fsync directory")?;
        if is_sync_skipped(part) {
            return Ok(());
        }
        sync_directory(self.dir(subdir), &self.path.join(subdir.name()))
    }

    /// Removes a message that was not acknowledged after all.
    pub fn unpublish(&self, subdir: Subdir, name: &str) -> Result<(), Error> {
        remove(self.dir(subdir), name, &self.path.join(subdir.name()).join(name))
    }
}

/// Makes the missing parts of a Maildir in the directory `above`, whose path is `path`, with an empty file `mark` in
/// it, all of it durably.
pub(super) fn make_maildir(
    above: &OwnedFd,
    path: &Path,
    name: &str,
    mark: Option<&str>,
) -> Result<Maildir, Error> {
    let home = path.join(name);
    make_directory(above, name, &home)?;
    let root = open_directory(above, name, &home)?;
    if let Some(mark) = mark {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = home.join(mark);
        let made = fs::openat(&root, mark, flags, FILE_MODE).and_then(fs::fsync);
        made.map_err(|e| Error::at(file, "create", e))?;
    }
    for part in PARTS {
        make_directory(&root, part, &home.join(part))?;
    }
    let maildir = Maildir::at(root, home)?;
    if let Err(error) = maildir.sync_all() {
        // Without a tmp/ no program takes the mailbox for a finished one, and the next delivery syncs it.
        let _ = fs::unlinkat(&maildir.root, "tmp", AtFlags::REMOVEDIR); // the error to tell is the first one
        return Err(error);
    }
    Ok(maildir)
}

/// Refuses a link of another user in the place of a root's spool.
fn check_link(path: &Path) -> Result<(), Error> {
    let Ok(target) = fs::readlink(path, Vec::new()) else { return Ok(()) };
    let owner = fs::lstat(path).map_err(|e| Error::at(path, "stat", e))?.st_uid;
    if !geteuid().is_root() || owner == 0 {
        return Ok(());
    }
    let target = target.to_string_lossy();
    let why = format!(
        "it is a link to {target} of another user, and root follows only its own: name the directory"
    );
    Err(Error::at(path, "open directory", io::Error::new(io::ErrorKind::PermissionDenied, why)))
}

/// Whether `syncfs` of a kernel with that release reports write errors: since Linux 5.8. Older kernels report only a
/// bad descriptor (syncfs(2)). Backports by distributors are not recognised.
fn syncfs_reports_errors(release: &[u8]) -> bool {
    let text = String::from_utf8_lossy(release);
    let mut numbers =
        text.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(5), Some(8))
}

/// The directory of e2fsck(8), which root alone may read.
const LOST_AND_FOUND: &str = "lost+found";
/// Seconds after which the kernel has written a directory by itself.
const WRITEBACK_SECS: u64 = 120;
/// The empty file that marks a folder (Maildir++).
pub(super) const FOLDER_MARK: &str = "maildirfolder";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncfs_is_believed_from_linux_5_8_on() {
        for release in ["5.8.0", "5.8", "5.10.0-28-amd64", "5.15.0+", "6.0.0-rc1", "10.1"] {
            assert!(syncfs_reports_errors(release.as_bytes()), "{release}");
        }
        for release in ["5.7.19", "5", "5.x", "4.18.0-553.el8_10.x86_64", "3.10.0", "", "five", "-6.1"] {
            assert!(!syncfs_reports_errors(release.as_bytes()), "{release}");
        }
    }
}
