//! The description of a message in JSON, as Mailpit's clients send it.
//!
//! The rule: a description of any octets costs memory in proportion to them. Everything else about its values is checked later.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// The body of the request. Its names are those of Mailpit, and all others mean nothing. As in Go, a
/// name may begin in lower case, and `null` is an empty value.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Description<'a> {
    #[serde(deserialize_with = "or_default", alias = "from")]
    pub(super) from: Described,
    #[serde(deserialize_with = "or_default", alias = "to")]
    pub(super) to: Bounded<Described>,
    #[serde(deserialize_with = "or_default", alias = "cc")]
    pub(super) cc: Bounded<Described>,
    #[serde(deserialize_with = "or_default", alias = "bcc")]
    pub(super) bcc: Bounded<String>,
    #[serde(deserialize_with = "or_default", alias = "replyTo", alias = "replyto")]
    pub(super) reply_to: Bounded<Described>,
    #[serde(deserialize_with = "or_default", alias = "subject")]
    pub(super) subject: String,
    #[serde(deserialize_with = "or_default", alias = "text")]
    pub(super) text: String,
    #[serde(rename = "HTML", deserialize_with = "or_default", alias = "html")]
    pub(super) html: String,
    #[serde(deserialize_with = "or_default", alias = "headers")]
    pub(super) headers: Fields,
    #[serde(borrow, deserialize_with = "or_default", alias = "attachments")]
    pub(super) attachments: Bounded<Attachment<'a>>,
}

/// A person of a description.
#[derive(Debug, Default, Deserialize)]
#[serde(
    default,
    rename_all = "PascalCase",
    expecting = "an object such as {\"Email\": \"ann@example.test\", \"Name\": \"Ann\"}"
)]
pub(super) struct Described {
    #[serde(deserialize_with = "or_default", alias = "name")]
    pub(super) name: String,
    #[serde(deserialize_with = "or_default", alias = "email")]
    pub(super) email: String,
}

/// A file of a description.
#[derive(Debug, Default, Deserialize)]
#[serde(
    default,
    rename_all = "PascalCase",
    expecting = "an object such as {\"Filename\": \"a.txt\", \"Content\": \"aGVsbG8=\"}"
)]
pub(super) struct Attachment<'a> {
    /// In base64, perhaps after `data:image/png;base64,`.
    #[serde(borrow, alias = "content")]
    pub(super) content: Cow<'a, str>,
    #[serde(deserialize_with = "or_default", alias = "filename")]
    pub(super) filename: String,
    #[serde(deserialize_with = "or_default", alias = "contentType", alias = "contenttype")]
    pub(super) content_type: String,
    #[serde(rename = "ContentID", deserialize_with = "or_default", alias = "contentId", alias = "contentid")]
    pub(super) content_id: String,
}

/// A list that may not fill the memory: an item of two octets in JSON takes hundreds here.
#[derive(Debug)]
pub(super) struct Bounded<T>(pub(super) Vec<T>);

/// The header fields of a description, by their names.
#[derive(Debug, Default)]
pub(super) struct Fields(pub(super) BTreeMap<String, String>);

/// A value, or the empty one for `null`.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Bounded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Bounded<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of {MAX_ITEMS} items at most")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    if all.len() == MAX_ITEMS {
                        return Err(serde::de::Error::invalid_length(MAX_ITEMS + 1, &self));
                    }
                    all.push(item);
                }
                Ok(Bounded(all))
            }
        }
        deserializer.deserialize_seq(Items(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object of {MAX_FIELDS} fields at most")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((name, value)) = pairs.next_entry()? {
                    if all.len() == MAX_FIELDS {
                        return Err(serde::de::Error::invalid_length(MAX_FIELDS + 1, &self));
                    }
                    all.insert(name, value);
                }
                Ok(Fields(all))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Items of a list.
const MAX_ITEMS: usize = 10_000;
/// Fields of `Headers`.
const MAX_FIELDS: usize = 200;
