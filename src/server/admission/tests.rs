use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
};

use super::*;

/// An admission with the places that connections hold.
struct Places {
    admission: Admission,
    held: BTreeMap<ConnId, Place>,
}

impl Places {
    fn admit(&mut self, id: ConnId, service: Service, peer: Option<IpAddr>, now: Duration) {
        let place = self.admission.admit(id, service, peer, now);
        self.held.insert(id, place);
    }

    fn update(&mut self, id: ConnId, priority: Option<EvictionPriority>) {
        if let Some(place) = self.held.get_mut(&id) {
            self.admission.update(id, place, priority);
        }
    }

    fn remove(&mut self, id: ConnId) {
        if let Some(place) = self.held.remove(&id) {
            self.admission.remove(id, place);
        }
    }
}

impl Deref for Places {
    type Target = Admission;

    fn deref(&self) -> &Admission {
        &self.admission
    }
}

impl DerefMut for Places {
    fn deref_mut(&mut self) -> &mut Admission {
        &mut self.admission
    }
}

const SERVICES: [Service; 4] = [Service::Smtp, Service::Submission, Service::Lmtp, Service::Pop3];

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn address(n: u64) -> IpAddr {
    IpAddr::from([203, 0, (n >> 8) as u8, n as u8])
}

/// An admission with `max` places for those services.
fn new_admission(most: usize, services: &[Service]) -> Places {
    let mut admission = Admission::new();
    admission.reconfigure(most, &Limits::default(), services.iter().copied());
    Places { admission, held: BTreeMap::new() }
}

/// Asks for a place, and evicts the connection that has to end for it.
fn come(admission: &mut Places, n: u64, service: Service, now: Duration) -> AdmissionDecision {
    let entry = admission.decide(service, now);
    if let AdmissionDecision::Evict(id) = entry {
        admission.remove(id);
    }
    if matches!(entry, AdmissionDecision::Admit | AdmissionDecision::Evict(_)) {
        admission.admit(ConnId(n), service, Some(address(n)), now);
    }
    entry
}

fn has_come(admission: &mut Places, n: u64, stage: EvictionStage, progress: Duration) {
    admission.update(ConnId(n), Some(EvictionPriority { stage, last_progress: progress }));
}

#[test]
fn before_hello_and_login_the_oldest_goes_whatever_it_sends() {
    let mut admission = new_admission(3, &[]);
    for n in 0..3 {
        assert_eq!(come(&mut admission, n, Service::Smtp, at(n)), AdmissionDecision::Admit);
    }
    // It has just sent an octet, or NOOP: its claim is no better than before.
    has_come(&mut admission, 0, EvictionStage::Unidentified, at(0));
    assert_eq!(come(&mut admission, 3, Service::Smtp, at(9)), AdmissionDecision::Evict(ConnId(0)));
    assert_eq!(come(&mut admission, 4, Service::Smtp, at(9)), AdmissionDecision::Evict(ConnId(1)));
}

#[test]
fn who_has_just_come_stays_and_the_next_one_waits_for_a_moment() {
    let mut admission = new_admission(2, &[]);
    come(&mut admission, 0, Service::Smtp, at(5));
    come(&mut admission, 1, Service::Smtp, at(5));
    assert_eq!(
        come(&mut admission, 2, Service::Smtp, at(5) + NEW_CONNECTION_GRACE / 2),
        AdmissionDecision::RetryAt(at(5) + NEW_CONNECTION_GRACE)
    );
    assert_eq!(
        come(&mut admission, 2, Service::Smtp, at(5) + NEW_CONNECTION_GRACE),
        AdmissionDecision::Evict(ConnId(0))
    );
}

#[test]
fn with_every_place_held_at_data_the_slowest_goes_and_not_those_who_come() {
    let mut admission = new_admission(100, &[]);
    for n in 0..100 {
        come(&mut admission, n, Service::Smtp, at(0));
        // The fiftieth has sent as much as a client with the expected rate has sent by now.
        has_come(&mut admission, n, EvictionStage::ReceivingBody, if n == 50 { at(60) } else { at(1) });
    }
    for n in 100..199 {
        let now = at(60) + Duration::from_millis(n);
        let entry = come(&mut admission, n, Service::Smtp, now);
        assert!(
            matches!(entry, AdmissionDecision::Evict(ConnId(gone)) if gone < 100 && gone != 50),
            "{n}: {entry:?}"
        );
    }
}

#[test]
fn strangers_go_before_those_served_before_and_these_before_users() {
    let mut admission = new_admission(3, &[]);
    admission.mark_served(address(0), at(0));
    for n in 0..3 {
        come(&mut admission, n, Service::Smtp, at(n));
    }
    has_come(&mut admission, 1, EvictionStage::Trusted, at(1));
    has_come(&mut admission, 2, EvictionStage::ReceivingBody, at(500));
    assert_eq!(come(&mut admission, 3, Service::Smtp, at(600)), AdmissionDecision::Evict(ConnId(2)));
    has_come(&mut admission, 3, EvictionStage::Trusted, at(600));
    assert_eq!(come(&mut admission, 4, Service::Smtp, at(600)), AdmissionDecision::Evict(ConnId(0)));
    has_come(&mut admission, 4, EvictionStage::Trusted, at(600));
    // A user is evicted only if idle, and only if there is no other candidate.
    assert_eq!(come(&mut admission, 5, Service::Smtp, at(601)), AdmissionDecision::Evict(ConnId(1)));
    has_come(&mut admission, 5, EvictionStage::Trusted, at(601));
    assert_eq!(come(&mut admission, 6, Service::Smtp, at(602)), AdmissionDecision::Refuse);
}

#[test]
fn an_address_that_was_served_shields_a_few_of_its_connections_only() {
    let mut admission = new_admission(20, &[]);
    admission.mark_served(address(7), at(0));
    for n in 0..20 {
        admission.admit(ConnId(n), Service::Smtp, Some(address(7)), at(0));
    }
    for n in 20..36 {
        admission.admit(ConnId(n), Service::Smtp, Some(address(n)), at(1));
        let AdmissionDecision::Evict(gone) = admission.decide(Service::Smtp, at(2)) else { panic!() };
        admission.remove(gone);
    }
    assert_eq!(admission.prefixes.get(address(7)), MAX_PROTECTED);
}

#[test]
fn no_service_takes_the_places_of_another() {
    for flood in SERVICES {
        let mut admission = new_admission(80, &SERVICES);
        for n in 0..500 {
            come(&mut admission, n, flood, at(n));
        }
        assert_eq!(admission.occupied[flood.without_tls() as usize], 80 - 3 * 80 / RESERVED_ONE_IN);
        for (n, service) in SERVICES.into_iter().filter(|service| *service != flood).enumerate() {
            for k in 0..10 {
                let entry = come(&mut admission, 1000 + 100 * n as u64 + k, service, at(500));
                assert_eq!(entry, AdmissionDecision::Admit, "{service:?} beside a flood of {flood:?}");
            }
        }
        // Beyond its reserved places a service takes places from services that have more than theirs.
        let other = if flood == Service::Pop3 { Service::Smtp } else { Service::Pop3 };
        let entry = come(&mut admission, 2000, other, at(501));
        assert!(matches!(entry, AdmissionDecision::Evict(ConnId(gone)) if gone < 500), "{entry:?}");
    }
}

#[test]
fn a_message_that_waits_for_the_disk_is_never_ended() {
    let mut admission = new_admission(1, &[]);
    come(&mut admission, 0, Service::Smtp, at(0));
    admission.update(ConnId(0), None);
    assert_eq!(admission.decide(Service::Smtp, at(9999)), AdmissionDecision::Refuse);
}

#[test]
fn an_address_a_64_and_a_48_have_their_bounds() {
    let mut admission = new_admission(1000, &[]);
    let mut limits = Limits::default();
    (limits.connections.max_per_address, limits.connections.max_per_network) = (2, 5);
    admission.reconfigure(1000, &limits, [].into_iter());
    let mut n = 0;
    let mut come = |text: &str| {
        n += 1;
        let peer = text.parse().unwrap();
        let fits = admission.is_within_address_limits(peer);
        if fits {
            admission.admit(ConnId(n), Service::Smtp, Some(peer), at(0));
        }
        fits
    };
    assert!(come("192.0.2.1") && come("::ffff:192.0.2.1") && !come("192.0.2.1") && come("192.0.2.2"));
    assert!(come("2001:db8:1:1::1") && come("2001:db8:1:1::2") && !come("2001:db8:1:1::3"));
    assert!(come("2001:db8:1:2::1") && come("2001:db8:1:3::1") && come("2001:db8:1:4::1"));
    assert!(!come("2001:db8:1:5::1") && come("2001:db8:2:5::1"));
    assert!((0..9).all(|_| come("127.0.0.1") && come("::1")));
}

#[test]
fn y133_users_who_have_logged_in_by_imap_leave_room_for_others_at_their_address() {
    let mut admission = new_admission(1000, &[]);
    let mut limits = Limits::default();
    (limits.connections.max_per_address, limits.connections.max_per_network) = (2, 2);
    admission.reconfigure(1000, &limits, [].into_iter());
    let peer = "2001:db8::1".parse().unwrap();
    for n in 0..9 {
        assert!(admission.is_within_address_limits(peer), "connection {n}");
        admission.admit(ConnId(n), Service::Imaps, Some(peer), at(0));
        has_come(&mut admission, n, EvictionStage::Trusted, at(1));
    }
    for (n, service) in [(10, Service::Imap), (11, Service::Pop3)] {
        assert!(admission.is_within_address_limits(peer));
        admission.admit(ConnId(n), service, Some(peer), at(1));
    }
    assert!(!admission.is_within_address_limits(peer), "two who have not logged in");
    has_come(&mut admission, 11, EvictionStage::Trusted, at(2));
    assert!(!admission.is_within_address_limits(peer), "one of them by POP3");
    (0..12).for_each(|n| admission.remove(ConnId(n)));
    assert!(admission.prefixes.0.is_empty() && admission.sites.0.is_empty());
}

#[test]
fn everything_is_forgotten_with_the_last_connection_but_who_was_served() {
    let mut admission = new_admission(50, &SERVICES);
    admission.known_addresses.capacity = 10;
    for n in 0..200 {
        admission.mark_served(address(n), at(n));
        come(&mut admission, n, SERVICES[n as usize % 4], at(n));
        has_come(
            &mut admission,
            n,
            [EvictionStage::ReceivingBody, EvictionStage::Idle, EvictionStage::Closing][n as usize % 3],
            at(n),
        );
    }
    (0..200).for_each(|n| admission.remove(ConnId(n)));
    assert_eq!(admission.occupied, [0; Service::ALL.len()]);
    assert!(admission.held.is_empty() && admission.eviction_queues.is_empty());
    assert!(
        admission.prefixes.0.is_empty() && admission.sites.0.is_empty() && admission.protected.0.is_empty()
    );
    assert_eq!(
        (admission.known_addresses.last_served_at.len(), admission.known_addresses.order.len()),
        (10, 10)
    );
    assert!(
        admission.known_addresses.contains(address(199)) && !admission.known_addresses.contains(address(189))
    );
}
