//! Threads that may block, so that the loop never does: jobs go out, completions come back.
//!
//! There are four pools: for passwords, for scans of mailboxes, for the web API, and for all other work on the disk. A password
//! check uses a CPU for tens of milliseconds, and a scan or a search may take seconds: a client that reads a message must not
//! queue after a hundred of them. A job owns the values it needs, and its completion returns them, so that a job blocks no other
//! thread.

mod ack_token;
mod api_jobs;
mod catalog;
mod differences;
pub mod folder_job;
mod folder_jobs;
pub mod folder_list;
mod folder_status;
mod folder_transfer;
pub mod hierarchy_job;
pub mod imap_fetch;
mod imap_message;
pub mod imap_reads;
pub mod imap_search;
mod index_jobs;
pub mod job;
mod list_cache;
mod listings;
mod mailhog_jobs;
pub mod piece_files;
mod row_reader;
mod run;
mod selections;
pub mod spill;
mod status_cache;
pub mod storage;
#[cfg(test)]
mod tests;
mod update;
mod web_page;

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

use rustix::process::nice;

use crate::{
    accounts::HashMemory,
    limits::HASH_MEMORY_RETENTION,
    metrics::{Gauge, METRICS},
    parking_queue::{self, Receiver, RecvError},
    proto::request::Failure,
};

pub use ack_token::AckToken;
pub use catalog::api_id;
pub(crate) use differences::prune_event;
pub use job::{Completion, DeliveredCopy, DeliveryReceipt, Job};
pub use spill::SpilledMessage;
pub use storage::Storage;

/// Wakes the event loop, once for any number of completions that arrive while it is awake.
#[derive(Debug)]
pub struct LoopWaker {
    waker: mio::Waker,
    is_woken: AtomicBool,
}

impl LoopWaker {
    /// Returns the waker of a loop that is asleep in the poll of `waker`.
    pub fn new(waker: mio::Waker) -> Self {
        Self { waker, is_woken: AtomicBool::new(false) }
    }

    /// Wakes the loop, unless another thread has already done so.
    pub fn wake(&self) {
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            // The loop may have ended; then no wake is needed.
            let _ = self.waker.wake();
        }
    }

    /// Called when the loop is awake and about to take completions: the next completion wakes it again.
    ///
    /// It is a swap and not a store. A thread that found the flag set has sent its completion without a wake, so the loop must
    /// see that completion now; a store could still wait in the CPU when the loop reads the queue.
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
    /// Returns the two ends: the sender for every thread, the receiver for the loop.
    pub fn new(waker: Arc<LoopWaker>) -> (Self, mpsc::Receiver<Completion>) {
        let (completions, receiver) = mpsc::channel();
        (Self { completions, waker }, receiver)
    }

    /// Sends a completion, and wakes the loop. It is dropped if the loop has ended.
    pub fn send(&self, completion: Completion) {
        self.send_all([completion]);
    }

    /// Sends several completions, and wakes the loop once.
    pub fn send_all(&self, completions: impl IntoIterator<Item = Completion>) {
        for completion in completions {
            // The loop may have ended; then no completion is needed.
            let _ = self.completions.send(completion);
        }
        self.waker.wake();
    }
}

/// Returns the next job, or `None` after the pool has ended. An idle thread frees its memory for password hashes
/// after a while.
fn next(jobs: &Receiver<Job>, scratch: &mut HashMemory) -> Option<Job> {
    if !scratch.is_empty() {
        match jobs.recv_timeout(HASH_MEMORY_RETENTION) {
            Ok(job) => return Some(job),
            Err(RecvError::Ended) => return None,
            Err(RecvError::Timeout) => *scratch = HashMemory::default(),
        }
    }
    jobs.recv()
}

/// The share of the processors that the threads of a pool have while other threads need them too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// That of the event loop and of the committer.
    Normal,
    /// A third of that, for work that takes seconds of CPU time and that no delivery waits for.
    Low,
}

impl Priority {
    /// Gives the calling thread this priority. Where a sandbox forbids that, the threads share the processors equally.
    fn apply(self) {
        if self == Self::Low {
            let _ = nice(LOW_NICE); // nice(2): on Linux it is the thread's alone
        }
    }
}

/// A pool of threads and their queue. The threads end after the pool is dropped and the queue is empty.
#[derive(Debug)]
pub struct Pool {
    queue: parking_queue::Sender<Job>,
    waiting: &'static Gauge,
}

impl Pool {
    /// Starts `threads` workers of this priority, with a queue of at most `waiting` jobs.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn start(
        name: &str,
        priority: Priority,
        threads: usize,
        waiting: usize,
        storage: &Arc<Storage>,
        completions: &CompletionSender,
    ) -> io::Result<Self> {
        let (queue, receivers) = parking_queue::bounded::<Job>(waiting, threads);
        let waiting = METRICS.queue(name);
        for jobs in receivers {
            let (storage, completions) = (Arc::clone(storage), completions.clone());
            thread::Builder::new().name(name.to_owned()).spawn(move || {
                priority.apply();
                let mut scratch = HashMemory::default();
                while let Some(job) = next(&jobs, &mut scratch) {
                    waiting.sub(1);
                    // A panic is a bug in this program; it costs one request, not the thread.
                    let lost = job.failure_completion(Failure::TempFail);
                    let done = catch_unwind(AssertUnwindSafe(|| job.run(&storage, &mut scratch)));
                    if let Some(completion) = done.unwrap_or(lost) {
                        completions.send(completion);
                    }
                }
            })?;
        }
        Ok(Self { queue, waiting })
    }

    /// The number of waiting jobs.
    pub fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// Queues a job. Returns it if the queue is full.
    pub fn submit(&self, job: Job) -> Result<(), Box<Job>> {
        let queued = self.queue.try_send(job).map_err(|full| Box::new(full.into_inner()));
        if queued.is_ok() {
            self.waiting.inc()
        } else {
            METRICS.queue_full.inc()
        }
        queued
    }
}

/// The increment of the nice value for [`Priority::Low`].
const LOW_NICE: i32 = 5;
