//! The content of a folder's file, as it was read.
//!
//! It is read into mapped memory, which is returned to the system at once. No file in the spool is mapped itself, because
//! other programs write there: if one cuts a mapped file short, or a sector is bad, the process dies (SIGBUS).

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
};

use memmap2::MmapMut;

use super::{
    super::{Error, FileVersion, cache_file::open_in},
    FILE, HEADERS, KeptTimes, PART, Part, TIMES, UidHeader, UidRecord, decode_header,
};

/// The octets of a file.
#[derive(Debug, Default)]
pub(in crate::maildir) struct Content {
    /// `None`: there are none.
    memory: Option<MmapMut>,
    is_oversized: bool,
}

/// The headers of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::maildir) struct Headers {
    /// The later one of those that are whole.
    pub(in crate::maildir) header: UidHeader,
    /// Its number.
    pub(in crate::maildir) number: u32,
    /// The other one is not whole, and may have been the later one.
    pub(in crate::maildir) is_torn: bool,
}

impl Headers {
    pub(in crate::maildir) fn decode(octets: &[u8]) -> Option<Self> {
        let slots = [0, PART].map(|at| decode_header(octets.get(at..at + PART)?));
        let is_torn = slots.iter().any(Option::is_none);
        let (header, number) = slots.into_iter().flatten().max_by_key(|(_, number)| *number)?;
        Some(Self { header, number, is_torn })
    }
}

impl Content {
    /// Reads a file. Of one that is larger than any file of ours, only the headers count.
    pub(in crate::maildir) fn read(file: &mut File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let is_oversized = length > MAX_BYTES;
        let length = if is_oversized { HEADERS } else { usize::try_from(length).unwrap_or(HEADERS) };
        if length == 0 {
            return Ok(Self::default());
        }
        let mut memory = MmapMut::map_anon(length)?;
        let mut read = 0;
        while read < length {
            match file.read(&mut memory[read..]) {
                Ok(0) => break, // it was cut short: zeros are no part
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { memory: Some(memory), is_oversized })
    }

    /// All octets.
    pub(in crate::maildir) fn octets(&self) -> &[u8] {
        self.memory.as_deref().unwrap_or_default()
    }

    /// The octets after the headers.
    pub(in crate::maildir) fn tail(&self) -> &[u8] {
        self.octets().get(HEADERS..).unwrap_or_default()
    }

    /// `None`: no header is whole.
    pub(in crate::maildir) fn headers(&self) -> Option<Headers> {
        Headers::decode(self.octets())
    }

    /// Whether the folder has UIDs.
    pub(in crate::maildir) fn has_uids(&self) -> bool {
        self.headers().is_some_and(|headers| headers.header.uid_validity > 0)
    }

    /// The number of parts, good or not.
    pub(in crate::maildir) fn count(&self) -> usize {
        self.tail().len().div_ceil(PART)
    }

    /// All files, also those with a UID.
    pub(in crate::maildir) fn files(&self) -> impl Iterator<Item = (FileVersion, u64)> {
        self.tail().chunks(PART).filter_map(|part| match Part::decode(part)? {
            Part::Message(record) => record.file(),
            Part::File(version, octets) => Some((version, octets)),
            Part::Times(..) | Part::Counts(_) => None,
        })
    }

    /// Reads all parts once.
    pub(in crate::maildir) fn parse(&self) -> Parts {
        let mut parts = Parts { count: self.count(), ..Parts::default() };
        for part in self.tail().chunks(PART) {
            match Part::decode(part) {
                Some(Part::Message(record)) => parts.messages.push(record),
                Some(Part::File(version, octets)) => parts.files.push((version, octets)),
                Some(Part::Times(..) | Part::Counts(_)) => {}
                None => parts.broken += 1,
            }
        }
        parts.broken += usize::from(self.is_oversized);
        parts
    }

    /// The state of the directories that was kept last. It does not count if anything before it has changed since, because
    /// files may be missing then.
    pub(in crate::maildir) fn kept_times(&self) -> Option<KeptTimes> {
        let tail = self.tail();
        let mut whole = tail.chunks_exact(PART).enumerate().rev().filter(|(_, part)| part.starts_with(TIMES));
        let (at, times, digest) = whole.find_map(|(at, part)| match Part::decode(part)? {
            Part::Times(times, digest) => Some((at, times, digest)),
            _ => None,
        })?;
        (digest_of(&[&tail[..at * PART]]) == digest).then_some(times)
    }
}

/// The parts of a file after its headers.
#[derive(Debug, Default)]
pub(in crate::maildir) struct Parts {
    /// Their number, good or not.
    pub(in crate::maildir) count: usize,
    /// Octets that are no part.
    pub(in crate::maildir) broken: usize,
    /// Records of messages, in the order in which they were written. Some are of one UID.
    pub(in crate::maildir) messages: Vec<UidRecord>,
    /// Files without a UID.
    pub(in crate::maildir) files: Vec<(FileVersion, u64)>,
}

impl Parts {
    /// The messages, each once, in the order of their UIDs. Of the records of one UID, the last one counts.
    pub(in crate::maildir) fn latest(&self) -> Vec<UidRecord> {
        let mut numbered: Vec<(u32, usize)> =
            self.messages.iter().map(|record| record.uid).zip(0..).collect();
        numbered.sort_unstable();
        let is_last = |at: &usize| numbered.get(at + 1).is_none_or(|next| next.0 != numbered[*at].0);
        let latest = (0..numbered.len()).filter(is_last).map(|at| self.messages[numbered[at].1]);
        latest.filter(|record| !record.is_gone()).collect()
    }

    /// The largest UID of a record, also of one that is gone.
    pub(in crate::maildir) fn largest_uid(&self) -> Option<u32> {
        self.messages.iter().map(|record| record.uid).max()
    }
}

/// The condition of the file of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// The number of its parts, with the headers.
    pub parts: usize,
    /// Those that are torn or not ours.
    pub broken: usize,
    /// Whether the folder has UIDs.
    pub has_uids: bool,
}

/// Examines the file of a folder.
///
/// # Errors
/// It cannot be read.
pub fn examine(maildir: &OwnedFd, path: &Path) -> Result<Condition, Error> {
    let mut file = open_in(maildir, path, FILE)?;
    let content = Content::read(&mut file).map_err(|e| Error::at(path.join(FILE), "read", e))?;
    let headers = content.headers();
    let parts = content.parse();
    let broken = match headers {
        _ if content.octets().is_empty() => 0,
        Some(headers) => usize::from(headers.is_torn),
        None => 2,
    };
    let has_uids = headers.is_some_and(|headers| headers.header.uid_validity > 0);
    Ok(Condition { parts: parts.count + 2, broken: broken + parts.broken, has_uids })
}

/// The digest for [`Part::Times`] of the octets before it.
pub(super) fn digest_of(pieces: &[&[u8]]) -> u32 {
    let mut digest = crc32fast::Hasher::new();
    pieces.iter().for_each(|piece| digest.update(piece));
    digest.finalize()
}

/// The largest file in bytes: three million parts, more than any folder has messages.
const MAX_BYTES: u64 = 256 << 20;
