//! Tools for a spool, beside a server that runs or without one: what is wrong in it, mail into it and out of it,
//! one message explained; and what testers do with it: wait for messages, file some, throw them away.
//!
//! Blocking code for the command line and for [`testing`](crate::testing); nothing here prints, exits or asks for
//! the time. The rules of names, sizes and unique ids are those of [`maildir`](crate::maildir) and
//! [`mailbox`](crate::mailbox): there is no second copy of any of them here.

pub mod corpus;
pub mod date;
mod dirs;
pub mod explain;
mod filing;
pub mod fsck;
pub mod header;
mod letter;
mod mark;
pub mod mbox;
pub mod measure;
mod purge;
mod waiting;

pub use filing::{Filed, Filer, Letter, Placing};
pub use letter::Message;
pub use mark::{BadMark, Mark};
pub use purge::purge;
pub use waiting::{Target, Wait};
