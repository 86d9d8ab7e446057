//! The thread of the committer and its queue.

#[cfg(test)]
mod tests;

use std::{io, sync::Arc, thread, time::Instant};

use crossbeam_channel as channel;

use super::{
    batch::{Batch, Mailboxes, MaildirCache},
    message::{Message, catch_panic},
    queued_delivery::{Content, Delivery},
    sync::Syncer,
};
use crate::{
    limits::Limits,
    logging,
    metrics::METRICS,
    proto::request::Failure,
    thread_limits::sync_helpers,
    workers::{Completion, CompletionSender, Storage},
};

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
