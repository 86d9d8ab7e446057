//! POP3, the server side (RFC 1939).

mod login;
pub mod reply;
pub mod rules;
pub mod session;
mod visit;

pub use rules::{Persona, Rules};
pub use session::Pop3;
