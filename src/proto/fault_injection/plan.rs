//! The faults planned for one message, or for one session of POP3 or IMAP.

use std::time::Duration;

use crate::proto::injection::{ImapVerb, InjectedFault};

#[derive(Debug, Default)]
pub(super) struct FaultPlan(Vec<InjectedFault>);

impl FaultPlan {
    pub(super) fn new(injections: Vec<InjectedFault>) -> Self {
        Self(injections)
    }

    /// Adds faults, up to [`MAX_FAULTS`], because a client may repeat RCPT without end.
    pub(super) fn add(&mut self, injections: impl IntoIterator<Item = InjectedFault>) {
        self.0.extend(injections.into_iter().take(MAX_FAULTS.saturating_sub(self.0.len())));
    }

    pub(super) fn has(&self, injection: InjectedFault) -> bool {
        self.0.contains(&injection)
    }

    pub(super) fn after_dot(&self) -> Option<u16> {
        self.first(|injection| if let InjectedFault::AfterDot(code) = injection { Some(code) } else { None })
    }

    pub(super) fn drop_at(&self) -> Option<u64> {
        self.first(
            |injection| if let InjectedFault::DropAt(octets) = injection { Some(octets) } else { None },
        )
    }

    pub(super) fn cut_at(&self) -> Option<u64> {
        self.first(|injection| if let InjectedFault::CutAt(octets) = injection { Some(octets) } else { None })
    }

    pub(super) fn refuses(&self, verb: ImapVerb) -> bool {
        self.has(InjectedFault::NoOn(verb))
    }

    pub(super) fn bye_at(&self) -> Option<u64> {
        self.first(|injection| if let InjectedFault::ByeAt(octets) = injection { Some(octets) } else { None })
    }

    pub(super) fn in_use(&self) -> Option<u64> {
        self.first(|injection| if let InjectedFault::InUse(logins) = injection { Some(logins) } else { None })
    }

    pub(super) fn slow(&self) -> Option<Duration> {
        self.first(|injection| if let InjectedFault::Slow(delay) = injection { Some(delay) } else { None })
    }

    pub(super) fn slow_quit(&self) -> Option<Duration> {
        self.first(
            |injection| if let InjectedFault::SlowQuit(delay) = injection { Some(delay) } else { None },
        )
    }

    pub(super) fn drip(&self) -> Option<u64> {
        self.first(|injection| if let InjectedFault::Drip(rate) = injection { Some(rate) } else { None })
    }

    fn first<T>(&self, what: impl Fn(InjectedFault) -> Option<T>) -> Option<T> {
        self.0.iter().copied().find_map(what)
    }
}

const MAX_FAULTS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_does_not_grow_without_end() {
        let mut plan = FaultPlan::default();
        (0..10_000).for_each(|n| plan.add([InjectedFault::DropAt(n), InjectedFault::WrongSize]));
        assert_eq!((plan.0.len(), plan.drop_at()), (MAX_FAULTS, Some(0)));
    }
}
