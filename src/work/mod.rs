//! Threads that may wait, so that the loop never does: jobs go out, results come back.
//!
//! Three pools: a password check burns a CPU for tens of milliseconds and a look through a mailbox may take
//! seconds, and a mail client that reads must not queue behind a hundred of them. No lock is held by anybody: a job owns what it needs, and its result
//! gives it back.

mod decision;
pub mod job;
mod look;
pub mod shop;
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
    accounts::Scratch,
    limits::SCRATCH_KEPT,
    metrics::{Gauge, METRICS},
};

pub use decision::Decision;
pub use job::{Arrival, Done, Job, Outcome, Receipt, Spilled, To};
pub use shop::Shop;

/// Wakes the loop, once for any number of results that come while it is awake.
#[derive(Debug)]
pub struct Bell {
    waker: mio::Waker,
    rung: AtomicBool,
}

impl Bell {
    /// A bell that wakes the poll of `waker`.
    pub fn new(waker: mio::Waker) -> Self {
        Self { waker, rung: AtomicBool::new(false) }
    }

    /// Wakes the loop, unless somebody has already done so.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // A loop that has ended wants no news.
            let _ = self.waker.wake();
        }
    }

    /// The loop is awake and about to look at the results: the next one rings again. It is a swap and not a
    /// store: what was told before a ring that did not wake anybody has to be seen now, and a store may still
    /// wait in the CPU when the loop looks at the results.
    pub fn answer(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// Where results go.
#[derive(Debug, Clone)]
pub struct Returns {
    results: mpsc::Sender<Done>,
    bell: Arc<Bell>,
}

impl Returns {
    /// The two ends: one for every thread, one for the loop.
    pub fn new(bell: Arc<Bell>) -> (Self, mpsc::Receiver<Done>) {
        let (results, receiver) = mpsc::channel();
        (Self { results, bell }, receiver)
    }

    /// Sends a result to the loop.
    pub fn send(&self, done: Done) {
        // A loop that has ended wants no results.
        let _ = self.results.send(done);
        self.bell.ring();
    }

    /// Sends several, and wakes the loop once.
    pub fn send_all(&self, done: impl IntoIterator<Item = Done>) {
        for done in done {
            let _ = self.results.send(done);
        }
        self.bell.ring();
    }
}

/// The next job; a thread that has had none for a while gives back its memory for passwords. `None`: the pool has ended.
fn next(jobs: &channel::Receiver<Job>, scratch: &mut Scratch) -> Option<Job> {
    if !scratch.is_empty() {
        match jobs.recv_timeout(SCRATCH_KEPT) {
            Ok(job) => return Some(job),
            Err(channel::RecvTimeoutError::Disconnected) => return None,
            Err(channel::RecvTimeoutError::Timeout) => *scratch = Scratch::default(),
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
    /// Starts `threads` threads called `name` behind a queue of `waiting` jobs.
    pub fn start(
        name: &str,
        threads: usize,
        waiting: usize,
        shop: &Arc<Shop>,
        returns: &Returns,
    ) -> io::Result<Self> {
        let (queue, jobs) = channel::bounded::<Job>(waiting);
        let waiting = METRICS.queue(name);
        for _ in 0..threads {
            let (jobs, shop, returns) = (jobs.clone(), Arc::clone(shop), returns.clone());
            thread::Builder::new().name(name.to_owned()).spawn(move || {
                let mut scratch = Scratch::default();
                while let Some(Job { to, task }) = next(&jobs, &mut scratch) {
                    waiting.down(1);
                    // A panic is a bug of ours; it costs one answer, not the thread.
                    let decision = task.decision().cloned();
                    let outcome = catch_unwind(AssertUnwindSafe(|| task.run(&shop, &mut scratch)));
                    let outcome = outcome.unwrap_or(Outcome::Lost(decision));
                    returns.send(Done { to, outcome });
                }
            })?;
        }
        Ok(Self { queue, waiting })
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Queues a job. It comes back when the queue is full.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        let queued = self.queue.try_send(job).map_err(channel::TrySendError::into_inner);
        if queued.is_ok() {
            self.waiting.up()
        } else {
            METRICS.queue_full.one()
        }
        queued
    }
}
