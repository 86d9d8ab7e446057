//! POP3, the server side (RFC 1939).

mod login;
mod messages;
mod pedantic;
pub mod reply;
pub mod rules;
pub mod session;
mod update;
mod visit;

pub use rules::{Expire, Persona, Rules};
pub use session::Pop3;
