//! The work for each recipient of a message: quota lookups and reservations before the message goes to the disk, and
//! index updates afterwards.
//!
//! The rule: a message to a few mailboxes continues at once. Messages to more mailboxes each get a share of every
//! turn of the loop.

use super::{
    clients::{Client, Clients},
    inbound::{
        EndedDelivery, Inbound, Pending, PendingRecipients, ReceivedMessage, Uncounted, WantedResponse,
    },
    quota::Fate,
    receive::{Context, Receiver},
};
use crate::{
    maildir::Usage,
    metrics::METRICS,
    proto::request::{ConnId, Failure, Mailbox, Response},
    workers::{self, DeliveredCopy, DeliveryReceipt, Job},
};

impl Receiver {
    /// Whether a message to many mailboxes continues in the next turn.
    pub(super) fn has_pending_recipients(&self) -> bool {
        !self.pending_recipients.is_empty()
    }

    /// Continues with a message whose data is complete: at once if it goes to a few mailboxes.
    pub(super) fn begin_recipients(&mut self, id: ConnId, client: &mut Client, cx: &mut Context<'_>) {
        let recipients = client.inbound.as_deref().map_or(0, Inbound::recipients);
        if recipients > MAX_INLINE_RECIPIENTS {
            self.pending_recipients.push_back(PendingRecipients::BeforeDelivery(id));
        } else {
            let mut all = usize::MAX;
            self.continue_before_delivery(id, client, &mut all, cx);
        }
    }

    /// Gives each message to many mailboxes a share of this turn, until the turn's work is spent.
    pub(super) fn continue_recipients(&mut self, clients: &mut Clients, cx: &mut Context<'_>) {
        let mut left = MAX_MAILBOXES_PER_TURN;
        while left > 0
            && let Some(pending) = self.pending_recipients.pop_front()
        {
            let share = MAX_MAILBOXES_PER_SLICE.min(left);
            let mut unused = share;
            match pending {
                PendingRecipients::BeforeDelivery(id) => {
                    if let Some(client) = clients.get_mut(id)
                        && self.continue_before_delivery(id, client, &mut unused, cx)
                    {
                        self.pending_recipients.push_back(PendingRecipients::BeforeDelivery(id));
                    }
                }
                PendingRecipients::AfterDelivery(mut ended) => {
                    if !continue_after_delivery(&mut ended, &mut unused, cx) {
                        self.pending_recipients.push_back(PendingRecipients::AfterDelivery(ended));
                    } else if let Some(response) = ended.response {
                        cx.effects.respond(ended.conn, response);
                    }
                }
            }
            left -= (share - unused).max(1);
        }
    }

    /// Continues towards the disk, over `left` mailboxes at most. Returns whether more are left.
    fn continue_before_delivery(
        &mut self,
        id: ConnId,
        client: &mut Client,
        left: &mut usize,
        cx: &mut Context<'_>,
    ) -> bool {
        loop {
            match client.inbound.take().map(|inbound| *inbound) {
                Some(Inbound::LookingUpQuotas(pending, message, mut uncounted)) => {
                    if !look_up_quotas(&message, &mut uncounted, left, cx) {
                        client.inbound =
                            Some(Box::new(Inbound::LookingUpQuotas(pending, message, uncounted)));
                        return true;
                    }
                    let mailboxes = uncounted.mailboxes;
                    if !mailboxes.is_empty() {
                        let token = pending.token.clone();
                        cx.effects.run(Job::CountUsage { conn: id, token, mailboxes });
                        client.inbound = Some(Box::new(Inbound::CheckingQuota(pending, message)));
                        return false;
                    }
                    client.inbound =
                        Some(Box::new(Inbound::Reserving(pending, message, Vec::new().into_iter())));
                }
                Some(Inbound::Reserving(mut pending, mut message, mut counts)) => {
                    while *left > 0
                        && let Some((mailbox, usage)) = counts.next()
                    {
                        cx.quotas.insert(mailbox, usage, pending.since, cx.now);
                        *left -= 1;
                    }
                    if !reserve(id, &mut pending, &mut message, left, cx) {
                        client.inbound = Some(Box::new(Inbound::Reserving(pending, message, counts)));
                        return true;
                    }
                    self.pass_to_disk(id, client, (pending, message), cx);
                    return false;
                }
                // The message was abandoned.
                inbound => {
                    client.inbound = inbound.map(Box::new);
                    return false;
                }
            }
        }
    }

    /// Releases the reservations of a message that has ended, reports its copies to the indexes, and sends the
    /// response.
    pub(super) fn end_delivery(
        &mut self,
        id: ConnId,
        (reserved, size, wanted): (Vec<Option<Mailbox>>, u64, WantedResponse),
        result: Result<DeliveryReceipt, Failure>,
        cx: &mut Context<'_>,
    ) {
        let failures = result.as_ref().map_or(&[][..], |receipt| &receipt.failures);
        let has_it = |at: usize| result.is_ok() && failures.get(at).is_none_or(Option::is_none);
        let fate = |at: usize| if has_it(at) { Fate::Landed } else { Fate::Refused };
        let reserved = reserved.into_iter().enumerate();
        let settled: Vec<(Mailbox, Fate)> =
            reserved.filter_map(|(at, mailbox)| Some((mailbox?, fate(at)))).collect();
        let (arrivals, response) = match result {
            Ok(DeliveryReceipt { arrivals, failures }) => match (wanted, arrivals.first()) {
                (WantedResponse::Uid, Some(copy)) => {
                    self.appended.push_back((id, copy.clone()));
                    (arrivals, None)
                }
                (WantedResponse::Id, Some(copy)) => {
                    let id = workers::api_id(&copy.entry.name);
                    (arrivals, Some(Response::Stored(id)))
                }
                _ => (arrivals, Some(Response::Delivered(failures))),
            },
            Err(failure) => (Vec::new(), Some(Response::Failed(failure))),
        };
        METRICS.deliveries.add(arrivals.len() as u64);
        let is_long = settled.len().max(arrivals.len()) > MAX_INLINE_RECIPIENTS;
        // The indexes get the new files before the client gets its response, so that its next login sees them.
        let response = match response {
            Some(response) if !is_long || arrivals.is_empty() => {
                cx.effects.respond(id, response);
                None
            }
            later => later,
        };
        let (settled, arrivals) = (settled.into_iter(), arrivals.into_iter());
        let mut ended = EndedDelivery { conn: id, settled, size, arrivals, response };
        if is_long {
            self.pending_recipients.push_back(PendingRecipients::AfterDelivery(Box::new(ended)));
        } else {
            let mut all = usize::MAX;
            continue_after_delivery(&mut ended, &mut all, cx);
        }
    }
}

impl Inbound {
    /// The number of recipients of a complete message, until it goes to the disk.
    fn recipients(&self) -> usize {
        match self {
            Self::LookingUpQuotas(_, message, _)
            | Self::CheckingQuota(_, message)
            | Self::Reserving(_, message, _) => message.routing.to.len(),
            Self::Receiving(_) | Self::Sealing(..) | Self::Committing(_) => 0,
        }
    }
}

/// Collects the mailboxes whose quota needs a count. Returns whether all recipients and the sender were looked up.
fn look_up_quotas(
    message: &ReceivedMessage,
    uncounted: &mut Uncounted,
    left: &mut usize,
    cx: &mut Context<'_>,
) -> bool {
    let Uncounted { looked_up, mailboxes } = uncounted;
    let to = &message.routing.to;
    while *looked_up <= to.len() {
        if *left == 0 {
            return false;
        }
        let mailbox = match to.get(*looked_up) {
            Some(recipient) => recipient.as_ref().ok().map(|recipient| &recipient.mailbox),
            None => message.routing.sent_copy_for.as_ref().filter(|sent| !mailboxes.contains(sent)),
        };
        let mailbox = mailbox.filter(|mailbox| cx.quotas.needs_recount(mailbox, cx.accounts, cx.now));
        mailboxes.extend(mailbox.cloned());
        (*looked_up, *left) = (*looked_up + 1, *left - 1);
    }
    true
}

/// Reserves room in the mailboxes of a message, and refuses recipients without room. Returns whether all were
/// handled.
fn reserve(
    id: ConnId,
    pending: &mut Pending,
    message: &mut ReceivedMessage,
    left: &mut usize,
    cx: &mut Context<'_>,
) -> bool {
    let Pending { size, reserved, .. } = pending;
    let routing = &mut message.routing;
    while *left > 0 {
        *left -= 1;
        let Some(recipient) = routing.to.get_mut(reserved.len()) else {
            if let Some(sender) = routing.sent_copy_for.take() {
                if cx.quotas.reserve(&sender, message_of(*size), cx.accounts, cx.now) {
                    routing.sent_copy_for = Some(sender);
                } else {
                    log::info!("{id}: {sender} is over quota: no copy in Sent");
                }
            }
            reserved.push(routing.sent_copy_for.clone());
            return true;
        };
        let mailbox = recipient.as_ref().ok().map(|recipient| recipient.mailbox.clone());
        let mailbox =
            mailbox.filter(|mailbox| cx.quotas.reserve(mailbox, message_of(*size), cx.accounts, cx.now));
        if mailbox.is_none() {
            *recipient = Err(Failure::Quota);
        }
        reserved.push(mailbox);
    }
    false
}

/// Continues after the delivery, over `left` mailboxes at most. Returns whether it is complete.
fn continue_after_delivery(ended: &mut EndedDelivery, left: &mut usize, cx: &mut Context<'_>) -> bool {
    while *left > 0 {
        *left -= 1;
        if let Some((mailbox, fate)) = ended.settled.next() {
            cx.quotas.settle(&mailbox, message_of(ended.size), fate, cx.now);
        } else if let Some(DeliveredCopy { mailbox, maildir, entry: found }) = ended.arrivals.next() {
            cx.index.message_delivered(&mailbox, maildir, found);
        } else {
            return true;
        }
    }
    false
}

/// One message of so many octets.
fn message_of(size: u64) -> Usage {
    Usage::default().with(size)
}

/// A message to no more recipients than this continues at once. Most lists are smaller.
const MAX_INLINE_RECIPIENTS: usize = 64;
/// Mailboxes of one message that are handled before the next message gets its share.
const MAX_MAILBOXES_PER_SLICE: usize = 500;
/// Mailboxes of all messages in one turn: some microseconds each.
pub(super) const MAX_MAILBOXES_PER_TURN: usize = 2000;
