//! One message of a round: the mailboxes that it goes to, and what has become of it in each.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{Content, Delivery};
use crate::{
    maildir::{
        Error, Maildir, MessageEntry, MessageId, Subdir, TmpFile,
        fault_points::step,
        name::{self, UniqueName},
        scan::FileVersion,
    },
    proto::request::{ConnId, Failure, Mailbox, Recipient},
    workers::{
        AckToken, DeliveredCopy, DeliveryReceipt, SpilledMessage, spill::SpillPermit, storage::log_failure,
    },
};

/// A message on its way from memory or `tmp/` into its mailboxes.
///
/// It outlives a panic in any step, so that it always says what must be taken back.
pub(super) struct Message {
    pub(super) from: ConnId,
    /// Before it is planned where it goes.
    pub(super) to: Vec<Result<Recipient, Failure>>,
    pub(super) sent_copy_for: Option<Mailbox>,
    pub(super) body: Body,
    pub(super) octets: u64,
    pub(super) plan: DeliveryPlan,
    pub(super) ack_token: AckToken,
    /// What its sender is told, once that is decided.
    pub(super) result: Option<Result<DeliveryReceipt, Failure>>,
}

/// Where the content of a message is.
pub(super) enum Body {
    /// In memory, to be written to a file of that name.
    Memory(UniqueName, Vec<u8>),
    /// In `tmp/`.
    TmpFile(TmpFile),
    /// With a thread that syncs it.
    Syncing,
}

/// Where a message goes.
#[derive(Default)]
pub(super) struct DeliveryPlan {
    /// Some recipients may get it and others not.
    pub(super) partial_ok: bool,
    /// The mailbox in whose `tmp/` it lies.
    pub(super) tmp_maildir: Option<TmpMaildir>,
    /// For each recipient its target, or why it has none.
    pub(super) recipients: Vec<Result<usize, Failure>>,
    pub(super) targets: Vec<Target>,
    /// The copy for the sender, which never stands in the way of the message.
    pub(super) sent_copy: Option<SentCopy>,
}

/// The mailbox in whose `tmp/` a message lies.
pub(super) struct TmpMaildir {
    pub(super) maildir: Arc<Maildir>,
    /// There if a worker has chosen it.
    pub(super) spilled: Option<SpillHome>,
}

/// The mailbox that a worker has chosen for a file.
pub(super) struct SpillHome {
    pub(super) mailbox: Mailbox,
    pub(super) message_id: Option<MessageId>,
    /// Given back when the file is no more in `tmp/`.
    _permit: Option<SpillPermit>,
}

/// The copy for the sender.
pub(super) struct SentCopy {
    /// Its target.
    pub(super) target: usize,
    pub(super) id: Option<MessageId>,
}

/// A directory that a message goes to.
pub(super) struct Target {
    pub(super) mailbox: Mailbox,
    pub(super) maildir: Arc<Maildir>,
    pub(super) subdir: Subdir,
    pub(super) state: TargetState,
}

/// Whether a message is in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) enum TargetState {
    /// Not yet.
    Pending,
    /// Perhaps: it is being put there.
    Publishing,
    /// It is there, in a file with that stamp.
    Published(FileVersion),
    /// It is not, and will not be.
    Failed(Failure),
}

impl Target {
    pub(super) fn new(mailbox: Mailbox, maildir: Arc<Maildir>, place: Subdir) -> Self {
        Self { mailbox, maildir, subdir: place, state: TargetState::Pending }
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        if let TargetState::Failed(fault) = self.state { Some(fault) } else { None }
    }

    pub(super) fn version(&self) -> Option<FileVersion> {
        if let TargetState::Published(stamp) = self.state { Some(stamp) } else { None }
    }

    /// The name that a message of that name has here.
    fn name(&self, name: &str) -> String {
        match self.subdir {
            Subdir::New => name.to_owned(),
            Subdir::Cur => String::from_utf8_lossy(&name::with_flag(name.as_bytes(), b'S')).into_owned(),
        }
    }

    /// Takes the message back out, if it may be there.
    fn unpublish(&mut self, name: &str, fault: Failure) {
        if let TargetState::Publishing | TargetState::Published(_) = self.state
            && let Err(error) = self.maildir.unpublish(self.subdir, &self.name(name))
        {
            log::error!("{error}; the message stays visible, though it is refused");
        }
        if self.failure().is_none() {
            self.state = TargetState::Failed(fault);
        }
    }
}

impl DeliveryPlan {
    /// Why a recipient does not get it.
    fn failure(&self, recipient: Result<usize, Failure>) -> Option<Failure> {
        recipient.map_or_else(Some, |at| self.targets[at].failure())
    }

    /// For each recipient, why it does not get it.
    fn failures(&self) -> impl Iterator<Item = Option<Failure>> {
        self.recipients.iter().map(|recipient| self.failure(*recipient))
    }

    /// An error if nobody gets the message any more: no recipient, or not all of them where it must be all.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let Some(first) = self.failures().flatten().next() else { return Ok(()) };
        if self.partial_ok && self.failures().any(|fault| fault.is_none()) { Ok(()) } else { Err(first) }
    }

    /// Positions of the targets that have not failed.
    fn live_targets(&self) -> Vec<usize> {
        (0..self.targets.len()).filter(|at| self.targets[*at].failure().is_none()).collect()
    }
}

impl Message {
    pub(super) fn new(delivery: Delivery) -> Self {
        let Delivery { from, to, partial_ok: partly, sent_copy_for: sent, content, ack_token: decision } =
            delivery;
        let (body, home, octets) = match content {
            Content::Memory(name, bytes) => (Body::Memory(name, bytes), None, 0),
            Content::Synced(mut spilled) => {
                let (tmp_file, permit) = spilled.take_file().unzip();
                let SpilledMessage { maildir: home, mailbox, octets, message_id, .. } = *spilled;
                let spilled = Some(SpillHome { mailbox, message_id, _permit: permit });
                let home = TmpMaildir { maildir: Arc::new(home), spilled };
                (tmp_file.map_or(Body::Syncing, Body::TmpFile), Some(home), octets.total())
            }
        };
        let plan = DeliveryPlan { partial_ok: partly, tmp_maildir: home, ..DeliveryPlan::default() };
        Self { from, to, sent_copy_for: sent, body, octets, plan, ack_token: decision, result: None }
    }

    /// Where the message goes, as far as it has not failed there.
    pub(super) fn live_targets(&self) -> impl Iterator<Item = &Target> {
        self.plan.targets.iter().filter(|target| target.failure().is_none())
    }

    /// A step is about to be done.
    pub(super) fn enter_step(&self) -> Result<(), Failure> {
        let Some(home) = &self.plan.tmp_maildir else { return Ok(()) };
        step(home.maildir.path(), "next step").map_err(|error| log_failure(&error))
    }

    /// The file in `tmp/`.
    pub(super) fn tmp_file(&self) -> Result<&TmpFile, Failure> {
        if let Body::TmpFile(tmp_file) = &self.body { Ok(tmp_file) } else { Err(Failure::Broken) }
    }

    /// The file is complete: nobody finds it in a mailbox while it may still be written.
    pub(super) fn close(&mut self) -> Result<(), Failure> {
        match &mut self.body {
            Body::TmpFile(tmp_file) if tmp_file.is_closed() => Ok(()),
            Body::TmpFile(tmp_file) => tmp_file.close().map_err(|error| log_failure(&error)),
            _ => Err(Failure::Broken),
        }
    }

    /// D3: the message is visible in its mailboxes, or, where it must be all, in none.
    pub(super) fn publish(&mut self) -> Result<(), Failure> {
        self.ack_token.publish().ok_or(Failure::Broken)?;
        let tmp_file = self.tmp_file()?;
        let stamp = tmp_file.version().map_err(|error| log_failure(&error))?;
        let name = tmp_file.final_name(self.octets);
        let home = self.plan.tmp_maildir.as_ref().map(|home| home.maildir.id());
        let mut alive = self.plan.live_targets();
        // It leaves tmp/ for its own mailbox, if that is among them.
        alive.sort_by_key(|at| Some(self.plan.targets[*at].maildir.id()) == home);
        let mut in_tmp = true;
        for (n, at) in alive.iter().enumerate() {
            let last = n + 1 == alive.len();
            self.plan.targets[*at].state = TargetState::Publishing;
            let target = &self.plan.targets[*at];
            let put = self.publish_to(target, &target.name(&name), stamp, last);
            in_tmp &= !matches!(put, Ok((_, true)));
            self.plan.targets[*at].state = match put {
                Ok((stamp, _)) => TargetState::Published(stamp),
                Err(error) => TargetState::Failed(log_failure(&error)),
            };
            self.plan.check()?;
        }
        if in_tmp {
            self.tmp_file()?.discard();
        }
        Ok(())
    }

    /// Puts the message into one of its mailboxes: by a hard link, by a rename into the last one, or as a copy
    /// where neither can be. Returns the stamp of the file there, and whether it has left `tmp/`.
    fn publish_to(
        &self,
        target: &Target,
        name: &str,
        stamp: FileVersion,
        last: bool,
    ) -> Result<(FileVersion, bool), Error> {
        let Target { maildir, subdir: place, .. } = target;
        let Body::TmpFile(tmp_file) = &self.body else {
            return Err(Error::at(maildir.path(), "publish", std::io::Error::other("there is no file")));
        };
        let here = if last {
            tmp_file.rename(maildir, *place, name)?
        } else {
            tmp_file.link(maildir, *place, name)?
        };
        if here {
            return Ok((stamp, last));
        }
        let mut copy = tmp_file.copy(maildir)?;
        let put = copy.sync().and_then(|()| copy.close()).and_then(|()| {
            copy.rename(maildir, *place, name)?;
            copy.version()
        });
        if put.is_err() {
            copy.discard();
        }
        put.map(|stamp| (stamp, false))
    }

    /// The message is lost for one target.
    pub(super) fn unpublish_from(&mut self, at: usize, fault: Failure) {
        if let Ok(name) = self.name() {
            self.plan.targets[at].unpublish(&name, fault);
        }
    }

    /// The message is refused: it is taken back out of every mailbox and out of `tmp/`. A panic meanwhile does not
    /// end that.
    pub(super) fn reject(&mut self, fault: Failure) {
        self.result = Some(Err(fault));
        let mut done = catch_panic(|| self.unpublish_all(fault));
        if done.is_none() {
            done = catch_panic(|| self.unpublish_all(fault));
        }
        if done.is_none() {
            log::error!("{}: a message may stay visible, though it is refused", self.from);
        }
    }

    fn unpublish_all(&mut self, fault: Failure) {
        let Ok(name) = self.name() else { return };
        self.plan.targets.iter_mut().for_each(|target| target.unpublish(&name, fault));
        if let Body::TmpFile(tmp_file) = &self.body {
            tmp_file.discard();
        }
    }

    /// The message is acknowledged, if the client has not been told otherwise. After that nothing can fail.
    pub(super) fn acknowledge(&mut self) -> Result<(), Failure> {
        self.plan.check()?;
        let receipt = self.receipt()?;
        self.ack_token.claim().ok_or(Failure::Broken)?;
        self.result = Some(Ok(receipt));
        Ok(())
    }

    /// What there is to tell of a message whose names are durable: the index of each mailbox, and each
    /// recipient.
    fn receipt(&self) -> Result<DeliveryReceipt, Failure> {
        let name = self.name()?;
        let arrivals = self.plan.targets.iter().filter_map(|target| {
            let found = MessageEntry {
                name: target.name(&name).into_bytes().into(),
                subdir: target.subdir,
                version: target.version()?,
                octets: self.octets,
            };
            let (mailbox, maildir) = (target.mailbox.clone(), target.maildir.id());
            Some(DeliveredCopy { mailbox, maildir, entry: found })
        });
        let receipt =
            DeliveryReceipt { arrivals: arrivals.collect(), failures: self.plan.failures().collect() };
        for target in self.live_targets() {
            step(target.maildir.path(), "receipt").map_err(|error| log_failure(&error))?;
        }
        Ok(receipt)
    }

    fn name(&self) -> Result<String, Failure> {
        Ok(self.tmp_file()?.final_name(self.octets))
    }
}

/// Does something that may panic; `None` if it did. The hook has logged the panic.
pub(super) fn catch_panic<T>(act: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(act)).ok()
}
