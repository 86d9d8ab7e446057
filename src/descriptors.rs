//! How the descriptors that the process may have are shared out.

use crate::limits::Limits;

/// How many connections there may be: 256 descriptors are kept for files.
pub fn most_connections(limits: &Limits) -> usize {
    let descriptors = descriptors();
    let room = descriptors.saturating_sub(DESCRIPTORS_FOR_FILES).max(descriptors / 4);
    if limits.connections == 0 { room } else { limits.connections.min(room) }
}

/// How many mailboxes may be kept open: a quarter of the descriptors is theirs, and each takes four.
pub fn most_indexes(limits: &Limits) -> usize {
    limits.indexed_mailboxes.min(descriptors() / 16)
}

/// How many mailboxes the committer may keep open: four descriptors each, and an eighth of them all.
pub fn most_homes() -> usize {
    (descriptors() / 32).clamp(8, 128)
}

/// How many messages a tool may have open until they are synced together, where nothing else is open.
pub fn most_drafts() -> usize {
    (descriptors() / 2).clamp(1, 10_000)
}

/// Raises the descriptor limit as far as it goes, and returns it.
pub fn descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }); // else what there was
    getrlimit(Resource::Nofile).current.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX)
}

const DESCRIPTORS_FOR_FILES: usize = 256;
