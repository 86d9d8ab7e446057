//! Deletes all messages of a mailbox.

use std::sync::Arc;

use rustix::io::Errno;

use super::Message;
use crate::{
    limits::Limits,
    maildir::{
        Error, Kind, Maildir, MessageEntry, Subdir,
        message::{Deletion, LinkCheck},
        scan::{self, Scan},
        size_counter::CountSlice,
    },
    proto::tagged::TaggedAddress,
};

/// The result of a purge.
#[derive(Debug, Default)]
pub(crate) struct Purged {
    pub deleted: usize,
    /// Messages that may be for the address, and that stay, because their headers do not tell their recipients.
    pub hidden: usize,
    /// The reasons for messages that were not deleted.
    pub errors: Vec<Error>,
}

/// Deletes every message of a Maildir, with the flag T or not, even while a server has it open: its sessions then find
/// these messages gone. A message that cannot be deleted does not stop the others. With `only_recipient`, it deletes only
/// mail for exactly that address.
pub(crate) fn purge(maildir: &Arc<Maildir>, only_recipient: Option<&TaggedAddress>) -> Purged {
    let mut purged = Purged::default();
    let mut turn = CountSlice::unbounded(Limits::default().max_listed_size());
    let Scan { messages, trashed, skipped, .. } = match scan::scan(maildir, &[], &mut turn) {
        Ok(scan) => scan.unwrap_or_default(),
        Err(error) => return Purged { errors: vec![error], ..Purged::default() },
    };
    let too_large = skipped.iter().filter(|file| file.why == scan::TOO_LARGE).map(|file| {
        let path = maildir.path().join(file.subdir.name());
        Error::at(path.join(String::from_utf8_lossy(&file.name).as_ref()), "purge", Errno::FBIG)
    });
    purged.errors.extend(too_large);
    let mut deletion = Deletion::begin(maildir, LinkCheck::Readdir);
    for found in messages.iter().chain(&trashed) {
        if let Some(only) = only_recipient {
            match read(maildir, found) {
                Ok(Some(message)) if message.is_to(only) => {}
                Ok(message) => {
                    purged.hidden += usize::from(message.is_some_and(|message| message.hides_from(only)));
                    continue;
                }
                Err(error) => {
                    purged.errors.push(error);
                    continue;
                }
            }
        }
        match deletion.delete(found.into()) {
            Ok(done) => purged.deleted += usize::from(done.is_some()),
            Err(error) if error.kind() == Kind::Changed => {} // it arrived after the scan
            Err(error) => purged.errors.push(error),
        }
    }
    purged.errors.extend(deletion.finish().err());
    purged.errors.extend(Subdir::ALL.into_iter().filter_map(|place| maildir.sync(place).err()));
    purged
}

/// The number of messages that [`purge`] would delete now.
pub(crate) fn count(maildir: &Arc<Maildir>, only_recipient: Option<&TaggedAddress>) -> usize {
    let mut turn = CountSlice::unbounded(Limits::default().max_listed_size());
    let scan = scan::scan(maildir, &[], &mut turn).ok().flatten().unwrap_or_default();
    let is_meant = |found: &&MessageEntry| {
        only_recipient
            .is_none_or(|only| read(maildir, found).ok().flatten().is_some_and(|message| message.is_to(only)))
    };
    scan.messages.iter().chain(&scan.trashed).filter(is_meant).count()
}

/// A message, if it is still there.
fn read(maildir: &Arc<Maildir>, found: &MessageEntry) -> Result<Option<Message>, Error> {
    match Message::read(Arc::clone(maildir), found.clone()) {
        Err(error) if matches!(error.kind(), Kind::Gone | Kind::Changed) => Ok(None),
        message => message.map(Some),
    }
}
