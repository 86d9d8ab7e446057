//! The configuration file: text in, checked values out.
//!
//! The rule: after [`Config::load`] no string can be invalid any more, and every mistake found before is
//! reported with file, line, column, key and accepted form.

mod choices;
mod differences;
mod error;
mod foreign_keys;
mod http_hosts;
mod keys;
mod limits;
mod listener;
mod metrics;
mod mistaken;
mod networks;
mod paths;
mod reload;
mod renamed;
mod schema;
mod settings;
mod tls;
mod upgrade;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

pub use crate::logging::{Destination, Log};
pub use crate::proto::protocol::Service;
use crate::{
    limits::{Limits, MAX_CONFIG_FILE, Span},
    maildir::name::max_host_len,
    net::endpoint::Endpoint,
    open_regular::read_text_bounded,
    proto::{dot::LineEndings, protocol::Protocol, smtp::address::Address, syntax::Syntax},
};
use error::ConfigError;
pub use error::{ConfigText, Error};
pub use listener::{ListenerConfig, Persona, TlsMode};
pub use metrics::Metrics;
pub use mistaken::MistakenPlaces;
pub use networks::Networks;
use settings::ACCOUNTS;
pub use settings::{ChangeDetection, Config, Development, Http, Pop3, Sandbox, UnknownRecipients};
pub use tls::TlsAddresses;

impl Config {
    /// Reads and checks a configuration file. Relative paths are relative to its directory.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::read(path).map(|(config, _)| config)
    }

    /// Like [`Config::load`], and returns the text too.
    pub fn read(path: &Path) -> Result<(Self, ConfigText), Error> {
        let unreadable = |error| Error::Unreadable(path.to_owned(), error);
        let text = read_text_bounded(path, MAX_CONFIG_FILE.0).map_err(unreadable)?;
        let directory = std::path::absolute(path).map_err(unreadable)?;
        let directory = directory.parent().unwrap_or(Path::new("/"));
        match schema::read(&text, directory) {
            Ok((config, renamed)) => Ok((config, ConfigText::of_file(path, text, renamed))),
            Err(mistake) => Err(mistake.locate(path, &text)),
        }
    }

    /// The configuration of `restante dev`: every address has a mailbox, timeouts suit people who type, and
    /// the addresses must be loopback, unless it is knowingly open to the `network`.
    pub fn development(
        spool: PathBuf,
        (smtp, pop3): (SocketAddr, SocketAddr),
        network: bool,
    ) -> Result<Self, Error> {
        let spool = std::path::absolute(&spool).map_err(|error| Error::Unreadable(spool, error))?;
        let config = Self {
            hostname: "localhost".into(),
            domains: vec!["localhost".into()],
            accounts: spool.join(ACCOUNTS),
            aliases: None,
            upgrade_hashes: true,
            spool,
            unknown_recipients: UnknownRecipients::Create,
            watch: ChangeDetection::default(),
            shared_spool: false,
            user: None,
            sandbox: Sandbox::Off,
            transcripts: None,
            transcript_bodies: false,
            listen: vec![for_people(Service::Smtp, smtp), for_people(Service::Pop3, pop3)],
            pop3: Pop3::default(),
            http: Http::default(),
            tls: None,
            log: Log::default(),
            metrics: Metrics::default(),
            development: Some(Development { network, faults_on_demand: false }),
            limits: Limits::for_development(),
        };
        config.check().map_err(|mistake| Error::Development(mistake.why))?;
        Ok(config)
    }

    /// Adds a listener for IMAP.
    ///
    /// # Errors
    /// The address is taken, or is not loopback although it has to be.
    pub fn with_imap(mut self, address: SocketAddr) -> Result<Self, Error> {
        self.listen.push(for_people(Service::Imap, address));
        self.check().map_err(|mistake| Error::Development(mistake.why))?;
        Ok(self)
    }

    /// Adds a listener for the web API.
    ///
    /// # Errors
    /// The address is taken, or is not loopback although it has to be.
    pub fn with_http(mut self, address: SocketAddr) -> Result<Self, Error> {
        self.listen.push(ListenerConfig::new(Service::Http, Endpoint::Ip(address), false));
        self.check().map_err(|mistake| Error::Development(mistake.why))?;
        Ok(self)
    }

    /// True if sessions have transcripts: in files if the configuration names a directory, and on a server for development
    /// also without one, in memory for the web inbox.
    pub fn records_sessions(&self) -> bool {
        let has_inbox = || self.listen.iter().any(|listen| listen.protocol.protocol() == Protocol::Http);
        self.transcripts.is_some() || (self.development.is_some() && has_inbox())
    }

    /// A sentence for each network that is written with an address in it, and stands for the whole network.
    pub fn network_notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for listen in &self.listen {
            let keys =
                [("trusted_networks", &listen.trusted_networks), ("proxy_networks", &listen.proxy_networks)];
            for (key, networks) in keys {
                notes.extend(networks.with_host_bits().map(|(written, meant)| {
                    format!("{written} in {key} of {} stands for {meant}", listen.protocol)
                }));
            }
        }
        notes
    }

    /// Settings that are valid but probably not intended.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let listeners = self.listen.iter().filter_map(ListenerConfig::login_impossible_warning);
        let is_address = self.hostname.parse::<IpAddr>().is_ok();
        let hostname = is_address.then(|| {
            format!(
                "hostname = {:?} is an address: write the name of this machine in the DNS, as in the MX record; other \
                 servers distrust a greeting with an address",
                self.hostname
            )
        });
        let networks = self.listen.iter().flat_map(ListenerConfig::network_warnings);
        let domains = self.unreachable_domains_warning();
        hostname
            .into_iter()
            .chain(domains)
            .chain(listeners)
            .chain(networks)
            .chain(self.few_connections_warning())
    }

    /// The warning for a server that other machines reach, with domains that lead each of them to itself (RFC 6761 section 6.3).
    fn unreachable_domains_warning(&self) -> Option<String> {
        let is_own = |domain: &String| {
            let last = domain.rsplit('.').next().unwrap_or_default();
            ["localhost", "localdomain"].iter().any(|name| last.eq_ignore_ascii_case(name))
        };
        let takes_mail = |listen: &ListenerConfig| {
            listen.protocol.protocol() == Protocol::Smtp && !listen.address.is_local()
        };
        let listen = self.listen.iter().find(|listen| takes_mail(listen))?;
        (self.development.is_none() && self.domains.iter().all(is_own)).then(|| {
            format!(
                "domains = {:?}: mail from other machines never has such an address, although {} listens at {}: add your \
                 domain in the DNS",
                self.domains, listen.protocol, listen.address
            )
        })
    }

    /// The warning for a limit at which a session of one service shuts out the clients of another one.
    fn few_connections_warning(&self) -> Option<String> {
        let max = self.limits.connections.max;
        let services: BTreeSet<Service> = self.listen.iter().map(|listen| listen.protocol).collect();
        (max > 0 && max < services.len()).then(|| {
            format!(
                "limits.connections.max = {max} is too few for one session of each of the {} services: set more, or 0 for as \
                 many as the descriptors allow",
                services.len()
            )
        })
    }

    /// Lets other machines connect and send passwords in clear text, which is only for `restante dev` on a network whose
    /// users may read each other's mail.
    pub fn open_to_network(&mut self) {
        self.development.get_or_insert_default().network = true;
        for listen in self.listen.iter_mut().filter(|listen| listen.protocol.has_logins()) {
            listen.auth_allow_cleartext = true;
        }
    }

    /// Gives the listeners of each protocol the generation that one of the names is of.
    ///
    /// # Errors
    /// No protocol has one of that name, or two of them are of one protocol.
    pub fn set_personas(&mut self, names: &[String]) -> Result<(), Error> {
        let mut named: Vec<Option<&String>> = vec![None; self.listen.len()];
        for name in names {
            let mut is_known = false;
            for (listen, named) in self.listen.iter_mut().zip(&mut named) {
                let Ok(persona) = Persona::named(listen.protocol, Some(name)) else { continue };
                if let Some(other) = named.filter(|other| *other != name) {
                    let protocol = listen.protocol;
                    return Err(Error::Development(format!(
                        "{other:?} and {name:?} are both personas of {protocol}: name one of them"
                    )));
                }
                (*named, listen.persona, is_known) = (Some(name), persona, true);
            }
            if !is_known {
                return Err(Error::Development(format!(
                    "{name:?} is not a persona: write \"rfc821\" (SMTP), \"rfc1081\", \"rfc1460\" or \"rfc1939\" \
                     (POP3), or \"modern\""
                )));
            }
        }
        Ok(())
    }

    /// Makes every listener strict, for `--strict`.
    pub fn set_strict(&mut self) {
        for listen in &mut self.listen {
            (listen.strict, listen.line_endings, listen.syntax) = (true, LineEndings::Strict, Syntax::Exact);
        }
    }

    /// The whole configuration as a file that reads back the same.
    pub fn effective(&self) -> String {
        toml::to_string(self).unwrap_or_else(|e| format!("# cannot be written as TOML: {e}\n"))
    }

    /// Checks what the types cannot express.
    fn check(&self) -> Result<(), ConfigError> {
        if !is_domain(&self.hostname) {
            let why = format!("{:?} is not a host name: write it like \"mx.example.test\"", self.hostname);
            return Err(ConfigError::at("hostname", why));
        }
        let (octets, most) = (self.hostname.len(), max_host_len());
        if octets > most {
            let why = format!("{octets} octets are too many: at most {most}, because file names contain it");
            return Err(ConfigError::at("hostname", why));
        }
        if self.domains.is_empty() {
            return Err(ConfigError::at("domains", "at least one is needed, like [\"example.test\"]"));
        }
        for (n, name) in self.domains.iter().enumerate() {
            if !is_domain(name) {
                let why = format!("{name:?} is not a domain: write it like \"example.test\"");
                return Err(ConfigError::at(format!("domains.{n}"), why));
            }
        }
        if self.user.as_ref().is_some_and(String::is_empty) {
            let why = "a user name cannot be empty: write it like \"restante\", or remove the key";
            return Err(ConfigError::at("user", why));
        }
        if self.listen.is_empty() {
            return Err(ConfigError::at(
                "listen",
                "at least one listener is needed: a section [[listen]] with protocol and address",
            ));
        }
        listener::check(&self.listen)?;
        let is_knowingly_open = self.development.is_some_and(|development| development.network);
        let open = |listen: &ListenerConfig| {
            self.unknown_recipients == UnknownRecipients::Create
                && !listen.address.is_local()
                && !is_knowingly_open
        };
        if let Some(n) = self.listen.iter().position(open) {
            return Err(ConfigError::at(
                format!("listen.{n}.address"),
                format!(
                    "{} is not a loopback address like 127.0.0.1 or [::1]: any password opens any mailbox if \
                     unknown users get one (unknown_recipients = \"create\", restante dev); `restante dev --network` allows \
                     that, for a class",
                    self.listen[n].address
                ),
            ));
        }
        http_hosts::check(&self.http.hosts)?;
        tls::check(self)?;
        limits::within("metrics.interval", self.metrics.interval, Span::secs(1), Span::secs(3600))?;
        limits::check(&self.limits)
    }
}

/// A listener to which people type by hand.
fn for_people(protocol: Service, address: SocketAddr) -> ListenerConfig {
    ListenerConfig {
        line_endings: LineEndings::Lenient,
        syntax: Syntax::Forgiving,
        ..ListenerConfig::new(protocol, Endpoint::Ip(address), false)
    }
}

fn is_domain(name: &str) -> bool {
    !name.starts_with('[') && Address::parse(&format!("postmaster@{name}")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const GOOD: &str = r#"
hostname = "mx.example.test"
domains = ["Example.test", "second.test"]

[[listen]]
protocol = "smtp"
address = "127.0.0.1:2525"

[[listen]]
protocol = "pop3"
address = "[::1]:1110"
line_endings = "lenient"
persona = "rfc1081"

[pop3]
expire = "30 days"

[limits.smtp]
max_message_size = "10 MiB"
"#;

    pub(super) fn load(text: &str) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("restante.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|error| {
            let error = error.to_string();
            error.strip_prefix(path.to_str().unwrap()).expect(&error).to_owned()
        })
    }

    #[test]
    fn the_effective_configuration_reads_back_the_same() {
        let config = load(GOOD).unwrap();
        assert_eq!(load(&config.effective()).unwrap(), config);
        let loopback = "127.0.0.1:0".parse().unwrap();
        let config = Config::development("spool".into(), (loopback, loopback), false).unwrap();
        assert_eq!(load(&config.effective()).unwrap(), Config { development: None, ..config });
    }

    #[test]
    fn the_example_is_good() {
        load(include_str!("../../examples/restante.toml")).unwrap();
    }

    #[test]
    fn the_example_is_good_with_all_that_it_proposes() {
        let proposed = include_str!("../../examples/restante.toml").lines().map(|line| {
            line.strip_prefix('#')
                .filter(|rest| rest.starts_with(|c: char| !c.is_whitespace()))
                .unwrap_or(line)
        });
        let config = load(&proposed.collect::<Vec<_>>().join("\n").replace("tls = \"none\"", "")).unwrap();
        let services: Vec<&str> = config.listen.iter().map(|listen| listen.protocol.name()).collect();
        assert_eq!(
            services,
            ["smtp", "pop3", "imap", "submission", "submissions", "pop3s", "imaps", "http", "lmtp"]
        );
        assert!(config.tls.is_some());
    }

    #[test]
    fn the_example_shows_every_limit_with_its_default() {
        let shown = include_str!("../../examples/restante.toml").replace("\n# ", "\n");
        let shown: toml::Table = shown[shown.find("[limits.smtp]").unwrap()..].parse().unwrap();
        assert_eq!(shown["limits"], toml::Value::try_from(Limits::default()).unwrap());
    }

    #[test]
    fn limits_that_0_lifts_may_be_0() {
        let lifted = "[limits]\nsmtp.hard_error_limit = 0\nconnections.max = 0\nsmtp.min_data_rate = 0\n\
                      auth.failure_delay = \"0s\"";
        load(&GOOD.replace("[limits.smtp]\nmax_message_size = \"10 MiB\"", lifted)).unwrap();
    }

    #[test]
    fn an_open_house_is_on_loopback_only() {
        let open = format!("unknown_recipients = \"create\"\n{GOOD}");
        assert_eq!(load(&open).unwrap().unknown_recipients, UnknownRecipients::Create);
        let error = load(&open.replace("[::1]", "[::]")).unwrap_err();
        assert!(
            error.contains(", line 12, column 11: listen.address: [::]:1110 is not a loopback address"),
            "{error}"
        );
        load(&GOOD.replace("[::1]", "[::]")).unwrap();

        let develop = |smtp: &str| {
            Config::development("x".into(), (smtp.parse().unwrap(), "[::1]:1".parse().unwrap()), false)
        };
        assert!(develop("127.0.0.1:2525").unwrap().spool.is_absolute());
        assert!(
            develop("192.0.2.1:0").unwrap_err().to_string().contains("192.0.2.1:0 is not a loopback address")
        );
        assert!(develop("[::1]:1").unwrap_err().to_string().contains("taken by another listener"));
    }

    #[test]
    fn a_host_name_that_leaves_no_room_in_the_names_of_files_is_refused() {
        let named = |octets: usize| {
            let name = "a.".repeat((octets - 1) / 2) + &"aa"[octets % 2..];
            load(&GOOD.replace("mx.example.test", &name))
        };
        let most = max_host_len();
        named(most).unwrap();
        let error = named(most + 1).unwrap_err();
        let told = format!(", line 2, column 12: hostname: {} octets are too many: at most {most}", most + 1);
        assert!(error.contains(&told), "{error}");
    }

    #[test]
    fn n28_names_with_other_letters_are_taken_in_their_form_in_dns() {
        let config = load(&GOOD.replace("Example.test", "Bücher.test")).unwrap();
        assert_eq!(config.domains[0], "xn--bcher-kva.test");
        let config = load(&GOOD.replace("mx.example.test", "mail.bücher.test")).unwrap();
        assert_eq!(config.hostname, "mail.xn--bcher-kva.test");
    }

    #[test]
    fn n171_fewer_connections_than_services_are_told() {
        let warnings = |max: usize| {
            let limit = format!("[limits]\nconnections.max = {max}\nsmtp.max_message_size");
            let text = GOOD.replace("[limits.smtp]\nmax_message_size", &limit);
            load(&text).unwrap().warnings().collect::<Vec<_>>()
        };
        let told = warnings(1).join("\n");
        assert!(
            told.contains("connections.max = 1 is too few for one session of each of the 2 services"),
            "{told}"
        );
        for max in [0, 2] {
            assert_eq!(warnings(max), [""; 0], "{max}");
        }
    }

    #[test]
    fn n172_domains_that_no_other_machine_can_send_to_are_told_if_one_can_connect() {
        let warnings = |domains: &str, address: &str| {
            let text = GOOD.replace("\"Example.test\", \"second.test\"", domains);
            load(&text.replace("127.0.0.1:2525", address)).unwrap().warnings().collect::<Vec<_>>()
        };
        for domains in ["\"localhost\"", "\"mx.LocalHost\", \"localhost.localdomain\""] {
            let told = warnings(domains, "0.0.0.0:2525").join("\n");
            assert!(told.contains("mail from other machines never has such an address"), "{told}");
            assert!(told.contains("although smtp listens at 0.0.0.0:2525"), "{told}");
            assert_eq!(warnings(domains, "127.0.0.1:2525"), [""; 0]);
        }
        assert_eq!(warnings("\"localhost\", \"example.test\"", "0.0.0.0:2525"), [""; 0]);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::load(Path::new("/nowhere/restante.toml")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/restante.toml"), "{error}");
    }
}
