//! The lookups that sessions make in the accounts and in the cache of quotas.

use std::time::SystemTime;

use super::state::Backend;
use crate::{
    clock::Now,
    proto::{
        chaos::ChaosPoint,
        request::{AccountDirectory, Lookup, Mailbox, Quota},
        smtp::address::Address,
        tagged::TaggedAddress,
    },
};

impl AccountDirectory for Backend {
    fn lookup(&self, address: &Address) -> Lookup {
        self.accounts.lookup(address)
    }

    fn tagged(&self, address: &Address) -> Option<TaggedAddress> {
        self.accounts.tagged(address)
    }

    fn may_send_as(&self, user: &Mailbox, from: &Address) -> bool {
        self.accounts.may_send_as(user, from)
    }

    fn expiry_date(&self, date: SystemTime) -> SystemTime {
        self.date_guard.date(Now { monotonic: self.now, wall: date })
    }

    fn quota(&self, mailbox: &Mailbox) -> Quota {
        self.accounts.quota(mailbox)
    }

    fn wants_sent_copy(&self, user: &Mailbox) -> bool {
        self.accounts.wants_sent_copy(user)
    }

    fn is_admin(&self, user: &Mailbox) -> bool {
        self.accounts.is_admin(user)
    }

    fn is_full(&self, mailbox: &Mailbox) -> bool {
        self.quotas.is_full(mailbox, &self.accounts, self.now)
    }

    fn chaos(&self, at: ChaosPoint) -> Option<u16> {
        // Without random numbers nothing fails by chance.
        self.chaos
            .fault(at, || getrandom::u32().map_or(PERCENT, |number| (number % u32::from(PERCENT)) as u8))
    }
}

const PERCENT: u8 = 100;
