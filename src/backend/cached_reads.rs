//! Small messages that the event loop reads itself, because the kernel has them in memory: for RETR, TOP and FETCH. A worker
//! would cost two switches between threads, which take longer than the read.
//!
//! Two bounds protect the other sessions. A turn reads a few megabytes at most, and workers read the rest. If a read took
//! long all the same, the kernel did not keep its promise (a virus scanner may hold up every open), and workers read
//! everything for a while.

use std::time::{Duration, Instant};

use super::open_maildrop::OpenFiles;
use crate::{
    index::{Sequence, budget::Budget},
    maildir::{Maildir, MessageEntry, MessageRef},
    proto::imap::request::{Fetch, FetchedPiece},
    workers::imap_fetch::fetch_cached,
};

/// The bounds on reads of the event loop.
#[derive(Debug)]
pub(super) struct CachedReads {
    /// Octets of the largest message.
    max_size: usize,
    /// Octets that this turn may still read.
    budget: Budget,
    /// A read that takes longer waited for something.
    max_duration: Duration,
    /// Until then workers read everything.
    paused_until: Duration,
}

impl CachedReads {
    pub(super) fn new(max_size: usize) -> Self {
        let budget = Budget::new(MAX_OCTETS_PER_TURN);
        Self { max_size, budget, max_duration: SLOW_READ, paused_until: Duration::ZERO }
    }

    /// Never takes a read for slow, because the machine of a test may be busy.
    #[cfg(test)]
    pub(super) fn ignore_durations(&mut self) {
        self.max_duration = Duration::MAX;
    }

    pub(super) fn begin_turn(&mut self) {
        self.budget.renew();
    }

    /// Reads a whole message at `now`, if it is small and that needs no wait.
    pub(super) fn read(&mut self, files: &OpenFiles, message: usize, now: Duration) -> Option<Vec<u8>> {
        self.read_file(&files.maildir, files.snapshot.message_ref(message)?, now)
    }

    /// Renders a piece of the responses to FETCH, if that needs no wait: flags and other facts, and a few small messages.
    pub(super) fn fetch(
        &mut self,
        maildir: &Maildir,
        sequence: &Sequence,
        fetch: &Fetch,
        now: Duration,
    ) -> Option<FetchedPiece> {
        if self.budget.is_spent() {
            return None;
        }
        let max = self.max_size;
        let mut read = |entry: &MessageEntry| self.read_file(maildir, entry.into(), now);
        let piece = fetch_cached(maildir, sequence, fetch, max, &mut read)?;
        self.budget.charge(piece.octets.len());
        Some(piece)
    }

    fn read_file(&mut self, maildir: &Maildir, wanted: MessageRef<'_>, now: Duration) -> Option<Vec<u8>> {
        if self.budget.is_spent() || now < self.paused_until {
            return None;
        }
        let began = Instant::now();
        let bytes = maildir.read_cached(wanted, self.max_size);
        self.record(bytes.as_ref().map_or(0, Vec::len), began.elapsed(), now);
        bytes
    }

    /// Records a read of that many octets, which took `duration` until shortly after `now`.
    fn record(&mut self, octets: usize, duration: Duration, now: Duration) {
        self.budget.charge(octets.max(OCTETS_PER_OPEN));
        if duration > self.max_duration {
            self.paused_until = now + PAUSE;
            log::debug!("a read from memory took {duration:.0?}: workers read all messages for {PAUSE:?}");
        }
    }
}

/// About a millisecond of copying.
const MAX_OCTETS_PER_TURN: usize = 4 << 20;
/// The cost of opening a file, in octets that are copied in the same time.
const OCTETS_PER_OPEN: usize = 4096;
/// A read from memory takes microseconds, unless another thread has the processor meanwhile.
const SLOW_READ: Duration = Duration::from_millis(20);
const PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_reads_a_few_megabytes_and_the_next_one_again() {
        let mut reads = CachedReads::new(65_536);
        let turn = |reads: &mut CachedReads, octets: usize| {
            reads.begin_turn();
            (0..)
                .take_while(|_| {
                    let more = !reads.budget.is_spent();
                    reads.record(octets, Duration::ZERO, Duration::ZERO);
                    more
                })
                .count()
        };
        assert_eq!(turn(&mut reads, 65_536), 64);
        assert_eq!(turn(&mut reads, 1), 1024, "an open counts too");
        assert_eq!(turn(&mut reads, 0), 1024, "and one that failed");
    }

    #[test]
    fn after_a_slow_read_workers_read_for_a_while() {
        let mut reads = CachedReads::new(65_536);
        let now = Duration::from_secs(100);
        reads.record(4096, Duration::from_millis(20), now);
        assert_eq!(reads.paused_until, Duration::ZERO);
        reads.record(4096, Duration::from_millis(21), now);
        assert_eq!(reads.paused_until, now + PAUSE);
    }
}
