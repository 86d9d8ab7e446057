//! The way to a server: its address, the protection and the time limit.

use std::time::Duration;

use super::{server_addr::ServerAddr, tls::Tls};

/// The protection of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Clear text only, even if the server offers TLS.
    None,
    /// Begins in clear text and upgrades to TLS: STARTTLS (RFC 3207), STLS (RFC 2595).
    StartTls,
    /// TLS from the first octet (RFC 8314 section 3).
    Implicit,
}

/// The address of a server and the way to connect to it.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// The server to connect to.
    pub server: ServerAddr,
    /// The point at which TLS begins, if at all.
    pub security: Security,
    /// The certificates that the client trusts.
    pub tls: Tls,
    /// Time limit for a reply.
    pub timeout: Duration,
    /// Called once if the server gives no greeting for a moment.
    pub on_silence: Option<OnSilence>,
}

/// Tells the user that the server is silent. The second value is true if the connection is in clear text: a server of TLS
/// then waits for its client.
pub(super) type OnSilence = fn(&ServerAddr, bool);

impl ConnectOptions {
    /// True if a password would cross a network in clear text.
    pub fn exposes_passwords(&self) -> bool {
        self.security == Security::None && !self.server.is_loopback()
    }
}
