//! The factory of POP3 sessions.

use std::{net::IpAddr, rc::Rc};

use super::{session_config::Pop3Config, state::Pop3Session};
use crate::proto::{
    Session,
    factory::{self, SessionFactory, Settings},
    protocol::Protocol,
    request::ConnId,
};

/// Creates POP3 sessions with one configuration.
pub type Factory = factory::Factory<Pop3Config>;

impl SessionFactory for Factory {
    fn protocol(&self) -> Protocol {
        Protocol::Pop3
    }

    fn session(&self, _: IpAddr, _: ConnId) -> Box<dyn Session> {
        Box::new(Pop3Session::new(Rc::clone(&self.0)))
    }

    fn settings(&self, _: ConnId) -> Settings {
        self.all_settings(self.protocol(), self.0.limits.pop3.max_line_length, None, |settings, own| {
            let Pop3Config { persona, expire, stls, plaintext_auth } = own;
            settings.expires = expire.is_some();
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
        })
    }
}
