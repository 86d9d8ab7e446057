//! The runner of dialogues: `file` reads them, `play` plays them in each `way`, `sealed` plays them over TLS, `world`
//! answers the requests of a session, `messages` is its mailbox, `folders` is a server of folders in memory,
//! `responses` reads those of IMAP, and `text` writes octets and requests down.

#![allow(dead_code, reason = "each test file uses its own part of this")]

mod clock;
pub(crate) mod file;
#[path = "../../any_input/folders.rs"]
pub(crate) mod folders;
mod messages;
pub(crate) mod play;
pub(crate) mod responses;
pub(crate) mod sealed;
pub(crate) mod text;
mod values;
pub(crate) mod way;
pub(crate) mod world;
