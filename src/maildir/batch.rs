//! Names of a directory, many at a time: read in few calls, and examined by several threads.
//!
//! The rule: a batch decides only what one look decides. That is a regular file that we may read, if its octets are known
//! or one read of it counts them. Every other name is left to `scan.rs`, which knows all cases and all errors.

use std::{
    ffi::CStr,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, RawDir, Stat},
    io::{self, Errno},
    process::{Uid, geteuid},
};

use super::{
    FileVersion, Maildir, MessageEntry, Subdir,
    message::OPEN_FLAGS,
    name,
    size_cache::{SizeCache, SizesOfInode},
    size_counter::{CountSlice, MAX_SMALL_FILE},
};
use crate::wire_size::wire_size;

/// Names of one directory, as the directory lists them.
#[derive(Debug, Default)]
pub(super) struct NameBatch {
    /// The names, each with its final zero.
    text: Vec<u8>,
    listed: Vec<ListedName>,
}

#[derive(Debug, Clone, Copy)]
struct ListedName {
    start: usize,
    /// Without the zero.
    length: usize,
    inode: u64,
    is_regular: bool,
}

impl NameBatch {
    /// Replaces the names by the next ones of the directory. Returns `false` after the last.
    pub(super) fn read(&mut self, dir: &mut RawDir<'_, OwnedFd>) -> io::Result<bool> {
        self.text.clear();
        self.listed.clear();
        while self.listed.len() < MAX_NAMES {
            let Some(entry) = dir.next() else { break };
            let entry = entry?;
            let name = entry.file_name().to_bytes_with_nul();
            self.listed.push(ListedName {
                start: self.text.len(),
                length: name.len() - 1,
                inode: entry.ino(),
                is_regular: entry.file_type() == FileType::RegularFile,
            });
            self.text.extend_from_slice(name);
        }
        // Files that were made together lie together, on the disk and in memory.
        self.listed.sort_unstable_by_key(|name| name.inode);
        Ok(!self.listed.is_empty())
    }

    /// The name at that place of the batch.
    pub(super) fn name(&self, at: usize) -> &CStr {
        let ListedName { start, length, .. } = self.listed[at];
        CStr::from_bytes_with_nul(&self.text[start..=start + length]).unwrap_or_default() // invariant: it has its zero
    }
}

/// A directory, opened to list it.
pub(super) fn open_to_list(dir: impl AsFd) -> io::Result<OwnedFd> {
    fs::openat(dir, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Memory for the entries that one call lists.
pub(super) fn entry_buffer() -> Vec<MaybeUninit<u8>> {
    vec![MaybeUninit::uninit(); ENTRY_BUFFER]
}

/// The source of the octets of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SizeSource {
    /// The file of the folder.
    Known,
    /// Our own name.
    Name,
    /// The worker read the file.
    Counted,
}

/// The result of examining a batch.
#[derive(Debug, Default)]
pub(super) struct Examined {
    pub(super) messages: Vec<(MessageEntry, SizeSource)>,
    /// Places of the names that are left to the caller.
    pub(super) undecided: Vec<usize>,
    /// A file is not as it was, although it was to be believed.
    pub(super) is_stale: bool,
}

/// The names that a batch examines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Examine {
    All,
    /// All. A look at most of the files that were at rest before this second is left out: their directory is as it was.
    NotAtRest(i64),
}

/// Examines a batch of names, on the threads that are free.
pub(super) fn examine(
    maildir: &Maildir,
    subdir: Subdir,
    (batch, which): (&NameBatch, Examine),
    sizes: &SizeCache,
    turn: &mut CountSlice,
) -> Examined {
    let (budget, threads) = (turn.budget_for_small_files(), Arc::clone(&turn.threads));
    let examiner = Examiner {
        maildir,
        subdir,
        batch,
        which,
        sizes,
        turn,
        user: geteuid(),
        next: AtomicUsize::new(0),
        budget: AtomicU64::new(budget),
        is_stale: AtomicBool::new(false),
    };
    let helper = (batch.listed.len() >= NAMES_WORTH_A_THREAD).then(|| threads.try_enter()).flatten();
    let mut examined = Examined::default();
    if helper.is_some() {
        thread::scope(|scope| {
            // If no thread can be started, this one does all.
            let other =
                thread::Builder::new().name("scan".into()).spawn_scoped(scope, || examiner.run()).ok();
            examined = examiner.run();
            // A panic goes on here, because the names of that thread would be missing.
            let others = other.map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            if let Some(Examined { messages, undecided, .. }) = others {
                examined.messages.extend(messages);
                examined.undecided.extend(undecided);
            }
        });
    } else {
        examined = examiner.run();
    }
    examined.is_stale = examiner.is_stale.into_inner();
    let left = examiner.budget.into_inner();
    turn.charge(budget - left);
    examined
}

/// The threads of one batch share it, and take some names at a time.
struct Examiner<'a> {
    maildir: &'a Maildir,
    subdir: Subdir,
    batch: &'a NameBatch,
    which: Examine,
    sizes: &'a SizeCache,
    turn: &'a CountSlice,
    user: Uid,
    /// The first name that no thread has taken.
    next: AtomicUsize,
    /// Bytes that may still be counted.
    budget: AtomicU64,
    is_stale: AtomicBool,
}

/// The memory of one thread for counting.
struct Scratch {
    bytes: Vec<u8>,
    /// The time of access of a file stays as it is, unless the file is another user's.
    open_flags: OFlags,
}

impl Examiner<'_> {
    fn run(&self) -> Examined {
        let mut examined = Examined::default();
        let mut scratch = Scratch { bytes: Vec::new(), open_flags: OPEN_FLAGS.union(OFlags::NOATIME) };
        let all = self.batch.listed.len();
        loop {
            let start = self.next.fetch_add(NAMES_AT_A_TIME, Ordering::Relaxed);
            if start >= all {
                return examined;
            }
            let mut sizes = self.sizes.in_order();
            for at in start..all.min(start + NAMES_AT_A_TIME) {
                let of_inode = sizes.of_inode(self.batch.listed[at].inode);
                match self.examine_name(at, of_inode, &mut scratch) {
                    Some(message) => examined.messages.push(message),
                    None => examined.undecided.push(at),
                }
            }
        }
    }

    /// The message of that name. `None`: another look decides.
    fn examine_name(
        &self,
        at: usize,
        sizes: SizesOfInode<'_>,
        scratch: &mut Scratch,
    ) -> Option<(MessageEntry, SizeSource)> {
        let (name, is_regular) = (self.batch.name(at), self.batch.listed[at].is_regular);
        let text = name.to_bytes();
        if !is_regular || name::is_hidden(text) {
            return None;
        }
        let at_rest = self.at_rest(sizes);
        let (version, octets, source) = if let Some((version, octets)) = at_rest
            && !at.is_multiple_of(SAMPLE_EVERY)
        {
            (version, octets, SizeSource::Known)
        } else if !sizes.is_empty() || name::sizes_in_name(text).is_some() {
            let stat = fs::statat(self.maildir.dir(self.subdir), name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            let needs_check = needs_access_check(&stat, self.user);
            if at_rest.is_some_and(|(version, _)| needs_check || version != FileVersion::of(&stat)) {
                self.is_stale.store(true, Ordering::Relaxed);
            }
            let version = self.acceptable(&stat)?;
            if needs_check {
                return None;
            }
            let kept = sizes.get(&version);
            let octets = name::wire_size_in_name(text, version.bytes).or(kept)?;
            (version, octets, if kept == Some(octets) { SizeSource::Known } else { SizeSource::Name })
        } else {
            let (version, octets) = self.count(name, scratch)?;
            (version, octets, SizeSource::Counted)
        };
        let message = MessageEntry { name: text.into(), subdir: self.subdir, version, octets };
        Some((message, source))
    }

    /// The file of an inode, if it was at rest and can be believed to be as it was.
    fn at_rest(&self, sizes: SizesOfInode<'_>) -> Option<(FileVersion, u64)> {
        let Examine::NotAtRest(second) = self.which else { return None };
        sizes.only().filter(|(file, _)| file.modified.0 < second && !self.turn.is_too_large(file.bytes))
    }

    /// The version of a file that may be a message.
    fn acceptable(&self, stat: &Stat) -> Option<FileVersion> {
        let version = FileVersion::of(stat);
        let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        (is_regular && !self.turn.is_too_large(version.bytes)).then_some(version)
    }

    /// Counts a small file. The version is that of the open file, so it needs no look before.
    fn count(&self, name: &CStr, scratch: &mut Scratch) -> Option<(FileVersion, u64)> {
        let dir = self.maildir.dir(self.subdir);
        let mut file = fs::openat(dir, name, scratch.open_flags, Mode::empty());
        if matches!(file, Err(Errno::PERM)) {
            scratch.open_flags = OPEN_FLAGS;
            file = fs::openat(dir, name, OPEN_FLAGS, Mode::empty());
        }
        let file = file.ok()?;
        let version = self.acceptable(&fs::fstat(&file).ok()?)?;
        let length = usize::try_from(version.bytes).ok().filter(|length| *length <= MAX_SMALL_FILE)?;
        self.take_budget(CountSlice::cost_of(version.bytes))?;
        if scratch.bytes.len() < length {
            scratch.bytes.resize(length.next_power_of_two(), 0);
        }
        let bytes = &mut scratch.bytes[..length];
        let read = if length == 0 { 0 } else { io::pread(&file, &mut *bytes, 0).ok()? };
        (read == length).then(|| (version, wire_size(bytes)))
    }

    fn take_budget(&self, bytes: u64) -> Option<u64> {
        self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).ok()
    }
}

/// Whether the system must be asked if `user` may read the file. Our own files, which are most, need no question.
pub(super) fn needs_access_check(stat: &Stat, user: Uid) -> bool {
    let needed = if stat.st_uid == user.as_raw() { Mode::RUSR } else { Mode::RGRP | Mode::ROTH };
    !Mode::from_raw_mode(stat.st_mode).contains(needed)
}

/// Names of one batch. Their memory is a megabyte or two.
const MAX_NAMES: usize = 16_384;
/// Names below which another thread would cost more than it saves.
const NAMES_WORTH_A_THREAD: usize = 1024;
/// Of so many files that can be believed to be as they were, one is looked at: if other programs have changed the times of all
/// files, as a restored copy has them, or closed them to us, this shows it.
const SAMPLE_EVERY: usize = 256;
/// Names that a thread takes at a time.
const NAMES_AT_A_TIME: usize = 128;
/// Bytes of memory for the entries that one call lists.
const ENTRY_BUFFER: usize = 64 * 1024;
