//! Directories that are not there yet, waited for by watching what is there of the path that leads to them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};

/// Waits for directories to come into being.
pub(super) struct Dirs {
    notify: Option<RecommendedWatcher>,
    /// What is watched for the sake of each path: the nearest directory above it that was there.
    nearest: HashMap<PathBuf, PathBuf>,
}

impl Dirs {
    /// Rings whenever something happens that may have to do with it.
    pub(super) fn new(ring: impl Fn() + Send + 'static) -> Self {
        let told = move |_: notify::Result<Event>| ring();
        Self { notify: notify::recommended_watcher(told).ok(), nearest: HashMap::new() }
    }

    /// Watches the nearest directory above `path` that is there, or `path` itself. `Ok(true)`: that is new, and
    /// what is there must be looked at again. `Err`: it can't be watched.
    pub(super) fn await_one(&mut self, path: &Path) -> Result<bool, notify::Error> {
        let there = path.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/"));
        if self.nearest.get(path).is_some_and(|nearest| nearest == there) {
            return Ok(false);
        }
        let Some(notify) = &mut self.notify else {
            return Err(notify::Error::generic("no watch on directories"));
        };
        notify.watch(there, RecursiveMode::NonRecursive)?;
        self.nearest.insert(path.to_owned(), there.to_owned());
        Ok(true)
    }
}
