//! Reads of messages that never wait, for the event loop: only of what the kernel has in memory.
//!
//! The kernel keeps that promise. `RESOLVE_CACHED` opens a file only if its name and inode are in memory, `RWF_NOWAIT`
//! reads only pages that are (openat2(2), preadv2(2)), and `O_NOATIME` begins no transaction for the time of access. Any
//! other answer is a reason to ask a worker, which may wait and finds the cause.
//!
//! On other file systems even the opening of a file in memory may ask a server, so only some local ones are read in
//! this way.

use std::{
    io::IoSliceMut,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{self, Mode, OFlags, ResolveFlags},
    io::{self, ReadWriteFlags},
};

use super::{
    Maildir, MessageRef, OpenMessage,
    message::{OPEN_FLAGS, is_listed_file},
};
use crate::deferred_drop::ReadFile;

/// A piece of a message that was in memory.
#[derive(Debug)]
pub struct CachedPiece {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The open message, if there is more to read.
    pub still_open: Option<OpenMessage>,
}

impl Maildir {
    /// Opens the listed message and reads its first `max` bytes, or all if it is shorter. `None`: that may wait, or the
    /// file is not the listed one.
    pub fn read_cached(&self, wanted: MessageRef<'_>, max: usize) -> Option<CachedPiece> {
        if !self.has_cached_reads() {
            return None;
        }
        let flags = OPEN_FLAGS.union(OFlags::NOATIME);
        let file = fs::openat2(self.dir(wanted.subdir), wanted.name, flags, Mode::empty(), IN_MEMORY).ok()?;
        let file = ReadFile::from(file);
        if !is_listed_file(&*file, wanted).ok()? {
            return None;
        }
        let length = wanted.version.bytes;
        let bytes = read_cached_at(&file, 0, usize::try_from(length).map_or(max, |length| length.min(max)))?;
        let still_open =
            (bytes.len() as u64 != length).then(|| OpenMessage::from_listed_file(self, file, wanted));
        Some(CachedPiece { bytes, still_open })
    }
}

impl OpenMessage {
    /// Reads up to `max` bytes at `from`, or returns the message because that may wait.
    pub fn read_cached(self, from: u64, max: usize) -> Result<CachedPiece, Self> {
        let (length, last) = self.piece(from, max);
        match read_cached_at(self.file(), from, length) {
            Some(bytes) => Ok(CachedPiece { bytes, still_open: (!last).then_some(self) }),
            None => Err(self),
        }
    }
}

/// Reads exactly `length` bytes. `None`: not all of them are in memory, or there are fewer.
fn read_cached_at(file: &OwnedFd, from: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = io::preadv2(file.as_fd(), &mut [IoSliceMut::new(&mut bytes)], from, ReadWriteFlags::NOWAIT);
    (read == Ok(length)).then_some(bytes)
}

const IN_MEMORY: ResolveFlags = ResolveFlags::CACHED
    .union(ResolveFlags::BENEATH)
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_XDEV);
