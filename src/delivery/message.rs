//! One message of a round: the mailboxes that it goes to, and what has become of it in each.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{Content, Delivery};
use crate::{
    maildir::{
        Draft, Error, Found, Maildir, MessageId, Place,
        fault_points::step,
        name::{self, Unique},
        scan::Stamp,
    },
    proto::request::{ConnId, Fault, Mailbox, Recipient},
    workers::{AckToken, Arrival, Receipt, Spilled, spill::SpillPermit, storage::report},
};

/// A message on its way from memory or `tmp/` into its mailboxes.
///
/// It outlives a panic in any step, so that it always says what must be taken back.
pub(super) struct Message {
    pub(super) from: ConnId,
    /// Before it is planned where it goes.
    pub(super) to: Vec<Result<Recipient, Fault>>,
    pub(super) sent: Option<Mailbox>,
    pub(super) body: Body,
    pub(super) octets: u64,
    pub(super) plan: Plan,
    pub(super) decision: AckToken,
    /// What its sender is told, once that is decided.
    pub(super) fate: Option<Result<Receipt, Fault>>,
}

/// Where the content of a message is.
pub(super) enum Body {
    /// In memory, to be written to a file of that name.
    Memory(Unique, Vec<u8>),
    /// In `tmp/`.
    File(Draft),
    /// With a thread that syncs it.
    Away,
}

/// Where a message goes.
#[derive(Default)]
pub(super) struct Plan {
    /// Some recipients may get it and others not.
    pub(super) partly: bool,
    /// The mailbox in whose `tmp/` it lies.
    pub(super) home: Option<Home>,
    /// For each recipient its target, or why it has none.
    pub(super) recipients: Vec<Result<usize, Fault>>,
    pub(super) targets: Vec<Target>,
    /// The copy for the sender, which never stands in the way of the message.
    pub(super) copy: Option<Copy>,
}

/// The mailbox in whose `tmp/` a message lies.
pub(super) struct Home {
    pub(super) maildir: Arc<Maildir>,
    /// There if a worker has chosen it.
    pub(super) spilled: Option<SpilledHome>,
}

/// The mailbox that a worker has chosen for a file.
pub(super) struct SpilledHome {
    pub(super) mailbox: Mailbox,
    pub(super) message_id: Option<MessageId>,
    /// Given back when the file is no more in `tmp/`.
    _permit: Option<SpillPermit>,
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
    pub(super) maildir: Arc<Maildir>,
    pub(super) place: Place,
    pub(super) state: State,
}

/// Whether a message is in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    /// Not yet.
    Waiting,
    /// Perhaps: it is being put there.
    Placing,
    /// It is there, in a file with that stamp.
    There(Stamp),
    /// It is not, and will not be.
    Failed(Fault),
}

impl Target {
    pub(super) fn new(mailbox: Mailbox, maildir: Arc<Maildir>, place: Place) -> Self {
        Self { mailbox, maildir, place, state: State::Waiting }
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        if let State::Failed(fault) = self.state { Some(fault) } else { None }
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        if let State::There(stamp) = self.state { Some(stamp) } else { None }
    }

    /// The name that a message of that name has here.
    fn name(&self, name: &str) -> String {
        match self.place {
            Place::New => name.to_owned(),
            Place::Cur => String::from_utf8_lossy(&name::with_flag(name.as_bytes(), b'S')).into_owned(),
        }
    }

    /// Takes the message back out, if it may be there.
    fn withdraw(&mut self, name: &str, fault: Fault) {
        if let State::Placing | State::There(_) = self.state
            && let Err(error) = self.maildir.withdraw(self.place, &self.name(name))
        {
            log::error!("{error}; the message stays visible, though it is refused");
        }
        if self.fault().is_none() {
            self.state = State::Failed(fault);
        }
    }
}

impl Plan {
    /// Why a recipient does not get it.
    fn fault(&self, recipient: Result<usize, Fault>) -> Option<Fault> {
        recipient.map_or_else(Some, |at| self.targets[at].fault())
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
    fn alive(&self) -> Vec<usize> {
        (0..self.targets.len()).filter(|at| self.targets[*at].fault().is_none()).collect()
    }
}

impl Message {
    pub(super) fn new(delivery: Delivery) -> Self {
        let Delivery { from, to, partly, sent, content, decision } = delivery;
        let (body, home, octets) = match content {
            Content::Memory(name, bytes) => (Body::Memory(name, bytes), None, 0),
            Content::Settled(mut spilled) => {
                let (draft, permit) = spilled.take_file().unzip();
                let Spilled { home, mailbox, octets, message_id, .. } = *spilled;
                let spilled = Some(SpilledHome { mailbox, message_id, _permit: permit });
                let home = Home { maildir: Arc::new(home), spilled };
                (draft.map_or(Body::Away, Body::File), Some(home), octets.total())
            }
        };
        let plan = Plan { partly, home, ..Plan::default() };
        Self { from, to, sent, body, octets, plan, decision, fate: None }
    }

    /// Where the message goes, as far as it has not failed there.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Target> {
        self.plan.targets.iter().filter(|target| target.fault().is_none())
    }

    /// A step is about to be done.
    pub(super) fn next_step(&self) -> Result<(), Fault> {
        let Some(home) = &self.plan.home else { return Ok(()) };
        step(home.maildir.path(), "next step").map_err(|error| report(&error))
    }

    /// The file in `tmp/`.
    pub(super) fn draft(&self) -> Result<&Draft, Fault> {
        if let Body::File(draft) = &self.body { Ok(draft) } else { Err(Fault::Broken) }
    }

    /// The file is complete: nobody finds it in a mailbox while it may still be written.
    pub(super) fn close(&mut self) -> Result<(), Fault> {
        match &mut self.body {
            Body::File(draft) if draft.is_closed() => Ok(()),
            Body::File(draft) => draft.close().map_err(|error| report(&error)),
            _ => Err(Fault::Broken),
        }
    }

    /// D3: the message is visible in its mailboxes, or, where it must be all, in none.
    pub(super) fn publish(&mut self) -> Result<(), Fault> {
        self.decision.publish().ok_or(Fault::Broken)?;
        let draft = self.draft()?;
        let stamp = draft.stamp().map_err(|error| report(&error))?;
        let name = draft.final_name(self.octets);
        let home = self.plan.home.as_ref().map(|home| home.maildir.key());
        let mut alive = self.plan.alive();
        // It leaves tmp/ for its own mailbox, if that is among them.
        alive.sort_by_key(|at| Some(self.plan.targets[*at].maildir.key()) == home);
        let mut in_tmp = true;
        for (n, at) in alive.iter().enumerate() {
            let last = n + 1 == alive.len();
            self.plan.targets[*at].state = State::Placing;
            let target = &self.plan.targets[*at];
            let put = self.put(target, &target.name(&name), stamp, last);
            in_tmp &= !matches!(put, Ok((_, true)));
            self.plan.targets[*at].state = match put {
                Ok((stamp, _)) => State::There(stamp),
                Err(error) => State::Failed(report(&error)),
            };
            self.plan.stands()?;
        }
        if in_tmp {
            self.draft()?.discard();
        }
        Ok(())
    }

    /// Puts the message into one of its mailboxes: by a hard link, by a rename into the last one, or as a copy
    /// where neither can be. Returns the stamp of the file there, and whether it has left `tmp/`.
    fn put(&self, target: &Target, name: &str, stamp: Stamp, last: bool) -> Result<(Stamp, bool), Error> {
        let Target { maildir, place, .. } = target;
        let Body::File(draft) = &self.body else {
            return Err(Error::at(maildir.path(), "publish", std::io::Error::other("there is no file")));
        };
        let here =
            if last { draft.rename(maildir, *place, name)? } else { draft.link(maildir, *place, name)? };
        if here {
            return Ok((stamp, last));
        }
        let mut copy = draft.copy(maildir)?;
        let put = copy.sync().and_then(|()| copy.close()).and_then(|()| {
            copy.rename(maildir, *place, name)?;
            copy.stamp()
        });
        if put.is_err() {
            copy.discard();
        }
        put.map(|stamp| (stamp, false))
    }

    /// The message is lost for one target.
    pub(super) fn withdraw_from(&mut self, at: usize, fault: Fault) {
        if let Ok(name) = self.name() {
            self.plan.targets[at].withdraw(&name, fault);
        }
    }

    /// The message is refused: it is taken back out of every mailbox and out of `tmp/`. A panic meanwhile does not
    /// end that.
    pub(super) fn fail(&mut self, fault: Fault) {
        self.fate = Some(Err(fault));
        let mut done = guarded(|| self.take_back(fault));
        if done.is_none() {
            done = guarded(|| self.take_back(fault));
        }
        if done.is_none() {
            log::error!("{}: a message may stay visible, though it is refused", self.from);
        }
    }

    fn take_back(&mut self, fault: Fault) {
        let Ok(name) = self.name() else { return };
        self.plan.targets.iter_mut().for_each(|target| target.withdraw(&name, fault));
        if let Body::File(draft) = &self.body {
            draft.discard();
        }
    }

    /// The message is acknowledged, if the client has not been told otherwise. After that nothing can fail.
    pub(super) fn acknowledge(&mut self) -> Result<(), Fault> {
        self.plan.stands()?;
        let receipt = self.receipt()?;
        self.decision.claim().ok_or(Fault::Broken)?;
        self.fate = Some(Ok(receipt));
        Ok(())
    }

    /// What there is to tell of a message whose names are durable: the index of each mailbox, and each
    /// recipient.
    fn receipt(&self) -> Result<Receipt, Fault> {
        let name = self.name()?;
        let arrivals = self.plan.targets.iter().filter_map(|target| {
            let found = Found {
                name: target.name(&name).into_bytes().into(),
                place: target.place,
                stamp: target.stamp()?,
                octets: self.octets,
            };
            let (mailbox, maildir) = (target.mailbox.clone(), target.maildir.key());
            Some(Arrival { mailbox, maildir, found })
        });
        let receipt = Receipt { arrivals: arrivals.collect(), faults: self.plan.faults().collect() };
        for target in self.alive() {
            step(target.maildir.path(), "receipt").map_err(|error| report(&error))?;
        }
        Ok(receipt)
    }

    fn name(&self) -> Result<String, Fault> {
        Ok(self.draft()?.final_name(self.octets))
    }
}

/// Does something that may panic; `None` if it did. The hook has logged the panic.
pub(super) fn guarded<T>(act: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(act)).ok()
}
