//! The terminal mail reader of `restante client`.

pub(crate) mod app;
pub(crate) mod browse;
pub(crate) mod compose;
pub(crate) mod draft_file;
pub(crate) mod folder;
mod imap_folder;
mod imap_list;
mod imap_menu;
mod imap_source;
mod inbound;
mod login;
pub(crate) mod menu;
pub mod message_view;
mod read_ids;
pub(crate) mod sent_folder;
mod table;
pub(crate) mod terminal;
mod typed_numbers;
mod typed_path;
mod unsent;
