//! Tools for a spool, beside a running server or without one: they check it, import and export mail, explain
//! one message, and file, await and delete messages for tests.
//!
//! Blocking code for the command line and for [`testing`](crate::testing). Nothing here prints, exits or
//! reads the clock. The rules for names, sizes and unique ids are those of [`maildir`](crate::maildir) and
//! [`mailbox`](crate::index); none is written a second time here.

pub(crate) mod date;
mod dir_watcher;
pub(crate) mod explain;
pub(crate) mod fsck;
pub(crate) mod header;
mod mark;
pub mod mbox;
pub(crate) mod measure;
mod message;
mod purge;
mod seed;
pub(crate) mod test_messages;
mod wait;

pub(crate) use dir_watcher::DirWatcher;
pub use mark::{BadMark, Mark};
pub use message::Message;
pub(crate) use purge::{count, purge};
pub(crate) use seed::{Naming, SeededMessage, Seeder, TestMessage};
pub(crate) use wait::{Presence, Target, Wait};
