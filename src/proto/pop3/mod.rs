//! POP3, the server side (RFC 1939).

mod login;
mod messages;
mod pedantic;
pub mod reply;
pub mod rules;
mod session;
mod state;
mod update;
mod visit;

pub use rules::{Expire, Persona, Rules};
pub use state::Pop3;
