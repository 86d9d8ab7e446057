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
    Deserialize, Serialize, Serializer,
    de::{IntoDeserializer, value},
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

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smtp => "smtp",
            Self::Pop3 => "pop3",
        })
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
        if domain(&self.hostname).is_none() {
            let why = format!("{:?} is not a host name: write it like \"mx.example.test\"", self.hostname);
            return Err(Mistake::at("hostname", why));
        }
        if self.domains.is_empty() {
            return Err(Mistake::at("domains", "at least one is needed, like [\"example.test\"]"));
        }
        for (n, name) in self.domains.iter().enumerate() {
            if domain(name).is_none() {
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
                    "{address} is not on loopback (127.0.0.1, [::1]), and where unknown users get mailboxes \
                     any password opens any mailbox: listen on loopback, or set unknown = \"refuse\""
                ));
            }
        }
        check_limits(&self.limits)
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
    address: SocketAddr,
    #[serde(default)]
    line_endings: LineEndings,
    persona: Option<String>,
}

fn read(text: &str, directory: &Path) -> Result<Config, Mistake> {
    let file: File = toml::from_str(text)?;
    let listen = file.listen.into_iter().enumerate().map(|(n, listen)| {
        let persona = persona(listen.protocol, listen.persona.as_deref());
        let persona = persona.map_err(|why| Mistake::at(format!("listen.{n}.persona"), why.to_string()))?;
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

/// The name of a domain, if it is one.
fn domain(name: &str) -> Option<&str> {
    let address = Address::parse(&format!("postmaster@{name}")).ok()?;
    address.domain().is_some_and(|domain| !domain.starts_with('[')).then_some(name)
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
    Ok(())
}

fn within<T: PartialOrd + fmt::Display>(key: &str, value: T, least: T, most: T) -> Result<(), Mistake> {
    if least <= value && value <= most {
        return Ok(());
    }
    Err(Mistake::at(format!("limits.{key}"), format!("{value} is out of range: from {least} to {most}")))
}

/// Something wrong in a text: where, and why.
struct Mistake {
    at: At,
    why: String,
}

enum At {
    /// The value of this key: `listen.0.address`.
    Key(String),
    Span(Option<Range<usize>>),
}

impl Mistake {
    fn at(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { at: At::Key(key.into()), why: why.into() }
    }

    /// Finds out line, column and key.
    fn in_file(self, path: &Path, text: &str) -> Error {
        let document = DeTable::parse(text).ok().map(|table| {
            let span = table.span();
            Spanned::new(span, DeValue::Table(table.into_inner()))
        });
        let (key, offset) = match self.at {
            At::Key(key) => {
                let offset = document.as_ref().map_or(0, |document| span_of(document, &key).start);
                (Some(key), offset)
            }
            At::Span(span) => {
                let offset = span.map_or(0, |span| span.start);
                (document.as_ref().and_then(|document| key_at(document, offset)), offset)
            }
        };
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Error::Wrong {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            key,
            why: self.why,
        }
    }
}

impl From<toml::de::Error> for Mistake {
    fn from(error: toml::de::Error) -> Self {
        Self { at: At::Span(error.span()), why: error.message().trim_end().replace('\n', ", ") }
    }
}

type Node<'a> = Spanned<DeValue<'a>>;

/// The named or numbered parts of a value.
fn parts<'a>(node: &'a Node<'_>) -> Vec<(String, &'a Node<'a>)> {
    match node.get_ref() {
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), value)).collect()
        }
        DeValue::Array(array) => array.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => Vec::new(),
    }
}

/// Where the value of a key is, or the nearest thing around it.
fn span_of(document: &Node<'_>, key: &str) -> Range<usize> {
    let found = key.split('.').try_fold(document, |node, name| {
        let part = parts(node).into_iter().find(|(part, _)| part == name);
        part.map(|(_, part)| part).ok_or(node)
    });
    found.unwrap_or_else(|around| around).span()
}

/// The key whose value is at an offset.
fn key_at(document: &Node<'_>, offset: usize) -> Option<String> {
    let (name, part) = parts(document).into_iter().find(|(_, part)| part.span().contains(&offset))?;
    Some(key_at(part, offset).map_or(name.clone(), |inner| format!("{name}.{inner}")))
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
        /// The key, with the sections it is in: `limits.message`.
        key: Option<String>,
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
                if let Some(key) = key {
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
