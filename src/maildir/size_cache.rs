//! The files in `.restante.index`, with their octets on the wire: a restart does not read the messages of other programs
//! again, and does not look at a file whose directory and version are as they were.
//!
//! It is a cache: a torn, stale or foreign part is skipped, and an unreadable or read-only file costs only time.

use std::collections::HashSet;

pub use super::index_file::FILE;
use super::{
    Error, FileVersion, Maildir, Subdir,
    cache_file::open,
    entry::DirState,
    index_file::{
        Content, HEADERS, KeptFiles, KeptTimes, Part, UidHeader, append_files, encode_headers, lock,
        replace_all,
    },
};
use crate::safe_file::Durability;

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
    /// Files that the file does not have, because their names tell their octets.
    named: Vec<(FileVersion, u64)>,
    /// Parts of the file, good or not.
    parts: usize,
    /// The state of the directories when the file had all messages.
    times: Option<KeptTimes>,
    /// Whether a file may be believed to be as it was then, without a look.
    trusts_times: bool,
    /// Whether the file may be written anew although it has UIDs.
    rewrites_uids: bool,
}

impl SizeCache {
    /// The content of the file of a mailbox.
    pub fn load(maildir: &Maildir) -> Self {
        match read(maildir) {
            Ok(content) => Self::parse(&content),
            Err(error) => {
                if error.kind() != super::Kind::Gone {
                    log::warn!("{error}: cannot read the sizes in it, recounting");
                }
                Self::default()
            }
        }
    }

    fn parse(content: &Content) -> Self {
        let mut known = Vec::with_capacity(content.count());
        known.extend(content.files());
        sort(&mut known);
        Self { known, parts: content.count(), times: content.kept_times(), ..Self::default() }
    }

    /// Believes that a file is as it was, if its directory is. Nothing is known about the files then, so that any list of them
    /// is as good as none.
    pub fn trust_times(&mut self) {
        self.trusts_times = true;
    }

    /// Lets a file with UIDs be written anew, too. No other process may reserve UIDs meanwhile: the reservation would be lost.
    pub fn rewrite_uids(&mut self) {
        self.rewrites_uids = true;
    }

    /// Looks at all files again.
    pub(super) fn distrust_times(&mut self) {
        self.trusts_times = false;
    }

    /// The second before which a file was at rest, if a look at it can be left out.
    pub(super) fn at_rest_before(&self, subdir: Subdir, now: &[DirState; 2]) -> Option<i64> {
        self.times.filter(|_| self.trusts_times)?.fit(subdir, now)
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

    /// Adds a file whose name tells its octets.
    pub(super) fn insert_named(&mut self, stamp: FileVersion, octets: u64) {
        self.named.push((stamp, octets));
    }

    /// Forgets the files that were added because of their names.
    pub(super) fn clear_named(&mut self) {
        self.named.clear();
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
    /// twice as many parts is written anew with the useful ones.
    pub fn save(self, maildir: &Maildir, live: Option<&[FileVersion]>) {
        self.save_with(maildir, live, None);
    }

    /// The same. With the state of the directories, all `live` files are written, if they are so many that a look at each takes
    /// long.
    pub(super) fn save_with(
        mut self,
        maildir: &Maildir,
        live: Option<&[FileVersion]>,
        times: Option<KeptTimes>,
    ) {
        let times = times.filter(|_| live.is_some_and(|live| live.len() >= MIN_KEPT));
        if times.is_some() {
            self.new_entries.append(&mut self.named);
        }
        let is_known = |times: &KeptTimes| self.times.is_some_and(|known| known.dirs == times.dirs);
        let is_new = !self.new_entries.is_empty() || !times.as_ref().is_none_or(is_known);
        let saved = match live {
            Some(live) if self.parts > 2 * live.len() + SPARE_PARTS => self.compact(maildir, live, times),
            _ if is_new => append_files(maildir, KeptFiles { files: &self.new_entries, times }),
            _ => Ok(()),
        };
        if let Err(error) = saved {
            log::debug!("{error}: cannot write sizes");
        }
    }

    /// Writes the file anew with its UIDs and the live files, unless its UIDs are as many, damaged, or perhaps another process's.
    fn compact(
        mut self,
        maildir: &Maildir,
        live: &[FileVersion],
        times: Option<KeptTimes>,
    ) -> Result<(), Error> {
        self.merge_new();
        let writer = lock(maildir);
        let content = read(maildir)?;
        let (parts, headers) = (content.parse(), content.headers());
        let has_uids = content.has_uids();
        let messages = if has_uids { parts.latest() } else { Vec::new() };
        let is_torn = parts.broken > 0 || headers.is_some_and(|headers| headers.is_torn);
        let is_kept = has_uids && (is_torn || !self.rewrites_uids);
        if is_kept || parts.count <= 2 * (live.len() + messages.len()) + SPARE_PARTS {
            drop(writer);
            return append_files(maildir, KeptFiles { files: &self.new_entries, times });
        }
        let mut octets = match headers {
            Some(_) if has_uids => content.octets()[..HEADERS].to_vec(),
            _ => encode_headers(&UidHeader::default()),
        };
        octets.extend(messages.iter().flat_map(|record| Part::Message(*record).encode()));
        let mut seen: HashSet<FileVersion> = messages.iter().map(|record| record.version).collect();
        let files = live.iter().filter(|stamp| seen.insert(**stamp));
        let files: Vec<_> = files.filter_map(|stamp| Some((*stamp, self.get(stamp)?))).collect();
        let kept = KeptFiles { files: &files, times }.encode(&octets[HEADERS..]);
        octets.extend(kept);
        replace_all(maildir, &octets, if has_uids { Durability::Durable } else { Durability::Cached })
    }
}

fn read(maildir: &Maildir) -> Result<Content, Error> {
    let mut file = open(maildir, FILE)?;
    Content::read(&mut file).map_err(|e| Error::at(maildir.path().join(FILE), "read", e))
}

/// Appends counts to the file.
pub fn append(maildir: &Maildir, sizes: &[(FileVersion, u64)]) -> Result<(), Error> {
    append_files(maildir, KeptFiles { files: sizes, times: None })
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

    /// The only version that is known of the inode.
    pub(super) fn only(self) -> Option<(FileVersion, u64)> {
        if let [only] = self.0 { Some(*only) } else { None }
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

/// Messages above which a look at each takes longer than to write and to read them.
pub const MIN_KEPT: usize = 1000;
/// Excess parts that make it worth writing a file anew.
const SPARE_PARTS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildir::{Spool, index_file::PART};

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
        for at in HEADERS..HEADERS + PART {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            let sizes = SizeCache::load(&maildir);
            assert_eq!((sizes.known.len(), sizes.get(&stamp(2))), (1, Some(12)), "byte {at}");
        }
        for length in HEADERS + PART..whole.len() {
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
        assert_eq!((sizes.parts, sizes.get(&stamp(5)), sizes.get(&stamp(9000))), (2, Some(11), Some(12)));
        assert_eq!(std::fs::read_dir(maildir.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn servers_that_append_and_write_anew_at_the_same_time_leave_no_wrong_record() {
        let (_dir, maildir) = mailbox();
        let octets = |inode: u64| 10 + inode % 7;
        let most = 6 * SPARE_PARTS as u64;
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
        assert!(!sizes.known.is_empty() && (sizes.parts as u64) < most, "{}", sizes.parts);
        assert!(sizes.known.iter().all(|(stamp, known)| *known == octets(stamp.inode)));
    }
}
