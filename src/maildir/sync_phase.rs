//! The two syncs of a delivery.

/// The two parts of a message that are made durable one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPart {
    /// The content of the file (D2 in docs/DISK.md).
    Contents,
    /// The names of the file (D4).
    Names,
}

/// Whether the sync of that part is left out: never, except in a build that shows that the power-cut test would notice.
#[cfg(not(feature = "mutations"))]
pub(super) fn is_sync_skipped(_: SyncPart) -> bool {
    false
}

#[cfg(feature = "mutations")]
pub(super) fn is_sync_skipped(part: SyncPart) -> bool {
    static SKIPPED: std::sync::OnceLock<Option<SyncPart>> = std::sync::OnceLock::new();
    *SKIPPED.get_or_init(|| match std::env::var("RESTANTE_MUTATION").as_deref() {
        Ok("no-file-sync") => Some(SyncPart::Contents),
        Ok("no-name-sync") => Some(SyncPart::Names),
        _ => None,
    }) == Some(part)
}
