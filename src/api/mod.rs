//! The documents of the web API, made of messages: lists, one message, its HTML and its parts.
//!
//! The rule: plain functions of octets to text. Nothing here opens a file; workers call it, because a message may be large.

mod description;
mod draft;
mod html;
mod object_keys;
mod page;
pub mod web_page;

pub use draft::compose;
pub use html::html_view;
pub use page::Page;

use std::borrow::Cow;

use crate::{
    message_object::{MessageObject, ObjectLimits, PartContent, mailpit, part},
    printable,
    proto::http::api::{Document, Outcome},
    search::Mistake,
};

/// The response to a request that needed mailboxes which cannot be read: their addresses.
pub fn unreadable(addresses: &[String]) -> Document {
    let why = format!(
        "These mailboxes cannot be read now, the log of the server says why: {}",
        addresses.join(", ")
    );
    let object = serde_json::json!({ "Error": why, "Unreadable": addresses });
    Document { outcome: Outcome::Failed, ..Document::json(printable::json(&object, false)) }
}

/// The response to a search with a mistake.
pub fn mistaken_search(mistake: &Mistake) -> Document {
    let object = serde_json::json!({ "Error": mistake.to_string() });
    Document { outcome: Outcome::Mistaken, ..Document::json(printable::json(&object, false)) }
}

/// A message as a JSON object.
pub fn object(message: &MessageObject, stored: &mailpit::Stored<'_>) -> Document {
    Document::json(printable::json(&mailpit::Message::new(message, stored), false))
}

/// The header fields as a JSON object.
pub fn headers(message: &MessageObject) -> Document {
    Document::json(printable::json(&mailpit::headers(message), false))
}

/// The text of a message.
pub fn text_view(message: &MessageObject) -> Document {
    Document::new("text/plain; charset=utf-8", mailpit::text(message).as_bytes().to_vec())
}

/// The decoded body of a part. `None` if there is no such part. A browser saves it, and shows it only as an image.
pub fn part_view(octets: &[u8], part_id: &str) -> Option<Document> {
    let PartContent { file_name, content_type, octets, .. } =
        part(octets, part_id, &ObjectLimits::default())?;
    let kind = SHOWN.iter().find(|kind| **kind == content_type).copied().unwrap_or(OCTETS);
    Some(Document { file_name: Some(file_name), ..Document::new(Cow::Borrowed(kind), octets) })
}

const OCTETS: &str = "application/octet-stream";

/// Media types that no browser runs.
const SHOWN: &[&str] =
    &["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "text/plain"];

#[cfg(test)]
mod tests {
    use super::*;

    const LETTER: &[u8] = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\n\
                            Content-Type: image/svg+xml; name=\"../a/b.svg\"\n\n<svg onload=alert(1)/>\n--b\n\
                            Content-Type: image/png\n\nPNG\n--b--\n";

    #[test]
    fn no_part_is_of_a_type_that_a_browser_runs() {
        let object = MessageObject::parse(LETTER, &ObjectLimits::default());
        let kinds: Vec<(String, String)> = object
            .attachments
            .iter()
            .map(|file| part_view(LETTER, &file.part_id).unwrap())
            .map(|document| (document.content_type.into_owned(), document.file_name.unwrap()))
            .collect();
        assert_eq!(kinds[0].0, OCTETS, "an SVG is a page with scripts");
        assert_eq!(kinds[1].0, "image/png");
        assert!(kinds.iter().all(|(_, name)| !name.contains('/')), "{kinds:?}");
        for none in ["9", "u1", "", "../1"] {
            assert_eq!(part_view(LETTER, none), None, "{none}");
        }
    }
}
