//! A message on its way from `tmp/` into mailboxes.
//!
//! The steps of a delivery are single functions here, in the order of `docs/DISK.md`. The committer calls them for many
//! messages at a time.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{IntoRawFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
    thread,
    time::SystemTime,
};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    Error, FileVersion, Maildir, Subdir,
    directory::{FILE_MODE, remove},
    fault_points::fault_point,
    name::UniqueName,
    sync_phase::{SyncPart, is_sync_skipped},
    unnamed_file,
};
use crate::deferred_drop::DeferredFd;

/// A message in `tmp/`. It is invisible to readers, and a leftover after a power cut.
///
/// The file must be closed before it gets its name in a mailbox: a program that watches `new/` may believe that
/// the file is complete, and some file systems report errors of writing at `close` only.
#[derive(Debug)]
pub struct TmpFile {
    file: Option<File>,
    /// The identity of the file when it was closed.
    closed: Option<FileIdentity>,
    /// The directory of the file.
    tmp: Arc<DeferredFd>,
    /// The mailbox of that directory.
    maildir_id: (u64, u64),
    name: UniqueName,
    place: Place,
    path: PathBuf,
    bytes: u64,
    /// Whether the last of them ends a line.
    ends_line: bool,
    /// A panic leaves the file where it is.
    keep_on_panic: bool,
}

/// The place of a message in `tmp/`.
#[derive(Debug)]
enum Place {
    /// A file with this name.
    Named(String),
    /// A file without a name (`O_TMPFILE`). It ends with its descriptors, so that nothing is left after a power cut.
    /// A mailbox gets its first name, which costs a change to one directory instead of three. After the file is closed
    /// for writing, this handle keeps it.
    Unnamed(Option<OwnedFd>),
}

/// The identity of a file across all file systems.
#[derive(Debug, Clone, Copy)]
struct FileIdentity {
    device: u64,
    stamp: FileVersion,
}

impl FileIdentity {
    fn matches(self, file: &fs::Stat) -> bool {
        (file.st_dev, file.st_ino) == (self.device, self.stamp.inode)
    }
}

impl TmpFile {
    /// Begins a message in the `tmp/` of `maildir` (D1 in docs/DISK.md).
    pub fn create(maildir: &Maildir, name: UniqueName) -> Result<Self, Error> {
        let tmp_name = name.tmp_name();
        let path = maildir.path().join("tmp").join(&tmp_name);
        fault_point(&path, "create")?;
        let file = fs::openat(maildir.tmp(), &tmp_name, NEW_FILE, FILE_MODE)
            .map_err(|e| Error::at(&path, "create", e))?;
        Ok(Self::begin(maildir, name, Place::Named(tmp_name), path, file))
    }

    /// Begins a message without a name, if the file system has such files.
    pub fn create_unnamed(maildir: &Maildir, name: UniqueName) -> Result<Self, Error> {
        let path = maildir.path().join("tmp").join(name.tmp_name());
        fault_point(&path, "create unnamed")?;
        match unnamed_file::create(maildir.tmp()) {
            Ok(file) => Ok(Self::begin(maildir, name, Place::Unnamed(None), path, file)),
            // A file system without such files, or a kernel that takes the flag for O_DIRECTORY (open(2)).
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Self::create(maildir, name),
            Err(error) => Err(Error::at(path, "create", error)),
        }
    }

    fn begin(maildir: &Maildir, name: UniqueName, place: Place, path: PathBuf, file: OwnedFd) -> Self {
        Self {
            file: Some(File::from(file)),
            closed: None,
            tmp: maildir.tmp_handle(),
            maildir_id: maildir.id(),
            name,
            place,
            path,
            bytes: 0,
            ends_line: false,
            keep_on_panic: false,
        }
    }

    /// Appends bytes of the message, as stored. They are not durable before [`TmpFile::sync`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        fault_point(&self.path, "write")?;
        self.open()?.write_all(bytes).map_err(|e| Error::at(&self.path, "write", e))?;
        self.bytes += bytes.len() as u64;
        if let Some(last) = bytes.last() {
            self.ends_line = *last == b'\n';
        }
        Ok(())
    }

    /// Bytes written so far, as stored.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the content durable (D2). After a failure the kernel may have dropped the data and call the
    /// next fsync a success: the draft must be discarded, never synced again.
    pub fn sync(&self) -> Result<(), Error> {
        fault_point(&self.path, "fsync")?;
        if is_sync_skipped(SyncPart::Contents) {
            return Ok(());
        }
        self.open()?.sync_all().map_err(|e| Error::at(&self.path, "fsync", e))
    }

    /// Closes the file. An error is a failed write, which NFS and FUSE report here: the draft must be discarded.
    pub fn close(&mut self) -> Result<(), Error> {
        fault_point(&self.path, "close")?;
        let stat = fs::fstat(self.open()?).map_err(|e| Error::at(&self.path, "stat", e))?;
        if self.is_unnamed() {
            fault_point(&self.path, "reopen")?;
            let handle =
                unnamed_file::reopen(self.open()?).map_err(|e| Error::at(&self.path, "reopen", e))?;
            self.place = Place::Unnamed(Some(handle));
        }
        if let Some(file) = self.file.take() {
            close(file).map_err(|e| Error::at(&self.path, "close", e))?;
        }
        self.closed = Some(FileIdentity { device: stat.st_dev, stamp: FileVersion::of(&stat) });
        Ok(())
    }

    /// Whether the file has no name before a mailbox gives it one.
    pub fn is_unnamed(&self) -> bool {
        matches!(self.place, Place::Unnamed(_))
    }

    /// Whether the file is complete and closed.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// The stamp of the file, once it is closed: its identity within the mailbox.
    pub fn version(&self) -> Result<FileVersion, Error> {
        self.identity().map(|identity| identity.stamp)
    }

    fn open(&self) -> Result<&File, Error> {
        let closed = || io::Error::other("the file is closed");
        self.file.as_ref().ok_or_else(|| Error::at(&self.path, "write", closed()))
    }

    fn identity(&self) -> Result<FileIdentity, Error> {
        let open = || io::Error::other("the file is not closed");
        self.closed.ok_or_else(|| Error::at(&self.path, "publish", open()))
    }

    /// The name the message will have in `new/`.
    pub fn final_name(&self, octets: u64) -> String {
        self.name.final_name(self.bytes, self.ends_line.then_some(octets))
    }

    /// Makes the message visible in one mailbox of several (D3), under that name. `Ok(false)`: it needs a copy there,
    /// because the mailbox is on another file system, or because the file can have no further name.
    pub fn link(&self, to: &Maildir, subdir: Subdir, name: &str) -> Result<bool, Error> {
        let ours = self.identity()?;
        fault_point(to.path(), "link")?;
        let dir = to.dir(subdir);
        let linked = match &self.place {
            Place::Named(tmp_name) => link_once(&self.tmp, tmp_name, dir, name),
            Place::Unnamed(handle) => {
                handle.as_ref().ok_or(Errno::BADF).and_then(|handle| unnamed_file::link(handle, dir, name))
            }
        };
        let failed = match linked {
            Ok(()) => fault_point(to.path(), "link: done").err(),
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP) => return Ok(false),
            // The kernel or a sandbox gives no name to this file, or the mailbox has gone: the copy finds out.
            Err(Errno::ACCESS | Errno::NOENT) if self.is_unnamed() => return Ok(false),
            Err(error) => Some(Error::at(to.path().join(subdir.name()).join(name), "link", error)),
        };
        ignore_if_done(failed, ours, to, subdir, name)
    }

    /// Makes the message visible in its only mailbox, or in the last one (D3): it leaves `tmp/`. Nothing is
    /// overwritten. `Ok(false)`: it needs a copy there, because the mailbox is on another file system, or because the
    /// file can get no name. Durable only after [`Maildir::sync`].
    pub fn rename(&self, to: &Maildir, subdir: Subdir, name: &str) -> Result<bool, Error> {
        let Place::Named(tmp_name) = &self.place else { return self.link(to, subdir, name) };
        let ours = self.identity()?;
        fault_point(to.path(), "rename")?;
        let failed = match publish(&self.tmp, tmp_name, to, subdir, name) {
            Ok(()) => fault_point(to.path(), "rename: done").err(),
            Err(Errno::XDEV) if self.maildir_id != to.id() => return Ok(false),
            Err(error) => Some(Error::at(to.path().join(subdir.name()).join(name), "rename", error)),
        };
        ignore_if_done(failed, ours, to, subdir, name)
    }

    /// The same for a message that a process has left durable in `tmp/` before it died. `Ok(false)`: it is not
    /// there.
    pub fn publish_existing(
        maildir: &Maildir,
        unfinished: &str,
        subdir: Subdir,
        name: &str,
    ) -> Result<bool, Error> {
        match publish(maildir.tmp(), unfinished, maildir, subdir, name) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(Error::at(maildir.path().join("tmp").join(unfinished), "rename", error)),
        }
    }

    /// The name in `tmp/`, which differs from the name in the mailbox. A file without a name has the one it would have.
    pub fn tmp_name(&self) -> String {
        self.name.tmp_name()
    }

    /// Sets the time of the file to its first delivery, in the past.
    pub fn set_modified(&self, time: SystemTime) -> Result<(), Error> {
        self.open()?.set_modified(time).map_err(|e| Error::at(&self.path, "set time", e))
    }

    /// The same content in the `tmp/` of a mailbox on another file system.
    pub fn copy(&self, to: &Maildir) -> Result<Self, Error> {
        let ours = self.identity()?;
        let source = match &self.place {
            Place::Named(tmp_name) => fs::openat(&self.tmp, tmp_name, EXISTING_FILE, Mode::empty()),
            Place::Unnamed(Some(handle)) => unnamed_file::reopen(handle),
            Place::Unnamed(None) => Err(Errno::BADF),
        };
        let source = source.map_err(|e| Error::at(&self.path, "open", e))?;
        // Another file may have taken its name: a FIFO, or another message.
        let there = fs::fstat(&source).map_err(|e| Error::at(&self.path, "stat", e))?;
        if !ours.matches(&there) {
            return Err(Error::at(&self.path, "open", Errno::STALE));
        }
        let mut copy = Self::create(to, self.name.clone())?;
        let copied = fault_point(&copy.path, "copy").and_then(|()| {
            let into = &mut copy.open()?;
            io::copy(&mut File::from(source), into).map_err(|e| Error::at(&copy.path, "copy", e))
        });
        match copied {
            Ok(bytes) => {
                (copy.bytes, copy.ends_line) = (bytes, self.ends_line);
                Ok(copy)
            }
            Err(error) => {
                copy.discard();
                Err(error)
            }
        }
    }

    /// Drops the message. The cleaning of `tmp/` removes a file that cannot be removed now.
    pub fn discard(&self) {
        if let Place::Named(tmp_name) = &self.place {
            let _ = remove(&self.tmp, tmp_name, &self.path);
        }
    }

    /// From now on a panic leaves the file in `tmp/`, because a record beside the messages names it.
    pub fn keep_on_panic(&mut self) {
        self.keep_on_panic = true;
    }
}

/// A panic leaves no file in `tmp/`.
impl Drop for TmpFile {
    fn drop(&mut self) {
        if thread::panicking() && !self.keep_on_panic {
            self.discard();
        }
    }
}

/// Closes a file. An error is a failed write: NFS and FUSE report here what could not be written. The descriptor is
/// closed in any case (close(2)).
pub(crate) fn close(file: impl IntoRawFd) -> io::Result<()> {
    nix::unistd::close(file).map_err(io::Error::from)
}

/// A name that exists although the call failed counts as given. If a file server's answer was lost, the client asks
/// again, and the server says that the old name is missing, that the new one exists, or nothing at all.
fn ignore_if_done(
    failed: Option<Error>,
    ours: FileIdentity,
    to: &Maildir,
    subdir: Subdir,
    name: &str,
) -> Result<bool, Error> {
    let Some(error) = failed else { return Ok(true) };
    let there = fs::statat(to.dir(subdir), name, AtFlags::SYMLINK_NOFOLLOW);
    if there.is_ok_and(|there| ours.matches(&there)) { Ok(true) } else { Err(error) }
}

/// Moves a name from `tmp/` to the messages. It overwrites no file.
fn publish(tmp: &OwnedFd, unfinished: &str, to: &Maildir, subdir: Subdir, name: &str) -> Result<(), Errno> {
    let dir = to.dir(subdir);
    let mut done = fs::renameat_with(tmp, unfinished, dir, name, RenameFlags::NOREPLACE);
    if let Err(Errno::INVAL | Errno::NOSYS) = done {
        // The file system cannot do this in one call.
        done = link_once(tmp, unfinished, dir, name);
        if done.is_ok() {
            let _ = fs::unlinkat(tmp, unfinished, AtFlags::empty()); // else tmp/ is cleaned one day
        }
    }
    done
}

/// Gives a second name. If a file server's answer was lost, the client asks again, and the server says that the name
/// exists. It is good if it is our file.
fn link_once(tmp: &OwnedFd, unfinished: &str, dir: &OwnedFd, name: &str) -> Result<(), Errno> {
    let file = |dir: &OwnedFd, name: &str| {
        let stat = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok::<_, Errno>((stat.st_dev, stat.st_ino))
    };
    match fs::linkat(tmp, unfinished, dir, name, AtFlags::empty()) {
        Err(Errno::EXIST) if file(dir, name)? == file(tmp, unfinished)? => Ok(()),
        done => done,
    }
}

const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const EXISTING_FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::maildir::{Spool, name::NameGenerator};

    /// A mailbox, and two messages in its `tmp/`.
    fn two_drafts() -> (tempfile::TempDir, Maildir, [TmpFile; 2]) {
        two_drafts_that_are(false)
    }

    fn two_drafts_that_are(unnamed: bool) -> (tempfile::TempDir, Maildir, [TmpFile; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let maildir = Spool::open(dir.path()).unwrap().open_or_create_maildir("box").unwrap();
        let mut name_generator = NameGenerator::new("mx.example.test", 1);
        let mut tmp_file = || {
            let create = if unnamed { TmpFile::create_unnamed } else { TmpFile::create };
            let mut tmp_file = create(&maildir, name_generator.next(SystemTime::now(), 1)).unwrap();
            tmp_file.close().unwrap();
            tmp_file
        };
        let drafts = [tmp_file(), tmp_file()];
        (dir, maildir, drafts)
    }

    #[test]
    fn y225_a_name_has_the_octets_only_if_the_last_line_has_its_end() {
        let (_home, maildir, _) = two_drafts();
        let name = NameGenerator::new("mx.example.test", 2).next(SystemTime::now(), 1);
        let mut ours = TmpFile::create(&maildir, name).unwrap();
        ours.write(b"one\ntwo").unwrap();
        assert!(!ours.final_name(10).contains(",W="));
        ours.write(b"\n").unwrap();
        assert!(ours.final_name(10).ends_with(",W=10"));
    }

    #[test]
    fn a_link_that_is_there_already_is_good_if_it_is_ours() {
        for unnamed in [false, true] {
            let (_dir, maildir, [one, other]) = two_drafts_that_are(unnamed);
            for _ in 0..2 {
                assert!(one.link(&maildir, Subdir::New, "name").unwrap());
            }
            assert!(other.link(&maildir, Subdir::New, "name").is_err());
        }
    }

    #[test]
    fn a_file_without_a_name_has_one_in_each_mailbox_and_none_in_tmp() {
        let (dir, maildir, [one, other]) = two_drafts_that_are(true);
        assert!(one.is_unnamed() && other.is_unnamed());
        assert!(one.link(&maildir, Subdir::Cur, "first").unwrap());
        assert!(one.rename(&maildir, Subdir::New, "second").unwrap());
        drop((one, other));
        let names = |subdir: &str| std::fs::read_dir(dir.path().join("box").join(subdir)).unwrap().count();
        assert_eq!(["tmp", "new", "cur"].map(names), [0, 1, 1]);
    }

    #[test]
    fn a_rename_that_is_done_already_is_good_if_it_is_ours() {
        let (_dir, maildir, [one, other]) = two_drafts();
        for _ in 0..2 {
            assert!(one.rename(&maildir, Subdir::New, "name").unwrap());
        }
        assert!(other.rename(&maildir, Subdir::New, "name").is_err());
        other.discard();
        assert!(other.rename(&maildir, Subdir::New, "other").is_err());
    }

    #[test]
    fn a_file_that_is_open_gets_no_name_in_a_mailbox_and_a_closed_one_no_content() {
        let (_dir, maildir, [mut closed, _]) = two_drafts();
        let mut open =
            TmpFile::create(&maildir, NameGenerator::new("mx.example.test", 2).next(SystemTime::now(), 2))
                .unwrap();
        assert!(open.rename(&maildir, Subdir::New, "name").is_err());
        assert!(open.link(&maildir, Subdir::New, "name").is_err());
        open.write(b"text").unwrap();
        open.close().unwrap();
        assert!(open.rename(&maildir, Subdir::New, "name").unwrap());
        assert!(closed.write(b"text").is_err());
    }

    #[test]
    fn a_panic_leaves_no_file_in_tmp_unless_a_record_speaks_of_it() {
        let (dir, maildir, drafts) = two_drafts();
        let left = |(mut tmp_file, stays): (TmpFile, bool)| {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                if stays {
                    tmp_file.keep_on_panic();
                }
                panic!("a bug, with {tmp_file:?}");
            }));
            std::fs::read_dir(dir.path().join("box/tmp")).unwrap().count()
        };
        let [one, other] = drafts;
        assert_eq!(left((one, false)), 1);
        assert_eq!(left((other, true)), 1);
        drop(maildir);
    }
}
