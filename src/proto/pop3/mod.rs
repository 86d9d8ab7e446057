//! POP3, the server side (RFC 1939).

mod factory;
mod login;
mod messages;
mod pedantic;
pub mod reply;
pub mod rules;
mod session;
mod state;
mod update;
mod visit;
mod vocabulary;

pub use factory::Factory;
pub use rules::{Expire, Persona, Rules};
pub use state::Pop3;
pub use vocabulary::VOCABULARY;
