//! Moves messages into another Maildir.
//!
//! The rule: a kill or a power cut at any step leaves a message in one of the two folders. Where the journal of the file system
//! makes a rename whole or undone, a message moves by one rename, and is never in both. Elsewhere it moves by a copy
//! ([`Copies`]), which is durable before the message leaves its folder, so that between the two steps it is in both.

use rustix::{
    fs::{self, AtFlags, FileType, RenameFlags},
    io::Errno,
};

use super::{
    Error, FileVersion, Kind, Maildir, MessageEntry, Subdir,
    fault_points::fault_point,
    message::{Deletion, LinkCheck, c_string, changed_error, find, listed_path},
    sync_phase::{SyncPart, after_copy, is_rename_avoided},
    transfer::{ATTEMPTS, Copies, CopyRequest, sync_foreign},
    unnamed_file,
};

/// Messages that have moved.
#[derive(Debug)]
pub struct Moved {
    /// For each request the message in its new place, or `None` if it is gone or did not move.
    pub made: Vec<Option<MessageEntry>>,
    /// The failure that prevented the rest, or that leaves unknown whether all of it is durable.
    pub done: Result<(), Error>,
}

/// Moves messages, durably. `letters` translates the letters of flags and keywords, and `is_target_there` says whether the
/// other folder still has its name. `None`: it has not, and nothing has moved.
///
/// # Errors
/// The disk failed, and nothing has moved.
pub fn move_messages(
    (source, target): (&Maildir, &Maildir),
    requests: &[CopyRequest<'_>],
    letters: impl Fn(&[u8]) -> Vec<u8>,
    is_target_there: impl Fn() -> bool,
) -> Result<Option<Moved>, Error> {
    if !is_target_there() {
        return Ok(None);
    }
    if are_renames_atomic(source, target)
        && let Some(moved) = rename_all((source, target), requests, &letters)
    {
        return Ok(Some(moved));
    }
    let copies = Copies::make(source, target, requests, letters)?;
    after_copy();
    // The folder may have been deleted meanwhile, with all that is in it.
    if !is_target_there() {
        copies.undo();
        return Ok(None);
    }
    let (made, done) = copies.remove_sources(requests);
    Ok(Some(Moved { made, done }))
}

/// Whether a power cut leaves a renamed file under one of its names.
pub(super) fn are_renames_atomic(source: &Maildir, target: &Maildir) -> bool {
    source.id().0 == target.id().0 && unnamed_file::has_atomic_names(target.root()) && !is_rename_avoided()
}

/// Renames messages. `None`: one of the directories is mounted in a way that allows no rename, and nothing has moved.
fn rename_all(
    (source, target): (&Maildir, &Maildir),
    requests: &[CopyRequest<'_>],
    letters: &impl Fn(&[u8]) -> Vec<u8>,
) -> Option<Moved> {
    let mut made = Vec::with_capacity(requests.len());
    let mut done = Ok(());
    // A program that was killed between a link and its removal may have left the file with another name.
    let mut others = Deletion::begin(source, LinkCheck::Readdir);
    for request in requests {
        match rename((source, target), request, letters, &mut others) {
            Ok(Step::Moved(entry)) => made.push(Some(entry)),
            Ok(Step::Gone) => made.push(None),
            // The others move, and the client hears that not all have.
            Err(error) if error.kind() == Kind::Changed => {
                made.push(None);
                done = Err(error);
            }
            Ok(Step::Impossible) if made.iter().all(Option::is_none) => return None,
            Ok(Step::Impossible) => {
                done = Err(Error::at(target.path(), "rename", Errno::XDEV));
                break;
            }
            Err(error) => {
                done = Err(error);
                break;
            }
        }
    }
    made.resize(requests.len(), None);
    let finished = others.finish().map(drop);
    // Each of them, whatever becomes of the others: the client hears that not all is done, and some of it is.
    let synced =
        [target, source].map(|maildir| Subdir::ALL.map(|subdir| maildir.sync_part(subdir, SyncPart::Moves)));
    done = synced.into_iter().flatten().fold(done.and(finished), Result::and);
    Some(Moved { made, done })
}

/// The result for one message.
enum Step {
    Moved(MessageEntry),
    Gone,
    Impossible,
}

fn rename<'a>(
    (source, target): (&Maildir, &Maildir),
    request: &CopyRequest<'a>,
    letters: &impl Fn(&[u8]) -> Vec<u8>,
    others: &mut Deletion<'a>,
) -> Result<Step, Error> {
    for _ in 0..ATTEMPTS {
        let (from, name, version) = match find(source, request.wanted) {
            Ok(found) => found,
            Err(error) if error.kind() == Kind::Gone => return Ok(Step::Gone),
            Err(error) => return Err(error),
        };
        let Some(found) = request.found(source, (from, &name), version)? else {
            break; // a program has written into it since it was listed
        };
        if !sync_foreign(source, (from, &name))? {
            continue;
        }
        let entry = request.entry((from, &name), letters, found);
        let new_name = c_string(entry.name.to_vec());
        let (from_dir, to_dir) = (source.dir(from), target.dir(entry.subdir));
        let path = || target.path().join(entry.subdir.name()).join(new_name.to_string_lossy().as_ref());
        fault_point(target.path(), "rename moved")?;
        let renamed = match fs::renameat_with(from_dir, &name, to_dir, &new_name, RenameFlags::NOREPLACE) {
            // No other file has this name, which is new.
            Err(Errno::INVAL | Errno::NOSYS) => fs::renameat(from_dir, &name, to_dir, &new_name),
            renamed => renamed,
        };
        match renamed {
            Ok(()) => {}
            Err(Errno::NOENT) if target.is_intact() => continue, // another program has renamed it
            Err(Errno::XDEV | Errno::OPNOTSUPP) => return Ok(Step::Impossible),
            Err(error) => return Err(Error::at(path(), "rename", error)),
        }
        // Another file may have got the name before it was renamed.
        let there = fs::statat(to_dir, &new_name, AtFlags::SYMLINK_NOFOLLOW);
        let is_it = there.as_ref().is_ok_and(|stat| {
            FileVersion::of(stat) == version && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        });
        if is_it {
            if there.is_ok_and(|stat| stat.st_nlink > 1) {
                others.expect_other_names(request.wanted);
            }
            fault_point(target.path(), "rename moved: done")?;
            return Ok(Step::Moved(entry));
        }
        match fs::renameat_with(to_dir, &new_name, from_dir, &name, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(Error::at(path(), "rename", error)),
        }
    }
    Err(changed_error(listed_path(source, request.wanted)))
}
