//! Throwing messages away.

use crate::maildir::{Error, Maildir, Place, message, scan};

/// Deletes every message of a Maildir, beside a server that may have it open: its sessions find these
/// messages gone. Returns how many there were.
pub fn purge(maildir: &Maildir) -> Result<usize, Error> {
    let mut deleted = 0;
    for found in &scan::scan(maildir, &[])?.found {
        deleted += usize::from(message::delete(maildir, found.into())?.is_some());
    }
    for place in Place::BOTH {
        maildir.sync(place)?;
    }
    Ok(deleted)
}
