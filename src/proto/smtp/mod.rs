//! SMTP and LMTP, the receiving side (RFC 5321, RFC 2033).

pub mod address;
mod bdat;
mod body_check;
pub mod command;
pub mod command_table;
mod data;
mod end_of_data;
mod factory;
mod lmtp;
mod login;
mod message_body;
mod opening;
mod pedantic;
mod refusal;
pub mod reply;
pub mod reply_codes;
mod session;
pub mod session_config;
mod state;
pub mod trace;
mod transaction;
mod vocabulary;

pub use factory::Factory;
pub use session_config::{AuthPolicy, Kind, Persona, Policy, SessionConfig, SmtpConfig};
pub use state::SmtpSession;
pub use vocabulary::VOCABULARY;
