//! SMTP and POP3 clients: `restante client` and `restante send`, for any server.
//!
//! Blocking, one connection at a time, with a time limit on every wait. The rule: a server's text is shown
//! and never obeyed: none of it reaches the terminal, a path or another command unescaped.

mod connection;
pub mod display;
mod error;
pub(crate) mod outgoing;
pub mod pop3;
pub(crate) mod reply_help;
pub mod smtp;
pub mod strings;
pub(crate) mod submit;
mod tls;

pub use connection::{ServerAddr, WireEvent, WireObserver};
pub use error::ClientError;
pub use tls::{Tls, Trust};

use std::time::Duration;

/// The protection of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Clear text only.
    None,
    /// Begins in clear text and upgrades to TLS: STARTTLS (RFC 3207), STLS (RFC 2595).
    StartTls,
    /// TLS from the first octet (RFC 8314 section 3).
    Implicit,
}

/// The address of a server and the way to connect to it.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Host and port.
    pub server: ServerAddr,
    /// Protection of the connection.
    pub security: Security,
    /// Trusted certificates.
    pub tls: Tls,
    /// Time limit for a reply.
    pub timeout: Duration,
}

impl ConnectOptions {
    /// True if a password would cross a network in clear text.
    pub fn exposes_passwords(&self) -> bool {
        self.security == Security::None && !self.server.is_loopback()
    }
}
