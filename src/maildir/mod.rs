//! The files: one Maildir for each mailbox, below one spool directory.
//!
//! Blocking, plain code for worker threads and the command-line tools. It knows nothing of sockets, sessions or
//! accounts. It opens every file relative to a directory that is already open, and never through a symbolic link.

pub mod counting;
mod draft;
pub mod error;
pub mod known_date;
pub mod lock;
pub mod message;
pub mod name;
mod remote;
pub mod scan;
pub mod sent;
pub mod sizes;
pub(crate) mod steps;
pub mod store;
pub mod tidy;
pub mod usage;

pub use counting::Progress;
pub use draft::Draft;
pub use error::{Error, Kind};
pub use message::{OpenMessage, Wanted};
pub use scan::{Change, Found, Scan};
pub use sent::MessageId;
pub use store::{Maildir, Place, Spool};
pub use usage::Usage;
