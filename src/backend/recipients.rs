//! The work for each recipient of a message: quotas are looked up and reserved before it goes to the disk, and afterwards
//! the index of each mailbox hears of it.
//!
//! The rule: a message to a few mailboxes goes on at once; one to more has its share of each turn of the loop, and so
//! have the others like it.

use std::vec;

use super::{
    clients::{Client, Clients},
    inbound::{Inbound, Pending, ReceivedMessage, Uncounted},
    receive::{Context, Receiver},
};
use crate::{
    metrics::METRICS,
    proto::request::{ConnId, Failure, Mailbox, Response},
    workers::{DeliveredCopy, DeliveryReceipt, Job},
};

/// A message that goes on in the next turn.
#[derive(Debug)]
pub(super) enum Walk {
    /// On its way to the disk.
    In(ConnId),
    /// On its way back.
    Back(Box<Returning>),
}

/// A message that the committer is done with, or that is refused.
#[derive(Debug)]
pub(super) struct Returning {
    conn: ConnId,
    /// Mailboxes that have room reserved and have not got it.
    unreserve: vec::IntoIter<Mailbox>,
    size: u64,
    arrivals: vec::IntoIter<DeliveredCopy>,
    /// `None`: it was given at once.
    response: Option<Response>,
}

impl Receiver {
    /// Goes on with a message whose end has come: at once if it is to a few mailboxes.
    pub(super) fn go_on_with(&mut self, id: ConnId, client: &mut Client, cx: &mut Context<'_>) {
        let recipients = client.inbound.as_ref().map_or(0, Inbound::recipients);
        if recipients > AT_ONCE {
            self.walks.push_back(Walk::In(id));
        } else {
            self.go_in(id, client, &mut usize::MAX.clone(), cx);
        }
    }

    /// Gives each of the messages to many mailboxes a share of this turn, until all of it is used up.
    pub(super) fn go_on(&mut self, clients: &mut Clients, cx: &mut Context<'_>) {
        let mut left = MAILBOXES_A_TURN;
        while left > 0
            && let Some(walk) = self.walks.pop_front()
        {
            let share = SHARE.min(left);
            let mut unused = share;
            match walk {
                Walk::In(id) => {
                    if let Some(client) = clients.get_mut(id)
                        && self.go_in(id, client, &mut unused, cx)
                    {
                        self.walks.push_back(Walk::In(id));
                    }
                }
                Walk::Back(mut returning) => {
                    if !go_back(&mut returning, &mut unused, cx) {
                        self.walks.push_back(Walk::Back(returning));
                    } else if let Some(response) = returning.response {
                        cx.effects.respond(returning.conn, response);
                    }
                }
            }
            left -= (share - unused).max(1);
        }
    }

    /// The way to the disk, over `left` mailboxes at most: whether there are more.
    fn go_in(&mut self, id: ConnId, client: &mut Client, left: &mut usize, cx: &mut Context<'_>) -> bool {
        loop {
            match client.inbound.take() {
                Some(Inbound::LookingUpQuotas(pending, whole, mut uncounted)) => {
                    if !look_up(&whole, &mut uncounted, left, cx) {
                        client.inbound = Some(Inbound::LookingUpQuotas(pending, whole, uncounted));
                        return true;
                    }
                    let mailboxes = uncounted.mailboxes;
                    if !mailboxes.is_empty() {
                        let token = pending.token.clone();
                        cx.effects.run(Job::CountUsage { conn: id, token, mailboxes });
                        client.inbound = Some(Inbound::CheckingQuota(pending, whole));
                        return false;
                    }
                    client.inbound = Some(Inbound::Reserving(pending, whole, Vec::new().into_iter()));
                }
                Some(Inbound::Reserving(mut pending, mut whole, mut counts)) => {
                    while *left > 0
                        && let Some((mailbox, usage)) = counts.next()
                    {
                        cx.quotas.insert(mailbox, usage, cx.now);
                        *left -= 1;
                    }
                    if !reserve(id, &mut pending, &mut whole, left, cx) {
                        client.inbound = Some(Inbound::Reserving(pending, whole, counts));
                        return true;
                    }
                    self.send_off(id, client, (pending, whole), cx);
                    return false;
                }
                // It was given up.
                inbound => {
                    client.inbound = inbound;
                    return false;
                }
            }
        }
    }

    /// The way back of a message that has ended.
    pub(super) fn settle(
        &mut self,
        id: ConnId,
        (reserved, size): (Vec<Option<Mailbox>>, u64),
        result: Result<DeliveryReceipt, Failure>,
        cx: &mut Context<'_>,
    ) {
        let failures = result.as_ref().map_or(&[][..], |receipt| &receipt.failures);
        let has_it = |at: usize| result.is_ok() && failures.get(at).is_none_or(Option::is_none);
        let unreserve = reserved.into_iter().enumerate();
        let unreserve: Vec<Mailbox> =
            unreserve.filter_map(|(at, mailbox)| mailbox.filter(|_| !has_it(at))).collect();
        let (arrivals, response) = match result {
            Ok(DeliveryReceipt { arrivals, failures: faults }) => {
                let is_partly = faults.iter().any(Option::is_some);
                (arrivals, if is_partly { Response::Partly(faults) } else { Response::Delivered })
            }
            Err(failure) => (Vec::new(), Response::Failed(failure)),
        };
        METRICS.deliveries.add(arrivals.len() as u64);
        let is_long = unreserve.len() + arrivals.len() > AT_ONCE;
        // The indexes hear of new files before the client does: a login that follows sees them.
        let response = if is_long && !arrivals.is_empty() {
            Some(response)
        } else {
            cx.effects.respond(id, response);
            None
        };
        let (unreserve, arrivals) = (unreserve.into_iter(), arrivals.into_iter());
        let mut returning = Returning { conn: id, unreserve, size, arrivals, response };
        if is_long {
            self.walks.push_back(Walk::Back(Box::new(returning)));
        } else {
            go_back(&mut returning, &mut usize::MAX.clone(), cx);
        }
    }
}

impl Inbound {
    /// The number of recipients of a message that has come in whole, while it is here.
    fn recipients(&self) -> usize {
        match self {
            Self::LookingUpQuotas(_, whole, _)
            | Self::CheckingQuota(_, whole)
            | Self::Reserving(_, whole, _) => whole.routing.to.len(),
            Self::Receiving(_) | Self::Sealing(..) | Self::Committing(_) => 0,
        }
    }
}

/// Looks for mailboxes whose quota asks for a count. `true`: all recipients and the sender were looked up.
fn look_up(
    whole: &ReceivedMessage,
    uncounted: &mut Uncounted,
    left: &mut usize,
    cx: &mut Context<'_>,
) -> bool {
    let Uncounted { looked_up, mailboxes } = uncounted;
    let to = &whole.routing.to;
    while *looked_up <= to.len() {
        if *left == 0 {
            return false;
        }
        let mailbox = match to.get(*looked_up) {
            Some(recipient) => recipient.as_ref().ok().map(|recipient| &recipient.mailbox),
            None => whole.routing.sent_copy_for.as_ref().filter(|sent| !mailboxes.contains(sent)),
        };
        let mailbox = mailbox.filter(|mailbox| cx.quotas.is_to_be_counted(mailbox, cx.accounts, cx.now));
        mailboxes.extend(mailbox.cloned());
        (*looked_up, *left) = (*looked_up + 1, *left - 1);
    }
    true
}

/// Reserves room in the mailboxes of a message. `true`: in all of them, as far as there is room.
fn reserve(
    id: ConnId,
    pending: &mut Pending,
    whole: &mut ReceivedMessage,
    left: &mut usize,
    cx: &mut Context<'_>,
) -> bool {
    let Pending { size, reserved, .. } = pending;
    let addressed = &mut whole.routing;
    while *left > 0 {
        *left -= 1;
        let Some(recipient) = addressed.to.get_mut(reserved.len()) else {
            if let Some(sender) = addressed.sent_copy_for.take() {
                if cx.quotas.reserve(&sender, *size, cx.accounts, cx.now) {
                    addressed.sent_copy_for = Some(sender);
                } else {
                    log::info!("{id}: {sender} is over quota and keeps no copy of what was sent");
                }
            }
            reserved.push(addressed.sent_copy_for.clone());
            return true;
        };
        let mailbox = recipient.as_ref().ok().map(|recipient| recipient.mailbox.clone());
        let mailbox = mailbox.filter(|mailbox| cx.quotas.reserve(mailbox, *size, cx.accounts, cx.now));
        if mailbox.is_none() {
            *recipient = Err(Failure::Quota);
        }
        reserved.push(mailbox);
    }
    false
}

/// The way back, over `left` mailboxes at most: whether it is at its end.
fn go_back(returning: &mut Returning, left: &mut usize, cx: &mut Context<'_>) -> bool {
    while *left > 0 {
        *left -= 1;
        if let Some(mailbox) = returning.unreserve.next() {
            cx.quotas.unreserve(&mailbox, returning.size);
        } else if let Some(DeliveredCopy { mailbox, maildir, entry: found }) = returning.arrivals.next() {
            cx.index.message_delivered(&mailbox, maildir, found);
        } else {
            return true;
        }
    }
    false
}

/// Recipients of a message that are no reason to wait for the next turn: fewer than most lists have.
const AT_ONCE: usize = 64;
/// Mailboxes that one message goes on by, before another has its turn.
const SHARE: usize = 500;
/// Mailboxes of all messages in one turn: some microseconds each.
pub(super) const MAILBOXES_A_TURN: usize = 2000;
