//! The accounts of the server, and their logins.
//!
//! The loop thread looks into the table, which never waits for a disk: a [`Reloader`] reads changed files again, and
//! replaces the whole table. A password check takes CPU time, so it is a [`Credential`] that goes to a worker. The
//! rule: from outside, an unknown user, a disabled user and a wrong password look the same and take the same time.

mod account;
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
mod user_file;

use crate::proto::{
    folder::Folder,
    request::{AccountDirectory, Destination, Lookup, Mailbox, Quota},
    smtp::address::Address,
};
pub use account::{Account, Sender};
pub use auth_cache::{AuthCache, CacheKey};
pub use auth_throttle::{AddressReputation, Attempt, AuthThrottle, ThrottleDecision};
use credential::Check;
pub use credential::{Credential, Verdict};
pub use error::Error;
pub use hash_memory::HashMemory;
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
    /// For development: every address has a mailbox if [`Mailbox::named`] accepts its name, and any password is right.
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
        let (local, domain) = user.rsplit_once('@').unwrap_or((user, self.first_domain()));
        let name = |local: &str| format!("{local}@{domain}").to_ascii_lowercase();
        let whole = name(local);
        let in_folder = || {
            let (local, folder) = local.split_once('+')?;
            let folder = Folder::from_name(folder)?;
            let (user, mailbox, check) = self.account(&name(local))?;
            Some((user, mailbox.in_folder(folder), check))
        };
        let upgrades = self.sources.as_ref().is_some_and(|sources| !sources.keep_hashes);
        match self.account(&whole).or_else(in_folder) {
            Some((user, mailbox, check)) => Credential { user, mailbox: Some(mailbox), check, upgrades },
            None => Credential { user: whole, mailbox: None, check: Check::RejectAll, upgrades },
        }
    }

    /// The name, mailbox and credential of the account with that address. None if the account is disabled.
    fn account(&self, address: &str) -> Option<(String, Mailbox, Check)> {
        match &self.users {
            Users::Listed(table) => {
                let (name, user) = table.user(address).filter(|(_, user)| !user.disabled)?;
                Some((name.clone(), user.mailbox.clone(), Check::Hash(user.hash.clone())))
            }
            Users::AcceptAll { any_domain } => {
                let guest = Address::parse(address).ok().filter(|guest| !guest.local().contains('+'))?;
                if !any_domain && self.is_foreign(&guest) {
                    return None;
                }
                Some((address.to_owned(), self.accept_all_destination(&guest)?.mailbox, Check::AcceptAny))
            }
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

    /// Whether an address has a domain that is not one of ours.
    fn is_foreign(&self, address: &Address) -> bool {
        address.domain().is_some_and(|domain| !self.domains.iter().any(|ours| ours == domain))
    }

    fn first_domain(&self) -> &str {
        self.domains.first().map_or("localhost", String::as_str)
    }

    /// The mailbox of an address in an open house: in lower case, with the folder of its `+tag`.
    fn accept_all_destination(&self, address: &Address) -> Option<Destination> {
        let (user, tag) = address.local().split_once('+').unwrap_or((address.local(), ""));
        let domain = address.domain().unwrap_or(self.first_domain());
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+=-".contains(&b);
        if user.is_empty() || !address.local().bytes().all(plain) {
            return None;
        }
        let mailbox = Mailbox::named(&account::lookup_key(user, domain))?;
        Some(Destination { mailbox, folder: Folder::from_name(tag) })
    }
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
            None if address.local().eq_ignore_ascii_case(table::POSTMASTER) => self.first_domain(),
            None => return Lookup::Unknown,
        };
        match table.lookup(address.local(), domain, self.first_domain()) {
            Some(destinations) if !destinations.is_empty() => Lookup::Local(destinations),
            _ => Lookup::Unknown,
        }
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

    fn wants_sent_copy(&self, user: &Mailbox) -> bool {
        match &self.users {
            Users::Listed(table) => table.sent_copy(&user.clone().without_folder()),
            Users::AcceptAll { .. } => true,
        }
    }
}

/// A name for a new account: a whole address in one of our domains, returned in lower case.
pub fn account_name(text: &str, domains: &[String]) -> Result<String, Error> {
    let bad = |why: String| Err(Error::Name(format!("{text:?} cannot be the name of an account: {why}")));
    let Ok(address) = Address::parse(text) else {
        return bad("it is not a mail address".into());
    };
    match address.domain() {
        None => return bad(format!("write the whole address, like {text}@{}", domains.join(" or @"))),
        Some(domain) if !domains.iter().any(|ours| ours == domain) => {
            return bad(format!("mail is taken for {} only", domains.join(", ")));
        }
        Some(_) => {}
    }
    let name = text.to_ascii_lowercase();
    if Mailbox::named(&name).is_none() {
        return bad("it may have a-z, 0-9 and . _ + - = before the @, and not begin with . or -".into());
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
