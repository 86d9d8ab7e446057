//! The description of a message in JSON, as Mailpit's clients send it.
//!
//! The rule: a description of any octets costs memory in proportion to them. Everything else about its values is checked later.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::object_keys::{self, Key, Object, value};

/// The body of the request. Its keys are those of Mailpit. As in Go, capitals do not matter, and `null` is an empty value.
#[derive(Debug, Default)]
pub(super) struct Description<'a> {
    pub(super) from: Described,
    pub(super) to: Bounded<Described>,
    pub(super) cc: Bounded<Described>,
    pub(super) bcc: Bounded<String>,
    pub(super) reply_to: Bounded<Described>,
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
    pub(super) headers: Fields,
    pub(super) attachments: Bounded<Attachment<'a>>,
}

/// A person of a description.
#[derive(Debug, Default)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) email: String,
}

/// A file of a description.
#[derive(Debug, Default)]
pub(super) struct Attachment<'a> {
    /// In base64, perhaps after `data:image/png;base64,`.
    pub(super) content: Text<'a>,
    pub(super) filename: String,
    pub(super) content_type: String,
    pub(super) content_id: String,
}

impl<'de> Object<'de> for Description<'de> {
    const EXPECTED: &'static str = "the JSON object of a message";
    const KEYS: &'static [Key] = &[
        Key::new("From", &["Sender"]),
        Key::new("To", &["Recipients", "Receivers"]),
        Key::new("Cc", &["CarbonCopy"]),
        Key::new("Bcc", &["BlindCopy"]),
        Key::new("ReplyTo", &[]),
        Key::new("Subject", &["Title"]),
        Key::new("Text", &["Body", "TextBody", "Message", "Content"]),
        Key::new("HTML", &["HTMLBody"]),
        Key::new("Headers", &[]),
        Key::new("Attachments", &["Files"]),
        Key::new("Tags", &[]),
    ];

    fn set<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "From" => self.from = value(map)?,
            "To" => self.to = value(map)?,
            "Cc" => self.cc = value(map)?,
            "Bcc" => self.bcc = value(map)?,
            "ReplyTo" => self.reply_to = value(map)?,
            "Subject" => self.subject = value(map)?,
            "Text" => self.text = value(map)?,
            "HTML" => self.html = value(map)?,
            "Headers" => self.headers = value(map)?,
            "Attachments" => self.attachments = value(map)?,
            // Messages have no tags here.
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

impl<'de> Object<'de> for Described {
    const EXPECTED: &'static str = "an object such as {\"Email\": \"ann@example.test\", \"Name\": \"Ann\"}";
    const KEYS: &'static [Key] =
        &[Key::new("Name", &["DisplayName"]), Key::new("Email", &["Address", "Mail"])];

    fn set<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "Name" => self.name = value(map)?,
            _ => self.email = value(map)?,
        }
        Ok(())
    }
}

impl<'de> Object<'de> for Attachment<'de> {
    const EXPECTED: &'static str = "an object such as {\"Filename\": \"a.txt\", \"Content\": \"aGVsbG8=\"}";
    const KEYS: &'static [Key] = &[
        Key::new("Content", &["Data", "Body"]),
        Key::new("Filename", &["Name"]),
        Key::new("ContentType", &["Type", "MimeType"]),
        Key::new("ContentID", &[]),
    ];

    fn set<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "Content" => self.content = value(map)?,
            "Filename" => self.filename = value(map)?,
            "ContentType" => self.content_type = value(map)?,
            _ => self.content_id = value(map)?,
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Description<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object_keys::read(deserializer)
    }
}

impl<'de> Deserialize<'de> for Described {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object_keys::read(deserializer)
    }
}

impl<'de> Deserialize<'de> for Attachment<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object_keys::read(deserializer)
    }
}

/// A text that is not copied if it stands in the body as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A list that may not fill the memory: an item of two octets in JSON takes hundreds here.
#[derive(Debug)]
pub(super) struct Bounded<T>(pub(super) Vec<T>);

/// The header fields of a description, by their names.
#[derive(Debug, Default)]
pub(super) struct Fields(pub(super) BTreeMap<String, String>);

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
