//! The contents of mailboxes in memory, numbered and named as POP3 wants them.

pub mod snapshot;

pub use snapshot::Snapshot;
