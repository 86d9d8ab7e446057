//! The files: one Maildir for each mailbox, below one spool directory.
//!
//! Blocking, plain code, called by worker threads and by the command-line tools alike. It knows nothing of
//! sockets, sessions or accounts. Everything is opened relative to a directory that is already open, and
//! never through a symbolic link.

pub mod error;
pub mod lock;
pub mod message;
pub mod name;
pub mod scan;
pub mod sizes;
pub mod store;
pub mod tidy;

pub use error::{Error, Kind};
pub use message::{OpenMessage, Wanted};
pub use scan::{Change, Found, Scan};
pub use store::{Draft, Maildir, Place, Spool};
