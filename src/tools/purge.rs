//! Throwing messages away.

use crate::maildir::{Error, Kind, Maildir, Place, message::Deletion, scan};

/// Deletes every message of a Maildir, beside a server that may have it open: its sessions find these
/// messages gone. Returns how many there were.
pub fn purge(maildir: &Maildir) -> Result<usize, Error> {
    let found = scan::scan(maildir, &[])?.found;
    let (mut deletion, mut deleted) = (Deletion::begin(maildir), 0);
    for found in &found {
        match deletion.delete(found.into()) {
            Err(error) if error.kind() == Kind::Changed => {} // it came after the scan
            done => deleted += usize::from(done?.is_some()),
        }
    }
    deletion.finish()?;
    for place in Place::BOTH {
        maildir.sync(place)?;
    }
    Ok(deleted)
}
