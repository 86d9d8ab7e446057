//! The recipients of a message while they are collected: each mailbox once, whatever addresses and lists lead to it.

use std::collections::{HashMap, HashSet};

use super::{
    destinations::{Destinations, ListId},
    mailbox::{Destination, Mailbox},
    request::{AccountDirectory, Envelope, Recipient},
    smtp::address::Address,
};

/// The mailboxes that are in an envelope.
#[derive(Debug, Default)]
pub(crate) struct KnownMailboxes {
    /// As a set: an alias may have a thousand mailboxes, and the client may name it again and again.
    mailboxes: HashSet<Mailbox>,
    /// The alias lists whose mailboxes are all in the envelope. The map holds each list itself, because a list that
    /// is freed could leave its id to another list.
    lists: HashMap<ListId, Destinations>,
}

/// The bounds on the recipients of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecipientBounds {
    /// Mailboxes that a client may name.
    pub(crate) most: usize,
    /// Mailboxes that can be open.
    pub(crate) max_mailboxes: usize,
}

/// The reason why an address was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAdded {
    /// One of its mailboxes is over its quota.
    Full,
    /// The message has its most recipients already.
    TooMany,
    /// It is a list of more mailboxes than the server can have open.
    ListTooLong,
}

impl KnownMailboxes {
    /// Adds the destinations of an address to an envelope. Returns the number of mailboxes examined too.
    pub(crate) fn add(
        &mut self,
        envelope: &mut Envelope,
        (address, destinations): (&Address, &Destinations),
        RecipientBounds { most, max_mailboxes }: RecipientBounds,
        directory: &dyn AccountDirectory,
    ) -> (usize, Result<(), NotAdded>) {
        let Self { mailboxes, lists } = self;
        let to = &mut envelope.to;
        let is_another = to.first().is_some_and(|first| first.address.canonical() != address.canonical());
        // A list that is already in the envelope adds nothing. Its quotas are checked at the end of the
        // message.
        let list = destinations.shared();
        if list.is_some_and(|list| lists.contains_key(&list)) {
            envelope.has_several_addresses |= is_another;
            return (0, Ok(()));
        }
        let examined = destinations.len();
        if destinations.iter().any(|to| directory.is_full(&to.mailbox)) {
            return (examined, Err(NotAdded::Full));
        }
        let is_new = || destinations.iter().any(|to| !mailboxes.contains(&to.mailbox));
        if to.len() >= most && is_new() {
            return (examined, Err(NotAdded::TooMany));
        }
        // The first list may lead to more mailboxes than a client may name, but not to more than can be open.
        if destinations.len() > max_mailboxes {
            return (examined, Err(NotAdded::ListTooLong));
        }
        let new = destinations.iter().filter(|to| !mailboxes.contains(&to.mailbox));
        if to.len() + new.count() > max_mailboxes {
            return (examined, Err(NotAdded::TooMany));
        }
        for Destination { mailbox, folder } in destinations.iter() {
            if mailboxes.insert(mailbox.clone()) {
                to.push(Recipient { address: address.clone(), mailbox, folder });
            }
        }
        lists.extend(list.map(|list| (list, destinations.clone())));
        envelope.has_several_addresses |= is_another;
        (examined, Ok(()))
    }
}
