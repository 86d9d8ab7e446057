//! One message of a batch: its mailboxes, and its state in each.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::queued_delivery::{Append, Content, Delivery};
use crate::{
    maildir::{
        Error, FileVersion, Maildir, MessageEntry, MessageId, Subdir, TmpFile,
        fault_points::fault_point,
        name::{self, UniqueName},
    },
    proto::request::{ConnId, Failure, Mailbox, Recipient},
    workers::{
        AckToken, DeliveredCopy, DeliveryReceipt, SpilledMessage, spill::SpillPermit, storage::log_failure,
    },
};

/// A message on its way from memory or `tmp/` into its mailboxes.
///
/// It survives a panic in any step, so that it always knows the files that must be removed.
pub(super) struct Message {
    pub(super) from: ConnId,
    /// Moved into the plan by the first step.
    pub(super) to: Vec<Result<Recipient, Failure>>,
    pub(super) sent_copy_for: Option<Mailbox>,
    pub(super) append: Option<Append>,
    pub(super) body: Body,
    pub(super) octets: u64,
    pub(super) plan: DeliveryPlan,
    pub(super) ack_token: AckToken,
    /// The result for the client, once it is decided.
    pub(super) result: Option<Result<DeliveryReceipt, Failure>>,
}

/// The location of a message's content.
pub(super) enum Body {
    /// In memory, to be written to a file with this name.
    Memory(UniqueName, Vec<u8>),
    /// In a file in `tmp/`.
    TmpFile(TmpFile),
    /// With a thread that syncs it.
    Syncing,
}

/// The destinations of a message.
#[derive(Default)]
pub(super) struct DeliveryPlan {
    /// Whether some recipients may get the message and others not.
    pub(super) partial_ok: bool,
    /// The mailbox whose `tmp/` contains it.
    pub(super) tmp_maildir: Option<TmpMaildir>,
    /// For each recipient its target, or the reason why it has none.
    pub(super) recipients: Vec<Result<usize, Failure>>,
    pub(super) targets: Vec<Target>,
    /// The copy for the sender. Its failure never prevents the delivery.
    pub(super) sent_copy: Option<SentCopy>,
    /// The Message-ID of a message that the owner of its folder puts there by IMAP.
    pub(super) appended: Option<MessageId>,
}

/// The mailbox whose `tmp/` contains a message.
pub(super) struct TmpMaildir {
    pub(super) maildir: Arc<Maildir>,
    /// Set if a worker has chosen the mailbox.
    pub(super) spilled: Option<SpillLocation>,
}

/// The mailbox that a worker has chosen for a file.
pub(super) struct SpillLocation {
    pub(super) mailbox: Mailbox,
    pub(super) message_id: Option<MessageId>,
    /// Returned after the file has left `tmp/`.
    _permit: Option<SpillPermit>,
}

/// The copy for the sender.
pub(super) struct SentCopy {
    /// Its index among the targets.
    pub(super) target: usize,
    pub(super) id: Option<MessageId>,
}

/// A directory to which a message is delivered.
pub(super) struct Target {
    pub(super) mailbox: Mailbox,
    pub(super) maildir: Arc<Maildir>,
    pub(super) subdir: Subdir,
    /// The letters of the flags, if the directory is `cur/`.
    letters: Box<[u8]>,
    pub(super) state: TargetState,
}

/// The state of a message in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) enum TargetState {
    Pending,
    /// Perhaps there: it is being published.
    Publishing,
    /// There, as this version of the file.
    Published(FileVersion),
    /// Not there, and never will be.
    Failed(Failure),
}

/// The way in which a message has come to a mailbox.
#[derive(Debug, Clone, Copy)]
enum Arrival {
    Link,
    /// It has left `tmp/`.
    Move,
    Copy,
}

impl Target {
    /// A directory for new mail.
    pub(super) fn new(mailbox: Mailbox, maildir: Arc<Maildir>) -> Self {
        Self { mailbox, maildir, subdir: Subdir::New, letters: Box::default(), state: TargetState::Pending }
    }

    /// A directory for a message with flags. Without any, the message is new mail.
    pub(super) fn with_flags(mailbox: Mailbox, maildir: Arc<Maildir>, letters: Box<[u8]>) -> Self {
        let subdir = if letters.is_empty() { Subdir::New } else { Subdir::Cur };
        Self { subdir, letters, ..Self::new(mailbox, maildir) }
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        if let TargetState::Failed(failure) = self.state { Some(failure) } else { None }
    }

    pub(super) fn version(&self) -> Option<FileVersion> {
        if let TargetState::Published(stamp) = self.state { Some(stamp) } else { None }
    }

    /// The file name here of a message with that name.
    fn name(&self, name: &str) -> String {
        match self.subdir {
            Subdir::New => name.to_owned(),
            Subdir::Cur => {
                String::from_utf8_lossy(&name::with_flags(name.as_bytes(), &self.letters)).into_owned()
            }
        }
    }

    /// Removes the message, if it may be there.
    fn unpublish(&mut self, name: &str, failure: Failure) {
        if let TargetState::Publishing | TargetState::Published(_) = self.state
            && let Err(error) = self.maildir.unpublish(self.subdir, &self.name(name))
        {
            log::error!("{error}; the message stays visible, though it is refused");
        }
        if self.failure().is_none() {
            self.state = TargetState::Failed(failure);
        }
    }
}

impl DeliveryPlan {
    /// The reason why a recipient does not get the message.
    fn failure(&self, recipient: Result<usize, Failure>) -> Option<Failure> {
        recipient.map_or_else(Some, |at| self.targets[at].failure())
    }

    /// For each recipient, the reason why it does not get the message.
    fn failures(&self) -> impl Iterator<Item = Option<Failure>> {
        self.recipients.iter().map(|recipient| self.failure(*recipient))
    }

    /// Returns an error if the message cannot be delivered any more: no recipient is left, or one has failed and all
    /// are needed.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let Some(first) = self.failures().flatten().next() else { return Ok(()) };
        if self.partial_ok && self.failures().any(|failure| failure.is_none()) { Ok(()) } else { Err(first) }
    }

    /// Indexes of the targets that have not failed.
    fn live_targets(&self) -> Vec<usize> {
        (0..self.targets.len()).filter(|at| self.targets[*at].failure().is_none()).collect()
    }
}

impl Message {
    pub(super) fn new(delivery: Delivery) -> Self {
        let Delivery {
            from,
            to,
            partial_ok: partly,
            sent_copy_for: sent,
            append,
            content,
            ack_token: decision,
        } = delivery;
        let (body, tmp_maildir, octets) = match content {
            Content::Memory(name, bytes) => (Body::Memory(name, bytes), None, 0),
            Content::SyncedFile(mut spilled) => {
                let (tmp_file, permit) = spilled.take_file().unzip();
                let SpilledMessage { maildir: tmp_maildir, mailbox, octets, message_id, .. } = *spilled;
                let spilled = Some(SpillLocation { mailbox, message_id, _permit: permit });
                let tmp_maildir = TmpMaildir { maildir: Arc::new(tmp_maildir), spilled };
                (tmp_file.map_or(Body::Syncing, Body::TmpFile), Some(tmp_maildir), octets.total())
            }
        };
        let plan = DeliveryPlan { partial_ok: partly, tmp_maildir, ..DeliveryPlan::default() };
        Self { from, to, sent_copy_for: sent, append, body, octets, plan, ack_token: decision, result: None }
    }

    /// The targets that have not failed.
    pub(super) fn live_targets(&self) -> impl Iterator<Item = &Target> {
        self.plan.targets.iter().filter(|target| target.failure().is_none())
    }

    /// Called before each step, so that a test can make the step fail.
    pub(super) fn enter_step(&self) -> Result<(), Failure> {
        let Some(tmp_maildir) = &self.plan.tmp_maildir else { return Ok(()) };
        fault_point(tmp_maildir.maildir.path(), "next step").map_err(|error| log_failure(&error))
    }

    pub(super) fn tmp_file(&self) -> Result<&TmpFile, Failure> {
        if let Body::TmpFile(tmp_file) = &self.body { Ok(tmp_file) } else { Err(Failure::TempFail) }
    }

    /// Closes the file: a reader must not find it in a mailbox while it may still be written.
    pub(super) fn close(&mut self) -> Result<(), Failure> {
        match &mut self.body {
            Body::TmpFile(tmp_file) if tmp_file.is_closed() => Ok(()),
            Body::TmpFile(tmp_file) => tmp_file.close().map_err(|error| log_failure(&error)),
            _ => Err(Failure::TempFail),
        }
    }

    /// D3: the message is visible in its mailboxes, or in none if all are needed. `Ok(false)`: its file had no name,
    /// and got none even in its own mailbox, which has a copy.
    pub(super) fn publish(&mut self) -> Result<bool, Failure> {
        self.ack_token.publish().ok_or(Failure::TempFail)?;
        let tmp_file = self.tmp_file()?;
        let stamp = tmp_file.version().map_err(|error| log_failure(&error))?;
        let name = tmp_file.final_name(self.octets);
        let tmp_maildir = self.plan.tmp_maildir.as_ref().map(|tmp_maildir| tmp_maildir.maildir.id());
        let mut alive = self.plan.live_targets();
        // The last target is reached by a rename, or by a link if the file has no name. The message's own mailbox comes last, if it is a target.
        alive.sort_by_key(|at| Some(self.plan.targets[*at].maildir.id()) == tmp_maildir);
        let unnamed = tmp_file.is_unnamed();
        let (mut in_tmp, mut nameable) = (true, true);
        for (n, at) in alive.iter().enumerate() {
            let last = n + 1 == alive.len();
            self.plan.targets[*at].state = TargetState::Publishing;
            let target = &self.plan.targets[*at];
            let put = self.publish_to(target, &target.name(&name), stamp, last);
            in_tmp &= !matches!(put, Ok((_, Arrival::Move)));
            let own = Some(target.maildir.id()) == tmp_maildir;
            nameable &= !(unnamed && own && matches!(put, Ok((_, Arrival::Copy))));
            self.plan.targets[*at].state = match put {
                Ok((stamp, _)) => TargetState::Published(stamp),
                Err(error) => TargetState::Failed(log_failure(&error)),
            };
            self.plan.check()?;
        }
        if in_tmp {
            self.tmp_file()?.discard();
        }
        Ok(nameable)
    }

    /// Publishes the message in one of its mailboxes: by a hard link, by a rename into the last one, or by a copy if
    /// neither is possible. Returns the version of the file there.
    fn publish_to(
        &self,
        target: &Target,
        name: &str,
        stamp: FileVersion,
        last: bool,
    ) -> Result<(FileVersion, Arrival), Error> {
        let Target { maildir, subdir, .. } = target;
        let Body::TmpFile(tmp_file) = &self.body else {
            return Err(Error::at(maildir.path(), "publish", std::io::Error::other("there is no file")));
        };
        let here = if last {
            tmp_file.rename(maildir, *subdir, name)?
        } else {
            tmp_file.link(maildir, *subdir, name)?
        };
        if here {
            return Ok((stamp, if last { Arrival::Move } else { Arrival::Link }));
        }
        let mut copy = tmp_file.copy(maildir)?;
        let put = copy.sync().and_then(|()| copy.close()).and_then(|()| {
            copy.rename(maildir, *subdir, name)?;
            copy.version()
        });
        if put.is_err() {
            copy.discard();
        }
        put.map(|stamp| (stamp, Arrival::Copy))
    }

    /// Removes the message from one target.
    pub(super) fn unpublish_from(&mut self, at: usize, failure: Failure) {
        if let Ok(name) = self.name() {
            self.plan.targets[at].unpublish(&name, failure);
        }
    }

    /// Rejects the message: removes it from every mailbox and from `tmp/`. After a panic meanwhile it tries once
    /// more.
    pub(super) fn reject(&mut self, failure: Failure) {
        self.result = Some(Err(failure));
        let mut done = catch_panic(|| self.unpublish_all(failure));
        if done.is_none() {
            done = catch_panic(|| self.unpublish_all(failure));
        }
        if done.is_none() {
            log::error!("{}: a message may stay visible, though it is refused", self.from);
        }
    }

    fn unpublish_all(&mut self, failure: Failure) {
        let Ok(name) = self.name() else { return };
        self.plan.targets.iter_mut().for_each(|target| target.unpublish(&name, failure));
        if let Body::TmpFile(tmp_file) = &self.body {
            tmp_file.discard();
        }
    }

    /// Acknowledges the message, unless the client has already got another reply. Nothing can fail after that.
    pub(super) fn acknowledge(&mut self) -> Result<(), Failure> {
        self.plan.check()?;
        let receipt = self.receipt()?;
        self.ack_token.claim().ok_or(Failure::TempFail)?;
        self.result = Some(Ok(receipt));
        Ok(())
    }

    /// The receipt of a message whose names are durable, for the index of each mailbox and for each recipient.
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
            fault_point(target.maildir.path(), "receipt").map_err(|error| log_failure(&error))?;
        }
        Ok(receipt)
    }

    fn name(&self) -> Result<String, Failure> {
        Ok(self.tmp_file()?.final_name(self.octets))
    }

    /// Its file name in one of its mailboxes.
    pub(super) fn name_at(&self, target: &Target) -> Result<String, Failure> {
        Ok(target.name(&self.name()?))
    }
}

/// Runs `act`, which may panic; returns `None` if it did. The panic hook has logged it.
pub(super) fn catch_panic<T>(act: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(act)).ok()
}
