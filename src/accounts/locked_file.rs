//! Locking and replacing the file of accounts.
//!
//! The rule: only the directory's descriptor is trusted. Root works in directories of other users, who may have put a
//! link, a FIFO or a file with a second name under any predictable name.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, Permissions, TryLockError},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    fs::{XattrFlags, fsetxattr, lgetxattr},
    io::Errno,
    process::geteuid,
};

use crate::safe_file::{self, Directory};

/// The place of a file, after links.
#[derive(Debug)]
pub(super) struct ReplaceableFile {
    dir: Directory,
    name: OsString,
    /// The group that reads a first file which root makes in a directory of its own.
    reader: Option<u32>,
}

impl ReplaceableFile {
    /// The place of the file with this path, existing or not. Root follows a link only if root has made it.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let is_link = fs::symlink_metadata(path).is_ok_and(|about| about.is_symlink());
        let (dir, name) = if is_link {
            fs::metadata(path)?; // a link that leads nowhere is a mistake, and no place for a new file
            safe_file::open_parent_of(path).map_err(|error| not_followed(path, error))?
        } else {
            let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
            (Directory::untrusted(safe_file::parent(path))?, name)
        };
        Ok(Self { dir, name, reader: None })
    }

    /// Lets a group read a first file that root makes in a directory of its own.
    pub(super) fn readable_by(self, reader: Option<u32>) -> Self {
        Self { reader, ..self }
    }

    /// The path of the file, for messages to people.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join(&self.name)
    }

    pub(super) fn lock_path(&self) -> PathBuf {
        self.dir.path().join(self.lock_name())
    }

    /// Locks the file against other programs that change it, until the returned value is dropped. The wait for another
    /// holder of the lock is bounded.
    pub(super) fn lock(&self, patience: Duration) -> io::Result<File> {
        let name = self.lock_name();
        let lock = match self.dir.create(&name, 0o600) {
            Ok(new) => {
                self.chown_to_owner(&new)?;
                new
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.dir.append(&name).map_err(describe)?
            }
            Err(error) => return Err(error),
        };
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) if began.elapsed() < patience => {
                    thread::sleep(LOCK_POLL_INTERVAL)
                }
                Err(TryLockError::WouldBlock) => {
                    let why = format!("another program has kept it for {}s", patience.as_secs());
                    return Err(io::Error::new(ErrorKind::TimedOut, why));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Replaces the file durably. The new file has the owner, the group and the rights of the old one, and a first one is
    /// readable by its owner alone, and by the group of [`Self::readable_by`]. The lock is held meanwhile.
    pub(super) fn replace(&self, content: &[u8]) -> io::Result<()> {
        self.remove_leftovers();
        let (mut file, unfinished) = self.dir.create_tmp(0o600)?;
        let written = self.copy_rights(&file).and_then(|()| {
            file.write_all(content)?;
            file.sync_all()?;
            self.dir.replace_with(&unfinished, &self.name).map_err(describe)?;
            self.dir.sync()
        });
        if written.is_err() {
            let _ = self.dir.remove(&unfinished); // it may have its name already
        }
        written
    }

    /// Gives a new file the owner, the group, the mode and the access control list of the file that it replaces. A group
    /// or a list that this user cannot give gets no right.
    fn copy_rights(&self, file: &File) -> io::Result<()> {
        self.chown_to_owner(file)?;
        let Ok(old) = fs::symlink_metadata(self.path()) else { return self.admit_reader(file) };
        let has_group = file.metadata()?.gid() == old.gid() || fchown(file, None, Some(old.gid())).is_ok();
        // The bits of the group are the mask of the list, so without the list they would mean another right.
        let mut list = vec![0; MAX_ACCESS_LIST];
        let has_list = match lgetxattr(self.path(), ACCESS_LIST, &mut list) {
            Ok(length) => fsetxattr(file, ACCESS_LIST, &list[..length], XattrFlags::empty()).is_ok(),
            Err(_) => true, // there is none
        };
        let kept = if has_group && has_list { 0o777 } else { 0o707 };
        file.set_permissions(Permissions::from_mode(old.permissions().mode() & kept))
    }

    /// Lets the group read a new file, if it is root's in a directory of root: nobody else could read it there.
    fn admit_reader(&self, file: &File) -> io::Result<()> {
        match self.reader {
            Some(group) if geteuid().is_root() && file.metadata()?.uid() == 0 => {
                fchown(file, None, Some(group))?;
                file.set_permissions(Permissions::from_mode(0o640))
            }
            _ => Ok(()),
        }
    }

    /// Removes the files of killed programs.
    fn remove_leftovers(&self) {
        let is_old = |name: &OsStr| {
            let age = self.dir.modified(name).and_then(|when| SystemTime::now().duration_since(when).ok());
            age.is_some_and(|age| age > LEFTOVER_AGE)
        };
        let names = self.dir.names().unwrap_or_default();
        for name in names.iter().filter(|name| safe_file::is_tmp_name(name) && is_old(name)) {
            let _ = self.dir.remove(name); // the next one tries again
        }
    }

    /// A file that root changes stays readable to the server's user, and a file that root makes belongs to the owner of
    /// the directory.
    fn chown_to_owner(&self, file: &File) -> io::Result<()> {
        match fs::symlink_metadata(self.path()).or_else(|_| fs::metadata(self.dir.path())) {
            Ok(owner) if geteuid().is_root() => fchown(file, Some(owner.uid()), Some(owner.gid())),
            _ => Ok(()),
        }
    }

    fn lock_name(&self) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(".lock");
        name
    }
}

/// The error for a link that root does not follow, because another user could lead it elsewhere.
fn not_followed(path: &Path, error: io::Error) -> io::Error {
    match fs::canonicalize(path) {
        Ok(file) if error.raw_os_error().is_none() && error.kind() == ErrorKind::PermissionDenied => {
            let why = format!(
                "it is a link that root does not follow, because another user could lead it elsewhere: name the file \
                 itself in the configuration, accounts = {file:?}"
            );
            io::Error::new(ErrorKind::PermissionDenied, why)
        }
        _ => error,
    }
}

/// Reasons without a text from the system.
fn describe(error: io::Error) -> io::Error {
    let why = match Errno::from_io_error(&error) {
        Some(Errno::BUSY) => {
            "it is mounted by itself, and nothing can take its place: mount its directory instead"
        }
        Some(Errno::INVAL) => "it is not a regular file",
        Some(Errno::LOOP) => "it is a link",
        Some(Errno::MLINK) => "it has another name, too",
        _ => return error,
    };
    io::Error::new(error.kind(), why)
}

const ACCESS_LIST: &str = "system.posix_acl_access";
/// The kernel's limit of an extended attribute.
const MAX_ACCESS_LIST: usize = 64 << 10;
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(5);
/// The age from which no program is taken to be still writing a file.
const LEFTOVER_AGE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};

    use super::{super::UserFile, *};

    const USERS: &str = "{\"a@b\": {\"password_hash\": \"!\"}}";

    fn home() -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("users.json");
        fs::write(&path, USERS).unwrap();
        (home, path)
    }

    fn fifo(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    fn names(home: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_lies_under_a_name_that_can_be_guessed_is_neither_waited_for_nor_written_to() {
        let (home, path) = home();
        let (new, lock) = (home.path().join(".users.json.new"), home.path().join(".users.json.lock"));
        fifo(&new);
        UserFile::at(&path).set_disabled("a@b", true).unwrap();
        fs::remove_file(&lock).unwrap();

        fifo(&lock);
        let error = UserFile::at(&path).set_disabled("a@b", false).unwrap_err().to_string();
        assert_eq!(error, format!("cannot lock {}: it is not a regular file", lock.display()));
        fs::remove_file(&lock).unwrap();

        let other = home.path().join("other");
        fs::write(&other, "mine").unwrap();
        fs::hard_link(&other, &lock).unwrap();
        let error = UserFile::at(&path).set_disabled("a@b", false).unwrap_err().to_string();
        assert!(error.ends_with("it has another name, too"), "{error}");
        fs::remove_file(&lock).unwrap();

        symlink(&other, &lock).unwrap();
        let error = UserFile::at(&path).set_disabled("a@b", false).unwrap_err().to_string();
        assert!(error.ends_with("it is a link"), "{error}");
        assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
        assert!(fs::read_to_string(&path).unwrap().contains("true"), "nothing was changed meanwhile");
    }

    #[test]
    fn a_link_stays_one_and_the_file_that_it_leads_to_is_replaced() {
        let (home, path) = home();
        let link = home.path().join("link");
        symlink("middle", &link).unwrap();
        symlink(&path, home.path().join("middle")).unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        UserFile::at(&link).set_disabled("a@b", true).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&path).unwrap().contains("true"));
        assert_ne!(fs::metadata(&path).unwrap().ino(), before);
        assert_eq!(names(home.path()), [".users.json.lock", "link", "middle", "users.json"]);

        fs::remove_file(&path).unwrap();
        let error = UserFile::at(&link).add("a@b", None, b"sesame").unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink() && !path.exists());
    }

    #[test]
    fn n189_a_link_that_root_does_not_follow_is_told_with_the_file_that_it_leads_to() {
        if !geteuid().is_root() {
            return;
        }
        let ((_there, path), here) = (home(), tempfile::tempdir().unwrap());
        let link = here.path().join("users.json");
        symlink(&path, &link).unwrap();
        std::os::unix::fs::chown(here.path(), Some(1234), None).unwrap();
        let error = UserFile::at(&link).set_disabled("a@b", true).unwrap_err().to_string();
        let advice = format!("in the configuration, accounts = {:?}", fs::canonicalize(&path).unwrap());
        assert!(error.ends_with(&advice), "{error}");
        UserFile::at(&path).set_disabled("a@b", true).unwrap();
    }

    #[test]
    fn n29_a_rewrite_keeps_the_group_the_mode_and_the_access_list_of_the_file() {
        let (_home, path) = home();
        let rights = || {
            let about = fs::metadata(&path).unwrap();
            (about.uid(), about.gid(), about.mode() & 0o7777)
        };
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(1), Some(2)).unwrap();
        }
        for mode in [0o600, 0o640, 0o644, 0o440] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let before = rights();
            UserFile::at(&path).set_disabled("a@b", mode & 0o040 == 0).unwrap();
            assert_eq!((rights(), before.2), (before, mode));
        }
        // Version 2: the owner rw-, user 4 r--, the group ---, the mask r--, others ---.
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, right, id) in
            [(1_u16, 6_u16, u32::MAX), (2, 4, 4), (4, 0, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
        {
            list.extend([tag.to_le_bytes(), right.to_le_bytes()].concat());
            list.extend(id.to_le_bytes());
        }
        if rustix::fs::lsetxattr(&path, ACCESS_LIST, &list, XattrFlags::empty()).is_err() {
            return; // a file system without access control lists
        }
        UserFile::at(&path).set_disabled("a@b", true).unwrap();
        UserFile::at(&path).set_disabled("a@b", false).unwrap();
        let mut kept = vec![0; MAX_ACCESS_LIST];
        let length = lgetxattr(&path, ACCESS_LIST, &mut kept).unwrap();
        assert_eq!(kept[..length], list);
    }

    #[test]
    fn what_a_killed_program_left_is_removed_and_what_another_one_writes_is_not() {
        let (home, path) = home();
        let left = |n: u64| home.path().join(format!(".restante.{n:016x}.new"));
        (0..2).for_each(|n| fs::write(left(n), "hashes").unwrap());
        let long_ago = Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
        let times = Timestamps { last_access: long_ago, last_modification: long_ago };
        utimensat(CWD, left(0), &times, rustix::fs::AtFlags::empty()).unwrap();
        UserFile::at(&path).set_disabled("a@b", true).unwrap();
        assert_eq!((left(0).exists(), left(1).exists()), (false, true));
    }

    #[test]
    fn a_lock_that_another_program_keeps_is_not_waited_for_without_end() {
        let (_home, path) = home();
        let place = ReplaceableFile::of(&path).unwrap();
        let kept = place.lock(Duration::ZERO).unwrap();
        let error = place.lock(Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(kept);
        place.lock(Duration::ZERO).unwrap();
    }
}
