//! The end of a session: deletes and marks its messages.

use std::time::SystemTime;

use super::storage::{Storage, report};
use crate::{
    index::{Snapshot, registry},
    maildir::{
        Error, Kind, Maildir, Place,
        message::{self, Deletion, Survivors},
        scan,
    },
    proto::request::{Fault, Maildrop},
};

/// Does all it can, and fails if the disk let any of it fail (RFC 1939 section 6), or a message is not what the
/// session has listed and was to be deleted.
pub(super) fn update(
    storage: &Storage,
    maildir: &Maildir,
    snapshot: &Snapshot,
    delete: &[usize],
    seen: &[usize],
) -> (registry::Done, Result<(), Fault>) {
    let mut done = registry::Done::default();
    let mut result = Ok(());
    let mut note = |error: Error| result = Err(report(&error));
    let mut deletion = Deletion::begin(maildir, Survivors::of(delete.len(), snapshot.len()));
    for wanted in delete.iter().filter_map(|message| snapshot.wanted(*message)) {
        let listed = (wanted.place, wanted.name.into());
        match deletion.delete(wanted) {
            Ok(named) => {
                done.gone.extend(named.filter(|named| *named != listed));
                done.gone.push(listed);
            }
            Err(error) => {
                done.touched.push(listed);
                note(error);
            }
        }
    }
    deletion.finish().map_or_else(&mut note, |names| done.gone.extend(names));
    for wanted in seen.iter().filter_map(|message| snapshot.wanted(*message)) {
        match message::mark_seen(maildir, wanted) {
            Ok(named) => done.touched.extend(named),
            Err(error) if error.kind() == Kind::Changed => {} // nobody has read what is there now
            Err(error) => note(error),
        }
        done.touched.push((wanted.place, wanted.name.into()));
    }
    for place in Place::BOTH {
        maildir.sync(place).unwrap_or_else(&mut note);
    }
    done.seen = scan::times(maildir).ok().map(|times| (times, scan::is_young(&times, SystemTime::now())));
    done.mark = storage.watcher.mark();
    (done, result)
}
