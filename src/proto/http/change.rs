//! The body of a request that changes messages.

use std::collections::HashMap;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    api::{MessageName, Selection},
    status::{Refusal, Status},
    target,
};

/// A change, and the messages that it applies to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Change {
    #[serde(rename = "IDs", alias = "ids", alias = "Ids")]
    ids: Vec<String>,
    #[serde(rename = "Search", alias = "search")]
    search: String,
    #[serde(rename = "Read", alias = "read")]
    pub(super) read: bool,
    #[serde(flatten)]
    others: HashMap<String, IgnoredAny>,
}

impl Change {
    /// Reads a JSON object, or the fields of a form, in which each id has a field. curl calls a body a form, whatever it
    /// is, and a body that is misread must not change all messages. Nor must a mistyped key.
    pub(super) fn parse(body: &[u8], is_form: bool) -> Result<Self, Refusal> {
        if !body.trim_ascii_start().starts_with(b"{") {
            return if is_form { Self::of_form(body) } else { Err(BAD_JSON) };
        }
        let change: Self = serde_json::from_slice(body).map_err(|_| BAD_JSON)?;
        let names_messages = !change.ids.is_empty() || !change.search.is_empty();
        let is_mistyped = change.others.keys().any(|key| is_near(&key.to_ascii_lowercase()));
        if change.others.is_empty() || names_messages && !is_mistyped {
            Ok(change)
        } else {
            Err(UNKNOWN_KEYS)
        }
    }

    fn of_form(body: &[u8]) -> Result<Self, Refusal> {
        let mut change = Self::default();
        for (name, value) in target::form(body).ok_or(BAD_JSON)? {
            match name.to_ascii_lowercase().as_str() {
                "ids" => change.ids.push(value),
                "search" => change.search = value,
                "read" => change.read = value.eq_ignore_ascii_case("true"),
                _ => return Err(BAD_JSON),
            }
        }
        Ok(change)
    }

    pub(super) fn selection(self) -> Result<Selection, Refusal> {
        let is_id = |id: &String| matches!(MessageName::parse(id), Some(MessageName::Id(_)));
        match (self.ids.is_empty(), self.search.is_empty()) {
            (true, true) => Ok(Selection::All),
            (false, true) if !self.ids.iter().all(is_id) => Err(BAD_ID),
            (false, true) => Ok(Selection::Ids(self.ids)),
            (true, false) if self.search.trim().is_empty() => Err(NO_QUERY),
            (true, false) => Ok(Selection::Search(self.search)),
            (false, false) => Err(IDS_AND_SEARCH),
        }
    }
}

/// True for a key in lower case that is one of this request but for one letter.
fn is_near(key: &str) -> bool {
    ["ids", "search", "read"].iter().any(|known| strsim::damerau_levenshtein(known, key) <= 1)
}

pub(super) const NO_QUERY: Refusal =
    Refusal::new(Status::BAD_REQUEST, "There is no query: write the words of a search");
pub(super) const BAD_JSON: Refusal =
    Refusal::new(Status::BAD_REQUEST, "The body is not the JSON object of this request");
const UNKNOWN_KEYS: Refusal =
    Refusal::new(Status::BAD_REQUEST, "The body has an unknown key, and neither IDs nor a Search");
const BAD_ID: Refusal =
    Refusal::new(Status::BAD_REQUEST, "An ID is letters and digits, as in a list; latest is none");
const IDS_AND_SEARCH: Refusal = Refusal::new(Status::BAD_REQUEST, "Name IDs or a Search, not both");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, is_form: bool) -> Result<(Selection, bool), Refusal> {
        let change = Change::parse(body.as_bytes(), is_form)?;
        let read = change.read;
        change.selection().map(|selection| (selection, read))
    }

    #[test]
    fn v15_a_body_names_its_messages_with_the_right_keys_or_is_refused() {
        let ids = || Selection::Ids(vec!["a1".into()]);
        for (good, expected) in [
            ("{\"IDs\":[\"a1\"],\"Read\":true}", (ids(), true)),
            ("{\"ids\":[\"a1\"],\"read\":true,\"Search\":\"\"}", (ids(), true)),
            ("{\"IDs\":[\"a1\"],\"Other\":true}", (ids(), false)),
            ("{\"Search\":\"x\"}", (Selection::Search("x".into()), false)),
            ("{}", (Selection::All, false)),
            ("{\"IDs\":[]}", (Selection::All, false)),
        ] {
            assert_eq!(read(good, false), Ok(expected), "{good}");
        }
        for (bad, why) in [
            ("[]", BAD_JSON),
            ("[[\"a1\"],\"\",true]", BAD_JSON),
            ("null", BAD_JSON),
            ("{\"IDS\":[\"a1\"]}", UNKNOWN_KEYS),
            ("{\"Id\":[\"a1\"]}", UNKNOWN_KEYS),
            ("{\"foo\":1}", UNKNOWN_KEYS),
            ("{\"IDs\":[\"a1\"],\"raed\":true}", UNKNOWN_KEYS),
            ("{\"Search\":\"x\",\"IDS\":[\"a1\"]}", UNKNOWN_KEYS),
            ("{\"IDs\":[\"latest\"]}", BAD_ID),
            ("{\"IDs\":[\"a1\",\"\"]}", BAD_ID),
            ("{\"Search\":\" \"}", NO_QUERY),
            ("{\"IDs\":[\"a1\"],\"Search\":\"x\"}", IDS_AND_SEARCH),
        ] {
            assert_eq!(read(bad, false), Err(why), "{bad}");
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
        assert_eq!(read("ids=a", false), Err(BAD_JSON));
        assert_eq!(read("ids=a&search=b", true), Err(IDS_AND_SEARCH));
    }
}
