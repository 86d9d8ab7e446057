//! The answers that no mail changes: those about tags, about the page of Mailpit, and about faults that cannot be set.

use serde::{
    Deserialize,
    de::{DeserializeSeed, IgnoredAny},
};

use super::{
    api::Document,
    status::{Refusal, Status},
};
use crate::plain_object::ObjectOf;

/// The answer to a request that sets the tags of messages: it may only remove them.
pub(super) fn set_tags(body: &[u8]) -> Result<Document, Refusal> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = ObjectOf::<Tags>::new("an object").deserialize(&mut json);
    match read.and_then(|tags| json.end().map(|()| tags)) {
        Ok(Tags { tags }) if tags.as_ref().is_none_or(Vec::is_empty) => Ok(Document::ok()),
        Ok(_) => Err(NO_TAGS),
        Err(error) => {
            let why = format!("The body is not a JSON object with Tags and IDs: {error}");
            Err(Refusal::saying(Status::BAD_REQUEST, why))
        }
    }
}

/// True for a path of Mailpit that this server does not have on purpose.
pub(super) fn is_known_elsewhere(segments: &[String]) -> bool {
    let is_of_message = segments.iter().any(|segment| segment == "message");
    is_of_message && segments.last().is_some_and(|last| NOT_HERE.contains(&last.as_str()))
}

/// The settings of the page of Mailpit, which some clients read.
pub(super) fn web_ui(has_faults: bool) -> Document {
    let settings = serde_json::json!({
        "Label": "",
        "MessageRelay": {
            "Enabled": false,
            "SMTPServer": "",
            "ReturnPath": "",
            "AllowedRecipients": "",
            "BlockedRecipients": "",
            "OverrideFrom": "",
            "PreserveMessageIDs": false,
            "RecipientAllowlist": "",
        },
        "SpamAssassin": false,
        "ChaosEnabled": has_faults,
        "DuplicatesIgnored": false,
        "HideDeleteAllButton": false,
    });
    Document::json(settings.to_string())
}

/// The body of a request that sets tags. Go has `null` for an empty list. The thread of the loop reads the list, so it
/// keeps none of the tags.
#[derive(Deserialize)]
struct Tags {
    #[serde(rename = "Tags", default)]
    tags: Option<Vec<IgnoredAny>>,
}

/// The last segments of the paths of a message that only Mailpit has.
const NOT_HERE: [&str; 5] = ["html-check", "link-check", "sa-check", "thumb", "release"];
pub(super) const NOT_OFFERED: Refusal = Refusal::new(
    Status::NOT_IMPLEMENTED,
    "restante has no checks, thumbnails and releases: it fetches nothing and decodes no picture",
);
const NO_TAGS: Refusal = Refusal::new(
    Status::NOT_IMPLEMENTED,
    "Messages have no tags here: search for a word of the subject, or give each test its own address",
);
pub(super) const NO_TAG: Refusal =
    Refusal::new(Status::NOT_FOUND, "There is no such tag, because messages have no tags here");
pub(super) const CHAOS_OF_ALL: Refusal = Refusal::new(
    Status::FORBIDDEN,
    "Faults by chance happen to all mail, and not to one mailbox: send this request to /api/v1/chaos. For one mailbox, \
     write a fault into the address: bob+452@example.test",
);
pub(super) const NO_CHAOS: Refusal = Refusal::new(
    Status::FORBIDDEN,
    "Faults by chance are for tests: start restante dev, without --no-faults, to set them",
);
