//! `.restante.sizes`: the counted octets of other programs' files, so that a restart does not read them again.
//!
//! Records of fixed size, each with its own crc, appended. It is a cache: a torn, stale or foreign record is skipped,
//! and an unreadable or read-only file costs only time.
//!
//! The file is read into mapped memory, which is returned to the system at once. No file in the spool is mapped itself,
//! because other programs write there: if one cuts a mapped file short, or a sector is bad, the process dies (SIGBUS).
//!
//! Servers that share a spool append to it at the same time, and NFS may write the records of one over those of
//! another. All records have one size and start at multiples of it, so only whole records are lost, and their files are
//! counted again.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::Path,
};

use memmap2::MmapMut;

use super::{
    Error, FileVersion, Maildir,
    cache_file::{open, open_in, open_to_append, replace},
};
use crate::{safe_file::Durability, wire_size::is_plausible};

/// The file, beside the messages.
pub const FILE: &str = ".restante.sizes";

/// Octets on the wire of the files with these stamps.
///
/// A sorted list and no hash map: it is filled once and then asked for every file of the mailbox, and no records that a
/// user has written can make a question slow.
#[derive(Debug, Default)]
pub struct SizeCache {
    /// Sorted by stamp.
    known: Vec<(FileVersion, u64)>,
    /// Counts that the file does not have yet, in no order. `known` has the first `merged` of them too.
    new_entries: Vec<(FileVersion, u64)>,
    merged: usize,
    /// Records in the file, good or not.
    records: usize,
}

impl SizeCache {
    /// The content of the file of a mailbox.
    pub fn load(maildir: &Maildir) -> Self {
        Self::read(maildir).unwrap_or_else(|error| {
            if error.kind() != super::Kind::Gone {
                log::warn!("{error}: cannot read size cache, recounting");
            }
            Self::default()
        })
    }

    fn read(maildir: &Maildir) -> Result<Self, Error> {
        let mut file = open(maildir, FILE)?;
        let read = contents(&mut file).map_err(|e| Error::at(maildir.path().join(FILE), "read", e))?;
        Ok(read.map_or_else(Self::default, |bytes| Self::parse(&bytes)))
    }

    fn parse(bytes: &[u8]) -> Self {
        let mut known: Vec<_> =
            bytes.chunks_exact(RECORD).filter_map(|record| decode(record.try_into().ok()?)).collect();
        sort(&mut known);
        Self { known, records: bytes.len().div_ceil(RECORD), ..Self::default() }
    }

    /// The octets of the file with that stamp, if they were counted before. New counts are known after
    /// [`SizeCache::merge_new`].
    pub fn get(&self, stamp: &FileVersion) -> Option<u64> {
        let at = self.known.binary_search_by_key(stamp, |(known, _)| *known).ok()?;
        Some(self.known[at].1)
    }

    /// Finds files one after the other, in the order of their inodes.
    pub(super) fn in_order(&self) -> SizeCursor<'_> {
        SizeCursor { rest: &self.known }
    }

    /// Adds a new count, to be written later.
    pub fn insert(&mut self, stamp: FileVersion, octets: u64) {
        self.new_entries.push((stamp, octets));
    }

    /// Makes the new counts known.
    pub fn merge_new(&mut self) {
        if self.merged < self.new_entries.len() {
            self.known.extend_from_slice(&self.new_entries[self.merged..]);
            self.merged = self.new_entries.len();
            sort(&mut self.known);
        }
    }

    /// Adds counts that the file has already, or that cannot be written.
    pub fn preload(&mut self, sizes: &[(FileVersion, u64)]) {
        if !sizes.is_empty() {
            self.known.extend_from_slice(sizes);
            sort(&mut self.known);
        }
    }

    /// The counts that are not written yet.
    pub fn new_entries(&self) -> &[(FileVersion, u64)] {
        &self.new_entries
    }

    /// Writes the new counts. `live` are the stamps of all existing messages, if they are known: a file with more than
    /// twice as many records is written anew with the useful ones.
    pub fn save(mut self, maildir: &Maildir, live: Option<&[FileVersion]>) {
        let saved = match live {
            Some(live) if self.records > 2 * live.len() + SPARE_RECORDS => {
                self.merge_new();
                self.compact(maildir, live)
            }
            _ => append(maildir, &self.new_entries),
        };
        if let Err(error) = saved {
            log::debug!("{error}: cannot write size cache");
        }
    }

    fn compact(self, maildir: &Maildir, live: &[FileVersion]) -> Result<(), Error> {
        let kept: Vec<u8> =
            live.iter().filter_map(|stamp| Some(encode(stamp, self.get(stamp)?))).flatten().collect();
        replace(maildir, FILE, &kept, Durability::Cached)
    }
}

/// Finds the counts of files that come in the order of their inodes, so that each search begins where the last one ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct SizeCursor<'a> {
    rest: &'a [(FileVersion, u64)],
}

impl<'a> SizeCursor<'a> {
    /// The counts of an inode, in all its versions. The next call may not name a lower inode.
    pub(super) fn of_inode(&mut self, inode: u64) -> SizesOfInode<'a> {
        self.rest = after(self.rest, |(known, _)| known.inode < inode);
        let later = after(self.rest, |(known, _)| known.inode == inode);
        SizesOfInode(&self.rest[..self.rest.len() - later.len()])
    }
}

/// The counts of one inode.
#[derive(Debug, Clone, Copy)]
pub(super) struct SizesOfInode<'a>(&'a [(FileVersion, u64)]);

impl SizesOfInode<'_> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(self, stamp: &FileVersion) -> Option<u64> {
        self.0.binary_search_by_key(stamp, |(known, _)| *known).ok().map(|at| self.0[at].1)
    }
}

/// The part of a sorted list after the entries that are `before`. They are few, so the search looks near the start first.
fn after<T>(list: &[T], before: impl Fn(&T) -> bool) -> &[T] {
    let mut end = 1;
    while list.get(end - 1).is_some_and(&before) {
        end *= 2;
    }
    let (start, end) = (end / 2, end.min(list.len()));
    &list[start + list[start..end].partition_point(before)..]
}

/// Sorts counts by stamp. Of two counts of one stamp, the later one is kept.
fn sort(known: &mut Vec<(FileVersion, u64)>) {
    known.sort_by_key(|(stamp, _)| *stamp); // stable
    known.dedup_by(|later, kept| {
        let is_same = later.0 == kept.0;
        if is_same {
            *kept = *later;
        }
        is_same
    });
}

/// Records of the file of a mailbox: how many there are, and how many of them are torn or not ours.
pub fn count_records(maildir: &OwnedFd, path: &Path) -> Result<(usize, usize), Error> {
    let mut file = open_in(maildir, path, FILE)?;
    let read = contents(&mut file).map_err(|e| Error::at(path.join(FILE), "read", e))?;
    let Some(bytes) = read else { return Ok((0, 0)) };
    let good = |record: &[u8]| record.try_into().is_ok_and(|record| decode(record).is_some());
    let broken = bytes.chunks(RECORD).filter(|record| !good(record)).count();
    Ok((bytes.len().div_ceil(RECORD), broken))
}

/// The content of the file; `None` if it is empty.
fn contents(file: &mut File) -> io::Result<Option<MmapMut>> {
    let length = file.metadata()?.len();
    if length > MAX_BYTES {
        return Err(io::Error::other(format!("{length} octets are more than it ever has: remove it")));
    }
    if length == 0 {
        return Ok(None);
    }
    let mut bytes = MmapMut::map_anon(length as usize)?;
    let mut read = 0;
    while read < bytes.len() {
        match file.read(&mut bytes[read..]) {
            Ok(0) => break, // it was cut short: zeros are no record
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(bytes))
}

/// Appends records in one write. If a crash has torn the tail, it is filled up, and readers skip it.
pub fn append(maildir: &Maildir, sizes: &[(FileVersion, u64)]) -> Result<(), Error> {
    if sizes.is_empty() {
        return Ok(());
    }
    let failed = |step| move |e: std::io::Error| Error::at(maildir.path().join(FILE), step, e);
    let mut file = open_to_append(maildir, FILE)?;
    let torn = file.metadata().map_err(failed("stat"))?.len() % RECORD as u64;
    let filling = if torn == 0 { 0 } else { RECORD - torn as usize };
    let mut bytes = vec![0; filling];
    bytes.extend(sizes.iter().flat_map(|(stamp, octets)| encode(stamp, *octets)));
    file.write_all(&bytes).map_err(failed("write"))
}

/// Bytes of a record: inode, bytes, seconds, nanoseconds, octets, crc32; little-endian.
const RECORD: usize = 8 + 8 + 8 + 4 + 8 + 4;
/// The position of the crc.
const CRC: usize = RECORD - 4;
/// The largest file in bytes: six million records, more than any mailbox has messages.
const MAX_BYTES: u64 = 256 << 20;
/// Excess records that make it worth writing a file anew.
const SPARE_RECORDS: usize = 1024;

fn encode(stamp: &FileVersion, octets: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[0..8].copy_from_slice(&stamp.inode.to_le_bytes());
    record[8..16].copy_from_slice(&stamp.bytes.to_le_bytes());
    record[16..24].copy_from_slice(&stamp.modified.0.to_le_bytes());
    record[24..28].copy_from_slice(&stamp.modified.1.to_le_bytes());
    record[28..36].copy_from_slice(&octets.to_le_bytes());
    let crc = crc32(&record[..CRC]);
    record[CRC..].copy_from_slice(&crc.to_le_bytes());
    record
}

fn decode(record: &[u8; RECORD]) -> Option<(FileVersion, u64)> {
    let number = |at: usize| record[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    let short = |at: usize| record[at..at + 4].try_into().map(u32::from_le_bytes).ok();
    let (inode, bytes, octets) = (number(0)?, number(8)?, number(28)?);
    let modified = (i64::from_le_bytes(record[16..24].try_into().ok()?), short(24)?);
    let good = is_plausible(octets, bytes) && short(CRC)? == crc32(&record[..CRC]);
    good.then_some((FileVersion { inode, bytes, modified }, octets))
}

/// The crc begins with the kind of the file, so that a file of zeros or of another kind has no good record.
fn crc32(record: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(b"restante sizes 1");
    crc.update(record);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::Spool;

    fn mailbox() -> (tempfile::TempDir, Maildir) {
        let dir = tempfile::tempdir().unwrap();
        let maildir = Spool::open(dir.path()).unwrap().open_or_create_maildir("box").unwrap();
        (dir, maildir)
    }

    fn stamp(inode: u64) -> FileVersion {
        FileVersion { inode, bytes: 10, modified: (inode as i64, 5) }
    }

    #[test]
    fn what_was_appended_is_known_again() {
        let (_dir, maildir) = mailbox();
        append(&maildir, &[(stamp(1), 11)]).unwrap();
        append(&maildir, &[(stamp(2), 12)]).unwrap();
        let sizes = SizeCache::load(&maildir);
        assert_eq!(
            (sizes.get(&stamp(1)), sizes.get(&stamp(2)), sizes.get(&stamp(3))),
            (Some(11), Some(12), None)
        );
    }

    #[test]
    fn a_torn_or_changed_record_is_passed_over_and_the_others_are_not() {
        let (_dir, maildir) = mailbox();
        append(&maildir, &[(stamp(1), 11), (stamp(2), 12)]).unwrap();
        let path = maildir.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..RECORD {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            let sizes = SizeCache::load(&maildir);
            assert_eq!((sizes.known.len(), sizes.get(&stamp(2))), (1, Some(12)), "byte {at}");
        }
        for length in RECORD..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            append(&maildir, &[(stamp(3), 13)]).unwrap();
            let sizes = SizeCache::load(&maildir);
            assert_eq!((sizes.get(&stamp(1)), sizes.get(&stamp(3))), (Some(11), Some(13)), "cut at {length}");
        }
    }

    #[test]
    fn foreign_content_is_never_trusted_and_never_fatal() {
        let (_dir, maildir) = mailbox();
        let path = maildir.path().join(FILE);
        for content in [vec![0; 4000], vec![0xff; 41], b"hello".to_vec(), Vec::new()] {
            std::fs::write(&path, &content).unwrap();
            assert!(SizeCache::load(&maildir).known.is_empty());
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(SizeCache::load(&maildir).known.is_empty());
        let mut sizes = SizeCache::default();
        sizes.insert(stamp(1), 11);
        sizes.save(&maildir, None);
    }

    #[test]
    fn a_file_of_mostly_dead_records_is_written_anew() {
        let (_dir, maildir) = mailbox();
        let many: Vec<(FileVersion, u64)> = (0..3000).map(|inode| (stamp(inode), 11)).collect();
        append(&maildir, &many).unwrap();
        let mut sizes = SizeCache::load(&maildir);
        sizes.insert(stamp(9000), 12);
        sizes.save(&maildir, Some(&[stamp(5), stamp(9000)]));
        let sizes = SizeCache::load(&maildir);
        assert_eq!((sizes.records, sizes.get(&stamp(5)), sizes.get(&stamp(9000))), (2, Some(11), Some(12)));
        assert_eq!(std::fs::read_dir(maildir.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn servers_that_append_and_write_anew_at_the_same_time_leave_no_wrong_record() {
        let (_dir, maildir) = mailbox();
        let octets = |inode: u64| 10 + inode % 7;
        let most = 6 * SPARE_RECORDS as u64;
        std::thread::scope(|scope| {
            for server in 0..3 {
                let maildir = &maildir;
                scope.spawn(move || {
                    for inode in (server..most).step_by(3) {
                        if inode % 500 < 3 {
                            let live: Vec<FileVersion> =
                                (inode.saturating_sub(20)..=inode).map(stamp).collect();
                            let mut sizes = SizeCache::load(maildir);
                            for (stamp, known) in &sizes.known {
                                assert_eq!(*known, octets(stamp.inode));
                            }
                            sizes.insert(stamp(inode), octets(inode));
                            sizes.save(maildir, Some(&live));
                        } else {
                            append(maildir, &[(stamp(inode), octets(inode))]).unwrap();
                        }
                    }
                });
            }
        });
        let sizes = SizeCache::load(&maildir);
        assert!(!sizes.known.is_empty() && (sizes.records as u64) < most, "{}", sizes.records);
        assert!(sizes.known.iter().all(|(stamp, known)| *known == octets(stamp.inode)));
    }
}
