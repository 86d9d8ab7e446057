//! The protocols, as plain values: no socket, file, thread or clock in here. `protocol` has the list of them.
//!
//! A session reads an [`Inbox`](buffer::Inbox), fills an [`Outbox`](buffer::Outbox), and returns a [`Step`], which says
//! what happens next. It makes a [`Request`](request::Request) of the backend, gets a [`Response`](request::Response), and
//! is told of changes by [`SessionEvent`]s. The time comes in with a [`Context`]. The files in here import only the leaves
//! `limits`, `wire_size`, `clock` and `printable`; `tests/layering.rs` holds them to that.

pub mod buffer;
pub mod destinations;
pub mod dot;
pub mod event;
pub mod factory;
pub mod fault_injection;
pub mod folder;
pub mod injection;
pub mod mailbox;
pub mod pop3;
pub mod protocol;
pub mod request;
pub mod sasl;
pub mod session;
pub mod session_phase;
pub mod smtp;
pub mod telnet;
pub mod vocabulary;

pub use session::{
    BodyProgress, Context, Encryption, Progress, ResetOn, Session, SessionEvent, SessionStage, Step, Timeouts,
};
pub use session_phase::SessionPhase;

/// The first section of a row of either table, in short.
pub(crate) fn section(rfc: &str) -> String {
    let first = rfc.split([',', ';']).next().unwrap_or(rfc);
    let first = first.split(" and ").next().unwrap_or(first);
    first.replace(" sections ", " ").replace(" section ", " ")
}

/// Whether a count has come to its limit, where 0 is no limit.
pub(crate) fn is_limit_reached(count: usize, limit: usize) -> bool {
    limit != 0 && count >= limit
}

/// How TLS begins: a handshake record of any version.
pub(crate) const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];
