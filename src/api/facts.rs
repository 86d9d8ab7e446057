//! The facts that lists show of a message: from its header, and from the beginning of its text.

use serde::Serialize;

use crate::mime::{self, Content, Limits, Message, Part, Role, html};

/// An address in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Address {
    /// The display name; empty if there is none.
    pub name: String,
    /// The address.
    pub address: String,
}

/// The facts that lists show of a message. They do not change while the file stays the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Facts {
    #[serde(rename = "MessageID")]
    #[allow(missing_docs, reason = "the name says it")]
    pub message_id: String,
    /// The sender; `None` if the header names none.
    pub from: Option<Address>,
    #[allow(missing_docs, reason = "the name says it")]
    pub to: Vec<Address>,
    #[allow(missing_docs, reason = "the name says it")]
    pub cc: Vec<Address>,
    #[allow(missing_docs, reason = "the name says it")]
    pub bcc: Vec<Address>,
    #[allow(missing_docs, reason = "the name says it")]
    pub reply_to: Vec<Address>,
    #[allow(missing_docs, reason = "the name says it")]
    pub subject: String,
    /// The login of the sender, which is not kept.
    pub username: String,
    /// None: messages have no tags here.
    pub tags: [String; 0],
    /// Octets of the file.
    pub size: u64,
    /// The number of attachments.
    pub attachments: usize,
    /// The beginning of the text, on one line.
    pub snippet: String,
    /// The number of parts that the text refers to.
    #[serde(skip)]
    pub inline: usize,
}

impl Facts {
    /// Reads the facts of a message. `size` is that of its file.
    pub fn read(message: &Message<'_>, size: u64) -> Self {
        let header = message.header();
        let body = Body::of(message);
        Self {
            message_id: header.message_ids("Message-ID").into_iter().next().unwrap_or_default(),
            from: addresses(message, "From").into_iter().next(),
            to: addresses(message, "To"),
            cc: addresses(message, "Cc"),
            bcc: addresses(message, "Bcc"),
            reply_to: addresses(message, "Reply-To"),
            subject: header.text("Subject").unwrap_or_default(),
            username: String::new(),
            tags: [],
            size,
            attachments: body.attachments.len(),
            inline: body.inline.len(),
            snippet: snippet(&if body.html.is_empty() { body.text } else { html::to_text(&body.html) }),
        }
    }
}

/// The parts of a message by their use.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    /// The plain text; made of the HTML if there is none.
    pub(super) text: String,
    /// The HTML; empty if there is none.
    pub(super) html: String,
    /// Numbers of the parts that the text refers to.
    pub(super) inline: Vec<usize>,
    /// Numbers of the other files.
    pub(super) attachments: Vec<usize>,
}

impl Body {
    /// Divides the parts. Those of a nested message belong to it: it is one attachment.
    pub(super) fn of(message: &Message<'_>) -> Self {
        let parts = message.parts();
        let mut body = Self::default();
        let mut is_nested = vec![false; parts.len()];
        for (number, part) in parts.iter().enumerate() {
            is_nested[number] = part
                .parent
                .is_some_and(|parent| is_nested[parent] || parts[parent].content == Content::Message);
            if is_nested[number] || part.content == Content::Multipart || part.role != Role::Part {
                continue;
            }
            match body.usage(message, part) {
                Usage::Html => body.html = message.text(part),
                Usage::Text => {
                    if !body.text.is_empty() {
                        body.text.push('\n');
                    }
                    body.text.push_str(&message.text(part));
                }
                Usage::Inline => body.inline.push(number),
                Usage::Attachment => body.attachments.push(number),
            }
        }
        if body.text.is_empty() && !body.html.is_empty() {
            body.text = html::to_text(&body.html);
        }
        body
    }

    fn usage(&self, message: &Message<'_>, part: &Part) -> Usage {
        let is_attachment = part.disposition.value == "attachment";
        let has_name = message.file_name(part).is_some();
        let is_leaf = part.content == Content::Leaf;
        match () {
            () if is_attachment => Usage::Attachment,
            () if is_leaf && part.is_html() && !has_name && self.html.is_empty() => Usage::Html,
            () if part.is_text() && !part.is_html() && !has_name => Usage::Text,
            () if part.disposition.value == "inline" || content_id(message, part).is_some() => Usage::Inline,
            () => Usage::Attachment,
        }
    }
}

enum Usage {
    Html,
    Text,
    Inline,
    Attachment,
}

/// The id by which the HTML refers to a part.
pub(super) fn content_id(message: &Message<'_>, part: &Part) -> Option<String> {
    message.header_of(part).message_ids("Content-ID").into_iter().next()
}

/// The addresses of a field.
pub(super) fn addresses(message: &Message<'_>, field: &str) -> Vec<Address> {
    let address = |mime::address::Address { name, address, .. }: mime::address::Address| Address {
        name: name.unwrap_or_default(),
        address: address.unwrap_or_default(),
    };
    message.header().addresses(field).unwrap_or_default().into_iter().map(address).collect()
}

/// Parses a message with the usual bounds.
pub fn parse(bytes: &[u8]) -> Message<'_> {
    Message::parse(bytes, &Limits::default())
}

/// The beginning of a text with single blanks, at most [`SNIPPET`] octets of it.
fn snippet(text: &str) -> String {
    let mut snippet = String::new();
    for word in text.split_whitespace() {
        if !snippet.is_empty() {
            snippet.push(' ');
        }
        snippet.push_str(word);
        if snippet.len() > SNIPPET {
            snippet.truncate(snippet.floor_char_boundary(SNIPPET));
            snippet.push_str("...");
            break;
        }
    }
    snippet
}

const SNIPPET: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_a_message_are_read() {
        let text = "From: =?utf-8?q?Zo=C3=A9?= <zoe@a.test>\nTo: bob@b.test, \"C, D\" <c@d.test>\nSubject: =?utf-8?q?d=C3=A9j=C3=A0?=\n\
                    Message-ID: <1@a.test>\n\nHello,\n\n  world\n";
        let facts = Facts::read(&parse(text.as_bytes()), 99);
        assert_eq!(facts.from, Some(Address { name: "Zoé".into(), address: "zoe@a.test".into() }));
        assert_eq!(facts.to[1], Address { name: "C, D".into(), address: "c@d.test".into() });
        assert_eq!((facts.subject.as_str(), facts.snippet.as_str()), ("déjà", "Hello, world"));
        assert_eq!((facts.message_id.as_str(), facts.size, facts.attachments), ("1@a.test", 99, 0));
        let empty = Facts::read(&parse(b""), 0);
        assert_eq!((empty.from, empty.to.len(), empty.subject), (None, 0, String::new()));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        for text in ["é".repeat(500), "word ".repeat(100), "x".repeat(SNIPPET + 1)] {
            let cut = snippet(&text);
            assert!(cut.len() <= SNIPPET + 3 && cut.ends_with("..."), "{cut}");
        }
        assert_eq!(snippet(&"x".repeat(SNIPPET)).len(), SNIPPET);
    }

    #[test]
    fn parts_have_one_use_each() {
        let text = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>hi</p>\n--b\n\
                    Content-Type: image/png\nContent-ID: <logo>\n\nx\n--b\nContent-Type: message/rfc822\n\n\
                    Content-Type: text/plain\n\ninner\n--b\nContent-Type: text/plain; name=a.txt\n\nnamed\n--b--\n";
        let message = parse(text.as_bytes());
        let body = Body::of(&message);
        assert_eq!((body.html.trim(), body.text.trim()), ("<p>hi</p>", "hi"));
        assert_eq!((body.inline.len(), body.attachments.len()), (1, 2));
    }
}
