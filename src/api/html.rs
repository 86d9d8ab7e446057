//! The HTML of a message as a document of its own.

use std::collections::HashMap;

use crate::{message_object::MessageObject, proto::http::api::Document};

/// The HTML of a message; `None` if it has none. References to its own parts become paths; all else stays as it is,
/// because the response forbids a browser to run or to load it.
pub fn html_view(message: &MessageObject, id: &str) -> Option<Document> {
    if message.html.is_empty() {
        return None;
    }
    let parts = message.attachments.iter().rev().chain(message.inline.iter().rev());
    let own: HashMap<&str, &str> = parts.map(|part| (&*part.content_id, &*part.part_id)).collect();
    let path = |cid: &str| own.get(cid).map(|part| format!("../api/v1/message/{id}/part/{part}"));
    let html = with_paths(&message.html, path);
    Some(Document::new("text/html; charset=utf-8", html.into_bytes()))
}

/// Replaces the `cid:` references that have a path, up to a bound: a path is longer than its reference.
fn with_paths(html: &str, path: impl Fn(&str) -> Option<String>) -> String {
    let mut text = String::with_capacity(html.len());
    let (mut rest, mut left) = (html, MAX_REFERENCES);
    while left > 0
        && let Some(at) = rest.find(SCHEME)
    {
        let (before, after) = rest.split_at(at);
        let name = &after[SCHEME.len()..];
        let end = name.find(|c: char| c.is_whitespace() || "\"'<>()&".contains(c)).unwrap_or(name.len());
        text.push_str(before);
        match path(&name[..end]) {
            Some(path) => {
                left -= 1;
                text.push_str(&path);
            }
            None => text.push_str(&after[..SCHEME.len() + end]),
        }
        rest = &name[end..];
    }
    text + rest
}

/// References of one message that become paths.
const MAX_REFERENCES: usize = 10_000;
/// The scheme of RFC 2392.
const SCHEME: &str = "cid:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_own_parts_become_paths() {
        let path = |cid: &str| (cid == "a@b").then(|| "p/1".to_owned());
        assert_eq!(
            with_paths("<img src=\"cid:a@b\"><a href='cid:other'>cid:</a>url(cid:a@b)", path),
            "<img src=\"p/1\"><a href='cid:other'>cid:</a>url(p/1)"
        );
        assert_eq!(with_paths("", path), "");
    }

    #[test]
    fn v13_references_to_own_parts_cost_no_more_than_a_bound() {
        let html = "cid:a ".repeat(MAX_REFERENCES + 5);
        let text = with_paths(&html, |_| Some("a path that is longer".to_owned()));
        assert_eq!(text.matches("longer").count(), MAX_REFERENCES);
        assert!(text.ends_with("cid:a cid:a "));
    }
}
