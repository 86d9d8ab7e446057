//! The configuration of HTTP sessions.

use std::{net::IpAddr, rc::Rc};

use serde::{Deserialize, Serialize};

use super::autoconfig::servers::MailServers;
use crate::proto::session_config::{self, ProtocolConfig};

/// The configuration that the sessions of a listener share.
pub type SessionConfig = session_config::SessionConfig<HttpConfig>;

/// The settings that only HTTP has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpConfig {
    /// The users who may read the mail.
    pub login: LoginPolicy,
    /// The names of this server, beside its hostname and those of loopback.
    pub hosts: Vec<String>,
    /// The address of the listener; `None` if it has several.
    pub bound: Option<IpAddr>,
    /// True if recipients may ask for faults, and requests set those by chance: in `restante dev`, unless its faults are off.
    pub has_faults: bool,
    /// The listeners for mail programs.
    pub mail_servers: Rc<MailServers>,
}

/// The users who may read the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginPolicy {
    /// Everybody, all mail: in `restante dev`.
    Off,
    /// Users with a password, also in clear text: on loopback, or if the operator enables it.
    InClear,
    /// Users with a password, which is accepted under TLS only.
    #[default]
    UnderTls,
}

impl ProtocolConfig for HttpConfig {
    fn is_modern(&self) -> bool {
        true
    }
}
