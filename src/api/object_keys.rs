//! The keys of the objects that a client writes in JSON.
//!
//! The rule: a mistyped key is refused with the one that is meant. Mailpit leaves it out without a word, and the message
//! then lacks its recipients or its text. A key that resembles no known one has no effect, as in Mailpit.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor},
};

use crate::near_name::{most_in_accepted, slips};

/// A struct that is read from an object.
pub(super) trait Object<'de>: Default {
    const EXPECTED: &'static str;
    const KEYS: &'static [Key];

    /// Reads the value of a key of `KEYS`, by its name there.
    fn set<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

/// A key of an object. As in Go, capitals do not matter.
pub(super) struct Key {
    name: &'static str,
    /// Names that people write for it, because other programs have them.
    mistaken: &'static [&'static str],
}

impl Key {
    pub(super) const fn new(name: &'static str, mistaken: &'static [&'static str]) -> Self {
        Self { name, mistaken }
    }
}

/// Reads an object, each key at most once.
pub(super) fn read<'de, O: Object<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<O, D::Error> {
    struct Pairs<O>(PhantomData<O>);
    impl<'de, O: Object<'de>> Visitor<'de> for Pairs<O> {
        type Value = O;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(O::EXPECTED)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<O, A::Error> {
            let (mut object, mut seen) = (O::default(), Vec::new());
            while let Some(key) = map.next_key_seed(KeyOf(O::KEYS))? {
                match key {
                    Some(key) if seen.contains(&key) => {
                        return Err(Error::custom(format_args!("the key {key:?} stands twice")));
                    }
                    Some(key) => {
                        seen.push(key);
                        object.set(key, &mut map)?;
                    }
                    None => drop(map.next_value::<IgnoredAny>()?),
                }
            }
            Ok(object)
        }
    }
    deserializer.deserialize_map(Pairs(PhantomData))
}

/// The next value, or the empty one for `null`.
pub(super) fn value<'de, A: MapAccess<'de>, T: Deserialize<'de> + Default>(
    map: &mut A,
) -> Result<T, A::Error> {
    Ok(map.next_value::<Option<T>>()?.unwrap_or_default())
}

/// Reads a key: its name in the table, or `None` for one that has no effect.
struct KeyOf(&'static [Key]);

impl<'de> DeserializeSeed<'de> for KeyOf {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyOf {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, typed: &str) -> Result<Self::Value, E> {
        if let Some(key) = self.0.iter().find(|key| key.name.eq_ignore_ascii_case(typed)) {
            return Ok(Some(key.name));
        }
        match meant(typed, self.0) {
            Some(name) => Err(Error::custom(format_args!("the key {typed:?} (did you mean {name:?}?)"))),
            None => Ok(None),
        }
    }
}

/// The key that a client has meant: hyphens, underscores, blanks and a few letters make no difference.
fn meant(typed: &str, keys: &[Key]) -> Option<&'static str> {
    let typed: String = typed.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).collect();
    let names = keys.iter().flat_map(|key| {
        std::iter::once(key.name).chain(key.mistaken.iter().copied()).map(move |name| (name, key.name))
    });
    names
        .filter_map(|(name, meant)| Some((slips(&typed, name, most_in_accepted(name))?, name.len(), meant)))
        .min()
        .map(|(.., meant)| meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v40_a_mistyped_key_leads_to_the_one_that_is_meant() {
        let keys = [
            Key::new("To", &["Recipients"]),
            Key::new("ReplyTo", &[]),
            Key::new("Text", &["Body"]),
            Key::new("Attachments", &[]),
        ];
        for (typed, expected) in [
            ("Recepients", Some("To")),
            ("recipient", Some("To")),
            ("reply-to", Some("ReplyTo")),
            ("Reply_To", Some("ReplyTo")),
            ("Repley To", Some("ReplyTo")),
            ("Txet", Some("Text")),
            ("body", Some("Text")),
            ("Attachment", Some("Attachments")),
            ("Atachmnents", Some("Attachments")),
            ("T", None),
            ("Tox", None),
            ("Date", None),
            ("Priority", None),
            ("", None),
        ] {
            assert_eq!(meant(typed, &keys), expected, "{typed}");
        }
        assert_eq!(meant(&"Attachments".repeat(10_000), &keys), None);
    }
}
