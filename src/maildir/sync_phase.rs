//! The two syncs of a delivery.

/// The two parts of a message that are made durable one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPhase {
    /// The content of the file (D2 in docs/DISK.md).
    Contents,
    /// The names of the file (D4).
    Names,
}

/// Whether the sync of that part is left out: never, except in a build that shows that the power-cut test would notice.
#[cfg(not(feature = "mutations"))]
pub(super) fn left_out(_: SyncPhase) -> bool {
    false
}

#[cfg(feature = "mutations")]
pub(super) fn left_out(part: SyncPhase) -> bool {
    static LEFT_OUT: std::sync::OnceLock<Option<SyncPhase>> = std::sync::OnceLock::new();
    *LEFT_OUT.get_or_init(|| match std::env::var("RESTANTE_MUTATION").as_deref() {
        Ok("no-file-sync") => Some(SyncPhase::Contents),
        Ok("no-name-sync") => Some(SyncPhase::Names),
        _ => None,
    }) == Some(part)
}
