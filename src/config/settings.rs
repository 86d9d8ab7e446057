//! The configuration as values, in the order of the file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use super::{listener::ListenerConfig, metrics::Metrics};
use crate::{limits::Limits, logging::Log, net::certificate::CertificatePair, proto::pop3};

/// The configuration of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// The server's name in banners, headers and file names.
    pub hostname: String,
    /// The domains that mail is accepted for, in lower case. The first completes names without a domain.
    pub domains: Vec<String>,
    /// The directory with the mailboxes, absolute.
    #[serde(serialize_with = "path_text")]
    pub spool: PathBuf,
    /// The accounts file, absolute. Not read with [`UnknownRecipients::Create`].
    #[serde(serialize_with = "path_text")]
    pub accounts: PathBuf,
    /// The aliases file, absolute, if configured. Not read with [`UnknownRecipients::Create`].
    #[serde(serialize_with = "optional_path_text", skip_serializing_if = "Option::is_none")]
    pub aliases: Option<PathBuf>,
    /// True if a right password replaces a hash of another server.
    pub upgrade_hashes: bool,
    /// Treatment of users without an account.
    pub unknown_recipients: UnknownRecipients,
    /// The way to learn of changes by other programs.
    pub watch: ChangeDetection,
    /// True if other servers may use the same spool at the same time.
    pub shared_spool: bool,
    /// User name or number that the server changes to when started as root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Confinement of the process, entered before it serves.
    pub sandbox: Sandbox,
    /// The directory of transcripts, absolute, if configured.
    #[serde(serialize_with = "optional_path_text", skip_serializing_if = "Option::is_none")]
    pub transcripts: Option<PathBuf>,
    /// True if transcripts include message data.
    pub transcript_bodies: bool,
    /// The sections `[[listen]]`, at least one.
    pub listen: Vec<ListenerConfig>,
    /// Settings of all POP3 listeners.
    pub pop3: Pop3,
    /// Settings of all HTTP listeners.
    pub http: Http,
    /// Certificate and key of all listeners with TLS.
    #[serde(serialize_with = "tls_section")]
    pub tls: Option<CertificatePair>,
    /// Destination and level of the log.
    pub log: Log,
    /// File and interval of the metrics.
    pub metrics: Metrics,
    /// The rights that only `restante dev` and the testing library give. Not a key of the configuration file.
    #[serde(skip)]
    pub development: Option<Development>,
    /// The sections `[limits.…]`.
    pub limits: Limits,
}

/// The rights of a server for development, where every address of any domain has a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Development {
    /// True if addresses may request faults.
    pub faults_on_demand: bool,
    /// True if other machines may connect.
    pub network: bool,
}

/// The section `[pop3]`, for all POP3 listeners.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pop3 {
    /// Age at which messages expire; `None` keeps them and announces nothing.
    pub expire: Option<pop3::Expire>,
}

/// The section `[http]`, for all HTTP listeners.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Names under which browsers reach the server, beside its hostname and those of loopback.
    pub hosts: Vec<String>,
}

/// Treatment of users without an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownRecipients {
    /// Reject their mail with 550, and their logins.
    #[default]
    Reject,
    /// Give every address a mailbox that any password opens; on loopback only.
    Create,
}

/// The way to learn of changes by other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeDetection {
    /// By inotify, where the kernel supports it.
    #[default]
    Inotify,
    /// By checking the directories at each login and every minute.
    Poll,
}

/// Confinement of the process to the files that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    /// The kernel's Landlock, if available.
    #[default]
    Landlock,
    /// No confinement, for kernels or containers that do not allow it.
    Off,
}

fn path_text<S: Serializer>(path: &Path, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&path.to_string_lossy())
}

#[expect(clippy::ref_option, reason = "serde hands over references")]
fn optional_path_text<S: Serializer>(path: &Option<PathBuf>, s: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.to_string_lossy()).serialize(s)
}

fn tls_section<S: Serializer>(pair: &Option<CertificatePair>, s: S) -> Result<S::Ok, S::Error> {
    let Some(CertificatePair { certificate, key }) = pair else { return s.serialize_none() };
    let mut section = s.serialize_struct("tls", 2)?;
    section.serialize_field("certificate", &certificate.to_string_lossy())?;
    section.serialize_field("key", &key.to_string_lossy())?;
    section.end()
}

pub(super) const ACCOUNTS: &str = "users.json";
