//! The files of messages that clients read in pieces, open between two pieces.
//!
//! The rule: a message of which a client has a part is sent whole, whatever becomes of its name. An open file is enough for that,
//! so the number of open files is bounded. Beyond the bound, a file is closed and found again by the identity of its message, and
//! a message that another program has removed meanwhile ends its connection.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    deferred_drop::DeferredDrop,
    maildir::{MessageEntry, OpenMessage},
};

/// The places for files that stay open.
#[derive(Debug, Default)]
pub struct PieceFiles {
    max: usize,
    taken: Arc<AtomicUsize>,
}

/// The file of a message, and its place once it has one.
#[derive(Debug)]
pub struct PieceFile {
    // Closed before its place is free.
    message: OpenMessage,
    place: Option<Place>,
}

/// A file that stays open until the next piece is read. The event loop has it closed by another thread.
pub type KeptFile = DeferredDrop<PieceFile>;

/// A message in whose response to FETCH a piece ended.
#[derive(Debug)]
pub struct UnfinishedMessage {
    pub(super) uid: u32,
    /// As it was listed when its response began.
    pub(super) entry: MessageEntry,
    pub(super) file: KeptFile,
}

#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl PieceFiles {
    /// Places for so many files.
    pub fn new(max: usize) -> Self {
        Self { max, taken: Arc::default() }
    }

    /// Keeps a file open until the next piece, or closes it if there is no place.
    pub fn keep(&self, file: PieceFile) -> Option<KeptFile> {
        let PieceFile { message, place } = file;
        let place = Some(place.or_else(|| self.take_place())?);
        Some(KeptFile::new(PieceFile { message, place }))
    }

    fn take_place(&self) -> Option<Place> {
        let more = |taken: usize| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Place(Arc::clone(&self.taken)))
    }

    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }
}

impl From<OpenMessage> for PieceFile {
    fn from(message: OpenMessage) -> Self {
        Self { message, place: None }
    }
}

impl Deref for PieceFile {
    type Target = OpenMessage;

    fn deref(&self) -> &OpenMessage {
        &self.message
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
