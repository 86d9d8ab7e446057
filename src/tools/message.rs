//! A message of a mailbox, for tests.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc};

use mail_parser::{MessageParser, MimeHeaders, PartType};

use crate::{
    index::unique_id,
    maildir::{Error, Maildir, MessageEntry, MessageRef, OpenMessage, name},
};

/// A message that was found in a mailbox.
#[derive(Debug, Clone)]
pub struct Message {
    maildir: Arc<Maildir>,
    entry: MessageEntry,
    from: Option<String>,
    to: Option<String>,
    queued: Option<String>,
    subject: String,
    senders: Vec<String>,
}

impl Message {
    /// Reads the header of a found message. An error of kind `Gone` or `Changed` means that the message no
    /// longer exists.
    pub(super) fn read(maildir: Arc<Maildir>, found: MessageEntry) -> Result<Self, Error> {
        let (head, _) = OpenMessage::open(&maildir, MessageRef::from(&found))?.read(0, HEADER_SEARCHED)?;
        // `None` if there is no header at all: the parser's result must not be queried then.
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
            entry: found,
        })
    }

    /// The path of its file when it was found. A POP3 session that reads the message moves it from `new/` to
    /// `cur/`.
    pub fn path(&self) -> PathBuf {
        self.maildir.path().join(self.entry.subdir.name()).join(OsStr::from_bytes(&self.entry.name))
    }

    /// Its unique id in UIDL.
    pub fn id(&self) -> String {
        unique_id(name::identity(&self.entry.name), None).into_owned()
    }

    /// The id in the reply to its sender: `Queued as …`. `None` if it did not arrive by SMTP.
    pub fn queued(&self) -> Option<&str> {
        self.queued.as_deref()
    }

    /// The address of MAIL FROM, empty for a bounce. `None` if it did not arrive by SMTP.
    pub fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// The address of RCPT TO. `None` if there were several, or if it did not arrive by SMTP.
    pub fn to(&self) -> Option<&str> {
        self.to.as_deref()
    }

    /// True if `address` is that of MAIL FROM, or stands in the field From.
    pub fn is_from(&self, address: &str) -> bool {
        let all = self.from.iter().chain(&self.senders);
        all.into_iter().any(|from| from.eq_ignore_ascii_case(address))
    }

    /// The subject, decoded; empty if there is none.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Octets as RETR announces them.
    pub fn octets(&self) -> u64 {
        self.entry.octets
    }

    /// The first 32 MiB of its file, including the header lines that the server added at the top.
    pub fn content(&self) -> Result<Vec<u8>, Error> {
        let open = OpenMessage::open(&self.maildir, MessageRef::from(&self.entry))?;
        open.read(0, MAX_CONTENT).map(|(bytes, _)| bytes)
    }

    /// All its text parts, decoded, from the first 32 MiB.
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

/// The id in a `Received:` line of restante.
fn queued(line: &str) -> Option<String> {
    let (_, ours) = line.split_once("(restante) with ")?;
    let (_, id) = ours.split_once(" id ")?;
    Some(id.split([';', '\r', '\n', '\t', ' ']).next()?.to_owned())
}

/// Octets searched for the header.
const HEADER_SEARCHED: usize = 256 * 1024;
/// Octets read of a message.
const MAX_CONTENT: usize = 32 << 20;
