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
    thread,
    time::{Duration, Instant},
};

use crate::maildir::{Draft, Error, Maildir, Place, Spool, store::Part};

/// Chooses how to make a round durable.
#[derive(Debug)]
pub(super) struct Syncer {
    /// Whether one call for the whole file system is known to mean what it says here.
    whole_is_safe: bool,
    /// No whole syncs before this moment: the last one was slow.
    avoid_until: Option<Instant>,
}

/// How this round is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Each file and directory for itself.
    Each,
    /// The file system as a whole.
    Whole,
}

impl Syncer {
    pub(super) fn new(spool: &Spool) -> Self {
        Self { whole_is_safe: spool.syncs_as_a_whole(), avoid_until: None }
    }

    /// The way for a round of that many messages.
    pub(super) fn way(&self, messages: usize) -> Way {
        let avoided = self.avoid_until.is_some_and(|until| Instant::now() < until);
        if messages > 1 && self.whole_is_safe && !avoided { Way::Whole } else { Way::Each }
    }

    /// Syncs the file system that holds the spool, for one part of so many messages.
    pub(super) fn whole(&mut self, spool: &Spool, part: Part, messages: usize) -> Result<(), Error> {
        let began = Instant::now();
        let done = spool.sync(part);
        if began.elapsed() > SLOW + SLOW_PER_MESSAGE * u32::try_from(messages).unwrap_or(u32::MAX) {
            self.avoid_until = Some(Instant::now() + AVOID);
        }
        done
    }
}

/// Syncs the contents of drafts, several at a time.
pub(super) fn contents(drafts: &[&Draft]) -> Vec<Result<(), Error>> {
    spread(drafts, |draft| draft.sync())
}

/// Syncs the names in directories of mailboxes, several at a time.
pub(super) fn names(directories: &[(&Maildir, Place)]) -> Vec<Result<(), Error>> {
    spread(directories, |(maildir, place)| maildir.sync(*place))
}

/// Runs `sync` on everything, over a few threads when it is worth them: the file system's journal merges
/// what waits at the same time.
fn spread<T: Sync>(things: &[T], sync: impl Fn(&T) -> Result<(), Error> + Sync) -> Vec<Result<(), Error>> {
    let threads = things.len().min(THREADS);
    if threads < 2 {
        return things.iter().map(sync).collect();
    }
    let share = things.len().div_ceil(threads);
    thread::scope(|scope| {
        let sync = &sync;
        let workers: Vec<_> = things
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().map(sync).collect::<Vec<_>>()))
            .collect();
        // A panic in a sync is a panic of the round: nothing of it may be called durable.
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// Threads that sync at the same time.
const THREADS: usize = 8;
/// A whole sync is slow when it takes longer than this ...
const SLOW: Duration = Duration::from_millis(20);
/// ... and this for each message.
const SLOW_PER_MESSAGE: Duration = Duration::from_millis(1);
/// How long a slow one is remembered.
const AVOID: Duration = Duration::from_secs(1);
