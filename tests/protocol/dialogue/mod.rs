//! The runner of dialogues: `file` reads them, `play` plays them in each `way`, `sealed` plays them over TLS, `world` answers what
//! a session asks, `messages` is its mailbox, and `text` is how octets and asks are written down.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod file;
mod messages;
pub(crate) mod play;
pub(crate) mod sealed;
pub(crate) mod text;
pub(crate) mod way;
pub(crate) mod world;
