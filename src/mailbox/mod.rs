//! The contents of mailboxes in memory, numbered and named as POP3 wants them.

pub mod list;
pub mod snapshot;

pub use list::List;
pub use snapshot::Snapshot;
