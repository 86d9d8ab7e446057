//! SMTP, the receiving side (RFC 5321).

pub mod address;
mod bdat;
mod body;
mod body_check;
pub mod codes;
pub mod command;
mod counted;
mod end_of_data;
mod factory;
mod lmtp;
mod login;
mod pedantic;
mod receiving;
mod refusal;
pub mod reply;
pub mod rules;
mod session;
mod state;
pub mod trace;
mod transaction;
mod vocabulary;

pub use factory::Factory;
pub use rules::{AuthRule, Kind, Persona, Policy, Rules};
pub use state::Smtp;
pub use vocabulary::VOCABULARY;
