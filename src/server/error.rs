//! The errors that keep a server from running, in text for its operator.

use std::{fmt, io, path::PathBuf};

use crate::{backend, fd_limits::TooFewFds, listener, maildir};

/// The reason why the server could not start or go on.
#[derive(Debug)]
pub enum Error {
    /// No listener could be opened.
    Listen(listener::Error),
    /// The spool could not be used.
    Spool(maildir::Error),
    /// The directory for transcripts could not be used.
    Transcripts(PathBuf, io::Error),
    /// The limit of descriptors is too low.
    Descriptors(TooFewFds),
    /// A system call failed; the text names the resource.
    System(&'static str, io::Error),
}

impl From<backend::Error> for Error {
    fn from(error: backend::Error) -> Self {
        match error {
            backend::Error::Spool(error) => Self::Spool(error),
            backend::Error::Threads(error) => Self::System("threads", error),
        }
    }
}

impl From<TooFewFds> for Error {
    fn from(error: TooFewFds) -> Self {
        Self::Descriptors(error)
    }
}

impl From<listener::Error> for Error {
    fn from(error: listener::Error) -> Self {
        Self::Listen(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => error.fmt(f),
            Self::Descriptors(error) => error.fmt(f),
            Self::Spool(error) => write!(f, "can't use the spool: {error}"),
            Self::Transcripts(path, error) => {
                write!(
                    f,
                    "can't write transcripts to {}: {error}; make the directory, or choose another",
                    path.display()
                )
            }
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(error) => Some(error),
            Self::Descriptors(error) => Some(error),
            Self::Spool(error) => Some(error),
            Self::System(_, error) | Self::Transcripts(_, error) => Some(error),
        }
    }
}
