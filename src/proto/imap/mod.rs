//! IMAP4rev1 (RFC 3501, as RFC 9051 clarifies it), the server side.

mod answers;
mod appending;
mod capabilities;
pub mod command;
pub mod command_reader;
pub mod command_table;
mod commands;
mod factory;
pub mod fetch_item;
mod fetching;
pub mod flags;
mod idle;
mod listing;
mod login;
pub mod mailbox_name;
mod mailboxes;
mod news;
mod numbers;
pub mod parser;
mod pattern;
mod replies;
pub mod reply;
pub mod request;
pub mod response;
pub mod search_key;
mod searching;
pub mod sequence_set;
mod session;
pub mod session_config;
mod state;
mod storing;
mod vocabulary;

pub use factory::Factory;
pub use session_config::{ImapConfig, SessionConfig};
pub use state::ImapSession;
pub use vocabulary::VOCABULARY;
