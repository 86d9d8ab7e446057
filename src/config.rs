//! The configuration file: text in, checked values out.
//!
//! The rule: after [`Config::load`] nothing is a string that could be wrong, and whatever is wrong before
//! is told with file, line, column, key and accepted form.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IntoDeserializer, value},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    limits::{Limits, Size, Span},
    proto::{dot::LineEndings, pop3, smtp, smtp::address::Address},
};

/// What a server needs to know before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Our name in banners, headers and file names.
    pub hostname: String,
    /// The domains whose mail is taken in, in lower case. The first is meant where one is left out.
    pub domains: Vec<String>,
    /// The directory with the mailboxes, absolute.
    #[serde(serialize_with = "path_text")]
    pub spool: PathBuf,
    /// The file of accounts, absolute. Not read where [`Unknown::Create`].
    #[serde(serialize_with = "path_text")]
    pub accounts: PathBuf,
    /// What becomes of mail for users who are not in the accounts.
    pub unknown: Unknown,
    /// Where to listen, for what.
    pub listen: Vec<Listen>,
    /// Every bound.
    pub limits: Limits,
}

/// What becomes of mail for users who are not in the accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// It is refused.
    #[default]
    Refuse,
    /// Everybody has a mailbox, and any password opens it: on loopback only.
    Create,
}

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listen {
    /// What is spoken there.
    pub protocol: Service,
    /// Where it is; port 0 takes any that is free.
    pub address: SocketAddr,
    /// What ends a line.
    pub line_endings: LineEndings,
    /// Which generation of the protocol is spoken.
    pub persona: Persona,
}

/// The protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Mail in.
    Smtp,
    /// Mail out.
    Pop3,
}

impl Service {
    /// Its name in the configuration, the log and the ports file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Pop3 => "pop3",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A generation of one of the protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Persona {
    /// Of SMTP.
    Smtp(smtp::Persona),
    /// Of POP3.
    Pop3(pop3::Persona),
}

impl Config {
    /// Reads and checks a configuration file. Paths in it are relative to its directory.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let unreadable = |error| Error::Unreadable { path: path.to_owned(), error };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let directory = std::path::absolute(path).map_err(unreadable)?;
        let directory = directory.parent().unwrap_or(Path::new("/"));
        read(&text, directory).map_err(|mistake| mistake.in_file(path, &text))
    }

    /// The configuration of `restante dev`: everybody has a mailbox, sessions are patient with people, and
    /// the addresses must be loopback.
    pub fn development(spool: PathBuf, smtp: SocketAddr, pop3: SocketAddr) -> Result<Self, Error> {
        let spool = std::path::absolute(&spool).map_err(|error| Error::Unreadable { path: spool, error })?;
        let listen = |protocol, address, persona| Listen {
            protocol,
            address,
            line_endings: LineEndings::Lenient,
            persona,
        };
        let config = Self {
            hostname: "localhost".into(),
            domains: vec!["localhost".into()],
            accounts: spool.join(ACCOUNTS),
            spool,
            unknown: Unknown::Create,
            listen: vec![
                listen(Service::Smtp, smtp, Persona::Smtp(smtp::Persona::default())),
                listen(Service::Pop3, pop3, Persona::Pop3(pop3::Persona::default())),
            ],
            limits: Limits::for_development(),
        };
        config.check().map_err(|mistake| Error::Development(mistake.why))?;
        Ok(config)
    }

    /// All of it as a configuration file that reads back the same.
    pub fn effective(&self) -> String {
        toml::to_string(self).unwrap_or_else(|e| format!("# cannot be written as TOML: {e}\n"))
    }

    /// What the types let pass.
    fn check(&self) -> Result<(), Mistake> {
        if !is_domain(&self.hostname) {
            let why = format!("{:?} is not a host name: write it like \"mx.example.test\"", self.hostname);
            return Err(Mistake::at("hostname", why));
        }
        if self.domains.is_empty() {
            return Err(Mistake::at("domains", "at least one is needed, like [\"example.test\"]"));
        }
        for (n, name) in self.domains.iter().enumerate() {
            if !is_domain(name) {
                let why = format!("{name:?} is not a domain: write it like \"example.test\"");
                return Err(Mistake::at(format!("domains.{n}"), why));
            }
        }
        if self.listen.is_empty() {
            return Err(Mistake::at(
                "listen",
                "at least one listener is needed: a section [[listen]] with protocol and address",
            ));
        }
        for (n, listen) in self.listen.iter().enumerate() {
            let address = listen.address;
            let wrong = |why| Err(Mistake::at(format!("listen.{n}.address"), why));
            if address.port() != 0 && self.listen[..n].iter().any(|other| other.address == address) {
                return wrong(format!("{address} is taken by another listener: every one needs its own"));
            }
            if self.unknown == Unknown::Create && !address.ip().is_loopback() {
                return wrong(format!(
                    "{address} is not on loopback, like 127.0.0.1 and [::1]: any password opens any mailbox \
                     where unknown users get one (unknown = \"create\", restante dev)"
                ));
            }
        }
        check_limits(&self.limits)
    }
}

/// Why a configuration cannot be used. Prints as a sentence for the operator.
#[derive(Debug)]
pub enum Error {
    /// The file cannot be read.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Something in the file is wrong.
    Wrong {
        /// Which file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
        /// The key, with the sections it is in: `limits.message`. Empty where the file is no TOML.
        key: String,
        /// What is wrong, and what is accepted.
        why: String,
    },
    /// `restante dev` was asked for something that it does not do.
    Development(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::Wrong { path, line, column, key, why } => {
                write!(f, "{}, line {line}, column {column}: ", path.display())?;
                if !key.is_empty() {
                    write!(f, "{key}: ")?;
                }
                f.write_str(why)
            }
            Self::Development(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// The file, before its values are checked against each other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    hostname: String,
    domains: Vec<String>,
    #[serde(default = "default_spool")]
    spool: PathBuf,
    #[serde(default = "default_accounts")]
    accounts: PathBuf,
    #[serde(default)]
    unknown: Unknown,
    #[serde(default)]
    listen: Vec<FileListen>,
    #[serde(default)]
    limits: Limits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileListen {
    protocol: Service,
    #[serde(deserialize_with = "address")]
    address: SocketAddr,
    #[serde(default)]
    line_endings: LineEndings,
    persona: Option<String>,
}

fn read(text: &str, directory: &Path) -> Result<Config, Mistake> {
    let file: File = toml::from_str(text)?;
    let listen = file.listen.into_iter().enumerate().map(|(n, listen)| {
        let persona = persona(listen.protocol, listen.persona.as_deref());
        let persona = persona.map_err(|e| Mistake::at(format!("listen.{n}.persona"), e.to_string()))?;
        let FileListen { protocol, address, line_endings, .. } = listen;
        Ok(Listen { protocol, address, line_endings, persona })
    });
    let config = Config {
        hostname: file.hostname,
        domains: file.domains.iter().map(|name| name.to_ascii_lowercase()).collect(),
        spool: directory.join(file.spool),
        accounts: directory.join(file.accounts),
        unknown: file.unknown,
        listen: listen.collect::<Result<_, Mistake>>()?,
        limits: file.limits,
    };
    config.check()?;
    Ok(config)
}

fn persona(protocol: Service, name: Option<&str>) -> Result<Persona, value::Error> {
    fn named<'a, P: Deserialize<'a> + Default>(name: Option<&'a str>) -> Result<P, value::Error> {
        name.map_or(Ok(P::default()), |name| P::deserialize(name.into_deserializer()))
    }
    match protocol {
        Service::Smtp => named(name).map(Persona::Smtp),
        Service::Pop3 => named(name).map(Persona::Pop3),
    }
}

fn is_domain(name: &str) -> bool {
    !name.starts_with('[') && Address::parse(&format!("postmaster@{name}")).is_ok()
}

#[rustfmt::skip]
fn check_limits(l: &Limits) -> Result<(), Mistake> {
    const YEAR: Span = Span::secs(366 * 24 * 3600);
    const TIB: Size = Size::mib(1 << 20);
    for (key, value, least) in [
        ("smtp_idle", l.smtp_idle, 1),
        ("smtp_greeting", l.smtp_greeting, 1),
        ("data_silence", l.data_silence, 1),
        ("smtp_session", l.smtp_session, 1),
        ("smtp_write", l.smtp_write, 1),
        ("pop3_idle", l.pop3_idle, 1),
        ("pop3_login", l.pop3_login, 1),
        ("pop3_write", l.pop3_write, 1),
        ("pop3_lock_wait", l.pop3_lock_wait, 0),
        ("failed_login_delay", l.failed_login_delay, 0),
        ("shutdown_grace", l.shutdown_grace, 0),
    ] {
        within(key, value, Span::secs(least), YEAR)?;
    }
    for (key, value, most) in [
        ("message", l.message, TIB),
        ("output_waiting", l.output_waiting, TIB),
        ("bodies_in_memory", l.bodies_in_memory, TIB),
        ("body_in_memory", l.body_in_memory, l.bodies_in_memory),
        ("read_chunk", l.read_chunk, TIB),
    ] {
        within(key, value, Size::kib(1), most)?;
    }
    for (key, value, least, most) in [
        ("smtp_line", l.smtp_line, 512, 1 << 20), // RFC 5321 section 4.5.3.1.4
        ("pop3_line", l.pop3_line, 255, 1 << 20), // RFC 2449 section 4
        ("line_discard", l.line_discard, 1, 1 << 30),
        ("recipients", l.recipients, 1, 1_000_000),
        ("recipients_unauthenticated", l.recipients_unauthenticated, 1, 1_000_000),
        ("password_queue", l.password_queue, 1, 1_000_000),
        ("turn_commands", l.turn_commands, 1, 1_000_000),
        ("turn_octets", l.turn_octets, 1, 1 << 30),
        ("delivery_queue", l.delivery_queue, 1, 1_000_000),
        ("delivery_batch", l.delivery_batch, 1, 1_000_000),
        ("work_queue", l.work_queue, 1, 1_000_000),
        ("disk_workers", l.disk_workers, 1, 256),
        ("password_workers", l.password_workers, 1, 256),
    ] {
        within(key, value, least, most)?;
    }
    within("data_rate", l.data_rate, 0, 1 << 30)
}

fn within<T: PartialOrd + fmt::Display>(key: &str, value: T, least: T, most: T) -> Result<(), Mistake> {
    if least <= value && value <= most {
        return Ok(());
    }
    Err(Mistake::at(format!("limits.{key}"), format!("{value} is out of range: from {least} to {most}")))
}

/// Something wrong in the file: where, and why.
struct Mistake {
    at: At,
    why: String,
}

enum At {
    /// The value of a key, the parts of a list by number: `listen.0.address`.
    Key(String),
    /// Bytes of the text.
    Text(Range<usize>),
}

impl Mistake {
    fn at(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { at: At::Key(key.into()), why: why.into() }
    }

    /// Finds out line, column and key.
    fn in_file(self, path: &Path, text: &str) -> Error {
        let document =
            DeTable::parse(text).map(|table| Node::new(table.span(), DeValue::Table(table.into_inner())));
        let upto = |offset| text.get(..offset).unwrap_or(text);
        let mut why = self.why;
        let (offset, key) = match (self.at, document) {
            (At::Key(key), Ok(document)) => (start_of(&document, &key), key),
            (At::Key(key), Err(_)) => (0, key),
            (At::Text(span), Ok(document)) => (span.start, key_at(&document, span.start).unwrap_or_default()),
            (At::Text(span), Err(_)) => {
                let line = upto(span.start).matches('\n').count();
                why = format!("{why}: {}", text.lines().nth(line).unwrap_or_default());
                (span.start, String::new())
            }
        };
        let before = upto(offset);
        Error::Wrong {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
            key: without_numbers(&key),
            why,
        }
    }
}

impl From<toml::de::Error> for Mistake {
    fn from(error: toml::de::Error) -> Self {
        // Words of Rust become words of the file.
        let why = error.message().trim_end().replace('\n', ", ").replace("a sequence", "a list in [ ]");
        let why = why.replace("expected usize", A_NUMBER).replace("expected u64", A_NUMBER);
        Self { at: At::Text(error.span().unwrap_or_default()), why }
    }
}

/// A value of the file, with where it is.
type Node<'a> = Spanned<DeValue<'a>>;

fn parts<'a>(node: &'a Node<'_>) -> Vec<(String, &'a Node<'a>)> {
    match node.get_ref() {
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), value)).collect()
        }
        DeValue::Array(array) => array.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => Vec::new(),
    }
}

/// Where the value of a key begins, or the nearest thing around it.
fn start_of(document: &Node<'_>, key: &str) -> usize {
    let mut node = document;
    for name in key.split('.') {
        match parts(node).into_iter().find(|(part, _)| part == name) {
            Some((_, part)) => node = part,
            None => break,
        }
    }
    node.span().start
}

/// The key whose value, or the section whose header, is at an offset.
fn key_at(node: &Node<'_>, offset: usize) -> Option<String> {
    parts(node).into_iter().find_map(|(name, part)| match key_at(part, offset) {
        Some(inner) => Some(format!("{name}.{inner}")),
        None => part.span().contains(&offset).then_some(name),
    })
}

/// `listen.0.address` as people call it: which one is told by the line.
fn without_numbers(key: &str) -> String {
    let names: Vec<_> =
        key.split('.').filter(|name| !name.starts_with(|c: char| c.is_ascii_digit())).collect();
    names.join(".")
}

fn address<'de, D: Deserializer<'de>>(d: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(d)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "{text:?} is not an address: write it like \"127.0.0.1:2525\" or \"[::1]:2525\""
        ))
    })
}

fn default_spool() -> PathBuf {
    "spool".into()
}

fn default_accounts() -> PathBuf {
    ACCOUNTS.into()
}

fn path_text<S: Serializer>(path: &Path, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&path.to_string_lossy())
}

const ACCOUNTS: &str = "users.json";
const A_NUMBER: &str = "expected a whole number, 0 or more";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = r#"
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

[limits]
message = "10 MiB"
"#;

    fn load(text: &str) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("restante.toml");
        fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|error| {
            let error = error.to_string();
            error.strip_prefix(path.to_str().unwrap()).expect(&error).to_owned()
        })
    }

    #[test]
    fn a_good_file_is_read_and_completed_with_defaults() {
        let config = read(GOOD, Path::new("/etc/restante")).map_err(|mistake| mistake.why).unwrap();
        let listen = |protocol, address: &str, line_endings, persona| Listen {
            protocol,
            address: address.parse().unwrap(),
            line_endings,
            persona,
        };
        let smtp = Persona::Smtp(smtp::Persona::Modern);
        let pop3 = Persona::Pop3(pop3::Persona::Rfc1081);
        let expected = Config {
            hostname: "mx.example.test".into(),
            domains: vec!["example.test".into(), "second.test".into()],
            spool: "/etc/restante/spool".into(),
            accounts: "/etc/restante/users.json".into(),
            unknown: Unknown::Refuse,
            listen: vec![
                listen(Service::Smtp, "127.0.0.1:2525", LineEndings::Strict, smtp),
                listen(Service::Pop3, "[::1]:1110", LineEndings::Lenient, pop3),
            ],
            limits: Limits { message: Size::mib(10), ..Limits::default() },
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let text = format!("spool = \"../mail\"\naccounts = \"/var/users.json\"\n{GOOD}");
        let config = read(&text, Path::new("/etc/restante")).map_err(|mistake| mistake.why).unwrap();
        assert_eq!(config.spool, Path::new("/etc/restante/../mail"));
        assert_eq!(config.accounts, Path::new("/var/users.json"));
    }

    #[test]
    fn the_effective_configuration_reads_back_the_same() {
        let config = load(GOOD).unwrap();
        assert_eq!(load(&config.effective()).unwrap(), config);
        let loopback = "127.0.0.1:0".parse().unwrap();
        let config = Config::development("spool".into(), loopback, loopback).unwrap();
        assert_eq!(load(&config.effective()).unwrap(), config);
    }

    #[test]
    fn the_example_is_good() {
        load(include_str!("../examples/restante.toml")).unwrap();
    }

    #[test]
    fn the_example_shows_every_limit_with_its_default() {
        let shown = include_str!("../examples/restante.toml").replace("\n# ", "\n");
        let shown: toml::Table = shown[shown.find("[limits]").unwrap()..].parse().unwrap();
        assert_eq!(shown["limits"], toml::Value::try_from(Limits::default()).unwrap());
    }

    #[test]
    fn a_mistake_is_told_with_line_column_key_and_accepted_form() {
        for (good, bad, told) in [
            (
                "mx.example.test",
                "mx example",
                ", line 2, column 12: hostname: \"mx example\" is not a host name",
            ),
            ("\"second.test\"", "\"é\"", ", line 3, column 28: domains: \"é\" is not a domain"),
            (
                "\"second.test\"",
                "5",
                ", line 3, column 28: domains: invalid type: integer `5`, expected a string",
            ),
            ("second.test", "[127.0.0.1]", "is not a domain: write it like \"example.test\""),
            ("[\"Example.test\", \"second.test\"]", "[]", ", line 3, column 11: domains: at least one"),
            (
                "[\"Example.test\", \"second.test\"]",
                "\"x\"",
                "domains: invalid type: string \"x\", expected a list",
            ),
            ("domains", "domain", ", line 3, column 1: unknown field `domain`, expected one of `hostname`, "),
            ("hostname = \"mx.example.test\"", "", ", line 1, column 1: missing field `hostname`"),
            (
                "\"smtp\"",
                "\"imap\"",
                ", line 6, column 12: listen.protocol: unknown variant `imap`, expected `smtp` or",
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
                ", line 12, column 16: listen.line_endings: unknown variant `sloppy`, expected one of",
            ),
            (
                "rfc1081",
                "rfc821",
                ", line 13, column 11: listen.persona: unknown variant `rfc821`, expected one of `rfc1081`",
            ),
            (
                "10 MiB",
                "5 MB",
                ", line 16, column 11: limits.message: \"5 MB\" is not a size: write it like \"50 MiB\"",
            ),
            ("10 MiB", "1023", "limits.message: 1023 B is out of range: from 1 KiB to 1024 GiB"),
            ("\"10 MiB\"", "5", "limits.message: invalid type: integer `5`, expected a size in quotes"),
            (
                "message = \"10 MiB\"",
                "workers = 1",
                ", line 16, column 1: unknown field `workers`, expected one of",
            ),
            (
                "message = \"10 MiB\"",
                "disk_workers = 0",
                "limits.disk_workers: 0 is out of range: from 1 to 256",
            ),
            (
                "message = \"10 MiB\"",
                "recipients = -1",
                "limits.recipients: invalid value: integer `-1`, expected a whole",
            ),
            (
                "message = \"10 MiB\"",
                "smtp_idle = \"0s\"",
                "limits.smtp_idle: 0s is out of range: from 1s to 1year",
            ),
            ("message = \"10 MiB\"", "body_in_memory = \"257 MiB\"", "from 1 KiB to 256 MiB"),
            ("[limits]", "[limits", ", line 15, column 8: unclosed table, expected `]`: [limits"),
            ("[limits]", "hostname = \"x\"\n[hostname]", "line 1"),
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

    #[test]
    fn limits_that_0_lifts_may_be_0() {
        let lifted = "errors = 0\nconnections = 0\ndata_rate = 0\nfailed_login_delay = \"0s\"";
        load(&GOOD.replace("message = \"10 MiB\"", lifted)).unwrap();
    }

    #[test]
    fn an_open_house_is_on_loopback_only() {
        let open = format!("unknown = \"create\"\n{GOOD}");
        assert_eq!(load(&open).unwrap().unknown, Unknown::Create);
        let error = load(&open.replace("[::1]", "[::]")).unwrap_err();
        assert!(
            error.contains(", line 12, column 11: listen.address: [::]:1110 is not on loopback"),
            "{error}"
        );
        load(&GOOD.replace("[::1]", "[::]")).unwrap();

        let develop =
            |smtp: &str| Config::development("x".into(), smtp.parse().unwrap(), "[::1]:1".parse().unwrap());
        assert!(develop("127.0.0.1:2525").unwrap().spool.is_absolute());
        assert!(develop("192.0.2.1:0").unwrap_err().to_string().contains("192.0.2.1:0 is not on loopback"));
        assert!(develop("[::1]:1").unwrap_err().to_string().contains("taken by another listener"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::load(Path::new("/nowhere/restante.toml")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/restante.toml"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(at in 0..GOOD.len(), junk in "[\\PC\n\"\\[\\]={}.#é]{0,8}") {
            let text = format!("{}{junk}{}", &GOOD[..at], &GOOD[at..]);
            if let Err(mistake) = read(&text, Path::new("/")) {
                prop_assert!(!mistake.in_file(Path::new("x"), &text).to_string().is_empty());
            }
        }
    }
}
