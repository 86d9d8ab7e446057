//! `.restante.index`: everything that the next start of the server needs to know about a folder. Here is its form.
//!
//! The file begins with two headers, which have the numbers that IMAP has reserved. Parts follow: UIDs with the files that
//! have them, files without a UID, and the state of the directories that these files describe. All have one size and their
//! own crc, so a torn or foreign part is skipped, and the others count.
//!
//! The UIDs are the only thing in it that a scan cannot bring back, see `uid_file.rs`. The rest is a cache: `size_cache.rs`.
//!
//! Workers of this process write to it one at a time (`writing.rs`). Of a folder with UIDs, other processes only append parts
//! without one: tools, and servers that share the spool.

mod content;
mod writing;

use blake2::{Blake2s, Digest, digest::consts::U16};

use super::{FileVersion, Subdir, entry::DirState};
use crate::wire_size::is_plausible;
pub use content::{Condition, examine};
pub(super) use content::{Content, Headers};
#[cfg(not(test))]
pub(super) use writing::note_sync;
#[cfg(test)]
pub(super) use writing::tests::note_sync;
#[cfg(test)]
pub(crate) use writing::tests::power_cut;
pub(super) use writing::{KeptFiles, append_files, filling, lock, open_to_change, replace_all};

/// The file, beside the messages.
pub const FILE: &str = ".restante.index";

/// A digest of the identity of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct MessageKey([u8; 16]);

impl MessageKey {
    /// The key of an identity. If several files share it, each has a key with its inode.
    pub fn of(identity: &[u8], inode: Option<u64>) -> Self {
        let mut hash = Blake2s::<U16>::new();
        hash.update(identity);
        if let Some(inode) = inode {
            hash.update(b"/"); // no name has one
            hash.update(inode.to_le_bytes());
        }
        Self(hash.finalize().into())
    }
}

/// The numbers that a folder has reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UidHeader {
    /// The value with which the UIDs stay valid. 0: the folder has no UIDs, because no IMAP client has asked for any.
    pub uid_validity: u32,
    /// Every UID below it may be in use.
    pub uid_limit: u32,
    /// Every modification sequence up to it may be in use.
    pub modseq_limit: u64,
}

/// A message with a UID, as the file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UidRecord {
    /// Its UID.
    pub uid: u32,
    /// The modification sequence of its last change.
    pub modseq: u64,
    /// The digest of its identity.
    pub key: MessageKey,
    /// Its flags and keywords.
    pub flags: u32,
    /// The version of its file. All zero: unknown.
    pub version: FileVersion,
    /// Octets on the wire.
    pub octets: u64,
}

impl UidRecord {
    /// A record which says that the message with this UID is gone.
    pub fn gone(uid: u32) -> Self {
        let (key, version) = Default::default();
        Self { uid, modseq: 0, key, flags: 0, version, octets: 0 }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.modseq == 0
    }

    /// The file, if it is known.
    pub(super) fn file(&self) -> Option<(FileVersion, u64)> {
        is_known(&self.version, self.octets).then_some((self.version, self.octets))
    }
}

/// The state of the directories when the parts before this one had every file in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeptTimes {
    pub(super) dirs: [DirState; 2],
    /// A file that was last changed before this second was at rest when its version was read.
    pub(super) at_rest_before: i64,
}

impl KeptTimes {
    /// The second before which a file was at rest, if the directory has the state that was kept.
    pub(super) fn fit(&self, subdir: Subdir, now: &[DirState; 2]) -> Option<i64> {
        (self.dirs[subdir as usize] == now[subdir as usize]).then_some(self.at_rest_before)
    }
}

/// The numbers of the messages when the directories had these states, as the last part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeptCounts {
    pub(super) dirs: [DirState; 2],
    pub(super) messages: u32,
    pub(super) unseen: u32,
    pub(super) deleted: u32,
    /// Messages without a UID.
    pub(super) unnumbered: u32,
    /// Octets of all messages. `u64::MAX`: they were not counted.
    pub(super) size: u64,
    /// 1 if messages have come, gone or changed since the last modification sequence, otherwise 0.
    pub(super) changes: u32,
}

/// A part of the file after the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Message(UidRecord),
    File(FileVersion, u64),
    /// The digest is of all octets between the headers and this part.
    Times(KeptTimes, u32),
    Counts(KeptCounts),
}

impl Part {
    pub(super) fn encode(&self) -> [u8; PART] {
        let mut part = Fields::new();
        match self {
            Self::Message(record) => {
                part.put(MESSAGE).put(&record.uid.to_le_bytes()).put(&record.flags.to_le_bytes());
                part.put(&record.modseq.to_le_bytes()).put(&record.key.0);
                part.put_file(&record.version, record.octets);
            }
            Self::File(version, octets) => part.put(FILE_ALONE).skip(32).put_file(version, *octets),
            Self::Times(times, digest) => {
                part.put(TIMES).put(&digest.to_le_bytes()).put(&times.at_rest_before.to_le_bytes());
                part.put_dirs(&times.dirs);
            }
            Self::Counts(counts) => {
                let KeptCounts { dirs, messages, unseen, deleted, unnumbered, size, changes } = counts;
                part.put(COUNTS).put_dirs(dirs);
                for number in [messages, unseen, deleted, unnumbered] {
                    part.put(&number.to_le_bytes());
                }
                part.put(&size.to_le_bytes()).put(&changes.to_le_bytes());
            }
        }
        part.seal()
    }

    /// `None`: the octets are no part.
    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        let part: &[u8; PART] = octets.try_into().ok()?;
        if part[CRC..] != crc32(&part[..CRC]).to_le_bytes() {
            return None;
        }
        match &part[..4] {
            kind if kind == MESSAGE => {
                let (version, octets) = file_at(part)?;
                let key = MessageKey(part[20..36].try_into().ok()?);
                let record = UidRecord {
                    uid: short(part, 4)?,
                    flags: short(part, 8)?,
                    modseq: long(part, 12)?,
                    key,
                    version,
                    octets,
                };
                (record.uid > 0).then_some(Self::Message(record))
            }
            kind if kind == FILE_ALONE => {
                let (version, octets) = file_at(part)?;
                is_known(&version, octets).then_some(Self::File(version, octets))
            }
            kind if kind == TIMES => {
                let at_rest_before = long(part, 8)?.cast_signed();
                Some(Self::Times(KeptTimes { dirs: dirs_at(part, 16)?, at_rest_before }, short(part, 4)?))
            }
            kind if kind == COUNTS => Some(Self::Counts(KeptCounts {
                dirs: dirs_at(part, 4)?,
                messages: short(part, 44)?,
                unseen: short(part, 48)?,
                deleted: short(part, 52)?,
                unnumbered: short(part, 56)?,
                size: long(part, 60)?,
                changes: short(part, 68)?,
            })),
            _ => None,
        }
    }
}

fn is_known(version: &FileVersion, octets: u64) -> bool {
    version.inode > 0 && is_plausible(octets, version.bytes)
}

/// Both headers of a file, the later of which counts.
pub(super) fn encode_headers(header: &UidHeader) -> Vec<u8> {
    [encode_header(header, 1), encode_header(header, 2)].concat()
}

pub(super) fn encode_header(header: &UidHeader, number: u32) -> [u8; PART] {
    let mut part = Fields::new();
    part.put(HEADER).put(&header.uid_validity.to_le_bytes()).put(&header.uid_limit.to_le_bytes());
    part.put(&header.modseq_limit.to_le_bytes()).put(&number.to_le_bytes());
    part.seal()
}

/// A header, and its number.
fn decode_header(octets: &[u8]) -> Option<(UidHeader, u32)> {
    let part: &[u8; PART] = octets.try_into().ok()?;
    let is_whole = part.starts_with(HEADER) && part[CRC..] == crc32(&part[..CRC]).to_le_bytes();
    let header = UidHeader {
        uid_validity: short(part, 4)?,
        uid_limit: short(part, 8)?,
        modseq_limit: long(part, 12)?,
    };
    (is_whole && (header.uid_validity > 0) == (header.uid_limit > 0)).then_some((header, short(part, 20)?))
}

/// The fields of a part, one after the other.
struct Fields {
    part: [u8; PART],
    length: usize,
}

impl Fields {
    fn new() -> Self {
        Self { part: [0; PART], length: 0 }
    }

    fn put(&mut self, octets: &[u8]) -> &mut Self {
        self.part[self.length..][..octets.len()].copy_from_slice(octets);
        self.skip(octets.len())
    }

    fn skip(&mut self, octets: usize) -> &mut Self {
        self.length += octets;
        self
    }

    fn put_dirs(&mut self, dirs: &[DirState; 2]) -> &mut Self {
        for DirState { inode, changed: (seconds, nanos) } in dirs {
            self.put(&inode.to_le_bytes()).put(&seconds.to_le_bytes()).put(&nanos.to_le_bytes());
        }
        self
    }

    fn put_file(&mut self, version: &FileVersion, octets: u64) {
        let FileVersion { inode, bytes, modified: (seconds, nanos) } = version;
        self.put(&inode.to_le_bytes()).put(&bytes.to_le_bytes()).put(&seconds.to_le_bytes());
        self.put(&nanos.to_le_bytes()).put(&octets.to_le_bytes());
    }

    fn seal(mut self) -> [u8; PART] {
        let crc = crc32(&self.part[..CRC]);
        self.part[CRC..].copy_from_slice(&crc.to_le_bytes());
        self.part
    }
}

/// The file of a part that has one.
fn file_at(part: &[u8; PART]) -> Option<(FileVersion, u64)> {
    let modified = (long(part, 52)?.cast_signed(), short(part, 60)?);
    Some((FileVersion { inode: long(part, 36)?, bytes: long(part, 44)?, modified }, long(part, 64)?))
}

fn dirs_at(part: &[u8; PART], at: usize) -> Option<[DirState; 2]> {
    let dir = |at| {
        let changed = (long(part, at + 8)?.cast_signed(), short(part, at + 16)?);
        Some(DirState { inode: long(part, at)?, changed })
    };
    Some([dir(at)?, dir(at + 20)?])
}

fn short(part: &[u8; PART], at: usize) -> Option<u32> {
    part[at..at + 4].try_into().map(u32::from_le_bytes).ok()
}

fn long(part: &[u8; PART], at: usize) -> Option<u64> {
    part[at..at + 8].try_into().map(u64::from_le_bytes).ok()
}

/// The crc begins with the kind of the file, so that a file of zeros or of another kind has no good part.
fn crc32(part: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(b"restante index 1");
    crc.update(part);
    crc.finalize()
}

/// Bytes of a header or a part. A part has a kind, a UID, flags, a modification sequence, a key, inode, bytes, seconds,
/// nanoseconds, octets and a crc; little-endian.
pub(super) const PART: usize = 4 + 4 + 4 + 8 + 16 + 8 + 8 + 8 + 4 + 8 + 4;
/// Bytes of both headers.
pub(super) const HEADERS: usize = 2 * PART;
/// The position of the crc.
const CRC: usize = PART - 4;
const HEADER: &[u8; 4] = b"HEAD";
const MESSAGE: &[u8; 4] = b"UID ";
const FILE_ALONE: &[u8; 4] = b"FILE";
const TIMES: &[u8; 4] = b"TIME";
const COUNTS: &[u8; 4] = b"STAT";

#[cfg(test)]
mod tests;
