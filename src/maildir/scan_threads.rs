//! The threads that examine the files of mailboxes. The number of those that are busy is bounded over all scans, so a scan gets
//! another thread only while that would stand idle.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of threads that are busy, and the largest number.
#[derive(Debug)]
pub struct ScanThreads {
    max: usize,
    busy: AtomicUsize,
}

/// A thread that is busy until this is dropped.
#[derive(Debug)]
pub struct BusyThread<'a> {
    threads: &'a ScanThreads,
}

impl ScanThreads {
    /// At most `max` threads.
    pub fn new(max: usize) -> Self {
        Self { max, busy: AtomicUsize::new(0) }
    }

    /// The calling thread begins to scan.
    pub fn enter(&self) -> BusyThread<'_> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        BusyThread { threads: self }
    }

    /// Another thread may help, if fewer than all are busy.
    pub fn try_enter(&self) -> Option<BusyThread<'_>> {
        let more = |busy: usize| (busy < self.max).then_some(busy + 1);
        self.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(BusyThread { threads: self })
    }
}

impl Drop for BusyThread<'_> {
    fn drop(&mut self) {
        self.threads.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_helps_only_while_fewer_than_all_are_busy() {
        let threads = ScanThreads::new(2);
        let first = threads.enter();
        let helper = threads.try_enter().unwrap();
        assert!(threads.try_enter().is_none());
        let second = threads.enter();
        drop(helper);
        assert!(threads.try_enter().is_none(), "two workers scan");
        drop(second);
        assert!(threads.try_enter().is_some());
        drop(first);
    }
}
