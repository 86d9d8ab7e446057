//! Marks in the queue of the kernel, each of which is known from every other when it is told.
//!
//! A mark is an opening of a file in memory that is watched. A file has one opening in the queue at most: it is
//! opened again only when its opening was told, or that of a file opened later, since the queue keeps the order.
//! So nothing is counted, and it does not matter how many events were lost, nor how often.

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

/// The marks that were asked for, numbered, and the files that make them.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    files: Vec<(OwnedFd, PathBuf)>,
    state: Mutex<State>,
    reached: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// The last mark that was asked for. One opening makes all marks that were asked for before it.
    requested: u64,
    /// The use of each file.
    uses: Vec<FileUse>,
}

/// The number is that of the last mark that the opening makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileUse {
    Free,
    /// Opened, and waited for: of one file at a time.
    Opened(u64),
    /// Opened before events were lost: it may be told, and then it is no news, or be lost itself.
    Uncertain(u64),
    /// Not to be opened, since it is watched anew.
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

    /// The files, to be watched.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(_, path)| &**path)
    }

    pub(super) fn path(&self, file: usize) -> &Path {
        &self.files[file].1
    }

    /// Makes a mark, now or when the one before it is told, and returns its number. `None`: there are none.
    pub(super) fn create(&self) -> Option<u64> {
        if self.files.is_empty() {
            return None;
        }
        let mut state = lock(&self.state);
        state.requested += 1;
        self.open_file(&mut state);
        Some(state.requested)
    }

    /// The last mark that was told: what happened before it has been told, or is found by a walk.
    pub(super) fn last_reached(&self) -> u64 {
        self.reached.load(Ordering::Acquire)
    }

    /// A file was opened. `true`: a mark is told.
    pub(super) fn on_open_event(&self, path: &Path) -> bool {
        let Some(file) = self.paths().position(|mark| mark == path) else { return false };
        let mut state = lock(&self.state);
        let heard = state.uses[file];
        let Some(number) = heard.number() else { return false };
        // What was opened before and was not told is lost.
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

    /// Events were lost. Returns the last mark that was asked for before that is known: it may never be told.
    pub(super) fn events_lost(&self) -> u64 {
        let mut state = lock(&self.state);
        for using in &mut state.uses {
            if let FileUse::Opened(number) = *using {
                *using = FileUse::Uncertain(number);
            }
        }
        state.requested
    }

    /// Everything up to that mark has been told, or is found by a walk.
    pub(super) fn mark_reached(&self, number: u64) {
        self.reached.fetch_max(number, Ordering::AcqRel);
    }

    /// Files whose openings were lost, as far as is known, if there is no other to be opened. They are to be
    /// watched anew.
    pub(super) fn exhausted_files(&self) -> Vec<usize> {
        let mut state = lock(&self.state);
        if state.uses.iter().any(|using| matches!(using, FileUse::Free | FileUse::Opened(_))) {
            return Vec::new();
        }
        state.uses.fill(FileUse::Rewatched);
        (0..state.uses.len()).collect()
    }

    /// A file is watched anew: nothing of what it was opened before is told any more.
    pub(super) fn rewatched(&self, file: usize) {
        let mut state = lock(&self.state);
        state.uses[file] = FileUse::Free;
        if self.last_reached() < state.requested {
            self.open_file(&mut state);
        }
    }

    /// The file that is waited for, and the number of its mark.
    #[cfg(test)]
    pub(super) fn awaited_file(&self) -> Option<(usize, u64)> {
        let is_opened = |(file, using): (usize, &FileUse)| match using {
            FileUse::Opened(number) => Some((file, *number)),
            _ => None,
        };
        lock(&self.state).uses.iter().enumerate().find_map(is_opened)
    }

    /// Opens a file for what was asked for, unless one is waited for. If none can be opened, the next mark tries
    /// again, and who waits for this one asks the disk when a second is over.
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

/// One is waited for, and each loss may cost one more until a later one is told.
const FILES: usize = 4;
