//! The maker of sessions: a listener has one for each standing of its clients.

use std::{fmt, net::IpAddr};

use serde::Serialize;

use super::{Session, protocol::Protocol, request::ConnId};

/// Makes sessions of one protocol under the same rules.
pub trait SessionFactory: fmt::Debug {
    /// The protocol.
    fn protocol(&self) -> Protocol;

    /// A session with the client at `peer`.
    fn session(&self, peer: IpAddr, id: ConnId) -> Box<dyn Session>;

    /// The rules of its sessions, for the transcript of one.
    fn settings(&self, id: ConnId) -> Settings;
}

/// The rules of a session, as its transcript needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The directives that make a dialogue play under the same rules, in order. Those at their defaults are left out.
    pub directives: Vec<(&'static str, String)>,
    /// Octets of the longest command line.
    pub longest_line: usize,
    /// Whether lines are taken as they were typed, corrections and all.
    pub lenient: bool,
    /// Whether messages are deleted when they are too old.
    pub expires: bool,
}

impl Settings {
    /// Adds a directive.
    pub(super) fn direct(&mut self, key: &'static str, value: impl Into<String>) {
        self.directives.push((key, value.into()));
    }

    /// Adds a directive with the word of the configuration for a value that is not the default.
    pub(super) fn direct_unless_default<T: Default + PartialEq + Serialize>(
        &mut self,
        key: &'static str,
        value: T,
    ) {
        if value != T::default()
            && let Ok(toml::Value::String(word)) = toml::Value::try_from(value)
        {
            self.direct(key, word);
        }
    }
}
