//! Throttling of failed logins, by address and by user.
//!
//! The rules: a password counts as wrong from the moment its check begins until it proves right, so neither hanging up
//! nor asking on many connections at once gains a guess. A right password removes the failures of that user from that
//! address, and no others. An address that has logged in as a user before has its own count for that user, which no
//! stranger can fill. Clients on this machine never wait.

mod counts;
mod failures;

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use super::auth_cache::CacheKey;
use crate::{
    capacity::Shrinker,
    limits::{Limits, client_prefix},
};
use counts::Counts;
use failures::{Failures, Headroom, RateLimit};

/// Failed logins, and the addresses that users have logged in from.
pub struct AuthThrottle {
    delay: Duration,
    max_delay: Duration,
    /// In a minute and in a day, of one address or of one /64 of IPv6.
    per_prefix: [RateLimit; 2],
    /// Of one /48 of IPv6, which may have one owner.
    per_site: [RateLimit; 2],
    /// Of one user, from all addresses that have never logged in as that user.
    per_user: [RateLimit; 2],
    max_entries: usize,
    max_known: usize,
    /// Random, so that no peer can choose names that share a count.
    hasher: RandomState,
    failures: Counts<CounterKey>,
    known: HashMap<u64, Vec<KnownAddress>>,
    /// Those users by their last login.
    by_login: BTreeSet<(Duration, u64)>,
}

/// The addresses and users whose failures count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum CounterKey {
    Prefix(IpAddr),
    Site(Ipv6Addr),
    User(u64),
}

/// An address that a user has logged in from.
struct KnownAddress {
    from: IpAddr,
    last_login: Duration,
    failures: Failures,
}

/// The rank of an address at a login: smaller is better known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressReputation {
    /// That user has logged in from there before.
    Known,
    /// No password from there was wrong within a day.
    Clean,
    /// Some passwords from there were wrong.
    Suspect,
}

/// Whether a password may be checked.
#[derive(Debug, PartialEq, Eq)]
pub enum ThrottleDecision {
    /// It may, and counts as wrong from now on.
    Allow(Attempt),
    /// It must wait until one of the running checks has ended.
    Wait,
    /// It must wait for the end of a window.
    Block,
}

/// A password under check, which counts as wrong meanwhile; passwords from this machine are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt(Option<AttemptKey>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AttemptKey {
    from: IpAddr,
    user: u64,
    /// The key of this user at this address.
    address_and_user: u64,
    password_key: u64,
}

impl AuthThrottle {
    /// Starts without failures and without known addresses.
    pub fn new(limits: &Limits) -> Self {
        let bounds = |times: usize| {
            [(MINUTE, limits.auth.max_failures_per_minute), (DAY, limits.auth.max_failures_per_day)]
                .map(|(span, most)| RateLimit { window: span, max: most.saturating_mul(times) })
        };
        Self {
            delay: limits.auth.failure_delay.0,
            max_delay: limits.auth.max_failure_delay.0,
            per_prefix: bounds(1),
            per_site: bounds(SITE_FACTOR),
            per_user: [(HOUR, limits.auth.max_failures_per_user), (DAY, 0)]
                .map(|(span, most)| RateLimit { window: span, max: most }),
            max_entries: limits.auth.throttle_size,
            max_known: limits.auth.cache_size,
            hasher: RandomState::new(),
            failures: Counts::new(),
            known: HashMap::new(),
            by_login: BTreeSet::new(),
        }
    }

    /// Applies reloaded limits to the present failures.
    pub fn reconfigure(&mut self, limits: &Limits) {
        let Self { hasher, failures, known, by_login, .. } = std::mem::replace(self, Self::new(limits));
        (self.hasher, self.failures, self.known, self.by_login) = (hasher, failures, known, by_login);
    }

    /// Gives back room for failures that are forgotten.
    pub(crate) fn shrink(&mut self, shrinker: &mut Shrinker) {
        self.failures.shrink(shrinker);
        shrinker.shrink(&mut self.known);
    }

    /// The rank of that address for that user.
    pub fn reputation(&self, from: IpAddr, user: &str, now: Duration) -> AddressReputation {
        let Some(from) = throttled_prefix(from) else { return AddressReputation::Known };
        let failed =
            self.failures.get(&CounterKey::Prefix(from)).map_or(0, |failures| failures.count(now, DAY));
        match self.known.get(&self.hash_key(user)).and_then(|known| find_known(known, from)) {
            Some(_) => AddressReputation::Known,
            None if failed == 0 => AddressReputation::Clean,
            None => AddressReputation::Suspect,
        }
    }

    /// Whether a password may be checked now; if so, it counts as wrong from then on. The same wrong password again is
    /// no further guess.
    pub fn begin_attempt(
        &mut self,
        from: IpAddr,
        user: &str,
        password_key: &CacheKey,
        now: Duration,
    ) -> ThrottleDecision {
        let Some(from) = throttled_prefix(from) else { return ThrottleDecision::Allow(Attempt(None)) };
        let user = self.hash_key(user);
        let attempt = AttemptKey {
            from,
            user,
            address_and_user: self.hash_key(&(from, user)),
            password_key: self.hash_key(password_key),
        };
        let counts = self.counters(&attempt);
        let room = |count| {
            self.failures(&attempt, count)
                .map_or(Headroom::Available, |f| f.headroom(self.bounds(count), now))
        };
        match counts.clone().map(room).max() {
            Some(Headroom::Exhausted) => return ThrottleDecision::Block,
            Some(Headroom::PendingChecks) => return ThrottleDecision::Wait,
            Some(Headroom::Available) | None => {}
        }
        self.evict(now);
        for count in counts {
            let bounds = *self.bounds(count);
            let begin = |failures: &mut Failures| {
                failures.begin(attempt.address_and_user, attempt.password_key, &bounds, now)
            };
            match count {
                None => self.failures_mut(&attempt, None).into_iter().for_each(begin),
                Some(count) => self.failures.change(count, begin),
            }
        }
        ThrottleDecision::Allow(Attempt(Some(attempt)))
    }

    /// The password was wrong, or will never be checked. Returns the delay of the answer, counted from the question.
    pub fn record_failure(&mut self, attempt: Attempt, now: Duration) -> Duration {
        let Attempt(Some(attempt)) = attempt else { return Duration::ZERO };
        let mut failed = None;
        for count in self.counters(&attempt) {
            if let Some(failures) = self.failures_mut(&attempt, count) {
                failures.confirm(attempt.address_and_user, attempt.password_key);
                failed = failed.or(Some(failures.confirmed(now, DAY))); // the address comes first
            }
        }
        let doublings = u32::try_from(failed.unwrap_or(1).saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.delay.saturating_mul(factor).min(self.max_delay.max(self.delay))
    }

    /// The password was right: that address is known for that user from now on.
    pub fn record_success(&mut self, attempt: Attempt, now: Duration) {
        let Attempt(Some(AttemptKey { from, user, address_and_user, password_key })) = attempt else {
            return;
        };
        for count in unknown_address_counters(from, user) {
            self.failures.change(count, |failures| failures.remove_address_and_user(address_and_user));
        }
        match self.known.get(&user).and_then(|known| known.iter().map(|known| known.last_login).max()) {
            Some(last) => drop(self.by_login.remove(&(last, user))),
            None if self.known.len() >= self.max_known => {
                let oldest = self.by_login.pop_first();
                oldest.into_iter().for_each(|(_, oldest)| drop(self.known.remove(&oldest)));
            }
            None => {}
        }
        self.by_login.insert((now, user));
        let known = self.known.entry(user).or_default();
        if let Some(known) = known.iter_mut().find(|known| known.from == from) {
            known.last_login = now;
            known.failures.forgive(password_key);
            return;
        }
        if known.len() >= MAX_ADDRESSES_PER_USER
            && let Some(oldest) = (0..known.len()).min_by_key(|n| known[*n].last_login)
        {
            known.swap_remove(oldest);
        }
        known.push(KnownAddress { from, last_login: now, failures: Failures::default() });
    }

    /// The counts of an attempt: `None` is the address's own count with that user.
    fn counters(&self, attempt: &AttemptKey) -> impl Iterator<Item = Option<CounterKey>> + Clone + use<> {
        let known =
            self.known.get(&attempt.user).is_some_and(|known| find_known(known, attempt.from).is_some());
        let strangers =
            unknown_address_counters(attempt.from, attempt.user).filter(move |_| !known).map(Some);
        known.then_some(None).into_iter().chain(strangers)
    }

    fn failures(&self, attempt: &AttemptKey, count: Option<CounterKey>) -> Option<&Failures> {
        match count {
            Some(count) => self.failures.get(&count),
            None => find_known(self.known.get(&attempt.user)?, attempt.from).map(|known| &known.failures),
        }
    }

    fn failures_mut(&mut self, attempt: &AttemptKey, count: Option<CounterKey>) -> Option<&mut Failures> {
        match count {
            Some(count) => self.failures.get_mut(&count),
            None => {
                let mut known = self.known.get_mut(&attempt.user)?.iter_mut();
                known.find(|known| known.from == attempt.from).map(|known| &mut known.failures)
            }
        }
    }

    const fn bounds(&self, count: Option<CounterKey>) -> &[RateLimit; 2] {
        match count {
            None | Some(CounterKey::Prefix(_)) => &self.per_prefix,
            Some(CounterKey::Site(_)) => &self.per_site,
            Some(CounterKey::User(_)) => &self.per_user,
        }
    }

    /// If there is no room for one more attempt, drops expired counts, and then an eighth of all, beginning with the
    /// fewest failures.
    fn evict(&mut self, now: Duration) {
        let most = self.max_entries.max(COUNTERS_PER_ATTEMPT);
        self.failures.evict(COUNTERS_PER_ATTEMPT, most, now.checked_sub(DAY));
    }

    fn hash_key(&self, of: &(impl Hash + ?Sized)) -> u64 {
        self.hasher.hash_one(of)
    }
}

/// The prefix that stands for an address; addresses of this machine do not count.
fn throttled_prefix(from: IpAddr) -> Option<IpAddr> {
    Some(client_prefix(from)).filter(|_| !from.to_canonical().is_loopback())
}

fn find_known(known: &[KnownAddress], from: IpAddr) -> Option<&KnownAddress> {
    known.iter().find(|known| known.from == from)
}

/// The counts of an attempt from an address where the user has never logged in.
fn unknown_address_counters(from: IpAddr, user: u64) -> impl Iterator<Item = CounterKey> + Clone {
    let wide = match from {
        IpAddr::V4(_) => None,
        IpAddr::V6(from) => Some(CounterKey::Site(Ipv6Addr::from_bits(from.to_bits() >> 80 << 80))),
    };
    [Some(CounterKey::Prefix(from)), wide, Some(CounterKey::User(user))].into_iter().flatten()
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The bound of a /48, as a multiple of that of a /64.
const SITE_FACTOR: usize = 4;
/// Addresses remembered for one user.
const MAX_ADDRESSES_PER_USER: usize = 16;
const COUNTERS_PER_ATTEMPT: usize = 3;

#[cfg(test)]
mod tests;
