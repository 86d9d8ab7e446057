//! The UIDs in `.restante.index`, with the flags of the messages and the modification sequence of their last change.
//!
//! The rule: a UID may be lost by a crash, and is never given to another message. So a header reserves UIDs and modification
//! sequences durably before the first of them is used. Records are appended after that, and may be lost. The header stands
//! twice at the beginning of the file, and each new one replaces the older, so that a torn header leaves the other.
//!
//! Another server that shares the spool may reserve numbers too, while no client is at this one. It begins above those that are
//! reserved, and writes another header. So a header that this process has not written is never replaced by one of its own: the
//! file is to be read again.
//!
//! A torn or foreign record is skipped, and its message gets another UID. If no header is whole, the folder gets another UID
//! validity. Neither costs a message.

use std::{
    collections::HashSet,
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
};

use rustix::{fs::OFlags, io::Errno};

pub use super::index_file::{FILE, MessageKey, UidHeader, UidRecord};
use super::{
    Error, FileVersion, Kind, Maildir,
    cache_file::{is_foreign, open},
    fault_points::fault_point,
    index_file::{
        Content, HEADERS, Headers, KeptFiles, KeptTimes, PART, Part, encode_header, encode_headers, filling,
        lock, note_sync, open_to_change, replace_all,
    },
    sync_phase::{SyncPart, is_sync_skipped},
};
use crate::safe_file::{self, Durability};

/// The UIDs in the file of a folder, as this process has last written or read it.
#[derive(Debug)]
pub struct UidFile {
    header: UidHeader,
    /// The headers in the file, of which the later one is in force. They may have reserved less than the records show.
    written: Headers,
    /// The file, unless a scan has written it anew since.
    inode: u64,
    /// The octets that the file has at least.
    length: u64,
    /// The number of records of messages.
    records: usize,
}

/// The content of the file of a folder.
#[derive(Debug)]
pub struct LoadedUids {
    /// The file.
    pub file: UidFile,
    /// The messages, each once, in no order.
    pub records: Vec<UidRecord>,
    /// Whether the file has a part that is none of this format, so that it is to be written anew.
    pub is_damaged: bool,
}

impl UidFile {
    /// Reads the file of a folder. `None`: there is none with a whole header, or the folder has no UIDs yet.
    ///
    /// # Errors
    /// The disk failed.
    pub fn load(maildir: &Maildir) -> Result<Option<LoadedUids>, Error> {
        let Some((content, inode)) = read(maildir)? else { return Ok(None) };
        Ok(Self::parse(&content, inode))
    }

    fn parse(content: &Content, inode: u64) -> Option<LoadedUids> {
        let written = content.headers()?;
        let Headers { mut header, is_torn, .. } = written;
        if header.uid_validity == 0 {
            return None;
        }
        let parts = content.parse();
        if is_torn {
            // The other header may have been in force, and has reserved no more than this.
            header.uid_limit = header.uid_limit.saturating_add(MAX_STEP);
            header.modseq_limit = header.modseq_limit.saturating_add(u64::from(MAX_STEP));
        }
        if let Some(largest) = parts.largest_uid() {
            header.uid_limit = header.uid_limit.max(largest.saturating_add(1));
        }
        let (length, records) = (content.octets().len() as u64, parts.messages.len());
        let file = Self { header, written, inode, length, records };
        Some(LoadedUids { file, records: parts.latest(), is_damaged: is_torn || parts.broken > 0 })
    }

    /// Puts a file with these UIDs into the place of any other, durably. The files without a UID stay in it.
    ///
    /// # Errors
    /// The disk failed. The earlier file is there still.
    pub fn create(maildir: &Maildir, header: UidHeader, records: &[UidRecord]) -> Result<Self, Error> {
        let _writer = lock(maildir);
        Self::create_locked(maildir, header, records)
    }

    /// The same, unless another thread has given UIDs to the folder meanwhile.
    ///
    /// # Errors
    /// The disk failed.
    pub fn begin(
        maildir: &Maildir,
        first: impl FnOnce() -> Result<(UidHeader, Vec<UidRecord>), Error>,
    ) -> Result<LoadedUids, Error> {
        let _writer = lock(maildir);
        if let Some(loaded) = Self::load(maildir)? {
            return Ok(loaded);
        }
        let (header, records) = first()?;
        let file = Self::create_locked(maildir, header, &records)?;
        Ok(LoadedUids { file, records, is_damaged: false })
    }

    /// The same for the numbers of a folder in use. The file may be gone, damaged, linked or cut short.
    ///
    /// # Errors
    /// The disk failed, or another server has reserved numbers. The earlier file is there still.
    pub fn replace(
        &self,
        maildir: &Maildir,
        header: UidHeader,
        records: &[UidRecord],
    ) -> Result<Self, Error> {
        let _writer = lock(maildir);
        if self.is_overtaken(maildir)? {
            let reason = io::Error::other("another server has given UIDs in this folder meanwhile");
            return Err(Error::at(maildir.path().join(FILE), "replace", reason));
        }
        Self::create_locked(maildir, header, records)
    }

    /// Whether another server has reserved numbers since this file was read or written. A torn header may be one of another
    /// server. A file without any whole header tells of no other one.
    ///
    /// # Errors
    /// The disk failed.
    pub fn is_overtaken(&self, maildir: &Maildir) -> Result<bool, Error> {
        let file = match open(maildir, FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == Kind::Gone || is_foreign(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut octets = [0; HEADERS];
        match file.read_exact_at(&mut octets, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read.map_err(|e| Error::at(maildir.path().join(FILE), "read", e))?,
        }
        let written = Headers::decode(&octets).filter(|headers| headers.header.uid_validity > 0);
        Ok(written.is_some_and(|headers| headers != self.written))
    }

    fn create_locked(maildir: &Maildir, header: UidHeader, records: &[UidRecord]) -> Result<Self, Error> {
        fault_point(maildir.path(), "replace uids")?;
        let before = read(maildir)?.map(|(content, _)| content).unwrap_or_default();
        let mut octets = encode_headers(&header);
        octets.reserve(records.len() * PART);
        octets.extend(records.iter().flat_map(|record| Part::Message(*record).encode()));
        let (files, times) = kept_parts(&before, header, records);
        let kept = KeptFiles { files: &files, times }.encode(&octets[HEADERS..]);
        octets.extend(kept);
        replace_all(maildir, &octets, Durability::Durable)?;
        let written = Headers { header, number: 2, is_torn: false };
        let mut file = Self { header, written, inode: 0, length: HEADERS as u64, records: records.len() };
        file.open_to_write(maildir, OFlags::empty())?; // learns the inode
        file.length = octets.len() as u64;
        Ok(file)
    }

    /// The numbers that are reserved.
    pub fn header(&self) -> UidHeader {
        self.header
    }

    /// The number of records, of which the last one of a UID counts.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Reserves numbers, durably. The records that were appended before are durable too. `false`: the file must be written
    /// anew, because it is not the one that this process has written, or because the numbers would be too far beyond those of
    /// the header that stays in it.
    ///
    /// # Errors
    /// The disk failed. The numbers are not reserved.
    pub fn reserve(&mut self, maildir: &Maildir, header: UidHeader) -> Result<bool, Error> {
        let before = self.written.header;
        if header.uid_limit > before.uid_limit.saturating_add(MAX_STEP)
            || header.modseq_limit > before.modseq_limit.saturating_add(u64::from(MAX_STEP))
        {
            return Ok(false);
        }
        let _writer = lock(maildir);
        let Some((file, _)) = self.open_to_write(maildir, OFlags::empty())? else { return Ok(false) };
        let failed = |step| move |e: io::Error| Error::at(maildir.path().join(FILE), step, e);
        fault_point(maildir.path(), "reserve uids")?;
        let number = self.written.number.wrapping_add(1);
        let slot = u64::from(number.wrapping_sub(1) % 2) * PART as u64;
        file.write_all_at(&encode_header(&header, number), slot).map_err(failed("write"))?;
        self.written = Headers { header, number, is_torn: false };
        sync(&file, maildir, SyncPart::Reservations).map_err(failed("fdatasync"))?;
        note_sync(maildir);
        self.header = header;
        Ok(true)
    }

    /// Appends records. `false`: the file is not the one that this process has written.
    ///
    /// # Errors
    /// The disk failed. The next call fills up what a part of the records has left.
    pub fn append(&mut self, maildir: &Maildir, records: &[UidRecord]) -> Result<bool, Error> {
        if records.is_empty() {
            return Ok(true);
        }
        let _writer = lock(maildir);
        let Some((file, length)) = self.open_to_write(maildir, OFlags::APPEND)? else { return Ok(false) };
        fault_point(maildir.path(), "append uids")?;
        let mut octets = filling(length);
        octets.extend(records.iter().flat_map(|record| Part::Message(*record).encode()));
        // The file is open to append, so the place of the octets is its end.
        file.write_all_at(&octets, length).map_err(|e| Error::at(maildir.path().join(FILE), "write", e))?;
        self.length = length + octets.len() as u64;
        self.records += records.len();
        Ok(true)
    }

    /// Makes the records durable. `false`: the file is not the one that this process has written.
    ///
    /// # Errors
    /// The disk failed.
    pub fn sync(&mut self, maildir: &Maildir) -> Result<bool, Error> {
        let _writer = lock(maildir);
        let Some((file, _)) = self.open_to_write(maildir, OFlags::empty())? else { return Ok(false) };
        fault_point(maildir.path(), "sync uids")?;
        sync(&file, maildir, SyncPart::Uids)
            .map_err(|e| Error::at(maildir.path().join(FILE), "fdatasync", e))?;
        note_sync(maildir);
        Ok(true)
    }

    /// Opens the file, with its length, if it has the header that this process has written last, and all that was appended.
    /// Another name of it may be a copy of the spool by links, which keeps what it has.
    fn open_to_write(&mut self, maildir: &Maildir, how: OFlags) -> Result<Option<(File, u64)>, Error> {
        let failed = |e: io::Error| Error::at(maildir.path().join(FILE), "open", e);
        let file = match open_to_change(maildir, how) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::MLINK | Errno::INVAL | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        let (metadata, mut octets) = (file.metadata().map_err(failed)?, [0; HEADERS]);
        match file.read_exact_at(&mut octets, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map_err(failed)?,
        }
        if Headers::decode(&octets) != Some(self.written) {
            return Ok(None);
        }
        if metadata.ino() == self.inode && metadata.len() < self.length {
            return Ok(None);
        }
        if metadata.ino() != self.inode {
            (self.inode, self.length) = (metadata.ino(), metadata.len());
        }
        Ok(Some((file, metadata.len())))
    }
}

/// The parts of an earlier file that one with these messages has too: files without a UID, and the state of the directories
/// if every file is in it still. UIDs that are no longer valid leave their files. Of two counts of one file, the later one is kept.
fn kept_parts(
    before: &Content,
    header: UidHeader,
    records: &[UidRecord],
) -> (Vec<(FileVersion, u64)>, Option<KeptTimes>) {
    let parts = before.parse();
    let is_same = before.headers().is_some_and(|headers| headers.header.uid_validity == header.uid_validity);
    let mut seen: HashSet<FileVersion> = records.iter().map(|record| record.version).collect();
    let has_all = !is_same
        || parts.latest().iter().filter_map(UidRecord::file).all(|(version, _)| seen.contains(&version));
    let times = before.kept_times().filter(|_| has_all);
    let known = if is_same { parts.files } else { before.files().collect() };
    let mut files: Vec<_> = known.into_iter().rev().filter(|(version, _)| seen.insert(*version)).collect();
    files.reverse();
    (files, times)
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

/// The content of the file, and its inode. `None`: there is none that can be read.
fn read(maildir: &Maildir) -> Result<Option<(Content, u64)>, Error> {
    let mut file = match open(maildir, FILE) {
        Ok(file) => file,
        // If another kind of file has the name, or one that this user may not read, a new one takes its place.
        Err(error) if error.kind() == Kind::Gone || is_foreign(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let failed = |e: io::Error| Error::at(maildir.path().join(FILE), "read", e);
    let inode = file.metadata().map_err(failed)?.ino();
    Ok(Some((Content::read(&mut file).map_err(failed)?, inode)))
}

/// The most numbers of a kind that one header may reserve beyond those of the header before, which counts if the later one is
/// torn.
const MAX_STEP: u32 = 1 << 20;

#[cfg(test)]
pub(crate) mod tests;
