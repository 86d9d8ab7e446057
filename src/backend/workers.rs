//! The threads of the backend: four pools of workers and the committer.
//!
//! A password check uses a CPU for tens of milliseconds and a scan may take seconds. A client that reads a message
//! must not queue after a hundred of them, and none of these after a page of the web or a search: hence four pools.

use std::{io, sync::Arc};

use crate::{
    delivery::{Committer, Delivery},
    fd_limits::FdBudget,
    index::job::IndexJob,
    limits::Limits,
    proto::{http::api::ApiAction, request::Failure},
    thread_limits::WEB_THREADS,
    workers::{Completion, CompletionSender, Job, Pool, Priority, Storage, imap_reads::ReadRequest},
};

/// The threads of the backend.
#[derive(Debug)]
pub(super) struct Workers {
    disk_pool: Pool,
    scan_pool: Pool,
    web_pool: Pool,
    password_pool: Pool,
    committer: Committer,
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// A thread could not be started.
    pub(super) fn start(
        storage: &Arc<Storage>,
        completions: &CompletionSender,
        limits: &Limits,
        budget: &FdBudget,
    ) -> io::Result<Self> {
        let pool = |name, priority, threads, waiting| {
            Pool::start(name, priority, threads, waiting, storage, completions)
        };
        Ok(Self {
            disk_pool: pool("disk", Priority::Normal, limits.disk.workers, limits.disk.queue_size)?,
            scan_pool: pool("scan", Priority::Normal, limits.index.scan_workers, limits.disk.queue_size)?,
            web_pool: pool("web", Priority::Low, WEB_THREADS, limits.disk.queue_size)?,
            password_pool: pool("password", Priority::Normal, limits.auth.workers, limits.auth.workers)?,
            committer: Committer::start(storage, completions, limits, budget.max_maildirs)?,
        })
    }

    /// Queues a job. Returns its completion if the queue is full.
    pub(super) fn submit(&self, job: Job) -> Option<Completion> {
        let (pool, failure) = match job {
            Job::Verify { .. } => (&self.password_pool, Failure::Busy),
            Job::Index(_, IndexJob::Scan(_) | IndexJob::Unwatch | IndexJob::Keep(_))
            | Job::Tidy { .. }
            | Job::CompareMailboxes { .. }
            | Job::CheckSpool { log_status: true } => (&self.scan_pool, Failure::TempFail),
            Job::Hierarchy(ref job) if job.counts_sizes() => (&self.scan_pool, Failure::TempFail),
            // A search may read every message, and a health check must not wait for it.
            Job::Api { ref request, .. } if request.action != ApiAction::Ready => {
                (&self.web_pool, Failure::TempFail)
            }
            Job::Imap(ref read) if matches!(read.request, ReadRequest::Search(..)) => {
                (&self.web_pool, Failure::TempFail)
            }
            _ => (&self.disk_pool, Failure::TempFail),
        };
        let job = pool.submit(job).err()?;
        if let Job::CheckSpool { log_status: true } = *job {
            log::info!("status: no metrics, the disk queue is full");
        }
        // The lost job is dropped here. Values that may wait for a disk are passed to the thread that closes files.
        job.failure_completion(failure)
    }

    /// Queues a message for the committer. Returns its completion if the queue is full.
    pub(super) fn deliver(&self, delivery: Delivery) -> Option<Completion> {
        let lost = (delivery.from, delivery.ack_token.clone());
        self.committer.submit(delivery).err()?;
        Some(Completion::Delivered(lost.0, lost.1, Err(Failure::TempFail)))
    }

    /// Jobs that wait in the queues for the disk and for scans.
    pub(super) fn queue_lengths(&self) -> [usize; 2] {
        [self.disk_pool.queue_len(), self.scan_pool.queue_len()]
    }
}
