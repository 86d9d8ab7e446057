//! The factory of IMAP sessions.

use std::{net::IpAddr, rc::Rc};

use super::{session_config::ImapConfig, state::ImapSession};
use crate::proto::{
    Session,
    factory::{self, SessionFactory, Settings},
    protocol::Protocol,
    request::ConnId,
};

/// Creates IMAP sessions with one configuration.
pub type Factory = factory::Factory<ImapConfig>;

impl SessionFactory for Factory {
    fn protocol(&self) -> Protocol {
        Protocol::Imap
    }

    fn session(&self, _: IpAddr, _: ConnId) -> Box<dyn Session> {
        Box::new(ImapSession::new(Rc::clone(&self.0)))
    }

    fn settings(&self, _: ConnId) -> Settings {
        self.all_settings(self.protocol(), self.0.limits.imap.max_line_length, None, |settings, own| {
            let ImapConfig { starttls, plaintext_auth, withheld } = own;
            if !plaintext_auth {
                settings.direct("auth", "under_tls");
            }
            if *starttls {
                settings.direct("tls", "offered");
            }
            if !withheld.is_empty() {
                settings.direct("withheld", withheld.join(" "));
            }
        })
    }
}
