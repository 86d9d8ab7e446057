//! Changes of files in the spool that the transcript of a session shows.

use std::os::unix::ffi::OsStrExt;

use super::state::Backend;
use crate::{
    maildir::{Subdir, name},
    proto::request::{ConnId, Mailbox},
    transcript::format,
    workers::Completion,
};

impl Backend {
    /// Records the file changes that a completion reports, before the completion is dispatched.
    pub(super) fn record_changes(&mut self, completion: &Completion) {
        if !self.has_transcripts {
            return;
        }
        match completion {
            Completion::Delivered(id, _, Ok(receipt)) => {
                for arrival in &receipt.arrivals {
                    let found = &arrival.entry;
                    self.record_change(*id, "delivered", &arrival.mailbox, (found.subdir, &found.name));
                }
            }
            Completion::Updated(id, Some(done), _) => {
                let client = self.clients.get_mut(*id);
                let Some(mailbox) =
                    client.and_then(|client| Some(client.maildrop.as_ref()?.mailbox().clone()))
                else {
                    return;
                };
                for (subdir, name) in &done.deleted {
                    self.record_change(*id, "deleted", &mailbox, (*subdir, name));
                }
                // `touched` contains the old name of a file too.
                let is_seen = |name: &[u8]| name::flags(name).contains(&b'S');
                for (subdir, name) in done.changed.iter().filter(|(_, name)| is_seen(name)) {
                    self.record_change(*id, "seen", &mailbox, (*subdir, name));
                }
            }
            _ => {}
        }
    }

    fn record_change(&mut self, id: ConnId, what: &str, mailbox: &Mailbox, (subdir, name): (Subdir, &[u8])) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.changes.len() < MAX_CHANGES)
        else {
            return;
        };
        let path = self.spool.join(mailbox.to_string()).join(subdir.name());
        let path = format::escaped(path.join(String::from_utf8_lossy(name).as_ref()).as_os_str().as_bytes());
        let change = format!("{what} {path}");
        if client.changes.last() != Some(&change) {
            client.changes.push(change);
        }
    }
}

/// Changes that one response may report.
const MAX_CHANGES: usize = 1000;
