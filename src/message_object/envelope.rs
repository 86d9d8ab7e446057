//! The envelope of a stored message.
//!
//! The rule: the header tells it, so only the first field of a name counts, which the last server wrote. A message with several
//! recipients names none, because a blind copy stays blind.

use crate::mime::{Header, charset};

/// The envelope, as far as the stored header tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The address of MAIL FROM in `Return-Path:`, empty for a bounce.
    pub from: Option<String>,
    /// The address of RCPT TO: in our `Received:`, else in `Delivered-To:` or `X-Original-To:`. `None` if there were several.
    pub to: Option<String>,
    /// The id in the reply to the sender, `Queued as …`, if restante received it. Copies for several recipients have the same.
    pub queued: Option<String>,
}

impl Envelope {
    /// Reads the envelope from a header.
    pub fn of(header: Header<'_>) -> Self {
        let address = |name| {
            let value = header.raw(name)?;
            Some(charset::guess(&value).trim_matches(['<', '>']).to_owned())
        };
        let received = header.raw("Received").map(|line| charset::guess(&line).into_owned());
        let (queued, to) = match received.as_deref().and_then(own_trace) {
            Some((id, recipient)) => (Some(id), recipient),
            None => (None, address("Delivered-To").or_else(|| address("X-Original-To"))),
        };
        Self { from: address("Return-Path"), to, queued }
    }

    /// The recipients, as far as they are known: that of the envelope, or, if the envelope tells none, those that are `named` in
    /// the fields `To:`, `Cc:` and `Bcc:`.
    pub fn recipients<'a>(&'a self, named: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
        let named = named.filter(|_| self.to.is_none());
        self.to.as_deref().into_iter().chain(named)
    }

    /// True if the message had several recipients, and its header does not tell them.
    pub fn hides_recipients(&self) -> bool {
        self.queued.is_some() && self.to.is_none()
    }
}

/// The id and the only recipient in a `Received:` line of restante. A copy in `Sent` shares the file with the recipient, so the
/// field `Delivered-To:` is missing there, and one that the sender wrote tells nothing.
fn own_trace(line: &str) -> Option<(String, Option<String>)> {
    let (_, ours) = line.split_once("(restante) with ")?;
    let (_, id) = ours.split_once(" id ")?;
    let (id, clauses) = id.split_at(id.find([';', '\r', '\n', '\t', ' ']).unwrap_or(id.len()));
    // The date has no bracket, and an address in quotation marks may have one.
    let recipient = clauses.trim_start().strip_prefix("for <").and_then(|rest| rest.rsplit_once(">;"));
    Some((id.to_owned(), recipient.map(|(address, _)| address.to_owned())))
}
