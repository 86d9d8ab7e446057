//! The names of all keys, and the advice for one that does not exist.

use serde::{
    Deserializer,
    de::{DeserializeOwned, Error as _, Visitor, value},
    forward_to_deserialize_any,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{ALL_KEYS, ConfigError, LISTENERS, LISTENERS_ARE_A_LIST},
    foreign_keys, renamed,
};
use crate::near_name::{is_begin, most_in_refused, slips};

/// The sections by their paths, with the names of their keys and of the sections in them.
pub(super) struct Sections(pub(super) &'static [(&'static str, Names)]);

type Names = fn() -> &'static [&'static str];

impl Sections {
    /// Checks that all keys of a file exist, and that its sections are sections.
    ///
    /// # Errors
    /// One does not or is not: the first in the order of the file.
    pub(super) fn check(&self, document: &DeTable<'_>) -> Result<(), ConfigError> {
        let mut errors = Vec::new();
        self.check_section(document, "", &mut errors);
        errors.sort_by_key(|(at, _)| *at);
        match errors.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    fn check_section(&self, table: &DeTable<'_>, path: &str, errors: &mut Vec<(usize, ConfigError)>) {
        let known = self.names_in(path).unwrap_or_default();
        for (key, value) in table {
            let (span, name) = (key.span(), key.get_ref().as_ref());
            let inner = joined(path, name);
            let why = match (value.get_ref(), inner == LISTENERS) {
                _ if !known.contains(&name) => match foreign_keys::advice(path, name, table) {
                    Some(advice) => format!("{}: {advice}", unknown(path, name, is_section(value))),
                    None => self.advice(path, name, is_section(value)),
                },
                _ if self.names_in(&inner).is_none() => continue,
                (DeValue::Table(table), false) => {
                    self.check_section(table, &inner, errors);
                    continue;
                }
                (DeValue::Array(array), true) => {
                    for element in array {
                        if let DeValue::Table(table) = element.get_ref() {
                            self.check_section(table, &inner, errors);
                        }
                    }
                    continue; // elements that are no tables are wrong types for the reader
                }
                (DeValue::Table(_), true) => LISTENERS_ARE_A_LIST.to_owned(),
                (_, true) => {
                    "each listener is a section of its own: [[listen]], and below it its keys".to_owned()
                }
                (DeValue::Array(_), false) => format!("this section stands once: write [{inner}]"),
                _ => format!("this is a section: write [{inner}], and below it its keys"),
            };
            errors.push((span.start, ConfigError::in_text(span, why)));
        }
    }

    /// The sentence for a key or section that does not exist.
    fn advice(&self, path: &str, name: &str, is_section: bool) -> String {
        let unknown = unknown(path, name, is_section);
        let all: Vec<Candidate> = self.candidates(is_section).collect();
        let elsewhere: Vec<String> =
            all.iter().filter(|known| known.typed == name).map(Candidate::place).collect();
        if !elsewhere.is_empty() {
            return format!("{unknown}: {}", elsewhere.join(", or "));
        }
        let near = all.iter().filter_map(|known| {
            let slips = slips(name, &known.typed, most_in_refused(name))?;
            Some((slips, known))
        });
        // Of two that are equally near, the one in this section.
        let near = near.min_by_key(|(slips, known)| (*slips, known.section != path)).map(|(_, known)| known);
        let is_begun = |known: &&Candidate| {
            known.section == path && known.name == known.typed && is_begin(name, &known.name)
        };
        match near.or_else(|| all.iter().find(is_begun)) {
            Some(known) if is_section => format!("{unknown}: did you mean {}?", header(&known.path())),
            Some(known) if known.section == path => format!("{unknown}: did you mean `{}`?", known.name),
            Some(known) => format!("{unknown}: did you mean `{}` {}?", known.name, known.within()),
            None => format!("{unknown}; {ALL_KEYS}"),
        }
    }

    /// All keys, or all sections, by the names of today and those of earlier versions.
    fn candidates(&self, sections: bool) -> impl Iterator<Item = Candidate> {
        let candidate = |typed: &str, section: &str, name: &str| {
            let is_section = self.names_in(&joined(section, name)).is_some();
            Candidate { typed: typed.into(), section: section.into(), name: name.into(), is_section }
        };
        let in_section = move |(section, names): &(&'static str, Names)| {
            let section = *section;
            // `delivery_timeout` is `timeout` in [limits.delivery].
            let subject = section.rsplit('.').next().unwrap_or_default();
            names().iter().flat_map(move |name| {
                [candidate(name, section, name), candidate(&format!("{subject}_{name}"), section, name)]
            })
        };
        let old = renamed::old_names().map(move |(old, new)| {
            let (section, name) = new.rsplit_once('.').unwrap_or(("", &new));
            candidate(old, section, name)
        });
        self.0.iter().flat_map(in_section).chain(old).filter(move |known| known.is_section == sections)
    }

    /// The paths of all keys that are not sections.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = String> {
        self.candidates(false).filter(|known| known.typed == known.name).map(|known| known.path())
    }

    fn names_in(&self, path: &str) -> Option<&'static [&'static str]> {
        self.0.iter().find(|(section, _)| *section == path).map(|(_, names)| names())
    }
}

/// The first words about a key or section that does not exist.
fn unknown(path: &str, name: &str, is_section: bool) -> String {
    if is_section {
        format!("unknown section [{}]", joined(path, name))
    } else {
        format!("unknown key `{name}`")
    }
}

fn is_section(value: &Spanned<DeValue<'_>>) -> bool {
    match value.get_ref() {
        DeValue::Table(_) => true,
        DeValue::Array(array) => array.iter().any(|element| element.get_ref().is_table()),
        _ => false,
    }
}

/// A name that may be meant.
struct Candidate {
    /// The name of today, or one of an earlier version.
    typed: String,
    /// The section of the key, and its name today.
    section: String,
    name: String,
    is_section: bool,
}

impl Candidate {
    /// The sentence for a name that exists, but not where it was found.
    fn place(&self) -> String {
        match self.section.as_str() {
            _ if self.is_section => format!("write {}", header(&self.path())),
            _ if self.name != self.typed => format!("it is named `{}`, {}", self.name, self.within()),
            "" => "it belongs above the first [section]".into(),
            section => format!("it belongs into {}", header(section)),
        }
    }

    fn within(&self) -> String {
        match self.section.as_str() {
            "" => "above the first [section]".into(),
            section => format!("in {}", header(section)),
        }
    }

    fn path(&self) -> String {
        joined(&self.section, &self.name)
    }
}

fn header(section: &str) -> String {
    if section == LISTENERS { format!("[[{section}]]") } else { format!("[{section}]") }
}

fn joined(section: &str, name: &str) -> String {
    if section.is_empty() { name.into() } else { format!("{section}.{name}") }
}

/// The names of a struct's keys, as its `Deserialize` knows them.
pub(super) fn names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &[&str] = &[];
    let _ = T::deserialize(FieldNames(&mut names)); // always an error: the names are all it was for
    names
}

/// Asks a struct for its fields, and gives it none.
struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("no value, only names"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{
        schema::SECTIONS,
        tests::{GOOD, load},
    };

    #[test]
    fn n84_a_key_that_does_not_exist_is_told_with_the_one_that_is_meant() {
        for (lines, told) in [
            // A slip of the hand, in today's name and in an old one.
            (
                "[limits.smtp]\ncomand_timeout = \"5m\"",
                "unknown key `comand_timeout`: did you mean `command_timeout`?",
            ),
            (
                "[limits.smtp]\nmax_mesage_size = \"5 MiB\"",
                "unknown key `max_mesage_size`: did you mean `max_message_size`?",
            ),
            (
                "[limits]\nsmtp_iddle = \"5m\"",
                "unknown key `smtp_iddle`: did you mean `command_timeout` in [limits.smtp]?",
            ),
            ("[log]\nlevle = \"info\"", "unknown key `levle`: did you mean `level`?"),
            // The right name in the wrong section.
            (
                "[limits]\ncommand_timeout = \"5m\"",
                "unknown key `command_timeout`: it belongs into [limits.smtp]",
            ),
            ("[metrics]\nspool = \"x\"", "unknown key `spool`: it belongs above the first [section]"),
            ("[log]\nstrict = true", "unknown key `strict`: it belongs into [[listen]]"),
            (
                "[limits.smtp]\nidle_timeout = \"5m\"",
                "unknown key `idle_timeout`: it belongs into [limits.pop3], or it belongs into [limits.http], or it belongs into [limits.imap], or it belongs into [limits.index]",
            ),
            // An old name in the wrong section.
            (
                "[limits.pop3]\nsmtp_idle = \"5m\"",
                "unknown key `smtp_idle`: it is named `command_timeout`, in [limits.smtp]",
            ),
            (
                "[metrics]\nunknown = \"create\"",
                "it is named `unknown_recipients`, above the first [section]",
            ),
            // The section as part of the name.
            ("[limits]\ndelivery_timeout = \"9s\"", "it is named `timeout`, in [limits.delivery]"),
            ("[limits]\nauth_cache_ttl = \"9s\"", "it is named `cache_ttl`, in [limits.auth]"),
            // Sections.
            ("[limit]\nx = 1", "unknown section [limit]: did you mean [limits]?"),
            ("[smtp]\nx = 1", "unknown section [smtp]: write [limits.smtp]"),
            ("[limits.smpt]\nx = 1", "unknown section [limits.smpt]: did you mean [limits.smtp]?"),
            ("[[listener]]\nx = 1", "unknown section [listener]: did you mean [[listen]]?"),
            ("[limits]\nsmtp = 5", "this is a section: write [limits.smtp], and below it its keys"),
            ("[[log]]\nlevel = \"info\"", "this section stands once: write [log]"),
            // Nothing like it.
            (
                "[metrics]\ncolour = \"green\"",
                "unknown key `colour`; restante.toml(5) and examples/restante.toml list all keys",
            ),
        ] {
            let text = GOOD.replace("[limits.smtp]\nmax_message_size = \"10 MiB\"", lines);
            assert_ne!(text, GOOD);
            let error = load(&text).unwrap_err();
            assert!(error.contains(told), "{told:?} is not in {error:?}");
            let at_header = told.contains("unknown section") || told.contains("stands once");
            let line = if at_header { 18 } else { 19 };
            assert!(error.starts_with(&format!(", line {line}, ")), "{error}");
            assert!(error.len() < 200, "{error}");
        }
    }

    #[test]
    fn n85_one_pair_of_brackets_too_few_around_listen_is_told() {
        let told = "write [[listen]], in double brackets: one section for each listener";
        let once = "hostname = \"x.test\"\ndomains = [\"x.test\"]\n[listen]\nprotocol = \"smtp\"\n";
        let error = load(once).unwrap_err();
        assert!(error.starts_with(", line 3, column 2: ") && error.contains(told), "{error}");
        for (both, line) in [("[listen]", 11), ("[[listen]]", 9)] {
            let error = load(&GOOD.replacen("[[listen]]", "[listen]", 1).replacen("[[listen]]", both, 1))
                .unwrap_err();
            assert!(error.contains(told), "{line} {error}");
        }
        let error =
            load("hostname = \"x.test\"\ndomains = [\"x.test\"]\nlisten = \"0.0.0.0:25\"").unwrap_err();
        assert!(
            error.contains("line 3, column 1: each listener is a section of its own: [[listen]]"),
            "{error}"
        );
    }

    #[test]
    fn n140_a_quota_is_told_to_be_in_the_file_of_users() {
        for (lines, told) in [
            (
                "[quota]\nbytes = \"1 GiB\"",
                "unknown section [quota]: a quota is one of a user, and stands in users.json",
            ),
            ("[limits.quota]\nbytes = \"1 GiB\"", "unknown key `bytes`: a quota is one of a user"),
            ("[quota]\ncache_size = 5", "unknown section [quota]: write [limits.quota]"),
        ] {
            let text = GOOD.replace("[limits.smtp]\nmax_message_size = \"10 MiB\"", lines);
            let error = load(&text).unwrap_err();
            assert!(error.contains(told), "{told:?} is not in {error:?}");
        }
    }

    #[test]
    fn the_first_unknown_key_of_the_file_is_told() {
        let error = load(&format!("zebra = 1\nhorse = 2\n{GOOD}[limits.disk]\nant = 3\n")).unwrap_err();
        assert!(error.starts_with(", line 1, column 1: unknown key `zebra`"), "{error}");
    }

    #[test]
    fn the_names_of_all_keys_are_known() {
        let all: Vec<String> = SECTIONS.all().collect();
        for key in ["hostname", "listen.address", "tls.key", "pop3.expire", "limits.smtp.command_timeout"] {
            assert!(all.iter().any(|known| known == key), "{key}");
        }
        assert!(all.len() > 90, "{}", all.len());
    }
}
