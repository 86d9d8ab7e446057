//! A received message: its text for the screen, and its attachments.
//!
//! The rule: a stranger wrote all of it. The MIME reader takes it apart, names become file names only through
//! [`file_name`], and texts are shown only through [`crate::client::display`].

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    client::{
        display,
        outgoing::{InReplyTo, Person, is_address},
    },
    mime::{
        Header, Message, MimeLimits, Part, address::Address, date::Date, file_name, uuencode, view::View,
    },
};

/// One row of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Sender: the display name, else the address; that of the envelope if the header has no other.
    pub from: String,
    /// First recipient: the display name, else the address.
    pub to: String,
    /// Subject, decoded and on one line.
    pub subject: String,
    /// Date and time of the sender's clock, or of the arrival if the header has none.
    pub date: String,
}

impl Summary {
    /// Parses a header, which may end anywhere.
    pub fn parse(header: &[u8]) -> Self {
        let header = Message::parse(header, &MimeLimits::default()).header();
        let short = |name: &str| {
            let first = header.addresses(name).into_iter().flatten().next();
            first.and_then(|one| one.name.or(one.address)).map(|one| shown(&one)).unwrap_or_default()
        };
        let writer = Some(short("From")).filter(|writer| !writer.is_empty());
        Self {
            from: writer.unwrap_or_else(|| short("Return-Path")),
            to: short("To"),
            subject: subject(header),
            date: header.date().map(|date| shown_date(&date)).unwrap_or_default(),
        }
    }

    /// The same with the time of the arrival as its date, if its header has none.
    pub(super) fn arrived_at(mut self, internal_date: &[u8]) -> Self {
        if let Some(date) = Date::parse(internal_date).filter(|_| self.date.is_empty()) {
            self.date = shown_date(&date);
        }
        self
    }
}

fn subject(header: Header<'_>) -> String {
    shown(&header.text("Subject").unwrap_or_default())
}

/// A text of one line, with an ellipsis where it is longer than anybody reads.
fn shown(text: &str) -> String {
    display::printable_line(&display::bounded(text, MAX_SHOWN))
}

fn shown_date(date: &Date) -> String {
    let Date { year, month, day, hour, minute, .. } = date;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// A message as the client shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageView {
    /// From, else Return-Path; To, Cc, Date and Subject. Each value is in one line.
    pub fields: Vec<(&'static str, String)>,
    /// The text of the message; HTML is converted.
    pub text: String,
    /// The parts that are not shown as text.
    pub parts: Vec<AttachedFile>,
    /// The person who wrote it.
    pub writer: Option<Person>,
    /// Addresses that a reply goes to, at most [`MAX_REPLY_TO`].
    pub reply_to: Vec<Person>,
    /// Addresses that the message asks for.
    pub all_reply_to: usize,
    /// Subject, decoded and on one line.
    pub subject: String,
    /// The Message-IDs that a reply refers to.
    pub in_reply_to: Option<InReplyTo>,
}

/// A part that can be saved as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedFile {
    /// Name, valid as a file name.
    pub name: String,
    /// Media type, such as `image/png`.
    pub kind: String,
    /// The octets of the file, decoded.
    pub content: Vec<u8>,
}

impl MessageView {
    /// Parses a whole message. Mistakes in it never make this fail.
    pub fn parse(message: &[u8]) -> Self {
        Self::read(message, false)
    }

    /// Parses a message that this user has sent.
    pub(super) fn parse_sent(message: &[u8]) -> Self {
        Self::read(message, true)
    }

    fn read(message: &[u8], is_sent: bool) -> Self {
        let message = Message::parse(message, &MimeLimits::default());
        let header = message.header();
        let mut fields = Vec::new();
        let sender = if header.addresses("From").is_some() { "From" } else { "Return-Path" };
        for name in [sender, "To", "Cc"] {
            if let Some(people) = header.addresses(name) {
                fields.push((name, shown(&list(&people))));
            }
        }
        fields.push(("Date", header.date().map(|date| shown_date(&date)).unwrap_or_default()));
        let subject = subject(header);
        fields.push(("Subject", subject.clone()));
        let view = View::of(&message);
        let text = display::printable_text(&view.text);
        let listed = (1..).zip(&view.listed);
        let mut parts: Vec<AttachedFile> =
            listed.map(|(number, &at)| AttachedFile::new(&message, &message.parts()[at], number)).collect();
        for block in view.embedded {
            parts.push(AttachedFile::embedded(block, parts.len() + 1));
        }
        let of = |names: &[&str]| {
            let mut lists = names.iter().map(|name| people(&header.addresses(name).unwrap_or_default()));
            lists.find(|people| !people.is_empty()).unwrap_or_default()
        };
        // A reply to a message that this user has sent continues it, to the same people.
        let asked: &[&str] = if is_sent { &["To", "Cc"] } else { &["Reply-To", "From", "Return-Path"] };
        let mut reply_to = of(asked);
        let writer = of(&["From", "Sender"]).into_iter().next();
        let all_reply_to = reply_to.len();
        reply_to.truncate(MAX_REPLY_TO);
        Self {
            fields,
            text,
            parts,
            writer,
            reply_to,
            all_reply_to,
            subject,
            in_reply_to: in_reply_to(header),
        }
    }

    /// The same with that date, if its header has none.
    pub(super) fn dated(mut self, date: &str) -> Self {
        for (name, value) in &mut self.fields {
            if *name == "Date" && value.is_empty() {
                date.clone_into(value);
            }
        }
        self
    }
}

impl AttachedFile {
    fn new(message: &Message<'_>, part: &Part, number: usize) -> Self {
        let kind = display::printable_line(&display::bounded(&part.media_type.value, MAX_KIND));
        Self { name: message.save_name(part, number), kind, content: message.octets(part).into_owned() }
    }

    fn embedded(block: uuencode::Block, number: usize) -> Self {
        let name = file_name::clean(&block.name);
        let kind = mime_guess::from_path(name.as_deref().unwrap_or_default()).first_or_octet_stream();
        let name = name.unwrap_or_else(|| format!("attachment-{number}.bin"));
        Self { name, kind: kind.essence_str().to_owned(), content: block.octets }
    }

    /// Writes the attachment into a directory, under its name or, if that is taken, a numbered one. Returns
    /// the path. Leaves no part of a file.
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
                Ok(mut file) => {
                    let written = file.write_all(&self.content);
                    if written.is_err() {
                        let _ = fs::remove_file(&path);
                    }
                    return written.map(|()| path);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

fn people(all: &[Address]) -> Vec<Person> {
    let person = |one: &Address| {
        let address = one.address.clone().filter(|address| is_address(address))?;
        Some(Person { name: one.name.as_deref().map(shown), address })
    };
    all.iter().filter_map(person).collect()
}

fn list(people: &[Address]) -> String {
    let one = |person: &Address| match (&person.name, &person.address) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => name.as_ref().or(address.as_ref()).cloned().unwrap_or_default(),
    };
    people.iter().map(one).filter(|one| !one.is_empty()).collect::<Vec<_>>().join(", ")
}

fn in_reply_to(header: Header<'_>) -> Option<InReplyTo> {
    let id = header.message_ids("Message-ID").into_iter().next()?;
    let mut thread = header.message_ids("References");
    thread.push(id.clone());
    let skipped = thread.len().saturating_sub(MAX_REFERENCES);
    Some(InReplyTo { id, thread: thread.split_off(skipped) })
}

/// Characters of a field that are shown.
const MAX_SHOWN: usize = 1000;
/// Characters of a media type that are shown.
const MAX_KIND: usize = 100;
/// Addresses of a reply. The sender of the message chose them.
pub const MAX_REPLY_TO: usize = 50;
/// The largest number of Message-IDs in References.
const MAX_REFERENCES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{assert_linear, cpu_time_of};

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
    fn u92_a_message_without_a_date_has_that_of_its_arrival() {
        let arrival = b" 1-Nov-2026 02:44:25 +0100";
        for (header, date) in [
            ("Subject: x\n\n", "2026-11-01 02:44"),
            ("Date: yesterday\n\n", "2026-11-01 02:44"),
            ("Date: Sat, 21 Nov 2026 18:05:10 +0100\n\n", "2026-11-21 18:05"),
        ] {
            let summary = Summary::parse(header.as_bytes()).arrived_at(arrival);
            assert_eq!(summary.date, date, "{header:?}");
            let view = MessageView::parse(header.as_bytes()).dated(&summary.date);
            assert!(view.fields.contains(&("Date", date.into())), "{:?}", view.fields);
        }
        assert_eq!(Summary::parse(b"\n").arrived_at(b"").date, "");
    }

    #[test]
    fn u92_a_message_without_a_writer_has_the_sender_of_its_envelope() {
        for (header, from, replies) in [
            ("Return-Path: <e@a.test>\nSubject: x\n\n", "e@a.test", 1),
            ("Return-Path: <e@a.test>\nFrom: Ann <ann@a.test>\n\n", "Ann", 1),
            ("Return-Path: <>\n\n", "", 0),
            ("Subject: x\n\n", "", 0),
        ] {
            assert_eq!(Summary::parse(header.as_bytes()).from, from, "{header:?}");
            assert_eq!(MessageView::parse(header.as_bytes()).reply_to.len(), replies, "{header:?}");
        }
    }

    #[test]
    fn u93_a_reply_to_a_sent_message_goes_to_its_recipients() {
        let addresses = |view: &MessageView| {
            view.reply_to.iter().map(|person| person.address.clone()).collect::<Vec<_>>()
        };
        let sent = b"From: Me <me@a.test>\nReply-To: me@b.test\nTo: ann@a.test, Bob <bob@a.test>\nCc: c@a.test\n\nx\n";
        let view = MessageView::parse_sent(sent);
        assert_eq!(addresses(&view), ["ann@a.test", "bob@a.test"]);
        assert_eq!(view.writer.as_ref().map(|writer| writer.address.as_str()), Some("me@a.test"));
        assert_eq!(addresses(&MessageView::parse(sent)), ["me@b.test"]);
        let copies = MessageView::parse_sent(b"From: me@a.test\nCc: c@a.test\n\n");
        assert_eq!(addresses(&copies), ["c@a.test"]);
        assert!(MessageView::parse_sent(b"From: me@a.test\nBcc: d@a.test\n\n").reply_to.is_empty());
    }

    #[test]
    fn u13_a_giant_header_is_shown_and_answered_within_bounds() {
        let people: Vec<String> = (0..10_000).map(|n| format!("user{n}@b.test")).collect();
        let people = people.join(",\n ");
        let long = "x".repeat(100_000);
        let view = MessageView::parse(
            format!("To: {people}\nReply-To: {people}\nSubject: {long}\nContent-Type: {long}/{long}\n\n")
                .as_bytes(),
        );
        assert_eq!((view.reply_to.len(), view.all_reply_to), (MAX_REPLY_TO, 10_000));
        for (name, value) in &view.fields {
            assert!(value.chars().count() <= MAX_SHOWN + 1, "{name}");
            assert_eq!(value.ends_with('…'), *name != "Date", "{name}");
        }
        assert!(view.parts.iter().all(|part| part.kind.chars().count() <= MAX_KIND + 1));
        let summary = Summary::parse(format!("From: {long} <a@b.test>\nSubject: {long}\n\n").as_bytes());
        assert!([summary.from, summary.subject].iter().all(|text| text.chars().count() == MAX_SHOWN + 1));
    }

    #[test]
    fn u13_a_giant_header_takes_linear_time() {
        assert_linear("giant header", 2_000, |count| {
            let people: String = (0..count).map(|n| format!("user{n}@b.test,\n ")).collect();
            let long = "x".repeat(50 * count);
            let header = format!("From: {people}a@b.test\nReply-To: {people}a@b.test\nSubject: {long}\n\n");
            cpu_time_of(|| assert_eq!(MessageView::parse(header.as_bytes()).all_reply_to, count + 1))
        });
    }

    #[test]
    fn u16_a_uuencoded_file_is_an_attachment_with_a_safe_name() {
        let view = MessageView::parse(
            b"Subject: x\n\nLook:\nbegin 644 ../.cat.png\n#0V%T\n`\nend\nbye\nbegin 644 ..\n#0V%T\n`\nend\n",
        );
        assert_eq!(view.text, "Look:\nbegin 644 ../.cat.png\n…\nend\nbye\nbegin 644 ..\n…\nend\n");
        let parts: Vec<_> = view.parts.iter().map(|part| (part.name.as_str(), part.kind.as_str())).collect();
        assert_eq!(parts, [("cat.png", "image/png"), ("attachment-2.bin", "application/octet-stream")]);
        assert!(view.parts.iter().all(|part| part.content == b"Cat"));
    }

    #[test]
    fn attached_text_is_saved_as_it_was_sent() {
        let home = tempfile::tempdir().unwrap();
        let view = MessageView::parse(
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
              Content-Type: text/csv; charset=iso-8859-1; name=\"- .zshenv\"\r\n\
              Content-Transfer-Encoding: base64 (csv)\r\n\r\n6TsxDQo=\r\n--b--\r\n",
        );
        let saved = view.parts[0].save(home.path()).unwrap();
        assert_eq!(saved, home.path().join("zshenv"));
        assert_eq!(std::fs::read(saved).unwrap(), b"\xe9;1\r\n");
    }

    #[test]
    fn no_awkward_message_gets_through_to_the_terminal() {
        let letters = crate::tools::test_messages::nasty();
        for letter in &letters {
            let view = MessageView::parse(&letter.bytes);
            let fields = view.fields.iter().map(|(_, value)| value);
            let names = view.parts.iter().flat_map(|part| [&part.name, &part.kind]);
            for line in fields.chain(names).chain([&view.subject]) {
                assert_eq!(&display::printable_line(line), line, "{}", letter.label);
            }
            assert_eq!(display::printable_text(&view.text), view.text, "{}", letter.label);
            let body = letter.bytes.ends_with(b"\n\nbody\n");
            assert!(!body || view.text.contains("body"), "{}: {:?}", letter.label, view.text);
        }
    }

    #[test]
    fn nonsense_is_shown_all_the_same() {
        assert_eq!(MessageView::parse(b"").text, "");
        assert!(Summary::parse(b"\0\xff\n\n").subject.is_empty());
        MessageView::parse(b"\xff\xfe\n\nContent-Type: multipart/mixed; boundary=");
    }
}
