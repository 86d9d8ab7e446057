//! IMAP4rev1 (RFC 3501, as RFC 9051 clarifies it), as plain values: the commands of a client and their syntax.

pub mod command;
pub mod command_reader;
pub mod fetch_item;
pub mod flags;
pub mod mailbox_name;
pub mod parser;
pub mod request;
pub mod response;
pub mod search_key;
pub mod sequence_set;
