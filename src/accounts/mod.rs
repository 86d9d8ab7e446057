//! Who has a mailbox here, and how they prove it.
//!
//! The table is read once, looked into on the loop thread, and never waits for a disk. What burns a CPU,
//! checking a password, is a [`Credential`] that goes to a worker. The rule: from outside, a user that does
//! not exist and a password that is wrong look the same and take the same time.

mod error;
mod file;
mod password;

use std::{collections::BTreeMap, fmt, path::Path};

use crate::proto::{
    ask::{Directory, Lookup, Mailbox},
    folder::Folder,
    smtp::address::Address,
};
pub use error::Error;
pub use file::{Account, UserFile};
pub use password::hash;
use password::{Answer, Stored};

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

#[derive(Clone)]
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
        let users = users.flatten().collect(); // invariant: none is left out, UserFile has checked the inboxes
        Ok(Self { domains: domains.to_vec(), users: Users::Listed(users) })
    }

    /// For development: every address has a mailbox if [`Mailbox::named`] accepts its name, and any password
    /// is right. An address without a domain is in the first of `domains`.
    pub fn open_house(domains: &[String]) -> Self {
        Self { domains: domains.to_vec(), users: Users::Everybody }
    }

    /// What it takes to check a password of this user, who need not exist: to be sent to a worker. A name
    /// without a domain is one in our first domain. `bob+Sent` opens the folder `Sent` of bob with bob's
    /// password, if there is no account of that whole name.
    pub fn credential(&self, user: &str) -> Credential {
        let (local, domain) = user.rsplit_once('@').unwrap_or((user, self.first_domain()));
        let name = |local: &str| format!("{local}@{domain}").to_ascii_lowercase();
        let whole = name(local);
        let in_folder = || {
            let (local, folder) = local.split_once('+')?;
            let folder = Folder::named(folder)?;
            let user = name(local);
            let (mailbox, check) = self.account(&user)?;
            Some((user, mailbox.in_folder(folder), check))
        };
        let known = self.account(&whole).map(|(mailbox, check)| (whole.clone(), mailbox, check));
        match known.or_else(in_folder) {
            Some((user, mailbox, check)) => Credential { user, mailbox: Some(mailbox), check },
            None => Credential { user: whole, mailbox: None, check: Check::Nothing },
        }
    }

    /// The mailbox of an account of that whole name, and how to check who opens it.
    fn account(&self, user: &str) -> Option<(Mailbox, Check)> {
        match &self.users {
            Users::Listed(users) => {
                let User { mailbox, hash } = users.get(user)?.clone();
                Some((mailbox, Check::Hash(hash)))
            }
            Users::Everybody => {
                let address = Address::parse(user).ok().filter(|address| !address.local().contains('+'))?;
                Some((self.guest(&address)?, Check::Anything))
            }
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
        found.map_or(Lookup::Unknown, Lookup::to)
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
    /// The hash that the password is checked against; empty where there is none.
    pub fn hash_on_file(&self) -> &str {
        match &self.check {
            Check::Hash(hash) => hash,
            Check::Anything | Check::Nothing => "",
        }
    }

    /// Checks a password. Wrong ones, and those of users who do not exist, take as long as right ones.
    pub fn verify(&self, password: &[u8]) -> Verdict {
        let (mailbox, old) = match (&self.mailbox, &self.check) {
            (Some(mailbox), Check::Anything) => return Verdict::Right(mailbox.clone()),
            (Some(mailbox), Check::Hash(hash)) => (mailbox.clone(), hash),
            (None, _) | (_, Check::Nothing) => {
                password::spend(password);
                return Verdict::Wrong;
            }
        };
        match old.parse().unwrap_or(Stored::Locked).verify(password) {
            Answer::Wrong => Verdict::Wrong,
            Answer::Right => Verdict::Right(mailbox),
            Answer::RightButOld(hash) => Verdict::RightUpgraded { mailbox, user: self.user.clone(), hash },
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

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(file: &str) -> Accounts {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        std::fs::write(&path, file).unwrap();
        Accounts::load(&path, &["example.test".into(), "second.test".into()]).unwrap()
    }

    /// The password of everybody is "sesame".
    const MD5: &str = r#""password_hash": "c8dae1c50e092f3d877192fc555b1dcf""#;

    fn people() -> Accounts {
        accounts(&format!(
            r#"{{"Bob@example.test": {{{MD5}}}, "alice@example.test": {{{MD5}}},
                 "bob+x@example.test": {{{MD5}, "inbox": "bobs-x"}}, "carl@second.test": {{{MD5}}},
                 "old@gone.test": {{{MD5}}}}}"#
        ))
    }

    fn lookup(accounts: &Accounts, address: &str) -> String {
        match accounts.lookup(&Address::parse(address).unwrap()) {
            Lookup::Local(to) => to.iter().map(|to| to.mailbox.to_string()).collect(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn addresses_are_found_without_regard_to_case_or_tag() {
        let accounts = people();
        for (address, mailbox) in [
            ("bob@example.test", "bob@example.test"),
            ("BOB@Example.Test", "bob@example.test"),
            ("bob+anything!@example.test", "bob@example.test"),
            ("bob+x@example.test", "bobs-x"),
            ("bob+x+y@example.test", "bob@example.test"),
            ("carl@second.test", "carl@second.test"),
            ("carl@example.test", "Unknown"),
            ("+bob@example.test", "Unknown"),
            ("\"bob@example.test\"@example.test", "Unknown"),
            ("bob", "Unknown"),
            ("bob@far.test", "Foreign"),
            ("bob@sub.example.test", "Foreign"),
            ("bob@[127.0.0.1]", "Foreign"),
            ("old@gone.test", "Foreign"),
        ] {
            assert_eq!(lookup(&accounts, address), mailbox, "{address}");
        }
    }

    #[test]
    fn mail_for_postmaster_always_arrives() {
        let ways = ["postmaster", "PostMaster@example.test", "postmaster@second.test"];
        for (users, mailboxes) in [
            (&["bob@example.test", "alice@example.test"][..], ["alice@example.test"; 3]),
            (&["alice@example.test", "postmaster@example.test"], ["postmaster@example.test"; 3]),
            (
                &["postmaster@example.test", "postmaster@second.test"],
                ["postmaster@example.test", "postmaster@example.test", "postmaster@second.test"],
            ),
            (&[], ["Unknown"; 3]),
        ] {
            let entries: Vec<_> = users.iter().map(|user| format!("{user:?}: {{{MD5}}}")).collect();
            let accounts = accounts(&format!("{{{}}}", entries.join(",")));
            assert_eq!(ways.map(|way| lookup(&accounts, way)), mailboxes, "{users:?}");
        }
        assert_eq!(lookup(&people(), "postmaster@far.test"), "Foreign");
    }

    #[test]
    fn in_an_open_house_every_plain_name_has_a_mailbox() {
        let accounts = Accounts::open_house(&["localhost".into()]);
        for (address, mailbox) in [
            ("Who@Ever.test", "who@ever.test"),
            ("who+tag@ever.test", "who@ever.test"),
            ("who", "who@localhost"),
            ("postmaster", "postmaster@localhost"),
            ("a_b=c-d.e@x", "a_b=c-d.e@x"),
            ("+tag@ever.test", "Unknown"),
            ("-rf@ever.test", "Unknown"),
            ("\".hidden\"@ever.test", "Unknown"),
            ("\"../x\"@ever.test", "Unknown"),
            ("\"a@b\"@ever.test", "Unknown"),
            ("o'brien@ever.test", "Unknown"),
            ("who+ta/g@ever.test", "Unknown"),
            ("who@[127.0.0.1]", "Unknown"),
        ] {
            assert_eq!(lookup(&accounts, address), mailbox, "{address}");
        }
    }

    #[test]
    fn in_an_open_house_any_password_opens_the_mailbox_that_mail_goes_to() {
        let accounts = Accounts::open_house(&["localhost".into()]);
        for (user, mailbox) in [("Who@Ever.test", "who@ever.test"), ("who", "who@localhost")] {
            let credential = accounts.credential(user);
            assert_eq!(credential.verify(b""), Verdict::Right(Mailbox::named(mailbox).unwrap()), "{user}");
        }
        assert_eq!(accounts.credential("../who@ever.test").verify(b"x"), Verdict::Wrong);
        assert_eq!(accounts.credential("").verify(b"x"), Verdict::Wrong);
    }

    #[test]
    fn a_folder_is_opened_with_the_password_of_its_owner() {
        let opened = |accounts: &Accounts, user: &str| match accounts.credential(user).verify(b"sesame") {
            Verdict::Right(mailbox) | Verdict::RightUpgraded { mailbox, .. } => mailbox.to_string(),
            Verdict::Wrong => "wrong".into(),
        };
        let (listed, everybody) = (people(), Accounts::open_house(&["localhost".into()]));
        for (user, mailbox) in [
            ("bob+Sent@example.test", "bob@example.test/.Sent"),
            ("BOB+Sent", "bob@example.test/.Sent"),
            ("bob+Archive.2026", "bob@example.test/.Archive.2026"),
            ("bob+Entwürfe", "bob@example.test/.Entw&APw-rfe"),
            ("bob+x@example.test", "bobs-x"), // an account of its own
            ("bob+X", "bobs-x"),
            ("carl+a+b@Second.test", "carl@second.test/.a+b"),
        ] {
            assert_eq!(opened(&listed, user), mailbox, "{user}");
        }
        for user in ["bob+", "bob+..", "bob+../alice@example.test", "bob+.Sent", "+Sent", "nobody+Sent"] {
            assert_eq!(opened(&listed, user), "wrong", "{user}");
            assert_eq!(listed.credential(user).mailbox, None, "{user}");
        }
        assert_eq!(opened(&everybody, "who+Sent@Ever.test"), "who@ever.test/.Sent");
        assert_eq!(listed.credential("bob+Sent").verify(b"Sesame"), Verdict::Wrong);
        assert_eq!(listed.credential("bob+Sent").user, "bob@example.test");
    }

    #[test]
    fn an_old_hash_is_upgraded_once() {
        let mut accounts = people();
        let bob = Mailbox::named("bob@example.test").unwrap();
        for user in ["bob@example.test", "BOB@example.test", "bob"] {
            assert_eq!(accounts.credential(user).verify(b"Sesame"), Verdict::Wrong, "{user}");
        }
        let credential = accounts.credential("Bob");
        assert_eq!(credential.hash_on_file(), "c8dae1c50e092f3d877192fc555b1dcf");
        let verdict = credential.verify(b"sesame");
        let Verdict::RightUpgraded { mailbox, user, hash } = verdict else { panic!("{verdict:?}") };
        assert_eq!((&mailbox, &*user), (&bob, "bob@example.test"));
        accounts.learn(&user, hash);
        assert_eq!(accounts.credential("bob").verify(b"sesame"), Verdict::Right(bob));
        assert_eq!(accounts.credential("bob").verify(b"Sesame"), Verdict::Wrong);
    }

    #[test]
    fn users_who_do_not_exist_are_checked_and_refused() {
        let accounts = people();
        for user in ["nobody@example.test", "carl", "nobody+tag@example.test", "../bob@example.test", "", "@"]
        {
            let credential = accounts.credential(user);
            assert_eq!(credential.mailbox, None, "{user}");
            assert_eq!(credential.verify(b"sesame"), Verdict::Wrong, "{user}");
        }
    }

    #[test]
    fn hashes_do_not_print() {
        let accounts = people();
        for printed in [format!("{accounts:?}"), format!("{:?}", accounts.credential("bob"))] {
            assert!(printed.contains("bob@example.test") && !printed.contains("c8dae1"), "{printed}");
        }
    }

    #[test]
    fn a_new_account_needs_a_whole_address_of_ours_that_can_be_a_mailbox() {
        let ours = ["example.test".to_owned(), "second.test".to_owned()];
        assert_eq!(name("New.User+x@Second.test", &ours).unwrap(), "new.user+x@second.test");
        for (bad, why) in [
            ("new", "new@example.test or @second.test"),
            ("new@far.test", "example.test, second.test only"),
            ("new@", "not a mail address"),
            ("a@b@example.test", "not a mail address"),
            ("a/b@example.test", "may have a-z"),
            ("../new@example.test", "not a mail address"),
            ("o'brien@example.test", "may have a-z"),
            ("-rf@example.test", "not begin with"),
        ] {
            let error = name(bad, &ours).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains(why), "{error}");
        }
    }
}
