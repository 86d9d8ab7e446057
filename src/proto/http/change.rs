//! The body of a request that changes messages.

use std::collections::HashMap;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    api::{MessageName, Selection},
    status::{Refusal, Status},
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
    /// Parses a body. A mistyped key must not make a change of all messages out of one of a few, or another change.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let change: Self = serde_json::from_slice(body).map_err(|_| BAD_JSON)?;
        let names_messages = !change.ids.is_empty() || !change.search.is_empty();
        let is_mistyped = change.others.keys().any(|key| is_near(&key.to_ascii_lowercase()));
        if change.others.is_empty() || names_messages && !is_mistyped {
            Ok(change)
        } else {
            Err(UNKNOWN_KEYS)
        }
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
const BAD_JSON: Refusal =
    Refusal::new(Status::BAD_REQUEST, "The body is not the JSON object of this request");
const UNKNOWN_KEYS: Refusal =
    Refusal::new(Status::BAD_REQUEST, "The body has an unknown key, and neither IDs nor a Search");
const BAD_ID: Refusal =
    Refusal::new(Status::BAD_REQUEST, "An ID is letters and digits, as in a list; latest is none");
const IDS_AND_SEARCH: Refusal = Refusal::new(Status::BAD_REQUEST, "Name IDs or a Search, not both");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<(Selection, bool), Refusal> {
        let change = Change::parse(body.as_bytes())?;
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
            assert_eq!(read(good), Ok(expected), "{good}");
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
            assert_eq!(read(bad), Err(why), "{bad}");
        }
    }
}
