//! The contents of mailboxes in memory, numbered and with unique ids as POP3 lists them.

pub mod budget;
mod entry;
pub mod folder_snapshot;
pub mod job;
pub mod login_delay;
pub mod mailbox_index;
pub mod message_list;
mod name_set;
mod own_changes;
mod pending_work;
pub mod recent_marks;
mod reconcile;
pub mod registry;
pub mod sequence;
mod session_update;
pub mod snapshot;
pub mod uid_book;
pub mod watcher;

pub use folder_snapshot::FolderSnapshot;
pub use login_delay::LoginDelay;
pub use mailbox_index::MailboxIndex;
pub use message_list::MessageList;
pub use registry::Registry;
pub use sequence::Sequence;
pub use snapshot::{Snapshot, unique_id};
pub use uid_book::UidBook;
