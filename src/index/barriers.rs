//! Barriers in the inotify queue: after the event of a barrier, the watcher has reported every earlier event.
//!
//! A barrier is the opening of a watched file in memory. Each file has at most one opening in the queue: the
//! watcher opens it again only after that opening, or the opening of a file opened later, was reported, because the
//! queue keeps the order. So nothing is counted, and it does not matter how many events are lost, or how often.

use std::{
    fs::File,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::MemfdFlags;

use super::watcher::{lock, path_of};

/// The barriers requested so far, numbered, and the files that make them.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    files: Vec<(OwnedFd, PathBuf)>,
    state: Mutex<State>,
    reached: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the last barrier requested. One opening makes all barriers requested before it.
    requested: u64,
    /// The use of each file.
    uses: Vec<FileUse>,
}

/// The use of one file. The number is the last barrier that its opening makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileUse {
    Free,
    /// Opened, and its event is awaited. At most one file is in this state.
    Opened(u64),
    /// Opened before events were lost. Its event may still come, and then reaches no barrier, or it is lost too.
    Uncertain(u64),
    /// Not to be opened until it is watched anew.
    Rewatched,
}

impl FileUse {
    fn number(self) -> Option<u64> {
        match self {
            Self::Opened(number) | Self::Uncertain(number) => Some(number),
            Self::Free | Self::Rewatched => None,
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
        let state = State { requested: 0, uses: vec![FileUse::Free; FILES] };
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
        let Some(file) = self.paths().position(|mark| mark == path) else { return false };
        let mut state = lock(&self.state);
        let heard = state.uses[file];
        let Some(number) = heard.number() else { return false };
        // Earlier openings without a report are lost.
        let is_over = |using: &FileUse| using.number().is_some_and(|other| other <= number);
        state.uses.iter_mut().filter(|using| is_over(using)).for_each(|using| *using = FileUse::Free);
        let is_told = heard == FileUse::Opened(number);
        if is_told {
            self.mark_reached(number);
        }
        if self.last_reached() < state.requested {
            self.open_file(&mut state);
        }
        is_told
    }

    /// Handles a loss of events. Returns the last barrier requested so far, because its event may never come.
    pub(super) fn events_lost(&self) -> u64 {
        let mut state = lock(&self.state);
        for using in &mut state.uses {
            if let FileUse::Opened(number) = *using {
                *using = FileUse::Uncertain(number);
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
    pub(super) fn exhausted_files(&self) -> Vec<usize> {
        let mut state = lock(&self.state);
        if state.uses.iter().any(|using| matches!(using, FileUse::Free | FileUse::Opened(_))) {
            return Vec::new();
        }
        state.uses.fill(FileUse::Rewatched);
        (0..state.uses.len()).collect()
    }

    /// Frees a file that the watcher watches anew: notify no longer reports its earlier openings.
    pub(super) fn rewatched(&self, file: usize) {
        let mut state = lock(&self.state);
        state.uses[file] = FileUse::Free;
        if self.last_reached() < state.requested {
            self.open_file(&mut state);
        }
    }

    /// The file whose event is awaited, and the number of its barrier.
    #[cfg(test)]
    pub(super) fn awaited_file(&self) -> Option<(usize, u64)> {
        let is_opened = |(file, using): (usize, &FileUse)| match using {
            FileUse::Opened(number) => Some((file, *number)),
            _ => None,
        };
        lock(&self.state).uses.iter().enumerate().find_map(is_opened)
    }

    /// Opens a file for the barriers requested so far, unless one is awaited. If no file can be opened, the next
    /// request tries again, and the registry scans the waiting mailboxes after one second.
    fn open_file(&self, state: &mut State) {
        if state.uses.iter().any(|using| matches!(using, FileUse::Opened(_))) {
            return;
        }
        let Some(file) = state.uses.iter().position(|using| *using == FileUse::Free) else { return };
        if File::open(&self.files[file].1).is_ok() {
            state.uses[file] = FileUse::Opened(state.requested);
        }
    }
}

/// One opening is awaited, and each loss of events may cost one more file until a later barrier is reached.
const FILES: usize = 4;
