//! The factory of SMTP and LMTP sessions.

use std::{net::IpAddr, rc::Rc};

use super::{session_config::SmtpConfig, state::SmtpSession};
use crate::proto::{
    Session,
    factory::{self, SessionFactory, Settings},
    protocol::Protocol,
    request::ConnId,
};

/// Creates SMTP or LMTP sessions with one configuration.
pub type Factory = factory::Factory<SmtpConfig>;

impl SessionFactory for Factory {
    fn protocol(&self) -> Protocol {
        if self.0.is_lmtp() { Protocol::Lmtp } else { Protocol::Smtp }
    }

    fn session(&self, peer: IpAddr, id: ConnId) -> Box<dyn Session> {
        Box::new(SmtpSession::new(Rc::clone(&self.0), peer, id))
    }

    fn settings(&self, id: ConnId) -> Settings {
        let max_line = self.0.limits.smtp.max_line_length;
        self.all_settings(self.protocol(), max_line, Some(id), |settings, SmtpConfig { persona, policy }| {
            settings.direct_unless_default("persona", *persona);
            settings.direct_unless_default("kind", policy.kind);
            settings.direct_unless_default("auth", policy.auth);
            if policy.trusted {
                settings.direct("trusted", "yes");
            }
            if policy.starttls {
                settings.direct("tls", "offered");
            }
        })
    }
}
