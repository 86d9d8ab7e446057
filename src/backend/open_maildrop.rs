//! The mailbox that a session has open, or opens: plain data.

use std::{sync::Arc, time::Duration};

use crate::{
    deferred_drop::DeferredDrop,
    index::Snapshot,
    maildir::{Maildir, OpenMessage},
    proto::request::{Access, Mailbox},
    workers::job::MailboxLock,
};

/// A mailbox that a session has open, or is opening.
#[derive(Debug)]
pub(super) struct OpenMaildrop {
    pub(super) mailbox: Mailbox,
    pub(super) access: Access,
    /// The time of the login.
    pub(super) since: Duration,
    /// Set once a worker has opened the mailbox.
    pub(super) files: Option<OpenFiles>,
}

#[derive(Debug)]
pub(super) struct OpenFiles {
    pub(super) maildir: Arc<Maildir>,
    /// Empty until the index has the contents.
    pub(super) snapshot: Arc<Snapshot>,
    /// The message that is being read, between two pieces of it.
    pub(super) reading: Option<OpenMessage>,
    /// `None` if the session only reads, or once QUIT has passed the lock to a worker.
    pub(super) lock: Option<DeferredDrop<MailboxLock>>,
}

impl OpenMaildrop {
    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }
}
