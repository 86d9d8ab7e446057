//! The factory of SMTP and LMTP sessions.

use std::{net::IpAddr, rc::Rc};

use super::{session_config::SessionConfig, state::SmtpSession};
use crate::proto::{
    Session,
    factory::{self, SessionFactory, Settings},
    protocol::Protocol,
    request::ConnId,
};

/// Creates SMTP or LMTP sessions with one configuration.
pub type Factory = factory::Factory<SessionConfig>;

impl SessionFactory for Factory {
    fn protocol(&self) -> Protocol {
        if self.0.is_lmtp() { Protocol::Lmtp } else { Protocol::Smtp }
    }

    fn session(&self, peer: IpAddr, id: ConnId) -> Box<dyn Session> {
        Box::new(SmtpSession::new(Rc::clone(&self.0), peer, id.to_string()))
    }

    fn settings(&self, id: ConnId) -> Settings {
        let SessionConfig { hostname, line_endings, syntax, persona, limits, policy, pedantic } = &*self.0;
        let mut settings =
            Settings::new(self.protocol(), hostname, *line_endings, limits.smtp.max_line_length);
        settings.direct("label", id.to_string());
        settings.direct_unless_default("line_endings", *line_endings);
        settings.direct_unless_default("syntax", *syntax);
        settings.direct_unless_default("persona", *persona);
        settings.direct_unless_default("kind", policy.kind);
        settings.direct_unless_default("auth", policy.auth);
        if policy.trusted {
            settings.direct("trusted", "yes");
        }
        if policy.starttls {
            settings.direct("tls", "offered");
        }
        if *pedantic {
            settings.direct("pedantic", "yes");
        }
        settings
    }
}
