//! What keeps a server from running, in words for its operator.

use std::{fmt, io};

use crate::{
    config::Service,
    desk, listen, maildir,
    net::{certificate, endpoint::Endpoint},
};

/// Why the server could not start or go on.
#[derive(Debug)]
pub enum Error {
    /// An address could not be bound.
    Bind(Service, Endpoint, io::Error),
    /// There is no certificate to begin TLS with.
    Tls(certificate::Error),
    /// The spool could not be used.
    Spool(maildir::Error),
    /// Something of the system failed.
    System(&'static str, io::Error),
}

impl From<desk::Error> for Error {
    fn from(error: desk::Error) -> Self {
        match error {
            desk::Error::Spool(error) => Self::Spool(error),
            desk::Error::Threads(error) => Self::System("threads", error),
        }
    }
}

impl From<listen::Error> for Error {
    fn from(error: listen::Error) -> Self {
        match error {
            listen::Error::Bind(service, address, error) => Self::Bind(service, address, error),
            listen::Error::Tls(error) => Self::Tls(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(service, address, error) => {
                write!(f, "can't listen on {address} for {service}: {error}")
            }
            Self::Tls(error) => error.fmt(f),
            Self::Spool(error) => write!(f, "can't use the spool: {error}"),
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind(_, _, error) | Self::System(_, error) => Some(error),
            Self::Tls(error) => Some(error),
            Self::Spool(error) => Some(error),
        }
    }
}
