//! Reads the messages of rows, one after the other.
//!
//! The mailbox of the last row stays open, because its neighbours are mostly in the same one.

use std::sync::Arc;

use super::{
    catalog::{Row, lock},
    storage::{Storage, log_failure},
};
use crate::{
    maildir::{Maildir, OpenMessage},
    message_object::{MessageObject, ObjectLimits, Summary},
    proto::request::{Failure, Mailbox},
};

/// Reads the messages of rows.
pub(super) struct RowReader<'a> {
    storage: &'a Storage,
    last: Option<(Mailbox, Maildir)>,
}

impl<'a> RowReader<'a> {
    pub(super) fn new(storage: &'a Storage) -> Self {
        Self { storage, last: None }
    }

    /// Opens the message of a row, if it is still the one that was listed.
    fn open(&mut self, row: &Row) -> Result<OpenMessage, Failure> {
        let wanted = row.wanted().ok_or(Failure::Gone)?;
        let mailbox = &row.listing.mailbox;
        let maildir = match self.last.take().filter(|(last, _)| last == mailbox) {
            Some((_, maildir)) => maildir,
            None => self.storage.existing_maildir(mailbox)?.ok_or(Failure::Gone)?,
        };
        let opened = self.storage.open_in((mailbox, &maildir), wanted);
        self.last = Some((mailbox.clone(), maildir));
        opened
    }

    /// The octets of the message of a row, and the size of its file. Only the beginning of a very large one is read.
    pub(super) fn read(&mut self, row: &Row) -> Result<(Vec<u8>, u64), Failure> {
        self.read_beginning(row, MAX_PARSED)
    }

    /// The first octets of the message of a row, and the size of its file.
    pub(super) fn read_beginning(&mut self, row: &Row, most: usize) -> Result<(Vec<u8>, u64), Failure> {
        let open = self.open(row)?;
        let (bytes, _) = open.read(0, most).map_err(|error| log_failure(&error))?;
        Ok((bytes, row.wanted().map_or(0, |wanted| wanted.version.bytes)))
    }

    /// The message of a row.
    pub(super) fn object(&mut self, row: &Row) -> Result<MessageObject, Failure> {
        let (bytes, size) = self.read(row)?;
        let mut object = MessageObject::parse(&bytes, &ObjectLimits::default());
        object.summary.size = size;
        Ok(object)
    }

    /// The summary of the message of a row.
    pub(super) fn summary(&mut self, row: &Row) -> Result<Arc<Summary>, Failure> {
        if let Some(known) = known_summary(self.storage, row) {
            return Ok(known);
        }
        let file = row.file().ok_or(Failure::Gone)?;
        let (bytes, size) = self.read(row)?;
        let summary = Arc::new(Summary { size, ..Summary::parse(&bytes, &ObjectLimits::default()) });
        lock(&self.storage.catalog.summaries).insert(file, Arc::clone(&summary));
        Ok(summary)
    }
}

/// The summary of the message of a row, if it is in memory.
pub(super) fn known_summary(storage: &Storage, row: &Row) -> Option<Arc<Summary>> {
    lock(&storage.catalog.summaries).by_file.get(&row.file()?).cloned()
}

/// Octets of a message that are parsed.
const MAX_PARSED: usize = 128 << 20;
