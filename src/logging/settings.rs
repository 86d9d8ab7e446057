//! Destination and level of the log: the section `[log]` of the configuration.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use log::LevelFilter;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::limits::text_in_configuration;

/// Destination and level of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The file, stream or daemon that gets the lines.
    pub destination: Destination,
    /// Level, unless the command line sets another.
    #[serde(serialize_with = "level_text", deserialize_with = "level")]
    pub level: LevelFilter,
}

impl Default for Log {
    fn default() -> Self {
        Self { destination: Destination::Stderr, level: LevelFilter::Info }
    }
}

/// The destination of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard error, which is the journal under systemd.
    Stderr,
    /// The socket of a syslog daemon.
    Syslog(PathBuf),
    /// A file to append to.
    File(PathBuf),
}

impl Destination {
    /// Resolves a relative path against that directory.
    pub(crate) fn relative_to(self, directory: &Path) -> Self {
        match self {
            Self::Stderr => Self::Stderr,
            Self::Syslog(path) => Self::Syslog(directory.join(path)),
            Self::File(path) => Self::File(directory.join(path)),
        }
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stderr" => Ok(Self::Stderr),
            "syslog" => Ok(Self::Syslog(SYSLOG.into())),
            _ if text.ends_with('/') || !text.contains('/') => Err(format!(
                "{text:?} is not a destination of the log: write \"stderr\", \"syslog\", \"syslog:/path/of/its/socket\" or \
                 the path of a file, like \"/var/log/restante.log\" or \"./restante.log\""
            )),
            _ => Ok(text
                .strip_prefix("syslog:")
                .map_or(Self::File(text.into()), |path| Self::Syslog(path.into()))),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stderr => f.write_str("stderr"),
            Self::Syslog(path) if path == Path::new(SYSLOG) => f.write_str("syslog"),
            Self::Syslog(path) => write!(f, "syslog:{}", path.display()),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

text_in_configuration!(
    Destination,
    "a text in quotes, like \"stderr\", \"syslog\" or \"/var/log/restante.log\""
);

fn level_text<S: Serializer>(level: &LevelFilter, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&level.as_str().to_ascii_lowercase())
}

fn level<'de, D: Deserializer<'de>>(d: D) -> Result<LevelFilter, D::Error> {
    let text = String::deserialize(d)?;
    text.parse().map_err(|_| {
        let forms = "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\"";
        D::Error::custom(format!("{text:?} is not a level: write {forms}"))
    })
}

/// The usual socket of syslog daemons.
const SYSLOG: &str = "/dev/log";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_reads_back_what_it_prints() {
        for text in ["stderr", "syslog", "syslog:/run/log", "/var/log/restante.log", "./restante.log"] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        for bad in ["", "stdout", "restante.log", "/var/log/", "syslog:"] {
            assert!(bad.parse::<Destination>().unwrap_err().contains("\"syslog\""), "{bad}");
        }
        let below = "syslog:./log".parse::<Destination>().unwrap().relative_to(Path::new("/etc"));
        assert_eq!(below, Destination::Syslog("/etc/./log".into()));
    }
}
