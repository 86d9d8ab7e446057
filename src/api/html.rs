//! The HTML of a message as a document of its own.

use std::collections::HashMap;

use crate::{message_object::MessageObject, proto::http::api::Document};

/// The HTML of a message; `None` if it has none. References to its own parts become paths; all else stays as it is,
/// because the response forbids a browser to run or to load it. In a frame (`is_framed`), links open windows of their own,
/// because the frame can show this server only.
pub fn html_view(message: &MessageObject, id: &str, is_framed: bool) -> Option<Document> {
    if message.html.is_empty() {
        return None;
    }
    let parts = message.attachments.iter().rev().chain(message.inline.iter().rev());
    let own: HashMap<&str, &str> = parts.map(|part| (&*part.content_id, &*part.part_id)).collect();
    let path = |cid: &str| own.get(cid).map(|part| format!("../api/v1/message/{id}/part/{part}"));
    let html = with_paths(&message.html, path);
    let html = if is_framed { with_windows(&html) } else { html };
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

/// Gives each link a window of its own, which knows nothing of this one, up to a bound. Of two attributes with the same name
/// the first one counts (HTML Living Standard section 13.2.5.33), so those of the message have no effect. Text that only looks
/// like a link changes too: it does no harm, because the policy of the response holds for any HTML.
fn with_windows(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let (mut rest, mut left) = (html, MAX_REFERENCES);
    while left > 0
        && let Some(at) = rest.find('<')
    {
        let (before, after) = rest.split_at(at + 1);
        let name = after.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        let is_link = LINKS.iter().any(|known| name.eq_ignore_ascii_case(known));
        text.push_str(before);
        text.push_str(name);
        rest = &after[name.len()..];
        if is_link && rest.starts_with(|c: char| c.is_ascii_whitespace() || c == '/') {
            left -= 1;
            text.push_str(OWN_WINDOW);
        }
    }
    text + rest
}

/// The elements that lead elsewhere, in HTML, SVG and images with regions.
const LINKS: [&str; 2] = ["a", "area"];
/// As Mailpit writes it.
const OWN_WINDOW: &str = " target=\"_blank\" rel=\"noreferrer noopener\"";
/// References of one message that become paths, and links that get windows.
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
    fn v115_links_in_a_frame_open_windows_that_know_nothing_of_it() {
        let own = " target=\"_blank\" rel=\"noreferrer noopener\"";
        for (html, expected) in [
            ("<a href=x>", format!("<a{own} href=x>")),
            ("<A\nTARGET=_top rel=opener href=x>", format!("<A{own}\nTARGET=_top rel=opener href=x>")),
            ("<a/href=x>", format!("<a{own}/href=x>")),
            ("<area href=x><b>", format!("<area{own} href=x><b>")),
            ("<<a href=x>", format!("<<a{own} href=x>")),
            ("<abbr title=x></a><a>a < b", "<abbr title=x></a><a>a < b".to_owned()),
            ("<a", "<a".to_owned()),
            ("é<", "é<".to_owned()),
        ] {
            assert_eq!(with_windows(html), expected);
        }
        let many = "<a href=x>".repeat(MAX_REFERENCES + 5);
        assert_eq!(with_windows(&many).matches("_blank").count(), MAX_REFERENCES);
    }

    #[test]
    fn v13_references_to_own_parts_cost_no_more_than_a_bound() {
        let html = "cid:a ".repeat(MAX_REFERENCES + 5);
        let text = with_paths(&html, |_| Some("a path that is longer".to_owned()));
        assert_eq!(text.matches("longer").count(), MAX_REFERENCES);
        assert!(text.ends_with("cid:a cid:a "));
    }
}
