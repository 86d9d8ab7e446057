//! The accounts of the file in memory, by each of their addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    account::{Account, Sender, key, key_of},
    aliases::Aliases,
    password::Stored,
};
use crate::proto::{
    ask::{Destination, Mailbox, Quota},
    folder::Folder,
    smtp::address::Address,
};

/// The accounts of the file.
#[derive(Debug)]
pub(super) struct Table {
    users: BTreeMap<String, User>,
    /// Addresses of accounts, to their names.
    addresses: BTreeMap<String, String>,
    inboxes: BTreeMap<Mailbox, Terms>,
    aliases: Aliases,
    has_slow_hashes: bool,
}

/// One account.
pub(super) struct User {
    pub(super) mailbox: Mailbox,
    pub(super) hash: String,
    pub(super) disabled: bool,
}

/// The rights of the owners of a mailbox. If accounts share a mailbox, the strictest setting holds: a session knows
/// only its mailbox, and must not get the rights of one account by way of another.
#[derive(Debug)]
struct Terms {
    quota: Quota,
    sent_copy: bool,
    /// Of each account.
    senders: Vec<Vec<Sender>>,
}

impl Table {
    /// A table without aliases.
    pub(super) fn new(accounts: impl IntoIterator<Item = (String, Account)>) -> Self {
        let mut table = Self {
            users: BTreeMap::new(),
            addresses: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            aliases: Aliases::default(),
            has_slow_hashes: false,
        };
        for (name, account) in accounts {
            table.add(name, account);
        }
        table
    }

    fn add(&mut self, name: String, account: Account) {
        let Some(mailbox) = account.mailbox(&name) else { return }; // none is, the file has been checked
        for address in account.addresses.iter().chain([&name]) {
            self.addresses.extend(key_of(address).map(|key| (key, name.clone())));
        }
        let quota = Quota::from(account.quota);
        match self.inboxes.get_mut(&mailbox) {
            Some(terms) => {
                let least = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
                terms.quota.octets = least(terms.quota.octets, quota.octets);
                terms.quota.messages = least(terms.quota.messages, quota.messages);
                terms.sent_copy &= account.sent_copy;
                terms.senders.push(account.may_send_as);
            }
            None => {
                let terms = Terms { quota, sent_copy: account.sent_copy, senders: vec![account.may_send_as] };
                self.inboxes.insert(mailbox.clone(), terms);
            }
        }
        let (hash, disabled) = (account.password_hash, account.disabled);
        self.has_slow_hashes |= hash.parse().is_ok_and(|stored: Stored| stored.is_slow());
        self.users.insert(name, User { mailbox, hash, disabled });
    }

    /// The same table with other aliases, some of which may lead to removed accounts.
    pub(super) fn with(self, aliases: Aliases) -> Self {
        Self { aliases, ..self }
    }

    pub(super) fn has_slow_hashes(&self) -> bool {
        self.has_slow_hashes
    }

    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// The account with that address, and its name.
    pub(super) fn user(&self, key: &str) -> Option<(&String, &User)> {
        self.users.get_key_value(self.owner(key)?)
    }

    /// The account of an address.
    pub(super) fn owner(&self, key: &str) -> Option<&String> {
        self.addresses.get(key)
    }

    pub(super) fn learn(&mut self, user: &str, hash: String) {
        if let Some(known) = self.users.get_mut(user) {
            known.hash = hash;
        }
    }

    /// The targets of an address of one of our domains; empty if it is unknown. `domain` is the address's, or the first
    /// one.
    ///
    /// Mail for postmaster must always arrive (RFC 5321 section 4.5.1): without an account or alias for it, it goes to
    /// postmaster at the first domain, else to the first account of the alphabet.
    pub(super) fn lookup(&self, local: &str, domain: &str, first_domain: &str) -> Vec<Destination> {
        if let Some(names) = self.names(local, domain) {
            return self.mailboxes(names, None);
        }
        if let Some((user, tag)) = local.split_once('+')
            && let Some(names) = self.names(user, domain)
        {
            return self.mailboxes(names, Folder::named(tag));
        }
        if local.eq_ignore_ascii_case(POSTMASTER) {
            let first = || self.users.keys().next().map(std::slice::from_ref);
            return self.mailboxes(self.names(POSTMASTER, first_domain).or_else(first).unwrap_or(&[]), None);
        }
        // Senders once used such names to route mail through relays, so they are not for us.
        let rest = self.aliases.catch_all(domain).filter(|_| !local.contains(['%', '!', '@']));
        self.mailboxes(rest.unwrap_or(&[]), None)
    }

    /// The accounts of an address.
    fn names(&self, local: &str, domain: &str) -> Option<&[String]> {
        let key = key(local, domain);
        self.owner(&key).map(std::slice::from_ref).or_else(|| self.aliases.get(&key))
    }

    fn mailboxes(&self, names: &[String], folder: Option<Folder>) -> Vec<Destination> {
        let mailboxes = names.iter().filter_map(|name| self.users.get(name)).map(|user| &user.mailbox);
        let once: BTreeSet<_> = mailboxes.collect();
        once.into_iter()
            .map(|mailbox| Destination { mailbox: mailbox.clone(), folder: folder.clone() })
            .collect()
    }

    pub(super) fn allows(&self, mailbox: &Mailbox, from: &Address) -> bool {
        self.inboxes.get(mailbox).is_some_and(|terms| {
            terms.senders.iter().all(|senders| senders.iter().any(|sender| sender.is(from)))
        })
    }

    pub(super) fn quota(&self, mailbox: &Mailbox) -> Quota {
        self.inboxes.get(mailbox).map(|terms| terms.quota).unwrap_or_default()
    }

    pub(super) fn sent_copy(&self, mailbox: &Mailbox) -> bool {
        self.inboxes.get(mailbox).is_none_or(|terms| terms.sent_copy)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}

/// The local part whose mail must always arrive.
pub(super) const POSTMASTER: &str = "postmaster";
