//! Reads the configuration of an earlier version as one of today.
//!
//! The rule: from 0.2.0 on, every configuration that an earlier version has accepted loads, and means the same. Each
//! old name in it gives one warning.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::ConfigError,
    renamed::{KEYS, LISTENER_KEYS, Rename, RenamedValue, VALUES},
};

/// Gives the keys and values of a file their names of today. Returns a sentence for each old one, in the order of the
/// file.
///
/// # Errors
/// The file has a key under both names.
pub(super) fn apply(document: &mut DeTable<'_>) -> Result<Vec<String>, ConfigError> {
    let mut old = Vec::new();
    rename(document, "", KEYS, VALUES, &mut old)?;
    if let Some(DeValue::Array(listeners)) = document.get_mut("listen").map(Spanned::get_mut) {
        for (n, listener) in listeners.iter_mut().enumerate() {
            if let DeValue::Table(listener) = listener.get_mut() {
                rename(listener, &format!("listen.{n}."), LISTENER_KEYS, &[], &mut old)?;
            }
        }
    }
    old.sort_by_key(|(at, _)| *at);
    let mut warnings = Vec::new();
    for (_, warning) in old {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    Ok(warnings)
}

/// Renames keys and values below `home`, whose path ends with a dot unless it is empty.
fn rename(
    home: &mut DeTable<'_>,
    path: &str,
    keys: &[Rename],
    values: &[RenamedValue],
    old: &mut Vec<(usize, String)>,
) -> Result<(), ConfigError> {
    // All are taken out first, because `connections` has become the name of a section.
    let mut taken = Vec::new();
    for (key, new) in keys {
        if let Some((span, value)) = take(home, key) {
            taken.push((key, new, span, value));
        }
    }
    let section = if path.is_empty() { "" } else { "listen." };
    for (key, new, span, value) in taken {
        for name in *new {
            if !put(home, name, &span, value.clone()) {
                let why = format!(
                    "this is the old name of {section}{name}, which is set too: remove {section}{key}"
                );
                return Err(ConfigError::at(format!("{path}{key}"), why));
            }
        }
        let new: Vec<_> = new.iter().map(|name| format!("{section}{name}")).collect();
        old.push((span.start, format!("{section}{key} is named {} now", new.join(" and "))));
    }
    for (key, before, now) in values {
        let Some(value) = home.get_mut(*key) else { continue };
        let start = value.span().start;
        if let DeValue::String(text) = value.get_mut()
            && *text == *before
        {
            *text = (*now).into();
            old.push((start, format!("{section}{key} = {before:?} is written {now:?} now")));
        }
    }
    Ok(())
}

/// Takes a key that is not a section out of the file.
fn take<'i>(home: &mut DeTable<'i>, path: &str) -> Option<(Range<usize>, Spanned<DeValue<'i>>)> {
    let (table, name) = match path.rsplit_once('.') {
        Some((section, name)) => match home.get_mut(section)?.get_mut() {
            DeValue::Table(table) => (table, name),
            _ => return None,
        },
        None => (home, path),
    };
    if table.get(name)?.get_ref().is_table() {
        return None;
    }
    let (key, value) = table.remove_entry(name)?;
    Some((key.span(), value))
}

/// Sets a key, and makes its sections. Returns false if it is set already.
fn put<'i>(
    home: &mut DeTable<'i>,
    path: &'static str,
    span: &Range<usize>,
    value: Spanned<DeValue<'i>>,
) -> bool {
    let (sections, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut table = home;
    for section in sections.split('.').filter(|section| !section.is_empty()) {
        if !table.contains_key(section) {
            let empty = Spanned::new(span.clone(), DeValue::Table(DeTable::new()));
            table.insert(Spanned::new(span.clone(), section.into()), empty);
        }
        match table.get_mut(section).map(Spanned::get_mut) {
            Some(DeValue::Table(inner)) => table = inner,
            _ => return true, // reading the file reports a section that is none
        }
    }
    if table.contains_key(name) {
        return false;
    }
    table.insert(Spanned::new(span.clone(), name.into()), value);
    true
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use proptest::prelude::*;

    use super::*;
    use crate::config::{
        Config, ConfigText,
        error::find,
        schema::{SECTIONS, read},
        tests::{GOOD, load},
    };

    /// The configurations of all versions: tests/configurations/README.md.
    fn configurations() -> Vec<(Vec<u32>, PathBuf)> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configurations");
        let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let version = |path: PathBuf| {
            let number = path.file_stem()?.to_str()?.strip_prefix("configuration-")?.to_owned();
            Some((number.split('.').map(|part| part.parse().unwrap()).collect(), path))
        };
        let mut all: Vec<_> = paths.filter_map(version).collect();
        all.sort();
        all
    }

    fn load_file(path: &Path) -> (Config, ConfigText) {
        Config::read(path).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn every_configuration_of_an_earlier_version_loads() {
        let all = configurations();
        assert!(all.len() >= 2);
        for (_, path) in &all {
            load_file(path);
        }
        let (_, newest) = all.last().unwrap();
        assert_eq!(load_file(newest).1.renamed(), [] as [&str; 0]);
    }

    #[test]
    fn a_configuration_of_0_1_means_what_the_same_one_of_0_2_means() {
        let [old, mut new] = [[0, 1], [0, 2]].map(|wanted| {
            let (_, path) = configurations().into_iter().find(|(version, _)| *version == wanted).unwrap();
            load_file(&path)
        });
        new.0.listen.retain(|listen| listen.socket_group.is_none()); // a key without a default in words
        assert_eq!(old.0, new.0);
        let names = KEYS.len() + LISTENER_KEYS.len() + VALUES.len();
        assert_eq!(old.1.renamed().len(), names, "{:#?}", old.1.renamed());
    }

    #[test]
    fn the_configuration_of_this_version_has_every_key() {
        let (version, newest) = configurations().pop().unwrap();
        let ours =
            env!("CARGO_PKG_VERSION").split('.').map(|part| part.parse().unwrap()).collect::<Vec<u32>>();
        assert!(version.as_slice() >= &ours[..2], "{ours:?} has no file in tests/configurations");
        let text = fs::read_to_string(newest).unwrap();
        let document = DeTable::parse(&text).unwrap();
        let document = Spanned::new(document.span(), DeValue::Table(document.into_inner()));
        for key in SECTIONS.all() {
            let found = match key.strip_prefix("listen.") {
                Some(name) => (0..4).any(|n| find(&document, &format!("listen.{n}.{name}")).is_some()),
                None => find(&document, &key).is_some(),
            };
            assert!(found, "{key} is not in the newest of tests/configurations");
        }
    }

    #[test]
    fn the_manual_has_the_table_of_old_keys() {
        let manual = include_str!("../../docs/manual/upgrading.md");
        let (keys, _) = manual.split_once("\n## Log\n").unwrap();
        let rows: Vec<(&str, String)> = keys
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.strip_suffix("` |")?.split_once("` | `"))
            .map(|(old, new)| (old, new.replace('`', "")))
            .collect();
        let listeners =
            LISTENER_KEYS.iter().map(|(old, new)| (format!("listen.{old}"), format!("listen.{}", new[0])));
        let keys = KEYS.iter().map(|(old, new)| ((*old).to_owned(), new.join(", ")));
        for (old, new) in keys.chain(listeners) {
            assert!(rows.iter().any(|row| row.0 == old && row.1 == new), "| `{old}` | `{new}` |");
        }
        assert_eq!(rows.len(), KEYS.len() + LISTENER_KEYS.len());
    }

    #[test]
    fn every_new_name_exists_and_no_old_one_does() {
        let all: Vec<String> = SECTIONS.all().collect();
        for (old, new) in KEYS {
            new.iter().for_each(|new| assert!(all.iter().any(|key| key == new), "{new}"));
            assert!(!all.iter().any(|key| key == old), "{old}");
        }
        for (old, new) in LISTENER_KEYS {
            let [old, new] = [*old, new[0]].map(|name| format!("listen.{name}"));
            assert!(all.contains(&new) && !all.contains(&old), "{old} {new}");
        }
    }

    #[test]
    fn a_mistake_in_an_old_key_is_where_it_stands() {
        let old = GOOD.replace("[limits.smtp]\nmax_message_size", "[limits]\nmessage");
        load(&old).unwrap();
        for (good, bad, told) in [
            ("10 MiB", "5 MB", ", line 19, column 11: limits.message: \"5 MB\" is not a size"),
            ("10 MiB", "1023", ", line 19, column 11: limits.message: 1023 B is out of range"),
            (
                "message = \"10 MiB\"",
                "connections = -1",
                ", line 19, column 15: limits.connections: invalid value",
            ),
            ("message = \"10 MiB\"", "errors = \"x\"", ", line 19, column 10: limits.errors: invalid type"),
            (
                "protocol = \"smtp\"",
                "trusted = 5\nprotocol = \"smtp\"",
                ", line 6, column 11: listen.trusted: invalid",
            ),
            (
                "protocol = \"smtp\"",
                "plaintext_auth = true\nprotocol = \"smtp\"",
                ", line 6, column 18: listen.plaintext_auth: smtp has no logins",
            ),
        ] {
            let text = old.replacen(good, bad, 1);
            assert_ne!(text, old, "{good}");
            let error = load(&text).unwrap_err();
            assert!(error.starts_with(told), "{told:?} is not in {error:?}");
        }
    }

    #[test]
    fn a_key_under_both_names_is_refused() {
        let error = |text: &str| load(text).unwrap_err();
        let both = format!("{GOOD}\n[limits]\nmessage = \"9 MiB\"\n");
        assert_eq!(
            error(&both),
            ", line 22, column 11: limits.message: this is the old name of limits.smtp.max_message_size, which is set \
             too: remove limits.message"
        );
        let both = GOOD.replacen("[[listen]]", "[[listen]]\npedantic = true\nstrict = true", 1);
        let told =
            ", line 6, column 12: listen.pedantic: this is the old name of listen.strict, which is set too";
        assert!(error(&both).starts_with(told), "{}", error(&both));
        let both = format!("{GOOD}\n[limits]\nerrors = 5\npop3.hard_error_limit = 5\n");
        assert!(error(&both).contains("old name of limits.pop3.hard_error_limit"), "{}", error(&both));
        // An old key with the name of a section of today.
        let both = format!("{GOOD}\n[limits]\nconnections = 5\n[limits.connections]\nmax = 5\n");
        let told = "[limits.connections]: the key limits.connections is named limits.connections.max now";
        assert!(error(&both).starts_with(", line 23, ") && error(&both).contains(told), "{}", error(&both));
    }

    #[test]
    fn each_old_name_is_told_once_in_the_order_of_the_file() {
        let text = GOOD.replace("[[listen]]", "[[listen]]\nproxy_protocol = []\ntrusted = []")
            + "\n[limits]\nerrors = 9\nconnections = 7\nconnections_per_address = 3\n";
        let (config, told) =
            read(&format!("unknown = \"refuse\"\n{text}"), Path::new("/")).map_err(|e| e.why).unwrap();
        assert_eq!(
            told,
            [
                "unknown is named unknown_recipients now",
                "unknown_recipients = \"refuse\" is written \"reject\" now",
                "listen.proxy_protocol is named listen.proxy_networks now",
                "listen.trusted is named listen.trusted_networks now",
                "limits.errors is named limits.smtp.hard_error_limit and limits.pop3.hard_error_limit now",
                "limits.connections is named limits.connections.max now",
                "limits.connections_per_address is named limits.connections.max_per_address now",
            ]
        );
        assert_eq!((config.limits.connections.max, config.limits.connections.max_per_address), (7, 3));
        assert_eq!((config.limits.smtp.hard_error_limit, config.limits.pop3.hard_error_limit), (9, 9));
    }

    const CONFIGURATION_0_1: &str = include_str!("../../tests/configurations/configuration-0.1.toml");

    /// Some lines of `[limits]` of 0.1, in any order.
    fn old_limits() -> impl Strategy<Value = Vec<&'static str>> {
        let (_, limits) = CONFIGURATION_0_1.split_once("\n[limits]\n").unwrap();
        let lines: Vec<&str> = limits.lines().collect();
        prop::sample::subsequence(lines.clone(), 0..=lines.len()).prop_shuffle()
    }

    proptest! {
        #[test]
        fn any_old_keys_in_any_order_mean_what_the_new_ones_mean(lines in old_limits()) {
            let mut new = String::new();
            for line in &lines {
                let (key, value) = line.split_once(" = ").unwrap();
                let (_, names) = KEYS.iter().find(|(old, _)| old.strip_prefix("limits.") == Some(key)).unwrap();
                names.iter().for_each(|name| new.push_str(&format!("{name} = {value}\n")));
            }
            let good = GOOD.replace("[limits.smtp]\nmax_message_size = \"10 MiB\"\n", "");
            let old = load(&format!("{good}[limits]\n{}\n", lines.join("\n"))).unwrap();
            prop_assert_eq!(old.limits, load(&(new + &good)).unwrap().limits);
        }

        #[test]
        fn no_text_breaks_the_reader_of_old_keys(
            at in 0..CONFIGURATION_0_1.len(), junk in "[\\PC\n\"\\[\\]={}.#é]{0,8}",
        ) {
            let text = format!("{}{junk}{}", &CONFIGURATION_0_1[..at], &CONFIGURATION_0_1[at..]);
            if let Err(mistake) = read(&text, Path::new("/")) {
                prop_assert!(!mistake.locate(Path::new("x"), &text).to_string().is_empty());
            }
        }
    }
}
