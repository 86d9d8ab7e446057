//! The value of a message in a list, small enough to keep thousands in memory.

use serde::Serialize;

use super::{Envelope, ObjectLimits, attached, body, snippet::snippet};
use crate::mime::{Header, Message, address::Address, date::Date, view::View};

/// A message in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The first id of `Message-ID:`, without angle brackets; empty if there is none.
    pub message_id: String,
    /// The authors of `From:`.
    pub from: Vec<NamedAddress>,
    /// The recipients of `To:`.
    pub to: Vec<NamedAddress>,
    /// The recipients of `Cc:`.
    pub cc: Vec<NamedAddress>,
    /// The recipients of `Bcc:`, and that of the envelope if no field names it.
    pub bcc: Vec<NamedAddress>,
    /// The addresses of `Reply-To:`.
    pub reply_to: Vec<NamedAddress>,
    /// The envelope, as far as the header tells it.
    pub envelope: Envelope,
    /// The subject, decoded, on one line.
    pub subject: String,
    /// The date of the sender, else that of the newest server.
    pub date: Option<Date>,
    /// Octets of the message as it was parsed, with the line ends of its file. A caller that parsed the begin of a message sets the size of the whole.
    pub size: u64,
    /// The number of attachments.
    pub attachments: usize,
    /// The number of inline parts.
    pub inline: usize,
    /// The first words.
    pub snippet: String,
}

/// A person: a display name and an address, each empty if there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NamedAddress {
    /// The display name, decoded, on one line.
    pub name: String,
    /// The address without angle brackets.
    pub address: String,
}

impl Summary {
    /// Reads a message. Accepts any octets, also the first ones of a longer message.
    pub fn parse(octets: &[u8], limits: &ObjectLimits) -> Self {
        let message = Message::parse(octets, &limits.mime);
        Self::of(&message, &View::of(&message), &body::html(&message), limits)
    }

    /// The summary of a message whose text and HTML are known.
    pub(super) fn of(message: &Message<'_>, view: &View, html: &str, limits: &ObjectLimits) -> Self {
        let header = message.header();
        let people = |name| people(header, name, limits);
        let envelope = Envelope::of(header);
        let (to, cc, mut bcc) = (people("To"), people("Cc"), people("Bcc"));
        if let Some(recipient) = envelope.to.as_ref().filter(|to| !to.is_empty()) {
            let mut named = to.iter().chain(&cc).chain(&bcc);
            if !named.any(|one| one.address.eq_ignore_ascii_case(recipient)) {
                bcc.push(NamedAddress { name: String::new(), address: one_line(recipient, limits.value) });
            }
        }
        let (inline, attachments) = attached::count(message, view);
        Self {
            message_id: one_line(
                &header.message_ids("Message-ID").into_iter().next().unwrap_or_default(),
                limits.value,
            ),
            from: people("From"),
            to,
            cc,
            bcc,
            reply_to: people("Reply-To"),
            envelope,
            subject: one_line(&header.text("Subject").unwrap_or_default(), limits.value),
            date: header.date(),
            size: message.size(),
            attachments,
            inline,
            snippet: snippet(&view.text, html),
        }
    }

    /// The recipients, as far as they are known.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        let named = [&self.to, &self.cc, &self.bcc].into_iter().flatten();
        self.envelope.recipients(named.map(|one| one.address.as_str()))
    }

    /// Octets of memory, about.
    pub fn octets(&self) -> usize {
        let people = self.people().map(|one| size_of_val(one) + one.name.len() + one.address.len());
        let texts = [&self.message_id, &self.subject, &self.snippet];
        let envelope = &self.envelope;
        let envelope = [&envelope.from, &envelope.to, &envelope.queued].into_iter().flatten();
        size_of_val(self)
            + people.sum::<usize>()
            + texts.into_iter().chain(envelope).map(String::len).sum::<usize>()
    }

    /// Everybody whom the header names as an author or a recipient.
    pub fn people(&self) -> impl Iterator<Item = &NamedAddress> {
        [&self.from, &self.to, &self.cc, &self.bcc, &self.reply_to].into_iter().flatten()
    }
}

fn people(header: Header<'_>, name: &str, limits: &ObjectLimits) -> Vec<NamedAddress> {
    let named = |one: Address| NamedAddress {
        name: one_line(&one.name.unwrap_or_default(), limits.value),
        address: one_line(&one.address.unwrap_or_default(), limits.value),
    };
    header.addresses(name).unwrap_or_default().into_iter().take(limits.people).map(named).collect()
}

/// The begin of a decoded value, without line ends and other control characters, which encoded words can contain.
fn one_line(text: &str, most: usize) -> String {
    let text = &text[..text.floor_char_boundary(most)];
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
