//! Writes a folder's file.
//!
//! The rule: in this process, one thread at a time changes the file of a folder, and all of them are workers. What is
//! appended goes to the end, wherever another process has left it. So parts of two processes stand beside each other; NFS may
//! write those of one over those of another, and then whole parts are lost.

use std::{
    fs::File,
    io::Write,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{self, AtFlags, OFlags},
    io::Errno,
};

use super::{
    super::{
        Error, FileVersion, Maildir,
        cache_file::{open, replace},
    },
    Content, FILE, HEADERS, KeptTimes, PART, Part, UidHeader,
    content::digest_of,
    encode_headers,
};
use crate::safe_file::{self, Durability};

/// Waits until no other thread changes the file of the folder.
pub(in crate::maildir) fn lock(maildir: &Maildir) -> MutexGuard<'static, ()> {
    let (device, inode) = maildir.id();
    let number = usize::try_from((device ^ inode) % WRITERS.len() as u64).unwrap_or(0);
    WRITERS[number].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the file to read it and to change it in its place.
pub(in crate::maildir) fn open_to_change(maildir: &Maildir, how: OFlags) -> Result<File, Errno> {
    safe_file::open_to_write_in(maildir.root(), FILE.as_ref(), how | OFlags::RDWR)
}

/// Octets to be written before a part at the end of a file of that length: the headers of an empty file, and zeros for the
/// rest of a part that a crash has torn.
pub(in crate::maildir) fn filling(length: u64) -> Vec<u8> {
    let length = usize::try_from(length).unwrap_or(0);
    match length {
        0 => encode_headers(&UidHeader::default()),
        _ => vec![0; length.max(HEADERS).next_multiple_of(PART) - length],
    }
}

/// Replaces the file, and removes those of earlier versions, which are caches.
pub(in crate::maildir) fn replace_all(
    maildir: &Maildir,
    octets: &[u8],
    keep: Durability,
) -> Result<(), Error> {
    replace(maildir, FILE, octets, keep)?;
    if keep == Durability::Durable {
        note_sync(maildir);
    }
    remove_earlier(maildir);
    Ok(())
}

/// Files without a UID, which a scan has found.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::maildir) struct KeptFiles<'a> {
    pub(in crate::maildir) files: &'a [(FileVersion, u64)],
    /// With these, the file has all messages of the folder.
    pub(in crate::maildir) times: Option<KeptTimes>,
}

impl KeptFiles<'_> {
    /// The parts, after these octets that follow the headers.
    pub(in crate::maildir) fn encode(&self, before: &[u8]) -> Vec<u8> {
        let parts = self.files.iter().flat_map(|(version, octets)| Part::File(*version, *octets).encode());
        let mut octets: Vec<u8> = parts.collect();
        if let Some(times) = self.times {
            octets.extend(Part::Times(times, digest_of(&[before, &octets])).encode());
        }
        octets
    }
}

/// Appends files in one write, and makes the file if it is missing.
pub(in crate::maildir) fn append_files(maildir: &Maildir, kept: KeptFiles<'_>) -> Result<(), Error> {
    if kept.files.is_empty() && kept.times.is_none() {
        return Ok(());
    }
    let _writer = lock(maildir);
    let failed = |step| move |e: std::io::Error| Error::at(maildir.path().join(FILE), step, e);
    let (mut file, is_new) = match open_to_change(maildir, OFlags::APPEND) {
        Ok(file) => (file, false),
        Err(Errno::NOENT) => {
            let made = open_to_change(maildir, OFlags::APPEND | OFlags::CREATE);
            (made.map_err(|e| Error::at(maildir.path().join(FILE), "open", e))?, true)
        }
        // A second name may be that of a copy of the spool by links, which keeps what it has.
        Err(Errno::MLINK) => return append_to_copy(maildir, kept),
        Err(error) => return Err(Error::at(maildir.path().join(FILE), "open", error)),
    };
    let length = file.metadata().map_err(failed("stat"))?.len();
    let mut octets = filling(length);
    let before = match kept.times {
        Some(_) => Content::read(&mut file).map_err(failed("read"))?,
        None => Content::default(),
    };
    let rest_of_headers = usize::try_from((HEADERS as u64).saturating_sub(length)).unwrap_or(0);
    let parts = kept.encode(&[before.tail(), &octets[rest_of_headers..]].concat());
    octets.extend(parts);
    file.write_all(&octets).map_err(failed("write"))?;
    if is_new {
        remove_earlier(maildir);
    }
    Ok(())
}

/// Replaces a file that has a second name by one with the same content and these files.
fn append_to_copy(maildir: &Maildir, kept: KeptFiles<'_>) -> Result<(), Error> {
    let mut file = open(maildir, FILE)?;
    let content = Content::read(&mut file).map_err(|e| Error::at(maildir.path().join(FILE), "read", e))?;
    let mut octets = content.octets().to_vec();
    octets.extend(filling(octets.len() as u64));
    let parts = kept.encode(&octets[HEADERS..]);
    octets.extend(parts);
    let keep = if content.has_uids() { Durability::Durable } else { Durability::Cached };
    replace_all(maildir, &octets, keep)
}

/// Removes the files whose place this one has taken. They were caches, or of no release.
fn remove_earlier(maildir: &Maildir) {
    for name in EARLIER_FILES {
        let _ = fs::unlinkat(maildir.root(), name, AtFlags::empty()); // one that stays is never read
    }
}

/// Locks for the files of all folders, of which some share one.
static WRITERS: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];
const EARLIER_FILES: [&str; 2] = [".restante.sizes", ".restante.uids"];

#[cfg(not(test))]
pub(in crate::maildir) fn note_sync(_: &Maildir) {}

#[cfg(test)]
use tests::note_sync;

#[cfg(test)]
pub(in crate::maildir) mod tests {
    use std::{cell::RefCell, collections::HashMap, path::PathBuf};

    use super::*;

    thread_local! {
        static SYNCED: RefCell<HashMap<PathBuf, Vec<u8>>> = RefCell::default();
    }

    /// Notes the content of the file, which a power cut leaves as it is.
    pub(in crate::maildir) fn note_sync(maildir: &Maildir) {
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
}
