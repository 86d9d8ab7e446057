//! The loop's side of the watcher: reads the events of all mailboxes, as far as the budget of a turn goes.

use std::{
    collections::HashMap,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::Ordering, mpsc},
};

use rustix::{
    fs::inotify::{Event, ReadFlags, Reader},
    io::{Errno, ioctl_fionread},
};

use super::{IndexId, MailboxEvent, Owner, Queue, Subdir, WatchId, WatcherReport};
use crate::{capacity::Shrinker, index::budget::Budget, metrics::METRICS};

/// The receiving end, for the loop. No call waits.
#[derive(Debug)]
pub struct MailboxEvents {
    queue: Option<Arc<Queue>>,
    owners: HashMap<WatchId, (IndexId, Subdir)>,
    owner_changes: mpsc::Receiver<(WatchId, Owner)>,
    /// Whether there may be something to read.
    is_readable: bool,
    /// The last barrier reached.
    reached: u64,
    /// The next barrier, while its events are still in the queue, and the octets of these.
    next: Option<(u64, u64)>,
}

impl MailboxEvents {
    pub(super) fn new(queue: Option<Arc<Queue>>, owner_changes: mpsc::Receiver<(WatchId, Owner)>) -> Self {
        Self { queue, owners: HashMap::new(), owner_changes, is_readable: true, reached: 0, next: None }
    }

    /// Returns the memory of watches that have ended to the allocator.
    pub(crate) fn shrink(&mut self, shrinker: &mut Shrinker) {
        shrinker.shrink(&mut self.owners);
    }

    /// Becomes readable with each event. `None` if nothing is watched.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.queue.as_ref().map(|queue| queue.inotify.as_fd())
    }

    /// There may be something to read from now on.
    pub fn set_readable(&mut self) {
        self.is_readable = true;
    }

    /// Whether a barrier is left to reach.
    pub fn has_barrier(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.last_barrier() > self.reached)
    }

    /// Reports the events in the queue, as far as the budget goes, and the barrier that follows from them. The rest comes with the
    /// next call.
    pub fn read(&mut self, budget: &mut Budget, mut report: impl FnMut(WatcherReport)) {
        if !self.is_readable && !self.has_barrier() {
            return;
        }
        let Some(queue) = self.queue.clone() else { return };
        // The barrier comes first: every event before it is in the queue then.
        let last_barrier = queue.last_barrier();
        let mut buffer = [MaybeUninit::uninit(); BUFFER_SIZE];
        let mut reader = Reader::new(&queue.inotify, &mut buffer);
        while !(budget.is_spent() && reader.is_buffer_empty()) {
            match reader.next() {
                Ok(event) => {
                    budget.charge(1);
                    METRICS.watch_events.inc();
                    // After the read: a worker sends the owner before the scan, and so before the events after the scan.
                    self.take_owner_changes();
                    if let Some(event) = self.translate(&event) {
                        report(event);
                    }
                    self.count_down(&event, &mut report);
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    if error != Errno::AGAIN {
                        report(overflow(&error.to_string()));
                    }
                    self.take_owner_changes();
                    self.is_readable = false;
                    return self.reach(last_barrier, &mut report);
                }
            }
        }
        // A storm: the barriers so far need the events up to now, and no later ones.
        if self.next.is_none() && self.has_barrier() {
            let last_barrier = queue.last_barrier();
            self.next = Some((last_barrier, ioctl_fionread(&queue.inotify).unwrap_or(u64::MAX)));
        }
    }

    /// Counts an event, which may be the last one before the next barrier.
    fn count_down(&mut self, event: &Event<'_>, report: &mut impl FnMut(WatcherReport)) {
        let Some((barrier, octets)) = &mut self.next else { return };
        // The kernel pads the name, so the count ends too late rather than too early.
        let name = event.file_name().map_or(0, |name| name.to_bytes_with_nul().len());
        *octets = octets.saturating_sub((EVENT_SIZE + name) as u64);
        if *octets == 0 {
            let barrier = *barrier;
            self.reach(barrier, report);
        }
    }

    fn take_owner_changes(&mut self) {
        while let Ok((watch, owner)) = self.owner_changes.try_recv() {
            match owner {
                Some(owner) => drop(self.owners.insert(watch, owner)),
                None => drop(self.owners.remove(&watch)),
            }
        }
    }

    fn translate(&mut self, event: &Event<'_>) -> Option<WatcherReport> {
        let kind = event.events();
        if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Some(overflow("too many changes at once"));
        }
        let (id, subdir) = *self.owners.get(&event.wd())?;
        if kind.contains(ReadFlags::IGNORED) {
            self.owners.remove(&event.wd());
        }
        let Some(name) = event.file_name() else {
            // Changes of its rights and its owner do not matter.
            return kind.intersects(GONE).then_some(WatcherReport::Event(MailboxEvent::DirectoryLost(id)));
        };
        let name = name.to_bytes().into();
        Some(WatcherReport::Event(match kind.contains(ReadFlags::DELETE) {
            true => MailboxEvent::NameRemoved(id, subdir, name),
            false => MailboxEvent::NameChanged(id, subdir, name),
        }))
    }

    fn reach(&mut self, barrier: u64, report: &mut impl FnMut(WatcherReport)) {
        self.next = None;
        if barrier > self.reached {
            self.reached = barrier;
            report(WatcherReport::Barrier(barrier));
        }
    }
}

impl Queue {
    fn last_barrier(&self) -> u64 {
        self.barriers.load(Ordering::Acquire)
    }
}

/// The report of a loss of events.
fn overflow(why: &str) -> WatcherReport {
    METRICS.watch_overflows.inc();
    log::info!("inotify events lost: {why}; rescanning open mailboxes");
    WatcherReport::Overflow
}

/// The directory is no longer in its place, or its watch has ended.
const GONE: ReadFlags =
    ReadFlags::DELETE_SELF.union(ReadFlags::MOVE_SELF).union(ReadFlags::UNMOUNT).union(ReadFlags::IGNORED);
/// An event without its name (`struct inotify_event`).
const EVENT_SIZE: usize = 16;
/// The octets that are read at once: at least one event with the longest name, and no more than 256 events.
const BUFFER_SIZE: usize = 4096;
