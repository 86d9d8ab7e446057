//! The protocols, as plain values, without sockets, files, threads or clocks. `protocol` lists them.
//!
//! A session reads an [`Inbox`](buffer::Inbox), fills an [`Outbox`](buffer::Outbox), and returns a [`Step`]
//! that names the next action. It sends a [`Request`](request::Request) to the backend, receives a
//! [`Response`](request::Response), and learns of changes from [`SessionEvent`]s. The time comes from a
//! [`Context`]. The files in this directory import only the leaves `limits`, `language`, `wire_size`, `clock`,
//! `printable` and `mime`; `tests/docs/layering.rs` enforces that.

mod bdat_decoder;
pub mod buffer;
pub mod chaos;
pub mod command_table;
pub mod conn_id;
pub mod destinations;
pub mod dot;
pub mod event;
pub mod factory;
mod failure;
mod failure_texts;
pub mod fault_injection;
pub mod folder;
pub mod http;
mod http_request;
pub mod imap;
pub mod injection;
pub mod loggable;
pub mod mailbox;
pub mod modified_utf7;
pub mod pop3;
pub mod protocol;
mod recipients;
pub mod request;
pub mod sasl;
mod secret;
pub mod session;
pub mod session_config;
pub mod session_phase;
pub mod smtp;
pub mod syntax;
pub mod tagged;
pub mod telnet;
pub mod vocabulary;

use std::time::Duration;

pub(crate) use http_request::{is_http_method, is_http_request};
pub use session::{
    BodyProgress, Context, Encryption, EndReason, HeldDocument, Progress, ProgressCounts, ResetOn, Session,
    SessionEvent, SessionStage, Step, Timeouts,
};
pub use session_phase::SessionPhase;

/// True for a word with which a person asks for the commands. IMAP and POP3 have no command of that name.
pub(crate) fn is_help(word: &[u8]) -> bool {
    word == b"?" || word.eq_ignore_ascii_case(b"HELP")
}

/// True if a count has reached its limit. The limit 0 means no limit.
pub(crate) fn is_limit_reached(count: usize, limit: usize) -> bool {
    limit != 0 && count >= limit
}

/// True if `octets` of message data in the time `taken` are fewer than `rate` a second, after a minute of grace.
pub(crate) fn is_slow(octets: u64, taken: Duration, rate: u64) -> bool {
    taken > GRACE && octets < taken.as_secs().saturating_mul(rate)
}

/// The time for which a message may be slow.
const GRACE: Duration = Duration::from_secs(60);

/// The first octets of TLS: a handshake record of any version.
pub(crate) const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];
