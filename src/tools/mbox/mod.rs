//! The mbox format: import into a Maildir, and export from one. A file with one message, and a directory of such files,
//! are imported too.
//!
//! An mbox is a file of messages (RFC 4155). Each message begins with a line `From sender date`, the From_ line, and
//! ends with an empty line. A line of text that begins with `From ` would look like the next message, so the writer
//! quotes it with a `>`. The variant `mboxo` quotes only `From `: a reader cannot tell a quoted line from one that had a
//! `>` before. The variant `mboxrd` quotes `>From `, `>>From ` and so on too, so a reader can restore every line (qmail's
//! mbox(5)). The import ignores `Content-Length:`, because programs that change a message forget to update it.

mod at_risk;
mod beginning;
mod delivery_date;
mod export;
mod flags;
mod from_line;
mod header_below;
mod import;
mod message_dir;
mod message_file;
mod message_sink;
mod other_format;
mod parser;
mod quote;
mod reader_fields;
mod resume;
mod window;

use std::fmt;

pub use at_risk::AtRisk;
pub use beginning::{Beginning, LineEnds, SkippedStart};
pub use export::{Exported, export};
pub use flags::MessageState;
pub use from_line::{DoubtfulLine, FromLine};
pub use import::{DoubtfulLines, Import, ImportPass, Imported};
pub use message_dir::{DirListing, Entry, MessageDir, MessageFile, Skipped};
pub use message_file::OpenedFile;
pub use message_sink::MessageSink;
pub use other_format::OtherFormat;
pub use parser::parse;
pub use resume::{PreviousRun, Source};

use crate::maildir;

/// The variant of the format: the quoting of lines that begin with `From `.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Quotes `From `, `>From `, `>>From ` and so on, with one more `>`.
    Mboxrd,
    /// Quotes only `From `, with a `>`.
    Mboxo,
    /// Reads quotes like mboxrd, but takes a line for a From_ line only if it has a date, as mutt does, or if a header
    /// follows. So a line that a program forgot to quote stays text. Import only.
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
    /// The file is neither an mbox nor one message.
    NoMbox(OtherFormat),
    /// The file ends inside a line: its last message is incomplete.
    Cut {
        /// Offset of the From_ line of the message.
        message: u64,
        /// Offset of the end of the file.
        end: u64,
    },
    /// The mbox could not be read.
    Read {
        /// Offset of the failure, in the uncompressed data.
        at: u64,
        /// The error of the system or of the decompressor.
        error: std::io::Error,
    },
    /// Another program changed the mbox during the import.
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

impl Error {
    /// The cause of a failure to read a file with one message.
    pub(crate) fn into_io(self) -> std::io::Error {
        match self {
            Self::Read { error, .. } => error,
            other => std::io::Error::other(other),
        }
    }
}

impl From<maildir::Error> for Error {
    fn from(error: maildir::Error) -> Self {
        Self::Mailbox(error)
    }
}

#[cfg(test)]
mod tests;
