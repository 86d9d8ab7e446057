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
        let at = self.state.messages.binary_search_by_key(&uid, |message| message.uid).ok()?;
        let position = usize::try_from(*self.positions.get(at)?).ok()?;
        Some((self.state.messages[at], self.snapshot.entry(position)?))
    }
}
