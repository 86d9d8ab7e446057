//! SMTP, the receiving side (RFC 5321).

pub mod address;
mod bdat;
mod body;
pub mod codes;
pub mod command;
mod counted;
mod lmtp;
mod login;
mod pedantic;
mod receiving;
pub mod reply;
pub mod rules;
pub mod session;
pub mod trace;
mod transaction;

pub use rules::{AuthRule, Kind, Persona, Policy, Rules};
pub use session::Smtp;
