//! One batch of the committer, step by step.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::{
    message::{Body, DeliveryPlan, Message, SentCopy, Target, TargetState, TmpMaildir, catch_panic},
    queued_delivery::{Append, Delivery},
    sync::{SyncMode, SyncResult, SyncTarget, Syncer},
};
use crate::{
    maildir::{
        Error, Maildir, MessageId, TmpFile, name::UniqueName, sent_dedup::SentDedup, sync_phase::SyncPart,
    },
    metrics::METRICS,
    proto::{
        folder::Folder,
        request::{Failure, Mailbox, Recipient},
    },
    wire_size::wire_size,
    workers::{Storage, storage::log_failure},
};

/// The mailboxes that the committer has open.
#[derive(Debug)]
pub(super) struct MaildirCache {
    /// The largest number of open mailboxes. Reopening a mailbox may cost syncs, if it is new.
    capacity: usize,
    open: HashMap<Mailbox, Arc<Maildir>>,
    /// The Message-IDs recently filed in each sender's folder.
    sent_dedup: HashMap<Mailbox, SentDedup>,
}

impl MaildirCache {
    pub(super) fn new(max: usize) -> Self {
        Self { capacity: max, open: HashMap::new(), sent_dedup: HashMap::new() }
    }

    /// Makes sure that the mailboxes of a batch can be opened in addition to those that stay open. No mailbox is
    /// closed during a batch, because any message may need it.
    pub(super) fn make_room_for(&mut self, mailboxes: &Mailboxes) {
        let new = mailboxes.0.iter().filter(|mailbox| !self.open.contains_key(*mailbox)).count();
        if self.open.len() + new > self.capacity {
            self.open.clear();
        }
    }

    /// Empties the cache, after a panic that may have left it inconsistent.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    /// Returns the Maildir of a mailbox as it is now, because it may have been removed or replaced since the last
    /// time.
    fn get(
        &mut self,
        storage: &Storage,
        mailbox: &Mailbox,
        open: impl FnOnce() -> Result<Maildir, Failure>,
    ) -> Result<Arc<Maildir>, Failure> {
        if let Some(maildir) =
            self.open.get(mailbox).filter(|maildir| storage.still_resolves_to(mailbox, maildir))
        {
            return Ok(Arc::clone(maildir));
        }
        self.open.remove(mailbox); // closed before another one is opened
        if self.open.len() >= self.capacity {
            log::error!(
                "{mailbox}: a message goes to more mailboxes than there are descriptors for; {RAISE_FD_LIMIT}"
            );
            return Err(Failure::TempFail);
        }
        let maildir = Arc::new(open()?);
        self.open.insert(mailbox.clone(), Arc::clone(&maildir));
        Ok(maildir)
    }

    /// Returns the record of copies recently filed in that folder.
    fn sent_dedup(&mut self, folder: &Mailbox, maildir: &Maildir) -> &mut SentDedup {
        if self.sent_dedup.len() >= MAX_SENT_DEDUPS && !self.sent_dedup.contains_key(folder) {
            self.sent_dedup.clear();
        }
        self.sent_dedup.entry(folder.clone()).or_insert_with(|| SentDedup::load(maildir))
    }
}

/// The mailboxes that a batch may have to open.
#[derive(Debug, Default)]
pub(super) struct Mailboxes(HashSet<Mailbox>);

impl Mailboxes {
    pub(super) fn add(&mut self, delivery: &Delivery) {
        self.0.extend(Self::of(delivery));
    }

    /// Adds the mailboxes of one more message, unless there would be too many.
    pub(super) fn add_if_fits(&mut self, delivery: &Delivery, max: usize) -> bool {
        let new = Self::of(delivery).filter(|mailbox| !self.0.contains(mailbox));
        let fit = self.0.len() + new.collect::<HashSet<_>>().len() <= max;
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
        let sent = delivery.sent_copy_for.clone().map(|sender| sender.in_folder(Folder::sent()));
        delivery.to.iter().flatten().map(of_recipient).chain(sent)
    }
}

pub(super) struct Batch<'a> {
    storage: &'a Storage,
    maildirs: &'a mut MaildirCache,
    syncer: &'a mut Syncer,
    /// The copies that this batch files for its senders.
    pending_sent_copies: Vec<(Mailbox, MessageId)>,
    /// Whether the spool is in its place.
    spool_status: Result<(), Failure>,
    /// Whether the disk has refused a message.
    disk_failed: bool,
}

impl<'a> Batch<'a> {
    pub(super) fn new(storage: &'a Storage, maildirs: &'a mut MaildirCache, syncer: &'a mut Syncer) -> Self {
        Self {
            storage,
            maildirs,
            syncer,
            pending_sent_copies: Vec::new(),
            spool_status: Ok(()),
            disk_failed: false,
        }
    }

    /// Delivers a batch. Each delivery succeeds or fails alone, except for a failure that concerns all of them. After
    /// a panic the caller rejects the undecided messages.
    pub(super) fn run(mut self, messages: &mut [Message]) {
        self.spool_status = self.storage.check_in_place();
        self.for_each_undecided(messages, Self::write_tmp_files);
        let mode = self.sync_mode(messages);
        self.sync_contents(messages, mode);
        self.for_each_undecided(messages, |_, message| message.close());
        let reserve = self.reserve_memory(messages);
        self.for_each_undecided(messages, Self::publish);
        drop(reserve);
        self.sync_names(messages, mode);
        // The syncs may have taken a while: messages that are no longer where clients look for them are removed.
        self.spool_status = self.spool_status.and_then(|()| self.storage.check_in_place());
        self.for_each_undecided(messages, |batch, message| {
            batch.spool_status.and_then(|()| message.acknowledge())
        });
        // Later clients hear the reason before they send a message.
        if self.disk_failed && !self.storage.refuses_mail() {
            self.storage.refresh();
        }
        for message in messages {
            // Without a record, a message that is submitted again is filed again.
            let _ = catch_panic(|| self.record_sent_copy(message));
        }
    }

    /// Reserves memory for all later allocations, which are small, until the messages are acknowledged or rejected.
    /// If there is none, the messages are refused before they are visible: a failed allocation afterwards would end
    /// the process.
    fn reserve_memory(&mut self, messages: &mut [Message]) -> Vec<u8> {
        let targets: usize = undecided(messages).map(|message| message.plan.targets.len()).sum();
        let mut reserve = Vec::new();
        if let Err(error) = reserve.try_reserve_exact(BATCH_RESERVE + targets * RESERVE_PER_TARGET) {
            log::error!("delivery batch failed: {error}");
            undecided(messages).for_each(|message| message.reject(Failure::TempFail));
        }
        reserve
    }

    /// Runs a step for every undecided message. An error or a panic rejects that message alone.
    fn for_each_undecided(
        &mut self,
        messages: &mut [Message],
        step: impl Fn(&mut Self, &mut Message) -> Result<(), Failure>,
    ) {
        for message in undecided(messages) {
            let done = catch_panic(|| message.enter_step().and_then(|()| step(self, message)));
            if done.is_none() {
                self.maildirs.clear();
            }
            if let Err(failure) = done.unwrap_or(Err(Failure::TempFail)) {
                self.disk_failed |= matches!(failure, Failure::Full | Failure::ReadOnly | Failure::TempFail);
                message.reject(failure);
            }
        }
    }

    /// D1: the message is in `tmp/`.
    fn write_tmp_files(&mut self, message: &mut Message) -> Result<(), Failure> {
        let to = std::mem::take(&mut message.to);
        let append = message.append.take();
        let date = append.as_ref().and_then(|append| append.date);
        self.plan(&mut message.plan, to, append);
        if message.ack_token.is_claimed() {
            return Err(Failure::TempFail);
        }
        self.spool_status.and(message.plan.check())?;
        let id = if let Body::Memory(name, bytes) = &message.body {
            // The spool's file system is known to keep the first link of a file, and another one is not.
            let (unnamed, spool) = (self.syncer.unnamed_files, &self.storage.spool);
            let create = |maildir: &Maildir, name| {
                let unnamed = unnamed && spool.is_same_filesystem(maildir);
                if unnamed { TmpFile::create_unnamed(maildir, name) } else { TmpFile::create(maildir, name) }
            };
            let tmp_file = write_to_tmp(&mut message.plan, create, (name, date), bytes)?;
            let id = MessageId::of(bytes);
            (message.octets, message.body) = (wire_size(bytes), Body::TmpFile(tmp_file));
            id
        } else {
            let tmp_maildir = message.plan.tmp_maildir.as_ref().ok_or(Failure::TempFail)?;
            let spilled = tmp_maildir.spilled.as_ref().ok_or(Failure::TempFail)?;
            if !self.storage.still_resolves_to(&spilled.mailbox, &tmp_maildir.maildir) {
                return Err(Failure::TempFail);
            }
            spilled.message_id
        };
        self.plan_copy(&mut message.plan, message.sent_copy_for.take(), id);
        Ok(())
    }

    /// Plans the mailboxes of the recipients, each once.
    fn plan(&mut self, plan: &mut DeliveryPlan, to: Vec<Result<Recipient, Failure>>, append: Option<Append>) {
        let mut known = HashMap::new();
        for recipient in to {
            let target = recipient.and_then(|recipient| match &append {
                Some(append) => self.resolve_append(recipient, append),
                None => self.resolve_target(recipient),
            });
            let at = target.map(|target| {
                *known.entry(target.maildir.id()).or_insert_with(|| {
                    plan.targets.push(target);
                    plan.targets.len() - 1
                })
            });
            plan.recipients.push(at);
        }
    }

    /// Resolves a recipient to its directory: the requested folder if it exists, otherwise the mailbox.
    fn resolve_target(&mut self, Recipient { mailbox, folder, .. }: Recipient) -> Result<Target, Failure> {
        if let Some(folder) = folder {
            let mailbox = mailbox.clone().in_folder(folder);
            match self.maildirs.get(self.storage, &mailbox, || self.storage.durable_maildir(&mailbox)) {
                Ok(maildir) => return Ok(Target::new(mailbox, maildir)),
                Err(Failure::NoFolder) => {}
                Err(failure) => return Err(failure),
            }
        }
        let maildir = self.maildirs.get(self.storage, &mailbox, || self.storage.durable_maildir(&mailbox))?;
        Ok(Target::new(mailbox, maildir))
    }

    /// The folder of a message that the owner puts there, and no other one.
    fn resolve_append(&mut self, recipient: Recipient, append: &Append) -> Result<Target, Failure> {
        let Recipient { mailbox, folder, .. } = recipient;
        let mailbox = match folder {
            Some(folder) => mailbox.in_folder(folder),
            None => mailbox,
        };
        let open = || self.storage.durable_imap_maildir(&mailbox);
        let maildir = self.maildirs.get(self.storage, &mailbox, open)?;
        Ok(Target::with_flags(mailbox, maildir, append.letters.clone()))
    }

    /// Plans the copy for the sender, unless it was filed before or the message goes to that folder anyway. If the
    /// sender's folder cannot be used there is no copy, and the message is delivered all the same.
    fn plan_copy(&mut self, plan: &mut DeliveryPlan, sent: Option<Mailbox>, id: Option<MessageId>) {
        let Some(sender) = sent else { return };
        let sent = Folder::sent();
        let folder = sender.clone().in_folder(sent.clone());
        let opened = self.maildirs.get(self.storage, &folder, || self.storage.durable_folder(&sender, &sent));
        let Ok(maildir) = opened else { return };
        let again = id.is_some_and(|id| {
            self.maildirs.sent_dedup(&folder, &maildir).contains(id)
                || self.pending_sent_copies.contains(&(folder.clone(), id))
        });
        if again || plan.targets.iter().any(|target| target.maildir.id() == maildir.id()) {
            return;
        }
        self.pending_sent_copies.extend(id.map(|id| (folder.clone(), id)));
        plan.sent_copy = Some(SentCopy { target: plan.targets.len(), id });
        plan.targets.push(Target::with_flags(folder, maildir, (*b"S").into()));
    }

    /// D3. Where the kernel or a sandbox gives no name to a file without one, every message would be written twice: the
    /// next messages have a name from the beginning.
    fn publish(&mut self, message: &mut Message) -> Result<(), Failure> {
        let nameable = message.publish()?;
        if !nameable && self.syncer.unnamed_files {
            self.syncer.unnamed_files = false;
            log::warn!(
                "{}: linkat gives an open file no name (does a sandbox forbid it?), deliveries are slower",
                self.storage.spool.path().display()
            );
        }
        Ok(())
    }

    /// Chooses how to sync the batch. One sync of the spool's file system does not cover a mailbox on another file system.
    fn sync_mode(&self, messages: &mut [Message]) -> SyncMode {
        let (mut together, mut count) = (true, 0);
        for message in undecided(messages) {
            let tmp_maildir = message.plan.tmp_maildir.as_ref();
            together &= tmp_maildir
                .is_some_and(|tmp_maildir| self.storage.spool.is_same_filesystem(&tmp_maildir.maildir))
                && message
                    .live_targets()
                    .all(|target| self.storage.spool.is_same_filesystem(&target.maildir));
            count += 1;
        }
        if together { self.syncer.choose_mode(count) } else { SyncMode::PerFile }
    }

    /// D2: the content is durable. After a failed sync the state of the disk is unknown, and a second sync may report
    /// success: the file is dropped.
    fn sync_contents(&mut self, messages: &mut [Message], mode: SyncMode) {
        let began = Instant::now();
        match mode {
            SyncMode::Syncfs => {
                let count = undecided(messages).count();
                if let Err(error) = self.syncer.syncfs(&self.storage.spool, SyncPart::Contents, count) {
                    let failure = log_failure(&error);
                    undecided(messages).for_each(|message| message.reject(failure));
                }
            }
            SyncMode::PerFile => {
                let mut unsynced: Vec<&mut Message> = undecided(messages).filter(is_unsynced).collect();
                let contents = unsynced.iter_mut().filter_map(|message| {
                    match std::mem::replace(&mut message.body, Body::Syncing) {
                        Body::TmpFile(tmp_file) => Some(SyncTarget::Content(tmp_file)),
                        _ => None, // invariant: it is unsynced, so it has a file
                    }
                });
                for SyncResult { number, target, result } in self.syncer.sync_each(contents.collect()) {
                    if let SyncTarget::Content(tmp_file) = target {
                        unsynced[number].body = Body::TmpFile(tmp_file);
                    }
                    if let Err(error) = result {
                        unsynced[number].reject(log_failure(&error));
                    }
                }
            }
        }
        METRICS.sync_contents.observe_duration(began.elapsed());
    }

    /// D4: the names are durable. After a failed sync the names are removed.
    fn sync_names(&mut self, messages: &mut [Message], mode: SyncMode) {
        let began = Instant::now();
        match mode {
            SyncMode::Syncfs => {
                let count = undecided(messages).count();
                if let Err(error) = self.syncer.syncfs(&self.storage.spool, SyncPart::Names, count) {
                    let failure = log_failure(&error);
                    undecided(messages).for_each(|message| message.reject(failure));
                }
            }
            SyncMode::PerFile => self.sync_each_name(messages),
        }
        METRICS.sync_names.observe_duration(began.elapsed());
    }

    /// Syncs each directory once. If the sync of a directory fails, its messages are removed from it.
    fn sync_each_name(&mut self, messages: &mut [Message]) {
        let mut messages: Vec<&mut Message> = undecided(messages).collect();
        let mut numbers = HashMap::new();
        let (mut directories, mut touched) = (Vec::new(), Vec::<Vec<(usize, usize)>>::new());
        for (message, Message { plan, .. }) in messages.iter().enumerate() {
            for (at, target) in
                plan.targets.iter().enumerate().filter(|(_, target)| target.version().is_some())
            {
                let number = *numbers.entry((target.maildir.id(), target.subdir)).or_insert_with(|| {
                    directories.push(SyncTarget::Names(Arc::clone(&target.maildir), target.subdir));
                    touched.push(Vec::new());
                    touched.len() - 1
                });
                touched[number].push((message, at));
            }
        }
        let mut faults = vec![Some(Failure::TempFail); touched.len()];
        for SyncResult { number, result: done, .. } in self.syncer.sync_each(directories) {
            faults[number] = done.err().map(|error| log_failure(&error));
        }
        for (failure, positions) in faults.into_iter().zip(touched) {
            let Some(failure) = failure else { continue };
            positions.into_iter().for_each(|(message, at)| messages[message].unpublish_from(at, failure));
        }
    }

    /// Records the copy for the sender of an acknowledged message.
    fn record_sent_copy(&mut self, message: &Message) {
        if let Some(Ok(_)) = message.result
            && let Some(SentCopy { target: at, id: Some(id) }) = message.plan.sent_copy
            && let target @ Target { mailbox, maildir, .. } = &message.plan.targets[at]
            && target.version().is_some()
        {
            self.maildirs.sent_dedup(mailbox, maildir).insert(maildir, id);
        }
    }
}

/// Writes a message to the `tmp/` of the first mailbox that accepts it, with the time of an earlier delivery if it has one.
fn write_to_tmp(
    plan: &mut DeliveryPlan,
    create: impl Fn(&Maildir, UniqueName) -> Result<TmpFile, Error>,
    (name, date): (&UniqueName, Option<SystemTime>),
    bytes: &[u8],
) -> Result<TmpFile, Failure> {
    for at in 0..plan.targets.len() {
        let maildir = Arc::clone(&plan.targets[at].maildir);
        let write = |tmp_file: &mut TmpFile| {
            tmp_file.write(bytes)?;
            date.map_or(Ok(()), |date| tmp_file.set_modified(date))
        };
        let begun = create(&maildir, name.clone()).and_then(|mut tmp_file| match write(&mut tmp_file) {
            Ok(()) => Ok(tmp_file),
            Err(error) => {
                tmp_file.discard();
                Err(error)
            }
        });
        match begun {
            Ok(tmp_file) => {
                plan.tmp_maildir = Some(TmpMaildir { maildir, spilled: None });
                return Ok(tmp_file);
            }
            Err(error) => plan.targets[at].state = TargetState::Failed(log_failure(&error)),
        }
        plan.check()?;
    }
    Err(Failure::TempFail)
}

/// The messages of the batch that have no result yet.
fn undecided(messages: &mut [Message]) -> impl Iterator<Item = &mut Message> {
    messages.iter_mut().filter(|message| message.result.is_none())
}

/// Whether the content of a message still has to be synced.
fn is_unsynced(message: &&mut Message) -> bool {
    message.tmp_file().is_ok_and(|tmp_file| !tmp_file.is_closed())
}

/// Advice for the operator, in the log.
const RAISE_FD_LIMIT: &str = "raise their limit (ulimit -n, systemd: LimitNOFILE=)";
/// Octets for the completions of a batch, its log lines included.
const BATCH_RESERVE: usize = 64 << 10;
/// Octets for a message in one mailbox: its name here and in the receipt, and its entries in lists.
const RESERVE_PER_TARGET: usize = 2 << 10;
/// Senders whose recently filed copies are kept in memory, at 16 KiB each.
const MAX_SENT_DEDUPS: usize = 64;
