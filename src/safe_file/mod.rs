//! Files by fixed or guessable names in directories that others may write to.
//!
//! The rule: a link at such a name is never followed. A new file gets a random name, through the descriptor of its
//! directory, and is renamed into its place. An existing file is opened without waiting, and only if it is a regular
//! one. Root writes only to files whose path no other user can change: root owns every directory of it.

mod create;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::printable;
pub use create::{Durability, is_tmp_name, open_to_write_in, replace_in, sync_directory};
use create::{NO_WAIT, contents, create_in, sync, tmp_name};
use rustix::{
    fs::{self, AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Stat},
    io::Errno,
    process::geteuid,
};

/// An open directory. A change of its path cannot send a file elsewhere.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    owner: u32,
}

impl Directory {
    /// Opens a directory that only root and this user can change. The same holds for every directory above it.
    ///
    /// # Errors
    /// `PermissionDenied`, with the directory and the remedy, if another user can change one of them.
    pub fn trusted(path: &Path) -> io::Result<Self> {
        Self::open_path(path, None)
    }

    /// Opens a directory as [`trusted`](Self::trusted) does, and creates its missing components with mode 0700.
    ///
    /// # Errors
    /// As for [`trusted`](Self::trusted).
    pub fn trusted_or_new(path: &Path) -> io::Result<Self> {
        Self::open_path(path, Some(Mode::RWXU))
    }

    /// Opens a directory that the operator has named. For root it must be [`trusted`](Self::trusted). A user without
    /// privileges may name any directory, because only that user's files are at risk.
    ///
    /// # Errors
    /// The directory does not exist, or root may not write to it.
    pub fn trusted_if_root(path: &Path) -> io::Result<Self> {
        if geteuid().is_root() {
            return Self::trusted(path);
        }
        Self::untrusted(path)
    }

    /// Opens a directory as [`trusted_if_root`](Self::trusted_if_root) does, and creates it with mode 0700 if it does not
    /// exist. Its parent must exist.
    ///
    /// # Errors
    /// As for [`trusted_if_root`](Self::trusted_if_root).
    pub fn trusted_if_root_or_new(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        match fs::mkdirat(&Self::trusted_if_root(parent(path))?.fd, name, Mode::RWXU) {
            Err(Errno::EXIST) => {}
            made => made?,
        }
        Self::trusted_if_root(path)
    }

    /// Opens a directory of any owner, for operations that are safe there. The caller has to check the owners of its
    /// files.
    ///
    /// # Errors
    /// The directory does not exist.
    pub fn untrusted(path: &Path) -> io::Result<Self> {
        let fd = fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let owner = fs::fstat(&fd)?.st_uid;
        Ok(Self { fd, path: path.to_owned(), owner })
    }

    /// Opens a directory that root has created for another user, like `/run/restante` for the user of a service. Its
    /// parent is trusted, and only its owner can write to it.
    ///
    /// # Errors
    /// As for [`trusted`](Self::trusted).
    pub fn delegated(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let above = Self::trusted(path.parent().unwrap_or(Path::new("/")))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&above.fd, name, flags, Mode::empty())?;
        let stat = fs::fstat(&fd)?;
        if stat.st_mode & 0o022 != 0 {
            return Err(refused(path, "others than its owner can write to it: chmod go-w"));
        }
        Ok(Self { fd, path: path.to_owned(), owner: stat.st_uid })
    }

    /// Opens one component after the other, and follows only links that root or this user owns.
    fn open_path(path: &Path, make: Option<Mode>) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = || fs::openat(CWD, "/", flags | OFlags::DIRECTORY, Mode::empty());
        let mut todo = parts(&std::path::absolute(path)?);
        let (mut fd, mut walked, mut links) = (root()?, PathBuf::from("/"), 0);
        let mut owner = fs::fstat(&fd)?.st_uid;
        while let Some(name) = todo.pop() {
            let next = match (fs::openat(&fd, &name, flags, Mode::empty()), make) {
                (Err(Errno::NOENT), Some(mode)) => {
                    match fs::mkdirat(&fd, &name, mode) {
                        Err(Errno::EXIST) => {} // another process has made it meanwhile
                        made => made?,
                    }
                    fs::openat(&fd, &name, flags, Mode::empty())?
                }
                (opened, _) => opened?,
            };
            let stat = fs::fstat(&next)?;
            let at = walked.join(&name);
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    check_owner(&at, &stat)?;
                    let target = fs::readlinkat(&next, c"", Vec::new())?;
                    let target = Path::new(OsStr::from_bytes(target.to_bytes())).to_owned();
                    if target.is_absolute() {
                        (fd, walked) = (root()?, PathBuf::from("/"));
                    }
                    todo.extend(parts(&target));
                }
                FileType::Directory => {
                    check_owner(&at, &stat)?;
                    check_not_replaceable(&at, &stat)?;
                    fd = next;
                    owner = stat.st_uid;
                    if name == ".." {
                        walked.pop();
                    } else {
                        walked = at;
                    }
                }
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        Ok(Self { fd, path: path.to_owned(), owner })
    }

    /// The path that it was opened by, for messages to people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The user id of the directory's owner.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// Replaces the file of that name, or creates it, with that content and mode.
    ///
    /// # Errors
    /// An error of the system. The name then has the old file, or the whole new one.
    pub fn replace(&self, name: &OsStr, mode: u32, content: &[u8], keep: Durability) -> io::Result<()> {
        replace_in((&self.fd, &self.fd), name, mode, content, keep)
    }

    /// Creates a file under a random name. [`publish`](Self::publish) gives it its own name when it is complete.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create_tmp(&self, mode: u32) -> io::Result<(File, OsString)> {
        let name = tmp_name()?;
        Ok((create_in(&self.fd, &name, mode)?, name))
    }

    /// Renames a file of [`create_tmp`](Self::create_tmp) to `name`, and so replaces the file of that name.
    ///
    /// # Errors
    /// The error of the rename. The old file is unchanged.
    pub fn replace_with(&self, unfinished: &OsStr, name: &OsStr) -> io::Result<()> {
        Ok(fs::renameat(&self.fd, unfinished, &self.fd, name)?)
    }

    /// Renames a file of [`create_tmp`](Self::create_tmp) to `name`, which must be free.
    ///
    /// # Errors
    /// `AlreadyExists`, or another error of the rename.
    pub fn publish(&self, unfinished: &OsStr, name: &OsStr) -> io::Result<()> {
        match fs::renameat_with(&self.fd, unfinished, &self.fd, name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::linkat(&self.fd, unfinished, &self.fd, name, AtFlags::empty())?;
                self.remove(unfinished)
            }
            done => Ok(done?),
        }
    }

    /// Creates a new file.
    ///
    /// # Errors
    /// `AlreadyExists`, also for a link that leads nowhere; or another error of the system.
    pub fn create(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        create_in(&self.fd, name, mode)
    }

    /// Opens a file for appending. It must be a regular file without another name.
    ///
    /// # Errors
    /// The file does not exist, or is not such a file.
    pub fn append(&self, name: &OsStr) -> io::Result<File> {
        Ok(open_to_write_in(&self.fd, name, OFlags::APPEND)?)
    }

    /// Opens a log for appending: a file without another name, or a pipe or device, without waiting for its reader. Root
    /// must own it if this process runs as root.
    ///
    /// # Errors
    /// The name belongs to something else, or no process reads the pipe.
    pub fn append_log(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | NO_WAIT;
        let file = fs::openat(&self.fd, name, flags, Mode::empty())?;
        let (stat, path) = (fs::fstat(&file)?, self.path.join(name));
        if geteuid().is_root() {
            check_owner(&path, &stat)?;
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink != 1 {
            return Err(refused(&path, "it has another name, too, and would be changed under both"));
        }
        fs::fcntl_setfl(&file, fs::fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        Ok(File::from(file))
    }

    /// Sets the mode of a socket that this user has just bound here, and its group if there is one. Never changes another file that has taken its name.
    ///
    /// # Errors
    /// Another file has its name, or this user is not in the group.
    pub fn set_access_to_socket(&self, name: &OsStr, mode: u32, group: Option<Gid>) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let socket = fs::openat(&self.fd, name, flags, Mode::empty())?;
        let stat = fs::fstat(&socket)?;
        let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket && stat.st_nlink == 1;
        if !is_socket || stat.st_uid != geteuid().as_raw() {
            return Err(refused(&self.path.join(name), "it is not the socket that was bound"));
        }
        // The file itself: chmod of a name would follow a link.
        let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
        if group.is_some() {
            fs::chownat(CWD, &path, None, group, AtFlags::empty())?;
        }
        Ok(fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty())?)
    }

    /// The type of the file of that name, without following a link; `None` if there is none.
    ///
    /// # Errors
    /// The file cannot be examined.
    pub fn kind(&self, name: &OsStr) -> io::Result<Option<FileType>> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a regular file of at most `max` octets, and the time of its last change. Root, this user or the owner of the
    /// directory must own it.
    ///
    /// # Errors
    /// The file cannot be read, is longer, or has another owner.
    pub fn read(&self, name: &OsStr, max: u64) -> io::Result<(Vec<u8>, SystemTime)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | NO_WAIT;
        let file = fs::openat(&self.fd, name, flags, Mode::empty())?;
        let owner = fs::fstat(&file)?.st_uid;
        if ![0, geteuid().as_raw(), self.owner].contains(&owner) {
            return Err(refused(&self.path.join(name), &format!("it is of user {owner}")));
        }
        contents(File::from(file), max)
    }

    /// The time of a file's last change, without following a link.
    pub fn modified(&self, name: &OsStr) -> Option<SystemTime> {
        let stat = fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let seconds = u64::try_from(stat.st_mtime).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, u32::try_from(stat.st_mtime_nsec).ok()?))
    }

    /// Octets of a file. `None` if it cannot be examined.
    pub fn size(&self, name: &OsStr) -> Option<u64> {
        u64::try_from(fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?.st_size).ok()
    }

    /// Whether the name is taken, even by a link that leads nowhere.
    pub fn has(&self, name: &OsStr) -> bool {
        fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Removes a file or a link.
    ///
    /// # Errors
    /// The error of the system.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    /// The names in the directory, in no order.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for entry in fs::Dir::new(fs::openat(&self.fd, c".", flags, Mode::empty())?)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Makes the names in the directory durable (fsync).
    ///
    /// # Errors
    /// The error of fsync. The names may be lost with the power.
    pub fn sync(&self) -> io::Result<()> {
        Ok(sync(&self.fd)?)
    }
}

/// Opens the directory of a file that the operator has named, and returns the name in it. If the file is a link, follows
/// it; as root, only links that root owns, in trusted directories.
///
/// # Errors
/// As for [`Directory::trusted_if_root`].
pub fn open_parent_of(path: &Path) -> io::Result<(Directory, OsString)> {
    let mut path = path.to_owned();
    for _ in 0..=MAX_LINKS {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let dir = Directory::trusted_if_root(parent(&path))?;
        let Ok(stat) = fs::statat(&dir.fd, &name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok((dir, name)) };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok((dir, name));
        }
        if geteuid().is_root() {
            check_owner(&path, &stat)?;
        }
        let target = fs::readlinkat(&dir.fd, &name, Vec::new())?;
        path = parent(&path).join(OsStr::from_bytes(target.to_bytes()));
    }
    Err(Errno::LOOP.into())
}

/// The directory part of a path: `.` if it has none.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The components of a path, the last first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.rev().map(|part| part.as_os_str().to_owned()).collect()
}

/// Fails unless root or this user owns the file.
fn check_owner(path: &Path, stat: &Stat) -> io::Result<()> {
    let user = geteuid().as_raw();
    if [0, user].contains(&stat.st_uid) {
        return Ok(());
    }
    let owner = stat.st_uid;
    let who = if user == 0 { "root" } else { "this user" };
    Err(refused(
        path,
        &format!(
            "it is of user {owner}, who could put a link there: name a directory that only {who} can change, or run \
             this as that user"
        ),
    ))
}

/// Fails if other users can replace a file of root or of this user in the directory. Members of its group may, because
/// many systems give each user a group of its own.
fn check_not_replaceable(path: &Path, stat: &Stat) -> io::Result<()> {
    let user = geteuid().as_raw();
    let group_is_fine = stat.st_gid == 0 || (user != 0 && stat.st_uid == user);
    let open = if group_is_fine { 0o002 } else { 0o022 };
    if stat.st_mode & open == 0 || stat.st_mode & STICKY != 0 {
        return Ok(());
    }
    Err(refused(path, "others can put a link there: chmod go-w, or name another directory"))
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("{} is not trusted: {why}", printable::escape_path(path)),
    )
}

const STICKY: u32 = 0o1000;
/// Links in one path, the same as the kernel's limit.
const MAX_LINKS: usize = 40;

#[cfg(test)]
mod tests;
