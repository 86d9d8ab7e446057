//! Writes messages: RFC 5322 and MIME text of a sender, recipients, texts and files.
//!
//! The rule: no value begins a field or a line of its own, attachments arrive octet for octet, and no line is longer than the
//! RFCs allow. Bcc is in the envelope and nowhere else (RFC 5322 section 3.6.3). The date and the number that makes a message
//! unique are arguments.

use std::{borrow::Cow, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use mail_builder::{
    MessageBuilder,
    headers::{
        HeaderType, address::Address, content_type::ContentType, date::Date, message_id::MessageId, raw::Raw,
        text::Text,
    },
    mime::{BodyPart, MimePart},
};

/// A message to be written.
#[derive(Debug, Clone, Default)]
pub struct Composition<'a> {
    /// The author.
    pub from: Named<'a>,
    /// The recipients of `To:`.
    pub to: Vec<Named<'a>>,
    /// The recipients of `Cc:`.
    pub cc: Vec<Named<'a>>,
    /// The addresses of `Reply-To:`.
    pub reply_to: Vec<Named<'a>>,
    /// The subject.
    pub subject: &'a str,
    /// The plain text.
    pub text: &'a str,
    /// The HTML; empty if there is none.
    pub html: &'a str,
    /// The id of the message without angle brackets, if it has one already.
    pub message_id: Option<&'a str>,
    /// The id of the message that this one answers.
    pub in_reply_to: Option<&'a str>,
    /// The ids of the thread.
    pub references: Vec<&'a str>,
    /// Further fields. Their names and values must be free of line ends.
    pub fields: Vec<(&'a str, &'a str)>,
    /// Files.
    pub files: Vec<File<'a>>,
}

/// A display name, if there is one, and an address.
#[derive(Debug, Clone, Default)]
pub struct Named<'a> {
    /// The display name.
    pub name: Option<Cow<'a, str>>,
    /// The address without angle brackets.
    pub address: Cow<'a, str>,
}

/// A file of a message.
#[derive(Debug, Clone)]
pub struct File<'a> {
    /// File name without directories.
    pub name: Cow<'a, str>,
    /// Media type.
    pub kind: Cow<'a, str>,
    /// Its octets.
    pub content: Cow<'a, [u8]>,
    /// The id by which the HTML refers to it. A file that has one is shown inside the HTML.
    pub content_id: Option<&'a str>,
}

impl Composition<'_> {
    /// The message with CRLF line ends. `unique` makes its Message-ID and its boundaries unique.
    pub fn write(&self, date: SystemTime, unique: u64) -> Vec<u8> {
        let seconds = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        // The writer's domain, because recipients need not learn the name of this machine.
        let domain = self.from.address.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
        let own_id = format!("{seconds:x}.{unique:016x}@{domain}");
        let mut builder = MessageBuilder::new()
            .date(Date::new(seconds.cast_signed()))
            .from(list(std::slice::from_ref(&self.from)))
            .message_id(self.message_id.unwrap_or(&own_id));
        // At least one recipient field is written, although RFC 5322 section 3.6.3 allows Bcc alone.
        if !self.to.is_empty() {
            builder = builder.to(list(&self.to));
        }
        if !self.cc.is_empty() {
            builder = builder.cc(list(&self.cc));
        }
        if self.to.is_empty() && self.cc.is_empty() {
            builder = builder.to(Address::new_group(Some("undisclosed-recipients"), Vec::new()));
        }
        if !self.reply_to.is_empty() {
            builder = builder.reply_to(list(&self.reply_to));
        }
        builder = builder.subject(self.subject);
        if let Some(id) = self.in_reply_to {
            builder = builder.in_reply_to(id);
        }
        if !self.references.is_empty() {
            builder = builder.references(MessageId::new_list(self.references.iter().copied()));
        }
        for (name, value) in &self.fields {
            builder = builder.header(*name, field(value));
        }
        let mut message = Vec::new();
        builder.body(self.body(unique)).serialize(&mut message);
        if !message.ends_with(b"\n") {
            message.extend(b"\r\n");
        }
        message
    }

    /// The texts, with the files that belong to the HTML beside it, and then the other files (RFC 2387, RFC 2046 section 5.1).
    fn body(&self, unique: u64) -> MimePart<'_> {
        let mut number = 0;
        let mut multipart = |kind: &'static str, parts: Vec<_>| {
            number += 1;
            let boundary = format!("{number}_{unique:016x}");
            MimePart::new(ContentType::new(kind).attribute("boundary", boundary), parts)
        };
        let (inline, attached): (Vec<_>, Vec<_>) =
            self.files.iter().partition(|file| file.content_id.is_some());
        let mut body = match (self.text, self.html) {
            (plain, "") => text_part("text/plain", plain),
            ("", html) => text_part("text/html", html),
            (plain, html) => {
                let texts = vec![text_part("text/plain", plain), text_part("text/html", html)];
                multipart("multipart/alternative", texts)
            }
        };
        for (kind, files) in [("multipart/related", inline), ("multipart/mixed", attached)] {
            if !files.is_empty() {
                let parts = std::iter::once(body).chain(files.into_iter().map(File::part)).collect();
                body = multipart(kind, parts);
            }
        }
        body
    }
}

impl File<'_> {
    /// Encodes every type in base64: as text, the line ends would become those of the receiving machine.
    fn part(&self) -> MimePart<'_> {
        // A message inside a part must not be encoded (RFC 2046 section 5.2.1), so it is sent as plain
        // octets.
        let composite = self.kind.starts_with("message/") || self.kind.starts_with("multipart/");
        let kind = if composite { "application/octet-stream" } else { &*self.kind };
        let part = MimePart::new(kind, BodyPart::Binary(in_base64(&self.content).into()));
        let part = match self.content_id {
            None => part.attachment(&*self.name),
            Some(id) => {
                let inline = ContentType::new("inline").attribute("filename", &*self.name);
                part.header("Content-Disposition", inline).cid(id)
            }
        };
        part.transfer_encoding("base64")
    }
}

/// A text. NUL may stand in base64 alone (RFC 2045 section 2.7).
fn text_part<'a>(kind: &'static str, text: &'a str) -> MimePart<'a> {
    if !text.contains('\0') {
        return MimePart::new(kind, BodyPart::Text(Cow::Borrowed(text)));
    }
    let kind = ContentType::new(kind).attribute("charset", "utf-8");
    let body = BodyPart::Binary(in_base64(text.as_bytes()).into());
    MimePart::new(kind, body).transfer_encoding("base64")
}

/// The lines of octets in base64.
fn in_base64(octets: &[u8]) -> Vec<u8> {
    let mut text = String::with_capacity(octets.len() / 3 * 4 + octets.len() / 28);
    for line in octets.chunks(BASE64_LINE) {
        STANDARD.encode_string(line, &mut text);
        text.push_str("\r\n");
    }
    text.into_bytes()
}

fn list<'a>(people: &'a [Named<'_>]) -> Address<'a> {
    let one = |person: &'a Named<'_>| Address::new_address(person.name.as_deref(), &*person.address);
    Address::new_list(people.iter().map(one).collect())
}

/// The value of a field of which only the name is known. Encoded words would change a value in a grammar, such as a list
/// of links, so they are for other text than ASCII.
fn field(value: &str) -> HeaderType<'_> {
    if value.is_ascii() { Raw::new(value).into() } else { Text::new(value).into() }
}

/// Octets in a line of base64: 76 characters (RFC 2045 section 6.8).
const BASE64_LINE: usize = 57;

#[cfg(test)]
mod tests {
    use mail_parser::{MessageParser, MimeHeaders};
    use proptest::prelude::*;

    use super::*;

    fn named<'a>(name: &'a str, address: &'a str) -> Named<'a> {
        Named { name: Some(name.into()).filter(|_| !name.is_empty()), address: address.into() }
    }

    fn file<'a>(name: &'a str, content: &'a [u8], content_id: Option<&'a str>) -> File<'a> {
        File { name: name.into(), kind: "image/png".into(), content: content.into(), content_id }
    }

    #[test]
    fn files_of_the_html_stand_beside_it_and_others_after_it() {
        let message = Composition {
            from: named("Ann", "ann@a.test"),
            to: vec![named("Bob, the \"B\"", "bob@b.test")],
            reply_to: vec![named("", "r@b.test")],
            text: "plain",
            html: "<img src=\"cid:logo\">",
            files: vec![file("été.png", b"1", None), file("logo.png", b"2", Some("logo"))],
            fields: vec![("X-Test", "one"), ("List-Unsubscribe", "<mailto:a@b.test>, <https://b.test/x>")],
            message_id: Some("own@a.test"),
            ..Composition::default()
        };
        let written = String::from_utf8(message.write(SystemTime::UNIX_EPOCH, 7)).unwrap();
        let kinds: Vec<&str> = written.lines().filter(|line| line.starts_with("Content-Type: ")).collect();
        assert!(kinds[0].starts_with("Content-Type: multipart/mixed"), "{written}");
        assert!(kinds[1].starts_with("Content-Type: multipart/related"), "{written}");
        assert!(kinds[2].starts_with("Content-Type: multipart/alternative"), "{written}");
        assert!(written.contains("Message-ID: <own@a.test>\r\n"), "{written}");
        assert!(written.contains("\r\nContent-ID: <logo>\r\n"), "{written}");
        assert!(written.contains("\r\nX-Test: one\r\n"), "{written}");
        assert!(written.contains("Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n"), "{written}");
        let parsed = MessageParser::default().parse(written.as_bytes()).unwrap();
        assert_eq!(parsed.body_html(0).as_deref(), Some("<img src=\"cid:logo\">"));
        assert_eq!(parsed.body_text(0).as_deref(), Some("plain"));
        assert_eq!(parsed.to().unwrap().first().unwrap().name(), Some("Bob, the \"B\""));
        let names: Vec<_> = parsed.attachments().filter_map(|part| part.attachment_name()).collect();
        assert_eq!(names, ["logo.png", "été.png"]);
    }

    #[test]
    fn v41_nul_in_a_text_stands_in_base64_alone() {
        let message = Composition {
            from: named("", "ann@a.test"),
            text: "a\0b",
            html: "<p>c\0d",
            ..Composition::default()
        };
        let written = message.write(SystemTime::UNIX_EPOCH, 7);
        assert!(!written.contains(&0));
        let read = MessageParser::default().parse(&written).unwrap();
        assert_eq!((&*read.body_text(0).unwrap(), &*read.body_html(0).unwrap()), ("a\0b", "<p>c\0d"));
    }

    proptest! {
        #[test]
        fn v42_no_line_is_too_long_and_no_text_begins_a_field(
            subject in "[^\\p{Cc}]{0,300}",
            name in "[^\\p{Cc}]{0,200}",
            text in any::<String>(),
            html in any::<String>(),
            file_name in "[^\\p{Cc}]{1,300}",
        ) {
            let message = Composition {
                from: named(&name, "ann@a.test"),
                subject: &subject,
                text: &text,
                html: &html,
                files: vec![file(&file_name, b"x", None)],
                ..Composition::default()
            };
            let written = message.write(SystemTime::UNIX_EPOCH, 7);
            prop_assert!(written.split(|b| *b == b'\n').all(|line| line.len() <= 999));
            let header = &written[..memchr::memmem::find(&written, b"\r\n\r\n--").unwrap_or(written.len())];
            let names: Vec<&[u8]> = header
                .split(|b| *b == b'\n')
                .filter(|line| !line.starts_with(b" ") && !line.starts_with(b"\t"))
                .map(|line| line.split(|b| *b == b':').next().unwrap_or_default())
                .collect();
            let known: [&[u8]; 7] =
                [b"Date", b"From", b"Message-ID", b"To", b"Subject", b"MIME-Version", b"Content-Type"];
            prop_assert_eq!(names, known);
        }
    }
}
