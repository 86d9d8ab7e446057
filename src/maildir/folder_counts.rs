//! The numbers of a folder in `.restante.index`, so that STATUS of a folder reads no name after a start.
//!
//! They are the last part of the file. They count while the directories have the same states, and nothing stands after them.

use std::{fs::File, io, os::unix::fs::FileExt, time::SystemTime};

use rustix::{fs::OFlags, io::Errno};

use super::{
    Error, Kind, Maildir,
    cache_file::{is_foreign, open},
    index_file::{FILE, HEADERS, Headers, KeptCounts, PART, Part, UidHeader, lock, open_to_change},
    scan::{DirTimes, dir_states, kept_times},
};

/// The numbers of a folder that has UIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderCounts {
    /// The number of messages.
    pub messages: u32,
    /// Messages without `\Seen`.
    pub unseen: u32,
    /// Messages with `\Deleted`.
    pub deleted: u32,
    /// Octets of all messages on the wire, if they were counted.
    pub size: Option<u64>,
    /// The value with which the UIDs stay valid.
    pub uid_validity: u32,
    /// The UID of the next message.
    pub uid_next: u32,
    /// The modification sequence of the last change.
    pub highest_modseq: u64,
}

/// The numbers that were kept, if the directories with these times are as they were, and how many of the messages had no UID.
///
/// # Errors
/// The disk failed.
pub fn load(maildir: &Maildir, times: &DirTimes) -> Result<Option<(FolderCounts, u32)>, Error> {
    let file = match open(maildir, FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == Kind::Gone || is_foreign(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let failed = |e: io::Error| Error::at(maildir.path().join(FILE), "read", e);
    let Some((header, Some(kept), _)) = ends(&file).map_err(failed)? else { return Ok(None) };
    let is_same = dir_states(maildir)? == (*times, kept.dirs);
    let counts = FolderCounts {
        messages: kept.messages,
        unseen: kept.unseen,
        deleted: kept.deleted,
        size: (kept.size != u64::MAX).then_some(kept.size),
        uid_validity: header.uid_validity,
        uid_next: header.uid_limit.saturating_add(kept.unnumbered),
        highest_modseq: header.modseq_limit.saturating_add(kept.changes.into()),
    };
    Ok(is_same.then_some((counts, kept.unnumbered)))
}

/// Keeps the numbers of a folder whose directories have these times, unless it is small, or has changed since, or so shortly
/// before `now` that a later change might leave the same times.
///
/// # Errors
/// The file cannot be written.
pub fn keep(
    maildir: &Maildir,
    (times, now): (&DirTimes, SystemTime),
    counts: &FolderCounts,
) -> Result<(), Error> {
    let (present, dirs) = dir_states(maildir)?;
    let is_worth_it = counts.messages >= MIN_COUNTED && present == *times;
    if !is_worth_it || kept_times(maildir, dirs, now).is_none() {
        return Ok(());
    }
    let _writer = lock(maildir);
    let failed = |e: io::Error| Error::at(maildir.path().join(FILE), "write", e);
    let Some((header, last, length)) = ends(&open(maildir, FILE)?).map_err(failed)? else { return Ok(()) };
    // The folder may have other UIDs by now.
    let unnumbered = counts.uid_next.checked_sub(header.uid_limit);
    let changes =
        counts.highest_modseq.checked_sub(header.modseq_limit).and_then(|more| more.try_into().ok());
    let (Some(unnumbered), Some(changes)) = (unnumbered, changes) else { return Ok(()) };
    if header.uid_validity != counts.uid_validity {
        return Ok(());
    }
    let FolderCounts { messages, unseen, deleted, size, .. } = *counts;
    let size = size.unwrap_or(u64::MAX);
    let part = Part::Counts(KeptCounts { dirs, messages, unseen, deleted, unnumbered, size, changes });
    // Earlier numbers are replaced in their place. Others are appended, wherever another process has left the end.
    let (how, at) = match last {
        Some(_) => (OFlags::empty(), length - PART as u64),
        None => (OFlags::APPEND, length),
    };
    match open_to_change(maildir, how) {
        Ok(file) => file.write_all_at(&part.encode(), at).map_err(failed),
        Err(Errno::MLINK) => Ok(()), // a copy of the spool by links has this file
        Err(error) => Err(failed(error.into())),
    }
}

/// The header of a file with UIDs, the numbers at its end, and its length. `None`: a part of it is torn.
fn ends(file: &File) -> io::Result<Option<(UidHeader, Option<KeptCounts>, u64)>> {
    let length = file.metadata()?.len();
    if length <= HEADERS as u64 || !length.is_multiple_of(PART as u64) {
        return Ok(None);
    }
    let (mut headers, mut last) = ([0; HEADERS], [0; PART]);
    let read = file
        .read_exact_at(&mut headers, 0)
        .and_then(|()| file.read_exact_at(&mut last, length - PART as u64));
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None), // it was cut short meanwhile
        read => read?,
    }
    let Some(Headers { header, is_torn: false, .. }) = Headers::decode(&headers) else { return Ok(None) };
    let counts = match Part::decode(&last) {
        Some(Part::Counts(counts)) => Some(counts),
        _ => None,
    };
    Ok((header.uid_validity > 0).then_some((header, counts, length)))
}

/// Messages below which it takes as long to read the names.
const MIN_COUNTED: u32 = 100;

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;
    use crate::maildir::{
        FileVersion, Spool,
        fault_points::memory_dir,
        index_file::UidRecord,
        scan::dir_times,
        size_cache,
        uid_file::{MessageKey, UidFile},
    };

    const HEADER: UidHeader = UidHeader { uid_validity: 7, uid_limit: 1001, modseq_limit: 5000 };
    const COUNTS: FolderCounts = FolderCounts {
        messages: 120,
        unseen: 20,
        deleted: 3,
        size: None,
        uid_validity: 7,
        uid_next: 1021,
        highest_modseq: 5001,
    };

    fn record(uid: u32) -> UidRecord {
        let version = FileVersion { inode: uid.into(), bytes: 10, modified: (1, 0) };
        UidRecord { uid, modseq: 2, key: MessageKey::of(b"1.a", None), flags: 0, version, octets: 10 }
    }

    fn folder() -> (tempfile::TempDir, Maildir) {
        let dir = memory_dir();
        let maildir = Spool::open(dir.path()).unwrap().open_or_create_maildir("box").unwrap();
        UidFile::create(&maildir, HEADER, &[record(1)]).unwrap();
        (dir, maildir)
    }

    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(10)
    }

    fn keep_now(maildir: &Maildir, counts: &FolderCounts) {
        keep(maildir, (&dir_times(maildir).unwrap(), later()), counts).unwrap();
    }

    fn kept(maildir: &Maildir) -> Option<FolderCounts> {
        load(maildir, &dir_times(maildir).unwrap()).unwrap().map(|(counts, _)| counts)
    }

    fn length(maildir: &Maildir) -> u64 {
        fs::metadata(maildir.path().join(FILE)).unwrap().len()
    }

    #[test]
    fn y94_the_numbers_of_a_folder_count_while_nothing_has_changed() {
        let (_dir, maildir) = folder();
        assert_eq!(kept(&maildir), None);
        keep_now(&maildir, &COUNTS);
        assert_eq!(kept(&maildir), Some(COUNTS));
        let before = length(&maildir);
        let counted = FolderCounts { size: Some(12_000), ..COUNTS };
        keep_now(&maildir, &counted);
        assert_eq!((kept(&maildir), length(&maildir)), (Some(counted), before), "replaced in its place");
        // A message comes.
        fs::write(maildir.path().join("new/2.b"), "x\n").unwrap();
        assert_eq!(kept(&maildir), None);
        keep_now(&maildir, &counted);
        assert_eq!((kept(&maildir), length(&maildir)), (Some(counted), before));
        // A message gets a UID, or its size is counted.
        let mut file = UidFile::load(&maildir).unwrap().unwrap().file;
        assert!(file.append(&maildir, &[record(2)]).unwrap());
        assert_eq!(kept(&maildir), None);
        keep_now(&maildir, &counted);
        assert_eq!(kept(&maildir), Some(counted));
        size_cache::append(&maildir, &[(record(3).version, 11)]).unwrap();
        assert_eq!(kept(&maildir), None);
        keep_now(&maildir, &counted);
        // UIDs are reserved, so the next one is higher.
        let mut file = UidFile::load(&maildir).unwrap().unwrap().file;
        assert!(file.reserve(&maildir, UidHeader { uid_limit: 2001, ..HEADER }).unwrap());
        assert_eq!(kept(&maildir), Some(FolderCounts { uid_next: 2021, ..counted }));
        assert!(!UidFile::load(&maildir).unwrap().unwrap().is_damaged);
    }

    #[test]
    fn y94_numbers_that_may_be_wrong_are_not_kept() {
        let (_dir, maildir) = folder();
        let times = dir_times(&maildir).unwrap();
        let before = length(&maildir);
        keep_now(&maildir, &FolderCounts { messages: 99, ..COUNTS }); // reading so few names is as fast
        keep_now(&maildir, &FolderCounts { uid_validity: 8, ..COUNTS });
        keep_now(&maildir, &FolderCounts { uid_next: 1000, ..COUNTS });
        keep(&maildir, (&times, SystemTime::now()), &COUNTS).unwrap(); // a change may leave the same times
        fs::write(maildir.path().join("new/2.b"), "x\n").unwrap();
        keep(&maildir, (&times, later()), &COUNTS).unwrap();
        assert_eq!(length(&maildir), before);
        keep_now(&maildir, &COUNTS);
        let path = maildir.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for at in (0..HEADERS).chain(whole.len() - PART..whole.len()) {
            let mut octets = whole.clone();
            octets[at] ^= 0x40;
            fs::write(&path, octets).unwrap();
            assert_eq!(kept(&maildir), None, "octet {at}");
        }
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(kept(&maildir), None, "cut at {length}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(kept(&maildir), None);
    }
}
