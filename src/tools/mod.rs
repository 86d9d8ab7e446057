//! Tools for a spool, beside a running server or without one: they check it, import and export mail, explain
//! one message, and file, await and delete messages for tests.
//!
//! Blocking code for the command line and for [`testing`](crate::testing). Nothing here prints, exits or
//! reads the clock. The rules for names, sizes and unique ids are those of [`maildir`](crate::maildir) and
//! [`mailbox`](crate::mailbox); none is written a second time here.

pub(crate) mod corpus;
pub(crate) mod date;
mod dirs;
pub(crate) mod explain;
mod filing;
pub(crate) mod fsck;
pub(crate) mod header;
mod letter;
mod mark;
pub mod mbox;
pub(crate) mod measure;
mod purge;
mod waiting;

pub(crate) use filing::{Filed, Filer, Letter, Placing};
pub use letter::Message;
pub use mark::{BadMark, Mark};
pub(crate) use purge::purge;
pub(crate) use waiting::{Target, Wait};
