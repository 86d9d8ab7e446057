//! The watcher: tells the loop to which names in which mailboxes something has happened, and when it does
//! not know. Nothing more is read into an event than "look at this name".
//!
//! The directories are watched through their open descriptors (`/proc/self/fd/N`), so that what is watched
//! is what the mailbox has open, whatever its path leads to by now.
//!
//! The kernel queues what happens in the order in which it happens. So a worker that locks a mailbox leaves
//! a mark in the queue: the lock file is watched too, and when its opening is told, everything that happened
//! before has been told. A login waits for that mark.

use std::{
    collections::HashMap,
    ffi::OsStr,
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

use super::registry::IndexId;
use crate::{
    logging,
    maildir::{Error, Maildir, Place, lock},
};

/// What the watcher tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Something happened to a name.
    Name(IndexId, Place, Box<[u8]>),
    /// The lock file was opened: all that happened before that has been told.
    Mark(IndexId),
    /// One of the directories itself was removed or moved away.
    Lost(IndexId),
}

/// The receiving end, for the loop.
#[derive(Debug)]
pub struct Notices {
    queue: channel::Receiver<Notice>,
    missed: Arc<AtomicBool>,
}

impl Notices {
    /// Whether anything was missed since the last call: to be asked before the notices are read, since then
    /// they are not all there is.
    pub fn missed(&self) -> bool {
        self.missed.swap(false, Ordering::AcqRel)
    }

    /// What is there now.
    pub fn iter(&self) -> impl Iterator<Item = Notice> {
        self.queue.try_iter()
    }
}

/// Watches mailboxes, if it can.
pub struct Watcher {
    watched: Arc<Mutex<Watched>>,
    /// `None`: nothing is watched. Held while a directory is added or removed, by workers only.
    notify: Mutex<Option<RecommendedWatcher>>,
    told_of_remote: AtomicBool,
    told_of_failure: AtomicBool,
}

/// The directories that are watched.
#[derive(Debug, Default)]
struct Watched {
    by_path: HashMap<PathBuf, (IndexId, Part)>,
    /// A file has one watch, however often it is asked for, and the latest that asks has it.
    by_file: HashMap<(u64, u64), PathBuf>,
}

/// What is watched of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Messages(Place),
    LockFile,
}

const PARTS: [Part; 3] = [Part::Messages(Place::New), Part::Messages(Place::Cur), Part::LockFile];

impl Watcher {
    /// Starts watching. At most `waiting` notices wait to be read; what comes on top counts as missed.
    /// `ring` is called when there is something to read.
    pub fn start(waiting: usize, ring: impl Fn() + Send + 'static) -> (Self, Notices) {
        let (queue, notices) = channel::bounded(waiting);
        let (missed, watched) = <(Arc<AtomicBool>, Arc<Mutex<Watched>>)>::default();
        let ear = Ear { watched: Arc::clone(&watched), queue, missed: Arc::clone(&missed) };
        let hear = move |event| {
            if ear.hear(event) {
                ring();
            }
        };
        let notify = notify::recommended_watcher(hear)
            .map_err(|error| log::warn!("no watch on mailboxes: {error}; {INSTEAD}"));
        (Self { watched, ..Self::with(notify.ok()) }, Notices { queue: notices, missed })
    }

    /// Watches nothing.
    pub fn off() -> (Self, Notices) {
        (Self::with(None), Notices { queue: channel::never(), missed: Arc::default() })
    }

    fn with(notify: Option<RecommendedWatcher>) -> Self {
        let (told_of_remote, told_of_failure, watched) = Default::default();
        Self { watched, notify: Mutex::new(notify), told_of_remote, told_of_failure }
    }

    /// Watches a mailbox for the index `id`. `false`: it can't be watched, which is told in the log once.
    pub fn watch(&self, id: IndexId, maildir: &Maildir) -> bool {
        let mut notify = locked(&self.notify);
        let Some(notify) = notify.as_mut() else { return false };
        if maildir.is_remote() {
            if !self.told_of_remote.swap(true, Ordering::Relaxed) {
                log::warn!("{}: no watch on a network file system; {INSTEAD}", maildir.path().display());
            }
            return false;
        }
        let done = PARTS.into_iter().try_for_each(|part| self.watch_part(notify, id, maildir, part));
        if let Err(error) = &done
            && !self.told_of_failure.swap(true, Ordering::Relaxed)
        {
            let path = logging::escape(&maildir.path().to_string_lossy());
            log::warn!("{path}: no watch: {error}; {INSTEAD}");
        }
        done.is_ok()
    }

    fn watch_part(
        &self,
        notify: &mut RecommendedWatcher,
        id: IndexId,
        maildir: &Maildir,
        part: Part,
    ) -> notify::Result<()> {
        let path = path_of(maildir, part);
        let file = key_of(maildir, part).map_err(|error| notify::Error::io(io::Error::other(error)))?;
        let earlier = locked(&self.watched).by_file.get(&file).filter(|earlier| **earlier != path).cloned();
        if let Some(earlier) = earlier {
            self.forget(notify, &earlier, file);
        }
        {
            let mut watched = locked(&self.watched);
            watched.by_path.insert(path.clone(), (id, part));
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
        for part in PARTS {
            let path = path_of(maildir, part);
            let is_its = locked(&self.watched).by_path.get(&path).is_some_and(|(owner, _)| *owner == id);
            if let Ok(file) = key_of(maildir, part)
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
}

impl Ear {
    /// Passes an event on. `true`: there is something new to read.
    fn hear(&self, event: notify::Result<Event>) -> bool {
        match event {
            // The flag comes with no path, or with one that means nothing.
            Ok(event) if event.need_rescan() => self.miss("too many changes at once"),
            Ok(event) => event.paths.iter().filter(|path| self.tell(path, event.kind)).count() > 0,
            Err(error) => self.miss(&error.to_string()),
        }
    }

    fn tell(&self, path: &Path, kind: EventKind) -> bool {
        let opened = kind == EventKind::Access(AccessKind::Open(AccessMode::Any));
        if !(tells_something(kind) || opened && path.file_name() == Some(OsStr::new(lock::FILE))) {
            return false;
        }
        self.notice(path, kind, opened).is_some_and(|notice| {
            self.queue.try_send(notice).is_ok() || self.miss("the changes come too fast")
        })
    }

    fn notice(&self, path: &Path, kind: EventKind, opened: bool) -> Option<Notice> {
        let watched = locked(&self.watched);
        let gone = || matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        match watched.by_path.get(path) {
            Some((id, Part::LockFile)) if opened => Some(Notice::Mark(*id)),
            // Their rights and owners do not concern us.
            Some((id, _)) => gone().then_some(Notice::Lost(*id)),
            None => match watched.by_path.get(path.parent()?)? {
                (id, Part::Messages(place)) if !opened => {
                    Some(Notice::Name(*id, *place, path.file_name()?.as_bytes().into()))
                }
                _ => None,
            },
        }
    }

    fn miss(&self, why: &str) -> bool {
        if !self.missed.swap(true, Ordering::AcqRel) {
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

fn path_of(maildir: &Maildir, part: Part) -> PathBuf {
    let open = |dir: &OwnedFd| Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string());
    match part {
        Part::Messages(place) => open(maildir.dir(place)),
        Part::LockFile => open(maildir.root()).join(lock::FILE),
    }
}

fn key_of(maildir: &Maildir, part: Part) -> Result<(u64, u64), Error> {
    match part {
        Part::Messages(place) => maildir.key_of(place),
        Part::LockFile => lock::key_of(maildir),
    }
}

/// The data under these locks is whole at every moment: a panic elsewhere is no reason to stop.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const INSTEAD: &str = "changes by other programs are looked for at each login and every minute";
