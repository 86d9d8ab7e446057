//! The watcher: tells the loop to which names in which mailboxes something has happened, and when it does
//! not know. Nothing more is read into an event than "look at this name".
//!
//! The directories are watched through their open descriptors (`/proc/self/fd/N`), so that what is watched
//! is what the mailbox has open, whatever its path leads to by now.
//!
//! The kernel queues what happens in the order in which it happens. So a worker that wants to know whether
//! everything has been told makes a mark in the queue, see `marks.rs`.

use std::{
    collections::HashMap,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crossbeam_channel as channel;
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};

use super::{barriers::Marks, budget::Budget, registry::IndexId};
use crate::{
    capacity::Shrinker,
    logging,
    maildir::{Maildir, Place},
    metrics::METRICS,
};

/// What the watcher tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Something happened to a name.
    Name(IndexId, Place, Box<[u8]>),
    /// A name was removed. What takes it afterwards is told afterwards.
    Removed(IndexId, Place, Box<[u8]>),
    /// One of the directories itself was removed or moved away.
    Lost(IndexId),
}

/// What is read of the watcher, in this order.
#[derive(Debug)]
pub enum News {
    /// Changes were missed: the notices are not all there is.
    Missed,
    /// One change.
    Notice(Notice),
    /// Everything up to that mark has been told.
    Mark(u64),
}

/// The receiving end, for the loop.
#[derive(Debug)]
pub struct Notices {
    queue: channel::Receiver<Notice>,
    missed: Arc<AtomicBool>,
    marks: Arc<Marks>,
    /// A round that is not read to its end: the mark that was told when it began, and how many notices are left.
    round: Option<(u64, usize)>,
}

impl Notices {
    fn new(queue: channel::Receiver<Notice>, missed: Arc<AtomicBool>, marks: Arc<Marks>) -> Self {
        Self { queue, missed, marks, round: None }
    }

    /// Whether anything was missed since the last call: to be asked before the notices are read, since then
    /// they are not all there is.
    pub fn missed(&self) -> bool {
        self.missed.swap(false, Ordering::AcqRel)
    }

    /// What is there now.
    pub fn iter(&self) -> impl Iterator<Item = Notice> {
        self.queue.try_iter()
    }

    /// Tells what there is, as far as the budget goes: what is left comes the next time, and its mark after it.
    pub fn read(&mut self, budget: &mut Budget, mut tell: impl FnMut(News)) {
        // The mark first: what was told before it is among the notices then, or has been missed.
        let (mark, left) = self.round.take().unwrap_or_else(|| {
            let mark = self.marks.told();
            if self.missed() {
                tell(News::Missed);
            }
            (mark, self.queue.len())
        });
        let some = budget.take(left);
        self.iter().take(some).for_each(|notice| tell(News::Notice(notice)));
        if some < left {
            self.round = Some((mark, left - some));
        } else {
            tell(News::Mark(mark));
        }
    }
}

/// Watches mailboxes, if it can.
pub struct Watcher {
    watched: Arc<Mutex<Watched>>,
    /// `None`: nothing is watched. Held while a directory is added or removed, by workers only.
    notify: Mutex<Option<RecommendedWatcher>>,
    marks: Arc<Marks>,
    /// Whether servers on other machines may use the mailboxes.
    shared: bool,
    told_of_remote: AtomicBool,
    told_of_failure: AtomicBool,
}

/// The directories that are watched.
#[derive(Debug, Default)]
struct Watched {
    by_path: HashMap<PathBuf, (IndexId, Place)>,
    /// A directory has one watch, however often it is asked for, and the latest that asks has it.
    by_file: HashMap<(u64, u64), PathBuf>,
}

impl Watcher {
    /// Starts watching mailboxes that servers on other machines use too, if they are `shared`. At most `waiting` notices
    /// wait to be read; what comes on top counts as missed. `ring` is called when there is something to read.
    pub fn start(waiting: usize, shared: bool, ring: impl Fn() + Send + 'static) -> (Self, Notices) {
        let (queue, notices) = channel::bounded(waiting);
        let missed = Arc::<AtomicBool>::default();
        let watched = Arc::<Mutex<Watched>>::default();
        let begun = Marks::new().map_err(|error| notify::Error::io(error.into())).and_then(|marks| {
            let marks = Arc::new(marks);
            let (watched, missed) = (Arc::clone(&watched), Arc::clone(&missed));
            let ear = Ear { watched, queue, missed, marks: Arc::clone(&marks) };
            let mut notify = notify::recommended_watcher(move |event| {
                if ear.hear(event) {
                    ring();
                }
            })?;
            for path in marks.paths() {
                notify.watch(path, RecursiveMode::NonRecursive)?;
            }
            Ok((notify, marks))
        });
        let (notify, marks) = match begun {
            Ok((notify, marks)) => {
                METRICS.watch.set(1);
                (Some(notify), marks)
            }
            Err(error) => {
                log::warn!("no watch on mailboxes: {error}; {INSTEAD}");
                (None, Arc::default())
            }
        };
        let notices = Notices::new(notices, missed, Arc::clone(&marks));
        (Self { watched, marks, shared, ..Self::with(notify) }, notices)
    }

    /// Watches nothing.
    pub fn off() -> (Self, Notices) {
        let notices = Notices::new(channel::never(), Arc::default(), Arc::default());
        (Self::with(None), notices)
    }

    fn with(notify: Option<RecommendedWatcher>) -> Self {
        let (told_of_remote, told_of_failure, watched, marks) = Default::default();
        let (notify, shared) = (Mutex::new(notify), false);
        Self { watched, marks, notify, shared, told_of_remote, told_of_failure }
    }

    /// Makes a mark: when [`News::Mark`] has reached its number, everything that happened before has been
    /// told. `None`: nothing is watched.
    pub fn mark(&self) -> Option<u64> {
        self.marks.make()
    }

    /// Watches a mailbox for the index `id`. `false`: it can't be watched, which is told in the log once.
    pub fn watch(&self, id: IndexId, maildir: &Maildir) -> bool {
        let mut notify = locked(&self.notify);
        let Some(notify) = notify.as_mut() else { return false };
        self.renew_marks(notify);
        if !maildir.is_told_of(self.shared) {
            if !self.told_of_remote.swap(true, Ordering::Relaxed) {
                let path = logging::escape(&maildir.path().to_string_lossy());
                log::warn!("{path}: no watch on what other machines may change; {INSTEAD}");
            }
            return false;
        }
        let done = Place::BOTH.into_iter().try_for_each(|place| self.watch_place(notify, id, maildir, place));
        if let Err(error) = &done
            && !self.told_of_failure.swap(true, Ordering::Relaxed)
        {
            let path = logging::escape(&maildir.path().to_string_lossy());
            log::warn!("{path}: no watch: {error}; {INSTEAD}");
        }
        done.is_ok()
    }

    /// Watches the files of lost marks anew, if there is no other for the next mark: notify does not tell of the
    /// watch before, though it is in the queue.
    fn renew_marks(&self, notify: &mut RecommendedWatcher) {
        for file in self.marks.worn() {
            let path = self.marks.path(file);
            let _ = notify.unwatch(path); // not there if it could not be watched the last time
            if notify.watch(path, RecursiveMode::NonRecursive).is_ok() {
                self.marks.renewed(file);
            }
        }
    }

    fn watch_place(
        &self,
        notify: &mut RecommendedWatcher,
        id: IndexId,
        maildir: &Maildir,
        place: Place,
    ) -> notify::Result<()> {
        let path = path_of(maildir.dir(place));
        let file = maildir.key_of(place).map_err(|error| notify::Error::io(io::Error::other(error)))?;
        let earlier = locked(&self.watched).by_file.get(&file).filter(|earlier| **earlier != path).cloned();
        if let Some(earlier) = earlier {
            self.forget(notify, &earlier, file);
        }
        {
            let mut watched = locked(&self.watched);
            watched.by_path.insert(path.clone(), (id, place));
            watched.by_file.insert(file, path.clone());
        }
        let done = notify.watch(&path, RecursiveMode::NonRecursive);
        if done.is_err() {
            self.forget(notify, &path, file);
        }
        done
    }

    /// Ends the watch of index `id`, unless another one has taken it over.
    pub fn unwatch(&self, id: IndexId, maildir: &Maildir) {
        let mut notify = locked(&self.notify);
        let Some(notify) = notify.as_mut() else { return };
        for place in Place::BOTH {
            let path = path_of(maildir.dir(place));
            let is_its = locked(&self.watched).by_path.get(&path).is_some_and(|(owner, _)| *owner == id);
            if let Ok(file) = maildir.key_of(place)
                && is_its
            {
                self.forget(notify, &path, file);
            }
        }
    }

    fn forget(&self, notify: &mut RecommendedWatcher, path: &Path, file: (u64, u64)) {
        let _ = notify.unwatch(path); // gone by itself when the directory is
        let mut watched = locked(&self.watched);
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

/// What hears the events, on a thread of notify's.
struct Ear {
    watched: Arc<Mutex<Watched>>,
    queue: channel::Sender<Notice>,
    missed: Arc<AtomicBool>,
    marks: Arc<Marks>,
}

impl Ear {
    /// Passes an event on. `true`: there is something new to read.
    fn hear(&self, event: notify::Result<Event>) -> bool {
        match event {
            // The flag comes with no path, or with one that means nothing.
            Ok(event) if event.need_rescan() => self.miss("too many changes at once"),
            Ok(event) => {
                METRICS.watch_events.one();
                event.paths.iter().filter(|path| self.tell(path, event.kind)).count() > 0
            }
            Err(error) => self.miss(&error.to_string()),
        }
    }

    fn tell(&self, path: &Path, kind: EventKind) -> bool {
        if kind == OPENED {
            return self.marks.heard(path);
        }
        tells_something(kind)
            && self.notice(path, kind).is_some_and(|notice| {
                self.queue.try_send(notice).is_ok() || self.lose("the changes come too fast")
            })
    }

    fn notice(&self, path: &Path, kind: EventKind) -> Option<Notice> {
        let watched = locked(&self.watched);
        if let Some((id, _)) = watched.by_path.get(path) {
            // Its rights and its owner do not concern us.
            let gone = matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
            return gone.then_some(Notice::Lost(*id));
        }
        let (id, place) = watched.by_path.get(path.parent()?)?;
        let name = path.file_name()?.as_bytes().into();
        Some(match kind {
            EventKind::Remove(_) => Notice::Removed(*id, *place, name),
            _ => Notice::Name(*id, *place, name),
        })
    }

    /// The kernel has lost events, marks perhaps among them. Those that were made up to now count as told after the loop
    /// can know that everything is to be looked through, and none that is made later does: that walk sees what
    /// happened before them.
    fn miss(&self, why: &str) -> bool {
        let last = self.marks.doubt();
        self.lose(why);
        self.marks.tell(last);
        true
    }

    /// A notice is lost.
    fn lose(&self, why: &str) -> bool {
        if !self.missed.swap(true, Ordering::AcqRel) {
            METRICS.watch_overflows.one();
            log::info!("changes were missed: {why}; open mailboxes are looked through again");
        }
        true
    }
}

/// Whether a message may have come, gone or changed. A file that is being written tells when it is closed.
fn tells_something(kind: EventKind) -> bool {
    match kind {
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Any | EventKind::Other => true,
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        // Both halves of a rename have been told by themselves.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both) | ModifyKind::Data(_)) => false,
        EventKind::Modify(_) => true,
    }
}

pub(super) fn path_of(file: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

/// The data under these locks is whole at every moment: a panic elsewhere is no reason to stop.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const OPENED: EventKind = EventKind::Access(AccessKind::Open(AccessMode::Any));
const INSTEAD: &str = "changes by other programs are looked for at each login and every minute";

#[cfg(test)]
mod tests;
