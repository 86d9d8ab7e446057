//! Wrong passwords of one address, network or user within the last day, the oldest first.

use std::{collections::VecDeque, time::Duration};

/// So many in so long; 0 is any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RateLimit {
    pub(super) window: Duration,
    pub(super) max: usize,
}

/// Whether one more may be checked: the larger, the less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Headroom {
    Available,
    /// If one that is under way proves right.
    PendingChecks,
    Exhausted,
}

#[derive(Debug, Default)]
pub(super) struct Failures(VecDeque<Failure>);

#[derive(Debug)]
struct Failure {
    address_and_user: u64,
    password_key: u64,
    at: Duration,
    state: AttemptState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttemptState {
    /// The check has not ended.
    Running,
    Wrong,
    /// A right password came later.
    Forgiven,
}

impl Failures {
    /// Those that no right password has made good, and those that are being checked.
    pub(super) fn count(&self, now: Duration, span: Duration) -> usize {
        self.within(now, span).filter(|failure| failure.state != AttemptState::Forgiven).count()
    }

    /// Those of them whose check has ended.
    pub(super) fn confirmed(&self, now: Duration, span: Duration) -> usize {
        self.within(now, span).filter(|failure| failure.state == AttemptState::Wrong).count()
    }

    fn within(&self, now: Duration, span: Duration) -> impl Iterator<Item = &Failure> {
        self.0.iter().rev().take_while(move |failure| now.saturating_sub(failure.at) < span)
    }

    pub(super) fn headroom(&self, bounds: &[RateLimit], now: Duration) -> Headroom {
        let room = |RateLimit { window: span, max: most }: &RateLimit| {
            let all =
                || self.within(now, *span).filter(|failure| failure.state != AttemptState::Running).count();
            let forgiving = most.saturating_mul(FORGIVEN_FACTOR);
            match most {
                0 => Headroom::Available,
                most if self.confirmed(now, *span) >= *most || all() >= forgiving => Headroom::Exhausted,
                most if self.count(now, *span) >= *most => Headroom::PendingChecks,
                _ => Headroom::Available,
            }
        };
        bounds.iter().map(room).max().unwrap_or(Headroom::Available)
    }

    /// Counts one more, unless the same is there already.
    pub(super) fn begin(
        &mut self,
        address_and_user: u64,
        password_key: u64,
        bounds: &[RateLimit],
        now: Duration,
    ) {
        let longest = bounds.iter().map(|bound| bound.window).max().unwrap_or_default();
        while self.0.front().is_some_and(|first| now.saturating_sub(first.at) >= longest) {
            self.0.pop_front();
        }
        if self.0.iter().any(|failure| {
            (failure.address_and_user, failure.password_key) == (address_and_user, password_key)
        }) {
            return;
        }
        let most = bounds.iter().map(|bound| bound.max).max().unwrap_or(0).max(MIN_KEPT);
        if self.0.len() >= most.saturating_mul(FORGIVEN_FACTOR) {
            self.0.pop_front();
        }
        self.0.push_back(Failure { address_and_user, password_key, at: now, state: AttemptState::Running });
    }

    pub(super) fn confirm(&mut self, address_and_user: u64, password_key: u64) {
        let found = self.0.iter_mut().find(|failure| {
            (failure.address_and_user, failure.password_key) == (address_and_user, password_key)
        });
        found
            .into_iter()
            .filter(|failure| failure.state == AttemptState::Running)
            .for_each(|failure| failure.state = AttemptState::Wrong);
    }

    /// The password of that mark was right, and makes the others good. They stay known, because another client of the
    /// same address may be guessing between the logins.
    pub(super) fn forgive(&mut self, right: u64) {
        self.0.retain(|failure| failure.password_key != right);
        self.0.iter_mut().for_each(|failure| failure.state = AttemptState::Forgiven);
    }

    /// Takes back those of a user from an address.
    pub(super) fn remove_address_and_user(&mut self, address_and_user: u64) {
        self.0.retain(|failure| failure.address_and_user != address_and_user);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn last(&self) -> Option<Duration> {
        self.0.back().map(|failure| failure.at)
    }
}

/// So many times the bound also of those that a right password has made good.
const FORGIVEN_FACTOR: usize = 4;
/// Failures that are kept where no bound says how many: the delay grows with them.
const MIN_KEPT: usize = 16;
