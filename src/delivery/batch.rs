//! One round of the committer, step by step.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use super::{
    Delivery,
    message::{Body, Copy, Home, Message, Plan, State, Target, guarded},
    sync::{Synced, Syncer, Thing, Way},
};
use crate::{
    maildir::{Draft, Maildir, MessageId, Place, name::Unique, sent_dedup::Filed, store::Part},
    metrics::METRICS,
    proto::{
        folder::Folder,
        request::{Fault, Mailbox, Recipient},
    },
    wire_size::octets,
    workers::{Storage, storage::report},
};

/// The mailboxes that the committer has open.
#[derive(Debug)]
pub(super) struct Homes {
    /// How many of them: to open one anew may cost syncs, if it is young.
    most: usize,
    open: HashMap<Mailbox, Arc<Maildir>>,
    /// What was filed lately in the folders of senders.
    filed: HashMap<Mailbox, Filed>,
}

impl Homes {
    pub(super) fn new(most: usize) -> Self {
        Self { most, open: HashMap::new(), filed: HashMap::new() }
    }

    /// Sees that the mailboxes of a round can be opened beside those that stay open. In a round none is closed: each may
    /// be a message's.
    pub(super) fn make_room_for(&mut self, mailboxes: &Mailboxes) {
        let new = mailboxes.0.iter().filter(|mailbox| !self.open.contains_key(*mailbox)).count();
        if self.open.len() + new > self.most {
            self.open.clear();
        }
    }

    /// Begins anew, after a panic that may have left something half changed.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.most);
    }

    /// The Maildir of a mailbox, as it is now: it may have been removed or replaced since the last time.
    fn get(
        &mut self,
        storage: &Storage,
        mailbox: &Mailbox,
        open: impl FnOnce() -> Result<Maildir, Fault>,
    ) -> Result<Arc<Maildir>, Fault> {
        if let Some(home) = self.open.get(mailbox).filter(|home| storage.still_has(mailbox, home)) {
            return Ok(Arc::clone(home));
        }
        self.open.remove(mailbox); // closed before another one is opened
        if self.open.len() >= self.most {
            log::error!(
                "{mailbox}: a message goes to more mailboxes than there are descriptors for; {RAISE}"
            );
            return Err(Fault::Broken);
        }
        let home = Arc::new(open()?);
        self.open.insert(mailbox.clone(), Arc::clone(&home));
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

/// The mailboxes that a round may have to open.
#[derive(Debug, Default)]
pub(super) struct Mailboxes(HashSet<Mailbox>);

impl Mailboxes {
    pub(super) fn add(&mut self, delivery: &Delivery) {
        self.0.extend(Self::of(delivery));
    }

    /// Adds those of one more message, unless they would be too many then.
    pub(super) fn fit_with(&mut self, delivery: &Delivery, most: usize) -> bool {
        let new = Self::of(delivery).filter(|mailbox| !self.0.contains(mailbox));
        let fit = self.0.len() + new.collect::<HashSet<_>>().len() <= most;
        if fit {
            self.add(delivery);
        }
        fit
    }

    fn of(delivery: &Delivery) -> impl Iterator<Item = Mailbox> {
        let of_recipient = |Recipient { mailbox, folder, .. }: &Recipient| match folder {
            Some(folder) => mailbox.clone().in_folder(folder.clone()),
            None => mailbox.clone(),
        };
        let sent = delivery.sent.clone().map(|sender| sender.in_folder(Folder::sent()));
        delivery.to.iter().flatten().map(of_recipient).chain(sent)
    }
}

/// One round.
pub(super) struct Round<'a> {
    storage: &'a Storage,
    homes: &'a mut Homes,
    syncer: &'a mut Syncer,
    /// What this round files for its senders.
    filing: Vec<(Mailbox, MessageId)>,
    /// Whether the spool is in its place.
    in_place: Result<(), Fault>,
}

impl<'a> Round<'a> {
    pub(super) fn new(storage: &'a Storage, homes: &'a mut Homes, syncer: &'a mut Syncer) -> Self {
        Self { storage, homes, syncer, filing: Vec::new(), in_place: Ok(()) }
    }

    /// Delivers a batch. A delivery fails or succeeds for itself, but for a failure that concerns all. After a panic
    /// the messages without a fate are to be taken back.
    pub(super) fn run(mut self, messages: &mut [Message]) {
        self.in_place = self.storage.in_place();
        self.each(messages, Self::write);
        let way = self.way(messages);
        self.sync_contents(messages, way);
        self.each(messages, |_, message| message.close());
        let reserve = self.reserve(messages);
        self.each(messages, |_, message| message.publish());
        drop(reserve);
        self.sync_names(messages, way);
        // The syncs may have taken a while: messages that are not where clients look for them now are taken back.
        self.in_place = self.in_place.and_then(|()| self.storage.in_place());
        self.each(messages, |round, message| round.in_place.and_then(|()| message.acknowledge()));
        for message in messages {
            // Without a record a message that is submitted again is filed again.
            let _ = guarded(|| self.record_copy(message));
        }
    }

    /// Memory for all that is still to be allocated, in small pieces, until the messages are acknowledged or taken
    /// back. Where it can't be had now, it is refused before they are visible: afterwards it would end the process.
    fn reserve(&mut self, messages: &mut [Message]) -> Vec<u8> {
        let targets: usize = undecided(messages).map(|message| message.plan.targets.len()).sum();
        let mut reserve = Vec::new();
        if let Err(error) = reserve.try_reserve_exact(RESERVE + targets * RESERVE_OF_A_TARGET) {
            log::error!("a round of deliveries is refused: {error}");
            undecided(messages).for_each(|message| message.fail(Fault::Broken));
        }
        reserve
    }

    /// Does a step for every message that has no fate yet. An error or a panic is the fate of that one alone.
    fn each(
        &mut self,
        messages: &mut [Message],
        step: impl Fn(&mut Self, &mut Message) -> Result<(), Fault>,
    ) {
        for message in undecided(messages) {
            let done = guarded(|| message.next_step().and_then(|()| step(self, message)));
            if done.is_none() {
                self.homes.forget();
            }
            if let Err(fault) = done.unwrap_or(Err(Fault::Broken)) {
                message.fail(fault);
            }
        }
    }

    /// D1: the message is in `tmp/`.
    fn write(&mut self, message: &mut Message) -> Result<(), Fault> {
        let to = std::mem::take(&mut message.to);
        self.plan(&mut message.plan, to);
        if message.decision.is_claimed() {
            return Err(Fault::Broken);
        }
        self.in_place.and(message.plan.stands())?;
        let id = if let Body::Memory(name, bytes) = &message.body {
            let draft = begin(&mut message.plan, name, bytes)?;
            let id = MessageId::of(bytes);
            (message.octets, message.body) = (octets(bytes), Body::File(draft));
            id
        } else {
            let home = message.plan.home.as_ref().ok_or(Fault::Broken)?;
            let chosen = home.spilled.as_ref().ok_or(Fault::Broken)?;
            if !self.storage.still_has(&chosen.mailbox, &home.maildir) {
                return Err(Fault::Broken);
            }
            chosen.message_id
        };
        self.plan_copy(&mut message.plan, message.sent.take(), id);
        Ok(())
    }

    /// The mailboxes of the recipients, each once.
    fn plan(&mut self, plan: &mut Plan, to: Vec<Result<Recipient, Fault>>) {
        let mut known = HashMap::new();
        for recipient in to {
            let target = recipient.and_then(|recipient| self.target(recipient));
            let at = target.map(|target| {
                *known.entry(target.maildir.key()).or_insert_with(|| {
                    plan.targets.push(target);
                    plan.targets.len() - 1
                })
            });
            plan.recipients.push(at);
        }
    }

    /// Where the mail of a recipient goes: to the folder that is wanted, if it is there.
    fn target(&mut self, Recipient { mailbox, folder, .. }: Recipient) -> Result<Target, Fault> {
        if let Some(folder) = folder {
            let mailbox = mailbox.clone().in_folder(folder);
            match self.homes.get(self.storage, &mailbox, || self.storage.durable_maildir(&mailbox)) {
                Ok(maildir) => return Ok(Target::new(mailbox, maildir, Place::New)),
                Err(Fault::NoFolder) => {}
                Err(fault) => return Err(fault),
            }
        }
        let maildir = self.homes.get(self.storage, &mailbox, || self.storage.durable_maildir(&mailbox))?;
        Ok(Target::new(mailbox, maildir, Place::New))
    }

    /// The copy for the sender: unless it was filed before, or the message goes to that folder anyway. A sender
    /// whose folder can't be used has no copy, and the message goes out all the same.
    fn plan_copy(&mut self, plan: &mut Plan, sent: Option<Mailbox>, id: Option<MessageId>) {
        let Some(sender) = sent else { return };
        let sent = Folder::sent();
        let folder = sender.clone().in_folder(sent.clone());
        let opened = self.homes.get(self.storage, &folder, || self.storage.durable_folder(&sender, &sent));
        let Ok(maildir) = opened else { return };
        let again = id.is_some_and(|id| {
            self.homes.filed(&folder, &maildir).has(id) || self.filing.contains(&(folder.clone(), id))
        });
        if again || plan.targets.iter().any(|target| target.maildir.key() == maildir.key()) {
            return;
        }
        self.filing.extend(id.map(|id| (folder.clone(), id)));
        plan.copy = Some(Copy { at: plan.targets.len(), id });
        plan.targets.push(Target::new(folder, maildir, Place::Cur));
    }

    /// One sync of the spool's file system says nothing of a mailbox on another one.
    fn way(&self, messages: &mut [Message]) -> Way {
        let (mut together, mut count) = (true, 0);
        for message in undecided(messages) {
            let home = message.plan.home.as_ref();
            together &= home.is_some_and(|home| self.storage.spool.holds(&home.maildir))
                && message.alive().all(|target| self.storage.spool.holds(&target.maildir));
            count += 1;
        }
        if together { self.syncer.way(count) } else { Way::Each }
    }

    /// D2: the content is durable. After a failed sync nobody knows what is on the disk, and a second one may
    /// call it a success: the file is dropped.
    fn sync_contents(&mut self, messages: &mut [Message], way: Way) {
        let began = Instant::now();
        match way {
            Way::Whole => {
                let count = undecided(messages).count();
                if let Err(error) = self.syncer.whole(&self.storage.spool, Part::Contents, count) {
                    let fault = report(&error);
                    undecided(messages).for_each(|message| message.fail(fault));
                }
            }
            Way::Each => {
                let mut unsettled: Vec<&mut Message> = undecided(messages).filter(is_unsettled).collect();
                let drafts = unsettled.iter_mut().filter_map(|message| {
                    match std::mem::replace(&mut message.body, Body::Away) {
                        Body::File(draft) => Some(Thing::Content(draft)),
                        _ => None, // invariant: it is unsettled
                    }
                });
                for Synced { number, thing, done } in self.syncer.each(drafts.collect()) {
                    if let Thing::Content(draft) = thing {
                        unsettled[number].body = Body::File(draft);
                    }
                    if let Err(error) = done {
                        unsettled[number].fail(report(&error));
                    }
                }
            }
        }
        METRICS.sync_contents.took(began.elapsed());
    }

    /// D4: the names are durable. Where a sync of names has failed, they are taken back.
    fn sync_names(&mut self, messages: &mut [Message], way: Way) {
        let began = Instant::now();
        match way {
            Way::Whole => {
                let count = undecided(messages).count();
                if let Err(error) = self.syncer.whole(&self.storage.spool, Part::Names, count) {
                    let fault = report(&error);
                    undecided(messages).for_each(|message| message.fail(fault));
                }
            }
            Way::Each => self.sync_each_name(messages),
        }
        METRICS.sync_names.took(began.elapsed());
    }

    /// Syncs each directory once. A directory whose sync has failed loses its messages.
    fn sync_each_name(&mut self, messages: &mut [Message]) {
        let mut messages: Vec<&mut Message> = undecided(messages).collect();
        let mut numbers = HashMap::new();
        let (mut directories, mut touched) = (Vec::new(), Vec::<Vec<(usize, usize)>>::new());
        for (message, Message { plan, .. }) in messages.iter().enumerate() {
            for (at, target) in plan.targets.iter().enumerate().filter(|(_, target)| target.stamp().is_some())
            {
                let number = *numbers.entry((target.maildir.key(), target.place)).or_insert_with(|| {
                    directories.push(Thing::Names(Arc::clone(&target.maildir), target.place));
                    touched.push(Vec::new());
                    touched.len() - 1
                });
                touched[number].push((message, at));
            }
        }
        let mut faults = vec![Some(Fault::Broken); touched.len()];
        for Synced { number, done, .. } in self.syncer.each(directories) {
            faults[number] = done.err().map(|error| report(&error));
        }
        for (fault, positions) in faults.into_iter().zip(touched) {
            let Some(fault) = fault else { continue };
            positions.into_iter().for_each(|(message, at)| messages[message].withdraw_from(at, fault));
        }
    }

    /// The copy for the sender of a message that is acknowledged was filed.
    fn record_copy(&mut self, message: &Message) {
        if let Some(Ok(_)) = message.fate
            && let Some(Copy { at, id: Some(id) }) = message.plan.copy
            && let target @ Target { mailbox, maildir, .. } = &message.plan.targets[at]
            && target.stamp().is_some()
        {
            self.homes.filed(mailbox, maildir).learn(maildir, id);
        }
    }
}

/// Writes a message to the `tmp/` of the first mailbox that takes it.
fn begin(plan: &mut Plan, name: &Unique, bytes: &[u8]) -> Result<Draft, Fault> {
    for at in 0..plan.targets.len() {
        let maildir = Arc::clone(&plan.targets[at].maildir);
        let begun = Draft::begin(&maildir, name.clone()).and_then(|mut draft| match draft.write(bytes) {
            Ok(()) => Ok(draft),
            Err(error) => {
                draft.discard();
                Err(error)
            }
        });
        match begun {
            Ok(draft) => {
                plan.home = Some(Home { maildir, spilled: None });
                return Ok(draft);
            }
            Err(error) => plan.targets[at].state = State::Failed(report(&error)),
        }
        plan.stands()?;
    }
    Err(Fault::Broken)
}

/// The messages without a fate.
fn undecided(messages: &mut [Message]) -> impl Iterator<Item = &mut Message> {
    messages.iter_mut().filter(|message| message.fate.is_none())
}

/// Whether the content of a message is to be synced.
fn is_unsettled(message: &&mut Message) -> bool {
    message.draft().is_ok_and(|draft| !draft.is_closed())
}

/// Advice for who reads the log.
const RAISE: &str = "raise their limit (ulimit -n, systemd: LimitNOFILE=)";
/// Octets for what the answers of a round take, the log among them.
const RESERVE: usize = 64 << 10;
/// Octets for a message in one mailbox: its name here and in the receipt, and its place in lists.
const RESERVE_OF_A_TARGET: usize = 2 << 10;
/// Senders of whom is kept in memory what was filed lately: 16 KiB each.
const MOST_SENDERS: usize = 64;
