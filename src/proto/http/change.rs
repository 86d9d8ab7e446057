//! The bodies of requests that change messages.
//!
//! The rule: a body with a mistake changes nothing.

use std::collections::HashMap;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    api::Selection,
    status::{Refusal, Status},
};

/// The body of a request that changes messages.
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
    /// Parses a body. A mistyped key must not make a change of all messages out of one of a few.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let change: Self = serde_json::from_slice(body).map_err(|_| BAD_JSON)?;
        let names_messages = !change.ids.is_empty() || !change.search.is_empty();
        if names_messages || change.others.is_empty() { Ok(change) } else { Err(UNKNOWN_KEYS) }
    }

    pub(super) fn selection(self) -> Result<Selection, Refusal> {
        match (self.ids.is_empty(), self.search.is_empty()) {
            (true, true) => Ok(Selection::All),
            (false, true) => Ok(Selection::Ids(self.ids)),
            (true, false) => Ok(Selection::Search(self.search)),
            (false, false) => Err(IDS_AND_SEARCH),
        }
    }
}

const BAD_JSON: Refusal =
    Refusal::new(Status::BAD_REQUEST, "The body is not the JSON object of this request");
const UNKNOWN_KEYS: Refusal =
    Refusal::new(Status::BAD_REQUEST, "The body has an unknown key, and neither IDs nor a Search");
const IDS_AND_SEARCH: Refusal = Refusal::new(Status::BAD_REQUEST, "Name IDs or a Search, not both");
