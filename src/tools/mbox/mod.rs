//! The mbox format: into a Maildir, and out of one.
//!
//! An mbox is one file of messages, each behind a line `From sender date` (the From_ line) and before an empty
//! one. A line of a message that begins with `From ` would begin another message, so that it gets a `>` in
//! front. `mboxo` does so to `From ` alone and can't be undone with certainty; `mboxrd` does so to `>From `,
//! `>>From ` … as well, and can (qmail's mbox(5)). `Content-Length:` is not believed: whoever changes a message
//! forgets to change it.

mod cut;
mod export;
mod from;
mod import;
mod progress;
mod quote;
mod state;

use std::fmt;

pub use cut::{Sink, cut};
pub use export::{Exported, export};
pub use from::FromLine;
pub use import::{Import, Imported, Stage};
pub use progress::{Earlier, Source};
pub use state::State;

use crate::maildir;

/// How lines that begin with `From ` are kept apart from From_ lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `From `, `>From `, `>>From ` … have one more `>`.
    Mboxrd,
    /// `From ` has a `>`, and nothing else has.
    Mboxo,
    /// For reading: the quoting of mboxrd, and a From_ line is only what has a date in it, as mutt reads it. So
    /// a text that somebody forgot to quote stays text.
    Auto,
}

impl Format {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mboxrd => "mboxrd",
            Self::Mboxo => "mboxo",
            Self::Auto => "auto",
        }
    }
}

/// Why an mbox could not be read or written to its end.
#[derive(Debug)]
pub enum Error {
    /// Its first line that is not empty is no From_ line.
    NoMbox,
    /// Its last message has no end: where it begins, and where the file ends, in octets.
    Cut {
        /// Where the message begins.
        message: u64,
        /// Where the file ends.
        end: u64,
    },
    /// It can't be read beyond that octet (of what is unpacked).
    Read {
        /// Where.
        at: u64,
        /// Why.
        error: std::io::Error,
    },
    /// It was changed while it was read.
    Changed,
    /// What was written can't be written.
    Write(std::io::Error),
    /// The mailbox.
    Mailbox(maildir::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMbox => f.write_str("not an mbox: its first line does not begin with \"From \""),
            Self::Cut { message, end } => write!(
                f,
                "cut: the last message, which begins at octet {message}, has no end (an empty line) where the \
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
