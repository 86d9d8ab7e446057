//! The keys of a configuration file, before their values are checked against each other.

use std::{
    env,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::de::{DeTable, Deserializer};

use super::{
    ChangeDetection, Config, Http, Metrics, Pop3, Sandbox, UnknownRecipients,
    error::{ConfigError, LISTENERS},
    http_hosts::{self, domain},
    keys::{Sections, names},
    listener, paths,
    settings::ACCOUNTS,
    tls, upgrade,
};
use crate::{
    limits::{
        AuthLimits, ConnectionLimits, DeliveryLimits, DiskLimits, HttpLimits, ImapLimits, IndexLimits,
        Limits, Pop3Limits, QuotaLimits, SmtpLimits, SpoolLimits, TlsLimits, TranscriptLimits,
    },
    logging::{Destination, Log},
};

/// All keys of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    hostname: String,
    domains: Vec<String>,
    #[serde(default = "default_spool")]
    spool: PathBuf,
    #[serde(default = "default_accounts")]
    accounts: PathBuf,
    aliases: Option<PathBuf>,
    #[serde(default = "yes")]
    upgrade_hashes: bool,
    #[serde(default)]
    unknown_recipients: UnknownRecipients,
    #[serde(default)]
    watch: ChangeDetection,
    #[serde(default)]
    shared_spool: bool,
    user: Option<String>,
    #[serde(default)]
    sandbox: Sandbox,
    transcripts: Option<PathBuf>,
    #[serde(default)]
    transcript_bodies: bool,
    #[serde(default)]
    listen: Vec<listener::Section>,
    tls: Option<tls::Section>,
    #[serde(default)]
    pop3: Pop3,
    #[serde(default)]
    http: Http,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    metrics: Metrics,
    #[serde(default)]
    limits: Limits,
}

impl File {
    /// All paths that the file names, with their keys.
    fn paths(&self) -> impl Iterator<Item = (String, &Path)> {
        let log = match &self.log.destination {
            Destination::File(path) | Destination::Syslog(path) => Some(path),
            Destination::Stderr => None,
        };
        let paths = [
            ("spool", Some(&self.spool)),
            ("accounts", Some(&self.accounts)),
            ("aliases", self.aliases.as_ref()),
            ("transcripts", self.transcripts.as_ref()),
            ("log.destination", log),
            ("metrics.file", self.metrics.file.as_ref()),
        ];
        let paths = paths.into_iter().filter_map(|(key, path)| Some((key, path?)));
        let pair = self.tls.iter().flat_map(tls::Section::paths);
        let sockets = self.listen.iter().enumerate();
        let sockets =
            sockets.filter_map(|(n, listen)| Some((format!("listen.{n}.address"), listen.socket()?)));
        paths.chain(pair).map(|(key, path)| (key.to_owned(), path.as_path())).chain(sockets)
    }
}

/// The sections by their paths, with the names of their keys and of the sections in them.
pub(super) const SECTIONS: Sections = Sections(&[
    ("", names::<File>),
    (LISTENERS, names::<listener::Section>),
    ("tls", names::<tls::Section>),
    ("pop3", names::<Pop3>),
    ("http", names::<Http>),
    ("log", names::<Log>),
    ("metrics", names::<Metrics>),
    ("limits", names::<Limits>),
    ("limits.smtp", names::<SmtpLimits>),
    ("limits.pop3", names::<Pop3Limits>),
    ("limits.http", names::<HttpLimits>),
    ("limits.imap", names::<ImapLimits>),
    ("limits.connections", names::<ConnectionLimits>),
    ("limits.tls", names::<TlsLimits>),
    ("limits.auth", names::<AuthLimits>),
    ("limits.delivery", names::<DeliveryLimits>),
    ("limits.quota", names::<QuotaLimits>),
    ("limits.disk", names::<DiskLimits>),
    ("limits.index", names::<IndexLimits>),
    ("limits.spool", names::<SpoolLimits>),
    ("limits.transcripts", names::<TranscriptLimits>),
]);

/// Parses and checks a text. Relative paths in it are relative to `directory`. Returns a warning for each name of an
/// earlier version too.
pub(super) fn read(text: &str, directory: &Path) -> Result<(Config, Vec<String>), ConfigError> {
    let mut document = DeTable::parse(text)?;
    let warnings = upgrade::apply(document.get_mut())?;
    SECTIONS.check(document.get_ref())?;
    let file = File::deserialize(Deserializer::from(document))?;
    paths::check(file.paths(), directory)?;
    let credentials = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let tls = file.tls.map(|section| section.pair(directory, credentials.as_deref()));
    let listen = file.listen.into_iter().enumerate();
    let listen = listen.map(|(n, section)| section.listen(n, directory, tls.is_some()));
    let config = Config {
        hostname: if file.hostname.is_ascii() { file.hostname } else { domain(&file.hostname) },
        domains: file.domains.iter().map(|name| domain(name)).collect(),
        spool: directory.join(file.spool),
        accounts: directory.join(file.accounts),
        aliases: file.aliases.map(|path| directory.join(path)),
        upgrade_hashes: file.upgrade_hashes,
        unknown_recipients: file.unknown_recipients,
        watch: file.watch,
        shared_spool: file.shared_spool,
        user: file.user,
        sandbox: file.sandbox,
        transcripts: file.transcripts.map(|path| directory.join(path)),
        transcript_bodies: file.transcript_bodies,
        listen: listen.collect::<Result<_, ConfigError>>()?,
        pop3: file.pop3,
        http: Http { hosts: http_hosts::canonical(&file.http.hosts) },
        tls,
        log: Log { destination: file.log.destination.relative_to(directory), ..file.log },
        metrics: Metrics { file: file.metrics.file.map(|path| directory.join(path)), ..file.metrics },
        development: None,
        limits: file.limits,
    };
    config.check()?;
    Ok((config, warnings))
}

fn default_spool() -> PathBuf {
    DEFAULT_SPOOL.into()
}

fn yes() -> bool {
    true
}

fn default_accounts() -> PathBuf {
    ACCOUNTS.into()
}

/// The spool of a configuration that names none, beside the file.
pub(super) const DEFAULT_SPOOL: &str = "spool";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        config::{
            ListenerConfig, Networks, Persona, Service, TlsMode,
            tests::{GOOD, load},
        },
        limits::Size,
        proto::{dot::LineEndings, pop3, smtp, syntax::Syntax},
    };

    #[test]
    fn a_good_file_is_read_and_completed_with_defaults() {
        let (config, _) = read(GOOD, Path::new("/etc/restante")).map_err(|mistake| mistake.why).unwrap();
        let listen = |protocol, address: &str, line_endings, persona| ListenerConfig {
            protocol,
            address: address.parse().unwrap(),
            socket_group: None,
            line_endings,
            syntax: Syntax::Forgiving,
            persona,
            strict: false,
            tls: TlsMode::None,
            auth_allow_cleartext: false,
            trusted_networks: Networks::default(),
            proxy_networks: Networks::default(),
            imap_capabilities: Vec::new(),
        };
        let smtp = Persona::Smtp(smtp::Persona::Modern);
        let rfc1081 = Persona::Pop3(pop3::Persona::Rfc1081);
        let expected = Config {
            hostname: "mx.example.test".into(),
            domains: vec!["example.test".into(), "second.test".into()],
            spool: "/etc/restante/spool".into(),
            accounts: "/etc/restante/users.json".into(),
            aliases: None,
            upgrade_hashes: true,
            unknown_recipients: UnknownRecipients::Reject,
            watch: ChangeDetection::Inotify,
            shared_spool: false,
            user: None,
            sandbox: Sandbox::Landlock,
            transcripts: None,
            transcript_bodies: false,
            listen: vec![
                listen(Service::Smtp, "127.0.0.1:2525", LineEndings::Strict, smtp),
                listen(Service::Pop3, "[::1]:1110", LineEndings::Lenient, rfc1081),
            ],
            pop3: Pop3 { expire: Some(pop3::Expire::Days(30)) },
            http: Http::default(),
            tls: None,
            log: Log::default(),
            metrics: Metrics::default(),
            development: None,
            limits: Limits {
                smtp: SmtpLimits { max_message_size: Size::mib(10), ..SmtpLimits::default() },
                ..Limits::default()
            },
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn h33_a_configuration_without_a_key_that_it_needs_comes_with_the_example() {
        for text in ["", "# nothing yet\n", "hostname = \"mx.example.test\"\n"] {
            let error = load(text).unwrap_err();
            assert!(error.contains("missing field `") && error.contains("examples/restante.toml"), "{error}");
        }
    }

    #[test]
    fn w08_domains_are_read_in_any_form() {
        let text = GOOD.replace("\"second.test\"", "\"Bu\u{308}cher.test\", \"XN--F-1ga.test\"");
        let (config, _) = read(&text, Path::new("/")).map_err(|mistake| mistake.why).unwrap();
        assert_eq!(config.domains[1..], ["xn--bcher-kva.test", "xn--f-1ga.test"]);
        let text = GOOD.replace("mx.example.test", "mx.bücher.test");
        let (config, _) = read(&text, Path::new("/")).map_err(|mistake| mistake.why).unwrap();
        assert_eq!(config.hostname, "mx.xn--bcher-kva.test");
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let text =
            format!("spool = \"../mail\"\naccounts = \"/var/users.json\"\naliases = \"aliases\"\n{GOOD}");
        let (config, _) = read(&text, Path::new("/etc/restante")).map_err(|mistake| mistake.why).unwrap();
        assert_eq!(config.spool, Path::new("/etc/restante/../mail"));
        assert_eq!(config.accounts, Path::new("/var/users.json"));
        assert_eq!(config.aliases.as_deref(), Some(Path::new("/etc/restante/aliases")));
    }

    #[test]
    fn a_mistake_is_told_with_line_column_key_and_accepted_form() {
        for (good, bad, told) in [
            (
                "mx.example.test",
                "mx example",
                ", line 2, column 12: hostname: \"mx example\" is not a host name",
            ),
            ("\"second.test\"", "\"é_\"", ", line 3, column 28: domains: \"é_\" is not a domain"),
            (
                "\"second.test\"",
                "5",
                ", line 3, column 28: domains: invalid type: integer `5`, expected a text in quotes",
            ),
            ("second.test", "[127.0.0.1]", "is not a domain: write it like \"example.test\""),
            ("[\"Example.test\", \"second.test\"]", "[]", ", line 3, column 11: domains: at least one"),
            (
                "[\"Example.test\", \"second.test\"]",
                "\"x\"",
                "domains: invalid type: string \"x\", expected a list",
            ),
            ("domains", "domain", ", line 3, column 1: unknown key `domain`: did you mean `domains`?"),
            ("hostname = \"mx.example.test\"", "", ", line 1, column 1: missing field `hostname`"),
            (
                "\"smtp\"",
                "\"gopher\"",
                ", line 6, column 12: listen.protocol: unknown value `gopher`, expected one of",
            ),
            (
                "127.0.0.1:2525",
                "localhost",
                ", line 7, column 11: listen.address: \"localhost\" is not an address",
            ),
            (
                "127.0.0.1:2525",
                "[::1]:1110",
                ", line 11, column 11: listen.address: [::1]:1110 is taken by another",
            ),
            ("address = \"127.0.0.1:2525\"", "", ", line 5, column 1: listen: missing field `address`"),
            (
                "lenient",
                "sloppy",
                ", line 12, column 16: listen.line_endings: unknown value `sloppy`, expected one of",
            ),
            (
                "rfc1081",
                "rfc821",
                ", line 13, column 11: listen.persona: unknown value `rfc821`, expected one of `rfc1081`",
            ),
            (
                "30 days",
                "30",
                ", line 16, column 10: pop3.expire: \"30\" is not a time to keep mail: write \"never\", \"0\"",
            ),
            ("expire", "expires", ", line 16, column 1: unknown key `expires`: did you mean `expire`?"),
            (
                "10 MiB",
                "5 MB",
                ", line 19, column 20: limits.smtp.max_message_size: \"5 MB\" is not a size: write it like \"50 MiB\"",
            ),
            (
                "10 MiB",
                "1023",
                "limits.smtp.max_message_size: 1023 B is out of range: from 1 KiB to 1024 GiB",
            ),
            (
                "hostname =",
                "unknown_recipients = 5\nhostname =",
                ", line 2, column 22: unknown_recipients: expected a text in quotes",
            ),
            (
                "\"10 MiB\"",
                "5",
                "limits.smtp.max_message_size: invalid type: integer `5`, expected a size in quotes",
            ),
            (
                "max_message_size = \"10 MiB\"",
                "workers = 1",
                ", line 19, column 1: unknown key `workers`: it belongs into [limits.auth], or it belongs into [limits.disk]",
            ),
            (
                "[limits.smtp]\nmax_message_size = \"10 MiB\"",
                "[limits.disk]\nworkers = 0",
                "line 19, column 11: limits.disk.workers: 0 is out of range: from 1 to 256",
            ),
            (
                "max_message_size = \"10 MiB\"",
                "max_recipients = -1",
                "limits.smtp.max_recipients: invalid value: integer `-1`, expected a whole",
            ),
            (
                "max_message_size = \"10 MiB\"",
                "command_timeout = \"0s\"",
                "limits.smtp.command_timeout: 0s is out of range: from 1s to 1year",
            ),
            (
                "[limits.smtp]\nmax_message_size = \"10 MiB\"",
                "[limits]\ndelivery.spill_threshold = \"257 MiB\"",
                "from 1 KiB to 256 MiB",
            ),
            (
                "[limits.smtp]",
                "[limits.smtp",
                ", line 18, column 13: unclosed table, expected `]`: [limits.smtp",
            ),
            ("[limits.smtp]", "hostname = \"x\"\n[hostname]", "line 1"),
            (
                "[limits.smtp]",
                "[metrics]\nfile = \"\"\n[limits.smtp]",
                "metrics.file: the path is empty: write one",
            ),
            (
                "hostname =",
                "user = 99999\nhostname =",
                "user: invalid type: integer `99999`, expected a text in quotes",
            ),
            (
                "hostname =",
                "shared_spool = \"yes\"\nhostname =",
                "shared_spool: invalid type: string \"yes\", expected true or false, without quotes",
            ),
            ("hostname =", "spool = \"\"\nhostname =", ", line 2, column 9: spool: the path is empty"),
            (
                "[limits.smtp]",
                "[tls]\ncertificate = \"c.pem\"\nkey = \"\"\n[limits.smtp]",
                ", line 20, column 7: tls.key: the path is empty",
            ),
        ] {
            let text = GOOD.replacen(good, bad, 1);
            assert_ne!(text, GOOD, "{good}");
            let error = load(&text).unwrap_err();
            assert!(error.contains(told), "{told:?} is not in {error:?}");
        }
    }

    #[test]
    fn a_configuration_without_listeners_is_refused() {
        let error = load("hostname = \"x\"\ndomains = [\"x\"]").unwrap_err();
        assert!(error.contains("listen: at least one listener is needed"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(at in 0..GOOD.len(), junk in "[\\PC\n\"\\[\\]={}.#é]{0,8}") {
            let text = format!("{}{junk}{}", &GOOD[..at], &GOOD[at..]);
            if let Err(mistake) = read(&text, Path::new("/")) {
                prop_assert!(!mistake.locate(Path::new("x"), &text).to_string().is_empty());
            }
        }
    }
}
