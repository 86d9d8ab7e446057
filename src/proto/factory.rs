//! The session factory. A listener has one for each level of trust in its clients.

use std::{fmt, net::IpAddr, rc::Rc};

use serde::Serialize;

use super::{Session, dot::LineEndings, protocol::Protocol, request::ConnId};

/// Creates sessions of one protocol with the same configuration.
pub trait SessionFactory: fmt::Debug {
    /// The protocol of its sessions.
    fn protocol(&self) -> Protocol;

    /// Creates a session for the client at `peer`.
    fn session(&self, peer: IpAddr, id: ConnId) -> Box<dyn Session>;

    /// The settings of its sessions, for a transcript.
    fn settings(&self, id: ConnId) -> Settings;
}

/// The factory of one protocol: all its sessions share the configuration `C`.
#[derive(Debug)]
pub struct Factory<C>(pub(super) Rc<C>);

impl<C> Factory<C> {
    /// A factory of sessions with this configuration.
    pub fn new(config: C) -> Self {
        Self(Rc::new(config))
    }
}

/// The settings of a session that its transcript needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The directives that replay a dialogue with the same settings, in order. Settings at their defaults are
    /// left out.
    pub directives: Vec<(&'static str, String)>,
    /// The longest command line, in octets.
    pub max_line: usize,
    /// True if the session applies typed corrections in a line, such as backspace.
    pub lenient: bool,
    /// True if messages are deleted when they are too old.
    pub expires: bool,
}

impl Settings {
    /// The settings that sessions of every protocol have.
    pub(super) fn new(
        protocol: Protocol,
        hostname: &str,
        line_endings: LineEndings,
        max_line: usize,
    ) -> Self {
        let lenient = line_endings == LineEndings::Lenient;
        let mut settings = Self { directives: Vec::new(), max_line, lenient, expires: false };
        settings.direct("protocol", protocol.directive());
        settings.direct("hostname", hostname);
        settings
    }

    pub(super) fn direct(&mut self, key: &'static str, value: impl Into<String>) {
        self.directives.push((key, value.into()));
    }

    /// Adds a directive with the configuration's word for the value, unless it is the default.
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
