//! Reads a message file to count its octets on the wire, a bounded part at a time, so that no user's file keeps a
//! worker from the mailboxes of other users.

use std::{collections::HashSet, mem, os::fd::AsFd, sync::Arc};

use rustix::{fs, io::Errno};

use super::{entry::FileVersion, scan_threads::ScanThreads};
use crate::wire_size::WireSizeCounter;

/// The bounds on counting sizes, so that no file keeps a worker from other mailboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// Bytes of the largest message; a larger file is no message.
    pub max_size: u64,
    /// Bytes counted in one turn.
    pub slice_bytes: u64,
}

/// The progress of earlier turns.
#[derive(Debug, Default)]
pub struct CountProgress {
    /// Files that were counted whole. The file of sizes has them too, if it could be written.
    pub counted: Vec<(FileVersion, u64)>,
    /// The file in which the last turn ended.
    partial: Option<PartialCount>,
    /// Inodes of files that changed between two turns.
    changing_inodes: HashSet<u64>,
}

#[derive(Debug)]
struct PartialCount {
    stamp: FileVersion,
    offset: u64,
    octets: WireSizeCounter,
}

/// The share of counting in one turn of a worker.
#[derive(Debug)]
pub struct CountSlice {
    limits: ScanLimits,
    remaining: u64,
    /// The progress so far, which the next turn continues.
    pub progress: CountProgress,
    /// The threads that may help.
    pub(super) threads: Arc<ScanThreads>,
    /// Memory for the bytes of a file, empty before the first.
    buffer: Vec<u8>,
}

/// The result of counting a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Counted {
    /// Its octets on the wire.
    Octets(u64),
    /// The turn is over: the next one goes on in this file.
    SliceExhausted,
    /// It changes faster than it can be counted.
    KeepsChanging,
}

impl CountSlice {
    /// A turn that continues from that progress.
    pub fn new(bounds: ScanLimits, progress: CountProgress) -> Self {
        Self {
            limits: bounds,
            remaining: bounds.slice_bytes,
            progress,
            threads: Arc::new(ScanThreads::new(0)),
            buffer: Vec::new(),
        }
    }

    /// Lets other threads help.
    #[must_use]
    pub fn with_threads(self, threads: Arc<ScanThreads>) -> Self {
        Self { threads, ..self }
    }

    /// A turn for callers that may wait: it never ends, and counts files of up to so many bytes.
    pub fn unbounded(largest: u64) -> Self {
        Self::new(ScanLimits { max_size: largest, slice_bytes: u64::MAX }, CountProgress::default())
    }

    /// Whether a file of so many bytes is too large for a message.
    pub fn is_too_large(&self, bytes: u64) -> bool {
        bytes > self.limits.max_size
    }

    /// Whether the turn has nothing left.
    pub fn is_spent(&self) -> bool {
        self.remaining == 0
    }

    /// Takes names that were read from the rest of this turn.
    pub fn charge_names(&mut self, names: usize) {
        self.charge(names as u64 * COST_OF_A_NAME);
    }

    /// Bytes that this turn may count in small files, in any order: none while an earlier turn's file is to be continued, or
    /// has changed.
    pub(super) fn budget_for_small_files(&self) -> u64 {
        let is_fresh = self.progress.partial.is_none() && self.progress.changing_inodes.is_empty();
        if is_fresh { self.remaining } else { 0 }
    }

    /// Takes bytes that were counted from the rest of this turn.
    pub(super) fn charge(&mut self, bytes: u64) {
        self.remaining = self.remaining.saturating_sub(bytes);
    }

    /// The bytes that a file of that size counts for.
    pub(super) fn cost_of(bytes: u64) -> u64 {
        bytes.max(MIN_COST_PER_FILE)
    }

    /// Counts a file up to the size in its stamp, because a growing file has no end. If it was removed meanwhile, the
    /// error is [`Errno::NOENT`].
    pub fn count(&mut self, file: impl AsFd, stamp: FileVersion) -> Result<Counted, Errno> {
        let mut buffer = mem::take(&mut self.buffer);
        buffer.resize(BUFFER, 0);
        let counted = self.count_into(&mut buffer, file, stamp);
        self.buffer = buffer;
        counted
    }

    fn count_into(
        &mut self,
        buffer: &mut [u8],
        file: impl AsFd,
        stamp: FileVersion,
    ) -> Result<Counted, Errno> {
        let (mut at, mut octets) = match self.progress.partial.take() {
            Some(begun) if begun.stamp == stamp => (begun.offset, begun.octets),
            other => {
                if other.as_ref().is_some_and(|begun| begun.stamp.inode == stamp.inode) {
                    self.progress.changing_inodes.insert(stamp.inode);
                } else {
                    self.progress.partial = other;
                }
                Default::default()
            }
        };
        if self.progress.changing_inodes.contains(&stamp.inode) {
            return Ok(Counted::KeepsChanging);
        }
        let (mut next_check, mut read) = (at + CHECK_EVERY, 0);
        while at < stamp.bytes {
            if self.remaining == 0 {
                self.progress.partial = Some(PartialCount { stamp, offset: at, octets });
                return Ok(Counted::SliceExhausted);
            }
            if at >= next_check {
                next_check = at + CHECK_EVERY;
                if fs::fstat(&file)?.st_nlink == 0 {
                    return Err(Errno::NOENT);
                }
            }
            let most = usize::try_from((stamp.bytes - at).min(self.remaining)).unwrap_or(BUFFER).min(BUFFER);
            match rustix::io::pread(&file, &mut buffer[..most], at) {
                Ok(0) => break, // it was cut short
                Ok(n) => {
                    octets.feed(&buffer[..n]);
                    (at, read) = (at + n as u64, read + n as u64);
                    self.remaining -= n as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        self.charge(MIN_COST_PER_FILE.saturating_sub(read));
        Ok(Counted::Octets(octets.total()))
    }
}

const BUFFER: usize = 64 * 1024;
/// The largest file that a batch counts. One read counts it, and no other mailbox waits long for that.
pub(super) const MAX_SMALL_FILE: usize = 64 * 1024;
/// Bytes after which the worker checks that the file still has a name.
const CHECK_EVERY: u64 = 8 << 20;
/// Bytes that take as long to be counted as a name to be read.
const COST_OF_A_NAME: u64 = 512;
/// Smallest number of bytes that a file counts for, because opening it costs too.
const MIN_COST_PER_FILE: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Seek, Write},
    };

    use super::*;
    use crate::{
        maildir::{
            MessageEntry, Spool, Subdir,
            scan::{TOO_LARGE, scan},
            size_cache,
        },
        wire_size,
    };

    const BOUNDS: ScanLimits = ScanLimits { max_size: 1 << 40, slice_bytes: 1 << 40 };

    fn stamp(file: &File) -> FileVersion {
        FileVersion::of(&fs::fstat(file).unwrap())
    }

    #[test]
    fn a_file_without_a_name_is_gone_after_some_mebibytes_whatever_its_size() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        let mut turn = CountSlice::new(BOUNDS, CountProgress::default());
        assert_eq!(turn.count(&file, stamp(&file)), Err(Errno::NOENT));
        assert_eq!(turn.remaining, BOUNDS.slice_bytes - CHECK_EVERY);
    }

    #[test]
    fn a_file_that_grows_is_counted_up_to_the_size_it_had() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"a\nb\n").unwrap();
        let before = stamp(&file);
        file.set_len(1 << 40).unwrap();
        let mut turn = CountSlice::new(BOUNDS, CountProgress::default());
        assert_eq!(turn.count(&file, before), Ok(Counted::Octets(6)));
    }

    #[test]
    fn however_short_the_turns_the_sum_is_the_same_and_every_turn_ends() {
        let message = b"Subject: x\n\r\n\na\r".repeat(4000);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&message).unwrap();
        let stamp = stamp(&file);
        for length in [1001, 4096, 65_537, message.len() as u64 - 1, message.len() as u64, 1 << 40] {
            let (bounds, mut progress) =
                (ScanLimits { slice_bytes: length, ..BOUNDS }, CountProgress::default());
            let mut turns = 1;
            let octets = loop {
                let mut turn = CountSlice::new(bounds, progress);
                match turn.count(&file, stamp).unwrap() {
                    Counted::Octets(octets) => break octets,
                    other => assert_eq!(other, Counted::SliceExhausted),
                }
                progress = turn.progress;
                turns += 1;
            };
            assert_eq!(octets, wire_size::wire_size(&message), "{length}");
            assert_eq!(turns, (message.len() as u64).div_ceil(length), "{length}");
        }
    }

    #[test]
    fn a_file_that_changes_between_turns_keeps_none_of_them() {
        let mut file = tempfile::tempfile().unwrap();
        let bounds = ScanLimits { slice_bytes: 1, ..BOUNDS };
        let mut progress = CountProgress::default();
        let mut seen = Vec::new();
        for _ in 0..4 {
            file.seek(std::io::SeekFrom::End(0)).unwrap();
            file.write_all(b"more\n").unwrap();
            let mut turn = CountSlice::new(bounds, progress);
            seen.push(turn.count(&file, stamp(&file)).unwrap());
            progress = turn.progress;
        }
        let unsteady = || Counted::KeepsChanging;
        assert_eq!(seen, [Counted::SliceExhausted, unsteady(), unsteady(), unsteady()]);
    }

    #[test]
    fn a_walk_in_turns_finds_what_one_in_one_finds_also_where_nothing_can_be_written_down() {
        for writable in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let maildir = Spool::open(dir.path()).unwrap().open_or_create_maildir("bob").unwrap();
            for n in 0..5_usize {
                let subdir = Subdir::ALL[n % 2].name();
                std::fs::write(maildir.path().join(subdir).join(format!("{n}.a")), b"x\n".repeat(n * 3000))
                    .unwrap();
            }
            if !writable {
                std::fs::create_dir(maildir.path().join(size_cache::FILE)).unwrap();
            }
            let (mut progress, mut turns) = (CountProgress::default(), 0);
            let mut found = loop {
                let mut turn = CountSlice::new(ScanLimits { slice_bytes: 5000, ..BOUNDS }, progress);
                turns += 1;
                match scan(&maildir, [], &mut turn).unwrap() {
                    Some(scan) => break scan.messages,
                    None => progress = turn.progress,
                }
                assert!(turns < 100, "no walk begins anew in every turn");
            };
            let mut octets: Vec<u64> = found.iter().map(|found| found.octets).collect();
            octets.sort_unstable();
            assert_eq!(octets, [0, 9000, 18_000, 27_000, 36_000], "{writable}");
            assert!(turns > 5, "{turns}");
            let sort = |found: &mut Vec<MessageEntry>| found.sort_by(|a, b| a.name.cmp(&b.name));
            let mut at_once =
                scan(&maildir, [], &mut CountSlice::unbounded(1 << 40)).unwrap().unwrap().messages;
            sort(&mut at_once);
            sort(&mut found);
            assert_eq!(found, at_once);
        }
    }

    #[test]
    fn a_file_above_the_bound_is_left_out_unread() {
        let dir = tempfile::tempdir().unwrap();
        let maildir = Spool::open(dir.path()).unwrap().open_or_create_maildir("bob").unwrap();
        let ours = crate::maildir::name::NameGenerator::new("mx", 1)
            .next(std::time::UNIX_EPOCH, 1)
            .final_name(11, Some(11));
        for (name, bytes) in [("1.a", 10), ("2.b", 11), (&*ours, 11)] {
            std::fs::write(maildir.path().join("new").join(name), vec![b'x'; bytes]).unwrap();
        }
        let scan = scan(&maildir, [], &mut CountSlice::unbounded(10)).unwrap().unwrap();
        assert_eq!(scan.messages.iter().map(|found| &*found.name).collect::<Vec<_>>(), [b"1.a"]);
        assert!(scan.skipped.iter().all(|file| file.why == TOO_LARGE), "{:?}", scan.skipped);
        assert_eq!(scan.skipped.len(), 2);
    }

    #[test]
    fn u150_the_advice_about_a_file_that_is_too_large_has_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let maildir = Spool::open(dir.path()).unwrap().open_or_create_maildir("bob").unwrap();
        let file = maildir.path().join("new/1.a");
        std::fs::write(&file, b"eleven octs").unwrap();
        let scan = scan(&maildir, [], &mut CountSlice::unbounded(10)).unwrap().unwrap();
        let advice = |bytes: u64| format!("list {bytes}");
        assert_eq!(scan.skipped[0].advice(&file, advice).as_deref(), Some("list 11"));
    }

    #[test]
    fn small_files_end_a_turn_too() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"x\n").unwrap();
        let mut turn = CountSlice::new(
            ScanLimits { slice_bytes: 2 * MIN_COST_PER_FILE, ..BOUNDS },
            CountProgress::default(),
        );
        for expected in [Counted::Octets(3), Counted::Octets(3), Counted::SliceExhausted] {
            assert_eq!(turn.count(&file, stamp(&file)), Ok(expected));
        }
    }
}
