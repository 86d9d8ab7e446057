//! A message as the backend hands it to the committer.

use std::time::SystemTime;

use crate::{
    maildir::name::UniqueName,
    proto::request::{ConnId, Failure, Mailbox, Recipient},
    workers::{AckToken, SpilledMessage},
};

/// A message to be delivered.
#[derive(Debug)]
pub struct Delivery {
    /// The connection that waits for it.
    pub from: ConnId,
    /// The recipients, at least one. An error is the reason why one of them cannot get the message.
    pub to: Vec<Result<Recipient, Failure>>,
    /// Whether some recipients may get the message and others not. Otherwise all of them get it or none.
    pub partial_ok: bool,
    /// The user whose folder `Sent` gets a copy.
    pub sent_copy_for: Option<Mailbox>,
    /// Set if the owner of the only recipient's mailbox puts the message there by IMAP.
    pub append: Option<Append>,
    /// The bytes of the message, in memory or in a file.
    pub content: Content,
    /// Decides whether the committer or the backend answers the client.
    pub ack_token: AckToken,
}

/// A message that the owner of a mailbox puts into a folder. It goes to this folder or to none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The letters of its flags and keywords. Without any it goes to `new/`.
    pub letters: Box<[u8]>,
    /// The internal date, which is the time of the last change of the file. `None`: now.
    pub date: Option<SystemTime>,
}

/// The bytes of a message, as stored.
#[derive(Debug)]
pub enum Content {
    /// In memory, to be written to a file with this name.
    Memory(UniqueName, Vec<u8>),
    /// In the `tmp/` of the first mailbox, complete and fsynced.
    SyncedFile(Box<SpilledMessage>),
}

impl Content {
    /// Its length on the disk.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Memory(_, bytes) => bytes.len() as u64,
            Self::SyncedFile(spilled) => spilled.bytes(),
        }
    }
}
