//! The sessions of one listener, made by the factory for the trust of each client.

use std::{net::IpAddr, rc::Rc};

use crate::{
    config::{Config, ListenerConfig, Persona, UnknownRecipients},
    proto::{
        Session,
        factory::SessionFactory,
        fault_injection::{FaultySession, SequenceCounts},
        http::{self, HttpConfig, LoginPolicy, MailServers},
        imap::{self, ImapConfig, extensions},
        pop3::{self, Pop3Config},
        protocol::Protocol,
        request::ConnId,
        session_config::SessionConfig,
        smtp::{self, AuthPolicy, Kind, Policy, SmtpConfig},
    },
};

/// The privileges that a client has because of its address.
#[derive(Debug, Clone, Copy)]
struct ClientTrust {
    /// The client is on this machine, so no third party can read the traffic.
    is_local: bool,
    /// The client is in a network that may send without a login.
    is_trusted: bool,
}

impl ClientTrust {
    const ALL: [Self; 4] = [
        Self { is_local: false, is_trusted: false },
        Self { is_local: true, is_trusted: false },
        Self { is_local: false, is_trusted: true },
        Self { is_local: true, is_trusted: true },
    ];

    /// Its index in [`ClientTrust::ALL`].
    fn index(self) -> usize {
        usize::from(self.is_local) + 2 * usize::from(self.is_trusted)
    }
}

/// Creates the sessions of one listener.
pub(super) struct Sessions {
    /// One factory for each [`ClientTrust`], so that a connection costs no copy of the rules.
    factories: [Box<dyn SessionFactory>; ClientTrust::ALL.len()],
    /// Counts of the faults injected on demand; `None` if fault injection is off.
    faults: Option<Rc<SequenceCounts>>,
    /// The listeners that the sessions of HTTP name to mail programs. None before all are open.
    mail_servers: Rc<MailServers>,
}

impl Sessions {
    /// Creates the factories of a listener; `offers_tls` is whether clients may ask for TLS.
    pub(super) fn new(listen: &ListenerConfig, config: &Config, offers_tls: bool) -> Self {
        let mail_servers = Rc::<MailServers>::default();
        Self {
            factories: factories(listen, config, offers_tls, &mail_servers),
            mail_servers,
            faults: config
                .development
                .is_some_and(|development| development.faults_on_demand)
                .then(Rc::<SequenceCounts>::default),
        }
    }

    /// Applies other rules to the sessions that begin from now on. The counts of faults continue.
    pub(super) fn renew(&mut self, listen: &ListenerConfig, config: &Config, offers_tls: bool) {
        self.factories = factories(listen, config, offers_tls, &self.mail_servers);
    }

    /// Names other listeners to mail programs in the sessions that begin from now on.
    pub(super) fn set_mail_servers(
        &mut self,
        servers: &Rc<MailServers>,
        listen: &ListenerConfig,
        config: &Config,
        offers_tls: bool,
    ) {
        if listen.persona == Persona::Http {
            self.mail_servers = Rc::clone(servers);
            self.renew(listen, config, offers_tls);
        }
    }

    /// Creates a session for the client at `peer`.
    pub(super) fn session(&self, listen: &ListenerConfig, peer: IpAddr, id: ConnId) -> Box<dyn Session> {
        let session = self.factory(listen, peer).session(peer, id);
        match &self.faults {
            // No request of the web API has an address that asks for a fault.
            Some(counts) if listen.persona != Persona::Http => {
                Box::new(FaultySession::new(session, listen.protocol.protocol(), Rc::clone(counts)))
            }
            _ => session,
        }
    }

    /// The factory for the client at `peer`.
    pub(super) fn factory(&self, listen: &ListenerConfig, peer: IpAddr) -> &dyn SessionFactory {
        let trust =
            ClientTrust { is_local: peer.is_loopback(), is_trusted: listen.trusted_networks.contain(peer) };
        &*self.factories[trust.index()]
    }
}

/// Creates the factories of a listener, one for each trust.
fn factories(
    listen: &ListenerConfig,
    config: &Config,
    offers_tls: bool,
    mail_servers: &Rc<MailServers>,
) -> [Box<dyn SessionFactory>; ClientTrust::ALL.len()] {
    ClientTrust::ALL.map(|trust| factory(listen, config, offers_tls, trust, mail_servers))
}

/// Creates the factory for clients with this trust: one arm for each protocol.
fn factory(
    listen: &ListenerConfig,
    config: &Config,
    offers_tls: bool,
    trust: ClientTrust,
    mail_servers: &Rc<MailServers>,
) -> Box<dyn SessionFactory> {
    let hostname = config.hostname.clone();
    let limits = config.limits.clone();
    let ListenerConfig { line_endings, syntax, strict: pedantic, .. } = *listen;
    let plaintext_auth = listen.auth_allow_cleartext || trust.is_local;
    match listen.persona {
        Persona::Smtp(persona) => {
            let kind = match listen.protocol.protocol() {
                Protocol::Lmtp => Kind::Lmtp,
                _ if listen.protocol.is_submission() => Kind::Submission,
                _ => Kind::Smtp,
            };
            // If every mailbox is created on demand, a program that insists on a login gets one, whichever service it
            // uses.
            let open_house = config.unknown_recipients == UnknownRecipients::Create;
            let auth = match kind {
                Kind::Lmtp => AuthPolicy::Off,
                Kind::Smtp if !open_house => AuthPolicy::Off,
                Kind::Smtp | Kind::Submission if plaintext_auth => AuthPolicy::InClear,
                Kind::Smtp | Kind::Submission => AuthPolicy::UnderTls,
            };
            let policy = Policy { kind, auth, starttls: offers_tls, trusted: trust.is_trusted };
            let protocol = SmtpConfig { persona, policy };
            let config = SessionConfig { hostname, line_endings, syntax, limits, pedantic, protocol };
            Box::new(smtp::Factory::new(config))
        }
        Persona::Pop3(persona) => {
            let expire = config.pop3.expire;
            let protocol = Pop3Config { persona, expire, stls: offers_tls, plaintext_auth };
            let config = SessionConfig { hostname, line_endings, syntax, limits, pedantic, protocol };
            Box::new(pop3::Factory::new(config))
        }
        Persona::Http => {
            let login = match () {
                () if config.development.is_some() => LoginPolicy::Off,
                () if plaintext_auth => LoginPolicy::InClear,
                () => LoginPolicy::UnderTls,
            };
            let bound = listen.address.ip().map(|address| address.ip()).filter(|ip| !ip.is_unspecified());
            let has_faults = config.development.is_some_and(|development| development.faults_on_demand);
            let (hosts, mail_servers) = (config.http.hosts.clone(), Rc::clone(mail_servers));
            let protocol = HttpConfig { login, hosts, bound, has_faults, mail_servers };
            let config = SessionConfig { hostname, line_endings, syntax, limits, pedantic, protocol };
            Box::new(http::Factory::new(config))
        }
        Persona::Imap => {
            let items = listen.imap_capabilities.iter();
            let withheld =
                items.filter_map(|item| extensions::withheld(item).ok().map(str::to_owned)).collect();
            let protocol = ImapConfig { starttls: offers_tls, plaintext_auth, withheld };
            let config = SessionConfig { hostname, line_endings, syntax, limits, pedantic, protocol };
            Box::new(imap::Factory::new(config))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Service;

    #[test]
    fn each_service_has_sessions_of_its_protocol_and_their_settings_say_so() {
        let loopback = "127.0.0.1:0".parse().unwrap();
        let config = Config::development("/spool".into(), (loopback, loopback), false).unwrap();
        let config = config.with_http(loopback).unwrap();
        let peer = IpAddr::from([192, 0, 2, 1]);
        for service in Service::ALL {
            let same = |listen: &&ListenerConfig| {
                listen.protocol.protocol().directive() == service.protocol().directive()
            };
            let imap = || ListenerConfig { persona: Persona::Imap, ..config.listen[0].clone() };
            let listen = config.listen.iter().find(same).cloned().unwrap_or_else(imap);
            let listen = ListenerConfig { protocol: service, ..listen };
            let sessions = Sessions::new(&listen, &config, true);
            let factory = sessions.factory(&listen, peer);
            assert_eq!(factory.protocol(), service.protocol(), "{service}");
            let settings = factory.settings(ConnId(1)).directives;
            assert_eq!(settings[0], ("protocol", service.protocol().directive().to_owned()), "{service}");
            let offers_tls = settings.contains(&("tls", "offered".to_owned()));
            assert_eq!(offers_tls, factory.protocol() != Protocol::Http, "{service}: {settings:?}");
        }
    }
}
