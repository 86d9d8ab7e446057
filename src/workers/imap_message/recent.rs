//! The files that were read last: their skeletons, and the last place of each in the file and on the wire.
//!
//! The rule: a client that fetches a large message in chunks costs no more than one that fetches it whole. The cache holds a
//! fixed number of files, and a file with another content is another one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{maildir::FileVersion, mime::Skeleton};

/// A device, and a file with its content there.
pub(super) type Key = (u64, FileVersion);

/// A place in a file, and on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: u64,
    pub(super) wire: u64,
}

struct Recent {
    key: Key,
    skeleton: Option<Arc<Skeleton>>,
    place: Option<Place>,
}

static RECENT: Mutex<VecDeque<Recent>> = Mutex::new(VecDeque::new());

/// The skeleton of a file.
pub(super) fn skeleton(key: Key) -> Option<Arc<Skeleton>> {
    known(key, |recent| recent.skeleton.clone())
}

pub(super) fn remember_skeleton(key: Key, skeleton: &Arc<Skeleton>) {
    remember(key, |recent| recent.skeleton = Some(Arc::clone(skeleton)));
}

/// The last place of a file.
pub(super) fn place(key: Key) -> Option<Place> {
    known(key, |recent| recent.place)
}

pub(super) fn remember_place(key: Key, place: Place) {
    remember(key, |recent| recent.place = Some(place));
}

/// Reads what is known of a file. A file of which nothing is known takes the place of none.
fn known<T>(key: Key, read: impl FnOnce(&Recent) -> Option<T>) -> Option<T> {
    let all = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    read(all.iter().find(|recent| recent.key == key)?)
}

/// Makes a file the last one in the cache, and changes what is known of it.
fn remember(key: Key, change: impl FnOnce(&mut Recent)) {
    let mut all = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    let at = all.iter().position(|recent| recent.key == key);
    let mut recent = at.and_then(|at| all.remove(at)).unwrap_or(Recent { key, skeleton: None, place: None });
    change(&mut recent);
    all.push_front(recent);
    all.truncate(MAX_FILES);
}

/// Files in the cache. Several clients fetch in chunks at the same time.
const MAX_FILES: usize = 16;
