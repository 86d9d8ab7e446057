//! The committer: one thread that makes deliveries durable. A batch takes the deliveries that arrived during the one
//! before, up to a limit.
//!
//! A batch is: write every message to `tmp/`; make the contents durable; close the files; rename into `new/`; make
//! the names durable; complete all. A message that is refused, after an error or a panic at any step, is removed: no
//! client is asked to send a visible message again. The states of a message on the way, and the result of a power cut
//! in each, are in `docs/DISK.md`.

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
    /// The connection that waits for it.
    pub from: ConnId,
    /// The recipients, at least one. An error is the reason why one of them cannot get the message.
    pub to: Vec<Result<Recipient, Failure>>,
    /// Whether some recipients may get the message and others not. Otherwise all of them get it or none.
    pub partial_ok: bool,
    /// The user whose folder `Sent` gets a copy.
    pub sent_copy_for: Option<Mailbox>,
    /// The message.
    pub content: Content,
    /// Decides whether the committer or the backend answers the client.
    pub ack_token: AckToken,
}

/// The bytes of a message, as stored.
#[derive(Debug)]
pub enum Content {
    /// In memory, to be written to a file with this name.
    Memory(UniqueName, Vec<u8>),
    /// In the `tmp/` of the first mailbox, complete and fsynced.
    SyncedFile(Box<SpilledMessage>),
}

impl Content {
    /// Its length on the disk.
    fn bytes(&self) -> u64 {
        match self {
            Self::Memory(_, bytes) => bytes.len() as u64,
            Self::SyncedFile(spilled) => spilled.bytes(),
        }
    }
}

/// The handle of the committer. Its thread ends after this is dropped and the queue is empty.
#[derive(Debug)]
pub struct Committer {
    queue: channel::Sender<Delivery>,
}

impl Committer {
    /// Starts the thread, which has at most `max_maildirs` mailboxes open.
    pub fn start(
        storage: &Arc<Storage>,
        completions: &CompletionSender,
        limits: &Limits,
        max_maildirs: usize,
    ) -> io::Result<Self> {
        let (queue, deliveries) = channel::bounded::<Delivery>(limits.delivery.queue_size);
        let (storage, completions, max) =
            (Arc::clone(storage), completions.clone(), limits.delivery.batch_size);
        let helpers = sync_helpers(limits);
        thread::Builder::new().name("committer".into()).spawn(move || {
            let mut syncer = Syncer::start(&storage.spool, helpers);
            let mut maildirs = MaildirCache::new(max_maildirs);
            let mut later = None;
            while let Some(first) = later.take().or_else(|| deliveries.recv().ok()) {
                let mut mailboxes = Mailboxes::default();
                mailboxes.add(&first);
                let mut batch = vec![first];
                while batch.len() < max
                    && let Ok(next) = deliveries.try_recv()
                {
                    if !mailboxes.add_if_fits(&next, max_maildirs) {
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
                METRICS.batch_messages.observe(messages as u64);
                completions.send_all(results);
                logging::delivery_batch(messages, octets, began.elapsed());
            }
        })?;
        Ok(Self { queue })
    }

    /// Queues a delivery. Returns its content if the queue is full.
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

/// Runs one batch. A panic is a bug in this program; it costs the message whose step it was, or the batch, but no
/// later batch.
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
        message.reject(Failure::TempFail);
    }
    let completion = |message: Message| {
        let result = message.result.unwrap_or(Err(Failure::TempFail));
        Completion::Delivered(message.from, message.ack_token, result)
    };
    messages.into_iter().map(completion).collect()
}
