//! The states of a message on its way in.

use std::{time::Duration, vec};

use crate::{
    deferred_drop::drop_deferred,
    maildir::Usage,
    proto::request::{Failure, Mailbox, Recipient},
    workers::{AckToken, SpilledMessage},
};

/// A message on its way in.
#[derive(Debug)]
pub(super) enum Inbound {
    /// Its data comes in. The file is there once there was too much for memory, but for the time when a worker has it.
    Receiving(Option<Box<SpilledMessage>>),
    /// Its end has come, and its mailboxes are looked up for quotas that ask for a count.
    LookingUpQuotas(Pending, ReceivedMessage, Uncounted),
    /// A worker counts its mailboxes.
    CheckingQuota(Pending, ReceivedMessage),
    /// Room is reserved in its mailboxes, after these counts are taken in.
    Reserving(Pending, ReceivedMessage, Counts),
    /// A worker makes its file durable.
    Sealing(Pending, Routing),
    /// The committer has it.
    Committing(Pending),
}

/// Counts of mailboxes that are still to be taken in.
pub(super) type Counts = vec::IntoIter<(Mailbox, Usage)>;

/// The recipients that were looked up, and the mailboxes among theirs that are to be counted.
#[derive(Debug, Default)]
pub(super) struct Uncounted {
    pub(super) looked_up: usize,
    pub(super) mailboxes: Vec<Mailbox>,
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
pub(super) struct ReceivedMessage {
    pub(super) routing: Routing,
    pub(super) spilled: Option<Box<SpilledMessage>>,
    /// Its last bytes, or all of them.
    pub(super) bytes: Vec<u8>,
}

/// Where a message goes.
#[derive(Debug)]
pub(super) struct Routing {
    pub(super) to: Vec<Result<Recipient, Failure>>,
    /// Whether some recipients may get it and others not. Else it is all of them or none.
    pub(super) partial_ok: bool,
    /// The mailbox that keeps a copy in the folder `Sent`.
    pub(super) sent_copy_for: Option<Mailbox>,
}

impl Inbound {
    /// The message, once its client waits for the reply to its end.
    pub(super) fn pending(&self) -> Option<&Pending> {
        match self {
            Self::Receiving(_) => None,
            Self::LookingUpQuotas(pending, ..)
            | Self::CheckingQuota(pending, _)
            | Self::Reserving(pending, ..)
            | Self::Sealing(pending, _)
            | Self::Committing(pending) => Some(pending),
        }
    }

    /// The same by value. What is large is freed by the thread that closes files.
    pub(super) fn into_pending(self) -> Option<Pending> {
        match self {
            Self::Receiving(_) => None,
            Self::LookingUpQuotas(pending, whole, _)
            | Self::CheckingQuota(pending, whole)
            | Self::Reserving(pending, whole, _) => {
                drop_deferred(whole);
                Some(pending)
            }
            Self::Sealing(pending, addressed) => {
                drop_deferred(addressed);
                Some(pending)
            }
            Self::Committing(pending) => Some(pending),
        }
    }

    /// Whether a thread has the message, and sends a completion.
    pub(super) fn is_with_a_thread(&self) -> bool {
        matches!(self, Self::CheckingQuota(..) | Self::Sealing(..) | Self::Committing(_))
    }
}
