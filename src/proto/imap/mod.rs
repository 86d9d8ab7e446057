//! IMAP4rev1 (RFC 3501, as RFC 9051 clarifies it), the server side.

mod capabilities;
pub mod command;
pub mod command_reader;
pub mod command_table;
mod commands;
pub mod extensions;
mod factory;
pub mod fetch_item;
pub mod flags;
mod login;
pub mod mailbox_name;
pub mod parser;
pub mod reply;
pub mod request;
pub mod response;
pub mod search_key;
pub mod sequence_set;
mod session;
pub mod session_config;
mod state;
mod vocabulary;

pub use factory::Factory;
pub use session_config::{ImapConfig, SessionConfig};
pub use state::ImapSession;
pub use vocabulary::VOCABULARY;
