//! The end of a session: deletes and marks its messages.

use std::time::SystemTime;

use super::storage::{Storage, log_failure};
use crate::{
    index::{Snapshot, job::SessionChanges},
    maildir::{
        Error, Kind, Maildir, Subdir,
        message::{self, Deletion, LinkCheck},
        scan,
    },
    proto::request::{Failure, Maildrop},
};

/// Carries out every change that is possible. Fails if the disk prevented any of them (RFC 1939 section 6), or if a
/// message to be deleted is not the one that the session has listed.
pub(super) fn update(
    storage: &Storage,
    maildir: &Maildir,
    snapshot: &Snapshot,
    delete: &[usize],
    seen: &[usize],
) -> (SessionChanges, Result<(), Failure>) {
    let mut done = SessionChanges::default();
    let mut result = Ok(());
    let mut note = |error: Error| result = Err(log_failure(&error));
    let mut deletion = Deletion::begin(maildir, LinkCheck::cheapest(delete.len(), snapshot.len()));
    for wanted in delete.iter().filter_map(|message| snapshot.message_ref(*message)) {
        let listed = (wanted.subdir, wanted.name.into());
        match deletion.delete(wanted) {
            Ok(named) => {
                done.deleted.extend(named.filter(|named| *named != listed));
                done.deleted.push(listed);
            }
            Err(error) => {
                done.changed.push(listed);
                note(error);
            }
        }
    }
    deletion.finish().map_or_else(&mut note, |names| done.deleted.extend(names));
    for wanted in seen.iter().filter_map(|message| snapshot.message_ref(*message)) {
        match message::mark_seen(maildir, wanted) {
            Ok(named) => done.changed.extend(named),
            Err(error) if error.kind() == Kind::Changed => {} // the session has not read the present content
            Err(error) => note(error),
        }
        done.changed.push((wanted.subdir, wanted.name.into()));
    }
    for subdir in Subdir::ALL {
        maildir.sync(subdir).unwrap_or_else(&mut note);
    }
    done.dir_times =
        scan::dir_times(maildir).ok().map(|times| (times, scan::is_racy(&times, SystemTime::now())));
    done.barrier = storage.watcher.create_barrier();
    (done, result)
}
