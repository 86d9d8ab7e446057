//! The listeners that mail programs of users are sent to.
//!
//! The rule: a program is sent only where its user can log in, and never to clear text if there is TLS.

use std::{net::SocketAddr, rc::Rc};

use super::Listener;
use crate::{
    config::{Config, ListenerConfig, Persona, Service, TlsMode, UnknownRecipients},
    proto::{
        http::{MailEncryption, MailProtocol, MailServer, MailServers},
        pop3, smtp,
    },
};

/// The listeners for mail programs, with the ports that they are bound to.
pub fn mail_servers<'a>(listeners: impl Iterator<Item = &'a Listener>, config: &Config) -> Rc<MailServers> {
    let bound = listeners.filter_map(|listener| Some((&listener.config, listener.endpoint.ip()?)));
    Rc::new(select(bound, config))
}

fn select<'a>(
    listeners: impl Iterator<Item = (&'a ListenerConfig, SocketAddr)>,
    config: &Config,
) -> MailServers {
    let candidates: Vec<Candidate> =
        listeners.filter_map(|(listen, bound)| Candidate::new(listen, bound, config)).collect();
    let mut servers = Vec::new();
    for reads in [true, false] {
        let all = || candidates.iter().filter(move |candidate| candidate.server.protocol.reads() == reads);
        // A listener on loopback beside others is for programs of this machine.
        let is_public = all().any(|candidate| !candidate.is_local);
        let reachable = || all().filter(move |candidate| candidate.is_local != is_public);
        // Thunderbird for Android refuses a file that names a server without encryption.
        let is_encrypted = |server: MailServer| server.encryption != MailEncryption::None;
        let has_encrypted = reachable().any(|candidate| is_encrypted(candidate.server));
        let usable = reachable().map(|candidate| candidate.server);
        servers.extend(usable.filter(|server| is_encrypted(*server) || !has_encrypted));
    }
    servers.sort_by_key(|server| (server.protocol, server.encryption));
    servers.dedup();
    // Any domain has mailboxes in `restante dev`.
    let domains = if config.development.is_some() { Vec::new() } else { config.domains.clone() };
    MailServers { servers, domains }
}

/// A listener at which users can log in.
struct Candidate {
    server: MailServer,
    /// Only programs of this machine can connect.
    is_local: bool,
}

impl Candidate {
    fn new(listen: &ListenerConfig, bound: SocketAddr, config: &Config) -> Option<Self> {
        let is_open_house = config.unknown_recipients == UnknownRecipients::Create;
        let protocol = match listen.protocol {
            Service::Imap | Service::Imaps => MailProtocol::Imap,
            Service::Pop3 | Service::Pop3s => MailProtocol::Pop3,
            Service::Submission | Service::Submissions => MailProtocol::Smtp,
            Service::Smtp if is_open_house => MailProtocol::Smtp,
            Service::Smtp | Service::Lmtp | Service::Http | Service::Https => return None,
        };
        let (may_log_in, has_starttls) = match listen.persona {
            Persona::Smtp(persona) => (persona != smtp::Persona::Rfc821, true),
            Persona::Pop3(persona) => (true, persona == pop3::Persona::Modern),
            Persona::Imap => (true, true),
            Persona::Http => return None,
        };
        let encryption = match listen.tls {
            TlsMode::Implicit => MailEncryption::Tls,
            TlsMode::Starttls if has_starttls => MailEncryption::StartTls,
            TlsMode::Starttls | TlsMode::None => MailEncryption::None,
        };
        let is_proxied = !listen.proxy_networks.is_empty();
        let is_local = bound.ip().is_loopback() && !is_proxied;
        let takes_password = encryption != MailEncryption::None || listen.auth_allow_cleartext || is_local;
        // A proxy has the port that clients know; by convention it is that of the service.
        let port = if is_proxied { listen.protocol.standard_port()? } else { bound.port() };
        let server = MailServer { protocol, encryption, port };
        (may_log_in && takes_password).then_some(Self { server, is_local })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The servers of a configuration whose listeners are these, a line each: service, address, further keys.
    fn servers(listeners: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("restante.toml");
        let mut text = "hostname = \"mx.test\"\ndomains = [\"here.test\"]\n".to_owned();
        for line in listeners.lines() {
            let mut words = line.trim().splitn(3, ' ');
            let mut word = || words.next().unwrap_or_default();
            let (service, address, keys) = (word(), word(), word().replace("; ", "\n"));
            text += &format!("[[listen]]\nprotocol = \"{service}\"\naddress = \"{address}\"\n{keys}\n");
        }
        text += "[tls]\ncertificate = \"c\"\nkey = \"k\"\n";
        std::fs::write(&path, text).unwrap();
        let config = Config::load(Path::new(&path)).unwrap();
        let bound = config.listen.iter().filter_map(|listen| Some((listen, listen.address.ip()?)));
        let found = select(bound, &config);
        assert_eq!(found.domains, ["here.test"]);
        found.servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn v71_programs_are_sent_where_a_user_can_log_in_and_to_tls_first() {
        let all = "smtp 0.0.0.0:25\nsubmission 0.0.0.0:587\nsubmissions 0.0.0.0:465\npop3 0.0.0.0:110\npop3s 0.0.0.0:995\n\
                   https 0.0.0.0:443";
        assert_eq!(
            servers(all),
            ["pop3 tls 995", "pop3 starttls 110", "smtp tls 465", "smtp starttls 587"],
            "port 25 is for servers"
        );
        assert_eq!(
            servers("pop3s 0.0.0.0:2995\npop3 127.0.0.1:110\nsubmission 0.0.0.0:1587"),
            ["pop3 tls 2995", "smtp starttls 1587"],
            "a listener on loopback is not for users of other machines"
        );
        assert_eq!(
            servers("pop3 0.0.0.0:110 tls = \"none\"; auth_allow_cleartext = true\npop3s 0.0.0.0:995"),
            ["pop3 tls 995"],
            "no clear text beside TLS"
        );
        assert_eq!(
            servers(
                "pop3 0.0.0.0:110 tls = \"none\"; auth_allow_cleartext = true\nsubmission 0.0.0.0:587 tls = \"none\""
            ),
            ["pop3 none 110"],
            "nobody can log in at the other"
        );
        assert_eq!(servers("pop3 127.0.0.1:1110 tls = \"none\""), ["pop3 none 1110"]);
        assert_eq!(
            servers("pop3 0.0.0.0:110 persona = \"rfc1081\"\nsubmission 0.0.0.0:587 persona = \"rfc821\""),
            Vec::<String>::new(),
            "these personas have no STLS, and no AUTH"
        );
        assert_eq!(
            servers("pop3s 127.0.0.1:10995 proxy_networks = [\"127.0.0.0/8\"]"),
            ["pop3 tls 995"],
            "a proxy has the port of the service"
        );
    }

    #[test]
    fn y81_programs_that_know_imap_and_pop3_find_imap_first() {
        let all = "pop3s 0.0.0.0:995\nimap 0.0.0.0:143\npop3 0.0.0.0:110\nimaps 0.0.0.0:993";
        assert_eq!(servers(all), ["imap tls 993", "imap starttls 143", "pop3 tls 995", "pop3 starttls 110"]);
        assert_eq!(
            servers("imap 0.0.0.0:143 tls = \"none\"; auth_allow_cleartext = true\npop3s 0.0.0.0:995"),
            ["pop3 tls 995"],
            "no clear text beside TLS, whatever the protocol"
        );
        assert_eq!(
            servers("imaps 127.0.0.1:993\npop3s 0.0.0.0:995"),
            ["pop3 tls 995"],
            "only programs of this machine reach the other"
        );
    }

    #[test]
    fn in_dev_the_listener_for_smtp_is_for_users_too() {
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let config = Config::development("/spool".into(), (address(2525), address(1110)), false).unwrap();
        let bound = config.listen.iter().filter_map(|listen| Some((listen, listen.address.ip()?)));
        let found = select(bound, &config);
        let servers: Vec<String> = found.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["pop3 none 1110", "smtp none 2525"]);
        assert!(found.domains.is_empty());
    }
}
