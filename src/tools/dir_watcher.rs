//! Waits for a directory to appear or disappear, by watching the existing part of its path.

use std::{
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, Reader, WatchFlags},
    io::Errno,
};

/// Reports that something has changed in the watched directories.
pub(super) struct DirWatcher {
    inotify: Option<OwnedFd>,
}

impl DirWatcher {
    pub(super) fn new() -> Self {
        Self { inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok() }
    }

    /// Becomes readable with each event that may concern a watched path. `None` if nothing can be watched.
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Takes the events so far: each means no more than "look again".
    pub(super) fn take_events(&self) {
        let Some(inotify) = &self.inotify else { return };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(inotify, &mut buffer);
        while matches!(reader.next().map(drop), Ok(()) | Err(Errno::INTR)) {}
    }

    /// Watches `path`, or the nearest existing directory above it. The watch is set anew each time, because
    /// another directory may have taken the name. The parent is watched too: a directory held open sends no
    /// event when it is removed. Returns false if watching fails.
    pub(super) fn watch(&self, path: &Path) -> bool {
        loop {
            let there = nearest(path);
            let Some(inotify) = &self.inotify else { return false };
            let mut both = there.ancestors().take(2);
            let watched = both.all(|path| inotify::add_watch(inotify, path, CHANGES).is_ok());
            if nearest(path) == there {
                return watched;
            }
        }
    }
}

/// Waits until one of the sources is readable, or the deadline.
pub(super) fn wait_for_any<'a>(sources: impl IntoIterator<Item = Option<BorrowedFd<'a>>>, deadline: Instant) {
    let readable = |source| PollFd::from_borrowed_fd(source, PollFlags::IN);
    let mut sources: Vec<PollFd<'_>> = sources.into_iter().flatten().map(readable).collect();
    let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
    let _ = poll(&mut sources, left.as_ref()); // after a signal, the caller looks once more
}

fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/"))
}

/// The changes of names.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);
