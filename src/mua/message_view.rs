//! A received message: its text for the screen, and its attachments.
//!
//! The rule: a stranger wrote all of it. Names become file names only through [`file_name`], and texts are
//! shown only through [`crate::client::display`].

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use mail_parser::{Address, DateTime, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use crate::client::{
    display,
    outgoing::{InReplyTo, Person, is_address},
};

/// One row of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Sender: the display name, else the address.
    pub from: String,
    /// First recipient, likewise.
    pub to: String,
    /// Subject, decoded.
    pub subject: String,
    /// Date and time of the sender's clock.
    pub date: String,
}

impl Summary {
    /// Parses a header.
    pub fn parse(header: &[u8]) -> Self {
        let Some(message) = MessageParser::default().parse_headers(header) else { return Self::default() };
        let short = |people: Option<&Address<'_>>| {
            let first = people.and_then(Address::first);
            first
                .and_then(|one| one.name().or(one.address()))
                .map(display::printable_line)
                .unwrap_or_default()
        };
        Self {
            from: short(message.from()),
            to: short(message.to()),
            subject: message.subject().map(display::printable_line).unwrap_or_default(),
            date: message.date().map(date).unwrap_or_default(),
        }
    }
}

fn date(date: &DateTime) -> String {
    let DateTime { year, month, day, hour, minute, .. } = date;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// A parsed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageView {
    /// From, To, Cc, Date and Subject, each value in one line.
    pub fields: Vec<(&'static str, String)>,
    /// Text; HTML is converted.
    pub text: String,
    /// Attachments.
    pub parts: Vec<AttachedFile>,
    /// Addresses that a reply goes to.
    pub reply_to: Vec<Person>,
    /// Subject, decoded.
    pub subject: String,
    /// References for a reply.
    pub in_reply_to: Option<InReplyTo>,
}

/// An attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedFile {
    /// Name, valid as a file name.
    pub name: String,
    /// Media type.
    pub kind: String,
    /// Decoded octets.
    pub content: Vec<u8>,
}

impl MessageView {
    /// Parses a whole message.
    pub fn parse(message: &[u8]) -> Self {
        let Some(parsed) = MessageParser::default().parse(message) else {
            let text = display::printable_text(&String::from_utf8_lossy(message));
            let (fields, parts, reply_to) = (Vec::new(), Vec::new(), Vec::new());
            return Self { fields, text, parts, reply_to, subject: String::new(), in_reply_to: None };
        };
        let mut fields = Vec::new();
        for (name, people) in [("From", parsed.from()), ("To", parsed.to()), ("Cc", parsed.cc())] {
            if let Some(people) = people {
                fields.push((name, display::printable_line(&list(people))));
            }
        }
        fields.push(("Date", parsed.date().map(date).unwrap_or_default()));
        let subject = display::printable_line(parsed.subject().unwrap_or_default());
        fields.push(("Subject", subject.clone()));
        let texts = (0..parsed.text_body_count()).filter_map(|number| parsed.body_text(number));
        let text = display::printable_text(&texts.collect::<Vec<_>>().join("\n"));
        let parts = parsed
            .attachments()
            .enumerate()
            .map(|(number, part)| AttachedFile::from_part(part, number + 1))
            .collect();
        let reply_to = people(parsed.reply_to().or(parsed.from()));
        Self { fields, text, parts, reply_to, subject, in_reply_to: in_reply_to(&parsed) }
    }
}

impl AttachedFile {
    fn from_part(part: &MessagePart<'_>, number: usize) -> Self {
        let kind = match part.content_type() {
            Some(kind) => format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")),
            None => "application/octet-stream".into(),
        };
        let kind = display::printable_line(&kind).to_ascii_lowercase();
        let end = match &part.body {
            PartType::Message(_) => Some("eml"),
            _ => mime_guess::get_mime_extensions_str(&kind).and_then(|known| known.first().copied()),
        };
        let fallback = format!("attachment-{number}.{}", end.unwrap_or("bin"));
        let name = part.attachment_name().and_then(file_name).unwrap_or(fallback);
        Self { name, kind, content: part.contents().to_vec() }
    }

    /// Writes the attachment into a directory, under its name or, if that is taken, a numbered one. Returns
    /// the path.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub fn save(&self, directory: &Path) -> io::Result<PathBuf> {
        let (stem, end) = match self.name.rsplit_once('.') {
            Some((stem, end)) if !stem.is_empty() => (stem, format!(".{end}")),
            _ => (self.name.as_str(), String::new()),
        };
        for number in 1..1000 {
            let name = if number == 1 { self.name.clone() } else { format!("{stem} ({number}){end}") };
            let path = directory.join(name);
            // O_EXCL: an existing file or link is never written to.
            match File::create_new(&path) {
                Ok(mut file) => return file.write_all(&self.content).map(|()| path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// Turns a name chosen by a stranger into a file name: the last component, without control characters or
/// leading dots, and not too long. `None` if nothing is left.
pub fn file_name(given: &str) -> Option<String> {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last
        .chars()
        .filter(|c| !c.is_control() && display::printable_line(&c.to_string()) == c.to_string())
        .collect();
    let mut name = plain.trim().trim_start_matches(['.', '-', '~']).trim().to_owned();
    if name.len() > MAX_NAME {
        let end = name.rsplit_once('.').map_or("", |(_, end)| end);
        let end = if (1..20).contains(&end.len()) { format!(".{end}") } else { String::new() };
        name = name[..name.floor_char_boundary(MAX_NAME - end.len())].to_owned() + &end;
    }
    Some(name).filter(|name| !name.is_empty())
}

fn people(header: Option<&Address<'_>>) -> Vec<Person> {
    let all = header.into_iter().flat_map(|people| people.iter());
    all.filter_map(|one| {
        let address = one.address().filter(|address| is_address(address))?;
        Some(Person { name: one.name().map(display::printable_line), address: address.into() })
    })
    .collect()
}

fn list(people: &Address<'_>) -> String {
    let one = |person: &mail_parser::Addr<'_>| match (person.name(), person.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => name.or(address).unwrap_or_default().to_owned(),
    };
    people.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn in_reply_to(message: &Message<'_>) -> Option<InReplyTo> {
    let id = message.message_id()?.to_owned();
    let before = message.references();
    let mut thread: Vec<String> = match (before.as_text_list(), before.as_text()) {
        (Some(ids), _) => ids.iter().map(|id| id.to_string()).collect(),
        (None, Some(id)) => vec![id.to_owned()],
        (None, None) => Vec::new(),
    };
    thread.push(id.clone());
    let skipped = thread.len().saturating_sub(MAX_REFERENCES);
    Some(InReplyTo { id, thread: thread.split_off(skipped) })
}

/// Octets of a file name, with room left for a number.
const MAX_NAME: usize = 200;
/// Message-IDs in References.
const MAX_REFERENCES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_stranger_is_no_path() {
        for (given, name) in [
            ("photo.png", Some("photo.png")),
            ("../../etc/passwd", Some("passwd")),
            ("C:\\windows\\x.exe", Some("x.exe")),
            ("/", None),
            ("..", None),
            (".bashrc", Some("bashrc")),
            ("-rf", Some("rf")),
            ("a\0b\x1b[2Jc\n.txt", Some("ab[2Jc.txt")),
            ("evil\u{202e}gpj.exe", Some("evilgpj.exe")),
            ("été 日本.txt", Some("été 日本.txt")),
            ("", None),
        ] {
            assert_eq!(file_name(given).as_deref(), name, "{given:?}");
        }
        let long = file_name(&format!("{}.tar", "é".repeat(300))).unwrap();
        assert!(long.len() <= MAX_NAME && long.ends_with("é.tar"), "{long}");
        assert_eq!(file_name(&"a".repeat(300)).unwrap().len(), MAX_NAME);
    }

    #[test]
    fn nothing_is_overwritten_and_no_link_is_followed() {
        let home = tempfile::tempdir().unwrap();
        let part =
            |name: &str| AttachedFile { name: name.into(), kind: String::new(), content: b"new".to_vec() };
        std::fs::write(home.path().join("a.txt"), "old").unwrap();
        std::os::unix::fs::symlink(home.path().join("target"), home.path().join("b")).unwrap();
        assert_eq!(part("a.txt").save(home.path()).unwrap(), home.path().join("a (2).txt"));
        assert_eq!(part("a.txt").save(home.path()).unwrap(), home.path().join("a (3).txt"));
        assert_eq!(part("b").save(home.path()).unwrap(), home.path().join("b (2)"));
        assert_eq!(std::fs::read(home.path().join("a.txt")).unwrap(), b"old");
        assert!(!home.path().join("target").exists());
    }

    #[test]
    fn a_letter_is_taken_apart_and_made_harmless() {
        let view = MessageView::parse(
            b"From: =?utf-8?q?=C3=89lodie_=1B=5B31m?= <e@a.test>\nTo: a@b.test, B <b@b.test>\n\
              Subject: =?utf-8?b?w4l0w6k=?=\nDate: Sat, 21 Nov 2026 18:05:10 +0100\nMessage-ID: <2@a>\n\
              References: <0@a> <1@a>\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/html\n\n\
              <p>Hello &amp; \x1b[2Jbye</p><script>no</script>\n--x\n\
              Content-Disposition: attachment; filename*=UTF-8''..%2F%C3%A9.txt\n\nabc\n--x\n\
              Content-Type: image/png\n\nxyz\n--x--\n",
        );
        assert_eq!(view.fields[0], ("From", "Élodie ␛[31m <e@a.test>".into()));
        assert_eq!(view.fields[1], ("To", "a@b.test, B <b@b.test>".into()));
        assert_eq!((view.subject.as_str(), view.fields[2].1.as_str()), ("Été", "2026-11-21 18:05"));
        assert_eq!(view.text.trim(), "Hello & ␛[2Jbye");
        let names: Vec<_> =
            view.parts.iter().map(|part| (part.name.as_str(), part.content.as_slice())).collect();
        assert_eq!(names, [("é.txt", &b"abc"[..]), ("attachment-2.png", b"xyz")]);
        assert_eq!(view.reply_to.len(), 1);
        assert_eq!(view.in_reply_to.unwrap().thread, ["0@a", "1@a", "2@a"]);
    }

    #[test]
    fn nonsense_is_shown_all_the_same() {
        assert_eq!(MessageView::parse(b"").text, "");
        assert!(Summary::parse(b"\0\xff\n\n").subject.is_empty());
        MessageView::parse(b"\xff\xfe\n\nContent-Type: multipart/mixed; boundary=");
    }
}
