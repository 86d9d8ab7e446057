//! Barriers in the inotify queue: after the event of a barrier, the watcher has reported every earlier event.
//!
//! A barrier is the opening of a watched file in memory. Each file has at most one opening in the queue: the
//! watcher opens it again only after that opening, or the opening of a file opened later, was reported, because the
//! queue keeps the order. So nothing is counted, and it does not matter how many events are lost, or how often.

use std::{
    fs::File,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::MemfdFlags;

/// The barriers requested so far, numbered, and the files that make them.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    files: Vec<(OwnedFd, PathBuf)>,
    state: Mutex<BarrierState>,
    reached: AtomicU64,
}

#[derive(Debug, Default)]
struct BarrierState {
    /// The number of the last barrier requested. One opening makes all barriers requested before it.
    requested: u64,
    /// The use of each file.
    files: Vec<FileState>,
}

/// The use of one file. The number is the last barrier that its opening makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileState {
    Free,
    /// Opened, and its event is awaited. At most one file is in this state.
    AwaitingEvent(u64),
    /// Opened before events were lost. Its event may still come, and then reaches no barrier, or it is lost too.
    MaybeLost(u64),
    /// Not to be opened until it is watched anew.
    NeedsRewatch,
}

impl FileState {
    fn number(self) -> Option<u64> {
        match self {
            Self::AwaitingEvent(number) | Self::MaybeLost(number) => Some(number),
            Self::Free | Self::NeedsRewatch => None,
        }
    }
}

impl Barriers {
    pub(super) fn new() -> rustix::io::Result<Self> {
        let file = |number| {
            let file = rustix::fs::memfd_create(format!("mark {number}"), MemfdFlags::CLOEXEC)?;
            let path = path_of(&file);
            Ok((file, path))
        };
        let files = (0..FILES).map(file).collect::<rustix::io::Result<_>>()?;
        let state = BarrierState { requested: 0, files: vec![FileState::Free; FILES] };
        Ok(Self { files, state: Mutex::new(state), reached: AtomicU64::new(0) })
    }

    /// The files, for the watcher to watch.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(_, path)| &**path)
    }

    pub(super) fn path(&self, file: usize) -> &Path {
        &self.files[file].1
    }

    /// Requests a barrier and returns its number. The file is opened now, or after the barrier before is reached.
    /// Returns `None` if there are no files.
    pub(super) fn create(&self) -> Option<u64> {
        if self.files.is_empty() {
            return None;
        }
        let mut state = lock(&self.state);
        state.requested += 1;
        self.open_file(&mut state);
        Some(state.requested)
    }

    /// The last barrier reached: every change before it has been reported, or a full scan finds it.
    pub(super) fn last_reached(&self) -> u64 {
        self.reached.load(Ordering::Acquire)
    }

    /// Handles the opening of a file. Returns `true` if that reaches a barrier.
    pub(super) fn on_open_event(&self, path: &Path) -> bool {
        let Some(file) = self.paths().position(|barrier| barrier == path) else { return false };
        let mut state = lock(&self.state);
        let before = state.files[file];
        let Some(number) = before.number() else { return false };
        // Earlier openings without a report are lost.
        let is_over = |file: &FileState| file.number().is_some_and(|other| other <= number);
        state.files.iter_mut().filter(|file| is_over(file)).for_each(|file| *file = FileState::Free);
        let is_reached = before == FileState::AwaitingEvent(number);
        if is_reached {
            self.mark_reached(number);
        }
        if self.last_reached() < state.requested {
            self.open_file(&mut state);
        }
        is_reached
    }

    /// Handles a loss of events. Returns the last barrier requested so far, because its event may never come.
    pub(super) fn events_lost(&self) -> u64 {
        let mut state = lock(&self.state);
        for file in &mut state.files {
            if let FileState::AwaitingEvent(number) = *file {
                *file = FileState::MaybeLost(number);
            }
        }
        state.requested
    }

    /// Counts every barrier up to that number as reached: each change before it has been reported, or a full scan
    /// finds it.
    pub(super) fn mark_reached(&self, number: u64) {
        self.reached.fetch_max(number, Ordering::AcqRel);
    }

    /// Returns the files whose openings are lost, as far as is known, if no other file can be opened. The caller
    /// must watch them anew.
    pub(super) fn take_files_to_rewatch(&self) -> Vec<usize> {
        let mut state = lock(&self.state);
        if state.files.iter().any(|file| matches!(file, FileState::Free | FileState::AwaitingEvent(_))) {
            return Vec::new();
        }
        state.files.fill(FileState::NeedsRewatch);
        (0..state.files.len()).collect()
    }

    /// Frees a file that the watcher watches anew: notify no longer reports its earlier openings.
    pub(super) fn rewatched(&self, file: usize) {
        let mut state = lock(&self.state);
        state.files[file] = FileState::Free;
        if self.last_reached() < state.requested {
            self.open_file(&mut state);
        }
    }

    /// The file whose event is awaited, and the number of its barrier.
    #[cfg(test)]
    pub(super) fn awaited_file(&self) -> Option<(usize, u64)> {
        let awaited = |(file, state): (usize, &FileState)| match state {
            FileState::AwaitingEvent(number) => Some((file, *number)),
            _ => None,
        };
        lock(&self.state).files.iter().enumerate().find_map(awaited)
    }

    /// Opens a file for the barriers requested so far, unless one is awaited. If no file can be opened, the next
    /// request tries again, and the registry scans the waiting mailboxes after one second.
    fn open_file(&self, state: &mut BarrierState) {
        if state.files.iter().any(|file| matches!(file, FileState::AwaitingEvent(_))) {
            return;
        }
        let Some(file) = state.files.iter().position(|file| *file == FileState::Free) else { return };
        if File::open(&self.files[file].1).is_ok() {
            state.files[file] = FileState::AwaitingEvent(state.requested);
        }
    }
}

pub(super) fn path_of(file: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

/// The data under these locks is whole at every moment, so a panic elsewhere is no reason to stop.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One opening is awaited, and each loss of events may cost one more file until a later barrier is reached.
const FILES: usize = 4;
