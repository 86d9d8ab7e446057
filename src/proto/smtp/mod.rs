//! SMTP, the receiving side (RFC 5321).

pub mod address;
mod bdat;
mod body;
pub mod command;
mod counted;
mod receiving;
pub mod reply;
pub mod rules;
pub mod session;
pub mod trace;
mod transaction;

pub use rules::{Persona, Rules};
pub use session::Smtp;
