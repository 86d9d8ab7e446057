//! What it takes to check a password, and what comes of it.

use std::fmt;

use super::{
    Scratch,
    password::{self, Answer, Stored},
};
use crate::proto::ask::Mailbox;

/// What it takes to check the password of one user, existing or not. Checking takes a CPU for a while:
/// that is for a worker.
#[derive(Clone)]
pub struct Credential {
    /// The whole name of the account, in lower case; where there is none, of the user who was asked for.
    pub user: String,
    /// The mailbox that the password opens; `None` for a user who does not exist or may not log in.
    pub mailbox: Option<Mailbox>,
    pub(super) check: Check,
}

#[derive(Clone)]
pub(super) enum Check {
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
    /// [`super::UserFile::replace_hash`] and [`super::Accounts::learn`].
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
    pub fn verify(&self, password: &[u8], scratch: &mut Scratch) -> Verdict {
        let (mailbox, old) = match (&self.mailbox, &self.check) {
            (Some(mailbox), Check::Anything) => return Verdict::Right(mailbox.clone()),
            (Some(mailbox), Check::Hash(hash)) => (mailbox.clone(), hash),
            (None, _) | (_, Check::Nothing) => {
                password::spend(password, scratch);
                return Verdict::Wrong;
            }
        };
        match old.parse().unwrap_or(Stored::Locked).verify(password, scratch) {
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
