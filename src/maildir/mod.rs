//! The files: one Maildir for each mailbox, below one spool directory.
//!
//! Blocking, plain code for worker threads and the command-line tools. It knows nothing of sockets, sessions or
//! accounts. It opens every file relative to a directory that is already open, and never through a symbolic link.

mod batch;
pub mod cache_file;
mod cached_read;
pub(crate) mod directory;
mod entry;
pub mod error;
pub(crate) mod fault_points;
pub mod folder_counts;
mod folder_name;
pub mod folders;
pub mod forwarded_export;
pub mod index_file;
pub mod keyword_file;
pub mod lock;
pub mod message;
pub mod message_move;
pub mod mount;
pub mod name;
pub mod name_changes;
pub mod relocation;
mod remote_fs;
pub mod scan;
pub mod scan_threads;
pub mod sent_dedup;
pub mod size_cache;
pub mod size_counter;
pub mod store;
pub mod sync_phase;
pub mod tmp_cleanup;
pub(crate) mod tmp_file;
pub mod transfer;
pub mod trusted_date;
pub mod uid_export;
pub mod uid_file;
pub mod uid_import;
pub mod uid_validity;
mod unnamed_file;
pub mod usage;

pub use entry::{Change, FileName, FileVersion, MessageEntry, MessageRef, PARTS, Subdir, has_all_parts};
pub use error::{Error, Kind};
pub use message::OpenMessage;
pub use scan::Scan;
pub use sent_dedup::MessageId;
pub use size_counter::CountProgress;
pub use store::{Maildir, Room, Spool};
pub use tmp_file::TmpFile;
pub use unnamed_file::EXT4_STATES;
pub use usage::Usage;
