//! The places of a server whose configuration has a mistake now: the server still runs with those that it read before.
//!
//! The rule: each line is read by itself, so that a mistake in another line does not matter.

use std::path::{Path, PathBuf};

use super::schema::DEFAULT_SPOOL;
use crate::{limits::MAX_CONFIG_FILE, open_regular::read_text_bounded};

/// The spool and the file of metrics of a configuration with a mistake, as far as its lines tell them.
#[derive(Debug, PartialEq, Eq)]
pub struct MistakenPlaces {
    /// The spool, or its default.
    pub spool: PathBuf,
    /// The file of metrics, if one is named.
    pub metrics: Option<PathBuf>,
}

impl MistakenPlaces {
    /// Reads the lines of a configuration file; `None` if it cannot be read.
    pub fn read(path: &Path) -> Option<Self> {
        let text = read_text_bounded(path, MAX_CONFIG_FILE.0).ok()?;
        let path = std::path::absolute(path).ok()?;
        Some(Self::in_lines(&text, path.parent().unwrap_or(Path::new("/"))))
    }

    fn in_lines(text: &str, directory: &Path) -> Self {
        let mut places = Self { spool: directory.join(DEFAULT_SPOOL), metrics: None };
        let mut section = "";
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            let value = |key: &str| {
                let table: toml::Table = line.strip_prefix(key).and_then(|_| line.parse().ok())?;
                table.get(key)?.as_str().map(|path| directory.join(path))
            };
            if section.is_empty()
                && let Some(spool) = value("spool")
            {
                places.spool = spool;
            } else if section.starts_with("[metrics]") {
                places.metrics = value("file").or(places.metrics);
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n44_the_lines_beside_a_mistake_tell_the_places() {
        for (text, spool, metrics) in [
            ("", "/etc/spool", None),
            ("hostnam = 1\nspool = \"mail\"\n", "/etc/mail", None),
            (
                "spool = '/srv/mail' # here\ndomains = [\n[metrics]\nfile = \"m.prom\"\nspool = \"no\"\n",
                "/srv/mail",
                Some("/etc/m.prom".into()),
            ),
        ] {
            let expected = MistakenPlaces { spool: spool.into(), metrics };
            assert_eq!(MistakenPlaces::in_lines(text, Path::new("/etc")), expected, "{text}");
        }
    }
}
