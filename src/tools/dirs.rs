//! Directories that are not there yet, or not any more, waited for by watching what is there of the path that
//! leads to them.

use std::path::Path;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _, event::ModifyKind};

/// Tells when a directory comes into being, is removed, or moved.
pub(super) struct Dirs {
    notify: Option<RecommendedWatcher>,
}

impl Dirs {
    /// Rings whenever something happens that may have to do with it.
    pub(super) fn new(ring: impl Fn() + Send + 'static) -> Self {
        let told = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_idle(&event)) {
                return;
            }
            ring();
        };
        Self { notify: notify::recommended_watcher(told).ok() }
    }

    /// Watches `path`, or the nearest directory above it that is there; it may have been watched before, under
    /// the same name and as another directory. What is above it is watched too, since a directory that somebody
    /// holds open does not tell when it is removed. `false`: it can't be watched.
    pub(super) fn watch(&mut self, path: &Path) -> bool {
        loop {
            let there = nearest(path);
            let Some(notify) = &mut self.notify else { return false };
            let mut both = there.ancestors().take(2);
            let watched = both.all(|path| notify.watch(path, RecursiveMode::NonRecursive).is_ok());
            if nearest(path) == there {
                return watched;
            }
        }
    }
}

/// Whether an event has nothing to do with which names there are: we open directories ourselves, and others
/// write files beside them.
fn is_idle(event: &Event) -> bool {
    let kind = matches!(
        event.kind,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_))
    );
    kind && !event.need_rescan()
}

fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/"))
}
