//! Threads that may wait, so that the loop never does: jobs go out, results come back.
//!
//! Three pools: a password check burns a CPU for tens of milliseconds and a look through a mailbox may take
//! seconds, and a mail client that reads must not queue behind a hundred of them. No lock is held by anybody: a job owns what it needs, and its result
//! gives it back.

mod ack_token;
mod index_jobs;
pub mod job;
mod run;
pub mod spill;
pub mod storage;
#[cfg(test)]
mod tests;
mod update;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use crossbeam_channel as channel;

use crate::{
    accounts::HashMemory,
    limits::HASH_MEMORY_RETENTION,
    metrics::{Gauge, METRICS},
    proto::request::Failure,
};

pub use ack_token::AckToken;
pub use job::{Completion, DeliveredCopy, DeliveryReceipt, Job};
pub use spill::SpilledMessage;
pub use storage::Storage;

/// Wakes the event loop, once for any number of completions that come while it is awake.
#[derive(Debug)]
pub struct LoopWaker {
    waker: mio::Waker,
    is_woken: AtomicBool,
}

impl LoopWaker {
    /// Wakes the poll of `waker`.
    pub fn new(waker: mio::Waker) -> Self {
        Self { waker, is_woken: AtomicBool::new(false) }
    }

    /// Wakes the loop, unless another thread has already done so.
    pub fn wake(&self) {
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            // A loop that has ended wants no news.
            let _ = self.waker.wake();
        }
    }

    /// The loop is awake and about to take completions: the next one wakes it again. It is a swap and not a store:
    /// a completion that was sent before a call which did not wake has to be seen now, and a store may still wait in
    /// the CPU when the loop looks for completions.
    pub fn reset(&self) {
        self.is_woken.swap(false, Ordering::AcqRel);
    }
}

/// Sends completions to the event loop.
#[derive(Debug, Clone)]
pub struct CompletionSender {
    completions: mpsc::Sender<Completion>,
    waker: Arc<LoopWaker>,
}

impl CompletionSender {
    /// The two ends: one for every thread, one for the loop.
    pub fn new(waker: Arc<LoopWaker>) -> (Self, mpsc::Receiver<Completion>) {
        let (completions, receiver) = mpsc::channel();
        (Self { completions, waker }, receiver)
    }

    /// Sends one.
    pub fn send(&self, completion: Completion) {
        self.send_all([completion]);
    }

    /// Sends several, and wakes the loop once.
    pub fn send_all(&self, completions: impl IntoIterator<Item = Completion>) {
        for completion in completions {
            // A loop that has ended wants none.
            let _ = self.completions.send(completion);
        }
        self.waker.wake();
    }
}

/// The next job; a thread that has had none for a while gives back its memory for passwords. `None`: the pool has ended.
fn next(jobs: &channel::Receiver<Job>, scratch: &mut HashMemory) -> Option<Job> {
    if !scratch.is_empty() {
        match jobs.recv_timeout(HASH_MEMORY_RETENTION) {
            Ok(job) => return Some(job),
            Err(channel::RecvTimeoutError::Disconnected) => return None,
            Err(channel::RecvTimeoutError::Timeout) => *scratch = HashMemory::default(),
        }
    }
    jobs.recv().ok()
}

/// Some threads and their queue. The threads end when the pool is dropped and the queue is empty.
#[derive(Debug)]
pub struct Pool {
    queue: channel::Sender<Job>,
    waiting: &'static Gauge,
}

impl Pool {
    /// Starts `threads` workers with a queue of at most `waiting` jobs.
    ///
    /// # Errors
    /// A thread cannot be had.
    pub fn start(
        name: &str,
        threads: usize,
        waiting: usize,
        storage: &Arc<Storage>,
        completions: &CompletionSender,
    ) -> io::Result<Self> {
        let (queue, jobs) = channel::bounded::<Job>(waiting);
        let waiting = METRICS.queue(name);
        for _ in 0..threads {
            let (jobs, storage, completions) = (jobs.clone(), Arc::clone(storage), completions.clone());
            thread::Builder::new().name(name.to_owned()).spawn(move || {
                let mut scratch = HashMemory::default();
                while let Some(job) = next(&jobs, &mut scratch) {
                    waiting.sub(1);
                    // A panic is a bug of ours; it costs one request, not the thread.
                    let lost = job.lost(Failure::Broken);
                    let done = catch_unwind(AssertUnwindSafe(|| job.run(&storage, &mut scratch)));
                    if let Some(completion) = done.unwrap_or(lost) {
                        completions.send(completion);
                    }
                }
            })?;
        }
        Ok(Self { queue, waiting })
    }

    /// How many jobs wait.
    pub fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// Queues a job. It comes back when the queue is full.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        let queued = self.queue.try_send(job).map_err(channel::TrySendError::into_inner);
        if queued.is_ok() {
            self.waiting.inc()
        } else {
            METRICS.queue_full.inc()
        }
        queued
    }
}
