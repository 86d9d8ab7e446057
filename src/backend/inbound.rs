//! The states of a message on its way in.

use std::time::Duration;

use crate::{
    proto::ask::{Fault, Mailbox, Recipient},
    workers::{AckToken, Spilled},
};

/// A message on its way in.
#[derive(Debug)]
pub(super) enum Inbound {
    /// Its data comes in. The file is there once there was too much for memory, but for the time when a worker has it.
    Receiving(Option<Box<Spilled>>),
    /// Its end has come, and a worker counts its mailboxes.
    CheckingQuota(Pending, Whole),
    /// A worker makes its file durable.
    Sealing(Pending, Addressed),
    /// The committer has it.
    Committing(Pending),
}

/// A message whose client waits for the reply to its end.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) token: AckToken,
    /// When its end came, on the steady clock.
    pub(super) since: Duration,
    /// Octets that are reserved for it in each mailbox.
    pub(super) size: u64,
    /// For each recipient, and for the copy of the sender, the mailbox whose quota has room reserved.
    pub(super) reserved: Vec<Option<Mailbox>>,
}

/// A message that has come in whole.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) addressed: Addressed,
    pub(super) spilled: Option<Box<Spilled>>,
    /// Its last bytes, or all of them.
    pub(super) bytes: Vec<u8>,
}

/// Where a message goes.
#[derive(Debug)]
pub(super) struct Addressed {
    pub(super) to: Vec<Result<Recipient, Fault>>,
    /// Whether some recipients may get it and others not. Else it is all of them or none.
    pub(super) partly: bool,
    /// The mailbox that keeps a copy in the folder `Sent`.
    pub(super) sent: Option<Mailbox>,
}

impl Inbound {
    /// The message, once its client waits for the reply to its end.
    pub(super) fn pending(&self) -> Option<&Pending> {
        match self {
            Self::Receiving(_) => None,
            Self::CheckingQuota(pending, _) | Self::Sealing(pending, _) | Self::Committing(pending) => {
                Some(pending)
            }
        }
    }
}
