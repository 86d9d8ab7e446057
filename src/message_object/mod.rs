//! A received message as one plain value: the web API, `restante wait --json` and the search read it.
//!
//! The rule: everything here comes from the octets of the message, which a stranger wrote. No part is lost: it is text, HTML,
//! or a file of [`MessageObject::attachments`] or [`MessageObject::inline`], or lies inside one of them. Counts and lengths are
//! bounded, and nothing touches a file or a clock.
//!
//! | module | contents |
//! |---|---|
//! | [`summary`] | the value for a list: sender, recipients, subject, snippet |
//! | [`envelope`] | the envelope, as far as the stored header tells it |
//! | [`attached`] | attachments and inline parts |
//! | `body` | the text and the HTML |
//! | [`hops`] | the route, from the `Received:` fields |
//! | [`links`] | the links in text and HTML |
//! | [`snippet`] | the first words |
//! | [`limits`] | the bounds |
//! | [`mailpit`] | the JSON of Mailpit's API, version 1 |
//! | [`mailhog`] | the JSON of MailHog's API |

pub mod attached;
mod body;
pub mod envelope;
pub mod hops;
pub mod limits;
pub mod links;
pub mod mailhog;
pub mod mailpit;
pub mod snippet;
pub mod summary;

use crate::mime::{Message, charset, html_words, view::View};

pub use attached::{AttachedPart, Checksums, PartContent};
pub use envelope::Envelope;
pub use limits::ObjectLimits;
pub use summary::{NamedAddress, Summary};

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageObject {
    /// Its value in a list.
    pub summary: Summary,
    /// The text that a mail reader shows. HTML is converted if the message has no plain text.
    pub text: String,
    /// The HTML parts that are text of the message, in their order.
    pub html: String,
    /// The addresses of links, each once: those in the plain text, then those in the HTML.
    pub links: Vec<String>,
    /// Files that belong to the text: pictures of the HTML, signatures of a mailing list.
    pub inline: Vec<AttachedPart>,
    /// Other files.
    pub attachments: Vec<AttachedPart>,
    /// The fields of the header, in their order.
    pub headers: Vec<HeaderField>,
}

/// A field of the header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderField {
    /// Its name, as it was sent.
    pub name: String,
    /// Its value, decoded.
    pub value: String,
    /// Its value as it was sent, without the folds.
    pub raw: String,
}

impl MessageObject {
    /// Reads a message. Accepts any octets, also the first ones of a longer message.
    pub fn parse(octets: &[u8], limits: &ObjectLimits) -> Self {
        let message = Message::parse(octets, &limits.mime);
        let view = View::of(&message);
        let html = body::html(&message);
        let links = links::of(&body::plain_text(&message, &view), &html, limits);
        let (inline, attachments) = attached::parts(&message, &view);
        Self {
            summary: Summary::of(&message, &view, &html, limits),
            links,
            inline,
            attachments,
            headers: headers(&message, limits),
            text: view.text,
            html,
        }
    }

    /// The decoded value of the first field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value.as_str())
    }

    /// The text that a search for words looks into: sender, recipients, subject, text, words of the HTML, and the names of
    /// attachments.
    pub fn search_text(&self) -> String {
        let summary = &self.summary;
        let mut text = summary.subject.clone();
        for person in summary.people() {
            text += &format!("\n{} {}", person.name, person.address);
        }
        if let Some(from) = &summary.envelope.from {
            text += &format!("\n{from}");
        }
        text += &format!("\n{}\n{}", self.text, html_words::words(&self.html, usize::MAX));
        for file in self.attachments.iter().chain(&self.inline) {
            text += &format!("\n{}", file.file_name);
        }
        text
    }
}

/// The content of a part by its [`AttachedPart::part_id`], or by the number of any other part.
pub fn part(octets: &[u8], part_id: &str, limits: &ObjectLimits) -> Option<PartContent> {
    attached::content(&Message::parse(octets, &limits.mime), part_id)
}

fn headers(message: &Message<'_>, limits: &ObjectLimits) -> Vec<HeaderField> {
    let header = message.header();
    let fields = header.fields().take(limits.fields).map(|field| HeaderField {
        name: String::from_utf8_lossy(field.name).into_owned(),
        value: header.decoded(&field),
        raw: charset::guess(&field.value).into_owned(),
    });
    fields.collect()
}

#[cfg(test)]
mod tests;
