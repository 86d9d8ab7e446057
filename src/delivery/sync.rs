//! How a round is made durable: every file and directory for itself, or the file system as a whole.
//!
//! Measured on ext4 with two cores, 4 KiB messages to 100 mailboxes, messages/s (and milliseconds of CPU for
//! each), beside as many raw threads of write, fsync, rename, fsync as there are messages in a round:
//!
//! | messages in a round | 1 | 4 | 16 | 64 |
//! |---|---|---|---|---|
//! | raw threads | 3,330 | 6,600 (.16) | 12,200 (.13) | 15,000 (.12) |
//! | fsync in sequence | 3,200 | 3,320 (.20) | 3,500 (.18) | 3,700 (.17) |
//! | fsync spread over 8 threads | | 5,380 (.14) | 8,540 (.13) | 9,100 (.11) |
//! | one syncfs for the files, one for the names | 3,470 | 7,840 (.09) | 11,400 (.07) | 15,000 (.05) |
//!
//! So a lone message is fsynced, and a larger round is synced as a whole. But syncfs also writes what other
//! programs have dirtied: beside a writer of 400 MB/s it falls to a third of the spread fsyncs. Hence a
//! slow round makes the next ones go file by file for a while.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel as channel;

use super::message::catch_panic;
use crate::maildir::{Error, Maildir, Spool, Subdir, TmpFile, store::SyncPhase};

/// Chooses how to make a round durable, and has the threads that do it.
#[derive(Debug)]
pub(super) struct Syncer {
    /// Whether one call for the whole file system is known to mean what it says here.
    syncfs_is_safe: bool,
    /// No whole syncs before this moment: the last one was slow.
    avoid_syncfs_until: Option<Instant>,
    queue: channel::Sender<SyncJob>,
    /// The other end, for the committer takes jobs too.
    jobs: channel::Receiver<SyncJob>,
    helpers: usize,
}

/// How this round is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SyncMode {
    /// Each file and directory for itself.
    PerFile,
    /// The file system as a whole.
    Syncfs,
}

/// Something to be made durable.
#[derive(Debug)]
pub(super) enum SyncTarget {
    /// The content of a message, which is closed then.
    Content(TmpFile),
    /// The names in a directory.
    Names(Arc<Maildir>, Subdir),
}

/// The result of a sync.
#[derive(Debug)]
pub(super) struct SyncResult {
    /// The number of the thing among all.
    pub(super) number: usize,
    pub(super) target: SyncTarget,
    pub(super) result: Result<(), Error>,
}

#[derive(Debug)]
struct SyncJob {
    number: usize,
    target: SyncTarget,
    results: channel::Sender<SyncResult>,
}

impl Syncer {
    /// Starts so many threads that help. No thread is started later: where one can't be had, a round would fail
    /// whose messages are visible already. With fewer threads a round takes longer.
    pub(super) fn start(spool: &Spool, helpers: usize) -> Self {
        let (queue, jobs) = channel::unbounded::<SyncJob>();
        let start = |jobs: channel::Receiver<SyncJob>| {
            let work = move || jobs.iter().for_each(SyncJob::run);
            thread::Builder::new().name("sync".into()).spawn(work)
        };
        let (mut started, mut failed) = (0, None);
        while started < helpers && failed.is_none() {
            match start(jobs.clone()) {
                Ok(_) => started += 1,
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            log::warn!("{started} of {helpers} threads that sync beside the committer are there: {error}");
        }
        let whole_is_safe = spool.syncfs_is_reliable();
        Self { syncfs_is_safe: whole_is_safe, avoid_syncfs_until: None, queue, jobs, helpers: started }
    }

    /// The way for a round of that many messages.
    pub(super) fn choose_mode(&self, messages: usize) -> SyncMode {
        let avoided = self.avoid_syncfs_until.is_some_and(|until| Instant::now() < until);
        if messages > 1 && self.syncfs_is_safe && !avoided { SyncMode::Syncfs } else { SyncMode::PerFile }
    }

    /// Syncs the file system that holds the spool, for one part of so many messages.
    pub(super) fn syncfs(&mut self, spool: &Spool, part: SyncPhase, messages: usize) -> Result<(), Error> {
        let began = Instant::now();
        let done = spool.sync(part);
        if began.elapsed() > SLOW_SYNCFS + SLOW_PER_MESSAGE * u32::try_from(messages).unwrap_or(u32::MAX) {
            self.avoid_syncfs_until = Some(Instant::now() + SYNCFS_BACKOFF);
        }
        done
    }

    /// Syncs each thing for itself, several at a time when there are threads for it. The results come in any order; a
    /// thing without one is not durable.
    pub(super) fn sync_each(&self, things: Vec<SyncTarget>) -> Vec<SyncResult> {
        if things.len() < 2 || self.helpers == 0 {
            let all = things.into_iter().enumerate();
            return all.map(|(number, thing)| sync(number, thing)).collect();
        }
        // A channel of its own: a result that comes late belongs to no other round.
        let (results, synced) = channel::bounded(things.len());
        for (number, thing) in things.into_iter().enumerate() {
            let _ = self.queue.send(SyncJob { number, target: thing, results: results.clone() }); // both ends are ours
        }
        drop(results);
        while let Ok(job) = self.jobs.try_recv() {
            job.run();
        }
        synced.iter().collect()
    }
}

impl SyncJob {
    fn run(self) {
        let Self { number, target: thing, results } = self;
        let unsent = results.send(sync(number, thing)).err();
        // The round has panicked.
        if let Some(channel::SendError(SyncResult { target: SyncTarget::Content(tmp_file), .. })) = unsent {
            tmp_file.discard();
        }
    }
}

/// A panic is a failure of this sync: nothing is called durable.
fn sync(number: usize, mut thing: SyncTarget) -> SyncResult {
    let done = catch_panic(|| match &mut thing {
        SyncTarget::Content(tmp_file) => tmp_file.sync().and_then(|()| tmp_file.close()),
        SyncTarget::Names(maildir, place) => maildir.sync(*place),
    });
    let panicked = || Err(Error::at(thing.path(), "sync", io::Error::other("panicked")));
    let done = done.unwrap_or_else(panicked);
    SyncResult { number, target: thing, result: done }
}

impl SyncTarget {
    fn path(&self) -> PathBuf {
        match self {
            Self::Content(tmp_file) => tmp_file.tmp_name().into(),
            Self::Names(maildir, place) => maildir.path().join(place.name()),
        }
    }
}

/// A whole sync is slow when it takes longer than this ...
const SLOW_SYNCFS: Duration = Duration::from_millis(20);
/// ... and this for each message.
const SLOW_PER_MESSAGE: Duration = Duration::from_millis(1);
/// How long a slow one is remembered.
const SYNCFS_BACKOFF: Duration = Duration::from_secs(1);
