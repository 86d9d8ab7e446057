//! What keeps a server from running, in words for its operator.

use std::{fmt, io, net::SocketAddr, path::PathBuf};

use crate::config::Service;

/// Why the server could not start or go on.
#[derive(Debug)]
pub enum Error {
    /// An address could not be bound.
    Bind(Service, SocketAddr, io::Error),
    /// The spool could not be used.
    Spool(PathBuf, String),
    /// Something of the system failed.
    System(&'static str, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(service, address, error) => {
                write!(f, "can't listen on {address} for {service}: {error}")
            }
            Self::Spool(path, error) => write!(f, "can't use the spool {}: {error}", path.display()),
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind(_, _, error) | Self::System(_, error) => Some(error),
            Self::Spool(..) => None,
        }
    }
}
