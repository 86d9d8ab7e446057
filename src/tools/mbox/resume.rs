//! The progress record of an import: a file of ours in the mailbox, so that an import that was killed
//! continues, and a completed one is not repeated.
//!
//! The rule: the record is durable before the steps that it describes. A batch of messages is complete and
//! durable in `tmp/`; then the record lists them, durably; then they are renamed one by one. The next run
//! renames the listed files still in `tmp/`, and knows that the others were delivered, even if a reader has
//! deleted them since.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use blake2::{Blake2s, Digest, digest::consts::U16};
use rustix::fs;
use serde::{Deserialize, Serialize};

use super::Format;
use crate::{
    maildir::{
        Error, Kind, Maildir, Subdir, TmpFile,
        cache_file::{open, replace},
        name,
    },
    safe_file::Durability,
};

/// The identity of a file's content: differs between files, and after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    inode: u64,
    octets: u64,
    /// Time of the last change; of a directory, the time of its creation if the file system knows it.
    modified: (i64, i64),
    /// Number of octets at the beginning that the digest covers.
    first: usize,
    /// Digest of these octets; of a directory, of the list of its message files.
    digest: String,
    #[serde(default)]
    is_directory: bool,
}

impl Source {
    /// Describes an open file, so that a later run recognises it.
    pub fn of(file: &File) -> io::Result<Self> {
        let stat = file.metadata()?;
        let first = usize::try_from(stat.len()).unwrap_or(FIRST).min(FIRST);
        let modified = (stat.mtime(), stat.mtime_nsec());
        let digest = digest(file, first)?;
        Ok(Self { inode: stat.ino(), octets: stat.len(), modified, first, digest, is_directory: false })
    }

    /// Describes a directory by the octets of its message files and the digest of their list.
    pub(super) fn of_directory(dir: &File, octets: u64, digest: &[u8]) -> io::Result<Self> {
        let stat = dir.metadata()?;
        let created = stat.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let created = created.unwrap_or_default();
        let modified =
            (i64::try_from(created.as_secs()).unwrap_or(i64::MAX), i64::from(created.subsec_nanos()));
        Ok(Self { inode: stat.ino(), octets, modified, first: 0, digest: hex(digest), is_directory: true })
    }

    /// True if `source`, which is `file` as it is now, had been this one before. Otherwise the inode number belonged to
    /// another file.
    fn became(&self, source: &Self, file: &File) -> io::Result<bool> {
        if self.is_directory || source.is_directory {
            return Ok(self.is_directory && source.is_directory && self.modified == source.modified);
        }
        Ok(self.first <= source.first && digest(file, self.first)? == self.digest)
    }

    /// True if the file is unchanged.
    pub fn matches(&self, file: &File) -> io::Result<bool> {
        Ok(*self == Self::of(file)?)
    }
}

/// The digest of a file's beginning.
fn digest(file: &File, first: usize) -> io::Result<String> {
    let mut bytes = vec![0; first];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(hex(&Blake2s::<U16>::digest(&bytes)))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The progress of earlier runs with a file.
#[derive(Debug, PartialEq, Eq)]
pub enum PreviousRun {
    /// No earlier run imported this file.
    Nothing,
    /// Begun, with this many messages delivered.
    Started(u64),
    /// Completed, with this many messages.
    Done(u64),
    /// Begun or completed, but the file was changed since.
    Changed,
    /// Begun with this other format, which splits the file elsewhere.
    Format(String),
}

/// The record in the mailbox, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ResumeRecord {
    source: Source,
    format: String,
    /// Time of writing, in seconds since 1970.
    time: u64,
    /// Messages delivered before the batch.
    pub(super) delivered: u64,
    /// Offset of the batch in the mbox.
    pub(super) next: u64,
    /// Offset of the end of the batch.
    pub(super) end: u64,
    /// True if the import is complete.
    done: bool,
    pub(super) batch: Vec<BatchEntry>,
}

/// A durable message in `tmp/` that is to be renamed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BatchEntry {
    /// Offset of its From_ line, or its number in a directory.
    pub(super) at: u64,
    pub(super) unfinished: String,
    /// Its name in `new/` or `cur/`.
    pub(super) name: String,
    /// True for `cur/`, false for `new/`.
    pub(super) seen: bool,
}

impl BatchEntry {
    pub(super) fn subdir(&self) -> Subdir {
        if self.seen { Subdir::Cur } else { Subdir::New }
    }
}

impl ResumeRecord {
    pub(super) fn begin(source: Source, format: Format) -> Self {
        let format = format.name().to_owned();
        Self { source, format, time: 0, delivered: 0, next: 0, end: 0, done: false, batch: Vec::new() }
    }

    /// Loads the mailbox's record of that file.
    pub(super) fn load(
        maildir: &Maildir,
        source: &Source,
        file: &File,
        format: Format,
    ) -> Result<(PreviousRun, Self), Error> {
        let fresh = || Self::begin(source.clone(), format);
        let record = match Self::read(maildir, source) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok((PreviousRun::Nothing, fresh())),
            Err(error) if error.kind() == Kind::Gone => return Ok((PreviousRun::Nothing, fresh())),
            Err(error) => return Err(error),
        };
        let failed = |e| Error::at(maildir.path(), "read the mbox", e);
        let earlier = if record.source == *source {
            match (record.done, record.format == format.name()) {
                (true, _) => PreviousRun::Done(record.delivered),
                (false, true) => PreviousRun::Started(record.delivered),
                (false, false) => PreviousRun::Format(record.format.clone()),
            }
        } else if (record.delivered > 0 || !record.batch.is_empty())
            && record.source.became(source, file).map_err(failed)?
        {
            PreviousRun::Changed
        } else {
            return Ok((PreviousRun::Nothing, fresh()));
        };
        Ok((earlier, record))
    }

    /// Reads the record; `None` if it is torn or foreign.
    fn read(maildir: &Maildir, source: &Source) -> Result<Option<Self>, Error> {
        let name = file_name(source);
        let mut text = String::new();
        open(maildir, &name)?
            .take(MAX_RECORD)
            .read_to_string(&mut text)
            .map_err(|e| Error::at(maildir.path().join(&name), "read", e))?;
        let whole = text.split_once('\n').filter(|(first, rest)| *first == first_line(rest));
        Ok(whole.and_then(|(_, rest)| serde_json::from_str(rest).ok()))
    }

    /// Writes the record durably. The old one stays until the new one replaces it.
    pub(super) fn save(&mut self, maildir: &Maildir, now: SystemTime) -> Result<(), Error> {
        self.time = seconds(now);
        let name = file_name(&self.source);
        let path = maildir.path().join(&name);
        let text = serde_json::to_string(self).map_err(|e| Error::at(&path, "encode", io::Error::from(e)))?;
        let text = format!("{}\n{text}", first_line(&text));
        replace(maildir, &name, text.as_bytes(), Durability::Durable)
    }

    /// Records that everything is delivered.
    pub(super) fn finish(&mut self, maildir: &Maildir, now: SystemTime) -> Result<(), Error> {
        self.batch.clear();
        self.done = true;
        self.save(maildir, now)
    }

    /// Completes the batch of the record. Returns the messages that must not be delivered again. Files in
    /// `tmp/` are kept for `age`.
    pub(super) fn finish_batch(
        &self,
        maildir: &Maildir,
        now: SystemTime,
        age: Duration,
    ) -> Result<Vec<BatchEntry>, Error> {
        // A file missing from tmp/ was renamed, unless the record is so old that the file may have been
        // cleaned up.
        let sure = Duration::from_secs(seconds(now).saturating_sub(self.time)) < age / 2;
        let mut settled = Vec::new();
        for message in &self.batch {
            let place = message.subdir();
            if TmpFile::publish_existing(maildir, &message.unfinished, place, &message.name)?
                || sure
                || is_there(maildir, name::identity(message.name.as_bytes()))?
            {
                settled.push(message.clone());
            }
        }
        Subdir::ALL.into_iter().try_for_each(|place| maildir.sync(place))?;
        Ok(settled)
    }
}

fn is_there(maildir: &Maildir, identity: &[u8]) -> Result<bool, Error> {
    for place in Subdir::ALL {
        let failed = |e| Error::at(maildir.path().join(place.name()), "read directory", e);
        for entry in fs::Dir::read_from(maildir.dir(place)).map_err(failed)? {
            if name::identity(entry.map_err(failed)?.file_name().to_bytes()) == identity {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn file_name(source: &Source) -> String {
    format!("{FILE}{:x}", source.inode)
}

/// The first line of a complete record.
fn first_line(rest: &str) -> String {
    format!("restante import 1 {:08x}", crc32fast::hash(rest.as_bytes()))
}

/// Prefix of the file name; the inode number of the mbox follows.
const FILE: &str = ".restante.import-";
/// Octets of an mbox in the digest.
const FIRST: usize = 4096;
/// Octets of the longest record that is read.
const MAX_RECORD: u64 = 1 << 20;
