//! The body of a request that changes messages.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer as _,
    de::{Deserialize, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    api::{MessageName, Selection},
    status::{Refusal, Status},
    target,
};
use crate::near_name::slips;

/// The body: the change, and the messages that it applies to.
#[derive(Debug, Default)]
pub(super) struct ChangeBody {
    ids: Vec<String>,
    search: String,
    pub(super) read: bool,
}

impl ChangeBody {
    /// Reads a JSON object, or the fields of a form, in which each id has a field. curl calls a body a form, whatever it
    /// is, and a body that is misread must not change all messages. Nor must a mistyped key, or
    /// `null`, as an unset variable is written.
    ///
    /// The thread of the loop reads it, so it ends at the first mistake, and its keys and ids have a bound.
    pub(super) fn parse(body: &[u8], is_form: bool) -> Result<Self, Refusal> {
        if !body.trim_ascii_start().starts_with(b"{") {
            return if is_form { Self::of_form(body) } else { Err(bad_json()) };
        }
        let mut mistake = Mistake::Syntax;
        let mut json = serde_json::Deserializer::from_slice(body);
        let read = json.deserialize_map(Object { mistake: &mut mistake });
        read.and_then(|change| json.end().map(|()| change)).map_err(|error| mistake.refusal(&error))
    }

    fn of_form(body: &[u8]) -> Result<Self, Refusal> {
        let (mut ids, mut search, mut read) = (Vec::new(), None, None);
        for pair in target::form(body).ok_or(BAD_FORM)? {
            let (name, value) = pair.ok_or(BAD_FORM)?;
            let is_new = match name.to_ascii_lowercase().as_str() {
                "ids" if ids.len() == MAX_IDS => return Err(MANY_IDS),
                "ids" => {
                    ids.push(value);
                    true
                }
                "search" => search.replace(value).is_none(),
                "read" => match value.to_ascii_lowercase().as_str() {
                    "true" => read.replace(true).is_none(),
                    "false" => read.replace(false).is_none(),
                    _ => return Err(BAD_READ),
                },
                _ => {
                    return Err(match Key::of(&name) {
                        Key::Mistyped(typed, meant) => mistyped(&typed, meant),
                        Key::Other(name) => unknown(&name),
                        Key::Ids | Key::Search | Key::Read => BAD_FORM,
                    });
                }
            };
            if !is_new {
                return Err(twice(&name));
            }
        }
        Ok(Self { ids, search: search.unwrap_or_default(), read: read.unwrap_or_default() })
    }

    pub(super) fn selection(self) -> Result<Selection, Refusal> {
        let is_id = |id: &String| matches!(MessageName::parse(id), Some(MessageName::Id(_)));
        match (self.ids.is_empty(), self.search.is_empty()) {
            (true, true) => Ok(Selection::All),
            (false, true) if self.ids.iter().any(|id| id == "latest") => Err(LATEST_IS_NO_ID),
            (false, true) if !self.ids.iter().all(is_id) => Err(BAD_ID),
            (false, true) => Ok(Selection::Ids(self.ids)),
            (true, false) if self.search.trim().is_empty() => Err(NO_QUERY),
            (true, false) => Ok(Selection::Search(self.search)),
            (false, false) => Err(IDS_AND_SEARCH),
        }
    }
}

/// The mistake for which reading has stopped.
enum Mistake {
    /// The octets there are no JSON. The reader names the place.
    Syntax,
    /// The value of a key is of a wrong kind: the place, and the value to write there.
    Value(Cow<'static, str>, &'static str),
    /// Any other.
    Other(Refusal),
}

impl Mistake {
    fn refusal(self, error: &serde_json::Error) -> Refusal {
        let why = match self {
            Self::Other(refusal) => return refusal,
            Self::Value(place, expected) if error.is_data() => {
                format!("{place}, at line {} column {}: write {expected}", error.line(), error.column())
            }
            _ => format!("{NOT_THE_OBJECT}: {error}"),
        };
        Refusal::saying(Status::BAD_REQUEST, why)
    }
}

/// A visitor of the JSON object.
struct Object<'a> {
    mistake: &'a mut Mistake,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ChangeBody;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ChangeBody, A::Error> {
        let (mut ids, mut search, mut read, mut others) = (None, None, None, 0);
        let mut other = None;
        while let Some(key) = map.next_key::<Key>()? {
            let name = key.name();
            let is_new = match key {
                Key::Ids => {
                    *self.mistake = Mistake::Value(name.into(), "a list of IDs, like [\"a1b2c3\"]");
                    ids.replace(map.next_value_seed(Ids { mistake: &mut *self.mistake })?).is_none()
                }
                Key::Search => {
                    *self.mistake = Mistake::Value(name.into(), "the words of a search in double quotes");
                    search.replace(map.next_value()?).is_none()
                }
                Key::Read => {
                    *self.mistake = Mistake::Value(name.into(), "true or false, without quotes");
                    read.replace(map.next_value()?).is_none()
                }
                Key::Other(name) if others < MAX_OTHERS => {
                    map.next_value::<IgnoredAny>()?;
                    others += 1;
                    other.get_or_insert(name);
                    true
                }
                Key::Other(_) => {
                    *self.mistake = Mistake::Other(MANY_KEYS);
                    return Err(A::Error::custom("too many keys"));
                }
                Key::Mistyped(typed, meant) => {
                    *self.mistake = Mistake::Other(mistyped(&typed, meant));
                    return Err(A::Error::custom("a mistyped key"));
                }
            };
            if !is_new {
                *self.mistake = Mistake::Other(twice(name));
                return Err(A::Error::custom("a key stands twice"));
            }
            *self.mistake = Mistake::Syntax;
        }
        let change = ChangeBody {
            ids: ids.unwrap_or_default(),
            search: search.unwrap_or_default(),
            read: read.unwrap_or_default(),
        };
        if let Some(other) = other
            && change.ids.is_empty()
            && change.search.is_empty()
        {
            *self.mistake = Mistake::Other(unknown(&other));
            return Err(A::Error::custom("unknown keys alone"));
        }
        Ok(change)
    }
}

/// A key of the object.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    Ids,
    Search,
    Read,
    /// One of these but for one letter: as it was typed, and as it is meant.
    Mistyped(String, &'static str),
    /// The beginning of another one.
    Other(String),
}

impl Key {
    /// As in Go, capitals do not matter.
    fn of(key: &str) -> Self {
        let known = [Self::Ids, Self::Search, Self::Read];
        if let Some(known) = known.into_iter().find(|known| known.name().eq_ignore_ascii_case(key)) {
            return known;
        }
        let key_as_typed = key.chars().take(MAX_SHOWN).collect();
        let is_near = |known: &&str| slips(key, known, 1).is_some();
        match ["IDs", "Search", "Read"].into_iter().find(is_near) {
            Some(meant) => Self::Mistyped(key_as_typed, meant),
            None => Self::Other(key_as_typed),
        }
    }

    /// The name of a key that a change has.
    fn name(&self) -> &'static str {
        match self {
            Self::Ids => "IDs",
            Self::Search => "Search",
            Self::Read => "Read",
            Self::Mistyped(..) | Self::Other(_) => "",
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(Key::of(key))
            }
        }
        deserializer.deserialize_identifier(Name)
    }
}

/// A visitor of the ids.
struct Ids<'a> {
    mistake: &'a mut Mistake,
}

impl<'de> DeserializeSeed<'de> for Ids<'_> {
    type Value = Vec<String>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Ids<'_> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of IDs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut ids = Vec::new();
        loop {
            match items.next_element() {
                Ok(Some(_)) if ids.len() == MAX_IDS => {
                    *self.mistake = Mistake::Other(MANY_IDS);
                    return Err(A::Error::custom("too many IDs"));
                }
                Ok(Some(id)) => ids.push(id),
                Ok(None) => return Ok(ids),
                Err(error) => {
                    let place = format!("IDs[{}]", ids.len());
                    *self.mistake = Mistake::Value(place.into(), "an ID in double quotes");
                    return Err(error);
                }
            }
        }
    }
}

/// Keys of other programs that a body may have.
const MAX_OTHERS: usize = 16;
/// Ids that a body may name. A loop turn reads all of them.
const MAX_IDS: usize = 50_000;
pub(super) const NO_QUERY: Refusal =
    Refusal::new(Status::BAD_REQUEST, "no search query: write the words of a search");
const NOT_THE_OBJECT: &str = "The body is not the JSON object of this request";
const BAD_FORM: Refusal = Refusal::new(
    Status::BAD_REQUEST,
    "The body is not the form of this request: a form is like ids=a1b2c3&Read=true",
);
/// Characters of an unknown key that its refusal repeats.
const MAX_SHOWN: usize = 40;

fn bad_json() -> Refusal {
    let why = format!("{NOT_THE_OBJECT}: it begins with {{, like {{\"IDs\": [\"a1b2c3\"]}}");
    Refusal::saying(Status::BAD_REQUEST, why)
}

fn mistyped(typed: &str, meant: &str) -> Refusal {
    Refusal::saying(Status::BAD_REQUEST, format!("The body has the key {typed:?} (did you mean {meant:?}?)"))
}

fn twice(key: &str) -> Refusal {
    Refusal::saying(Status::BAD_REQUEST, format!("The key {key:?} stands twice"))
}

fn unknown(key: &str) -> Refusal {
    let why = format!("The body has the unknown key {key:?}, and neither IDs nor a Search");
    Refusal::saying(Status::BAD_REQUEST, why)
}

const MANY_KEYS: Refusal = Refusal::new(Status::BAD_REQUEST, "The body has more than 16 unknown keys");
const MANY_IDS: Refusal =
    Refusal::new(Status::BAD_REQUEST, "A body names 50,000 IDs at most: send the others in a second request");
const BAD_READ: Refusal = Refusal::new(Status::BAD_REQUEST, "Read is true or false");
const BAD_ID: Refusal = Refusal::new(Status::BAD_REQUEST, "An ID is letters and digits, as in a list");
const LATEST_IS_NO_ID: Refusal =
    Refusal::new(Status::BAD_REQUEST, "An ID is letters and digits, as in a list; latest is none");
const IDS_AND_SEARCH: Refusal = Refusal::new(Status::BAD_REQUEST, "Name IDs or a Search, not both");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, is_form: bool) -> Result<(Selection, bool), Refusal> {
        let change = ChangeBody::parse(body.as_bytes(), is_form)?;
        let read = change.read;
        change.selection().map(|selection| (selection, read))
    }

    #[test]
    fn v15_a_body_names_its_messages_with_the_right_keys_or_is_refused() {
        let ids = || Selection::Ids(vec!["a1".into()]);
        for (good, expected) in [
            ("{\"IDs\":[\"a1\"],\"Read\":true}", (ids(), true)),
            ("{\"ids\":[\"a1\"],\"read\":true,\"Search\":\"\"}", (ids(), true)),
            ("{\"IDS\":[\"a1\"],\"READ\":true}", (ids(), true)),
            ("{\"IDs\":[\"a1\"],\"Other\":true}", (ids(), false)),
            ("{\"Search\":\"x\"}", (Selection::Search("x".into()), false)),
            ("{}", (Selection::All, false)),
            ("{\"IDs\":[]}", (Selection::All, false)),
        ] {
            assert_eq!(read(good, false), Ok(expected), "{good}");
        }
        for (bad, why) in [
            ("[]", bad_json()),
            ("[[\"a1\"],\"\",true]", bad_json()),
            ("null", bad_json()),
            ("{\"ID\":\"abc\"}", mistyped("ID", "IDs")),
            ("{\"foo\":1}", unknown("foo")),
            ("{\"IDs\":[\"a1\"],\"raed\":true}", mistyped("raed", "Read")),
            ("{\"Search\":\"x\",\"IDS\":[\"a1\"]}", IDS_AND_SEARCH),
            ("{\"IDs\":[\"a1\"],\"ids\":[\"b2\"]}", twice("IDs")),
            ("{\"IDs\":[\"latest\"]}", LATEST_IS_NO_ID),
            ("{\"IDs\":[\"a1\",\"\"]}", BAD_ID),
            ("{\"Search\":\" \"}", NO_QUERY),
            ("{\"IDs\":[\"a1\"],\"Search\":\"x\"}", IDS_AND_SEARCH),
        ] {
            assert_eq!(read(bad, false), Err(why), "{bad}");
        }
    }

    #[test]
    fn v136_a_mistake_in_json_is_told_with_its_place_and_the_value_to_write() {
        for (bad, why) in [
            ("{\"IDs\":\"a1\"}", "IDs, at line 1 column 11: write a list of IDs, like [\"a1b2c3\"]"),
            ("{\"IDs\":null}", "IDs, at line 1 column 11: write a list of IDs"),
            ("{\"IDs\":[\"a1\",\n null]}", "IDs[1], at line 2 column 5: write an ID in double quotes"),
            ("{\"IDs\":[7]}", "IDs[0], at line 1 column 9: write an ID in double quotes"),
            ("{\"Search\":[\"x\"]}", "Search, at line 1 column 10: write the words of a search"),
            ("{\"IDs\":[\"a1\"],\"Read\":null}", "Read, at line 1 column 25: write true or false"),
            ("{\"IDs\":[\"a1\"],\"Read\":\"true\"}", "Read, at line 1 column 27: write true or false"),
            ("{\"IDs\":[\"a1\"],\"IDs\":[]}", "The key \"IDs\" stands twice"),
            (
                "{\"IDs\":[\"a1\"",
                "The body is not the JSON object of this request: EOF while parsing a list at line 1",
            ),
            (
                "{\"IDs\":[\"a1\",]}",
                "The body is not the JSON object of this request: trailing comma at line 1 column 14",
            ),
            (
                "{\"IDs\":[\"a1\"] \"Read\":true}",
                "The body is not the JSON object of this request: expected `,` or `}`",
            ),
            (
                "{\"IDs\":[a1]}",
                "The body is not the JSON object of this request: expected value at line 1 column 9",
            ),
            (
                "{IDs:[]}",
                "The body is not the JSON object of this request: key must be a string at line 1 column 2",
            ),
            ("{} x", "The body is not the JSON object of this request: trailing characters at line 1"),
            ("'{}'", "The body is not the JSON object of this request: it begins with {"),
        ] {
            let told = read(bad, false).unwrap_err();
            assert_eq!(told.status, Status::BAD_REQUEST, "{bad}");
            assert!(told.why.starts_with(why), "{bad}: {}", told.why);
        }
    }

    #[test]
    fn v90_a_body_is_read_to_its_first_mistake_and_no_further() {
        let keys = |count: usize| (0..count).map(|n| format!("\"key{n}\":1,")).collect::<String>();
        let ids = |count: usize| vec!["\"a\""; count].join(",");
        for (bad, why) in [
            // The rest of each is no JSON, so a reader that goes on refuses it as such.
            (format!("{{\"IDs\":[\"a1\"],{}%", keys(MAX_OTHERS + 1)), MANY_KEYS),
            ("{\"IDs\":[\"a1\"],\"raed\":%".into(), mistyped("raed", "Read")),
            (format!("{{\"IDs\":[{},%", ids(MAX_IDS + 1)), MANY_IDS),
            (format!("{{\"IDs\":[\"a1\"],{}\"x\":1}}", keys(95_000)), MANY_KEYS),
        ] {
            assert_eq!(read(&bad, false), Err(why), "{}", &bad[..40]);
        }
        let form = "ids=a&".repeat(MAX_IDS + 1);
        assert_eq!(read(&(form + "ids=%"), true), Err(MANY_IDS));
        let good = format!("{{{}\"IDs\":[{}]}}", keys(MAX_OTHERS), ids(MAX_IDS));
        assert!(matches!(read(&good, false), Ok((Selection::Ids(all), _)) if all.len() == MAX_IDS));
    }

    #[test]
    fn v90_a_key_is_compared_with_those_of_about_its_length() {
        for (key, expected) in [
            ("id", Some("IDs")),
            ("raed", Some("Read")),
            ("re\u{e4}d", Some("Read")),
            ("searches", None),
            ("searchs", Some("Search")),
            ("i", None),
            ("", None),
        ] {
            let expected = match expected {
                Some(meant) => Key::Mistyped(key.into(), meant),
                None => Key::Other(key.into()),
            };
            assert_eq!(Key::of(key), expected, "{key}");
        }
        let long = "search".repeat(100_000);
        assert_eq!(Key::of(&long), Key::Other(long[..MAX_SHOWN].into()));
    }

    #[test]
    fn v113_a_form_is_read_as_strictly_as_json() {
        let all = |is_read| Ok((Selection::All, is_read));
        assert_eq!((read("Read=TRUE", true), read("read=false", true)), (all(true), all(false)));
        for (bad, why) in [
            ("Read=1", BAD_READ),
            ("Read=yes", BAD_READ),
            ("Read=", BAD_READ),
            ("Read", BAD_READ),
            ("Read=true&Read=false", twice("Read")),
            ("search=a&search=b", twice("search")),
            ("ids=%zz", BAD_FORM),
        ] {
            assert_eq!(read(bad, true), Err(why), "{bad}");
        }
    }

    #[test]
    fn v44_a_form_names_messages_as_json_does() {
        let ids = |ids: &[&str]| Selection::Ids(ids.iter().map(|id| (*id).to_owned()).collect());
        assert_eq!(read("ids=a&ids=b&Read=true", true), Ok((ids(&["a", "b"]), true)));
        assert_eq!(read("Search=from%3Aann+x", true), Ok((Selection::Search("from:ann x".into()), false)));
        assert_eq!(read("", true), Ok((Selection::All, false)));
        assert_eq!(read("{\"IDs\":[\"a\"]}", true), Ok((ids(&["a"]), false)), "curl -d");
        for bad in ["ids=%zz", "x=y", "[\"a\"]", "{\"IDs\":[\"a\"", "IDs"] {
            let read = read(bad, true);
            assert!(read != Ok((Selection::All, false)), "{bad}: {read:?}");
        }
        assert_eq!(read("id=abc", true), Err(mistyped("id", "IDs")));
        assert_eq!(read("ids=a", false), Err(bad_json()));
        assert_eq!(read("ids=a&search=b", true), Err(IDS_AND_SEARCH));
    }
}
