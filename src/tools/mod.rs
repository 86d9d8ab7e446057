//! Tools for a spool: what is wrong in it, mail into it and out of it, and one message explained.
//!
//! Blocking code for the command line; nothing here prints, exits or asks for the time. The rules of names,
//! sizes and unique ids are those of [`maildir`](crate::maildir) and [`mailbox`](crate::mailbox): there is
//! no second copy of any of them here.

pub mod date;
pub mod explain;
pub mod fsck;
pub mod header;
pub mod mbox;
pub mod measure;
