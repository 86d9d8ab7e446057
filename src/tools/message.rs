//! A message of a mailbox, for tests.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc};

use serde::Serialize;

use crate::{
    index::unique_id,
    maildir::{Error, Maildir, MessageEntry, MessageRef, OpenMessage, name},
    message_object::{
        self, Envelope, MessageObject,
        mailpit::{self, Stored},
    },
    mime::{self, MimeLimits},
    printable,
    proto::tagged::TaggedAddress,
    search::{Candidate, Query, SearchText},
    wire_size::{on_the_wire, text_on_the_wire},
};

/// A message that was found in a mailbox.
#[derive(Debug, Clone)]
pub struct Message {
    maildir: Arc<Maildir>,
    entry: MessageEntry,
    envelope: Envelope,
    subject: String,
    senders: Vec<String>,
    /// Those in the fields of recipients.
    named: Vec<String>,
}

/// A message in JSON.
#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    from: Option<&'a str>,
    to: Option<&'a str>,
    subject: &'a str,
    octets: u64,
    id: &'a str,
    queued: Option<&'a str>,
    message: mailpit::Message<'a>,
}

impl Message {
    /// Reads the header of a found message. An error of kind `Gone` or `Changed` means that the message no
    /// longer exists.
    pub(super) fn read(maildir: Arc<Maildir>, found: MessageEntry) -> Result<Self, Error> {
        let (head, _) = OpenMessage::open(&maildir, MessageRef::from(&found))?.read(0, HEADER_SEARCHED)?;
        let header = mime::Message::parse(&head, &MimeLimits::default()).header();
        let addresses =
            |name| header.addresses(name).unwrap_or_default().into_iter().filter_map(|one| one.address);
        Ok(Self {
            envelope: Envelope::of(header),
            subject: header.text("Subject").unwrap_or_default(),
            senders: addresses("From").collect(),
            named: ["To", "Cc", "Bcc"].into_iter().flat_map(addresses).collect(),
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
        self.envelope.queued.as_deref()
    }

    /// The address of MAIL FROM, empty for a bounce. `None` if it did not arrive by SMTP.
    pub fn from(&self) -> Option<&str> {
        self.envelope.from.as_deref()
    }

    /// The address of RCPT TO. `None` if there were several, or if it did not arrive by SMTP.
    pub fn to(&self) -> Option<&str> {
        self.envelope.to.as_deref()
    }

    /// True if the address is that of a recipient, as far as they are known.
    pub(crate) fn is_to(&self, address: &TaggedAddress) -> bool {
        let mut recipients = self.envelope.recipients(self.named.iter().map(String::as_str));
        recipients.any(|recipient| address.is(recipient))
    }

    /// True if the message may be for the address, which its header does not tell.
    pub(crate) fn hides_from(&self, address: &TaggedAddress) -> bool {
        self.envelope.hides_recipients() && !self.is_to(address)
    }

    /// True if `address` is that of MAIL FROM, or stands in the field From.
    pub fn is_from(&self, address: &str) -> bool {
        let all = self.envelope.from.iter().chain(&self.senders);
        all.into_iter().any(|from| from.eq_ignore_ascii_case(address))
    }

    /// Its author in the field From, else the address of MAIL FROM.
    pub(crate) fn sender(&self) -> Option<&str> {
        self.senders.first().map(String::as_str).or(self.from())
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

    /// The message as one value: sender, recipients, text, HTML, links, files and header, from its first 32 MiB.
    pub fn object(&self) -> Result<MessageObject, Error> {
        let content = self.content()?;
        let mut object = MessageObject::parse(&content, &message_object::ObjectLimits::default());
        object.summary.size = self.entry.version.bytes;
        Ok(object)
    }

    /// True if a query finds it. `object` is the message itself.
    pub(crate) fn is_found_by(&self, query: &Query, object: &MessageObject) -> bool {
        let text = if query.needs_text() { SearchText::of(object) } else { SearchText::default() };
        query.matches(&Candidate {
            summary: &object.summary,
            octets: self.entry.octets,
            text: &text,
            is_read: self.entry.is_read(),
            received: self.entry.received(),
            tags: &[],
        })
    }

    /// One line of JSON: its envelope and its file, and under `message` the object of the web API, with the path. Its texts have
    /// the line ends with which they came.
    pub(crate) fn to_json(&self) -> Result<String, Error> {
        let content = on_the_wire(&self.content()?);
        let mut object = MessageObject::parse(&content, &message_object::ObjectLimits::default());
        object.text = text_on_the_wire(&object.text);
        let path = self.path();
        let path = path.to_string_lossy();
        let id = self.id();
        let stored = Stored {
            id: &mailpit::id(&id),
            is_read: self.entry.is_read(),
            received: self.entry.received(),
            path: Some(&path),
            octets: Some(self.octets()),
            ..Stored::default()
        };
        let line = Line {
            path: &path,
            from: self.from(),
            to: self.to(),
            subject: self.subject(),
            octets: self.octets(),
            id: &id,
            queued: self.queued(),
            message: mailpit::Message::new(&object, &stored),
        };
        Ok(printable::json(&line, false))
    }

    /// All its text parts, decoded, from the first 32 MiB. Those of forwarded messages are among them; HTML stays HTML.
    pub fn text(&self) -> Result<String, Error> {
        let content = self.content()?;
        let texts = mime::Message::parse(&content, &MimeLimits::default()).texts().collect::<Vec<_>>();
        Ok(texts.join("\n"))
    }
}

/// Octets searched for the header.
const HEADER_SEARCHED: usize = 256 * 1024;
/// Octets read of a message.
const MAX_CONTENT: usize = 32 << 20;
