//! A directory of accounts in which addresses ask for faults.

use std::{cell::RefCell, time::SystemTime};

use super::{
    counts::SequenceCounts,
    hint::{Place, hint},
};
use crate::proto::{
    chaos::ChaosPoint,
    injection::InjectedFault,
    request::{AccountDirectory, Lookup, Mailbox, Quota},
    smtp::address::Address,
    tagged::TaggedAddress,
};

/// A directory that refuses addresses on demand. It records the faults found in the addresses.
pub(super) struct FaultyAccountDirectory<'a> {
    pub(super) inner: &'a dyn AccountDirectory,
    pub(super) counts: &'a SequenceCounts,
    pub(super) found: &'a RefCell<RequestedFaults>,
}

/// The faults found in addresses.
#[derive(Default)]
pub(super) struct RequestedFaults {
    pub(super) injections: Vec<InjectedFault>,
    /// True if one of them is a refusal that ends the session.
    pub(super) hangs_up: bool,
    /// A sentence about the last address, if it looks like a fault and is none.
    pub(super) hint: Option<String>,
}

impl AccountDirectory for FaultyAccountDirectory<'_> {
    fn lookup(&self, address: &Address) -> Lookup {
        let injections = InjectedFault::all_in(address.local());
        let lookup = self.inner.lookup(address);
        let Lookup::Local(destinations) = lookup else { return lookup };
        let asked_for = injections.iter().find_map(|injection| match *injection {
            InjectedFault::Rcpt(code) => Some(code),
            InjectedFault::FirstRcpts(tries, code) => {
                (self.counts.next(&address.to_string(), *injection) <= tries).then_some(code)
            }
            _ => None,
        });
        let refusal = asked_for.or_else(|| self.inner.chaos(ChaosPoint::Recipient));
        let mut found = self.found.borrow_mut();
        found.hint = hint(address.local(), Place::Recipient);
        if let Some(code) = refusal {
            found.hangs_up |= code == CLOSING;
            return Lookup::Refused(code);
        }
        let is_spoilt = !injections.is_empty();
        found.injections.extend(injections);
        Lookup::Local(if is_spoilt { destinations.without_folder() } else { destinations })
    }

    fn tagged(&self, address: &Address) -> Option<TaggedAddress> {
        self.inner.tagged(address)
    }

    fn may_send_as(&self, user: &Mailbox, from: &Address) -> bool {
        self.inner.may_send_as(user, from)
    }

    fn expiry_date(&self, date: SystemTime) -> SystemTime {
        self.inner.expiry_date(date)
    }

    fn quota(&self, mailbox: &Mailbox) -> Quota {
        self.inner.quota(mailbox)
    }

    fn wants_sent_copy(&self, user: &Mailbox) -> bool {
        self.inner.wants_sent_copy(user)
    }

    fn is_admin(&self, user: &Mailbox) -> bool {
        self.inner.is_admin(user)
    }

    fn is_full(&self, mailbox: &Mailbox) -> bool {
        self.inner.is_full(mailbox)
    }

    fn chaos(&self, at: ChaosPoint) -> Option<u16> {
        self.inner.chaos(at)
    }
}

/// The code of a reply after which the connection closes.
pub(super) const CLOSING: u16 = 421;
