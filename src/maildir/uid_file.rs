//! `.restante.uids`: the UIDs of the messages of a folder, their flags and the modification sequence of their last change.
//!
//! The rule: a UID may be lost by a crash, and is never given to another message. So a header reserves UIDs and modification
//! sequences durably before the first of them is used. Records are appended after that, and may be lost. The header stands
//! twice at the beginning of the file, and each new one replaces the older, so that a torn header leaves the other.
//!
//! All parts have one size and their own crc. A torn or foreign record is skipped, and its message gets another UID. If no
//! header is whole, the folder gets another UID validity. Neither costs a message.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
};

use blake2::{Blake2s, Digest, digest::consts::U16};
use rustix::{fs::OFlags, io::Errno};

use super::{
    Error, Kind, Maildir,
    cache_file::{is_foreign, open, replace},
    fault_points::fault_point,
    sync_phase::{SyncPart, is_sync_skipped},
};
use crate::safe_file::{self, Durability};

/// The file, beside the messages.
pub const FILE: &str = ".restante.uids";

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
    /// The value with which the UIDs stay valid.
    pub uid_validity: u32,
    /// Every UID below it may be in use.
    pub uid_limit: u32,
    /// Every modification sequence up to it may be in use.
    pub modseq_limit: u64,
}

/// A message, as the file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UidRecord {
    /// Its UID.
    pub uid: u32,
    /// The octets of its file, of which the lower 32 bits count. 0: unknown.
    pub bytes: u32,
    /// The modification sequence of its last change.
    pub modseq: u64,
    /// The digest of its identity.
    pub key: MessageKey,
    /// Its flags and keywords.
    pub flags: u32,
}

impl UidRecord {
    /// A record which says that the message with this UID is gone.
    pub fn gone(uid: u32) -> Self {
        Self { uid, bytes: 0, modseq: 0, key: MessageKey::default(), flags: 0 }
    }

    fn is_gone(&self) -> bool {
        self.modseq == 0
    }
}

/// The file of a folder, as this process has last written or read it.
#[derive(Debug)]
pub struct UidFile {
    header: UidHeader,
    /// The number of headers written so far. The later of the two in the file is in force.
    headers: u32,
    /// The octets of the file.
    length: u64,
}

/// The content of the file of a folder.
#[derive(Debug)]
pub struct LoadedUids {
    /// The file.
    pub file: UidFile,
    /// The messages, each once, in no order.
    pub records: Vec<UidRecord>,
    /// Whether the file has a part that is no record of this format, so that it is to be written anew.
    pub is_damaged: bool,
}

impl UidFile {
    /// Reads the file of a folder. `None`: there is none with a whole header.
    ///
    /// # Errors
    /// The disk failed.
    pub fn load(maildir: &Maildir) -> Result<Option<LoadedUids>, Error> {
        let mut file = match open(maildir, FILE) {
            Ok(file) => file,
            // If another kind of file has the name, or one that this user may not read, a new one takes its place.
            Err(error) if error.kind() == Kind::Gone || is_foreign(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = contents(&mut file).map_err(|e| Error::at(maildir.path().join(FILE), "read", e))?;
        Ok(Self::parse(&bytes))
    }

    fn parse(bytes: &[u8]) -> Option<LoadedUids> {
        let slots = [0, RECORD].map(|at| decode_header(bytes.get(at..at + RECORD)?));
        let is_torn = slots.iter().any(Option::is_none);
        let (mut header, headers) = slots.into_iter().flatten().max_by_key(|(_, number)| *number)?;
        let mut is_damaged = is_torn;
        let mut records = Vec::new();
        for part in bytes.get(HEADERS..).unwrap_or_default().chunks(RECORD) {
            match part.try_into().ok().and_then(decode) {
                Some(record) => records.push(record),
                None => is_damaged = true,
            }
        }
        if is_torn {
            // The other header may have been in force, and has reserved no more than this.
            header.uid_limit = header.uid_limit.saturating_add(MAX_STEP);
            header.modseq_limit = header.modseq_limit.saturating_add(u64::from(MAX_STEP));
        }
        // Of the records of one UID, the last one counts.
        let mut numbered: Vec<(u32, usize)> = records.iter().map(|record| record.uid).zip(0..).collect();
        numbered.sort_unstable();
        let last = |pair: &[(u32, usize)]| pair.get(1).is_none_or(|next| next.0 != pair[0].0);
        let latest = (0..numbered.len()).filter(|at| last(&numbered[*at..]));
        let records: Vec<UidRecord> =
            latest.map(|at| records[numbered[at].1]).filter(|record| !record.is_gone()).collect();
        if let Some(largest) = numbered.last().map(|(uid, _)| *uid) {
            header.uid_limit = header.uid_limit.max(largest.saturating_add(1));
        }
        let length = bytes.len() as u64;
        Some(LoadedUids { file: Self { header, headers, length }, records, is_damaged })
    }

    /// Puts a file with this content into the place of any other, durably.
    ///
    /// # Errors
    /// The disk failed. The earlier file is there still.
    pub fn create(maildir: &Maildir, header: UidHeader, records: &[UidRecord]) -> Result<Self, Error> {
        fault_point(maildir.path(), "replace uids")?;
        let mut bytes = Vec::with_capacity(HEADERS + records.len() * RECORD);
        bytes.extend(encode_header(&header, 1));
        bytes.extend(encode_header(&header, 2));
        bytes.extend(records.iter().flat_map(encode));
        replace(maildir, FILE, &bytes, Durability::Durable)?;
        note_sync(maildir);
        Ok(Self { header, headers: 2, length: bytes.len() as u64 })
    }

    /// The numbers that are reserved.
    pub fn header(&self) -> UidHeader {
        self.header
    }

    /// The number of records, of which the last one of a UID counts.
    pub fn records(&self) -> usize {
        usize::try_from(self.length.saturating_sub(HEADERS as u64)).unwrap_or(0) / RECORD
    }

    /// Reserves numbers, durably. The records that were appended before are durable too. `false`: the file is not the one
    /// that this process has written, so that it must be written anew.
    ///
    /// # Errors
    /// The disk failed. The numbers are not reserved.
    pub fn reserve(&mut self, maildir: &Maildir, header: UidHeader) -> Result<bool, Error> {
        let Some(file) = self.open_to_write(maildir)? else { return Ok(false) };
        let failed = |step| move |e: io::Error| Error::at(maildir.path().join(FILE), step, e);
        fault_point(maildir.path(), "reserve uids")?;
        let headers = self.headers.wrapping_add(1);
        let slot = u64::from(headers.wrapping_sub(1) % 2) * RECORD as u64;
        file.write_all_at(&encode_header(&header, headers), slot).map_err(failed("write"))?;
        sync(&file, maildir, SyncPart::Reservations).map_err(failed("fdatasync"))?;
        note_sync(maildir);
        (self.header, self.headers) = (header, headers);
        Ok(true)
    }

    /// Appends records. `false`: the file is not the one that this process has written.
    ///
    /// # Errors
    /// The disk failed. The next call finds the file changed if a part of the records is in it.
    pub fn append(&mut self, maildir: &Maildir, records: &[UidRecord]) -> Result<bool, Error> {
        if records.is_empty() {
            return Ok(true);
        }
        let Some(file) = self.open_to_write(maildir)? else { return Ok(false) };
        fault_point(maildir.path(), "append uids")?;
        let bytes: Vec<u8> = records.iter().flat_map(encode).collect();
        let written = file.write_all_at(&bytes, self.length);
        written.map_err(|e| Error::at(maildir.path().join(FILE), "write", e))?;
        self.length += bytes.len() as u64;
        Ok(true)
    }

    /// Makes the records durable. `false`: the file is not the one that this process has written.
    ///
    /// # Errors
    /// The disk failed.
    pub fn sync(&self, maildir: &Maildir) -> Result<bool, Error> {
        let Some(file) = self.open_to_write(maildir)? else { return Ok(false) };
        fault_point(maildir.path(), "sync uids")?;
        sync(&file, maildir, SyncPart::Uids)
            .map_err(|e| Error::at(maildir.path().join(FILE), "fdatasync", e))?;
        note_sync(maildir);
        Ok(true)
    }

    /// Opens the file if it has the length that this process has left it with. Another name of it may be a copy of the
    /// spool by links, which keeps what it has.
    fn open_to_write(&self, maildir: &Maildir) -> Result<Option<File>, Error> {
        let failed = |e: io::Error| Error::at(maildir.path().join(FILE), "open", e);
        match safe_file::open_to_write_in(maildir.root(), FILE.as_ref(), OFlags::empty()) {
            Ok(file) if file.metadata().map_err(failed)?.len() == self.length => Ok(Some(file)),
            Ok(_) | Err(Errno::NOENT | Errno::MLINK | Errno::INVAL | Errno::LOOP) => Ok(None),
            Err(error) => Err(failed(error.into())),
        }
    }
}

/// Makes the file durable. ext4 whose journal fails during the call may call it a success, with new octets but without the
/// new length of the file. Asked to open the file once more, it admits the failure.
fn sync(file: &File, maildir: &Maildir, part: SyncPart) -> io::Result<()> {
    if is_sync_skipped(part) {
        return Ok(());
    }
    file.sync_data()?;
    safe_file::open_to_write_in(maildir.root(), FILE.as_ref(), OFlags::empty()).map(drop)?;
    Ok(())
}

fn contents(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn encode_header(header: &UidHeader, number: u32) -> [u8; RECORD] {
    let mut part = [0; RECORD];
    part[..8].copy_from_slice(MAGIC);
    part[8..12].copy_from_slice(&header.uid_validity.to_le_bytes());
    part[12..16].copy_from_slice(&header.uid_limit.to_le_bytes());
    part[16..24].copy_from_slice(&header.modseq_limit.to_le_bytes());
    part[24..28].copy_from_slice(&number.to_le_bytes());
    seal(part)
}

/// A header, and its number.
fn decode_header(part: &[u8]) -> Option<(UidHeader, u32)> {
    let part: &[u8; RECORD] = part.try_into().ok()?;
    let is_whole = part.starts_with(MAGIC) && part[CRC..] == crc32(&part[..CRC]).to_le_bytes();
    let header = UidHeader {
        uid_validity: short(part, 8)?,
        uid_limit: short(part, 12)?,
        modseq_limit: long(part, 16)?,
    };
    (is_whole && header.uid_validity > 0 && header.uid_limit > 0).then_some((header, short(part, 24)?))
}

fn encode(record: &UidRecord) -> [u8; RECORD] {
    let mut part = [0; RECORD];
    part[..4].copy_from_slice(&record.uid.to_le_bytes());
    part[4..8].copy_from_slice(&record.bytes.to_le_bytes());
    part[8..16].copy_from_slice(&record.modseq.to_le_bytes());
    part[16..32].copy_from_slice(&record.key.0);
    part[32..36].copy_from_slice(&record.flags.to_le_bytes());
    seal(part)
}

fn decode(part: &[u8; RECORD]) -> Option<UidRecord> {
    let record = UidRecord {
        uid: short(part, 0)?,
        bytes: short(part, 4)?,
        modseq: long(part, 8)?,
        key: MessageKey(part[16..32].try_into().ok()?),
        flags: short(part, 32)?,
    };
    (record.uid > 0 && part[CRC..] == crc32(&part[..CRC]).to_le_bytes()).then_some(record)
}

fn short(part: &[u8; RECORD], at: usize) -> Option<u32> {
    part[at..at + 4].try_into().map(u32::from_le_bytes).ok()
}

fn long(part: &[u8; RECORD], at: usize) -> Option<u64> {
    part[at..at + 8].try_into().map(u64::from_le_bytes).ok()
}

fn seal(mut part: [u8; RECORD]) -> [u8; RECORD] {
    let crc = crc32(&part[..CRC]);
    part[CRC..].copy_from_slice(&crc.to_le_bytes());
    part
}

/// The crc begins with the kind of the file, so that a file of zeros or of another kind has no good part.
fn crc32(part: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(b"restante uids 1");
    crc.update(part);
    crc.finalize()
}

/// The most numbers of a kind that one header may reserve beyond those of the header before.
pub const MAX_STEP: u32 = 1 << 20;

/// Bytes of a header or a record; little-endian.
const RECORD: usize = 40;
/// Bytes of both headers.
const HEADERS: usize = 2 * RECORD;
/// The position of the crc.
const CRC: usize = RECORD - 4;
const MAGIC: &[u8; 8] = b"resuids1";
/// The largest file in bytes: more records than any folder has messages.
const MAX_BYTES: u64 = 1 << 30;

#[cfg(not(test))]
fn note_sync(_: &Maildir) {}

#[cfg(test)]
use tests::note_sync;

#[cfg(test)]
pub(crate) mod tests {
    use std::{cell::RefCell, collections::HashMap, path::PathBuf};

    use super::*;
    use crate::maildir::Spool;

    thread_local! {
        static SYNCED: RefCell<HashMap<PathBuf, Vec<u8>>> = RefCell::default();
    }

    /// Notes the content of the file, which a power cut leaves as it is.
    pub(super) fn note_sync(maildir: &Maildir) {
        let path = maildir.path().join(FILE);
        let content = std::fs::read(&path).unwrap();
        SYNCED.with_borrow_mut(|synced| synced.insert(path, content));
    }

    /// Leaves of the file what was synced, and of the octets written since then those up to a number.
    pub(crate) fn power_cut(maildir: &Maildir, kept: usize) {
        let path = maildir.path().join(FILE);
        let synced = SYNCED.with_borrow(|synced| synced.get(&path).cloned());
        let Some(mut content) = synced else {
            let _ = std::fs::remove_file(&path);
            return;
        };
        let written = std::fs::read(&path).unwrap();
        let unsynced = written.get(content.len()..).unwrap_or_default();
        content.extend(&unsynced[..kept.min(unsynced.len())]);
        std::fs::write(&path, content).unwrap();
    }

    pub(crate) fn mailbox() -> (tempfile::TempDir, Maildir) {
        let dir = tempfile::tempdir().unwrap();
        let maildir = Spool::open(dir.path()).unwrap().open_or_create_maildir("box").unwrap();
        (dir, maildir)
    }

    const HEADER: UidHeader = UidHeader { uid_validity: 7, uid_limit: 1001, modseq_limit: 5000 };

    fn record(uid: u32) -> UidRecord {
        let key = MessageKey::of(uid.to_string().as_bytes(), None);
        UidRecord { uid, bytes: 100 + uid, modseq: 3, key, flags: 1 << 31 }
    }

    #[track_caller]
    fn load(maildir: &Maildir) -> LoadedUids {
        UidFile::load(maildir).unwrap().expect("a whole header")
    }

    #[test]
    fn what_was_appended_and_reserved_is_known_again() {
        let (_dir, maildir) = mailbox();
        assert!(UidFile::load(&maildir).unwrap().is_none());
        let mut file = UidFile::create(&maildir, HEADER, &[record(1)]).unwrap();
        assert!(file.append(&maildir, &[record(2), record(3)]).unwrap());
        let later = UidHeader { uid_limit: 2001, ..HEADER };
        assert!(file.reserve(&maildir, later).unwrap());
        let changed = UidRecord { flags: 5, modseq: 9, ..record(2) };
        assert!(file.append(&maildir, &[changed, UidRecord::gone(3)]).unwrap());
        let loaded = load(&maildir);
        assert_eq!((loaded.file.header(), loaded.is_damaged), (later, false));
        assert_eq!(loaded.records, [record(1), changed]);
        assert_eq!(loaded.file.records(), 5);
    }

    #[test]
    fn y20_a_file_that_is_cut_or_changed_at_any_octet_keeps_its_limit_or_has_no_header() {
        let (_dir, maildir) = mailbox();
        let mut file = UidFile::create(&maildir, HEADER, &[record(1), record(2)]).unwrap();
        file.append(&maildir, &[record(1000)]).unwrap();
        let path = maildir.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            match UidFile::load(&maildir).unwrap() {
                Some(loaded) => {
                    assert!(loaded.file.header().uid_limit >= HEADER.uid_limit, "cut at {length}");
                    let records = length.saturating_sub(HEADERS) / RECORD;
                    assert_eq!(loaded.records.len(), records, "cut at {length}");
                    assert_eq!(loaded.is_damaged, length < HEADERS || length % RECORD != 0);
                }
                None => assert!(length < RECORD),
            }
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            let loaded = load(&maildir);
            assert!(loaded.is_damaged && loaded.file.header().uid_limit >= HEADER.uid_limit, "octet {at}");
            assert_eq!(loaded.records.len(), if at < HEADERS { 3 } else { 2 });
        }
    }

    #[test]
    fn y20_a_header_that_a_power_cut_has_torn_leaves_the_one_before() {
        let (_dir, maildir) = mailbox();
        let mut file = UidFile::create(&maildir, HEADER, &[]).unwrap();
        let before = std::fs::read(maildir.path().join(FILE)).unwrap();
        file.reserve(&maildir, UidHeader { uid_limit: 2001, ..HEADER }).unwrap();
        let after = std::fs::read(maildir.path().join(FILE)).unwrap();
        for torn in 0..RECORD {
            let mut bytes = before.clone();
            bytes[..torn].copy_from_slice(&after[..torn]);
            std::fs::write(maildir.path().join(FILE), &bytes).unwrap();
            assert_eq!(load(&maildir).file.header().uid_validity, 7, "torn at {torn}");
        }
    }

    #[test]
    fn y21_foreign_content_is_never_trusted_and_never_fatal() {
        let (_dir, maildir) = mailbox();
        let path = maildir.path().join(FILE);
        for content in [vec![0; 4000], vec![0xff; 41], b"hello".to_vec(), Vec::new()] {
            std::fs::write(&path, &content).unwrap();
            assert!(UidFile::load(&maildir).unwrap().is_none());
        }
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(UidFile::load(&maildir).unwrap().is_none());
        UidFile::create(&maildir, HEADER, &[record(1)]).unwrap();
        assert_eq!(load(&maildir).records, [record(1)]);
    }

    #[test]
    fn y21_a_file_that_another_program_has_changed_removed_or_linked_is_left_to_be_written_anew() {
        let (_dir, maildir) = mailbox();
        let path = maildir.path().join(FILE);
        let mut file = UidFile::create(&maildir, HEADER, &[record(1)]).unwrap();
        std::fs::hard_link(&path, path.with_extension("copy")).unwrap();
        assert!(!file.append(&maildir, &[record(2)]).unwrap());
        let mut file = UidFile::create(&maildir, HEADER, &[record(1)]).unwrap();
        std::fs::write(&path, b"short").unwrap();
        assert!(!file.append(&maildir, &[record(2)]).unwrap());
        assert!(!file.reserve(&maildir, HEADER).unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(!file.sync(&maildir).unwrap());
    }
}
