//! The session factory. A listener has one for each level of trust in its clients.

use std::{fmt, net::IpAddr, rc::Rc};

use serde::Serialize;

use super::{Session, dot::LineEndings, protocol::Protocol, request::ConnId, session_config::SessionConfig};

/// Creates sessions of one protocol with the same configuration.
pub trait SessionFactory: fmt::Debug {
    /// The protocol of its sessions.
    fn protocol(&self) -> Protocol;

    /// Creates a session for the client at `peer`.
    fn session(&self, peer: IpAddr, id: ConnId) -> Box<dyn Session>;

    /// The settings of its sessions, for a transcript.
    fn settings(&self, id: ConnId) -> Settings;
}

/// The factory of one protocol: all its sessions share a configuration.
#[derive(Debug)]
pub struct Factory<P>(pub(super) Rc<SessionConfig<P>>);

impl<P> Factory<P> {
    /// A factory of sessions with this configuration.
    pub fn new(config: SessionConfig<P>) -> Self {
        Self(Rc::new(config))
    }

    /// The settings for a transcript. `add_own` adds those of the protocol. `label` is the id of the session, if its
    /// replies have it.
    pub(super) fn all_settings(
        &self,
        protocol: Protocol,
        max_line: usize,
        label: Option<ConnId>,
        add_own: impl FnOnce(&mut Settings, &P),
    ) -> Settings {
        let SessionConfig { hostname, line_endings, syntax, limits: _, pedantic, protocol: own } = &*self.0;
        let lenient = *line_endings == LineEndings::Lenient;
        let mut settings = Settings { directives: Vec::new(), max_line, lenient, expires: false };
        settings.direct("protocol", protocol.directive());
        settings.direct("hostname", hostname);
        if let Some(id) = label {
            settings.direct("label", id.to_string());
        }
        settings.direct_unless_default("line_endings", *line_endings);
        settings.direct_unless_default("syntax", *syntax);
        add_own(&mut settings, own);
        if *pedantic {
            settings.direct("pedantic", "yes");
        }
        settings
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
    /// Adds a directive.
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
