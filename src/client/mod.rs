//! The other side of both protocols: what `restante client` and `restante send` speak to any server.
//!
//! Blocking, one connection at a time, with a time limit on every wait. The rule: what a server says is shown
//! and never obeyed: no octet of it reaches the terminal, a path or another command as it came.

mod browse;
pub mod copies;
pub mod explain;
mod folder;
pub mod letter;
pub mod pop3;
pub mod smtp;
pub mod submit;
pub mod terminal;
pub mod text;
mod tls;
mod trouble;
pub mod view;
pub mod visit;
mod wire;
pub mod words;
mod write;

pub use tls::{Tls, Trust};
pub use trouble::Trouble;
pub use wire::{Place, Said, Watcher};

use std::time::Duration;

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    None,
    /// It begins in clear text, and goes on under TLS: STARTTLS (RFC 3207), STLS (RFC 2595).
    StartTls,
    /// TLS from its first octet (RFC 8314 section 3).
    Implicit,
}

/// Where a server is, and how to speak to it.
#[derive(Debug, Clone)]
pub struct Route {
    /// Where it listens.
    pub place: Place,
    /// How the connection is protected.
    pub security: Security,
    /// What is needed for that.
    pub tls: Tls,
    /// How long to wait for a reply.
    pub patience: Duration,
}

impl Route {
    /// Whether a password would go over a network where others can read it.
    pub fn exposes_passwords(&self) -> bool {
        self.security == Security::None && !self.place.is_loopback()
    }
}
