//! Who has a mailbox here, and how they prove it.
//!
//! The table is read once, looked into on the loop thread, and never waits for a disk. What burns a CPU,
//! checking a password, is a [`Credential`] that goes to a worker. The rule: from outside, a user that does
//! not exist and a password that is wrong look the same and take the same time.

mod file;
mod password;

use std::{collections::BTreeMap, fmt, path::Path};

use crate::proto::{
    ask::{Directory, Lookup, Mailbox},
    smtp::address::Address,
};
pub use file::{Account, Error, UserFile};
use password::Stored;
pub use password::hash;

/// The users of this server, in memory.
#[derive(Debug)]
pub struct Accounts {
    domains: Vec<String>,
    users: Users,
}

#[derive(Debug)]
enum Users {
    /// Those of the file, by their address in lower case.
    Listed(BTreeMap<String, User>),
    /// Everybody, with any password.
    Everybody,
}

struct User {
    mailbox: Mailbox,
    hash: String,
}

impl Accounts {
    /// Reads the file of accounts. `domains` are ours, in lower case; the first one is meant where a user or
    /// a sender leaves the domain out.
    pub fn load(path: &Path, domains: &[String]) -> Result<Self, Error> {
        let users = UserFile::at(path).users()?.into_iter().map(|(name, account)| {
            let mailbox = account.mailbox(&name)?;
            Some((name, User { mailbox, hash: account.password_hash }))
        });
        let users = users.flatten().collect(); // invariant: what UserFile reads has an inbox
        Ok(Self { domains: domains.to_vec(), users: Users::Listed(users) })
    }

    /// For development: every address has a mailbox if [`Mailbox::named`] accepts its name, and any password
    /// is right. An address without a domain is in the first of `domains`.
    pub fn open_house(domains: &[String]) -> Self {
        Self { domains: domains.to_vec(), users: Users::Everybody }
    }

    /// What it takes to check a password of this user, who need not exist: to be sent to a worker.
    pub fn credential(&self, user: &str) -> Credential {
        let mut user = user.to_ascii_lowercase();
        if !user.contains('@') {
            user = format!("{user}@{}", self.first_domain());
        }
        let known = match &self.users {
            Users::Listed(users) => {
                users.get(&user).map(|known| (known.mailbox.clone(), Check::Hash(known.hash.clone())))
            }
            Users::Everybody => Address::parse(&user)
                .ok()
                .and_then(|address| self.guest(&address))
                .map(|mailbox| (mailbox, Check::Anything)),
        };
        match known {
            Some((mailbox, check)) => Credential { user, mailbox: Some(mailbox), check },
            None => Credential { user, mailbox: None, check: Check::Nothing },
        }
    }

    /// Takes the new hash of a user whose old one was upgraded.
    pub fn learn(&mut self, user: &str, hash: String) {
        if let Users::Listed(users) = &mut self.users
            && let Some(known) = users.get_mut(user)
        {
            known.hash = hash;
        }
    }

    /// How many accounts there are; `None` in an open house.
    pub fn count(&self) -> Option<usize> {
        match &self.users {
            Users::Listed(users) => Some(users.len()),
            Users::Everybody => None,
        }
    }

    fn first_domain(&self) -> &str {
        self.domains.first().map_or("localhost", String::as_str)
    }

    /// The mailbox of an address in an open house: without its `+tag`, in lower case.
    fn guest(&self, address: &Address) -> Option<Mailbox> {
        let local = address.local().to_ascii_lowercase();
        let domain = address.domain().unwrap_or(self.first_domain());
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._+=-".contains(&b);
        let user = untagged(&local);
        if user.is_empty() || !local.bytes().all(plain) {
            return None;
        }
        Mailbox::named(&format!("{user}@{domain}"))
    }

    /// The mailbox of an address, if there is an account for it: under its own name, else without its `+tag`.
    /// Mail for postmaster must always arrive (RFC 5321 section 4.5.1): where no account has that name, it
    /// goes to postmaster at the first domain, else to the first account of the alphabet.
    fn listed<'a>(
        &self,
        users: &'a BTreeMap<String, User>,
        local: &str,
        domain: &str,
    ) -> Option<&'a Mailbox> {
        let find = |local: &str, domain: &str| users.get(&format!("{local}@{domain}"));
        let local = local.to_ascii_lowercase();
        let mut user = find(&local, domain).or_else(|| find(untagged(&local), domain));
        if local == POSTMASTER {
            let first = || users.values().next();
            user = user.or_else(|| find(POSTMASTER, self.first_domain())).or_else(first);
        }
        user.map(|user| &user.mailbox)
    }
}

impl Directory for Accounts {
    fn lookup(&self, address: &Address) -> Lookup {
        let found = match (&self.users, address.domain()) {
            (Users::Everybody, _) => self.guest(address),
            (Users::Listed(_), Some(domain)) if !self.domains.iter().any(|ours| ours == domain) => {
                return Lookup::Foreign;
            }
            (Users::Listed(users), Some(domain)) => self.listed(users, address.local(), domain).cloned(),
            (Users::Listed(users), None) if address.local().eq_ignore_ascii_case(POSTMASTER) => {
                self.listed(users, POSTMASTER, self.first_domain()).cloned()
            }
            (Users::Listed(_), None) => None,
        };
        found.map_or(Lookup::Unknown, Lookup::Local)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}

/// What it takes to check the password of one user, existing or not. Checking takes a CPU for a while:
/// that is for a worker.
#[derive(Clone)]
pub struct Credential {
    /// The whole name of the user, in lower case.
    pub user: String,
    /// The mailbox that the password opens; `None` for a user who does not exist.
    pub mailbox: Option<Mailbox>,
    check: Check,
}

#[derive(Clone)]
enum Check {
    Hash(String),
    Anything,
    Nothing,
}

/// What became of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is wrong, or there is no such user.
    Wrong,
    /// It opens this mailbox.
    Right(Mailbox),
    /// It opens this mailbox, and the hash on file was of an old kind: here is a better one to keep, by
    /// [`UserFile::replace_hash`] and [`Accounts::learn`].
    RightUpgraded {
        /// The mailbox.
        mailbox: Mailbox,
        /// The user, as in [`Credential::user`].
        user: String,
        /// The new hash.
        hash: String,
    },
}

impl Credential {
    /// The hash on file that the password is checked against; empty where there is none.
    pub fn hash_on_file(&self) -> &str {
        match &self.check {
            Check::Hash(hash) => hash,
            Check::Anything | Check::Nothing => "",
        }
    }

    /// Checks a password. Wrong ones, and those of users who do not exist, take as long as right ones.
    pub fn verify(&self, password: &[u8]) -> Verdict {
        let stored = match &self.check {
            Check::Anything => return self.mailbox.clone().map_or(Verdict::Wrong, Verdict::Right),
            Check::Hash(hash) => hash.parse().unwrap_or(Stored::Locked),
            Check::Nothing => Stored::Locked,
        };
        let answer = stored.verify(password);
        match (&self.mailbox, answer) {
            (None, _) | (_, password::Answer::Wrong) => Verdict::Wrong,
            (Some(mailbox), password::Answer::Right) => Verdict::Right(mailbox.clone()),
            (Some(mailbox), password::Answer::RightButOld(hash)) => {
                Verdict::RightUpgraded { mailbox: mailbox.clone(), user: self.user.clone(), hash }
            }
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("user", &self.user)
            .field("mailbox", &self.mailbox)
            .finish_non_exhaustive()
    }
}

/// A name for a new account: a whole address in one of our domains, returned in lower case.
pub fn name(text: &str, domains: &[String]) -> Result<String, Error> {
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

fn untagged(local: &str) -> &str {
    local.split('+').next().unwrap_or(local)
}

const POSTMASTER: &str = "postmaster";
