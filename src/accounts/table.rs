//! The accounts of the file in memory, by each of their addresses.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{
    account::{Account, address_key, lookup_key},
    aliases::Aliases,
    password::StoredHash,
    senders::Senders,
};
use crate::proto::{
    destinations::{Destinations, Group},
    folder::Folder,
    request::{Destination, Mailbox, Quota},
    smtp::address::Address,
};

/// The accounts of the file.
#[derive(Debug)]
pub(super) struct AccountTable {
    users: BTreeMap<String, User>,
    /// Addresses of accounts, to their names.
    addresses: BTreeMap<String, String>,
    inboxes: BTreeMap<Mailbox, MailboxPolicy>,
    aliases: Aliases,
    /// The mailboxes that the lists of aliases lead to, made once: RCPT may ask for them a thousand times a turn.
    groups: Vec<Group>,
    has_slow_hashes: bool,
    has_old_hashes: bool,
}

/// An account, as far as a login needs it.
pub(super) struct User {
    pub(super) mailbox: Mailbox,
    pub(super) hash: String,
    pub(super) disabled: bool,
}

/// The rights of the owners of a mailbox. If accounts share a mailbox, the strictest setting holds: a session knows
/// only its mailbox, and must not get the rights of one account by way of another.
#[derive(Debug)]
struct MailboxPolicy {
    quota: Quota,
    admin: bool,
    sent_copy: bool,
    senders: Senders,
}

impl AccountTable {
    pub(super) fn new(accounts: impl IntoIterator<Item = (String, Account)>) -> Self {
        let mut table = Self {
            users: BTreeMap::new(),
            addresses: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            aliases: Aliases::default(),
            groups: Vec::new(),
            has_slow_hashes: false,
            has_old_hashes: false,
        };
        for (name, account) in accounts {
            table.add(name, account);
        }
        table
    }

    fn add(&mut self, name: String, account: Account) {
        let Some(mailbox) = account.mailbox(&name) else { return }; // never: the reader of the file has checked each inbox
        for address in account.addresses.iter().chain([&name]) {
            self.addresses.extend(address_key(address).map(|key| (key, name.clone())));
        }
        let quota = Quota::from(account.quota);
        match self.inboxes.get_mut(&mailbox) {
            Some(terms) => {
                let least = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
                terms.quota.octets = least(terms.quota.octets, quota.octets);
                terms.quota.messages = least(terms.quota.messages, quota.messages);
                terms.sent_copy &= account.sent_copy;
                terms.admin &= account.admin;
                terms.senders.intersect(account.may_send_as);
            }
            None => {
                let senders = Senders::new(account.may_send_as);
                let terms =
                    MailboxPolicy { quota, admin: account.admin, sent_copy: account.sent_copy, senders };
                self.inboxes.insert(mailbox.clone(), terms);
            }
        }
        let (hash, disabled) = (account.password_hash, account.disabled);
        if let Ok(stored) = hash.parse::<StoredHash>() {
            self.has_slow_hashes |= stored.is_slow();
            self.has_old_hashes |= stored.is_old();
        }
        self.users.insert(name, User { mailbox, hash, disabled });
    }

    /// The same table with other aliases, some of which may lead to removed accounts.
    pub(super) fn with_aliases(self, aliases: Aliases) -> Self {
        let table: Arc<[Mailbox]> = self.inboxes.keys().cloned().collect();
        let place = |name: &String| {
            let mailbox = &self.users.get(name)?.mailbox;
            table.binary_search(mailbox).ok().and_then(|place| u32::try_from(place).ok())
        };
        let places: Vec<Option<u32>> = aliases.names().iter().map(place).collect();
        let group = |list: &Arc<[u32]>| {
            let mut group: Vec<u32> = list.iter().filter_map(|name| places[*name as usize]).collect();
            group.sort_unstable();
            group.dedup();
            Group::new(Arc::clone(&table), group.into())
        };
        let groups = aliases.lists().iter().map(group).collect();
        Self { aliases, groups, ..self }
    }

    pub(super) fn has_slow_hashes(&self) -> bool {
        self.has_slow_hashes
    }

    pub(super) fn has_old_hashes(&self) -> bool {
        self.has_old_hashes
    }

    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// The account with that address, and its name.
    pub(super) fn user(&self, key: &str) -> Option<(&String, &User)> {
        self.users.get_key_value(self.owner(key)?)
    }

    /// Whether an account has that mailbox.
    pub(super) fn has_mailbox(&self, mailbox: &Mailbox) -> bool {
        self.inboxes.contains_key(mailbox)
    }

    pub(super) fn aliases(&self) -> &Aliases {
        &self.aliases
    }

    /// The account of an address.
    pub(super) fn owner(&self, key: &str) -> Option<&String> {
        self.addresses.get(key)
    }

    /// The addresses of accounts that are in none of these domains, by their domain.
    pub(super) fn foreign_addresses(&self, domains: &[String]) -> BTreeMap<&str, Vec<&str>> {
        let mut foreign = BTreeMap::<&str, Vec<&str>>::new();
        for address in self.addresses.keys() {
            let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
            if !domains.iter().any(|ours| ours == domain) {
                foreign.entry(domain).or_default().push(address);
            }
        }
        foreign
    }

    /// Replaces the hash of a user, unless it has changed since it was `old_hash`.
    pub(super) fn update_hash(&mut self, user: &str, old_hash: &str, hash: String) {
        if let Some(known) = self.users.get_mut(user).filter(|known| known.hash == old_hash) {
            known.hash = hash;
        }
    }

    /// The targets of an address of one of our domains; `None` if it is unknown. `domain` is the domain of the address, or
    /// the first of ours if the address has none.
    ///
    /// Mail for postmaster must always arrive (RFC 5321 section 4.5.1): without an account or alias for it, it goes to
    /// postmaster at the first domain, else to the first account of the alphabet.
    pub(super) fn lookup(&self, local: &str, domain: &str, first_domain: &str) -> Option<Destinations> {
        if let Some(found) = self.destinations(local, domain, None) {
            return Some(found);
        }
        if let Some((user, tag)) = local.split_once('+')
            && let Some(found) = self.destinations(user, domain, Folder::from_name(tag))
        {
            return Some(found);
        }
        if local.eq_ignore_ascii_case(POSTMASTER) {
            let first = || self.users.first_key_value().map(|(_, user)| of(user, None));
            return self.destinations(POSTMASTER, first_domain, None).or_else(first);
        }
        // Senders once used such names to route mail through relays, so they are not for us.
        let rest = self.aliases.catch_all(domain).filter(|_| !local.contains(['%', '!', '@']));
        self.group(rest?, None)
    }

    /// True if an address is that of an account or alias, and has a tag beside it.
    pub(super) fn is_tagged(&self, local: &str, domain: &str) -> bool {
        let names = |local: &str| self.destinations(local, domain, None).is_some();
        local.split_once('+').is_some_and(|(user, _)| !names(local) && names(user))
    }

    /// The mailboxes of the accounts that an address stands for. An alias leads nowhere if its accounts are gone.
    fn destinations(&self, local: &str, domain: &str, folder: Option<Folder>) -> Option<Destinations> {
        let key = lookup_key(local, domain);
        match self.user(&key) {
            Some((_, user)) => Some(of(user, folder)),
            None => self.group(self.aliases.list(&key)?, folder),
        }
    }

    fn group(&self, list: usize, folder: Option<Folder>) -> Option<Destinations> {
        Some(self.groups.get(list)?.clone().in_folder(folder))
    }

    pub(super) fn may_send_as(&self, mailbox: &Mailbox, from: &Address) -> bool {
        self.inboxes.get(mailbox).is_some_and(|terms| terms.senders.allow(from))
    }

    pub(super) fn quota(&self, mailbox: &Mailbox) -> Quota {
        self.inboxes.get(mailbox).map(|terms| terms.quota).unwrap_or_default()
    }

    pub(super) fn is_admin(&self, mailbox: &Mailbox) -> bool {
        self.inboxes.get(mailbox).is_some_and(|terms| terms.admin)
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

fn of(user: &User, folder: Option<Folder>) -> Destinations {
    Destination { mailbox: user.mailbox.clone(), folder }.into()
}

/// The local part whose mail must always arrive.
pub(super) const POSTMASTER: &str = "postmaster";
