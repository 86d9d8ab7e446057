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

use super::auth_cache::Mark;
use crate::{
    capacity::Shrinker,
    limits::{Limits, prefix},
};
use counts::Counts;
use failures::{Bound, Failures, Room};

/// Failed logins, and the addresses that users have logged in from.
pub struct Tries {
    delay: Duration,
    longest_delay: Duration,
    /// In a minute and in a day, of one address or of one /64 of IPv6.
    narrow: [Bound; 2],
    /// Of one /48 of IPv6, which may have one owner.
    wide: [Bound; 2],
    /// Of one user, from all addresses that have never logged in as that user.
    user: [Bound; 2],
    most: usize,
    most_known: usize,
    /// Random, so that no peer can choose names that share a count.
    hasher: RandomState,
    failures: Counts<Count>,
    known: HashMap<u64, Vec<Known>>,
    /// Those users by their last login.
    by_login: BTreeSet<(Duration, u64)>,
}

/// Whose failures are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Count {
    Narrow(IpAddr),
    Wide(Ipv6Addr),
    User(u64),
}

/// An address that a user has logged in from.
struct Known {
    from: IpAddr,
    last: Duration,
    failures: Failures,
}

/// The rank of an address at a login: smaller is better known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// That user has logged in from there before.
    Known,
    /// No password from there was wrong within a day.
    Clean,
    /// Some passwords from there were wrong.
    Suspect,
}

/// Whether a password may be checked.
#[derive(Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may, and counts as wrong from now on.
    Open(Attempt),
    /// It must wait until one of the running checks has ended.
    Wait,
    /// It must wait for the end of a window.
    Shut,
}

/// A password under check, which counts as wrong meanwhile; passwords from this machine are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt(Option<Counted>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    from: IpAddr,
    user: u64,
    /// User and address together.
    pair: u64,
    mark: u64,
}

impl Tries {
    /// Starts without any failures.
    pub fn new(limits: &Limits) -> Self {
        let bounds = |times: usize| {
            [(MINUTE, limits.failed_logins_minute), (DAY, limits.failed_logins_day)]
                .map(|(span, most)| Bound { span, most: most.saturating_mul(times) })
        };
        Self {
            delay: limits.failed_login_delay.0,
            longest_delay: limits.failed_login_longest_delay.0,
            narrow: bounds(1),
            wide: bounds(WIDER),
            user: [(HOUR, limits.failed_logins_user), (DAY, 0)].map(|(span, most)| Bound { span, most }),
            most: limits.failed_login_addresses,
            most_known: limits.login_memories,
            hasher: RandomState::new(),
            failures: Counts::new(),
            known: HashMap::new(),
            by_login: BTreeSet::new(),
        }
    }

    /// Changes the limits.
    pub fn follow(&mut self, limits: &Limits) {
        let Self { hasher, failures, known, by_login, .. } = std::mem::replace(self, Self::new(limits));
        (self.hasher, self.failures, self.known, self.by_login) = (hasher, failures, known, by_login);
    }

    /// Gives back room for failures that are forgotten.
    pub(crate) fn shrink(&mut self, shrinker: &mut Shrinker) {
        self.failures.shrink(shrinker);
        shrinker.shrink(&mut self.known);
    }

    /// The rank of that address for that user.
    pub fn standing(&self, from: IpAddr, user: &str, now: Duration) -> Standing {
        let Some(from) = counted(from) else { return Standing::Known };
        let failed = self.failures.get(&Count::Narrow(from)).map_or(0, |failures| failures.count(now, DAY));
        match self.known.get(&self.key(user)).and_then(|known| at(known, from)) {
            Some(_) => Standing::Known,
            None if failed == 0 => Standing::Clean,
            None => Standing::Suspect,
        }
    }

    /// Whether a password may be checked now; if so, it counts as wrong from then on. The same wrong password again is
    /// no further guess.
    pub fn begin(&mut self, from: IpAddr, user: &str, mark: &Mark, now: Duration) -> Gate {
        let Some(from) = counted(from) else { return Gate::Open(Attempt(None)) };
        let user = self.key(user);
        let attempt = Counted { from, user, pair: self.key(&(from, user)), mark: self.key(mark) };
        let counts = self.counts(&attempt);
        let room =
            |count| self.failures(&attempt, count).map_or(Room::Some, |f| f.room(self.bounds(count), now));
        match counts.clone().map(room).max() {
            Some(Room::None) => return Gate::Shut,
            Some(Room::Taken) => return Gate::Wait,
            Some(Room::Some) | None => {}
        }
        self.make_room(now);
        for count in counts {
            let bounds = *self.bounds(count);
            let begin = |failures: &mut Failures| failures.begin(attempt.pair, attempt.mark, &bounds, now);
            match count {
                None => self.failures_mut(&attempt, None).into_iter().for_each(begin),
                Some(count) => self.failures.change(count, begin),
            }
        }
        Gate::Open(Attempt(Some(attempt)))
    }

    /// The password was wrong, or will never be checked. Returns the delay of the answer, counted from the question.
    pub fn wrong(&mut self, attempt: Attempt, now: Duration) -> Duration {
        let Attempt(Some(attempt)) = attempt else { return Duration::ZERO };
        let mut failed = None;
        for count in self.counts(&attempt) {
            if let Some(failures) = self.failures_mut(&attempt, count) {
                failures.prove_wrong(attempt.pair, attempt.mark);
                failed = failed.or(Some(failures.proven(now, DAY))); // the address comes first
            }
        }
        let doublings = u32::try_from(failed.unwrap_or(1).saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.delay.saturating_mul(factor).min(self.longest_delay.max(self.delay))
    }

    /// The password was right: that address is known for that user from now on.
    pub fn right(&mut self, attempt: Attempt, now: Duration) {
        let Attempt(Some(Counted { from, user, pair, mark })) = attempt else { return };
        for count in strangers(from, user) {
            self.failures.change(count, |failures| failures.take_back(pair));
        }
        match self.known.get(&user).and_then(|known| known.iter().map(|known| known.last).max()) {
            Some(last) => drop(self.by_login.remove(&(last, user))),
            None if self.known.len() >= self.most_known => {
                let oldest = self.by_login.pop_first();
                oldest.into_iter().for_each(|(_, oldest)| drop(self.known.remove(&oldest)));
            }
            None => {}
        }
        self.by_login.insert((now, user));
        let known = self.known.entry(user).or_default();
        if let Some(known) = known.iter_mut().find(|known| known.from == from) {
            known.last = now;
            known.failures.forgive(mark);
            return;
        }
        if known.len() >= ADDRESSES_OF_A_USER
            && let Some(oldest) = (0..known.len()).min_by_key(|n| known[*n].last)
        {
            known.swap_remove(oldest);
        }
        known.push(Known { from, last: now, failures: Failures::default() });
    }

    /// The counts of an attempt: `None` is the address's own count with that user.
    fn counts(&self, attempt: &Counted) -> impl Iterator<Item = Option<Count>> + Clone + use<> {
        let known = self.known.get(&attempt.user).is_some_and(|known| at(known, attempt.from).is_some());
        let strangers = strangers(attempt.from, attempt.user).filter(move |_| !known).map(Some);
        known.then_some(None).into_iter().chain(strangers)
    }

    fn failures(&self, attempt: &Counted, count: Option<Count>) -> Option<&Failures> {
        match count {
            Some(count) => self.failures.get(&count),
            None => at(self.known.get(&attempt.user)?, attempt.from).map(|known| &known.failures),
        }
    }

    fn failures_mut(&mut self, attempt: &Counted, count: Option<Count>) -> Option<&mut Failures> {
        match count {
            Some(count) => self.failures.get_mut(&count),
            None => {
                let mut known = self.known.get_mut(&attempt.user)?.iter_mut();
                known.find(|known| known.from == attempt.from).map(|known| &mut known.failures)
            }
        }
    }

    const fn bounds(&self, count: Option<Count>) -> &[Bound; 2] {
        match count {
            None | Some(Count::Narrow(_)) => &self.narrow,
            Some(Count::Wide(_)) => &self.wide,
            Some(Count::User(_)) => &self.user,
        }
    }

    /// If there is no room for one more attempt, drops expired counts, and then an eighth of all, beginning with the
    /// fewest failures.
    fn make_room(&mut self, now: Duration) {
        let most = self.most.max(COUNTS_OF_AN_ATTEMPT);
        self.failures.make_room(COUNTS_OF_AN_ATTEMPT, most, now.checked_sub(DAY));
    }

    fn key(&self, of: &(impl Hash + ?Sized)) -> u64 {
        self.hasher.hash_one(of)
    }
}

/// The prefix that stands for an address; addresses of this machine do not count.
fn counted(from: IpAddr) -> Option<IpAddr> {
    Some(prefix(from)).filter(|_| !from.to_canonical().is_loopback())
}

fn at(known: &[Known], from: IpAddr) -> Option<&Known> {
    known.iter().find(|known| known.from == from)
}

/// The counts of an attempt from an address where the user has never logged in.
fn strangers(from: IpAddr, user: u64) -> impl Iterator<Item = Count> + Clone {
    let wide = match from {
        IpAddr::V4(_) => None,
        IpAddr::V6(from) => Some(Count::Wide(Ipv6Addr::from_bits(from.to_bits() >> 80 << 80))),
    };
    [Some(Count::Narrow(from)), wide, Some(Count::User(user))].into_iter().flatten()
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The bound of a /48, as a multiple of that of a /64.
const WIDER: usize = 4;
/// Addresses remembered for one user.
const ADDRESSES_OF_A_USER: usize = 16;
const COUNTS_OF_AN_ATTEMPT: usize = 3;

#[cfg(test)]
mod tests;
