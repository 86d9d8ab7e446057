//! Files by fixed or guessable names in directories that others may write to.
//!
//! The rule: such a name is never followed. A file is made under a random name, through the descriptor of its
//! directory, and renamed into its place; a file that is there is opened only if it is a regular one, without waiting
//! for it. Root writes only where nobody else can change the way: every directory from `/` on is root's.

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
pub use create::{Durability, is_tmp_name, open_to_write_in, replace_in};
use create::{NO_WAIT, contents, create_in, sync, tmp_name};
use rustix::{
    fs::{self, AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat},
    io::Errno,
    process::geteuid,
};

/// A directory, held open, so that nothing that happens to its path can send a file elsewhere.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    owner: u32,
}

impl Directory {
    /// A directory that only root and this user can change, like every one that leads to it.
    ///
    /// # Errors
    /// `PermissionDenied`, with the directory and what to do, if another user can.
    pub fn trusted(path: &Path) -> io::Result<Self> {
        Self::open_path(path, None)
    }

    /// The same; what is missing of it is made, for this user alone.
    ///
    /// # Errors
    /// As for [`trusted`](Self::trusted).
    pub fn trusted_or_new(path: &Path) -> io::Result<Self> {
        Self::open_path(path, Some(Mode::RWXU))
    }

    /// A directory that the operator has named: any one for a user without privileges, who can harm only himself; for
    /// root one that is [`trusted`](Self::trusted).
    ///
    /// # Errors
    /// It is not there, or root may not write to it.
    pub fn trusted_if_root(path: &Path) -> io::Result<Self> {
        if geteuid().is_root() {
            return Self::trusted(path);
        }
        Self::untrusted(path)
    }

    /// The same; if it is not there it is made, for this user alone. What is above it must be there.
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

    /// Opens a directory whatever its owner, for operations that are safe there. The caller has to tell files of root from
    /// files of other users.
    ///
    /// # Errors
    /// It is not there.
    pub fn untrusted(path: &Path) -> io::Result<Self> {
        let fd = fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let owner = fs::fstat(&fd)?.st_uid;
        Ok(Self { fd, path: path.to_owned(), owner })
    }

    /// A directory that root has made for another user, like `/run/restante` for the user of a service: what leads to
    /// it is trusted, and nobody but its owner can write to it.
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

    /// Opens one component after the other, and follows only links that root or this user has made.
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

    /// Its path, for messages to people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The user who has it.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// Puts a file with that content and mode in the place of what has the name.
    ///
    /// # Errors
    /// It cannot be written; what was there is there.
    pub fn replace(&self, name: &OsStr, mode: u32, content: &[u8], keep: Durability) -> io::Result<()> {
        replace_in((&self.fd, &self.fd), name, mode, content, keep)
    }

    /// Makes a file under a random name, to be [placed](Self::publish) when it is whole.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create_tmp(&self, mode: u32) -> io::Result<(File, OsString)> {
        let name = tmp_name()?;
        Ok((create_in(&self.fd, &name, mode)?, name))
    }

    /// Puts a file that was begun in the place of what has the name.
    ///
    /// # Errors
    /// The system's reason; what was there is there.
    pub fn replace_with(&self, unfinished: &OsStr, name: &OsStr) -> io::Result<()> {
        Ok(fs::renameat(&self.fd, unfinished, &self.fd, name)?)
    }

    /// Gives a file that was begun its name, which must be free.
    ///
    /// # Errors
    /// `AlreadyExists`, or the system's reason.
    pub fn publish(&self, unfinished: &OsStr, name: &OsStr) -> io::Result<()> {
        match fs::renameat_with(&self.fd, unfinished, &self.fd, name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::linkat(&self.fd, unfinished, &self.fd, name, AtFlags::empty())?;
                self.remove(unfinished)
            }
            done => Ok(done?),
        }
    }

    /// Makes a file that was not there.
    ///
    /// # Errors
    /// `AlreadyExists`, also for a link that leads nowhere; or the system's reason.
    pub fn create(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        create_in(&self.fd, name, mode)
    }

    /// Opens a file to append to: a regular one that has no other name.
    ///
    /// # Errors
    /// It is not there, or something else.
    pub fn append(&self, name: &OsStr) -> io::Result<File> {
        Ok(open_to_write_in(&self.fd, name, OFlags::APPEND)?)
    }

    /// Opens a log to append to: a file that has no other name, or a pipe or device, without waiting for its reader.
    /// For root it must be root's.
    ///
    /// # Errors
    /// It is something else, or nobody reads the pipe.
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

    /// Gives a socket that this user has just bound here its mode, and nothing else that has taken its name.
    ///
    /// # Errors
    /// Something else has.
    pub fn set_mode_of_socket(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let socket = fs::openat(&self.fd, name, flags, Mode::empty())?;
        let stat = fs::fstat(&socket)?;
        let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket && stat.st_nlink == 1;
        if !is_socket || stat.st_uid != geteuid().as_raw() {
            return Err(refused(&self.path.join(name), "it is not the socket that was bound"));
        }
        // The file itself: chmod of a name would follow a link.
        let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
        Ok(fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty())?)
    }

    /// The kind of what has that name; `None` if it is free.
    ///
    /// # Errors
    /// The system's reason.
    pub fn kind(&self, name: &OsStr) -> io::Result<Option<FileType>> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The content of a regular file of at most so many octets that is root's, ours or the directory's owner's; and
    /// when it was written.
    ///
    /// # Errors
    /// It is not such a one.
    pub fn read(&self, name: &OsStr, most: u64) -> io::Result<(Vec<u8>, SystemTime)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | NO_WAIT;
        let file = fs::openat(&self.fd, name, flags, Mode::empty())?;
        let owner = fs::fstat(&file)?.st_uid;
        if ![0, geteuid().as_raw(), self.owner].contains(&owner) {
            return Err(refused(&self.path.join(name), &format!("it is of user {owner}")));
        }
        contents(File::from(file), most)
    }

    /// When a file was written; links are not followed.
    pub fn modified(&self, name: &OsStr) -> Option<SystemTime> {
        let stat = fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let seconds = u64::try_from(stat.st_mtime).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, u32::try_from(stat.st_mtime_nsec).ok()?))
    }

    /// Octets of a file. `None` if it cannot be examined.
    pub fn size(&self, name: &OsStr) -> Option<u64> {
        u64::try_from(fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?.st_size).ok()
    }

    /// Whether that name is taken, if only by a link that leads nowhere.
    pub fn has(&self, name: &OsStr) -> bool {
        fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Removes a file, or a link.
    ///
    /// # Errors
    /// The system's reason.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    /// The names in it, in no order.
    ///
    /// # Errors
    /// It cannot be listed.
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

    /// Makes its names durable.
    ///
    /// # Errors
    /// The system's reason.
    pub fn sync(&self) -> io::Result<()> {
        Ok(sync(&self.fd)?)
    }
}

/// The directory that holds a file which the operator has named, and its name there. Root follows links in its place
/// only if root has made them, in directories that are trusted.
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

/// The directory that a path names a file in.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The components of a path, the last first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.rev().map(|part| part.as_os_str().to_owned()).collect()
}

/// Whether root or this user has made it.
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

/// Whether others cannot put anything in the place of what root or this user has there. A group may, where the owner
/// is a user who has a group of his own.
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
        format!("{} is not trusted: {why}", printable::path(path)),
    )
}

const STICKY: u32 = 0o1000;
/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

#[cfg(test)]
mod tests;
