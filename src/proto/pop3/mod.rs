//! POP3, the server side (RFC 1939).

pub mod command_table;
mod factory;
mod help;
mod login;
mod maildrop_view;
mod pedantic;
pub mod reply;
mod retrieve;
mod session;
pub mod session_config;
mod state;
mod update;
mod vocabulary;

pub use command_table::Persona;
pub use factory::Factory;
pub use login::loggable_user;
pub use session_config::{Expire, Pop3Config, SessionConfig};
pub use state::Pop3Session;
pub use vocabulary::VOCABULARY;
