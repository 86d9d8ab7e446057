//! The factory of POP3 sessions.

use std::{net::IpAddr, rc::Rc};

use super::{session_config::SessionConfig, state::Pop3Session};
use crate::proto::{
    Session,
    factory::{self, SessionFactory, Settings},
    protocol::Protocol,
    request::ConnId,
};

/// Creates POP3 sessions with one configuration.
pub type Factory = factory::Factory<SessionConfig>;

impl SessionFactory for Factory {
    fn protocol(&self) -> Protocol {
        Protocol::Pop3
    }

    fn session(&self, _: IpAddr, _: ConnId) -> Box<dyn Session> {
        Box::new(Pop3Session::new(Rc::clone(&self.0)))
    }

    fn settings(&self, _: ConnId) -> Settings {
        let SessionConfig {
            hostname,
            line_endings,
            syntax,
            persona,
            expire,
            stls,
            plaintext_auth,
            limits,
            pedantic,
        } = &*self.0;
        let mut settings =
            Settings::new(self.protocol(), hostname, *line_endings, limits.pop3.max_line_length);
        settings.expires = expire.is_some();
        settings.direct_unless_default("line_endings", *line_endings);
        settings.direct_unless_default("syntax", *syntax);
        settings.direct_unless_default("persona", *persona);
        if !plaintext_auth {
            settings.direct("auth", "under_tls");
        }
        if let Some(expire) = expire {
            settings.direct("expire", expire.to_string());
        }
        if *stls {
            settings.direct("tls", "offered");
        }
        if *pedantic {
            settings.direct("pedantic", "yes");
        }
        settings
    }
}
