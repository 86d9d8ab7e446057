//! The states of an inbound message.

use std::{time::Duration, vec};

use super::quota::Fate;
use crate::{
    deferred_drop::drop_deferred,
    delivery::Append,
    maildir::Usage,
    proto::request::{ConnId, Failure, Mailbox, Recipient, Response},
    workers::{AckToken, DeliveredCopy, SpilledMessage},
};

/// An inbound message, from DATA to the reply after its end.
#[derive(Debug)]
pub(super) enum Inbound {
    /// Its data is arriving. The file exists once the data has become too large for memory; while a worker writes to
    /// it, the worker holds it.
    Receiving(Option<Box<SpilledMessage>>),
    /// Its data is complete. The backend looks up which of its mailboxes need a count for their quotas.
    LookingUpQuotas(Pending, ReceivedMessage, Uncounted),
    /// A worker counts the usage of its mailboxes.
    CheckingQuota(Pending, ReceivedMessage),
    /// Room is reserved in its mailboxes, after these counts are stored.
    Reserving(Pending, ReceivedMessage, Counts),
    /// A worker makes its file durable.
    Sealing(Pending, Routing),
    /// The committer makes it durable and visible.
    Committing(Pending),
}

/// Counts of mailboxes that are still to be stored.
pub(super) type Counts = vec::IntoIter<(Mailbox, Usage)>;

/// The number of recipients looked up so far, and the mailboxes to be counted.
#[derive(Debug, Default)]
pub(super) struct Uncounted {
    pub(super) looked_up: usize,
    pub(super) mailboxes: Vec<Mailbox>,
}

/// A message whose client waits for the final reply.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) token: AckToken,
    /// The time at which its data was complete, on the steady clock.
    pub(super) since: Duration,
    /// Octets that are reserved for it in each mailbox.
    pub(super) size: u64,
    /// For each recipient, and for the sender's copy, the mailbox in whose quota room is reserved.
    pub(super) reserved: Vec<Option<Mailbox>>,
    /// The response that the client wants.
    pub(super) wanted: WantedResponse,
}

/// The form of the response to the end of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WantedResponse {
    /// The result for each recipient.
    Results,
    /// The id of the message for the web API.
    Id,
    /// The UID of the message in its folder (APPEND).
    Uid,
}

/// A message whose data is complete.
#[derive(Debug)]
pub(super) struct ReceivedMessage {
    pub(super) routing: Routing,
    pub(super) spilled: Option<Box<SpilledMessage>>,
    /// Its last bytes, or all of them if it has no file.
    pub(super) bytes: Vec<u8>,
}

/// The destinations of a message.
#[derive(Debug)]
pub(super) struct Routing {
    pub(super) to: Vec<Result<Recipient, Failure>>,
    /// Whether the message may reach some recipients and not others. Otherwise it reaches all of them or none.
    pub(super) partial_ok: bool,
    /// The user whose folder `Sent` gets a copy.
    pub(super) sent_copy_for: Option<Mailbox>,
    /// Set if the owner of the only recipient's mailbox puts the message there by IMAP.
    pub(super) append: Option<Append>,
}

/// A message that continues in the next turn.
#[derive(Debug)]
pub(super) enum PendingRecipients {
    /// Before its delivery: the mailboxes are looked up for their quotas, or room is reserved in them.
    BeforeDelivery(ConnId),
    /// After its delivery: the indexes learn of the copies, and reservations are released.
    AfterDelivery(Box<EndedDelivery>),
}

/// A message that was delivered or refused.
#[derive(Debug)]
pub(super) struct EndedDelivery {
    pub(super) conn: ConnId,
    /// Mailboxes in which room is reserved, and whether the message was delivered there.
    pub(super) settled: vec::IntoIter<(Mailbox, Fate)>,
    pub(super) size: u64,
    pub(super) arrivals: vec::IntoIter<DeliveredCopy>,
    /// `None` if the response was given at once.
    pub(super) response: Option<Response>,
}

impl Inbound {
    /// The pending message, if the client waits for the final reply.
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

    /// Returns the pending message by value. Another thread frees the large parts.
    pub(super) fn into_pending(self) -> Option<Pending> {
        match self {
            Self::Receiving(_) => None,
            Self::LookingUpQuotas(pending, message, _)
            | Self::CheckingQuota(pending, message)
            | Self::Reserving(pending, message, _) => {
                drop_deferred(message);
                Some(pending)
            }
            Self::Sealing(pending, routing) => {
                drop_deferred(routing);
                Some(pending)
            }
            Self::Committing(pending) => Some(pending),
        }
    }

    /// Whether a thread holds the message and will send a completion.
    pub(super) fn awaits_completion(&self) -> bool {
        matches!(self, Self::CheckingQuota(..) | Self::Sealing(..) | Self::Committing(_))
    }
}

/// A body that waits for memory before its first octet is read.
#[derive(Debug)]
pub(super) struct WaitingBody {
    pub(super) octets: u64,
    /// The time of its request, on the steady clock.
    pub(super) since: Duration,
}
