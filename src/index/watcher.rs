//! The watcher reports to the loop the names that have changed in each mailbox, and any loss of events. An event
//! means no more than "recheck this name".
//!
//! It watches the directories through their open descriptors (`/proc/self/fd/N`), so that it watches the
//! directories that the mailbox has open, even if its path leads elsewhere by now. Workers begin and end watches, and
//! send the loop the owner of each. The loop reads the events (`events.rs`), and finds their mailbox by the number of the
//! watch. It takes no lock.
//!
//! The kernel queues each event during the system call that causes it, and in the order of the changes. So a worker
//! that needs every event up to now creates a barrier: a number. The loop has reached it when it has read the queue as
//! it was at a moment after that.

mod events;

use std::{
    collections::HashMap,
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
};

use rustix::{
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
};

use super::job::IndexId;
use crate::{
    capacity::Shrinker,
    logging,
    maildir::{Maildir, Subdir},
    metrics::METRICS,
};
pub use events::MailboxEvents;

/// A report of the watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxEvent {
    /// A name appeared or was moved, or its file changed.
    NameChanged(IndexId, Subdir, Box<[u8]>),
    /// A name was removed. A later file of that name has a later event.
    NameRemoved(IndexId, Subdir, Box<[u8]>),
    /// One of the directories itself was removed or moved away.
    DirectoryLost(IndexId),
}

/// The items that the loop reads from the watcher, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum WatcherReport {
    /// Events after those reported so far were lost.
    Overflow,
    /// A change in a watched mailbox.
    Event(MailboxEvent),
    /// Every event before that barrier has been reported.
    Barrier(u64),
}

/// Watches mailboxes, if it can. Workers call it: a call may wait.
#[derive(Debug)]
pub struct Watcher {
    queue: Option<Arc<Queue>>,
    /// Workers hold the lock while they begin or end a watch, so that none of them ends a watch that another one has just
    /// taken over.
    watched: Mutex<Watched>,
    /// Whether servers on other machines may use the mailboxes.
    shared: bool,
    remote_logged: AtomicBool,
    failure_logged: AtomicBool,
}

/// An inotify instance, and the number of the last barrier.
#[derive(Debug)]
struct Queue {
    inotify: OwnedFd,
    barriers: AtomicU64,
}

/// The watches that have not ended.
#[derive(Debug)]
struct Watched {
    by_index: HashMap<IndexId, Vec<WatchId>>,
    owners: HashMap<WatchId, IndexId>,
    /// To the loop: the owner of a watch from now on.
    changes: mpsc::Sender<(WatchId, Owner)>,
}

/// The directory whose events a watch reports. `None` after the end of the watch.
type Owner = Option<(IndexId, Subdir)>;

/// The number that the kernel gives to a watch (inotify(7), "watch descriptor"). It gives each number once in 2³¹ watches, so
/// a late event of a watch that has ended has a number without an owner, and is of no interest: the next watch of that
/// directory begins before a full scan.
type WatchId = i32;

impl Watcher {
    /// Starts to watch mailboxes. `shared`: servers on other machines use them too.
    pub fn start(shared: bool) -> (Self, MailboxEvents) {
        let queue = match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
            Ok(inotify) => {
                METRICS.watch.set(1);
                Some(Arc::new(Queue { inotify, barriers: AtomicU64::new(0) }))
            }
            Err(error) => {
                let error = explain(error, "fs.inotify.max_user_instances");
                log::warn!("inotify unavailable: {error}; {POLLING_NOTICE}");
                None
            }
        };
        Self::with(queue, shared)
    }

    /// Creates a watcher that watches nothing.
    pub fn disabled() -> (Self, MailboxEvents) {
        Self::with(None, false)
    }

    fn with(queue: Option<Arc<Queue>>, shared: bool) -> (Self, MailboxEvents) {
        let (changes, owners) = mpsc::channel();
        let events = MailboxEvents::new(queue.clone(), owners);
        let watched = Mutex::new(Watched { by_index: HashMap::new(), owners: HashMap::new(), changes });
        let (remote_logged, failure_logged) = Default::default();
        (Self { queue, watched, shared, remote_logged, failure_logged }, events)
    }

    /// Creates a barrier: when [`WatcherReport::Barrier`] has reached its number, every earlier event has been reported.
    /// Returns `None` if nothing is watched.
    pub fn create_barrier(&self) -> Option<u64> {
        self.queue.as_ref().map(|queue| queue.barriers.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Watches a mailbox for the index `id`, in place of the mailbox that it has watched for that index so far. A directory has
    /// one watch, even if several indexes ask for it, and it belongs to the latest. Returns `false` if that fails, and logs the
    /// first failure.
    ///
    /// Changes before the loop has the owner of the watch have no report. A full scan follows, and sees them.
    pub fn watch(&self, id: IndexId, maildir: &Maildir) -> bool {
        let Some(queue) = &self.queue else { return false };
        if !maildir.has_change_events(self.shared) {
            if !self.remote_logged.swap(true, Ordering::Relaxed) {
                let path = logging::escape(&maildir.path().to_string_lossy());
                log::warn!("{path}: no inotify on network file systems; {POLLING_NOTICE}");
            }
            return false;
        }
        let mut watched = lock(&self.watched);
        let mut watches = Vec::with_capacity(Subdir::ALL.len());
        let done = Subdir::ALL.into_iter().try_for_each(|subdir| {
            let watch = inotify::add_watch(&queue.inotify, path_of(maildir.dir(subdir)), CHANGES)?;
            watched.set_owner(watch, id, subdir);
            watches.push(watch);
            Ok(())
        });
        for earlier in watched.by_index.insert(id, watches.clone()).unwrap_or_default() {
            if !watches.contains(&earlier) {
                watched.end(queue, earlier, id);
            }
        }
        if let Err(error) = done {
            watched.forget(queue, id);
            if !self.failure_logged.swap(true, Ordering::Relaxed) {
                let path = logging::escape(&maildir.path().to_string_lossy());
                let error = explain(error, "fs.inotify.max_user_watches");
                log::warn!("{path}: inotify failed: {error}; {POLLING_NOTICE}");
            }
        }
        done.is_ok()
    }

    /// Ends the watch of index `id`, unless another index has taken it over.
    pub fn unwatch(&self, id: IndexId) {
        if let Some(queue) = &self.queue {
            lock(&self.watched).forget(queue, id);
        }
    }
}

impl Watched {
    fn set_owner(&mut self, watch: WatchId, id: IndexId, subdir: Subdir) {
        self.owners.insert(watch, id);
        let _ = self.changes.send((watch, Some((id, subdir)))); // the loop may have ended
    }

    /// Ends the watches of an index.
    fn forget(&mut self, queue: &Queue, id: IndexId) {
        for watch in self.by_index.remove(&id).unwrap_or_default() {
            self.end(queue, watch, id);
        }
        Shrinker::default().shrink(&mut self.by_index).shrink(&mut self.owners);
    }

    /// Ends a watch, if it still belongs to that index.
    fn end(&mut self, queue: &Queue, watch: WatchId, id: IndexId) {
        if self.owners.get(&watch) == Some(&id) {
            self.owners.remove(&watch);
            let _ = self.changes.send((watch, None)); // as above
            let _ = inotify::remove_watch(&queue.inotify, watch); // the kernel has ended it if the directory is gone
        }
    }
}

/// The reason for a failure, for an operator: the kernel uses these codes for its own limits.
fn explain(error: Errno, limit: &str) -> String {
    match error {
        Errno::NOSPC | Errno::MFILE => format!("its limit is reached (sysctl {limit})"),
        error => error.to_string(),
    }
}

fn path_of(file: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// The data under these locks is whole at every moment, so a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A message may have appeared, disappeared or changed, or the directory itself is gone. A file that is being written has its
/// event when it is closed. The kernel has nothing to do where a file is opened or read, as by each RETR.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
const POLLING_NOTICE: &str = "polling at each login and every minute";

#[cfg(test)]
mod tests;
