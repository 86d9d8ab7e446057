//! A message of a mailbox, as a test looks at it.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc};

use mail_parser::{MessageParser, MimeHeaders, PartType};

use crate::{
    mailbox::unique_id,
    maildir::{Error, Found, Maildir, OpenMessage, Wanted, name},
};

/// A message that is in a mailbox, or was.
#[derive(Debug, Clone)]
pub struct Message {
    maildir: Arc<Maildir>,
    found: Found,
    from: Option<String>,
    to: Option<String>,
    queued: Option<String>,
    subject: String,
    senders: Vec<String>,
}

impl Message {
    /// Reads the header of a message that was found. An error of kind `Gone` or `Changed`: it is not there any
    /// more.
    pub(super) fn read(maildir: Arc<Maildir>, found: Found) -> Result<Self, Error> {
        let (head, _) = OpenMessage::open(&maildir, Wanted::from(&found))?.read(0, HEAD)?;
        // None where there is no header at all; a value without parts must not be asked for anything.
        let parsed = MessageParser::new().parse_headers(&head[..]);
        let parsed = parsed.as_ref();
        let first = |name: &str| Some(parsed?.header_raw(name)?.trim().to_owned());
        let without_brackets = |text: String| text.trim_matches(['<', '>']).to_owned();
        let senders = parsed.and_then(|parsed| parsed.from()).into_iter().flat_map(|from| from.iter());
        Ok(Self {
            from: first("Return-Path").map(without_brackets),
            to: first("Delivered-To").map(without_brackets),
            queued: first("Received").and_then(|line| queued(&line)),
            subject: parsed.and_then(|parsed| parsed.subject()).unwrap_or_default().to_owned(),
            senders: senders.filter_map(|sender| sender.address().map(str::to_owned)).collect(),
            maildir,
            found,
        })
    }

    /// Where its file was when it was found. A POP3 session that reads it moves it from `new/` to `cur/`.
    pub fn path(&self) -> PathBuf {
        self.maildir.path().join(self.found.place.name()).join(OsStr::from_bytes(&self.found.name))
    }

    /// What UIDL calls it.
    pub fn id(&self) -> String {
        unique_id(name::identity(&self.found.name), None).into_owned()
    }

    /// What the reply to its sender called it: `Queued as …`. None if it did not come by SMTP.
    pub fn queued(&self) -> Option<&str> {
        self.queued.as_deref()
    }

    /// The address of MAIL FROM, empty for a bounce; none if it did not come by SMTP.
    pub fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// The address of RCPT TO; none if there were several, or if it did not come by SMTP.
    pub fn to(&self) -> Option<&str> {
        self.to.as_deref()
    }

    /// Whether that is the address of MAIL FROM, or one in the field From.
    pub fn is_from(&self, address: &str) -> bool {
        let all = self.from.iter().chain(&self.senders);
        all.into_iter().any(|from| from.eq_ignore_ascii_case(address))
    }

    /// The subject, decoded; empty if there is none.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Octets, as RETR announces them.
    pub fn octets(&self) -> u64 {
        self.found.octets
    }

    /// Its file, with the header lines that the server has put on top: at most the first 32 MiB of it.
    pub fn content(&self) -> Result<Vec<u8>, Error> {
        let open = OpenMessage::open(&self.maildir, Wanted::from(&self.found))?;
        open.read(0, MOST).map(|(bytes, _)| bytes)
    }

    /// The text of all its parts that are text, decoded; of its first 32 MiB.
    pub fn text(&self) -> Result<String, Error> {
        let content = self.content()?;
        let parsed = MessageParser::new().parse(&content[..]);
        let texts = parsed.iter().flat_map(|parsed| &parsed.parts).filter_map(|part| match &part.body {
            PartType::Text(text) | PartType::Html(text) if part.attachment_name().is_none() => Some(&**text),
            _ => None,
        });
        Ok(texts.collect::<Vec<_>>().join("\n"))
    }
}

/// What a `Received:` line of ours calls the message.
fn queued(line: &str) -> Option<String> {
    let (_, ours) = line.split_once("(restante) with ")?;
    let (_, id) = ours.split_once(" id ")?;
    Some(id.split([';', '\r', '\n', '\t', ' ']).next()?.to_owned())
}

/// Octets in which the header is looked for.
const HEAD: usize = 256 * 1024;
/// Octets of a message that are looked at.
const MOST: usize = 32 << 20;
