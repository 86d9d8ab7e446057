//! The terminal mail reader of `restante client`.

pub(crate) mod app;
pub(crate) mod browse;
pub(crate) mod compose;
pub(crate) mod folder;
pub(crate) mod menu;
pub mod message_view;
pub(crate) mod sent_folder;
pub(crate) mod terminal;
mod typed_path;
