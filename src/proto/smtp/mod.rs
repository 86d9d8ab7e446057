//! SMTP, the receiving side (RFC 5321).

pub mod address;
pub mod command;
mod receiving;
pub mod reply;
pub mod rules;
pub mod session;
pub mod trace;

pub use rules::{Persona, Rules};
pub use session::Smtp;
