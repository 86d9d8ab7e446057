//! DELETE and RENAME beside the jobs of the folders whose names they change.
//!
//! The rule: while such a change is at work, no job has one of these folders, and no COPY into one of them is half done. A
//! job could write UIDs into a directory that has another name by then, where another job gives the same UIDs once more. So
//! the change waits in the queue of each folder, and when it is the first in all of them, it begins. RENAME of INBOX waits in the
//! queues of all folders of the user, because MOVE out of INBOX is a job of the folder that gets the messages.

use std::collections::BTreeMap;

use super::{
    effects::Effects,
    imap::Folders,
    imap_context::FolderContext,
    imap_folder::{Folder, NameChange, NextStep, WaitingRequest},
};
use crate::{
    proto::{
        imap::request::ImapRequest,
        request::{ConnId, Mailbox},
    },
    workers::{Job, folder_job::FolderId, hierarchy_job::HierarchyJob},
};

impl Folders {
    /// DELETE, RENAME.
    pub(super) fn change_name(
        &mut self,
        conn: ConnId,
        folder: Mailbox,
        request: ImapRequest,
        cx: &mut FolderContext<'_>,
    ) {
        let change = NameChange { conn, folder, request: Some(request) };
        let of_owner = self
            .folders
            .range_mut(change.folder.clone()..)
            .take_while(|(mailbox, _)| change.is_of_owner(mailbox));
        for (_, folder) in of_owner.filter(|(mailbox, _)| change.covers(mailbox)) {
            folder.pending.push_back(WaitingRequest { conn, step: NextStep::NameChange });
        }
        let owner = change.folder.clone();
        self.name_changes.push_back(change);
        self.begin_name_changes(&owner, cx.effects);
    }

    /// Begins the changes of a user for which all of their folders wait.
    pub(super) fn begin_name_changes(&mut self, owner: &Mailbox, effects: &mut Effects) {
        let Self { folders, name_changes, .. } = self;
        for change in name_changes.iter_mut().filter(|change| change.is_of_owner(owner)) {
            let is_ready = |folder: &Folder| {
                let is_first = |first: &WaitingRequest| first.is_name_change() && first.conn == change.conn;
                folder.book.is_free() && folder.pending.front().is_some_and(is_first)
            };
            let is_free = change.among(folders).all(|(_, folder)| is_ready(folder));
            if is_free && let Some(request) = change.request.take() {
                let job = HierarchyJob::new(change.conn, request, BTreeMap::new());
                effects.run(Job::Hierarchy(Box::new(job)));
            }
        }
    }

    /// A change has ended. If the folders have other names now, nothing is left of them here.
    pub(super) fn name_change_ended(&mut self, conn: ConnId, is_done: bool, cx: &mut FolderContext<'_>) {
        let Some(at) = self.name_changes.iter().position(|change| change.conn == conn) else { return };
        let Some(change) = self.name_changes.remove(at) else { return };
        let covered: Vec<Mailbox> = change.among(&self.folders).map(|(mailbox, _)| mailbox.clone()).collect();
        for mailbox in covered {
            if is_done && !change.is_of_inbox() {
                self.forget(&mailbox, cx.effects);
            } else {
                let of_change =
                    |pending: &mut WaitingRequest| pending.is_name_change() && pending.conn == conn;
                if let Some(folder) = self.folders.get_mut(&mailbox) {
                    folder.pending.retain_mut(|pending| !of_change(pending));
                }
                self.advance(&mailbox, cx);
            }
        }
        self.begin_name_changes(&change.folder, cx.effects);
    }

    /// The folder of that name, which begins to be in use if it is not. It waits for the changes of its name.
    pub(super) fn entry(&mut self, mailbox: &Mailbox) -> &mut Folder {
        let Self { folders, last_id, name_changes, .. } = self;
        folders.entry(mailbox.clone()).or_insert_with(|| {
            *last_id += 1;
            let mut folder = Folder::new(FolderId(*last_id));
            let changes = name_changes.iter().filter(|change| change.covers(mailbox));
            folder.pending.extend(
                changes.map(|change| WaitingRequest { conn: change.conn, step: NextStep::NameChange }),
            );
            folder
        })
    }
}
