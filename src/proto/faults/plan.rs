//! What shall go wrong with one message, or in one POP3 session.

use std::time::Duration;

use super::Injection;

/// What shall go wrong with one message, or in one POP3 session.
#[derive(Debug, Default)]
pub(super) struct Plan(Vec<Injection>);

impl Plan {
    pub(super) fn of(injections: Vec<Injection>) -> Self {
        Self(injections)
    }

    pub(super) fn add(&mut self, injections: impl IntoIterator<Item = Injection>) {
        self.0.extend(injections);
    }

    pub(super) fn has(&self, injection: Injection) -> bool {
        self.0.contains(&injection)
    }

    pub(super) fn after_dot(&self) -> Option<u16> {
        self.first(|injection| if let Injection::AfterDot(code) = injection { Some(code) } else { None })
    }

    pub(super) fn drop_at(&self) -> Option<u64> {
        self.first(|injection| if let Injection::DropAt(octets) = injection { Some(octets) } else { None })
    }

    pub(super) fn cut_at(&self) -> Option<u64> {
        self.first(|injection| if let Injection::CutAt(octets) = injection { Some(octets) } else { None })
    }

    pub(super) fn in_use(&self) -> Option<u64> {
        self.first(|injection| if let Injection::InUse(logins) = injection { Some(logins) } else { None })
    }

    pub(super) fn slow(&self) -> Option<Duration> {
        self.first(|injection| if let Injection::Slow(delay) = injection { Some(delay) } else { None })
    }

    pub(super) fn slow_quit(&self) -> Option<Duration> {
        self.first(|injection| if let Injection::SlowQuit(delay) = injection { Some(delay) } else { None })
    }

    pub(super) fn drip(&self) -> Option<u64> {
        self.first(|injection| if let Injection::Drip(rate) = injection { Some(rate) } else { None })
    }

    fn first<T>(&self, what: impl Fn(Injection) -> Option<T>) -> Option<T> {
        self.0.iter().copied().find_map(what)
    }
}
