//! Wrong passwords by the address they come from: each next one is answered later, and behind so many of
//! them none is checked for a while.
//!
//! The rule: nobody on this machine waits, and a right password makes all forgotten. An IPv6 address counts
//! as the /64 that its owner can choose from at will.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use super::memory::Mark;
use crate::limits::{Limits, prefix};

/// What is known of the addresses that wrong passwords came from.
pub struct Tries {
    delay: Duration,
    longest_delay: Duration,
    a_minute: usize,
    a_day: usize,
    most: usize,
    by: HashMap<IpAddr, Record>,
}

/// Of one address.
struct Record {
    minute: Window,
    day: Window,
    /// The last wrong pair: a client that tries the same one again and again guesses nothing.
    last: Mark,
}

#[derive(Clone, Copy)]
struct Window {
    began: Duration,
    count: usize,
}

impl Window {
    const fn new(now: Duration) -> Self {
        Self { began: now, count: 1 }
    }

    fn count(&mut self, now: Duration, length: Duration) {
        if self.is_over(now, length) {
            *self = Self::new(now);
        } else {
            self.count += 1;
        }
    }

    fn is_over(&self, now: Duration, length: Duration) -> bool {
        now.saturating_sub(self.began) >= length
    }

    fn is_full(&self, now: Duration, length: Duration, limit: usize) -> bool {
        limit != 0 && self.count >= limit && !self.is_over(now, length)
    }
}

impl Tries {
    /// Knows nobody yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            delay: limits.failed_login_delay.0,
            longest_delay: limits.failed_login_longest_delay.0,
            a_minute: limits.failed_logins_minute,
            a_day: limits.failed_logins_day,
            most: limits.failed_login_addresses,
            by: HashMap::new(),
        }
    }

    /// Other limits are in force from now on.
    pub fn follow(&mut self, limits: &Limits) {
        let by = std::mem::take(&mut self.by);
        *self = Self { by, ..Self::new(limits) };
    }

    /// Whether a password from there is checked at all.
    pub fn are_allowed(&self, from: IpAddr, now: Duration) -> bool {
        self.by.get(&prefix(from)).is_none_or(|record| {
            !record.minute.is_full(now, MINUTE, self.a_minute) && !record.day.is_full(now, DAY, self.a_day)
        })
    }

    /// Counts a wrong password, and says how long after it was tried its answer may leave.
    pub fn wrong(&mut self, from: IpAddr, mark: Mark, now: Duration) -> Duration {
        if from.is_loopback() {
            return Duration::ZERO;
        }
        let from = prefix(from);
        if self.by.len() >= self.most && !self.by.contains_key(&from) {
            self.make_room(now);
        }
        let new = || Record { minute: Window::new(now), day: Window::new(now), last: mark };
        let mut known = true;
        let record = self.by.entry(from).or_insert_with(|| {
            known = false;
            new()
        });
        if known && record.last != mark {
            record.minute.count(now, MINUTE);
            record.day.count(now, DAY);
            record.last = mark;
        }
        let doublings = u32::try_from(record.day.count - 1).unwrap_or(u32::MAX);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.delay.saturating_mul(factor).min(self.longest_delay.max(self.delay))
    }

    /// A right password came from there.
    pub fn right(&mut self, from: IpAddr) {
        self.by.remove(&prefix(from));
    }

    /// Forgets what is over, or else who tried least lately.
    fn make_room(&mut self, now: Duration) {
        self.by.retain(|_, record| !record.day.is_over(now, DAY));
        if self.by.len() >= self.most {
            let oldest = self.by.iter().min_by_key(|(_, record)| record.minute.began);
            if let Some(oldest) = oldest.map(|(from, _)| *from) {
                self.by.remove(&oldest);
            }
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::{
        super::{Accounts, Memory},
        *,
    };
    use crate::proto::ask::Secret;

    const NOW: Duration = Duration::from_secs(100_000);

    fn tries() -> Tries {
        Tries::new(&Limits::default())
    }

    fn mark(n: usize) -> Mark {
        let credential = Accounts::open_house(&[]).credential("ann");
        Memory::new(&[0; 32], DAY, 1).mark(&credential, &Secret::new(n.to_string()))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn t11_each_wrong_password_is_answered_later_until_a_right_one() {
        let mut tries = tries();
        let from = ip("192.0.2.1");
        let mut wrong = |n: usize| tries.wrong(from, mark(n), NOW).as_secs();
        assert_eq!([0, 1, 2, 3, 4].map(&mut wrong), [2, 4, 8, 15, 15]);
        tries.right(from);
        assert_eq!(tries.wrong(from, mark(5), NOW).as_secs(), 2);
        assert_eq!(tries.wrong(ip("192.0.2.2"), mark(5), NOW).as_secs(), 2);
    }

    #[test]
    fn t11_ten_in_a_minute_and_fifty_in_a_day_are_enough() {
        let mut tries = tries();
        let from = ip("2001:db8::1");
        let mut checked = 0;
        for second in 0..24 * 3600 {
            let now = NOW + Duration::from_secs(second);
            while tries.are_allowed(from, now) {
                tries.wrong(from, mark(checked), now);
                checked += 1;
            }
            assert_eq!(checked, if second < 60 { 10 } else { checked });
        }
        assert_eq!(checked, 50);
        assert!(!tries.are_allowed(ip("2001:db8:0:0:ffff::2"), NOW), "the same /64");
        assert!(tries.are_allowed(ip("2001:db8:0:1::1"), NOW));
        assert!(tries.are_allowed(from, NOW + DAY));
        assert_eq!(tries.wrong(from, mark(0), NOW + DAY).as_secs(), 2);
    }

    #[test]
    fn the_same_mistake_again_and_again_is_no_guess() {
        let mut tries = tries();
        let from = ip("192.0.2.1");
        for _ in 0..100 {
            assert_eq!(tries.wrong(from, mark(7), NOW).as_secs(), 2);
        }
        assert!(tries.are_allowed(from, NOW));
        assert_eq!(tries.wrong(from, mark(8), NOW).as_secs(), 4);
    }

    #[test]
    fn nobody_on_this_machine_waits() {
        let mut tries = tries();
        for n in 0..100 {
            for from in ["127.0.0.1", "::1", "127.9.9.9"] {
                assert!(tries.are_allowed(ip(from), NOW));
                assert_eq!(tries.wrong(ip(from), mark(n), NOW), Duration::ZERO);
            }
        }
    }

    #[test]
    fn a_million_addresses_take_the_memory_of_a_few() {
        let mut tries = Tries::new(&Limits { failed_login_addresses: 100, ..Limits::default() });
        for n in 0..10_000_u32 {
            tries.wrong(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into(), mark(1), NOW);
            assert!(tries.by.len() <= 100);
        }
    }
}
