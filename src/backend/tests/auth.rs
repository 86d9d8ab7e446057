use std::net::IpAddr;

use super::{
    super::{
        auth::Auth,
        effects::{Effect, Effects},
    },
    *,
};
use crate::{accounts::Verdict, limits::Limits, proto::request::Secret, workers::Job};

const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// Logins with two workers.
struct Bench {
    auth: Auth,
    accounts: Accounts,
    effects: Effects,
    now: Duration,
    _fixture: Fixture,
}

impl Bench {
    fn new() -> Self {
        let fixture = Fixture::new();
        let mut limits = Limits::default();
        (limits.auth.workers, limits.auth.queue_size) = (2, 3);
        let accounts = fixture.accounts();
        let auth = Auth::new(&[7; 32], &limits);
        Self { auth, accounts, effects: Effects::default(), now: SECOND, _fixture: fixture }
    }

    fn log_in(&mut self, id: u64, from: IpAddr, password: &str) {
        let said = ("ann", Secret::new(password));
        self.auth.verify((ConnId(id), from), said, &self.accounts, self.now, &mut self.effects);
        self.auth.dispatch_checks(&self.accounts, self.now, &mut self.effects);
    }

    fn verified(&mut self, id: u64, verdict: Result<Verdict, Failure>) {
        let id = ConnId(id);
        self.auth.verified(id, verdict, &mut self.accounts, self.now, &mut self.effects);
        self.auth.dispatch_checks(&self.accounts, self.now, &mut self.effects);
    }

    #[track_caller]
    fn expect_effects(&mut self, expected: &[&str]) {
        assert_eq!(effect_texts(&mut self.effects), expected);
    }
}

fn right() -> Result<Verdict, Failure> {
    Ok(Verdict::Right(mailbox("ann")))
}

#[test]
fn a_right_password_is_remembered_for_a_while() {
    let mut bench = Bench::new();
    bench.log_in(1, FAR, "sesame");
    bench.expect_effects(&["run Verify"]);
    bench.verified(1, right());
    let Some(Effect::Respond(ConnId(1), Response::Verified(opened))) = bench.effects.next() else {
        panic!("not let in")
    };
    assert_eq!(opened, mailbox("ann"));
    bench.log_in(2, FAR, "sesame");
    assert!(matches!(bench.effects.next(), Some(Effect::Respond(ConnId(2), Response::Verified(_)))));
    bench.log_in(3, FAR, "another");
    bench.expect_effects(&["run Verify"]);
    bench.now += Limits::default().auth.cache_ttl.0;
    bench.log_in(4, FAR, "sesame");
    bench.expect_effects(&["run Verify"]);
}

#[test]
fn the_response_to_a_wrong_password_is_held_back_for_longer_each_time() {
    let mut bench = Bench::new();
    let mut last = Duration::ZERO;
    for id in 1..4 {
        bench.log_in(id, FAR, &format!("wrong {id}"));
        bench.expect_effects(&["run Verify"]);
        bench.now += Duration::from_millis(100); // the time of the check, which the reply hides
        bench.verified(id, Ok(Verdict::Wrong));
        let Some(Effect::Respond(_, Response::Failed(Failure::AuthFailed { delay }))) = bench.effects.next()
        else {
            panic!("let in")
        };
        assert!(delay > last, "{delay:?} after {last:?}");
        last = delay;
        bench.now += Duration::from_secs(60);
    }
}

#[test]
fn as_many_are_checked_as_there_are_workers_and_the_others_wait_their_turn() {
    let mut bench = Bench::new();
    for id in 1..=5 {
        let from = IpAddr::V4([192, 0, 2, id as u8].into());
        bench.log_in(id, from, &format!("wrong {id}"));
    }
    bench.expect_effects(&["run Verify", "run Verify"]);
    assert_eq!(bench.auth.queue_len(), 3);
    bench.log_in(6, FAR, "wrong 6");
    let refused = effect_texts(&mut bench.effects);
    assert!(matches!(&refused[..], [one] if one.ends_with("failed Busy")), "{refused:?}");
    bench.verified(1, right());
    assert_eq!(effect_texts(&mut bench.effects).len(), 2, "a response, and the next check");
    assert_eq!(bench.auth.queue_len(), 2);
}

#[test]
fn a_check_that_is_never_done_is_a_failure_and_makes_room_for_the_next() {
    let mut bench = Bench::new();
    for id in 1..=3 {
        bench.log_in(id, IpAddr::V4([192, 0, 2, id as u8].into()), &format!("wrong {id}"));
    }
    let Some(Effect::Run(job)) = bench.effects.next() else { panic!("no job") };
    assert!(matches!(job, Job::Verify { conn: ConnId(1), .. }));
    assert!(matches!(
        job.failure_completion(Failure::Busy),
        Some(Completion::Verified(ConnId(1), Err(Failure::Busy)))
    ));
    effect_texts(&mut bench.effects);
    bench.verified(1, Err(Failure::Busy));
    bench.expect_effects(&["c1 failed Busy", "run Verify"]);
}

#[test]
fn a_client_that_leaves_takes_its_password_out_of_the_queue() {
    let mut bench = Bench::new();
    for id in 1..=3 {
        bench.log_in(id, IpAddr::V4([192, 0, 2, id as u8].into()), &format!("wrong {id}"));
    }
    effect_texts(&mut bench.effects);
    bench.auth.connection_closed(ConnId(3), bench.now, &mut bench.effects);
    bench.expect_effects(&["c3 failed Busy"]);
    bench.auth.connection_closed(ConnId(1), bench.now, &mut bench.effects);
    bench.expect_effects(&[]);
    bench.verified(1, right());
    assert_eq!(effect_texts(&mut bench.effects).len(), 1, "none is left to be checked");
}

#[test]
fn n182_a_password_that_was_checked_against_former_accounts_lets_nobody_in() {
    let mut bench = Bench::new();
    bench.log_in(1, FAR, "sesame");
    bench.expect_effects(&["run Verify"]);
    bench.accounts = Accounts::accept_all_in(&["other.test".to_owned()]);
    bench.verified(1, right());
    bench.expect_effects(&["c1 failed Busy"]);
    assert!(bench.auth.logins.take_revoked().is_empty());
}
