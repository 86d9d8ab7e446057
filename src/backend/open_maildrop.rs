//! The mailbox that a session has open, or opens: plain data.

use std::{ops::Range, sync::Arc, time::Duration};

use crate::{
    deferred_drop::DeferredDrop,
    index::Snapshot,
    maildir::{Maildir, OpenMessage},
    proto::request::{Access, Mailbox},
    workers::{job::MailboxLock, piece_files::UnfinishedMessage},
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
    /// The message that a POP3 session reads, between two pieces of it.
    pub(super) reading: Option<OpenMessage>,
    /// The message that FETCH of an IMAP session sends, between two pieces of it.
    pub(super) fetching: Option<Box<UnfinishedMessage>>,
    /// `None` if the session only reads, or once QUIT has passed the lock to a worker.
    pub(super) lock: Option<DeferredDrop<MailboxLock>>,
    pub(super) order: ReadOrder,
}

/// The order in which a session reads messages. Most clients read one after the other, so the next ones can be read from
/// the disk before the client asks for them.
#[derive(Debug, Default)]
pub(super) struct ReadOrder {
    /// The message after the last one that the session has read.
    next: usize,
    /// The messages before this one are in memory, or on their way.
    ahead: usize,
}

impl ReadOrder {
    /// Records the read of a message. Returns whether it follows the last one.
    pub(super) fn advance(&mut self, message: usize) -> bool {
        let is_next = message == self.next;
        self.next = message + 1;
        is_next
    }

    /// The messages after this one to read from the disk, of so many in the mailbox. Empty while some of the last ones are
    /// left: then the disk has enough to do.
    pub(super) fn take_ahead(&mut self, message: usize, count: usize) -> Range<usize> {
        let first = message + 1;
        if first < self.ahead {
            return first..first;
        }
        self.ahead = (first + READ_AHEAD).min(count);
        first..self.ahead
    }
}

impl OpenMaildrop {
    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }
}

/// Messages that a worker has read into memory for a session: half a megabyte of the largest that the loop reads.
const READ_AHEAD: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r25_messages_are_read_ahead_once_and_only_if_they_are_asked_for_in_order() {
        let mut order = ReadOrder::default();
        let mut read = |message| order.advance(message).then(|| order.take_ahead(message, 20));
        assert_eq!(read(0), Some(1..9));
        assert_eq!(read(1), Some(2..2), "they are on their way");
        assert_eq!(read(7), None, "out of order");
        assert_eq!(read(8), Some(9..17));
        (9..16).for_each(|message| assert_eq!(read(message), Some(message + 1..message + 1)));
        assert_eq!(read(16), Some(17..20), "the last ones");
        assert_eq!(read(17), Some(18..18));
        assert_eq!(read(19), None);
    }
}
