use super::*;

const SERVICES: [Service; 4] = [Service::Smtp, Service::Submission, Service::Lmtp, Service::Pop3];

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn address(n: u64) -> IpAddr {
    IpAddr::from([203, 0, (n >> 8) as u8, n as u8])
}

/// An admission with `most` places for those services.
fn house(most: usize, services: &[Service]) -> Admission {
    let mut house = Admission::new();
    house.reconfigure(most, &Limits::default(), services.iter().copied());
    house
}

/// Asks for a place, and evicts the connection that has to end for it.
fn come(house: &mut Admission, n: u64, service: Service, now: Duration) -> AdmissionDecision {
    let entry = house.decide(service, now);
    if let AdmissionDecision::Evict(id) = entry {
        house.remove(id);
    }
    if matches!(entry, AdmissionDecision::Admit | AdmissionDecision::Evict(_)) {
        house.admit(ConnId(n), service, Some(address(n)), now);
    }
    entry
}

fn has_come(house: &mut Admission, n: u64, stage: Stage, progress: Duration) {
    house.update(ConnId(n), Some(EvictionPriority { stage, last_progress: progress }));
}

#[test]
fn before_hello_and_login_the_oldest_goes_whatever_it_sends() {
    let mut house = house(3, &[]);
    for n in 0..3 {
        assert_eq!(come(&mut house, n, Service::Smtp, at(n)), AdmissionDecision::Admit);
    }
    // It has just sent an octet, or NOOP: its claim is no better than before.
    has_come(&mut house, 0, Stage::Unidentified, at(0));
    assert_eq!(come(&mut house, 3, Service::Smtp, at(9)), AdmissionDecision::Evict(ConnId(0)));
    assert_eq!(come(&mut house, 4, Service::Smtp, at(9)), AdmissionDecision::Evict(ConnId(1)));
}

#[test]
fn who_has_just_come_stays_and_the_next_one_waits_for_a_moment() {
    let mut house = house(2, &[]);
    come(&mut house, 0, Service::Smtp, at(5));
    come(&mut house, 1, Service::Smtp, at(5));
    assert_eq!(
        come(&mut house, 2, Service::Smtp, at(5) + NEW_CONNECTION_GRACE / 2),
        AdmissionDecision::RetryAt(at(5) + NEW_CONNECTION_GRACE)
    );
    assert_eq!(
        come(&mut house, 2, Service::Smtp, at(5) + NEW_CONNECTION_GRACE),
        AdmissionDecision::Evict(ConnId(0))
    );
}

#[test]
fn with_every_place_held_at_data_the_slowest_goes_and_not_those_who_come() {
    let mut house = house(100, &[]);
    for n in 0..100 {
        come(&mut house, n, Service::Smtp, at(0));
        // The fiftieth has sent as much as a client with the expected rate has sent by now.
        has_come(&mut house, n, Stage::ReceivingBody, if n == 50 { at(60) } else { at(1) });
    }
    for n in 100..199 {
        let now = at(60) + Duration::from_millis(n);
        let entry = come(&mut house, n, Service::Smtp, now);
        assert!(
            matches!(entry, AdmissionDecision::Evict(ConnId(gone)) if gone < 100 && gone != 50),
            "{n}: {entry:?}"
        );
    }
}

#[test]
fn strangers_go_before_those_served_before_and_these_before_users() {
    let mut house = house(3, &[]);
    house.mark_served(address(0), at(0));
    for n in 0..3 {
        come(&mut house, n, Service::Smtp, at(n));
    }
    has_come(&mut house, 1, Stage::Trusted, at(1));
    has_come(&mut house, 2, Stage::ReceivingBody, at(500));
    assert_eq!(come(&mut house, 3, Service::Smtp, at(600)), AdmissionDecision::Evict(ConnId(2)));
    has_come(&mut house, 3, Stage::Trusted, at(600));
    assert_eq!(come(&mut house, 4, Service::Smtp, at(600)), AdmissionDecision::Evict(ConnId(0)));
    has_come(&mut house, 4, Stage::Trusted, at(600));
    // A user is evicted only if idle, and only if there is no other candidate.
    assert_eq!(come(&mut house, 5, Service::Smtp, at(601)), AdmissionDecision::Evict(ConnId(1)));
    has_come(&mut house, 5, Stage::Trusted, at(601));
    assert_eq!(come(&mut house, 6, Service::Smtp, at(602)), AdmissionDecision::Refuse);
}

#[test]
fn an_address_that_was_served_shields_a_few_of_its_connections_only() {
    let mut house = house(20, &[]);
    house.mark_served(address(7), at(0));
    for n in 0..20 {
        house.admit(ConnId(n), Service::Smtp, Some(address(7)), at(0));
    }
    for n in 20..36 {
        house.admit(ConnId(n), Service::Smtp, Some(address(n)), at(1));
        let AdmissionDecision::Evict(gone) = house.decide(Service::Smtp, at(2)) else { panic!() };
        house.remove(gone);
    }
    assert_eq!(house.prefixes.get(address(7)), MAX_SHIELDED);
}

#[test]
fn no_service_takes_the_places_of_another() {
    for flood in SERVICES {
        let mut house = house(80, &SERVICES);
        for n in 0..500 {
            come(&mut house, n, flood, at(n));
        }
        assert_eq!(house.held[flood.without_tls() as usize], 80 - 3 * 80 / SHARES);
        for (n, service) in SERVICES.into_iter().filter(|service| *service != flood).enumerate() {
            for k in 0..10 {
                let entry = come(&mut house, 1000 + 100 * n as u64 + k, service, at(500));
                assert_eq!(entry, AdmissionDecision::Admit, "{service:?} beside a flood of {flood:?}");
            }
        }
        // Beyond its share a service takes places from services that have more than theirs.
        let other = if flood == Service::Pop3 { Service::Smtp } else { Service::Pop3 };
        let entry = come(&mut house, 2000, other, at(501));
        assert!(matches!(entry, AdmissionDecision::Evict(ConnId(gone)) if gone < 500), "{entry:?}");
    }
}

#[test]
fn a_message_that_waits_for_the_disk_is_never_ended() {
    let mut house = house(1, &[]);
    come(&mut house, 0, Service::Smtp, at(0));
    house.update(ConnId(0), None);
    assert_eq!(house.decide(Service::Smtp, at(9999)), AdmissionDecision::Refuse);
}

#[test]
fn an_address_a_64_and_a_48_have_their_bounds() {
    let mut house = house(1000, &[]);
    let mut limits = Limits::default();
    (limits.connections.max_per_address, limits.connections.max_per_network) = (2, 5);
    house.reconfigure(1000, &limits, [].into_iter());
    let mut n = 0;
    let mut come = |text: &str| {
        n += 1;
        let peer = text.parse().unwrap();
        let fits = house.is_within_address_limits(peer);
        if fits {
            house.admit(ConnId(n), Service::Smtp, Some(peer), at(0));
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
fn everything_is_forgotten_with_the_last_connection_but_who_was_served() {
    let mut house = house(50, &SERVICES);
    house.served.most = 10;
    for n in 0..200 {
        house.mark_served(address(n), at(n));
        come(&mut house, n, SERVICES[n as usize % 4], at(n));
        has_come(&mut house, n, [Stage::ReceivingBody, Stage::Idle, Stage::Closing][n as usize % 3], at(n));
    }
    (0..200).for_each(|n| house.remove(ConnId(n)));
    assert_eq!(house.held, [0; Service::ALL.len()]);
    assert!(house.connections.is_empty() && house.eviction_queues.is_empty());
    assert!(house.prefixes.0.is_empty() && house.sites.0.is_empty() && house.shielded.0.is_empty());
    assert_eq!((house.served.last.len(), house.served.order.len()), (10, 10));
    assert!(house.served.contains(address(199)) && !house.served.contains(address(189)));
}
