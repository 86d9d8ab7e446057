//! The addresses that the owners of one mailbox may use in MAIL FROM. A lookup takes the same time for any number of them.

use std::collections::HashSet;

use super::account::{Sender, lookup_key};
use crate::proto::smtp::address::Address;

/// Senders that an account may use beside its own addresses, or each of several accounts that share a mailbox.
#[derive(Debug)]
pub(super) enum Senders {
    Anybody,
    Listed {
        domains: HashSet<String>,
        /// Keys as [`lookup_key`] makes them.
        addresses: HashSet<String>,
    },
}

impl Senders {
    pub(super) fn new(senders: Vec<Sender>) -> Self {
        let (mut domains, mut addresses) = (HashSet::new(), HashSet::new());
        for sender in senders {
            match sender {
                Sender::Anybody => return Self::Anybody,
                Sender::Domain(domain) => drop(domains.insert(domain)),
                Sender::Address(address) => addresses.extend(key_of(&address)),
            }
        }
        Self::Listed { domains, addresses }
    }

    /// Keeps the addresses that another account of the same mailbox may use too, and removes the others.
    pub(super) fn intersect(&mut self, senders: Vec<Sender>) {
        let other = Self::new(senders);
        match (&mut *self, other) {
            (_, Self::Anybody) => {}
            (Self::Anybody, other) => *self = other,
            (Self::Listed { domains, addresses }, Self::Listed { domains: d, addresses: a }) => {
                addresses.retain(|key| a.contains(key) || is_in(key, &d));
                addresses.extend(a.into_iter().filter(|key| is_in(key, domains)));
                domains.retain(|domain| d.contains(domain));
            }
        }
    }

    /// Whether MAIL FROM may have this address, in upper or lower case.
    pub(super) fn allow(&self, from: &Address) -> bool {
        match self {
            Self::Anybody => true,
            Self::Listed { domains, addresses } => {
                from.domain().is_some_and(|domain| domains.contains(domain))
                    || key_of(from).is_some_and(|key| addresses.contains(&key))
            }
        }
    }
}

fn key_of(address: &Address) -> Option<String> {
    Some(lookup_key(address.local(), address.domain()?))
}

fn is_in(key: &str, domains: &HashSet<String>) -> bool {
    key.rsplit_once('@').is_some_and(|(_, domain)| domains.contains(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn senders(text: &str) -> Vec<Sender> {
        text.split_whitespace().map(|sender| sender.parse().unwrap()).collect()
    }

    #[test]
    fn accounts_that_share_a_mailbox_may_send_as_each_of_them_may() {
        let tried = ["a@x.test", "B@x.test", "c@y.test", "d@z.test", "postmaster"];
        let lists =
            ["*", "*@x.test", "A@x.test c@y.test", "*@y.test b@x.test d@z.test", "", "*@x.test *@y.test"];
        for (one, other) in lists.iter().flat_map(|one| lists.map(|other| (*one, other))) {
            let mut both = Senders::new(senders(one));
            both.intersect(senders(other));
            for from in tried.map(|from| Address::parse(from).unwrap()) {
                let may = |list| senders(list).iter().any(|sender| sender.matches(&from));
                assert_eq!(both.allow(&from), may(one) && may(other), "{from}: {one} and {other}");
                assert_eq!(Senders::new(senders(one)).allow(&from), may(one), "{from}: {one}");
            }
        }
    }
}
