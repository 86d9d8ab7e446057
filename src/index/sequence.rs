//! The messages of a folder in the order of their UIDs, beside the index that has them in the order of POP3.

use std::sync::Arc;

use super::folder_snapshot::FolderSnapshot;
use crate::{
    maildir::MessageEntry,
    proto::imap::request::{FolderState, MessageState},
};

/// The UIDs of a folder at one moment, and the file of each.
#[derive(Debug, Default)]
pub struct Sequence {
    /// The messages as sessions tell of them.
    pub state: Arc<FolderState>,
    /// The files.
    snapshot: Arc<FolderSnapshot>,
    /// For each message of `state`, its position in `snapshot`.
    positions: Vec<u32>,
}

impl Sequence {
    /// The messages of `state`, whose files stand at these positions of `snapshot`.
    pub fn new(state: Arc<FolderState>, snapshot: Arc<FolderSnapshot>, positions: Vec<u32>) -> Self {
        Self { state, snapshot, positions }
    }

    /// A message and its file.
    pub fn message(&self, uid: u32) -> Option<(MessageState, &MessageEntry)> {
        let at = self.place(uid, 0)?;
        Some((*self.state.messages.get(at)?, self.entry(at)?))
    }

    /// The octets of all messages on the wire.
    pub fn octets(&self) -> u64 {
        self.snapshot.octets(&self.positions)
    }

    /// The place of a message in `state`. It is looked for at `near` first.
    pub fn place(&self, uid: u32, near: usize) -> Option<usize> {
        let messages = &self.state.messages;
        if messages.get(near).is_some_and(|message| message.uid == uid) {
            return Some(near);
        }
        messages.binary_search_by_key(&uid, |message| message.uid).ok()
    }

    /// The file of the message at that place in `state`.
    pub fn entry(&self, place: usize) -> Option<&MessageEntry> {
        self.snapshot.entry(usize::try_from(*self.positions.get(place)?).ok()?)
    }
}
