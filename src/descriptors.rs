//! How the descriptors that the process may have are shared out: a quarter for mailboxes in use, an eighth at
//! most for those of the committer, 256 for files, and the rest for connections.

use crate::limits::Limits;

/// How many connections there may be: what mailboxes and files take, none of them can.
pub fn most_connections(limits: &Limits) -> usize {
    let descriptors = descriptors();
    let others = DESCRIPTORS_FOR_FILES
        + descriptors / 4
        + most_homes() * DESCRIPTORS_OF_A_MAILDIR
        + most_spilled() * DESCRIPTORS_OF_A_SPILLED_MESSAGE;
    let room = descriptors.saturating_sub(others).max(descriptors / 4);
    if limits.connections == 0 { room } else { limits.connections.min(room) }
}

/// How many mailboxes sessions may have open. Beside its Maildir each has a lock and a message that is being read.
pub fn most_open() -> usize {
    (descriptors() / 4 / (DESCRIPTORS_OF_A_MAILDIR + 2)).max(1)
}

/// How many mailboxes may be kept indexed, those that sessions have open among them.
pub fn most_indexes(limits: &Limits) -> usize {
    limits.indexed_mailboxes.min(most_open())
}

/// How many mailboxes the committer may keep open: an eighth of all descriptors.
pub fn most_homes() -> usize {
    (descriptors() / 32).clamp(8, 128)
}

/// How many messages on their way in may have a file: a sixteenth of all descriptors.
pub fn most_spilled() -> usize {
    (descriptors() / 16 / DESCRIPTORS_OF_A_SPILLED_MESSAGE).clamp(4, 256)
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
/// The directory and the three in it.
const DESCRIPTORS_OF_A_MAILDIR: usize = 4;
/// Its mailbox and itself.
const DESCRIPTORS_OF_A_SPILLED_MESSAGE: usize = DESCRIPTORS_OF_A_MAILDIR + 1;
