//! The output of a connection at the begin of a call into its session.

/// The output at the begin of a call into the session. If the call panics, later output is unusable.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputMark {
    /// Octets in the outbox.
    pub(super) pending: usize,
    /// Whether the session was inside a message or a document, in which the client takes any text for a part of it.
    pub(super) is_inside: bool,
}
