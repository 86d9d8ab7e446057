//! The watcher reports to the loop the names that have changed in each mailbox, and any loss of events. An event
//! means no more than "recheck this name".
//!
//! It watches the directories through their open descriptors (`/proc/self/fd/N`), so that it watches the
//! directories that the mailbox has open, even if its path leads elsewhere by now.
//!
//! The kernel queues events in the order of the changes. So a worker that needs every event up to now creates a
//! barrier in the queue, see `barriers.rs`.

use std::{
    collections::HashMap,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use crossbeam_channel as channel;
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};

use super::{
    barriers::{Barriers, lock, path_of},
    budget::Budget,
    job::IndexId,
};
use crate::{
    capacity::Shrinker,
    logging,
    maildir::{Maildir, Subdir},
    metrics::METRICS,
};

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
#[derive(Debug)]
pub enum WatcherReport {
    /// Events were lost: those in the queue are not complete.
    Overflow,
    /// A change in a watched mailbox.
    Event(MailboxEvent),
    /// Every event before that barrier has been reported.
    Barrier(u64),
}

/// The receiving end, for the loop.
#[derive(Debug)]
pub struct MailboxEvents {
    queue: channel::Receiver<MailboxEvent>,
    lost: Arc<AtomicBool>,
    barriers: Arc<Barriers>,
    /// A round that is not read to its end: the last barrier reached at its start, and the number of events left.
    round: Option<(u64, usize)>,
}

impl MailboxEvents {
    fn new(queue: channel::Receiver<MailboxEvent>, lost: Arc<AtomicBool>, barriers: Arc<Barriers>) -> Self {
        Self { queue, lost, barriers, round: None }
    }

    /// Whether events were lost since the last call. Call it before you read the events, because these are not
    /// complete then.
    pub fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::AcqRel)
    }

    /// The events in the queue now.
    pub fn iter(&self) -> impl Iterator<Item = MailboxEvent> {
        self.queue.try_iter()
    }

    /// Passes on the events in the queue, as far as the budget goes. The rest comes with the next call, and the
    /// barrier after it.
    pub fn read(&mut self, budget: &mut Budget, mut report: impl FnMut(WatcherReport)) {
        // The barrier comes first: every event before it is in the queue then, or was lost.
        let (barrier, left) = self.round.take().unwrap_or_else(|| {
            let barrier = self.barriers.last_reached();
            if self.take_lost() {
                report(WatcherReport::Overflow);
            }
            (barrier, self.queue.len())
        });
        let some = budget.take(left);
        self.iter().take(some).for_each(|event| report(WatcherReport::Event(event)));
        if some < left {
            self.round = Some((barrier, left - some));
        } else {
            report(WatcherReport::Barrier(barrier));
        }
    }
}

/// Watches mailboxes, if it can.
pub struct Watcher {
    watched: Arc<Mutex<Watched>>,
    /// `None` if nothing is watched. Only workers hold the lock, while they add or remove a directory.
    notify: Mutex<Option<RecommendedWatcher>>,
    barriers: Arc<Barriers>,
    /// Whether servers on other machines may use the mailboxes.
    shared: bool,
    remote_logged: AtomicBool,
    failure_logged: AtomicBool,
}

/// The directories with an inotify watch, by path and by file.
#[derive(Debug, Default)]
struct Watched {
    by_path: HashMap<PathBuf, (IndexId, Subdir)>,
    /// A directory has one watch, even if several indexes ask for it, and it belongs to the latest.
    by_file: HashMap<(u64, u64), PathBuf>,
}

impl Watcher {
    /// Starts to watch mailboxes. `shared`: servers on other machines use them too. At most `waiting` events wait
    /// in the queue, and further ones count as lost. The watcher calls `wake` when there is something to read.
    pub fn start(waiting: usize, shared: bool, wake: impl Fn() + Send + 'static) -> (Self, MailboxEvents) {
        let (queue, events) = channel::bounded(waiting);
        let lost = Arc::<AtomicBool>::default();
        let watched = Arc::<Mutex<Watched>>::default();
        let started = Barriers::new().map_err(|error| notify::Error::io(error.into())).and_then(|barriers| {
            let barriers = Arc::new(barriers);
            let (watched, lost) = (Arc::clone(&watched), Arc::clone(&lost));
            let handler = EventHandler { watched, queue, lost, barriers: Arc::clone(&barriers) };
            let mut notify = notify::recommended_watcher(move |event| {
                if handler.on_event(event) {
                    wake();
                }
            })?;
            for path in barriers.paths() {
                notify.watch(path, RecursiveMode::NonRecursive)?;
            }
            Ok((notify, barriers))
        });
        let (notify, barriers) = match started {
            Ok((notify, barriers)) => {
                METRICS.watch.set(1);
                (Some(notify), barriers)
            }
            Err(error) => {
                log::warn!("inotify unavailable: {error}; {POLLING_NOTICE}");
                (None, Arc::default())
            }
        };
        let events = MailboxEvents::new(events, lost, Arc::clone(&barriers));
        (Self { watched, barriers, shared, ..Self::with(notify) }, events)
    }

    /// Creates a watcher that watches nothing.
    pub fn disabled() -> (Self, MailboxEvents) {
        let events = MailboxEvents::new(channel::never(), Arc::default(), Arc::default());
        (Self::with(None), events)
    }

    fn with(notify: Option<RecommendedWatcher>) -> Self {
        let (remote_logged, failure_logged, watched, barriers) = Default::default();
        let (notify, shared) = (Mutex::new(notify), false);
        Self { watched, barriers, notify, shared, remote_logged, failure_logged }
    }

    /// Creates a barrier: when [`WatcherReport::Barrier`] has reached its number, every earlier event has been reported.
    /// Returns `None` if nothing is watched.
    pub fn create_barrier(&self) -> Option<u64> {
        self.barriers.create()
    }

    /// Watches a mailbox for the index `id`. Returns `false` if that fails, and logs the first failure.
    pub fn watch(&self, id: IndexId, maildir: &Maildir) -> bool {
        let mut notify = lock(&self.notify);
        let Some(notify) = notify.as_mut() else { return false };
        self.rewatch_barriers(notify);
        if !maildir.has_change_events(self.shared) {
            if !self.remote_logged.swap(true, Ordering::Relaxed) {
                let path = logging::escape(&maildir.path().to_string_lossy());
                log::warn!("{path}: no inotify on network file systems; {POLLING_NOTICE}");
            }
            return false;
        }
        let done =
            Subdir::ALL.into_iter().try_for_each(|subdir| self.watch_subdir(notify, id, maildir, subdir));
        if let Err(error) = &done
            && !self.failure_logged.swap(true, Ordering::Relaxed)
        {
            let path = logging::escape(&maildir.path().to_string_lossy());
            log::warn!("{path}: inotify failed: {error}; {POLLING_NOTICE}");
        }
        done.is_ok()
    }

    /// Watches the files of lost barriers anew, if no other file is left for the next barrier. After that, notify
    /// reports no event of the earlier watch, although it is in the queue.
    fn rewatch_barriers(&self, notify: &mut RecommendedWatcher) {
        for file in self.barriers.take_files_to_rewatch() {
            let path = self.barriers.path(file);
            let _ = notify.unwatch(path); // absent if the last attempt to watch it failed
            if notify.watch(path, RecursiveMode::NonRecursive).is_ok() {
                self.barriers.rewatched(file);
            }
        }
    }

    fn watch_subdir(
        &self,
        notify: &mut RecommendedWatcher,
        id: IndexId,
        maildir: &Maildir,
        subdir: Subdir,
    ) -> notify::Result<()> {
        let path = path_of(maildir.dir(subdir));
        let file = maildir.subdir_id(subdir);
        let earlier = lock(&self.watched).by_file.get(&file).filter(|earlier| **earlier != path).cloned();
        if let Some(earlier) = earlier {
            self.forget(notify, &earlier, file);
        }
        {
            let mut watched = lock(&self.watched);
            watched.by_path.insert(path.clone(), (id, subdir));
            watched.by_file.insert(file, path.clone());
        }
        let done = notify.watch(&path, RecursiveMode::NonRecursive);
        if done.is_err() {
            self.forget(notify, &path, file);
        }
        done
    }

    /// Ends the watch of index `id`, unless another index has taken it over.
    pub fn unwatch(&self, id: IndexId, maildir: &Maildir) {
        let mut notify = lock(&self.notify);
        let Some(notify) = notify.as_mut() else { return };
        for subdir in Subdir::ALL {
            let path = path_of(maildir.dir(subdir));
            let is_its = lock(&self.watched).by_path.get(&path).is_some_and(|(owner, _)| *owner == id);
            if is_its {
                self.forget(notify, &path, maildir.subdir_id(subdir));
            }
        }
    }

    fn forget(&self, notify: &mut RecommendedWatcher, path: &Path, file: (u64, u64)) {
        let _ = notify.unwatch(path); // the kernel has ended it if the directory is gone
        let mut watched = lock(&self.watched);
        watched.by_path.remove(path);
        if watched.by_file.get(&file).is_some_and(|owner| owner == path) {
            watched.by_file.remove(&file);
        }
        let Watched { by_path, by_file } = &mut *watched;
        Shrinker::default().shrink(by_path).shrink(by_file);
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").field("watched", &self.watched).finish_non_exhaustive()
    }
}

/// The handler of events, on a thread of notify's.
struct EventHandler {
    watched: Arc<Mutex<Watched>>,
    queue: channel::Sender<MailboxEvent>,
    lost: Arc<AtomicBool>,
    barriers: Arc<Barriers>,
}

impl EventHandler {
    /// Passes an event on. Returns `true` if there is something new to read.
    fn on_event(&self, event: notify::Result<Event>) -> bool {
        match event {
            // The flag comes with no path, or with one that means nothing.
            Ok(event) if event.need_rescan() => self.events_lost("too many changes at once"),
            Ok(event) => {
                METRICS.watch_events.inc();
                event.paths.iter().filter(|path| self.forward(path, event.kind)).count() > 0
            }
            Err(error) => self.events_lost(&error.to_string()),
        }
    }

    fn forward(&self, path: &Path, kind: EventKind) -> bool {
        if kind == OPENED {
            return self.barriers.on_open_event(path);
        }
        is_relevant(kind)
            && self.to_mailbox_event(path, kind).is_some_and(|event| {
                self.queue.try_send(event).is_ok() || self.queue_overflowed("the changes come too fast")
            })
    }

    fn to_mailbox_event(&self, path: &Path, kind: EventKind) -> Option<MailboxEvent> {
        let watched = lock(&self.watched);
        if let Some((id, _)) = watched.by_path.get(path) {
            // Changes of its rights and its owner do not matter.
            let gone = matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
            return gone.then_some(MailboxEvent::DirectoryLost(*id));
        }
        let (id, subdir) = watched.by_path.get(path.parent()?)?;
        let name = path.file_name()?.as_bytes().into();
        Some(match kind {
            EventKind::Remove(_) => MailboxEvent::NameRemoved(*id, *subdir, name),
            _ => MailboxEvent::NameChanged(*id, *subdir, name),
        })
    }

    /// Handles a loss of events in the kernel, perhaps with barriers among them. Barriers requested up to now count
    /// as reached, but only after the loop can know that it needs full scans, which see the changes before those
    /// barriers. Later barriers do not count.
    fn events_lost(&self, why: &str) -> bool {
        let last = self.barriers.events_lost();
        self.queue_overflowed(why);
        self.barriers.mark_reached(last);
        true
    }

    /// Records the loss of an event.
    fn queue_overflowed(&self, why: &str) -> bool {
        if !self.lost.swap(true, Ordering::AcqRel) {
            METRICS.watch_overflows.inc();
            log::info!("inotify events lost: {why}; rescanning open mailboxes");
        }
        true
    }
}

/// Whether a message may have appeared, disappeared or changed. A file that is being written has its event when it
/// is closed.
fn is_relevant(kind: EventKind) -> bool {
    match kind {
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Any | EventKind::Other => true,
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        // Both halves of a rename have events of their own.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both) | ModifyKind::Data(_)) => false,
        EventKind::Modify(_) => true,
    }
}

const OPENED: EventKind = EventKind::Access(AccessKind::Open(AccessMode::Any));
const POLLING_NOTICE: &str = "polling at each login and every minute";

#[cfg(test)]
mod tests;
