//! The selected folder of an IMAP session, as data.

use std::collections::HashSet;

use crate::client::imap::{Imap, ImapFolder};

/// The selected folder of a session.
#[derive(Debug)]
pub(crate) struct ImapSource {
    pub(super) imap: Imap,
    /// The folder.
    pub(super) folder: ImapFolder,
    /// All folders of the user, of which one may get messages.
    pub(super) all: Vec<ImapFolder>,
    /// UIDs of the messages that the list shows. `None`: all.
    pub(super) found: Option<HashSet<u32>>,
    /// Messages that this person has removed since the last news: that they are gone is none.
    pub(super) removed: usize,
}

/// A flag that a person sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    Seen,
    Flagged,
    Deleted,
}

impl Flag {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Seen => "\\Seen",
            Self::Flagged => "\\Flagged",
            Self::Deleted => "\\Deleted",
        }
    }
}

/// News of a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) arrived: usize,
    pub(crate) gone: usize,
}
