//! Waits for a directory to appear or disappear, by watching the existing part of its path.

use std::path::Path;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _, event::ModifyKind};

/// Reports that a directory is created, removed or moved.
pub(super) struct DirWatcher {
    notify: Option<RecommendedWatcher>,
}

impl DirWatcher {
    /// Calls `ring` after each event that may concern a watched path.
    pub(super) fn new(ring: impl Fn() + Send + 'static) -> Self {
        let told = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_idle(&event)) {
                return;
            }
            ring();
        };
        Self { notify: notify::recommended_watcher(told).ok() }
    }

    /// Watches `path`, or the nearest existing directory above it. The watch is set anew each time, because
    /// another directory may have taken the name. The parent is watched too: a directory held open sends no
    /// event when it is removed. Returns false if watching fails.
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

/// True for events that change no names: our own opening of directories, and other programs' writes beside
/// them.
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
