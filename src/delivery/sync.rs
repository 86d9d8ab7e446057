//! Two ways to make a batch durable: each file and directory by itself, or the file system as a whole.
//!
//! Measured on ext4 with two cores, 4 KiB messages to 100 mailboxes, messages/s (and milliseconds of CPU for each),
//! beside as many raw threads of write, fsync, rename, fsync as there are messages in a batch:
//!
//! | messages in a batch | 1 | 4 | 16 | 64 |
//! |---|---|---|---|---|
//! | raw threads | 3,330 | 6,600 (.16) | 12,200 (.13) | 15,000 (.12) |
//! | fsync in sequence | 3,200 | 3,320 (.20) | 3,500 (.18) | 3,700 (.17) |
//! | fsync spread over 8 threads | | 5,380 (.14) | 8,540 (.13) | 9,100 (.11) |
//! | one syncfs for the files, one for the names | 3,470 | 7,840 (.09) | 11,400 (.07) | 15,000 (.05) |
//!
//! So a lone message is fsynced, and a larger batch is synced with syncfs. But syncfs also writes the dirty pages of
//! other programs: beside a writer of 400 MB/s it falls to a third of the spread fsyncs. Hence, after a slow syncfs,
//! batches are synced file by file for a while.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel as channel;

use super::message::catch_panic;
use crate::{
    logging,
    maildir::{Error, Maildir, Spool, Subdir, TmpFile, mount::MountInfo, sync_phase::SyncPart},
};

/// Chooses how to make a batch durable, and owns the threads that do it.
#[derive(Debug)]
pub(super) struct Syncer {
    /// Whether one syncfs is known to make files and names durable here, or to fail.
    syncfs_is_safe: bool,
    /// Whether a message is written without a name, and gets its first one in its mailbox.
    pub(super) unnamed_files: bool,
    /// No syncfs before this moment, because the last one was slow.
    avoid_syncfs_until: Option<Instant>,
    queue: channel::Sender<SyncJob>,
    /// The receiving end, because the committer takes jobs too.
    jobs: channel::Receiver<SyncJob>,
    helpers: usize,
}

/// The way in which a batch is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SyncMode {
    /// Each file and directory by itself.
    PerFile,
    /// One `syncfs` for the file system of the spool.
    Syncfs,
}

/// A file or directory to make durable.
#[derive(Debug)]
pub(super) enum SyncTarget {
    /// The content of a message, which is closed after the sync.
    Content(TmpFile),
    /// The names in a directory.
    Names(Arc<Maildir>, Subdir),
}

#[derive(Debug)]
pub(super) struct SyncResult {
    /// The index of the target in the list.
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
    /// Starts this many helper threads. No thread is started later, because a failure to start one could fail a batch
    /// whose messages are already visible. With fewer threads a batch takes longer.
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
            log::warn!("started {started} of {helpers} sync threads: {error}");
        }
        let (syncfs_is_safe, unnamed_files) = (spool.syncfs_is_reliable(), spool.has_unnamed_files());
        log_storage(spool, unnamed_files, syncfs_is_safe);
        Self { syncfs_is_safe, unnamed_files, avoid_syncfs_until: None, queue, jobs, helpers: started }
    }

    /// Chooses the mode for a batch of this many messages.
    pub(super) fn choose_mode(&self, messages: usize) -> SyncMode {
        let avoided = self.avoid_syncfs_until.is_some_and(|until| Instant::now() < until);
        if messages > 1 && self.syncfs_is_safe && !avoided { SyncMode::Syncfs } else { SyncMode::PerFile }
    }

    /// Syncs the file system of the spool, for one phase of a batch of this many messages.
    pub(super) fn syncfs(&mut self, spool: &Spool, part: SyncPart, messages: usize) -> Result<(), Error> {
        let began = Instant::now();
        let done = spool.sync(part);
        if began.elapsed() > SLOW_SYNCFS + SLOW_PER_MESSAGE * u32::try_from(messages).unwrap_or(u32::MAX) {
            self.avoid_syncfs_until = Some(Instant::now() + SYNCFS_BACKOFF);
        }
        done
    }

    /// Syncs each target by itself, on several threads if there are any. The results come in any order. A target
    /// without a result is not durable.
    pub(super) fn sync_each(&self, things: Vec<SyncTarget>) -> Vec<SyncResult> {
        if things.len() < 2 || self.helpers == 0 {
            let all = things.into_iter().enumerate();
            return all.map(|(number, thing)| sync(number, thing)).collect();
        }
        // A channel of its own, so that a late result never reaches another batch.
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

/// Logs the ways that the file system of the spool allows. The order of the steps is the same on each.
fn log_storage(spool: &Spool, unnamed_files: bool, syncfs: bool) {
    let mount = MountInfo::of(spool.dir());
    let options = mount.iter().flat_map(MountInfo::durability_options).collect::<Vec<_>>().join(",");
    logging::storage(
        spool.path(),
        mount.as_ref().map_or("unknown", |mount| &mount.kind),
        (if unnamed_files { "unnamed" } else { "named" }, if syncfs { "syncfs" } else { "fsync" }),
        if options.is_empty() { "none" } else { &options },
    );
}

impl SyncJob {
    fn run(self) {
        let Self { number, target: thing, results } = self;
        let unsent = results.send(sync(number, thing)).err();
        // The batch has panicked.
        if let Some(channel::SendError(SyncResult { target: SyncTarget::Content(tmp_file), .. })) = unsent {
            tmp_file.discard();
        }
    }
}

/// A panic makes this sync fail: the target does not count as durable.
fn sync(number: usize, mut thing: SyncTarget) -> SyncResult {
    let done = catch_panic(|| match &mut thing {
        SyncTarget::Content(tmp_file) => tmp_file.sync().and_then(|()| tmp_file.close()),
        SyncTarget::Names(maildir, subdir) => maildir.sync(*subdir),
    });
    let panicked = || Err(Error::at(thing.path(), "sync", io::Error::other("panicked")));
    let done = done.unwrap_or_else(panicked);
    SyncResult { number, target: thing, result: done }
}

impl SyncTarget {
    fn path(&self) -> PathBuf {
        match self {
            Self::Content(tmp_file) => tmp_file.tmp_name().into(),
            Self::Names(maildir, subdir) => maildir.path().join(subdir.name()),
        }
    }
}

/// A syncfs is slow if it takes longer than this ...
const SLOW_SYNCFS: Duration = Duration::from_millis(20);
/// ... plus this for each message.
const SLOW_PER_MESSAGE: Duration = Duration::from_millis(1);
/// Time for which syncfs is avoided after a slow one.
const SYNCFS_BACKOFF: Duration = Duration::from_secs(1);
