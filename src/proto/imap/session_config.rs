//! The configuration of IMAP sessions.

use crate::proto::session_config::{self, ProtocolConfig};

/// The configuration that the sessions of a listener share.
pub type SessionConfig = session_config::SessionConfig<ImapConfig>;

/// The settings that only IMAP has.
#[derive(Debug, Clone)]
pub struct ImapConfig {
    /// True if STARTTLS is offered.
    pub starttls: bool,
    /// True if passwords are accepted in clear text too: on loopback, or if the operator enables it.
    pub plaintext_auth: bool,
    /// Capabilities that the listener does not announce, in capitals.
    pub withheld: Vec<String>,
}

impl ProtocolConfig for ImapConfig {
    fn is_modern(&self) -> bool {
        true
    }
}
