//! The factory of HTTP sessions.

use std::{net::IpAddr, rc::Rc};

use super::{MAX_HEAD, session_config::HttpConfig, state::HttpSession};
use crate::proto::{
    Session,
    factory::{self, SessionFactory, Settings},
    protocol::Protocol,
    request::ConnId,
};

/// Creates HTTP sessions with one configuration.
pub type Factory = factory::Factory<HttpConfig>;

impl SessionFactory for Factory {
    fn protocol(&self) -> Protocol {
        Protocol::Http
    }

    fn session(&self, peer: IpAddr, id: ConnId) -> Box<dyn Session> {
        Box::new(HttpSession::new(Rc::clone(&self.0), peer, id))
    }

    fn settings(&self, _: ConnId) -> Settings {
        self.all_settings(self.protocol(), MAX_HEAD, None, |settings, own| {
            let HttpConfig { login, hosts, bound, has_faults, mail_servers } = own;
            settings.direct_unless_default("login", *login);
            for host in hosts {
                settings.direct("host", host);
            }
            if let Some(bound) = bound {
                settings.direct("bound", bound.to_string());
            }
            if *has_faults {
                settings.direct("faults", "on demand");
            }
            for server in &mail_servers.servers {
                settings.direct("mail_server", server.to_string());
            }
            for domain in &mail_servers.domains {
                settings.direct("mail_domain", domain);
            }
        })
    }
}
