//! The committer: one thread that makes deliveries durable, as many at a time as have come while it was busy.
//!
//! A round is: write every message to `tmp/`; make the contents durable; close the files; rename into `new/`; make
//! the names durable; answer all. A message that is refused, for an error or a panic at any step, is taken back: no
//! client is told to send again what is visible. The states of a message on the way, and what a cut of power leaves of each, are in
//! `docs/DISK.md`.

mod batch;
mod message;
mod sync;
#[cfg(test)]
mod tests;

use std::{io, sync::Arc, thread, time::Instant};

use crossbeam_channel as channel;

use crate::{
    limits::Limits,
    logging,
    maildir::name::UniqueName,
    metrics::METRICS,
    proto::request::{ConnId, Failure, Mailbox, Recipient},
    thread_limits::sync_helpers,
    workers::{AckToken, Completion, CompletionSender, SpilledMessage, Storage},
};
use batch::{Batch, Mailboxes, MaildirCache};
use message::{Message, catch_panic};
use sync::Syncer;

/// A message to be delivered.
#[derive(Debug)]
pub struct Delivery {
    /// Who waits for it.
    pub from: ConnId,
    /// The recipients, at least one; or why one of them can't get it.
    pub to: Vec<Result<Recipient, Failure>>,
    /// Whether some recipients may get it and others not. Else it is all of them or none.
    pub partial_ok: bool,
    /// Who has a copy filed in the folder `Sent`.
    pub sent_copy_for: Option<Mailbox>,
    /// What to deliver.
    pub content: Content,
    /// Who tells the client.
    pub ack_token: AckToken,
}

/// The bytes of a message, as stored.
#[derive(Debug)]
pub enum Content {
    /// In memory, to be written to a file of that name.
    Memory(UniqueName, Vec<u8>),
    /// In the `tmp/` of the first mailbox, whole and fsynced.
    Synced(Box<SpilledMessage>),
}

impl Content {
    /// Its length on the disk.
    fn bytes(&self) -> u64 {
        match self {
            Self::Memory(_, bytes) => bytes.len() as u64,
            Self::Synced(spilled) => spilled.bytes(),
        }
    }
}

/// The way to the committer. Its thread ends when this is dropped and the queue is empty.
#[derive(Debug)]
pub struct Committer {
    queue: channel::Sender<Delivery>,
}

impl Committer {
    /// Starts the thread, which has `most_homes` mailboxes open at most.
    pub fn start(
        storage: &Arc<Storage>,
        completions: &CompletionSender,
        limits: &Limits,
        most_homes: usize,
    ) -> io::Result<Self> {
        let (queue, deliveries) = channel::bounded::<Delivery>(limits.delivery_queue);
        let (storage, completions, most) = (Arc::clone(storage), completions.clone(), limits.delivery_batch);
        let helpers = sync_helpers(limits);
        thread::Builder::new().name("committer".into()).spawn(move || {
            let mut syncer = Syncer::start(&storage.spool, helpers);
            let mut maildirs = MaildirCache::new(most_homes);
            let mut later = None;
            while let Some(first) = later.take().or_else(|| deliveries.recv().ok()) {
                let mut mailboxes = Mailboxes::default();
                mailboxes.add(&first);
                let mut batch = vec![first];
                while batch.len() < most
                    && let Ok(next) = deliveries.try_recv()
                {
                    if !mailboxes.fit_with(&next, most_homes) {
                        later = Some(next);
                        break;
                    }
                    batch.push(next);
                }
                maildirs.make_room_for(&mailboxes);
                METRICS.delivery_queue.sub(batch.len() as u64);
                let octets = batch.iter().map(|delivery| delivery.content.bytes()).sum();
                let began = Instant::now();
                let results = run_batch(&storage, &mut maildirs, &mut syncer, batch);
                let messages = results.len();
                METRICS.batch.observe(messages as u64);
                completions.send_all(results);
                logging::delivery_batch(messages, octets, began.elapsed());
            }
        })?;
        Ok(Self { queue })
    }

    /// Queues a delivery. Its content comes back when the queue is full.
    pub fn submit(&self, delivery: Delivery) -> Result<(), Content> {
        let queued = self.queue.try_send(delivery).map_err(|refused| refused.into_inner().content);
        if queued.is_ok() {
            METRICS.delivery_queue.inc()
        } else {
            METRICS.queue_full.inc()
        }
        queued
    }
}

/// Runs one round. A panic is a bug of ours; it costs the message whose step it was, or the round, and not those that
/// come after it.
fn run_batch(
    storage: &Storage,
    maildirs: &mut MaildirCache,
    syncer: &mut Syncer,
    batch: Vec<Delivery>,
) -> Vec<Completion> {
    let mut messages: Vec<Message> = batch.into_iter().map(Message::new).collect();
    if catch_panic(|| Batch::new(storage, maildirs, syncer).run(&mut messages)).is_none() {
        maildirs.clear();
    }
    for message in messages.iter_mut().filter(|message| message.result.is_none()) {
        message.reject(Failure::Broken);
    }
    let completion = |message: Message| {
        let result = message.result.unwrap_or(Err(Failure::Broken));
        Completion::Delivered(message.from, message.ack_token, result)
    };
    messages.into_iter().map(completion).collect()
}
