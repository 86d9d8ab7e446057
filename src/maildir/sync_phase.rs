//! The syncs that make mail durable, by their part of it.

/// A part of the mail that is made durable before the client hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPart {
    /// The content of a delivered file (D2 in docs/DISK.md).
    Contents,
    /// The names of a delivered file (D4), or of messages that a session has changed in another way than the ones below.
    Names,
    /// The names of messages with other flags (STORE).
    Flags,
    /// The removal of messages (EXPUNGE).
    Removals,
    /// The names of copies (COPY).
    Copies,
    /// The names of messages that move (MOVE).
    Moves,
    /// The UIDs of messages that came by IMAP.
    Uids,
    /// The reservation of UIDs.
    Reservations,
    /// The letters of keywords.
    Keywords,
    /// The names of folders.
    Folders,
}

/// Whether the sync of that part is left out: never, except in a build that shows that the power-cut test would notice.
#[cfg(not(feature = "mutations"))]
pub(super) fn is_sync_skipped(_: SyncPart) -> bool {
    false
}

/// Whether a message moves as on a file system whose renames are not atomic.
#[cfg(not(feature = "mutations"))]
pub(super) fn is_rename_avoided() -> bool {
    false
}

/// Called between the copy of a message that moves and its removal.
#[cfg(not(feature = "mutations"))]
pub(super) fn after_copy() {}

#[cfg(feature = "mutations")]
pub(super) fn is_sync_skipped(part: SyncPart) -> bool {
    use SyncPart::{Contents, Copies, Flags, Folders, Keywords, Moves, Names, Removals, Reservations, Uids};

    let skipped: &[SyncPart] = match mutation() {
        "no-file-sync" => &[Contents],
        "no-name-sync" => &[Names],
        "no-flag-sync" => &[Flags],
        "no-removal-sync" => &[Removals],
        // The sync of the UIDs would write the names too, because it comes later in the same journal.
        "no-copy-sync" => &[Copies, Uids, Reservations],
        "no-move-sync" => &[Moves, Uids, Reservations],
        // The sync of the UIDs is one of the same file.
        "no-uid-reservation" => &[Reservations, Uids],
        "no-keyword-sync" => &[Keywords],
        "no-folder-sync" => &[Folders],
        _ => &[],
    };
    skipped.contains(&part)
}

#[cfg(feature = "mutations")]
pub(super) fn is_rename_avoided() -> bool {
    mutation() == "move-by-links"
}

/// As long as on a slow disk, so that a power cut falls into it.
#[cfg(feature = "mutations")]
pub(super) fn after_copy() {
    if is_rename_avoided() {
        std::thread::sleep(std::time::Duration::from_millis(40));
    }
}

#[cfg(feature = "mutations")]
fn mutation() -> &'static str {
    static MUTATION: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    MUTATION.get_or_init(|| std::env::var("RESTANTE_MUTATION").unwrap_or_default())
}
