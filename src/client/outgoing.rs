//! A message being written: its recipients, its content, and the RFC 5322 and MIME text made of them.
//!
//! The rule: Bcc is in the envelope and in drafts, and nowhere else (RFC 5322 section 3.6.3), and attachments arrive octet
//! for octet.

use std::{collections::HashSet, fmt, fs, io, path::Path, time::SystemTime};

use crate::{
    compose::{Composition, File, Named},
    mime::address,
    printable::is_hidden,
};

/// A mail address, perhaps with a display name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub name: Option<String>,
    pub address: String,
}

impl Person {
    pub fn address_only(address: impl Into<String>) -> Self {
        Self { name: None, address: address.into() }
    }

    /// Parses a list in header syntax: `Élodie <e@example.test>, bob@example.test`.
    ///
    /// # Errors
    /// Returns the text that is not an address.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let wrong = || text.trim().to_owned();
        if text.contains(char::is_control) {
            return Err(wrong());
        }
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        let entries = address::parse(text.as_bytes());
        // Nothing at all, as in `<>`, is not an address either.
        if entries.is_empty() {
            return Err(wrong());
        }
        let person = |entry: address::Address| {
            let (name, address) = match entry.address {
                Some(address) => (entry.name, address),
                // `root`: a user of that machine. `"a@b.test"` is no address but a name that looks like one.
                None => (None, entry.name.filter(|name| !name.contains('@')).unwrap_or_default()),
            };
            if entry.well_formed && is_address(&address) { Ok(Self { name, address }) } else { Err(wrong()) }
        };
        entries.into_iter().map(person).collect()
    }

    /// The first person of a list whose name a comma has split, because it is not quoted: `Dupont, Jean <jean@example.test>` reads
    /// as a user `Dupont` and another person.
    pub(crate) fn with_split_name(list: &str) -> Option<Self> {
        let without_blanks = |text: &str| text.split_whitespace().collect::<String>();
        let (entries, typed) = (address::parse(list.as_bytes()), without_blanks(list));
        entries.windows(2).find_map(|pair| {
            let (family, given) = (pair[0].name.as_ref()?, pair[1].name.as_ref()?);
            let address = pair[1].address.as_ref().filter(|_| pair[0].address.is_none())?;
            // Not after a semicolon, and not with a comment or a quoted word in the place of the name.
            let is_split = typed.contains(&without_blanks(&format!("{family},{given}<{address}>")));
            let name = format!("{family}, {given}");
            (is_split && !name.contains(char::is_control))
                .then(|| Self { name: Some(name), address: address.clone() })
        })
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            // A name with characters that would end it in a list is quoted (RFC 5322 section 3.2.3).
            Some(name) if name.contains(SPECIALS) => {
                write!(f, "\"{}\" <{}>", name.replace('\\', "\\\\").replace('"', "\\\""), self.address)
            }
            Some(name) => write!(f, "{name} <{}>", self.address),
            None => f.write_str(&self.address),
        }
    }
}

/// True if the text can stand between `<` and `>` of a command as one address, and a reader sees all of it. All other checks
/// are the server's.
pub(crate) fn is_address(text: &str) -> bool {
    let (mut quoted, mut escaped, mut at) = (false, false, None);
    for (place, c) in text.char_indices() {
        let is_plain = quoted || !(c.is_whitespace() || "<>,;()".contains(c));
        // A second `@` outside of quotes leaves open which part is the domain.
        if is_hidden(c) || !is_plain || (c == '@' && !quoted && at.replace(place).is_some()) {
            return false;
        }
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
    }
    !quoted && !text.is_empty() && at.is_none_or(|at| at > 0 && at + 1 < text.len())
}

/// A file attached to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// File name without directories.
    pub name: String,
    /// Media type, guessed from the name.
    pub kind: String,
    pub content: Vec<u8>,
}

impl Attachment {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let content = fs::read(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kind = mime_guess::from_path(path).first_or_octet_stream().essence_str().to_owned();
        Ok(Self { name, kind, content })
    }
}

/// The message that a reply answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InReplyTo {
    /// Message-ID, without angle brackets.
    pub id: String,
    /// Message-IDs of the thread, ending with the answered message.
    pub thread: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutgoingMessage {
    pub from: Person,
    pub to: Vec<Person>,
    pub cc: Vec<Person>,
    /// Recipients of hidden copies: envelope only.
    pub bcc: Vec<Person>,
    pub subject: String,
    pub text: String,
    pub attachments: Vec<Attachment>,
    /// The message that this one replies to.
    pub in_reply_to: Option<InReplyTo>,
}

impl OutgoingMessage {
    /// An empty message.
    pub(crate) fn from(from: Person) -> Self {
        let (to, cc, bcc) = (Vec::new(), Vec::new(), Vec::new());
        let (subject, text) = (String::new(), String::new());
        Self { from, to, cc, bcc, subject, text, attachments: Vec::new(), in_reply_to: None }
    }

    /// Returns every envelope address once.
    pub(crate) fn recipients(&self) -> Vec<&str> {
        let mut known = HashSet::new();
        let people = self.to.iter().chain(&self.cc).chain(&self.bcc).map(|person| person.address.as_str());
        people.filter(|address| known.insert(address.to_ascii_lowercase())).collect()
    }

    /// Formats the message with CRLF line ends. `unique` makes its Message-ID unique.
    pub(crate) fn build(&self, date: SystemTime, unique: u64) -> Vec<u8> {
        self.composition().write(date, unique)
    }

    /// Formats a draft, which its writer alone reads: it has the recipients of hidden copies.
    pub(crate) fn build_draft(&self, date: SystemTime, unique: u64) -> Vec<u8> {
        let hidden: Vec<&str> = self.bcc.iter().map(|person| person.address.as_str()).collect();
        let hidden = hidden.join(", ");
        let mut draft = self.composition();
        if !hidden.is_empty() {
            draft.fields.push(("Bcc", &hidden));
        }
        draft.write(date, unique)
    }

    fn composition(&self) -> Composition<'_> {
        let answers = self.in_reply_to.as_ref();
        Composition {
            from: named(&self.from),
            to: self.to.iter().map(named).collect(),
            cc: self.cc.iter().map(named).collect(),
            subject: &self.subject,
            text: &self.text,
            in_reply_to: answers.map(|answers| answers.id.as_str()),
            references: answers.iter().flat_map(|answers| &answers.thread).map(String::as_str).collect(),
            files: self.attachments.iter().map(file).collect(),
            ..Composition::default()
        }
    }
}

fn file(Attachment { name, kind, content }: &Attachment) -> File<'_> {
    let (name, kind, content) = (name.as_str().into(), kind.as_str().into(), content.as_slice().into());
    File { name, kind, content, content_id: None }
}

fn named(person: &Person) -> Named<'_> {
    Named { name: person.name.as_deref().map(Into::into), address: person.address.as_str().into() }
}

/// Characters that a display name can only have in quotes.
const SPECIALS: [char; 13] = ['(', ')', '<', '>', '[', ']', ':', ';', '@', '\\', ',', '.', '"'];

#[cfg(test)]
mod tests {
    use mail_parser::{MessageParser, MimeHeaders};

    use super::*;
    use crate::{
        clock::{assert_linear, cpu_time_of},
        mime,
    };

    fn person(name: &str, address: &str) -> Person {
        Person { name: Some(name.into()).filter(|name: &String| !name.is_empty()), address: address.into() }
    }

    #[test]
    fn u05_a_list_of_people_is_read_as_headers_have_it_or_refused() {
        for (text, people) in [
            ("bob@b.test", vec![person("", "bob@b.test")]),
            ("  ", vec![]),
            (
                "Élodie D. <e@b.test>, bob@b.test",
                vec![person("Élodie D.", "e@b.test"), person("", "bob@b.test")],
            ),
            ("\"Doe, John\" <j@b.test>", vec![person("Doe, John", "j@b.test")]),
            // Outlook separates by semicolons.
            ("bob@b.test; A <a@b.test>;", vec![person("", "bob@b.test"), person("A", "a@b.test")]),
            ("root", vec![person("", "root")]),
            ("rené@b.test", vec![person("", "rené@b.test")]),
            ("friends: bob@b.test, A <a@b.test>;", vec![person("", "bob@b.test"), person("A", "a@b.test")]),
            ("bob@b.test (Ann <ann@far.test>)", vec![person("Ann <ann@far.test>", "bob@b.test")]),
            // Comments and blanks beside `@` are no part of the address (RFC 5322 section 3.2.3).
            ("<bob(x)@b.test>", vec![person("", "bob@b.test")]),
            ("bob (x) @b.test", vec![person("x", "bob@b.test")]),
            ("bob @b.test", vec![person("", "bob@b.test")]),
            ("(the one) <bob@b.test> (x)", vec![person("the one x", "bob@b.test")]),
            ("\"ann@far.test\" <bob@b.test>", vec![person("ann@far.test", "bob@b.test")]),
            ("\"a@b <c>\"@d.test", vec![person("", "\"a@b <c>\"@d.test")]),
            ("<\"a\\\"@b\"@d.test>;x@y.test", vec![person("", "\"a\\\"@b\"@d.test"), person("", "x@y.test")]),
        ] {
            assert_eq!(Person::parse_list(text).as_deref(), Ok(people.as_slice()), "{text}");
        }
        for bad in [
            "a b@c",
            "a@b>\r\nBcc: x@y",
            "<>",
            "a@b.test, <>",
            "a@b\u{7}",
            "Bob <a b@c.test>",
            "<ann@far.test> <bob@example.test>",
            "ann@far.test bob@example.test",
            "<ann@far.test>bob@example.test",
            "ann@far.test <bob@example.test>,,(",
            "Bob <bob@example.test",
            "ann@far.test@example.test",
            "<ann@far.test@example.test>",
            "@example.test",
            "ann@",
            "<ann@far.test,bob@example.test>",
            "<<ann@far.test>>",
            "<ann@far.test> bob",
            "<ann@far.test> (x) bob@example.test",
            "mailto:ann@far.test",
            "ann:bob@example.test",
            "friends: a@b.test, others: c@d.test;",
            "friends: a@b.test",
            "friends:;",
            "\"ann@far.test\"",
            "=?utf-8?q?ann=40far.test?=",
            "\"ann@far.test",
            "ann\\@far.test bob@example.test",
            "(ann@far.test)",
        ] {
            assert!(Person::parse_list(bad).is_err(), "{bad:?}: {:?}", Person::parse_list(bad));
        }
    }

    #[test]
    fn u121_a_name_that_a_comma_splits_is_found() {
        for (list, shown) in [
            ("Dupont, Jean <j@b.test>", "\"Dupont, Jean\" <j@b.test>"),
            (
                "ann@b.test; de la Cruz,Juan  Luis <j@b.test>; x@b.test",
                "\"de la Cruz, Juan Luis\" <j@b.test>",
            ),
            ("Müller, Zoé <z@b.test>", "\"Müller, Zoé\" <z@b.test>"),
        ] {
            let found = Person::with_split_name(list).map(|person| person.to_string());
            assert_eq!(found.as_deref(), Some(shown), "{list}");
            assert!(Person::parse_list(shown).is_ok_and(|people| people.len() == 1), "{shown}");
        }
        for list in [
            "\"Dupont, Jean\" <j@b.test>",
            "ann@b.test, Jean <j@b.test>",
            "root, j@b.test",
            "root; Jean <j@b.test>",
            "Ann <a@b.test>, Jean <j@b.test>",
            "",
        ] {
            assert_eq!(Person::with_split_name(list), None, "{list}");
        }
    }

    #[test]
    fn people_that_are_shown_can_be_read_again() {
        let people =
            [person("Doe, \"J.\" \\o/", "j@b.test"), person("Élodie D", "e@b.test"), person("", "x@b.test")];
        let shown = people.each_ref().map(Person::to_string).join(", ");
        assert_eq!(Person::parse_list(&shown).as_deref(), Ok(people.as_slice()), "{shown}");
    }

    #[test]
    fn an_address_is_what_can_stand_in_a_command() {
        for good in ["a@b", "\"a b\"@c", "root", "\"a\\\" <\"@c", "é@b", "\"a@b\"@c", "a@[IPv6:::1]"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "a b@c",
            "a@b>",
            "a\r\n@b",
            "\"a@b",
            "a,b@c",
            "a@b@c",
            "@c",
            "a@",
            "\"a\"@b@c",
            "j@\u{202e}b",
            "a\u{200b}@b",
        ] {
            assert!(!is_address(bad), "{bad:?}");
        }
    }

    fn letter() -> OutgoingMessage {
        OutgoingMessage {
            to: vec![Person::address_only("bob@b.test"), person("Élodie", "e@b.test")],
            cc: vec![Person::address_only("BOB@b.test")],
            bcc: vec![Person::address_only("secret@b.test")],
            subject: "Réunion à 10 h, avec un sujet assez long pour être plié deux fois au moins".into(),
            text: "Bonjour,\n.\n.. à demain\n".into(),
            attachments: vec![
                Attachment {
                    name: "été.txt".into(),
                    kind: "text/plain".into(),
                    content: b"a\r\nb\n\rc".to_vec(),
                },
                Attachment { name: "none".into(), kind: "application/octet-stream".into(), content: vec![] },
                Attachment {
                    name: "m.eml".into(),
                    kind: "message/rfc822".into(),
                    content: b"A: b\n\n".to_vec(),
                },
            ],
            in_reply_to: Some(InReplyTo { id: "1@b".into(), thread: vec!["0@b".into(), "1@b".into()] }),
            ..OutgoingMessage::from(person("Ann", "ann@a.test"))
        }
    }

    #[test]
    fn a_message_says_what_the_letter_says_but_for_bcc() {
        let letter = letter();
        assert_eq!(letter.recipients(), ["bob@b.test", "e@b.test", "secret@b.test"]);
        let message = letter.build(SystemTime::UNIX_EPOCH, 7);
        assert!(message.is_ascii() && !String::from_utf8_lossy(&message).to_lowercase().contains("secret"));
        assert!(message.split(|b| *b == b'\n').all(|line| line.len() <= 79));
        let parsed = MessageParser::default().parse(&message).unwrap();
        assert_eq!(parsed.subject(), Some(letter.subject.as_str()));
        assert_eq!(parsed.message_id(), Some("0.0000000000000007@a.test"));
        assert_eq!(parsed.in_reply_to().as_text(), Some("1@b"));
        assert_eq!(parsed.references().as_text_list().map(<[_]>::len), Some(2));
        assert_eq!(parsed.body_text(0).as_deref(), Some(letter.text.replace('\n', "\r\n").as_str()));
        let got: Vec<_> =
            parsed.attachments().map(|part| (part.attachment_name(), part.contents())).collect();
        let wanted: Vec<_> = letter
            .attachments
            .iter()
            .map(|file| (Some(file.name.as_str()), file.content.as_slice()))
            .collect();
        assert_eq!(got, wanted);
        let read = mime::Message::parse(&message, &mime::MimeLimits::default());
        let view = mime::view::View::of(&read);
        assert_eq!(view.text.trim_end(), letter.text.trim_end().replace('\n', "\r\n"));
        let octets =
            |at: &usize| (read.file_name(&read.parts()[*at]), read.octets(&read.parts()[*at]).into_owned());
        let got: Vec<_> = view.listed.iter().map(octets).collect();
        let wanted: Vec<_> =
            letter.attachments.iter().map(|file| (Some(file.name.clone()), file.content.clone())).collect();
        assert_eq!(got, wanted);
    }

    #[test]
    fn u17_an_attached_text_of_any_charset_arrives_octet_for_octet() {
        let home = tempfile::tempdir().unwrap();
        let utf_16 =
            |text: &str, order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<_>>();
        let text = "\u{feff}prix;日本\r\n.\r\nœufs\n";
        let files = [
            ("latin-1.csv", b"prix;\xe9t\xe9\r\n.\r\n\xa0\r\xff".to_vec()),
            ("windows.txt", b"\x80 5\n\x85\x00\x1a".to_vec()),
            ("little.txt", utf_16(text, u16::to_le_bytes)),
            ("big.csv", utf_16(text, u16::to_be_bytes)),
            ("shift-jis.html", b"<p>\x93\xfa\x96\x7b\x8c\xea</p>\r\n".to_vec()),
        ];
        let attach = |(name, content): &(&str, Vec<u8>)| {
            let path = home.path().join(name);
            fs::write(&path, content).unwrap();
            Attachment::read(&path).unwrap()
        };
        let letter = OutgoingMessage { attachments: files.iter().map(attach).collect(), ..letter() };
        assert!(letter.attachments.iter().all(|file| file.kind.starts_with("text/")));
        let message = letter.build(SystemTime::UNIX_EPOCH, 7);
        let read = mime::Message::parse(&message, &mime::MimeLimits::default());
        let arrived: Vec<_> = mime::view::View::of(&read)
            .listed
            .iter()
            .map(|at| {
                (read.file_name(&read.parts()[*at]).unwrap(), read.octets(&read.parts()[*at]).into_owned())
            })
            .collect();
        assert_eq!(arrived, files.map(|(name, content)| (name.to_owned(), content)));
    }

    #[test]
    fn u13_a_letter_to_very_many_people_costs_linear_time() {
        let people = |count: usize| -> Vec<Person> {
            (0..count).map(|n| Person::address_only(format!("user{n}@b.test"))).collect()
        };
        let letter = |count| OutgoingMessage {
            to: people(count),
            cc: people(count + 1),
            ..OutgoingMessage::from(Person::address_only("a@a.test"))
        };
        assert_linear("recipients", 2_000, |count| {
            let letter = letter(count);
            cpu_time_of(|| assert_eq!(letter.recipients().len(), count + 1))
        });
        assert_linear("header", 2_000, |count| {
            let letter = letter(count);
            cpu_time_of(|| letter.build(SystemTime::UNIX_EPOCH, 7))
        });
        assert_linear("list of people", 2_000, |count| {
            let text = people(count).iter().map(|person| format!("{person}, ")).collect::<String>();
            cpu_time_of(|| assert_eq!(Person::parse_list(text.trim_end_matches(", ")).unwrap().len(), count))
        });
    }

    #[test]
    fn a_letter_for_hidden_people_only_says_so() {
        let letter = OutgoingMessage {
            bcc: vec![Person::address_only("x@b.test")],
            ..OutgoingMessage::from(Person::address_only("a@a.test"))
        };
        let message = String::from_utf8(letter.build(SystemTime::UNIX_EPOCH, 0)).unwrap();
        assert!(message.contains("undisclosed-recipients") && !message.contains("x@b.test"), "{message}");
    }
}
