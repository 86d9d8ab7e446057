//! The numbers of folders for STATUS and LIST, without an index.
//!
//! The rule: a folder that has not changed costs three `stat`, and after a start a look at both ends of its file. One that
//! has costs a read of its names and of its file of UIDs, and a look at a file only if its size is asked for and not known. All
//! of that comes from the share of one turn of a worker.
//! No message gets a UID here. A folder without a file of UIDs may get one, with its UIDVALIDITY.

use std::time::SystemTime;

use rustix::fs::{self, AtFlags};

use super::{status_cache::CachedStatus, storage::Storage};
use crate::{
    index::{Sequence, UidBook, uid_book::NextNumbers},
    maildir::{
        CountProgress, Error, FileVersion, Maildir,
        folder_counts::{self, FolderCounts},
        folders::message_names,
        scan::{self, DirTimes},
        size_counter::CountSlice,
        uid_file,
    },
    proto::imap::flags::Flags,
    proto::imap::request::FolderStatus,
};

/// The numbers of a folder that no session has selected, as SELECT would tell them. `wants_size`: also the octets of its messages.
/// `next`: its UIDs are in memory still, and go on from these numbers. `None`: the turn is over.
pub(super) fn read(
    storage: &Storage,
    maildir: &Maildir,
    (wants_size, turn): (bool, &mut CountSlice),
    next: Option<NextNumbers>,
) -> Result<Option<FolderStatus>, Error> {
    let times = scan::dir_times(maildir)?;
    let uids = version_of_uids(maildir);
    let known = storage.statuses.get(maildir.id());
    if let Some(known) =
        known.filter(|known| known.times == times && known.uids == uids && known.next == next)
        && (known.has_size || !wants_size)
        && known.first_recent == storage.recent_marks.first(maildir.id(), known.status.uid_validity)
    {
        return Ok(Some(known.status));
    }
    let kept = folder_counts::load(maildir, &times)?.filter(|(kept, _)| kept.size.is_some() || !wants_size);
    if let Some((kept, unnumbered)) = kept
        && next.is_none()
        && storage.recent_marks.first(maildir.id(), kept.uid_validity).is_none()
    {
        // No session has opened the folder since the start, so only messages without a UID are recent.
        let (status, has_size) = (of_counts(&kept, unnumbered), kept.size.is_some());
        storage
            .statuses
            .insert(maildir.id(), CachedStatus { times, uids, next, has_size, first_recent: None, status });
        return Ok(Some(status));
    }
    let is_racy = scan::is_racy(&times, SystemTime::now());
    let size = match wants_size {
        true => size(maildir, turn)?,
        false => Some(0),
    };
    let Some(size) = size else { return Ok(None) };
    let book = UidBook::peek(maildir, SystemTime::now(), &storage.recent_marks)?;
    let names = message_names(maildir)?;
    turn.charge_names(names.len());
    let of_file = book.status(names.iter().map(|(subdir, name)| (*subdir, &**name)), size);
    let status = next.map_or(of_file, |next| book.resumed(of_file, next));
    if !is_racy {
        keep(maildir, &times, (&of_file, wants_size));
        let uids = version_of_uids(maildir);
        let first_recent = storage.recent_marks.first(maildir.id(), status.uid_validity);
        storage.statuses.insert(
            maildir.id(),
            CachedStatus { times, uids, next, has_size: wants_size, first_recent, status },
        );
    }
    Ok(Some(status))
}

fn of_counts(counts: &FolderCounts, recent: u32) -> FolderStatus {
    let FolderCounts { messages, unseen, deleted, size, uid_validity, uid_next, highest_modseq } = *counts;
    let size = size.unwrap_or(0);
    FolderStatus { messages, recent, unseen, deleted, size, uid_validity, uid_next, highest_modseq }
}

/// Keeps the numbers for the next start.
fn keep(maildir: &Maildir, times: &DirTimes, (status, has_size): (&FolderStatus, bool)) {
    let FolderStatus { messages, unseen, deleted, size, uid_validity, uid_next, highest_modseq, .. } =
        *status;
    let size = has_size.then_some(size);
    let counts = FolderCounts { messages, unseen, deleted, size, uid_validity, uid_next, highest_modseq };
    if let Some(now) = maildir.file_clock(SystemTime::now())
        && let Err(error) = folder_counts::keep(maildir, (times, now), &counts)
    {
        log::debug!("{error}: the next start counts the messages again");
    }
}

/// The numbers of a folder that a session has selected.
pub(super) fn of_sequence(sequence: &Sequence) -> FolderStatus {
    let state = &*sequence.state;
    let count = |is_wanted: fn(Flags) -> bool| {
        let wanted = state.messages.iter().filter(|message| is_wanted(message.flags));
        u32::try_from(wanted.count()).unwrap_or(u32::MAX)
    };
    let first_recent = state.recent.first();
    let recent = state.messages.len() - state.messages.partition_point(|message| message.uid < first_recent);
    FolderStatus {
        messages: count(|_| true),
        recent: u32::try_from(recent).unwrap_or(u32::MAX),
        unseen: count(|flags| !flags.intersects(Flags::SEEN)),
        deleted: count(|flags| flags.intersects(Flags::DELETED)),
        size: sequence.octets(),
        uid_next: state.uid_next,
        uid_validity: state.uid_validity,
        highest_modseq: state.highest_modseq,
    }
}

/// The octets of all messages. `None`: the turn is over.
fn size(maildir: &Maildir, turn: &mut CountSlice) -> Result<Option<u64>, Error> {
    let Some(scan) = scan::scan(maildir, [], turn)? else { return Ok(None) };
    turn.progress = CountProgress::default(); // of this folder
    turn.charge_names(scan.messages.len());
    Ok(Some(scan.messages.iter().chain(&scan.trashed).map(|found| found.octets).sum()))
}

fn version_of_uids(maildir: &Maildir) -> Option<FileVersion> {
    let stat = fs::statat(maildir.root(), uid_file::FILE, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileVersion::of(&stat))
}
