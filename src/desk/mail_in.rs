//! The desk's way in: from the first octet of a message to the committer and back.

use std::{
    time::{Duration, SystemTime},
    vec,
};

use super::{Desk, Relief, Which};
use crate::{
    closing::release,
    commit::{Content, Delivery},
    maildir::{Usage, name::Unique},
    metrics::METRICS,
    proto::{
        Body,
        ask::{Answer, ConnId, Envelope, Fault, Mailbox, Recipient},
    },
    work::{
        Decision, Job, Receipt, Spilled, To,
        job::{SpillTo, Task},
    },
};

/// A message on its way in: it has a share of the memory for bodies, and perhaps a file.
#[derive(Default)]
pub(super) struct Incoming {
    spilled: Option<Box<Spilled>>,
    /// Its end has come.
    pub(super) ended: Option<Ended>,
}

/// A message that has come to its end, and waits for the disk.
pub(super) struct Ended {
    pub(super) to: Vec<Result<Recipient, Fault>>,
    partly: bool,
    pub(super) sent: Option<Mailbox>,
    /// Its last bytes.
    bytes: Vec<u8>,
    /// When the end came.
    since: Duration,
    pub(super) decision: Decision,
    pub(super) stage: Stage,
    /// Mailboxes whose quotas it is reckoned to: those of the recipients and of the sender.
    pub(super) reserved: Vec<Option<Mailbox>>,
    /// Octets that it was reckoned with.
    pub(super) size: u64,
}

/// How far a message is that has come to its end.
pub(super) enum Stage {
    /// Mailboxes are looked for whose quota asks for a count: those up to there, and these were found.
    Asking(usize, Vec<Mailbox>),
    /// Mailboxes have been counted for it.
    Learning(vec::IntoIter<(Mailbox, Usage)>),
    /// It is reckoned to the quotas, as far as `reserved` goes.
    Reserving,
    /// It is reckoned to all of them.
    Reserved,
    /// A worker has it, or the committer.
    Away,
}

impl Desk {
    pub(super) fn room(&self, size: u64) -> Answer {
        if let Err(fault) = self.in_place {
            return Answer::Failed(fault);
        }
        let wanted = size.saturating_add(size / 2);
        if self.free.is_some_and(|free| free < wanted) { Answer::Failed(Fault::Full) } else { Answer::Ready }
    }

    pub(super) fn begin(&mut self, from: ConnId) -> Answer {
        if self.deliveries >= self.limits.delivery_queue {
            METRICS.queue_full.one();
            return Answer::Failed(Fault::Broken);
        }
        if !self.bodies.have_room(from, self.now) {
            return Answer::Failed(Fault::Full);
        }
        self.bodies.begin(from);
        self.drafts.insert(from, Incoming::default());
        METRICS.bodies.set(self.drafts.len() as u64);
        Answer::Ready
    }

    pub(super) fn spill(&mut self, from: ConnId, mailboxes: Vec<Mailbox>, bytes: Vec<u8>) -> Option<Answer> {
        if !self.bodies.take_file(from, self.removing) {
            return Some(Answer::Failed(Fault::Full));
        }
        let begun = self.drafts.get_mut(&from).and_then(|incoming| incoming.spilled.take());
        let to = match begun {
            Some(spilled) => SpillTo::Begun(spilled),
            None => match self.unique() {
                Ok(name) => SpillTo::New(mailboxes, name),
                Err(fault) => return Some(Answer::Failed(fault)),
            },
        };
        self.bodies.moved(from, bytes.capacity() as u64);
        self.submit(Which::Disk, from, Task::Spill { to, bytes }, Fault::Broken)
            .inspect(|_| self.bodies.moved(from, 0))
    }

    /// A session has come so far with the message that it takes in; `is_known`: for a user who has logged in, a
    /// trusted client or a server of ours.
    pub fn note_body(&mut self, from: ConnId, is_known: bool, body: Option<Body>) {
        self.bodies.note(from, is_known, body);
    }

    /// Whether no more message data is to be read for now.
    pub fn is_pressed(&self, from: ConnId) -> bool {
        self.bodies.are_pressed(from)
    }

    /// What is to be done for room in memory.
    pub fn relief(&mut self) -> Relief {
        // What was given up is in memory until the disk is done with it.
        self.bodies.look_back(self.now, self.given_up as u64 * self.limits.body_in_memory.0);
        self.bodies.relief(self.now, self.removing)
    }

    /// A part of the message is in its file.
    pub(super) fn spilled(&mut self, from: ConnId, spilled: Box<Spilled>) -> Answer {
        self.bodies.moved(from, 0);
        self.drafts.entry(from).or_default().spilled = Some(spilled);
        Answer::Ready
    }

    pub(super) fn deliver(
        &mut self,
        from: ConnId,
        Envelope { to, sent, .. }: Envelope,
        bytes: Vec<u8>,
        partly: bool,
    ) -> Option<Answer> {
        self.bodies.moved(from, bytes.capacity() as u64);
        let incoming = self.drafts.entry(from).or_default();
        let spilled = incoming.spilled.as_ref().map_or(0, |spilled| spilled.draft.bytes());
        incoming.ended = Some(Ended {
            size: spilled + bytes.len() as u64,
            to: to.into_iter().map(Ok).collect(),
            partly,
            sent,
            bytes,
            since: self.now,
            decision: Decision::default(),
            stage: Stage::Asking(0, Vec::new()),
            reserved: Vec::new(),
        });
        self.walk(from)
    }

    /// Has those mailboxes counted, for their quotas.
    pub(super) fn count(
        &mut self,
        from: ConnId,
        uncounted: Vec<Mailbox>,
        decision: Decision,
    ) -> Option<Answer> {
        self.submit(Which::Disk, from, Task::Count(uncounted, decision), Fault::Broken)?;
        self.finish(from, Err(Fault::Broken))
    }

    /// Mailboxes have been counted for a message.
    pub(super) fn counted(
        &mut self,
        from: ConnId,
        decision: &Decision,
        counts: Vec<(Mailbox, Usage)>,
    ) -> Option<Answer> {
        if self.is_awaited(from, decision).is_none() {
            release(counts);
            return None;
        }
        self.drafts.get_mut(&from)?.ended.as_mut()?.stage = Stage::Learning(counts.into_iter());
        self.walk(from)
    }

    /// Sends a message that is reckoned to the quotas of its mailboxes on its way to the disk.
    pub(super) fn send_off(&mut self, from: ConnId) -> Option<Answer> {
        let incoming = self.drafts.get_mut(&from)?;
        let ended = incoming.ended.as_mut()?;
        let refused = ended.to.iter().filter(|recipient| recipient.is_err()).count();
        let fails = if ended.partly { refused == ended.to.len() } else { refused > 0 };
        let (bytes, decision) = (std::mem::take(&mut ended.bytes), ended.decision.clone());
        if fails {
            return self.finish(from, Err(Fault::Quota));
        }
        if let Some(spilled) = incoming.spilled.take() {
            let task = Task::Settle { spilled, bytes, decision };
            self.submit(Which::Disk, from, task, Fault::Broken)?;
            return self.finish(from, Err(Fault::Broken));
        }
        match self.unique() {
            Ok(name) => self.commit(from, Content::Memory(name, bytes)),
            Err(fault) => self.finish(from, Err(fault)),
        }
    }

    /// A message above what is held in memory is durable in `tmp/`.
    pub(super) fn settled(
        &mut self,
        from: ConnId,
        decision: &Decision,
        settled: Result<Box<Spilled>, Fault>,
    ) -> Option<Answer> {
        if self.is_awaited(from, decision).is_none() {
            if let Ok(spilled) = settled {
                self.remove(spilled);
            }
            return None;
        }
        match settled {
            Ok(spilled) => self.commit(from, Content::Settled(spilled)),
            Err(fault) => self.finish(from, Err(fault)),
        }
    }

    fn commit(&mut self, from: ConnId, content: Content) -> Option<Answer> {
        let ended = self.drafts.get_mut(&from)?.ended.as_mut()?;
        let (to, sent) = (std::mem::take(&mut ended.to), ended.sent.take());
        let (partly, decision) = (ended.partly, ended.decision.clone());
        match self.committer.submit(Delivery { from, to, partly, sent, content, decision }) {
            Ok(()) => {
                self.deliveries += 1;
                self.awaited.insert(from);
                None
            }
            Err(content) => {
                if let Content::Settled(spilled) = content {
                    self.remove(spilled);
                }
                self.finish(from, Err(Fault::Broken))
            }
        }
    }

    /// The committer is done with a message.
    pub(super) fn delivered(
        &mut self,
        from: ConnId,
        decision: &Decision,
        result: Result<Receipt, Fault>,
    ) -> Option<Answer> {
        self.deliveries -= 1;
        self.is_awaited(from, decision)?;
        self.finish(from, result)
    }

    /// Whether the result is for the message that the session waits for. Else it is for one that was given up.
    pub(super) fn is_awaited(&mut self, from: ConnId, decision: &Decision) -> Option<()> {
        let ended = self.drafts.get(&from).and_then(|incoming| incoming.ended.as_ref());
        if ended.is_some_and(|ended| ended.decision.is(decision)) {
            return Some(());
        }
        self.given_up = self.given_up.saturating_sub(1);
        None
    }

    /// Gives up the messages that the disk has not stored within the limit. A client that waits no longer sends
    /// again, and so it must not find the first one stored: whoever still has it takes it back.
    pub(super) fn give_up_late_ones(&mut self) {
        let (patience, now) = (self.limits.delivery_patience, self.now);
        let is_late = |ended: &Ended| ended.since + patience.0 <= now;
        let late = |ended: &Ended| if is_late(ended) { ended.decision.take() } else { None };
        self.give_up(LATE_A_TICK, late, &format!("in {patience}"));
    }

    /// The server ends: gives up the messages that nobody will find in a mailbox. Of those that somebody might,
    /// nothing can be said, for nobody is left to take them back.
    pub fn give_up_unpublished(&mut self) {
        self.give_up(usize::MAX, |ended| ended.decision.take_unpublished(), "before the end");
    }

    fn give_up(&mut self, most: usize, decide: impl Fn(&Ended) -> Option<()>, told: &str) {
        let is_given_up = |incoming: &Incoming| incoming.ended.as_ref().and_then(&decide).is_some();
        let given_up = self.drafts.iter().filter(|(_, incoming)| is_given_up(incoming));
        for id in given_up.map(|(id, _)| *id).take(most).collect::<Vec<_>>() {
            log::error!("{id}: the disk has not stored a message {told}; refused");
            let ended = self.drafts.get(&id).and_then(|incoming| incoming.ended.as_ref());
            // A thread that has it will say so.
            self.given_up += usize::from(ended.is_some_and(|ended| matches!(ended.stage, Stage::Away)));
            if let Some(answer) = self.finish(id, Err(Fault::Broken)) {
                self.answer(id, answer);
            }
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
        self.bodies.end(id);
        if let Some(incoming) = self.drafts.remove(&id) {
            METRICS.bodies.set(self.drafts.len() as u64);
            incoming.spilled.into_iter().for_each(|spilled| self.remove(spilled));
        }
    }

    /// Has the file in `tmp/` of a message removed that nobody will get.
    pub(super) fn remove(&mut self, spilled: Box<Spilled>) {
        let job = Job { to: To::Desk, task: Task::Discard(spilled) };
        match self.disk.submit(job).or_else(|job| self.scans.submit(job)) {
            Ok(()) => self.removing += 1,
            Err(_) => {
                log::warn!("the queues for the disk are full: a file stays in tmp/ until it is old enough")
            }
        }
    }
}

/// Messages that are given up in one tick: a disk that hangs may have one of every connection.
const LATE_A_TICK: usize = 1000;
