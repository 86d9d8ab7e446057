//! HTTP/1.1, the server side (RFC 9110, RFC 9112): the session of the web API.
//!
//! `routes` is the table that the session, the manual and its test read. `head` reads a request, `guard` decides whether
//! a browser may send it, and `response` writes every response: no other code writes a field. `dispatch` finds the way
//! of each endpoint to its answer, `submission` is the way of a message that a client sends, and `fixed` has the answers that
//! no mail changes.

mod accept_language;
pub mod api;
mod autoconfig;
mod change_body;
mod dispatch;
mod factory;
mod fixed;
mod guard;
mod head;
mod loggable_target;
mod login;
mod mailhog_routes;
mod missing_body;
pub mod page;
mod parameters;
mod response;
pub mod routes;
mod scope;
mod sending;
mod session;
pub mod session_config;
mod state;
mod status;
mod submission;
mod target;
mod vocabulary;
mod waiting;

pub use autoconfig::servers::{MailEncryption, MailProtocol, MailServer, MailServers};
pub use factory::Factory;
pub use loggable_target::loggable_target;
pub use session_config::{HttpConfig, LoginPolicy, SessionConfig};
pub use state::HttpSession;
pub use vocabulary::{VOCABULARY, is_method, loggable_field};

use status::{Refusal, Status};

/// The only response for a client whose connection exceeds the limit, without its last line end.
pub(super) fn too_many_connections() -> String {
    response::last_words(&Refusal::new(
        Status::UNAVAILABLE,
        "Too many connections are open now: try again in a second",
    ))
}

/// The last response for a client whose session has panicked, without its last line end.
pub(super) fn internal_error() -> String {
    response::last_words(&Refusal::new(
        Status::INTERNAL,
        "The server has made a mistake, and its log says which: try again",
    ))
}

/// Octets of the longest head of a request.
pub const MAX_HEAD: usize = 16 * 1024;
/// Fields in the head of a request.
const MAX_FIELDS: usize = 100;
/// Octets of the longest body of a request other than a message.
const MAX_BODY: u64 = 1 << 20;
/// Octets of a body that must arrive within the time of a request, or the rest of it: some two kilobytes a second.
const BODY_PIECE: u64 = 64 * 1024;
