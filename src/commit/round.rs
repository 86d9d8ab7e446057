//! One round of the committer, step by step.

use std::{collections::HashMap, rc::Rc, time::Instant};

use super::{
    Content, Delivery,
    message::{Copy, Message, Plan, Target},
    sync::{self, Syncer, Way},
};
use crate::{
    maildir::{Draft, Maildir, MessageId, Place, name::Unique, sent::Filed, store::Part},
    metrics::METRICS,
    octets::octets,
    proto::{
        ask::{ConnId, Fault, Mailbox, Recipient},
        folder::Folder,
    },
    work::{Decision, Receipt, Shop, shop::report},
};

/// The mailboxes that the committer has open.
#[derive(Debug)]
pub(super) struct Homes {
    /// How many of them: to open one anew may cost syncs, if it is young.
    most: usize,
    open: HashMap<Mailbox, Rc<Maildir>>,
    /// What was filed lately in the folders of senders.
    filed: HashMap<Mailbox, Filed>,
}

impl Homes {
    pub(super) fn new(most: usize) -> Self {
        Self { most, open: HashMap::new(), filed: HashMap::new() }
    }

    /// The Maildir of a mailbox, as it is now: it may have been removed or replaced since the last time.
    fn get(
        &mut self,
        shop: &Shop,
        mailbox: &Mailbox,
        open: impl FnOnce() -> Result<Maildir, Fault>,
    ) -> Result<Rc<Maildir>, Fault> {
        if let Some(home) = self.open.get(mailbox).filter(|home| shop.still_has(mailbox, home)) {
            return Ok(Rc::clone(home));
        }
        if self.open.len() >= self.most {
            self.open.clear();
        }
        let home = Rc::new(open()?);
        self.open.insert(mailbox.clone(), Rc::clone(&home));
        Ok(home)
    }

    /// What was filed lately in that folder.
    fn filed(&mut self, folder: &Mailbox, maildir: &Maildir) -> &mut Filed {
        if self.filed.len() >= MOST_SENDERS && !self.filed.contains_key(folder) {
            self.filed.clear();
        }
        self.filed.entry(folder.clone()).or_insert_with(|| Filed::load(maildir))
    }
}

/// One round.
pub(super) struct Round<'a> {
    shop: &'a Shop,
    homes: &'a mut Homes,
    syncer: &'a mut Syncer,
    /// What this round files for its senders.
    filing: Vec<(Mailbox, MessageId)>,
    /// Whether the spool is in its place.
    in_place: Result<(), Fault>,
}

/// The result of each delivery so far.
type Results<T> = Vec<(ConnId, Decision, Result<T, Fault>)>;

impl<'a> Round<'a> {
    pub(super) fn new(shop: &'a Shop, homes: &'a mut Homes, syncer: &'a mut Syncer) -> Self {
        Self { shop, homes, syncer, filing: Vec::new(), in_place: Ok(()) }
    }

    /// Delivers a batch. A delivery fails or succeeds for itself, but for a failure that concerns all.
    pub(super) fn run(mut self, batch: Vec<Delivery>) -> Results<Receipt> {
        self.in_place = self.shop.in_place();
        let written: Results<Message> = batch
            .into_iter()
            .map(|delivery| (delivery.from, delivery.decision.clone(), self.write(delivery)))
            .collect();
        let way = self.way(&written);
        let durable = self.sync_contents(written, way);
        let mut published: Results<Message> = durable
            .into_iter()
            .map(|(from, decision, message)| (from, decision, message.and_then(Message::publish)))
            .collect();
        self.sync_names(&mut published, way);
        // The syncs may have taken a while: what is not where clients look for it now is taken back.
        self.in_place = self.in_place.and_then(|()| self.shop.in_place());
        published
            .into_iter()
            .map(|(from, decision, message)| {
                (from, decision, message.and_then(|message| self.decide(message)))
            })
            .collect()
    }

    /// D1: the message is in `tmp/`.
    fn write(&mut self, delivery: Delivery) -> Result<Message, Fault> {
        let Delivery { to, partly, sent, content, decision, .. } = delivery;
        let mut plan = self.plan(to, partly);
        let stands = if decision.is_taken() { Err(Fault::Broken) } else { self.in_place.and(plan.stands()) };
        match content {
            Content::Memory(name, bytes) => {
                stands?;
                let (home, draft) = begin(&mut plan, &name, &bytes)?;
                self.plan_copy(&mut plan, sent, MessageId::of(&bytes));
                Ok(Message { home, draft, octets: octets(&bytes), settled: false, plan, decision })
            }
            Content::Settled(spilled) => {
                let there = self.shop.still_has(&spilled.mailbox, &spilled.home);
                let stands = stands.and(if there { Ok(()) } else { Err(Fault::Broken) });
                if let Err(fault) = stands {
                    spilled.draft.discard(&spilled.home);
                    return Err(fault);
                }
                self.plan_copy(&mut plan, sent, spilled.message_id);
                let (home, octets) = (Rc::new(spilled.home), spilled.octets.total());
                Ok(Message { home, draft: spilled.draft.into_inner(), octets, settled: true, plan, decision })
            }
        }
    }

    /// The mailboxes of the recipients, each once.
    fn plan(&mut self, to: Vec<Result<Recipient, Fault>>, partly: bool) -> Plan {
        let mut targets = Vec::with_capacity(to.len());
        let mut known = HashMap::new();
        let recipients = to.into_iter().map(|recipient| {
            let target = recipient.and_then(|recipient| self.target(recipient))?;
            Ok(*known.entry(target.maildir.key()).or_insert_with(|| {
                targets.push(target);
                targets.len() - 1
            }))
        });
        Plan { recipients: recipients.collect(), partly, targets, copy: None }
    }

    /// Where the mail of a recipient goes: to the folder that is wanted, if it is there.
    fn target(&mut self, Recipient { mailbox, folder, .. }: Recipient) -> Result<Target, Fault> {
        if let Some(folder) = folder {
            let mailbox = mailbox.clone().in_folder(folder);
            match self.homes.get(self.shop, &mailbox, || self.shop.durable_maildir(&mailbox)) {
                Ok(maildir) => return Ok(Target { mailbox, maildir, place: Place::New, state: Ok(None) }),
                Err(Fault::NoFolder) => {}
                Err(fault) => return Err(fault),
            }
        }
        let maildir = self.homes.get(self.shop, &mailbox, || self.shop.durable_maildir(&mailbox))?;
        Ok(Target { mailbox, maildir, place: Place::New, state: Ok(None) })
    }

    /// The copy for the sender: unless it was filed before, or the message goes to that folder anyway. A sender
    /// whose folder can't be used has no copy, and the message goes out all the same.
    fn plan_copy(&mut self, plan: &mut Plan, sent: Option<Mailbox>, id: Option<MessageId>) {
        let Some(sender) = sent else { return };
        let sent = Folder::sent();
        let folder = sender.clone().in_folder(sent.clone());
        let opened = self.homes.get(self.shop, &folder, || self.shop.durable_folder(&sender, &sent));
        let Ok(maildir) = opened else { return };
        let again = id.is_some_and(|id| {
            self.homes.filed(&folder, &maildir).has(id) || self.filing.contains(&(folder.clone(), id))
        });
        if again || plan.targets.iter().any(|target| target.maildir.key() == maildir.key()) {
            return;
        }
        self.filing.extend(id.map(|id| (folder.clone(), id)));
        plan.copy = Some(Copy { at: plan.targets.len(), id });
        plan.targets.push(Target { mailbox: folder, maildir, place: Place::Cur, state: Ok(None) });
    }

    /// One sync of the spool's file system says nothing of a mailbox on another one.
    fn way(&self, written: &Results<Message>) -> Way {
        let mut all = written.iter().flat_map(|(.., message)| message);
        let together = all.all(|message| {
            self.shop.spool.holds(&message.home)
                && message.alive().all(|target| self.shop.spool.holds(&target.maildir))
        });
        if together { self.syncer.way(written.len()) } else { Way::Each }
    }

    /// D2: the content is durable. After a failed sync nobody knows what is on the disk, and a second one may
    /// call it a success: the file is dropped.
    fn sync_contents(&mut self, written: Results<Message>, way: Way) -> Results<Message> {
        let began = Instant::now();
        let mut synced = match way {
            Way::Whole => {
                let whole = self
                    .syncer
                    .whole(&self.shop.spool, Part::Contents, written.len())
                    .map_err(|error| report(&error));
                vec![whole; written.len()]
            }
            Way::Each => {
                let drafts: Vec<&Draft> = unsettled(&written).map(|message| &message.draft).collect();
                sync::contents(&drafts).into_iter().map(|done| done.map_err(|error| report(&error))).collect()
            }
        }
        .into_iter();
        METRICS.sync_contents.took(began.elapsed());
        written
            .into_iter()
            .map(|(from, decision, message)| {
                let due = way == Way::Whole || matches!(&message, Ok(message) if !message.settled);
                let done = if due { synced.next().unwrap_or(Err(Fault::Broken)) } else { Ok(()) };
                let message = message.and_then(|message| match done {
                    Ok(()) => Ok(message),
                    Err(fault) => {
                        message.draft.discard(&message.home);
                        Err(fault)
                    }
                });
                (from, decision, message)
            })
            .collect()
    }

    /// D4: the names are durable. Where a sync of names has failed, they are taken back.
    fn sync_names(&mut self, published: &mut Results<Message>, way: Way) {
        let began = Instant::now();
        let failed: Vec<(usize, usize, Fault)> = match way {
            Way::Whole => match self.syncer.whole(&self.shop.spool, Part::Names, published.len()) {
                Ok(()) => Vec::new(),
                Err(error) => {
                    let fault = report(&error);
                    placed(published).map(|(message, at, _)| (message, at, fault)).collect()
                }
            },
            Way::Each => sync_each_name(published),
        };
        METRICS.sync_names.took(began.elapsed());
        for (message, at, fault) in failed {
            if let (.., Ok(message)) = &mut published[message] {
                message.withdraw_from(at, fault);
            }
        }
    }

    /// The message may be acknowledged, if there is still somebody to be told so.
    fn decide(&mut self, mut message: Message) -> Result<Receipt, Fault> {
        let stands = self.in_place.and(message.plan.stands());
        if let Err(fault) = stands.and_then(|()| message.decision.take().ok_or(Fault::Broken)) {
            message.withdraw(fault);
            return Err(fault);
        }
        if let Some(Copy { at, id: Some(id) }) = message.plan.copy
            && let Target { mailbox, maildir, state: Ok(Some(_)), .. } = &message.plan.targets[at]
        {
            self.homes.filed(mailbox, maildir).learn(maildir, id);
        }
        Ok(message.receipt())
    }
}

/// Writes a message to the `tmp/` of the first mailbox that takes it.
fn begin(plan: &mut Plan, name: &Unique, bytes: &[u8]) -> Result<(Rc<Maildir>, Draft), Fault> {
    for at in 0..plan.targets.len() {
        let home = Rc::clone(&plan.targets[at].maildir);
        let begun = Draft::begin(&home, name.clone()).and_then(|mut draft| match draft.write(bytes) {
            Ok(()) => Ok(draft),
            Err(error) => {
                draft.discard(&home);
                Err(error)
            }
        });
        match begun {
            Ok(draft) => return Ok((home, draft)),
            Err(error) => plan.targets[at].state = Err(report(&error)),
        }
        plan.stands()?;
    }
    Err(Fault::Broken)
}

fn unsettled(written: &Results<Message>) -> impl Iterator<Item = &Message> {
    written.iter().flat_map(|(.., message)| message).filter(|message| !message.settled)
}

/// Every target of every message where that is visible: the positions of both.
fn placed(published: &Results<Message>) -> impl Iterator<Item = (usize, usize, &Target)> {
    let messages =
        published.iter().enumerate().filter_map(|(at, (.., message))| Some((at, message.as_ref().ok()?)));
    messages.flat_map(|(message, Message { plan, .. })| {
        let visible =
            plan.targets.iter().enumerate().filter(|(_, target)| matches!(target.state, Ok(Some(_))));
        visible.map(move |(at, target)| (message, at, target))
    })
}

/// Syncs each directory once, and returns the positions of the messages and their targets that one failed for,
/// and why.
fn sync_each_name(published: &Results<Message>) -> Vec<(usize, usize, Fault)> {
    type Touched<'a> = ((&'a Maildir, Place), Vec<(usize, usize)>);
    let mut touched: HashMap<_, Touched<'_>> = HashMap::new();
    for (message, at, target) in placed(published) {
        let directory = (&*target.maildir, target.place);
        let entry = touched.entry((target.maildir.key(), target.place));
        entry.or_insert_with(|| (directory, Vec::new())).1.push((message, at));
    }
    let (directories, positions): (Vec<_>, Vec<_>) = touched.into_values().unzip();
    let mut failed = Vec::new();
    for (done, positions) in sync::names(&directories).into_iter().zip(positions) {
        if let Err(error) = done {
            let fault = report(&error);
            failed.extend(positions.into_iter().map(|(message, at)| (message, at, fault)));
        }
    }
    failed
}

/// Senders of whom is kept in memory what was filed lately: 16 KiB each.
const MOST_SENDERS: usize = 64;
