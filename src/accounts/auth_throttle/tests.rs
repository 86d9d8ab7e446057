//! Attackers and users on virtual time.

use std::net::Ipv4Addr;

use super::*;

const NOW: Duration = Duration::from_secs(100_000);
const SECOND: Duration = Duration::from_secs(1);

fn tries() -> AuthThrottle {
    AuthThrottle::new(&Limits::default())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v4(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + n).into()
}

/// Asks whether a password may be checked, and for the attempt if so.
fn begin(tries: &mut AuthThrottle, from: IpAddr, user: &str, n: usize, now: Duration) -> Option<Attempt> {
    match tries.begin_attempt(from, user, &CacheKey::of_number(n as u64), now) {
        ThrottleDecision::Allow(attempt) => Some(attempt),
        ThrottleDecision::Wait | ThrottleDecision::Block => None,
    }
}

/// One wrong password; whether it was checked.
fn guess(tries: &mut AuthThrottle, from: IpAddr, user: &str, n: usize, now: Duration) -> bool {
    let attempt = begin(tries, from, user, n, now);
    attempt.is_some_and(|attempt| tries.record_failure(attempt, now) > Duration::ZERO)
}

fn delay(tries: &mut AuthThrottle, from: IpAddr, user: &str, n: usize) -> u64 {
    let attempt = begin(tries, from, user, n, NOW).unwrap();
    tries.record_failure(attempt, NOW).as_secs()
}

#[track_caller]
fn log_in(tries: &mut AuthThrottle, from: IpAddr, user: &str, now: Duration) {
    let attempt = begin(tries, from, user, usize::MAX, now).expect("the right password is checked");
    tries.record_success(attempt, now);
}

#[test]
fn t11_each_wrong_password_is_answered_later_until_a_right_one() {
    let mut tries = tries();
    let from = ip("192.0.2.1");
    assert_eq!([0, 1, 2, 3, 4].map(|n| delay(&mut tries, from, "ann", n)), [2, 4, 8, 15, 15]);
    log_in(&mut tries, from, "ann", NOW);
    assert_eq!(delay(&mut tries, from, "ann", 5), 2);
    assert_eq!(delay(&mut tries, ip("192.0.2.2"), "ann", 5), 2);
}

#[test]
fn t11_ten_in_a_minute_and_fifty_in_a_day_are_enough() {
    let mut tries = tries();
    let from = ip("2001:db8::1");
    let mut checked = 0;
    for second in (0..24 * 3600).step_by(15) {
        let now = NOW + SECOND * second;
        // Of another user each time: so only the address counts.
        while guess(&mut tries, from, &format!("user{checked}"), checked, now) {
            checked += 1;
        }
        assert_eq!(checked, if second < 60 { 10 } else { checked });
    }
    assert_eq!(checked, 50);
    let mut is_open = |from, now| begin(&mut tries, ip(from), "ann", 0, now).is_some();
    assert!(!is_open("2001:db8:0:0:ffff::2", NOW + DAY - SECOND), "the same /64");
    assert!(is_open("2001:db8:0:1::1", NOW + DAY - SECOND));
    assert!(is_open("2001:db8::1", NOW + DAY));
}

/// X4: one account of the attacker's own bought 490,000 guesses a day at the others.
#[test]
fn a_right_password_of_ones_own_buys_no_guess_at_another() {
    for (from, most) in [("192.0.2.1", 50), ("2001:db8::1", 50)] {
        let mut tries = tries();
        let from = ip(from);
        let (mut checked, mut in_this_minute) = (0, 0);
        for second in (0..24 * 3600).step_by(15) {
            let now = NOW + SECOND * second;
            in_this_minute = if second % 60 == 0 { 0 } else { in_this_minute };
            log_in(&mut tries, from, "mallory", now);
            while guess(&mut tries, from, if checked % 2 == 0 { "ann" } else { "bob" }, checked, now) {
                checked += 1;
                in_this_minute += 1;
                log_in(&mut tries, from, "mallory", now);
            }
            assert!(in_this_minute <= 10, "{in_this_minute} in a minute");
        }
        assert_eq!(checked, most, "in a day");
    }
}

#[test]
fn many_connections_at_once_and_hanging_up_gain_nothing() {
    let mut tries = tries();
    let from = ip("192.0.2.1");
    let mut open = Vec::new();
    for n in 0..200 {
        open.extend(begin(&mut tries, from, "ann", n, NOW));
    }
    assert_eq!(open.len(), 10);
    assert_eq!(
        tries.begin_attempt(from, "ann", &CacheKey::of_number(1000), NOW),
        ThrottleDecision::Wait,
        "one of them may be right"
    );
    // The others left before they were told.
    assert_eq!(tries.record_failure(open.pop().unwrap(), NOW).as_secs(), 2);
    assert_eq!(tries.begin_attempt(from, "ann", &CacheKey::of_number(1000), NOW), ThrottleDecision::Wait);
    for attempt in open {
        tries.record_failure(attempt, NOW);
    }
    assert_eq!(tries.begin_attempt(from, "ann", &CacheKey::of_number(1000), NOW), ThrottleDecision::Block);
}

#[test]
fn an_office_that_comes_at_nine_waits_and_is_not_refused() {
    let mut tries = tries();
    let from = ip("192.0.2.1");
    let user = |n: usize| format!("user{n}");
    let mut waiting: Vec<usize> = (0..100).collect();
    for _ in 0..20 {
        let mut running = Vec::new();
        waiting.retain(|n| {
            match tries.begin_attempt(from, &user(*n), &CacheKey::of_number(*n as u64), NOW) {
                ThrottleDecision::Allow(attempt) => {
                    running.push(attempt);
                    false
                }
                ThrottleDecision::Wait => true,
                ThrottleDecision::Block => panic!("{n} is refused"),
            }
        });
        running.into_iter().for_each(|attempt| tries.record_success(attempt, NOW));
    }
    assert_eq!(waiting, [0; 0]);
}

/// Addresses that nobody has logged in from, each with as many guesses as its own bounds allow.
#[test]
fn all_addresses_together_guess_at_one_user_no_more_than_fifty_times_an_hour() {
    let mut tries = tries();
    let usual = [ip("192.0.2.1"), ip("2001:db8:1:2::3")];
    usual.iter().for_each(|from| log_in(&mut tries, *from, "ann", NOW));
    let mut checked = 0;
    for minute in 0..24 * 60 {
        let now = NOW + MINUTE * minute;
        for n in 0..100 {
            checked += usize::from(guess(&mut tries, v4(minute * 100 + n), "ann", checked, now));
        }
        // And ann is never shut out where she always is.
        usual.iter().for_each(|from| log_in(&mut tries, *from, "ann", now));
        assert!(
            guess(&mut tries, v4(0x00ff_0000 + minute), "bob", checked, now) || minute >= 50,
            "others are not hurt"
        );
    }
    assert!((50..=25 * 50).contains(&checked), "{checked} in a day");
    let now = NOW + DAY - MINUTE;
    assert_eq!(begin(&mut tries, ip("198.51.100.1"), "ann", 1, now), None, "a new address has to wait");
    log_in(&mut tries, ip("198.51.100.1"), "ann", now + HOUR);
}

#[test]
fn strangers_at_a_users_own_address_do_not_shut_it_out() {
    let mut tries = tries();
    let from = ip("192.0.2.1");
    log_in(&mut tries, from, "ann", NOW);
    for n in 0..1000 {
        guess(&mut tries, from, "bob", n, NOW);
    }
    assert_eq!(begin(&mut tries, from, "carl", 0, NOW), None);
    log_in(&mut tries, from, "ann", NOW);
    // Her own mistakes are her own count.
    assert_eq!([0, 1, 2].map(|n| delay(&mut tries, from, "ann", n)), [2, 4, 8]);
}

#[test]
fn guesses_between_the_logins_of_a_user_at_the_same_address_are_bounded_too() {
    let mut tries = tries();
    let from = ip("192.0.2.1");
    log_in(&mut tries, from, "ann", NOW);
    let mut checked = 0;
    for minute in 0..24 * 60 {
        let now = NOW + MINUTE * minute;
        if let Some(attempt) = begin(&mut tries, from, "ann", usize::MAX, now) {
            tries.record_success(attempt, now);
        }
        while guess(&mut tries, from, "ann", checked, now) {
            checked += 1;
        }
    }
    assert_eq!(checked, 4 * 50, "in a day");
}

#[test]
fn a_48_has_a_wider_bound_and_its_64s_their_own() {
    let mut tries = tries();
    let from = |n: usize| ip(&format!("2001:db8:7:{n:x}::1"));
    let mut checked = 0;
    for second in (0..24 * 3600).step_by(15) {
        let now = NOW + SECOND * second;
        for n in 0..20 {
            checked += usize::from(guess(&mut tries, from(n), &format!("user{checked}"), checked, now));
        }
        assert!(checked <= 40 || second >= 60, "{checked} in a minute");
    }
    assert_eq!(checked, 200, "in a day");
    assert!(guess(&mut tries, ip("2001:db8:8::1"), "ann", 0, NOW));
}

#[test]
fn the_same_mistake_again_and_again_is_no_guess() {
    let mut tries = tries();
    let from = ip("192.0.2.1");
    for _ in 0..100 {
        assert_eq!(delay(&mut tries, from, "ann", 7), 2);
    }
    assert_eq!(delay(&mut tries, from, "ann", 8), 4);
    for _ in 0..100 {
        // Two clients with an old password each.
        assert_eq!(delay(&mut tries, from, "ann", 7), 4);
        assert_eq!(delay(&mut tries, from, "ann", 8), 4);
    }
}

#[test]
fn nobody_on_this_machine_waits() {
    let mut tries = tries();
    for n in 0..100 {
        for from in ["127.0.0.1", "::1", "127.9.9.9", "::ffff:127.0.0.1"] {
            let attempt = begin(&mut tries, ip(from), "ann", n, NOW).unwrap();
            assert_eq!(tries.record_failure(attempt, NOW), Duration::ZERO);
        }
    }
    assert!(tries.failures.len() == 0 && tries.known.is_empty());
}

#[test]
fn a_million_addresses_users_and_logins_take_the_memory_of_a_few() {
    let mut limits = Limits::default();
    (limits.auth.throttle_size, limits.auth.cache_size) = (100, 100);
    let mut tries = AuthThrottle::new(&limits);
    for n in 0..10_000_u32 {
        let user = format!("user{n}");
        guess(&mut tries, v4(n), &user, 1, NOW);
        log_in(&mut tries, v4(n), "ann", NOW);
        log_in(&mut tries, v4(n), &user, NOW);
        assert!(tries.failures.len() <= 100 && tries.known.len() <= 100);
        assert_eq!(tries.by_login.len(), tries.known.len());
    }
    assert!(tries.known.values().all(|known| known.len() <= MAX_ADDRESSES_PER_USER));
    for n in 0..10_000 {
        guess(&mut tries, v4(0), "ann", n, NOW);
        guess(&mut tries, v4(n as u32), "ann", n, NOW);
    }
    assert!(tries.failures.all().all(|failures| failures.len() <= 200));
}

#[test]
fn many_addresses_that_failed_once_do_not_push_out_one_that_failed_often() {
    let mut limits = Limits::default();
    limits.auth.throttle_size = 100;
    let mut tries = AuthThrottle::new(&limits);
    let from = ip("192.0.2.1");
    (0..10).for_each(|n| assert!(guess(&mut tries, from, "ann", n, NOW)));
    for n in 0..10_000 {
        guess(&mut tries, v4(n), &format!("user{n}"), 0, NOW);
    }
    assert_eq!(begin(&mut tries, from, "ann", 100, NOW), None);
}

#[test]
fn an_address_stands_by_how_its_logins_ended() {
    let mut tries = tries();
    let (from, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
    assert_eq!(tries.reputation(from, "ann", NOW), AddressReputation::Clean);
    guess(&mut tries, from, "ann", 1, NOW);
    assert_eq!(tries.reputation(from, "ann", NOW), AddressReputation::Suspect);
    log_in(&mut tries, from, "ann", NOW);
    assert_eq!(tries.reputation(from, "ann", NOW), AddressReputation::Known);
    assert_eq!(
        (tries.reputation(from, "bob", NOW), tries.reputation(other, "ann", NOW)),
        (AddressReputation::Clean, AddressReputation::Clean)
    );
    assert_eq!(tries.reputation(ip("::1"), "ann", NOW), AddressReputation::Known);
}
