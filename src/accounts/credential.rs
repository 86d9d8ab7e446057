//! A password check for a worker, and its result.

use std::fmt;

use super::{
    HashMemory,
    password::{self, HashMatch, StoredHash},
};
use crate::proto::request::Mailbox;

/// The data for checking the password of one user, existing or not. The check takes CPU time, so a worker does it.
#[derive(Clone)]
pub struct Credential {
    /// The whole name of the account, in lower case; without an account, that of the requested user.
    pub user: String,
    /// The mailbox that the password opens; `None` if the user does not exist or may not log in.
    pub mailbox: Option<Mailbox>,
    pub(super) check: Check,
    /// Whether a hash of an old kind is replaced.
    pub(super) upgrades: bool,
}

#[derive(Clone)]
pub(super) enum Check {
    Hash(String),
    AcceptAny,
    RejectAll,
}

/// The result of a password check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The password is wrong, or the user does not exist.
    Wrong,
    /// The password is right, and opens this mailbox.
    Right(Mailbox),
    /// It opens this mailbox, and the stored hash was of an old kind. The new hash is for
    /// [`super::UserFile::replace_hash`] and [`super::Accounts::update_hash`].
    RightUpgraded {
        /// The mailbox that the password opens.
        mailbox: Mailbox,
        /// The user, as in [`Credential::user`].
        user: String,
        /// The hash that the password was checked against.
        old_hash: String,
        /// The hash of the same password that is on file now.
        hash: String,
    },
}

impl Credential {
    /// The stored hash; empty if there is none.
    pub fn hash_on_file(&self) -> &str {
        match &self.check {
            Check::Hash(hash) => hash,
            Check::AcceptAny | Check::RejectAll => "",
        }
    }

    /// Checks a password. Wrong ones, and those of users who do not exist, take as long as right ones.
    pub fn verify(&self, password: &[u8], scratch: &mut HashMemory) -> Verdict {
        let (mailbox, old) = match (&self.mailbox, &self.check) {
            (Some(mailbox), Check::AcceptAny) => return Verdict::Right(mailbox.clone()),
            (Some(mailbox), Check::Hash(hash)) => (mailbox.clone(), hash),
            (None, _) | (_, Check::RejectAll) => {
                password::dummy_verify(password, scratch);
                return Verdict::Wrong;
            }
        };
        match old.parse().unwrap_or(StoredHash::Locked).verify(password, scratch) {
            HashMatch::Wrong => Verdict::Wrong,
            HashMatch::Right => Verdict::Right(mailbox),
            HashMatch::NeedsUpgrade(_) if !self.upgrades => Verdict::Right(mailbox),
            HashMatch::NeedsUpgrade(hash) => {
                Verdict::RightUpgraded { mailbox, user: self.user.clone(), old_hash: old.clone(), hash }
            }
        }
    }

    /// Checks a password that was right against the hash that is on file by now, because another program has replaced the one of
    /// this credential: a second server of the spool, or `restante user passwd`.
    pub fn verify_replaced(&self, on_file: String, password: &[u8], scratch: &mut HashMemory) -> Verdict {
        let (Some(mailbox), hash) = (self.mailbox.clone(), on_file) else { return Verdict::Wrong };
        match hash.parse().unwrap_or(StoredHash::Locked).verify(password, scratch) {
            HashMatch::Wrong => Verdict::Wrong,
            HashMatch::Right | HashMatch::NeedsUpgrade(_) => {
                let old_hash = self.hash_on_file().to_owned();
                Verdict::RightUpgraded { mailbox, user: self.user.clone(), old_hash, hash }
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
