//! The settings that differ from the defaults.

use std::path::PathBuf;

use toml::{Table, Value};

use super::{
    ChangeDetection, Config, Http, ListenerConfig, Log, Metrics, Pop3, Sandbox, UnknownRecipients,
    error::LISTENERS,
};
use crate::{limits::Limits, proto::syntax::Syntax};

impl Config {
    /// A file with the settings that differ from the defaults, and those that have none. It reads back the same.
    pub fn differences(&self) -> String {
        let tables = (Table::try_from(self), Table::try_from(self.with_defaults()));
        let (Ok(ours), Ok(defaults)) = tables else { return self.effective() };
        let mut differing = differing(&ours, &defaults);
        if let (Some(Value::Array(ours)), Some(Value::Array(defaults))) =
            (ours.get(LISTENERS), defaults.get(LISTENERS))
        {
            let pairs = ours.iter().zip(defaults);
            let listeners =
                pairs.filter_map(|(ours, default)| Some(listener(ours.as_table()?, default.as_table()?)));
            differing.insert(LISTENERS.to_owned(), Value::Array(listeners.collect()));
        }
        lines_of(&differing, &self.effective())
    }

    /// The same services at the same addresses, and else only defaults. Paths depend on the place of the file, so they
    /// count as settings without a default.
    fn with_defaults(&self) -> Self {
        Self {
            hostname: String::new(),
            domains: Vec::new(),
            spool: PathBuf::new(),
            accounts: PathBuf::new(),
            aliases: None,
            upgrade_hashes: true,
            unknown_recipients: UnknownRecipients::default(),
            watch: ChangeDetection::default(),
            shared_spool: false,
            user: None,
            sandbox: Sandbox::default(),
            transcripts: None,
            transcript_bodies: false,
            listen: self.listen.iter().map(|listen| listen.with_defaults(self.tls.is_some())).collect(),
            pop3: Pop3::default(),
            http: Http::default(),
            tls: None,
            log: Log::default(),
            metrics: Metrics::default(),
            development: None,
            limits: Limits::default(),
        }
    }
}

/// The lines of a file for the keys in `table`: a table has no order of its own, and the file has that of the manual.
fn lines_of(table: &Table, file: &str) -> String {
    let (mut lines, mut header, mut listeners) = (String::new(), None, 0);
    let mut section = Some(table);
    for line in file.lines() {
        if let Some(path) = line.strip_prefix('[') {
            let path = path.trim_matches(['[', ']']);
            section = if path == LISTENERS {
                listeners += 1;
                table.get(path).and_then(|all| all.get(listeners - 1)).and_then(Value::as_table)
            } else {
                path.split('.').try_fold(table, |table, name| table.get(name)?.as_table())
            };
            header = Some(line);
        } else if let (Some((key, _)), Some(section)) = (line.split_once(" = "), section)
            && section.contains_key(key)
        {
            lines.extend(header.take().map(|header| format!("\n{header}\n")));
            lines += &format!("{line}\n");
        }
    }
    lines
}

/// A listener always has its service and its address.
fn listener(ours: &Table, default: &Table) -> Value {
    let mut default = default.clone();
    ["protocol", "address"].iter().for_each(|key| drop(default.remove(*key)));
    Value::Table(differing(ours, &default))
}

fn differing(ours: &Table, defaults: &Table) -> Table {
    let mut differing = Table::new();
    for (key, value) in ours {
        let value = match (value, defaults.get(key)) {
            (Value::Table(ours), Some(Value::Table(defaults))) => {
                let inner = self::differing(ours, defaults);
                (!inner.is_empty()).then_some(Value::Table(inner))
            }
            (value, default) => (default != Some(value)).then(|| value.clone()),
        };
        differing.extend(value.map(|value| (key.clone(), value)));
    }
    differing
}

impl ListenerConfig {
    fn with_defaults(&self, certificate: bool) -> Self {
        let syntax = if self.strict { Syntax::Exact } else { Syntax::Forgiving };
        Self { syntax, ..Self::new(self.protocol, self.address.clone(), certificate) }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{GOOD, load};

    #[test]
    fn only_what_differs_from_the_defaults_is_shown_and_it_reads_back_the_same() {
        let config = load(GOOD).unwrap();
        let shown = config.differences();
        assert_eq!(load(&shown).unwrap(), config, "{shown}");
        for part in [
            "hostname",
            "domains",
            "spool",
            "accounts",
            "protocol",
            "persona = \"rfc1081\"",
            "10 MiB",
            "expire",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
        for part in ["command_timeout", "sandbox", "strict", "persona = \"modern\"", "[log]", "[limits.disk]"]
        {
            assert!(!shown.contains(part), "{part} is in\n{shown}");
        }
    }
}
