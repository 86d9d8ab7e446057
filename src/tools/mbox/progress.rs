//! How far an import has come: a file of ours in the mailbox, so that an import that was killed goes on where
//! it was, and one that is done is not done again.
//!
//! The rule: what it says is durable before what it speaks of happens. A batch of messages is whole and durable
//! in `tmp/`; then the record names them, durably; then they are renamed, one by one. Whoever finds such a
//! record renames what is still in `tmp/`, and knows that the rest has been delivered, even if its reader
//! has deleted it since.

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
        Draft, Error, Kind, Maildir, Place, name,
        sizes::{open, replace},
    },
    safe_file::Keep,
};

/// What tells one file from another, and from itself after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    inode: u64,
    octets: u64,
    modified: (i64, i64),
    /// So many octets that it begins with have that digest.
    first: usize,
    digest: String,
}

impl Source {
    /// That of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        let stat = file.metadata()?;
        let first = usize::try_from(stat.len()).unwrap_or(FIRST).min(FIRST);
        let modified = (stat.mtime(), stat.mtime_nsec());
        Ok(Self { inode: stat.ino(), octets: stat.len(), modified, first, digest: digest(file, first)? })
    }

    /// Whether the file is still the same.
    pub fn is(&self, file: &File) -> io::Result<bool> {
        Ok(*self == Self::of(file)?)
    }
}

/// The digest of what a file begins with.
fn digest(file: &File, first: usize) -> io::Result<String> {
    let mut bytes = vec![0; first];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Blake2s::<U16>::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What is known of a file from an earlier run.
#[derive(Debug, PartialEq, Eq)]
pub enum Earlier {
    /// Nothing.
    Nothing,
    /// It was begun, and so many messages are delivered.
    Begun(u64),
    /// So many messages were delivered, and there were no more.
    Done(u64),
    /// It was begun, or done, when it was another: it has been changed since.
    Changed,
    /// It was begun with another format.
    Format(String),
}

/// The record itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    source: Source,
    format: String,
    /// When it was written.
    time: u64,
    /// Messages delivered before the batch.
    pub(super) delivered: u64,
    /// Where in the mbox the batch begins.
    pub(super) next: u64,
    /// Where it ends.
    pub(super) end: u64,
    /// There is nothing more to do.
    done: bool,
    pub(super) batch: Vec<Batched>,
}

/// A message that is to be renamed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Batched {
    /// Where it begins in the mbox.
    pub(super) at: u64,
    /// Its name in `tmp/`.
    pub(super) unfinished: String,
    /// Its name in its place.
    pub(super) name: String,
    /// Whether that is `cur/`.
    pub(super) seen: bool,
}

impl Batched {
    pub(super) fn place(&self) -> Place {
        if self.seen { Place::Cur } else { Place::New }
    }
}

impl Record {
    pub(super) fn begin(source: Source, format: Format) -> Self {
        let format = format.name().to_owned();
        Self { source, format, time: 0, delivered: 0, next: 0, end: 0, done: false, batch: Vec::new() }
    }

    /// What the mailbox has of that file.
    pub(super) fn load(
        maildir: &Maildir,
        source: &Source,
        file: &File,
        format: Format,
    ) -> Result<(Earlier, Self), Error> {
        let fresh = || Self::begin(source.clone(), format);
        let record = match Self::read(maildir, source) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok((Earlier::Nothing, fresh())),
            Err(error) if error.kind() == Kind::Gone => return Ok((Earlier::Nothing, fresh())),
            Err(error) => return Err(error),
        };
        let failed = |e| Error::at(maildir.path(), "read the mbox", e);
        let earlier = if record.source == *source {
            match (record.done, record.format == format.name()) {
                (true, _) => Earlier::Done(record.delivered),
                (false, true) => Earlier::Begun(record.delivered),
                (false, false) => Earlier::Format(record.format.clone()),
            }
        } else if (record.delivered > 0 || !record.batch.is_empty())
            && record.source.first <= source.first
            && digest(file, record.source.first).map_err(failed)? == record.source.digest
        {
            Earlier::Changed
        } else {
            // Another file had its inode number once.
            return Ok((Earlier::Nothing, fresh()));
        };
        Ok((earlier, record))
    }

    /// `None`: there is one that is torn or not ours.
    fn read(maildir: &Maildir, source: &Source) -> Result<Option<Self>, Error> {
        let name = file_name(source);
        let mut text = String::new();
        open(maildir, &name)?
            .take(LONGEST)
            .read_to_string(&mut text)
            .map_err(|e| Error::at(maildir.path().join(&name), "read", e))?;
        let whole = text.split_once('\n').filter(|(first, rest)| *first == first_line(rest));
        Ok(whole.and_then(|(_, rest)| serde_json::from_str(rest).ok()))
    }

    /// Writes it down, durably: the old one is there until the new one is.
    pub(super) fn save(&mut self, maildir: &Maildir, now: SystemTime) -> Result<(), Error> {
        self.time = seconds(now);
        let name = file_name(&self.source);
        let path = maildir.path().join(&name);
        let text = serde_json::to_string(self).map_err(|e| Error::at(&path, "encode", io::Error::from(e)))?;
        let text = format!("{}\n{text}", first_line(&text));
        replace(maildir, &name, text.as_bytes(), Keep::Durable)
    }

    /// Everything is delivered.
    pub(super) fn finish(&mut self, maildir: &Maildir, now: SystemTime) -> Result<(), Error> {
        self.batch.clear();
        self.done = true;
        self.save(maildir, now)
    }

    /// Finishes what the batch says. Returns the messages that must not be delivered again. Files in `tmp/` stay
    /// there for `age`.
    pub(super) fn settle(
        &self,
        maildir: &Maildir,
        now: SystemTime,
        age: Duration,
    ) -> Result<Vec<Batched>, Error> {
        // What is gone from tmp/ was renamed: unless the record is so old that it may have been tidied away.
        let sure = Duration::from_secs(seconds(now).saturating_sub(self.time)) < age / 2;
        let mut settled = Vec::new();
        for message in &self.batch {
            let place = message.place();
            if Draft::rename_left(maildir, &message.unfinished, place, &message.name)?
                || sure
                || is_there(maildir, name::identity(message.name.as_bytes()))?
            {
                settled.push(message.clone());
            }
        }
        Place::BOTH.into_iter().try_for_each(|place| maildir.sync(place))?;
        Ok(settled)
    }
}

fn is_there(maildir: &Maildir, identity: &[u8]) -> Result<bool, Error> {
    for place in Place::BOTH {
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

/// What tells a record of ours that is whole.
fn first_line(rest: &str) -> String {
    format!("restante import 1 {:08x}", crc32fast::hash(rest.as_bytes()))
}

/// The file, beside the messages; behind it the inode number of the mbox.
const FILE: &str = ".restante.import-";
/// Octets of an mbox that tell it from others.
const FIRST: usize = 4096;
/// Octets of a record that is ours, at the most.
const LONGEST: u64 = 1 << 20;
