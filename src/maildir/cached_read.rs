//! Reads of small messages that never wait, for the event loop: only of what the kernel has in memory.
//!
//! The kernel keeps that promise. `RESOLVE_CACHED` opens a file only if its name and inode are in memory, `RWF_NOWAIT`
//! reads only pages that are (openat2(2), preadv2(2)), and `O_NOATIME` begins no transaction for the time of access. Any
//! other answer is a reason to ask a worker, which may wait and finds the cause.
//!
//! Two things remain. On other file systems even the opening of a file in memory may ask a server, so only some local
//! ones are read in this way. And for pages that are not in memory, `RWF_NOWAIT` begins to read ahead: it looks up their
//! place on the disk, which is in the inode of a small file but not of a large one. So large messages are left to workers.

use std::{
    io::IoSliceMut,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{self, Advice, Mode, OFlags, ResolveFlags},
    io::{self, ReadWriteFlags},
};

use super::{
    Maildir, MessageRef,
    message::{OPEN_FLAGS, is_listed_file},
};
use crate::deferred_drop::ReadFile;

impl Maildir {
    /// Reads the listed message, of at most `max` bytes. `None`: it is longer, that may wait, or the file is not the
    /// listed one.
    pub fn read_cached(&self, wanted: MessageRef<'_>, max: usize) -> Option<Vec<u8>> {
        let length = usize::try_from(wanted.version.bytes).ok().filter(|length| *length <= max)?;
        if !self.has_cached_reads() {
            return None;
        }
        let flags = OPEN_FLAGS.union(OFlags::NOATIME);
        let file = fs::openat2(self.dir(wanted.subdir), wanted.name, flags, Mode::empty(), IN_MEMORY).ok()?;
        let file = ReadFile::from(file);
        if !is_listed_file(&*file, wanted).ok()? {
            return None;
        }
        read_at_once(&file, length)
    }

    /// Lets the kernel read the listed message into memory, if it has at most `max` bytes, and does not wait for the content.
    /// An error is that of the read which follows.
    pub fn read_ahead(&self, wanted: MessageRef<'_>, max: usize) {
        if wanted.version.bytes <= max as u64
            && let Ok(file) = fs::openat(self.dir(wanted.subdir), wanted.name, OPEN_FLAGS, Mode::empty())
        {
            let _ = fs::fadvise(&file, 0, None, Advice::WillNeed); // the same
        }
    }
}

fn read_at_once(file: &OwnedFd, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = io::preadv2(file.as_fd(), &mut [IoSliceMut::new(&mut bytes)], 0, ReadWriteFlags::NOWAIT);
    (read == Ok(length)).then_some(bytes)
}

const IN_MEMORY: ResolveFlags = ResolveFlags::CACHED
    .union(ResolveFlags::BENEATH)
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_XDEV);

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::maildir::{FileVersion, Spool, Subdir};

    /// A mailbox with one message, and the version of its file.
    fn mailbox(spool: &Path, content: &[u8]) -> (Maildir, FileVersion) {
        let maildir = Spool::open(spool).unwrap().open_or_create_maildir("box").unwrap();
        fs::write(maildir.path().join("new/1.one.host"), content).unwrap();
        let stat = rustix::fs::stat(maildir.path().join("new/1.one.host")).unwrap();
        (maildir, FileVersion::of(&stat))
    }

    fn read(maildir: &Maildir, version: FileVersion, max: usize) -> Option<Vec<u8>> {
        maildir.read_cached(MessageRef { name: b"1.one.host", subdir: Subdir::New, version }, max)
    }

    #[test]
    fn a_message_in_memory_is_read_if_it_is_not_too_long() {
        let dir = tempfile::tempdir().unwrap();
        let (maildir, version) = mailbox(dir.path(), b"Subject: a\n\nb\n");
        if maildir.has_cached_reads() {
            assert_eq!(read(&maildir, version, 14).unwrap(), b"Subject: a\n\nb\n");
        }
        assert_eq!(read(&maildir, version, 13), None);
    }

    #[test]
    fn an_empty_message_is_read_too() {
        let dir = tempfile::tempdir().unwrap();
        let (maildir, version) = mailbox(dir.path(), b"");
        assert_eq!(read(&maildir, version, 10).is_some(), maildir.has_cached_reads());
    }

    #[test]
    fn another_file_a_changed_one_a_link_and_a_missing_one_are_left_to_a_worker() {
        let dir = tempfile::tempdir().unwrap();
        let (maildir, version) = mailbox(dir.path(), b"one");
        let file = maildir.path().join("new/1.one.host");
        fs::write(&file, b"longer").unwrap();
        assert_eq!(read(&maildir, version, 100), None);
        fs::rename(&file, maildir.path().join("new/2.one.host")).unwrap();
        assert_eq!(read(&maildir, version, 100), None);
        std::os::unix::fs::symlink("2.one.host", &file).unwrap();
        let linked = FileVersion::of(&rustix::fs::stat(&file).unwrap());
        assert_eq!(read(&maildir, linked, 100), None);
    }
}
