//! The desk's way in: from the first octet of a message to the committer and back.

use std::time::SystemTime;

use super::{Desk, Which};
use crate::{
    commit::{Content, Delivery},
    maildir::name::Unique,
    proto::ask::{Answer, ConnId, Envelope, Fault, Mailbox},
    work::{
        Arrival, Job, Spilled, To,
        job::{SpillTo, Task},
    },
};

/// A message on its way in: it has a share of the memory for bodies, and perhaps a file.
#[derive(Default)]
pub(super) struct Incoming {
    pub(super) spilled: Option<Box<Spilled>>,
    /// The mailboxes, while a spilled message is settled.
    to: Vec<Mailbox>,
}

impl Desk {
    pub(super) fn room(&self, size: u64) -> Answer {
        let wanted = size.saturating_add(size / 2);
        if self.free.is_some_and(|free| free < wanted) { Answer::Failed(Fault::Full) } else { Answer::Ready }
    }

    pub(super) fn begin(&mut self, from: ConnId) -> Answer {
        let share = self.limits.body_in_memory.0;
        if self.deliveries >= self.limits.delivery_queue {
            return Answer::Failed(Fault::Broken);
        }
        if (self.drafts.len() as u64 + 1) * share > self.limits.bodies_in_memory.0 {
            return Answer::Failed(Fault::Full);
        }
        self.drafts.insert(from, Incoming::default());
        Answer::Ready
    }

    pub(super) fn spill(&mut self, from: ConnId, mailbox: Mailbox, bytes: Vec<u8>) -> Option<Answer> {
        let begun = self.drafts.get_mut(&from).and_then(|incoming| incoming.spilled.take());
        let to = match begun {
            Some(spilled) => SpillTo::Begun(spilled),
            None => match self.unique() {
                Ok(name) => SpillTo::New(mailbox, name),
                Err(fault) => return Some(Answer::Failed(fault)),
            },
        };
        self.submit(Which::Disk, from, Task::Spill { to, bytes }, Fault::Broken)
    }

    pub(super) fn deliver(&mut self, from: ConnId, envelope: Envelope, bytes: Vec<u8>) -> Option<Answer> {
        let to: Vec<Mailbox> = envelope.to.into_iter().map(|recipient| recipient.mailbox).collect();
        let incoming = self.drafts.entry(from).or_default();
        if let Some(spilled) = incoming.spilled.take() {
            incoming.to = to;
            return self.submit(Which::Disk, from, Task::Settle { spilled, bytes }, Fault::Broken);
        }
        match self.unique() {
            Ok(name) => self.commit(from, to, Content::Memory(name, bytes)),
            Err(fault) => Some(Answer::Failed(fault)),
        }
    }

    pub(super) fn hand_over(&mut self, from: ConnId, spilled: Box<Spilled>) -> Option<Answer> {
        let to =
            self.drafts.get_mut(&from).map(|incoming| std::mem::take(&mut incoming.to)).unwrap_or_default();
        self.commit(from, to, Content::Settled(spilled))
    }

    pub(super) fn commit(&mut self, from: ConnId, to: Vec<Mailbox>, content: Content) -> Option<Answer> {
        match self.committer.submit(Delivery { from, to, content }) {
            Ok(()) => {
                self.deliveries += 1;
                self.awaited.insert(from);
                None
            }
            Err(delivery) => {
                if let Content::Settled(spilled) = delivery.content {
                    self.drafts.entry(from).or_default().spilled = Some(spilled);
                }
                Some(self.delivered(from, Err(Fault::Broken)))
            }
        }
    }

    pub(super) fn delivered(&mut self, from: ConnId, result: Result<Vec<Arrival>, Fault>) -> Answer {
        self.discard(from);
        match result {
            Ok(arrivals) => {
                for Arrival { mailbox, maildir, found } in arrivals {
                    self.registry.delivered(&mailbox, maildir, found);
                }
                Answer::Delivered
            }
            Err(fault) => Answer::Failed(fault),
        }
    }

    pub(super) fn unique(&mut self) -> Result<Unique, Fault> {
        let random = getrandom::u64().map_err(|error| {
            log::error!("no random numbers: {error}");
            Fault::Broken
        })?;
        Ok(self.namer.next(SystemTime::now(), random))
    }

    /// Gives the body's share of memory back, and removes its file.
    pub(super) fn discard(&mut self, id: ConnId) {
        let spilled = self.drafts.remove(&id).and_then(|incoming| incoming.spilled);
        if let Some(spilled) = spilled
            && let Err(Job { task: Task::Discard(spilled), .. }) =
                self.disk.submit(Job { to: To::Desk, task: Task::Discard(spilled) })
        {
            spilled.draft.discard(&spilled.home); // the queue is full: one unlink on the loop is the lesser evil
        }
    }
}
