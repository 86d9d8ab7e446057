//! Recently checked right passwords, so that a client that checks its mail every few seconds does not cost an Argon2
//! each time.
//!
//! The rule: a stored mark is a hash with a key that only this process has and that dies with it. It covers the stored
//! hash, too, so an account that has changed no longer matches.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use blake2::{
    Blake2sMac256,
    digest::{KeyInit, Mac},
};

use super::Credential;
use crate::{capacity::Shrinker, proto::request::Secret};

/// A keyed hash of a user, its stored hash and a password. A comparison of two may take a time that depends on their
/// difference, because this reveals nothing without the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark([u8; 32]);

#[cfg(test)]
impl Mark {
    /// A mark that differs from those of other numbers.
    pub(super) fn of_number(n: u64) -> Self {
        let mut octets = [0; 32];
        octets[..8].copy_from_slice(&n.to_le_bytes());
        Self(octets)
    }
}

/// The marks of right passwords.
pub struct Memory {
    blank: Blake2sMac256,
    span: Duration,
    most: usize,
    known: HashSet<Mark>,
    /// The expiry of each mark, earliest first.
    ends: VecDeque<(Duration, Mark)>,
}

impl Memory {
    /// Remembers at most `most` passwords, each for that long. The key is random.
    pub fn new(key: &[u8; 32], span: Duration, most: usize) -> Self {
        Self {
            blank: Blake2sMac256::new(key.into()),
            span,
            most,
            known: HashSet::new(),
            ends: VecDeque::new(),
        }
    }

    /// Changes the span or the number of passwords. All marks are dropped then.
    pub fn follow(&mut self, span: Duration, most: usize) {
        if (span, most) != (self.span, self.most) {
            (self.span, self.most) = (span, most);
            self.known.clear();
            self.ends.clear();
        }
    }

    /// The mark of a password.
    pub fn mark(&self, credential: &Credential, password: &Secret) -> Mark {
        let mut mac = self.blank.clone();
        for part in [credential.user.as_bytes(), credential.hash_on_file().as_bytes(), password.reveal()] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        Mark(mac.finalize().into_bytes().into())
    }

    /// Whether that password was right recently, and the account has not changed since.
    pub fn knows(&mut self, mark: &Mark, now: Duration) -> bool {
        self.forget(now);
        self.known.contains(mark)
    }

    /// Remembers a right password.
    pub fn learn(&mut self, mark: Mark, now: Duration) {
        self.forget(now);
        if self.span.is_zero() || !self.known.insert(mark) {
            return;
        }
        self.ends.push_back((now + self.span, mark));
        if self.ends.len() > self.most {
            self.forget_first();
        }
    }

    /// Gives back room for passwords that are forgotten.
    pub(crate) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.known).shrink(&mut self.ends);
    }

    fn forget(&mut self, now: Duration) {
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, mark)) = self.ends.pop_front() {
            self.known.remove(&mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::credential::Check, *};

    const NOW: Duration = Duration::from_secs(1000);

    fn credential(user: &str, hash: &str) -> Credential {
        Credential { user: user.into(), mailbox: None, check: Check::Hash(hash.into()) }
    }

    fn memory(key: u8, most: usize) -> Memory {
        Memory::new(&[key; 32], Duration::from_secs(300), most)
    }

    #[test]
    fn a_password_is_known_for_a_while_until_the_account_changes() {
        let mut memory = memory(1, 10);
        let sesame = Secret::new("sesame");
        let mark = memory.mark(&credential("ann", "hash"), &sesame);
        assert!(!memory.knows(&mark, NOW));
        memory.learn(mark, NOW);
        memory.learn(mark, NOW + Duration::from_secs(200));
        assert!(memory.knows(&mark, NOW + Duration::from_secs(299)));
        for (user, hash, password) in [
            ("ann", "hash", "Sesame"),
            ("ann", "other", "sesame"),
            ("bob", "hash", "sesame"),
            ("annh", "ash", "sesame"),
        ] {
            let other = memory.mark(&credential(user, hash), &Secret::new(password));
            assert!(!memory.knows(&other, NOW), "{user} {hash} {password}");
        }
        assert!(!memory.knows(&mark, NOW + Duration::from_secs(300)));
        assert_ne!(mark, super::tests::memory(2, 10).mark(&credential("ann", "hash"), &sesame));
    }

    #[test]
    fn when_it_is_full_the_oldest_goes() {
        let mut memory = memory(1, 2);
        let marks = ["a", "b", "c"].map(|user| memory.mark(&credential(user, "hash"), &Secret::new("x")));
        marks.iter().for_each(|mark| memory.learn(*mark, NOW));
        assert_eq!(marks.map(|mark| memory.knows(&mark, NOW)), [false, true, true]);
        let mut none = Memory::new(&[1; 32], Duration::ZERO, 2);
        none.learn(marks[0], NOW);
        assert!(!none.knows(&marks[0], NOW));
    }
}
