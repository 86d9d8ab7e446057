//! Recently checked right passwords, so that a client that checks its mail every few seconds does not cost an Argon2
//! each time.
//!
//! The rule: the cache holds keyed hashes and no passwords. Only this process has the hash key, which dies with it. A
//! cached hash covers the hash in the accounts too, so after a change of the account it no longer matches.

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
/// difference, because this reveals nothing without the hash key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; 32]);

#[cfg(test)]
impl CacheKey {
    /// A different key for each number.
    pub(super) fn of_number(n: u64) -> Self {
        let mut octets = [0; 32];
        octets[..8].copy_from_slice(&n.to_le_bytes());
        Self(octets)
    }
}

/// The keys of right passwords.
pub struct AuthCache {
    hasher: Blake2sMac256,
    ttl: Duration,
    capacity: usize,
    entries: HashSet<CacheKey>,
    /// The expiry of each key, earliest first.
    expiry: VecDeque<(Duration, CacheKey)>,
}

impl AuthCache {
    /// Remembers at most `most` passwords, each for `span`. `hash_key` must be random.
    pub fn new(hash_key: &[u8; 32], span: Duration, most: usize) -> Self {
        Self {
            hasher: Blake2sMac256::new(hash_key.into()),
            ttl: span,
            capacity: most,
            entries: HashSet::new(),
            expiry: VecDeque::new(),
        }
    }

    /// Changes the span or the number of passwords. All keys are dropped then.
    pub fn reconfigure(&mut self, span: Duration, most: usize) {
        if (span, most) != (self.ttl, self.capacity) {
            (self.ttl, self.capacity) = (span, most);
            self.entries.clear();
            self.expiry.clear();
        }
    }

    /// The cache key of a user's password.
    pub fn key(&self, credential: &Credential, password: &Secret) -> CacheKey {
        let mut mac = self.hasher.clone();
        for part in [credential.user.as_bytes(), credential.hash_on_file().as_bytes(), password.reveal()] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        CacheKey(mac.finalize().into_bytes().into())
    }

    /// Whether that password was right recently, and the account has not changed since.
    pub fn contains(&mut self, key: &CacheKey, now: Duration) -> bool {
        self.evict_expired(now);
        self.entries.contains(key)
    }

    /// Remembers a right password until its time to live is over.
    pub fn insert(&mut self, key: CacheKey, now: Duration) {
        self.evict_expired(now);
        if self.ttl.is_zero() || !self.entries.insert(key) {
            return;
        }
        self.expiry.push_back((now + self.ttl, key));
        if self.expiry.len() > self.capacity {
            self.evict_oldest();
        }
    }

    /// Gives back room for passwords that are forgotten.
    pub(crate) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.entries).shrink(&mut self.expiry);
    }

    fn evict_expired(&mut self, now: Duration) {
        while self.expiry.front().is_some_and(|(end, _)| *end <= now) {
            self.evict_oldest();
        }
    }

    fn evict_oldest(&mut self) {
        if let Some((_, key)) = self.expiry.pop_front() {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::credential::Check, *};

    const NOW: Duration = Duration::from_secs(1000);

    fn credential(user: &str, hash: &str) -> Credential {
        Credential { user: user.into(), mailbox: None, check: Check::Hash(hash.into()), upgrades: true }
    }

    fn memory(hash_key: u8, most: usize) -> AuthCache {
        AuthCache::new(&[hash_key; 32], Duration::from_secs(300), most)
    }

    #[test]
    fn a_password_is_known_for_a_while_until_the_account_changes() {
        let mut memory = memory(1, 10);
        let sesame = Secret::new("sesame");
        let key = memory.key(&credential("ann", "hash"), &sesame);
        assert!(!memory.contains(&key, NOW));
        memory.insert(key, NOW);
        memory.insert(key, NOW + Duration::from_secs(200));
        assert!(memory.contains(&key, NOW + Duration::from_secs(299)));
        for (user, hash, password) in [
            ("ann", "hash", "Sesame"),
            ("ann", "other", "sesame"),
            ("bob", "hash", "sesame"),
            ("annh", "ash", "sesame"),
        ] {
            let other = memory.key(&credential(user, hash), &Secret::new(password));
            assert!(!memory.contains(&other, NOW), "{user} {hash} {password}");
        }
        assert!(!memory.contains(&key, NOW + Duration::from_secs(300)));
        assert_ne!(key, super::tests::memory(2, 10).key(&credential("ann", "hash"), &sesame));
    }

    #[test]
    fn when_it_is_full_the_oldest_goes() {
        let mut memory = memory(1, 2);
        let keys = ["a", "b", "c"].map(|user| memory.key(&credential(user, "hash"), &Secret::new("x")));
        keys.iter().for_each(|key| memory.insert(*key, NOW));
        assert_eq!(keys.map(|key| memory.contains(&key, NOW)), [false, true, true]);
        let mut none = AuthCache::new(&[1; 32], Duration::ZERO, 2);
        none.insert(keys[0], NOW);
        assert!(!none.contains(&keys[0], NOW));
    }
}
