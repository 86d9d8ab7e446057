//! The contents of mailboxes in memory, numbered and named as POP3 wants them.

pub mod budget;
mod held;
pub mod index;
pub mod list;
pub mod logins;
mod marks;
mod names;
mod reconcile;
pub mod registry;
pub mod snapshot;
mod spare;
mod updating;
pub mod watch;

pub use index::Index;
pub use list::List;
pub use logins::Logins;
pub use registry::Registry;
pub use snapshot::{Snapshot, unique_id};
pub use spare::Spare;
