//! The contents of mailboxes in memory, numbered and with unique ids as POP3 lists them.

mod barriers;
pub mod budget;
mod entry;
pub mod job;
pub mod login_delay;
pub mod mailbox_index;
pub mod message_list;
mod name_set;
mod pending_work;
mod reconcile;
pub mod registry;
pub mod sequence;
mod session_update;
pub mod snapshot;
pub mod watcher;

pub use login_delay::LoginDelay;
pub use mailbox_index::MailboxIndex;
pub use message_list::MessageList;
pub use registry::Registry;
pub use snapshot::{Snapshot, unique_id};
