//! One message of a round: the mailboxes that it goes to, and what has become of it in each.

use std::rc::Rc;

use crate::{
    maildir::{Draft, Error, Found, Maildir, MessageId, Place, name, scan::Stamp},
    proto::ask::{Fault, Mailbox},
    work::{Arrival, Decision, Receipt, shop::report},
};

/// A message in `tmp/`, and then in its mailboxes.
pub(super) struct Message {
    /// The mailbox in whose `tmp/` it lies.
    pub(super) home: Rc<Maildir>,
    pub(super) draft: Draft,
    pub(super) octets: u64,
    /// The content is durable already.
    pub(super) settled: bool,
    pub(super) plan: Plan,
    pub(super) decision: Decision,
}

/// Where a message goes.
pub(super) struct Plan {
    /// Some recipients may get it and others not.
    pub(super) partly: bool,
    /// For each recipient its target, or why it has none.
    pub(super) recipients: Vec<Result<usize, Fault>>,
    pub(super) targets: Vec<Target>,
    /// The copy for the sender, which never stands in the way of the message.
    pub(super) copy: Option<Copy>,
}

/// The copy for the sender.
pub(super) struct Copy {
    /// Its target.
    pub(super) at: usize,
    pub(super) id: Option<MessageId>,
}

/// A directory that a message goes to.
pub(super) struct Target {
    pub(super) mailbox: Mailbox,
    pub(super) maildir: Rc<Maildir>,
    pub(super) place: Place,
    /// Whether it is there: the stamp of its file; or why it is not and will not be.
    pub(super) state: Result<Option<Stamp>, Fault>,
}

impl Target {
    /// The name that a message of that name has here.
    fn name(&self, name: &str) -> String {
        match self.place {
            Place::New => name.to_owned(),
            Place::Cur => String::from_utf8_lossy(&name::with_flag(name.as_bytes(), b'S')).into_owned(),
        }
    }

    /// Takes the message back out. What can't be removed was never acknowledged.
    fn withdraw(&mut self, name: &str, fault: Fault) {
        if let Ok(Some(_)) = std::mem::replace(&mut self.state, Err(fault))
            && let Err(error) = self.maildir.withdraw(self.place, &self.name(name))
        {
            report(&error);
        }
    }
}

impl Plan {
    /// Why a recipient does not get it.
    fn fault(&self, recipient: Result<usize, Fault>) -> Option<Fault> {
        recipient.and_then(|at| self.targets[at].state).err()
    }

    /// For each recipient, why it does not get it.
    fn faults(&self) -> impl Iterator<Item = Option<Fault>> {
        self.recipients.iter().map(|recipient| self.fault(*recipient))
    }

    /// An error if nobody gets the message any more: no recipient, or not all of them where it must be all.
    pub(super) fn stands(&self) -> Result<(), Fault> {
        let Some(first) = self.faults().flatten().next() else { return Ok(()) };
        if self.partly && self.faults().any(|fault| fault.is_none()) { Ok(()) } else { Err(first) }
    }

    /// Positions of the targets that have not failed.
    pub(super) fn alive(&self) -> Vec<usize> {
        (0..self.targets.len()).filter(|at| self.targets[*at].state.is_ok()).collect()
    }
}

impl Message {
    /// Where the message goes, as far as it has not failed there.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Target> {
        self.plan.targets.iter().filter(|target| target.state.is_ok())
    }

    /// D3: the message is visible in its mailboxes, or, where it must be all, in none.
    pub(super) fn publish(mut self) -> Result<Self, Fault> {
        let name = self.name();
        let wanted = self.decision.publish().ok_or(Fault::Broken);
        let stamp = wanted.and_then(|()| self.draft.stamp().map_err(|error| report(&error)));
        let stamp = stamp.inspect_err(|_| self.draft.discard(&self.home))?;
        match self.publish_all(&name, stamp) {
            Ok(()) => Ok(self),
            Err(fault) => {
                self.withdraw(fault);
                Err(fault)
            }
        }
    }

    fn publish_all(&mut self, name: &str, stamp: Stamp) -> Result<(), Fault> {
        let mut alive = self.plan.alive();
        // It leaves tmp/ for its own mailbox, if that is among them.
        alive.sort_by_key(|at| self.plan.targets[*at].maildir.key() == self.home.key());
        let (mut result, mut in_tmp) = (Ok(()), true);
        for (n, at) in alive.iter().enumerate() {
            let target = &self.plan.targets[*at];
            let last = n + 1 == alive.len();
            let put = self.put(target, &target.name(name), stamp, last);
            in_tmp &= !matches!(put, Ok((_, true)));
            self.plan.targets[*at].state = match put {
                Ok((stamp, _)) => Ok(Some(stamp)),
                Err(error) => Err(report(&error)),
            };
            result = self.plan.stands();
            if result.is_err() {
                break;
            }
        }
        if in_tmp {
            self.draft.discard(&self.home);
        }
        result
    }

    /// Puts the message into one of its mailboxes: by a hard link, by a rename into the last one, or as a copy
    /// where neither can be. Returns the stamp of the file there, and whether it has left `tmp/`.
    fn put(&self, target: &Target, name: &str, stamp: Stamp, last: bool) -> Result<(Stamp, bool), Error> {
        let Target { maildir, place, .. } = target;
        let here = if last {
            self.draft.rename(&self.home, maildir, *place, name)?
        } else {
            self.draft.link(&self.home, maildir, *place, name)?
        };
        if here {
            return Ok((stamp, last));
        }
        let copy = self.draft.copy(&self.home, maildir)?;
        let put = copy.sync().and_then(|()| copy.stamp()).and_then(|stamp| {
            copy.rename(maildir, maildir, *place, name)?;
            Ok(stamp)
        });
        if put.is_err() {
            copy.discard(maildir);
        }
        put.map(|stamp| (stamp, false))
    }

    /// The message is lost for one target.
    pub(super) fn withdraw_from(&mut self, at: usize, fault: Fault) {
        let name = self.name();
        self.plan.targets[at].withdraw(&name, fault);
    }

    /// Takes the message back out of every mailbox.
    pub(super) fn withdraw(&mut self, fault: Fault) {
        let name = self.name();
        self.plan.targets.iter_mut().for_each(|target| target.withdraw(&name, fault));
    }

    /// What there is to tell of a message whose names are durable: the index of each mailbox, and each
    /// recipient.
    pub(super) fn receipt(&self) -> Receipt {
        let name = self.name();
        let arrivals = self.plan.targets.iter().filter_map(|target| {
            let found = Found {
                name: target.name(&name).into_bytes().into(),
                place: target.place,
                stamp: target.state.ok()??,
                octets: self.octets,
            };
            let (mailbox, maildir) = (target.mailbox.clone(), target.maildir.key());
            Some(Arrival { mailbox, maildir, found })
        });
        Receipt { arrivals: arrivals.collect(), faults: self.plan.faults().collect() }
    }

    fn name(&self) -> String {
        self.draft.final_name(self.octets)
    }
}
