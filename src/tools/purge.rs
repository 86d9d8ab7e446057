//! Throwing messages away.

use rustix::io::Errno;

use crate::{
    limits::Limits,
    maildir::{
        Error, Kind, Maildir, Place,
        counting::Turn,
        message::{Deletion, Survivors},
        scan::{self, Scan},
    },
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
    let mut turn = Turn::endless(Limits::default().largest_listed());
    let Scan { found, left_out, .. } = match scan::scan(maildir, &[], &mut turn) {
        Ok(scan) => scan.unwrap_or_default(),
        Err(error) => return Purged { deleted: 0, errors: vec![error] },
    };
    let too_large = left_out.iter().filter(|file| file.why == scan::TOO_LARGE).map(|file| {
        let path = maildir.path().join(file.place.name());
        Error::at(path.join(String::from_utf8_lossy(&file.name).as_ref()), "purge", Errno::FBIG)
    });
    purged.errors.extend(too_large);
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
