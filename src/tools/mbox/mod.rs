//! The mbox format: import into a Maildir, and export from one.
//!
//! An mbox is one file of messages. Before each message stands a line `From sender date`, the From_ line, and
//! after it an empty line. Because a line of a message that begins with `From ` would begin another message,
//! it gets a `>` in front. `mboxo` does so to `From ` alone, which cannot be undone with certainty; `mboxrd`
//! does so to `>From `, `>>From ` … as well, which can (qmail's mbox(5)). `Content-Length:` is ignored,
//! because programs that change a message forget to update it.

mod export;
mod flags;
mod from_line;
mod import;
mod other_format;
mod parser;
mod quote;
mod reader_fields;
mod resume;

use std::fmt;

pub use export::{Exported, export};
pub use flags::MessageState;
pub use from_line::{DoubtfulLine, FromLine};
pub use import::{DoubtfulLines, Import, ImportPass, Imported};
pub use other_format::OtherFormat;
pub use parser::{MessageSink, parse};
pub use resume::{PreviousRun, Source};

use crate::maildir;

/// The quoting of lines that begin with `From `.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One more `>` before `From `, `>From `, `>>From ` and so on.
    Mboxrd,
    /// A `>` before `From ` only.
    Mboxo,
    /// For reading: quoted like mboxrd, and a From_ line needs a date, as in mutt, or a header after it. A
    /// line that a program forgot to quote then stays text.
    Auto,
}

impl Format {
    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mboxrd => "mboxrd",
            Self::Mboxo => "mboxo",
            Self::Auto => "auto",
        }
    }
}

/// A failure to read or write an mbox.
#[derive(Debug)]
pub enum Error {
    /// The first line that is not empty is not a From_ line.
    NoMbox(OtherFormat),
    /// The last message is incomplete.
    Cut {
        /// Offset of the From_ line of the message.
        message: u64,
        /// Offset of the end of the file.
        end: u64,
    },
    /// Reading failed (offset in the uncompressed data).
    Read {
        /// Offset at which the read failed.
        at: u64,
        /// The error of the system or of the decompression.
        error: std::io::Error,
    },
    /// The file was changed during the import.
    Changed,
    /// The mbox could not be written.
    Write(std::io::Error),
    /// The mailbox cannot be used.
    Mailbox(maildir::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMbox(other) => other.fmt(f),
            Self::Cut { message, end } => write!(
                f,
                "cut: the last message, which begins at octet {message}, ends in the middle of a line where the \
                 file ends, at octet {end}"
            ),
            Self::Read { at, error } => write!(f, "cannot be read beyond octet {at}: {error}"),
            Self::Changed => f.write_str("was changed while it was read"),
            Self::Write(error) => write!(f, "cannot be written: {error}"),
            Self::Mailbox(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<maildir::Error> for Error {
    fn from(error: maildir::Error) -> Self {
        Self::Mailbox(error)
    }
}

#[cfg(test)]
mod tests;
