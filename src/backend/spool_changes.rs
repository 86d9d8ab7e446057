//! Changes of files in the spool that the transcript of a session shows.

use std::os::unix::ffi::OsStrExt;

use super::state::Backend;
use crate::{
    maildir::{Change, Subdir, name},
    proto::request::{ConnId, Mailbox},
    transcript::format,
    workers::{
        Completion,
        folder_job::{ChangeRequest, FolderOutcome, FolderResult},
    },
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
            Completion::Folder(key, FolderResult { outcome, .. }) => {
                if let Some(id) = self.folders.requester(key) {
                    self.record_folder_changes(id, &key.0, outcome);
                }
            }
            _ => {}
        }
    }

    /// Records what a command of IMAP has changed.
    fn record_folder_changes(&mut self, id: ConnId, mailbox: &Mailbox, outcome: &FolderOutcome) {
        let (changes, present, absent) = match outcome {
            FolderOutcome::Changed(done) => match done.change.request {
                ChangeRequest::Store(_) => (&done.names, "marked", ""),
                ChangeRequest::Expunge(_) if done.change.done.messages > 0 => (&done.names, "", "deleted"),
                ChangeRequest::Expunge(_) => return,
            },
            FolderOutcome::Transferred(done) => {
                let is_move = done.transfer.is_move;
                let word = if is_move { "moved" } else { "copied" };
                self.record_names(id, mailbox, &done.arrivals, (word, ""));
                let source = &done.transfer.from;
                return self.record_names(id, source, &done.departures, ("", "unlinked"));
            }
            _ => return,
        };
        self.record_names(id, mailbox, changes, (present, absent));
    }

    /// Records names that are there now with the first word, and those that are gone with the second. An empty word: none.
    fn record_names(
        &mut self,
        id: ConnId,
        mailbox: &Mailbox,
        changes: &[Change],
        (present, absent): (&str, &str),
    ) {
        for change in changes.iter().take(MAX_CHANGES) {
            match change {
                Change::Present(entry) if !present.is_empty() => {
                    self.record_change(id, present, mailbox, (entry.subdir, &entry.name));
                }
                Change::Absent { subdir, name } if !absent.is_empty() => {
                    self.record_change(id, absent, mailbox, (*subdir, name));
                }
                _ => {}
            }
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
