//! Throwing messages away.

use crate::maildir::{
    Error, Kind, Maildir, Place,
    message::{Deletion, Survivors},
    scan,
};

/// How far a mailbox was emptied.
#[derive(Debug, Default)]
pub struct Purged {
    /// Messages that are gone.
    pub deleted: usize,
    /// Why others are not, each once.
    pub errors: Vec<Error>,
}

/// Deletes every message of a Maildir, beside a server that may have it open: its sessions find these
/// messages gone. One that can't be deleted keeps none of the others.
pub fn purge(maildir: &Maildir) -> Purged {
    let mut purged = Purged::default();
    let found = match scan::scan(maildir, &[]) {
        Ok(scan) => scan.found,
        Err(error) => return Purged { deleted: 0, errors: vec![error] },
    };
    let mut deletion = Deletion::begin(maildir, Survivors::Read);
    for found in &found {
        match deletion.delete(found.into()) {
            Ok(done) => purged.deleted += usize::from(done.is_some()),
            Err(error) if error.kind() == Kind::Changed => {} // it came after the scan
            Err(error) => purged.errors.push(error),
        }
    }
    purged.errors.extend(deletion.finish().err());
    purged.errors.extend(Place::BOTH.into_iter().filter_map(|place| maildir.sync(place).err()));
    purged
}
