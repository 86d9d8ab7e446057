//! SMTP and POP3 clients: `restante client` and `restante send`, for any server.
//!
//! Blocking, one connection at a time, with a time limit on every wait. The rule: a server's text is shown
//! and never obeyed: none of it reaches the terminal, a path or another command unescaped.

mod browse;
pub(crate) mod copies;
pub(crate) mod explain;
mod folder;
pub(crate) mod letter;
pub mod pop3;
pub mod smtp;
pub(crate) mod submit;
pub(crate) mod terminal;
pub mod text;
mod tls;
mod trouble;
pub mod view;
pub(crate) mod visit;
mod wire;
pub mod words;
mod write;

pub use tls::{Tls, Trust};
pub use trouble::Trouble;
pub use wire::{Place, Said, Watcher};

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
pub struct Route {
    /// Host and port.
    pub place: Place,
    /// Protection of the connection.
    pub security: Security,
    /// Trusted certificates.
    pub tls: Tls,
    /// Time limit for a reply.
    pub patience: Duration,
}

impl Route {
    /// True if a password would cross a network in clear text.
    pub fn exposes_passwords(&self) -> bool {
        self.security == Security::None && !self.place.is_loopback()
    }
}
