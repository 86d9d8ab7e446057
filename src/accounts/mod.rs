//! The accounts of the server, and their logins.
//!
//! The loop thread looks into the table, which never waits for a disk: a [`Reloader`] reads changed files again, and
//! replaces the whole table. A password check takes CPU time, so it is a [`Credential`] that goes to a worker. The
//! rule: from outside, an unknown user, a disabled user and a wrong password look the same and take the same time.

mod account;
mod account_reader;
mod aliases;
mod auth_cache;
mod auth_throttle;
mod credential;
mod error;
mod hash_memory;
mod json_error;
mod locked_file;
mod password;
mod reloader;
mod senders;
mod sources;
mod table;
mod upgrade_rights;
mod user_file;
mod without_domain;

use std::{borrow::Cow, fmt};

use crate::proto::{
    folder::Folder,
    request::{AccountDirectory, Destination, Lookup, Mailbox, Quota},
    smtp::address::{Address, fold_local},
    tagged::TaggedAddress,
};
pub use account::{Account, Sender, own_mailbox};
pub use auth_cache::{AuthCache, CacheKey};
pub use auth_throttle::{AddressReputation, Attempt, AuthThrottle, ThrottleDecision};
use credential::Check;
pub use credential::{Credential, Verdict};
pub use error::Error;
pub use hash_memory::HashMemory;
use password::StoredHash;
pub use password::hash;
pub use reloader::Reloader;
pub use sources::{Sources, Stamp};
use table::AccountTable;
pub use user_file::UserFile;

/// The users of this server, in memory.
#[derive(Debug)]
pub struct Accounts {
    domains: Vec<String>,
    users: Users,
    /// The files of the users; `None` in an open house.
    pub sources: Option<Sources>,
}

/// The rights of a user, to be compared with those after a reload.
#[derive(Clone)]
pub struct LoginRights {
    /// `None` if the user may not log in.
    mailbox: Option<Mailbox>,
    hash: String,
    /// Whether the server replaces hashes of other servers, and has not failed to replace this one.
    upgrades: bool,
    /// Whether the user may read and change the mail of all others.
    pub is_admin: bool,
}

impl LoginRights {
    /// Whether a session that began with these rights goes on with those of `now`. The server replaces a hash of another
    /// server at a login: that is no other password. Each login replaces it, so a session that began without the replacement ends
    /// with its hash.
    pub fn still_allows(&self, now: &Self) -> bool {
        let is_upgrade = || self.upgrades && now.upgrades && is_upgrade(&self.hash, &now.hash);
        self.mailbox == now.mailbox && (self.hash == now.hash || is_upgrade())
    }

    /// The rights of `now`, for a session that began with these.
    #[must_use]
    pub fn renewed(&self, now: Self) -> Self {
        Self { upgrades: self.upgrades, ..now }
    }

    /// These rights for a login that has not replaced the hash: any other hash is that of another password.
    #[must_use]
    pub fn without_upgrade(self) -> Self {
        Self { upgrades: false, ..self }
    }
}

/// Whether a hash may be the one that the server has written in the place of an old one.
fn is_upgrade(old: &str, new: &str) -> bool {
    let is_old = old.parse::<StoredHash>().is_ok_and(|hash| hash.is_old());
    is_old && matches!(new.parse::<StoredHash>(), Ok(StoredHash::Argon2id(_)))
}

impl fmt::Debug for LoginRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRights").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Users {
    /// The users of the file.
    Listed(AccountTable),
    /// Every address, with any password.
    AcceptAll {
        /// Whether the domain does not count.
        any_domain: bool,
    },
}

impl Accounts {
    /// For development: every address has a mailbox, unless its name is too long for a file, and any password is right.
    /// An address without a domain is in the first of `domains`. Clients may send as any address, with or without a
    /// login.
    pub fn accept_all(domains: &[String]) -> Self {
        Self { domains: domains.to_vec(), users: Users::AcceptAll { any_domain: true }, sources: None }
    }

    /// The same for the addresses of these domains only: mail for others is not ours.
    pub fn accept_all_in(domains: &[String]) -> Self {
        Self { users: Users::AcceptAll { any_domain: false }, ..Self::accept_all(domains) }
    }

    /// A password check for this user, who need not exist, for a worker. A name without a domain is one in our first
    /// domain, and any address of an account will do. `bob+Sent` opens the folder `Sent` of bob with bob's password,
    /// unless there is an account of that whole name.
    pub fn credential(&self, user: &str) -> Credential {
        let Some((local, domain)) = login_name(user) else {
            return Credential {
                user: user.to_lowercase(),
                mailbox: None,
                check: Check::RejectAll,
                upgrades: false,
            };
        };
        let (local, domain) = (local.as_str(), domain.as_deref().unwrap_or(self.first_domain()));
        let in_folder = || {
            let (local, folder) = local.split_once('+')?;
            let folder = Folder::from_name(folder)?;
            let (user, mailbox, check) = self.account(local, domain)?;
            Some((user, mailbox.in_folder(folder), check))
        };
        let upgrades = self.sources.as_ref().is_some_and(|sources| !sources.keep_hashes);
        match self.account(local, domain).or_else(in_folder) {
            Some((user, mailbox, check)) => Credential { user, mailbox: Some(mailbox), check, upgrades },
            None => {
                let user = account::lookup_key(local, domain);
                Credential { user, mailbox: None, check: Check::RejectAll, upgrades }
            }
        }
    }

    /// The mailbox for that name: the one that a login with it reads, otherwise the only one that mail for it arrives in,
    /// otherwise the one that an account of that name would have. `None` for the alias of several, and if it is no name.
    pub fn mailbox_of(&self, name: &str) -> Option<Mailbox> {
        if let Some(mailbox) = self.credential(name).mailbox {
            return Some(mailbox);
        }
        let (local, domain) = login_name(name)?;
        let whole = format!("{local}@{}", domain.as_deref().unwrap_or(self.first_domain()));
        match Address::parse(&whole).map(|address| self.lookup(&address)) {
            Ok(Lookup::Local(to)) if to.len() > 1 => None,
            Ok(Lookup::Local(to)) => to.iter().next().map(|to| match to.folder {
                Some(folder) => to.mailbox.in_folder(folder),
                None => to.mailbox,
            }),
            _ => guest_mailbox(&local, domain.as_deref().unwrap_or(self.first_domain())),
        }
    }

    /// The name, mailbox and credential of the account with that address. None if the account is disabled.
    fn account(&self, local: &str, domain: &str) -> Option<(String, Mailbox, Check)> {
        let key = account::lookup_key(local, domain);
        match &self.users {
            Users::Listed(table) => {
                let (name, user) = table.user(&key).filter(|(_, user)| !user.disabled)?;
                Some((name.clone(), user.mailbox.clone(), Check::Hash(user.hash.clone())))
            }
            Users::AcceptAll { .. } if local.contains('+') => None,
            Users::AcceptAll { any_domain } if !any_domain && !self.is_ours(domain) => None,
            Users::AcceptAll { .. } => Some((key, guest_mailbox(local, domain)?, Check::AcceptAny)),
        }
    }

    /// The rights that a login with the right password gives this user, and that password.
    pub fn login_rights(&self, user: &str) -> LoginRights {
        self.rights_of(&self.credential(user))
    }

    /// The rights that a login with this credential gives.
    pub fn rights_of(&self, credential: &Credential) -> LoginRights {
        LoginRights {
            is_admin: credential.mailbox.as_ref().is_some_and(|mailbox| self.is_admin(mailbox)),
            hash: credential.hash_on_file().to_owned(),
            upgrades: credential.upgrades,
            mailbox: credential.mailbox.clone(),
        }
    }

    /// Replaces the hash of a user after an upgrade, unless the user has another hash than `old_hash` by now.
    pub fn update_hash(&mut self, user: &str, old_hash: &str, hash: String) {
        if let Users::Listed(table) = &mut self.users {
            table.update_hash(user, old_hash, hash);
        }
    }

    /// Whether any password takes longer to check than that of an unknown user, because its hash came from another
    /// server.
    pub fn has_slow_hashes(&self) -> bool {
        matches!(&self.users, Users::Listed(table) if table.has_slow_hashes())
    }

    /// The number of accounts; `None` in an open house.
    pub fn count(&self) -> Option<usize> {
        match &self.users {
            Users::Listed(table) => Some(table.len()),
            Users::AcceptAll { .. } => None,
        }
    }

    /// A sentence for each domain that accounts have addresses in and that is not one of ours.
    pub fn warnings(&self) -> Vec<String> {
        let Users::Listed(table) = &self.users else { return Vec::new() };
        let sentence = |(domain, addresses): (&str, Vec<&str>)| {
            let first = addresses[..addresses.len().min(3)].join(", ");
            let rest = if addresses.len() > 3 {
                format!(" and {} more", addresses.len() - 3)
            } else {
                String::new()
            };
            format!("no mail arrives for {first}{rest}: add {domain:?} to `domains`, or change the accounts")
        };
        table.foreign_addresses(&self.domains).into_iter().map(sentence).collect()
    }

    /// Whether an account has that mailbox. In an open house, every mailbox is that of its address.
    pub fn has_mailbox(&self, mailbox: &Mailbox) -> bool {
        match &self.users {
            Users::Listed(table) => table.has_mailbox(mailbox),
            Users::AcceptAll { .. } => true,
        }
    }

    /// A sentence for each setting that is good in most cases and may still mean something else.
    pub fn notes(&self) -> Vec<String> {
        let (Users::Listed(table), [first, _, ..]) = (&self.users, &self.domains[..]) else {
            return Vec::new();
        };
        let file = self.sources.as_ref().and_then(|sources| sources.aliases.as_deref());
        file.and_then(|file| table.aliases().without_domain().note(file, first)).into_iter().collect()
    }

    /// Whether an address has a domain that is not one of ours.
    fn is_foreign(&self, address: &Address) -> bool {
        address.domain().is_some_and(|domain| !self.is_ours(domain))
    }

    fn is_ours(&self, domain: &str) -> bool {
        self.domains.iter().any(|ours| ours == domain)
    }

    fn first_domain(&self) -> &str {
        self.domains.first().map_or("localhost", String::as_str)
    }

    /// The mailbox of an address in an open house, with the folder of its `+tag`.
    fn accept_all_destination(&self, address: &Address) -> Option<Destination> {
        let (user, tag) = address.local().split_once('+').unwrap_or((address.local(), ""));
        let domain = address.domain().unwrap_or(self.first_domain());
        Some(Destination { mailbox: guest_mailbox(user, domain)?, folder: Folder::from_name(tag) })
    }
}

/// The local part and domain of a login name. The name of a folder may have characters that an address has in quotes
/// only: `bob+Sent Items@example.test`.
fn login_name(text: &str) -> Option<(String, Option<String>)> {
    let parts = |address: &Address| (address.local().to_owned(), address.domain().map(str::to_owned));
    if let Ok(address) = Address::parse(text) {
        return Some(parts(&address));
    }
    let (local, domain) = text.rsplit_once('@').map_or((text, None), |(local, domain)| (local, Some(domain)));
    let (user, folder) = local.split_once('+')?;
    let whole = domain.map_or(user.to_owned(), |domain| format!("{user}@{domain}"));
    let (user, domain) = parts(&Address::parse(&whole).ok()?);
    Some((format!("{user}+{folder}"), domain))
}

/// The mailbox of a user in an open house.
fn guest_mailbox(local: &str, domain: &str) -> Option<Mailbox> {
    Mailbox::of_address(&fold_local(local), domain)
}

impl AccountDirectory for Accounts {
    fn lookup(&self, address: &Address) -> Lookup {
        let table = match &self.users {
            Users::Listed(table) => table,
            Users::AcceptAll { any_domain: false } if self.is_foreign(address) => return Lookup::Foreign,
            Users::AcceptAll { .. } => {
                return self
                    .accept_all_destination(address)
                    .map_or(Lookup::Unknown, |guest| Lookup::Local(guest.into()));
            }
        };
        let domain = match address.domain() {
            Some(_) if self.is_foreign(address) => return Lookup::Foreign,
            Some(domain) => domain,
            // As in a login, and for postmaster always (RFC 5321 section 4.5.1).
            None => self.first_domain(),
        };
        match table.lookup(address.local(), domain, self.first_domain()) {
            Some(destinations) if !destinations.is_empty() => Lookup::Local(destinations),
            _ => Lookup::Unknown,
        }
    }

    fn tagged(&self, address: &Address) -> Option<TaggedAddress> {
        let domain = address.domain().unwrap_or(self.first_domain());
        if let Users::Listed(table) = &self.users
            && !table.is_tagged(address.local(), domain)
        {
            return None;
        }
        TaggedAddress::new(&address.clone().in_domain(domain))
    }

    fn may_send_as(&self, user: &Mailbox, from: &Address) -> bool {
        let Users::Listed(table) = &self.users else { return true };
        let user = user.clone().without_folder();
        let own = match self.lookup(from) {
            Lookup::Local(to) => to.contains(&user),
            Lookup::Unknown | Lookup::Foreign | Lookup::Refused(_) => false,
        };
        own || table.may_send_as(&user, from)
    }

    fn quota(&self, mailbox: &Mailbox) -> Quota {
        match &self.users {
            Users::Listed(table) => table.quota(&mailbox.clone().without_folder()),
            Users::AcceptAll { .. } => Quota::default(),
        }
    }

    fn is_admin(&self, user: &Mailbox) -> bool {
        match &self.users {
            Users::Listed(table) => table.is_admin(&user.clone().without_folder()),
            Users::AcceptAll { .. } => false,
        }
    }

    fn wants_sent_copy(&self, user: &Mailbox) -> bool {
        match &self.users {
            Users::Listed(table) => table.sent_copy(&user.clone().without_folder()),
            Users::AcceptAll { .. } => true,
        }
    }
}

/// The name of an account in the form in which names are compared. A name without a domain is in the first of `domains`.
/// A text that is no address has no account.
pub fn canonical_name(text: &str, domains: &[String]) -> String {
    let whole = whole_address(text, domains);
    account::account_name(&whole).unwrap_or_else(|| whole.to_lowercase())
}

fn whole_address<'a>(text: &'a str, domains: &[String]) -> Cow<'a, str> {
    let has_domain = Address::parse(text).map_or(true, |address| address.domain().is_some());
    match domains.first() {
        Some(first) if !has_domain => Cow::Owned(format!("{text}@{first}")),
        _ => Cow::Borrowed(text),
    }
}

/// A name for a new account: an address in one of our domains, returned in the form in which it is compared. A name
/// without a domain is in the first one.
pub fn account_name(text: &str, domains: &[String]) -> Result<String, Error> {
    let bad = |why: String| Err(Error::Name(format!("{text:?} cannot be the name of an account: {why}")));
    let whole = whole_address(text, domains);
    let Ok(address) = Address::parse(&whole) else {
        return bad("it is not a mail address".into());
    };
    // Senders cannot choose such a name, but an operator can.
    if address.needs_quotes() && !text.starts_with('"') {
        return bad(format!(
            "the part before the @ is against RFC 5321; write it as {address} if you want it"
        ));
    }
    match address.domain() {
        None => return bad(format!("write the whole address, like {text}@example.test")),
        Some(domain) if !domains.iter().any(|ours| ours == domain) => {
            return bad(format!("mail is taken for {} only", domains.join(", ")));
        }
        Some(_) => {}
    }
    if Mailbox::of_address(&address.folded_local(), address.domain().unwrap_or_default()).is_none() {
        return bad(
            "something must stand before the @, and its directory would have a name that is too long".into(),
        );
    }
    Ok(canonical_name(&whole, domains))
}

#[cfg(test)]
mod tests;
