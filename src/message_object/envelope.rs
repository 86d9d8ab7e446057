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
    /// The address of RCPT TO in `Delivered-To:`, else in `X-Original-To:`. `None` if there were several.
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
        Self {
            from: address("Return-Path"),
            to: address("Delivered-To").or_else(|| address("X-Original-To")),
            queued: header.raw("Received").and_then(|line| queued(&String::from_utf8_lossy(&line))),
        }
    }
}

/// The id in a `Received:` line of restante.
fn queued(line: &str) -> Option<String> {
    let (_, ours) = line.split_once("(restante) with ")?;
    let (_, id) = ours.split_once(" id ")?;
    Some(id.split([';', '\r', '\n', '\t', ' ']).next()?.to_owned())
}
