//! The JSON of MailHog's API, versions 1 and 2.
//!
//! The rule: names, types and the order of parts are those of MailHog, because the tests of others index them. A body is not
//! decoded, a line ends in CR LF, and the list of parts has the text before the first boundary and that after the last one.
//! An item repeats the octets of its message, so it has a bound: the texts and fields beyond it are missing.

mod room;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use self::room::{Room, size_on_the_wire};
use super::{Envelope, NamedAddress, ObjectLimits, Summary, mailpit::time};
use crate::mime::{self, Content as Kind, Header, Message as Mime, Part, Role, charset, header};

/// Facts about a stored message that its octets do not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Its id in the API.
    pub id: &'a str,
    /// The time of its delivery, in milliseconds since 1970.
    pub received: i64,
    /// The recipients of its envelope whose mailboxes the request may reach.
    pub recipients: &'a [String],
}

/// A message.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Message {
    #[serde(rename = "ID")]
    id: String,
    from: Path,
    to: Vec<Path>,
    content: Content,
    created: String,
    #[serde(rename = "MIME")]
    mime: Option<Parts>,
    raw: Raw,
    /// Octets of the JSON.
    #[serde(skip)]
    written: usize,
}

/// An address of the envelope.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Path {
    relays: Option<[String; 0]>,
    mailbox: String,
    domain: String,
    params: &'static str,
}

/// A message or a part: its fields as they were sent, and its body with its transfer encoding.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    headers: BTreeMap<String, Vec<String>>,
    body: String,
    size: usize,
    #[serde(rename = "MIME")]
    mime: Option<Parts>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Parts {
    parts: Vec<Content>,
}

/// The envelope, and the message as its sender sent it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Raw {
    from: String,
    to: Vec<String>,
    data: String,
    helo: String,
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub struct Page {
    /// Messages in the list.
    pub total: usize,
    /// Messages in this page.
    pub count: usize,
    /// The number of newer messages before this page.
    pub start: usize,
    /// The messages, newest first.
    pub items: Vec<Message>,
    /// The addresses of mailboxes that cannot be read, or not to their end. MailHog has no such field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}

impl Message {
    /// A message with all that it contains. Accepts any octets.
    pub fn new(octets: &[u8], stored: &Stored<'_>, limits: &ObjectLimits) -> Self {
        let depth = limits.mime.depth.min(MAX_DEPTH);
        let message = Mime::parse(octets, &mime::MimeLimits { depth, ..limits.mime });
        let header = message.header();
        let room = Room::for_message(octets.len());
        let (from, helo) = (room.cut(sender(header)), room.cut(greeting(header)));
        let recipients = stored.recipients.iter().take_while(|to| room.take(to.len() * 2 + OVERHEAD));
        let to: Vec<String> = recipients.cloned().collect();
        let data = without_trace(octets);
        // The whole message comes first, then its own fields, and then the repetitions.
        let raw = Raw { data: room.text(data), helo, to: to.clone(), from: from.clone() };
        let content = Content {
            headers: fields(header, limits, &room),
            body: room.text(message.as_sent(message.parts()[0].body.clone())),
            size: size_on_the_wire(data),
            mime: None,
        };
        let mime = Tree { message: &message, limits, room: &room }.parts(0);
        Self {
            id: stored.id.to_owned(),
            from: Path::of(&from),
            to: to.iter().map(|to| Path::of(to)).collect(),
            content,
            created: time(stored.received),
            mime,
            raw,
            written: room.written(),
        }
    }

    /// Octets that the message takes in JSON, about.
    pub fn written(&self) -> usize {
        self.written
    }
}

/// True if a message has this text in its body or in the value of a field, as MailHog compares: as it was sent, without regard to
/// case.
pub fn contains(octets: &[u8], wanted: &str) -> bool {
    let message = Mime::parse(octets, &ObjectLimits::default().mime);
    let wanted = wanted.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    has(&String::from_utf8_lossy(message.as_sent(message.parts()[0].body.clone())))
        || message.header().fields().any(|field| has(&charset::guess(&field.value)))
}

/// True if an address of the envelope, or an author or recipient of the header, contains this text, without regard to case.
pub fn names<'a>(envelope: impl IntoIterator<Item = &'a str>, people: &[NamedAddress], wanted: &str) -> bool {
    let wanted = wanted.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    envelope.into_iter().any(has)
        || people.iter().any(|one| has(&format!("{} <{}>", one.name, one.address)) || has(&one.address))
}

/// The recipients of a message, from the addresses of the mailboxes that have it: for each the address that it was sent to, with
/// its tag, where the envelope or the header names it.
pub fn recipients(summary: &Summary, mailboxes: &[String]) -> Vec<String> {
    if let ([_], Some(to)) = (mailboxes, &summary.envelope.to) {
        return vec![to.clone()];
    }
    let mut others: BTreeSet<&str> = mailboxes.iter().map(String::as_str).collect();
    let known = others.clone();
    let mut all: Vec<String> = Vec::new();
    for one in [&summary.to, &summary.cc, &summary.bcc].into_iter().flatten() {
        let mailbox = without_tag(&one.address).to_lowercase();
        // A second name of the same mailbox counts only with another tag.
        if known.contains(&*mailbox) && (others.remove(&*mailbox) || !all.contains(&one.address)) {
            all.push(one.address.clone());
        }
    }
    all.extend(others.into_iter().map(str::to_owned));
    all
}

/// `bob@b.test` of `bob+tag@b.test`.
fn without_tag(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => {
            let local = local.split_once('+').map_or(local, |(local, _)| local);
            format!("{local}@{domain}")
        }
        None => address.to_owned(),
    }
}

impl Path {
    fn of(address: &str) -> Self {
        let (mailbox, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        Self { relays: None, mailbox: mailbox.to_owned(), domain: domain.to_owned(), params: "" }
    }
}

/// The parts of a message, as MailHog lists them.
struct Tree<'a> {
    message: &'a Mime<'a>,
    limits: &'a ObjectLimits,
    room: &'a Room,
}

impl Tree<'_> {
    /// The parts of a multipart. `None` if it is none. The depth of multiparts is bounded.
    fn parts(&self, index: usize) -> Option<Parts> {
        let all = self.message.parts();
        let multipart = &all[index];
        if multipart.content != Kind::Multipart {
            return None;
        }
        let is_part = |part: &Part| matches!(part.role, Role::Part | Role::Rest);
        let children: Vec<usize> = (index + 1..all.len())
            .filter(|at| all[*at].parent == Some(index) && is_part(&all[*at]))
            .collect();
        let (first, last) = (children.first()?, children.last()?);
        let before = self.message.as_sent(multipart.body.start..all[*first].header.start);
        let after = self.message.as_sent(all[*last].body.end..multipart.body.end);
        let boundary = multipart.media_type.raw("boundary").unwrap_or_default().trim_ascii_end();
        let after = without_line_ends(after).strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary));
        let before = without_line_ends(without_last_line(before));
        let mut parts: Vec<Content> = self.between_parts(before).into_iter().collect();
        parts.extend(children.iter().map(|child| self.content(*child)));
        parts.extend(after.and_then(|after| self.between_parts(without_line_ends(after))));
        Some(Parts { parts })
    }

    fn content(&self, index: usize) -> Content {
        let part = &self.message.parts()[index];
        let whole = self.message.as_sent(part.header.start..part.body.end);
        let body = self.message.as_sent(part.body.clone());
        let body = if part.header.is_empty() { without_line_ends(body) } else { without_ends_after(body) };
        self.room.take(OVERHEAD);
        Content {
            headers: fields(self.message.header_of(part), self.limits, self.room),
            body: self.room.text(body),
            size: size_on_the_wire(without_line_ends(whole)),
            mime: self.parts(index),
        }
    }

    /// The text before the first boundary, or after the last one.
    fn between_parts(&self, octets: &[u8]) -> Option<Content> {
        self.room.take(OVERHEAD);
        (!octets.is_empty()).then(|| Content {
            headers: BTreeMap::new(),
            size: size_on_the_wire(octets),
            body: self.room.text(octets),
            mime: None,
        })
    }
}

/// The fields of a header by their names, as they were sent, as far as there is room.
fn fields(header: Header<'_>, limits: &ObjectLimits, room: &Room) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<String, Vec<String>>::new();
    for field in header.fields().take(limits.fields) {
        let name = room.cut(String::from_utf8_lossy(field.name).into_owned());
        let value = room.cut(charset::guess(&field.value).into_owned());
        if !room.take(OF_FIELD) {
            break;
        }
        all.entry(name).or_default().push(value);
    }
    all
}

/// The address of MAIL FROM, else the first author.
fn sender(header: Header<'_>) -> String {
    let author = || header.addresses("From")?.into_iter().find_map(|one| one.address);
    Envelope::of(header).from.or_else(author).unwrap_or_default()
}

/// The name that the client gave in EHLO, if restante received the message.
fn greeting(header: Header<'_>) -> String {
    let ours = header.raw("Received").map(|value| String::from_utf8_lossy(&value).into_owned());
    let ours = ours.filter(|value| value.contains(BY_RESTANTE)).unwrap_or_default();
    ours.strip_prefix("from ").and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned()
}

/// The message without the fields that restante wrote in front of it.
fn without_trace(octets: &[u8]) -> &[u8] {
    let mut rest = octets;
    loop {
        let end = memchr::memchr_iter(b'\n', rest).map(|feed| feed + 1);
        let mut end = end.filter(|end| !matches!(rest.get(*end), Some(b' ' | b'\t')));
        let Some((field, after)) = end.next().map(|end| rest.split_at(end)) else { return octets };
        match header::fields(field).next() {
            Some(one) if one.is_named("Return-Path") || one.is_named("Delivered-To") => rest = after,
            Some(one) if one.is_named("Received") => {
                let is_ours = memchr::memmem::find(&one.value, BY_RESTANTE.as_bytes()).is_some();
                return if is_ours { after } else { octets };
            }
            _ => return octets,
        }
    }
}

fn without_line_ends(octets: &[u8]) -> &[u8] {
    let begin = octets.iter().position(|b| !is_line_end(*b)).unwrap_or(octets.len());
    without_ends_after(&octets[begin..])
}

fn without_ends_after(octets: &[u8]) -> &[u8] {
    let end = octets.iter().rposition(|b| !is_line_end(*b)).map_or(0, |at| at + 1);
    &octets[..end]
}

fn is_line_end(octet: u8) -> bool {
    matches!(octet, b'\r' | b'\n')
}

/// The text without its last line, which is the boundary after it.
fn without_last_line(octets: &[u8]) -> &[u8] {
    let text = without_ends_after(octets);
    memchr::memrchr(b'\n', text).map_or(&[], |feed| &text[..feed])
}

/// Levels of multiparts that are taken apart. Each level repeats the octets of its parts.
const MAX_DEPTH: usize = 8;
/// Octets of JSON around a part, or around a recipient.
const OVERHEAD: usize = 128;
/// Octets of JSON around a field.
const OF_FIELD: usize = 8;
const BY_RESTANTE: &str = "(restante) with ";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(octets: &[u8]) -> serde_json::Value {
        let recipients = ["bob+x@b.test".to_owned(), "\"a@b\"@c.test".to_owned()];
        let stored = Stored { id: "a1", received: 1_795_168_805_007, recipients: &recipients };
        serde_json::to_value(Message::new(octets, &stored, &ObjectLimits::default())).unwrap()
    }

    #[test]
    fn v50_a_message_has_the_form_of_mailhog() {
        let message = json(
            b"Return-Path: <shop@a.test>\nDelivered-To: bob+x@b.test\nReceived: from app.test ([127.0.0.1])\n\
              \tby h (restante) with ESMTP id c1-1\n\tfor <bob+x@b.test>;\n\tdate\nSubject: =?utf-8?Q?=C3=BC?=\n\
              To: Bob\n <bob@b.test>\nX-Two: 1\nX-Two: 2\n\none\r\ntwo\n",
        );
        assert_eq!(
            message,
            serde_json::json!({
                "ID": "a1",
                "From": {"Relays": null, "Mailbox": "shop", "Domain": "a.test", "Params": ""},
                "To": [
                    {"Relays": null, "Mailbox": "bob+x", "Domain": "b.test", "Params": ""},
                    {"Relays": null, "Mailbox": "\"a@b\"", "Domain": "c.test", "Params": ""},
                ],
                "Content": {
                    "Headers": {
                        "Return-Path": ["<shop@a.test>"],
                        "Delivered-To": ["bob+x@b.test"],
                        "Received": ["from app.test ([127.0.0.1])\tby h (restante) with ESMTP id c1-1\tfor <bob+x@b.test>;\tdate"],
                        "Subject": ["=?utf-8?Q?=C3=BC?="],
                        "To": ["Bob <bob@b.test>"],
                        "X-Two": ["1", "2"],
                    },
                    "Body": "one\r\ntwo",
                    "Size": 83,
                    "MIME": null,
                },
                "Created": "2026-11-20T10:00:05.007Z",
                "MIME": null,
                "Raw": {
                    "From": "shop@a.test",
                    "To": ["bob+x@b.test", "\"a@b\"@c.test"],
                    "Data": "Subject: =?utf-8?Q?=C3=BC?=\r\nTo: Bob\r\n <bob@b.test>\r\nX-Two: 1\r\nX-Two: 2\r\n\r\none\r\ntwo",
                    "Helo": "app.test",
                },
            })
        );
    }

    #[test]
    fn v50_parts_are_counted_as_mailhog_counts_them() {
        let message = json(
            b"Content-Type: multipart/mixed; boundary=b\n\nThis is a multi-part message in MIME format.\n--b\n\
              Content-Type: multipart/alternative; boundary=\"b2\"\n\n--b2\nContent-Type: text/plain\n\
              Content-Transfer-Encoding: quoted-printable\n\n=C3=BC\n\n--b2--\n\n--b\n\nno header\n--b--\nthe end\n",
        );
        assert_eq!(message["Content"]["MIME"], serde_json::Value::Null);
        let bodies = |value: &serde_json::Value| -> Vec<String> {
            let parts = value["MIME"]["Parts"].as_array().unwrap();
            parts.iter().map(|part| part["Body"].as_str().unwrap().to_owned()).collect()
        };
        let all = bodies(&message);
        assert_eq!(all.len(), 4, "{all:?}");
        assert_eq!(
            (all[0].as_str(), all[2].as_str(), all[3].as_str()),
            ("This is a multi-part message in MIME format.", "no header", "--\r\nthe end")
        );
        let inner = &message["MIME"]["Parts"][1];
        assert_eq!(bodies(inner), ["=C3=BC", "--"]);
        assert_eq!(
            inner["MIME"]["Parts"][0]["Headers"]["Content-Transfer-Encoding"],
            serde_json::json!(["quoted-printable"])
        );
        assert_eq!(inner["MIME"]["Parts"][0]["Size"], 79);
    }

    #[test]
    fn v52_the_levels_of_multiparts_are_bounded() {
        let text = "x".repeat(1000);
        let levels: String =
            (0..49).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect();
        let letter = levels + "\n" + &text;
        let written = json(letter.as_bytes()).to_string();
        assert_eq!(written.matches(&text).count(), 2 + MAX_DEPTH - 1, "{written}");
    }

    #[test]
    fn mail_of_other_programs_keeps_its_header() {
        for (octets, from, helo) in [
            (&b"From: Ann <ann@a.test>\n\nx"[..], "ann@a.test", ""),
            (b"Return-Path: <>\nReceived: from x by y with SMTP\nSubject: a\n\n", "", ""),
            (b"Return-Path: <b@a.test>", "b@a.test", ""),
            (b"", "", ""),
        ] {
            let message = json(octets);
            assert_eq!((&message["Raw"]["From"], &message["Raw"]["Helo"]), (&from.into(), &helo.into()));
            let sent = String::from_utf8_lossy(octets).trim_end().replace('\n', "\r\n");
            assert_eq!(message["Raw"]["Data"].as_str().unwrap().trim_end(), sent);
        }
    }

    #[test]
    fn a_search_looks_at_the_message_as_it_was_sent() {
        let letter = b"Subject: =?utf-8?Q?=C3=BC?=\n\nDear =C3=BC, the file bill.PDF\n";
        for wanted in ["=c3=BC", "bill.pdf", "DEAR", "=?UTF-8?"] {
            assert!(contains(letter, wanted), "{wanted}");
        }
        assert!(!contains(letter, "subject") && !contains(letter, "ü"));
        let ann = [NamedAddress { name: "Ann B".into(), address: "ann@a.test".into() }];
        for wanted in ["ANN@a", "Ann B <ann@a.test>", "shop@", ".test"] {
            assert!(names(["shop@x.test"], &ann, wanted), "{wanted}");
        }
        assert!(!names([""], &ann, "bob"));
    }

    #[test]
    fn v51_the_recipients_are_those_whose_mailboxes_have_the_message() {
        let to = |letter: &str, mailboxes: &[&str]| {
            let summary = Summary::parse(letter.as_bytes(), &ObjectLimits::default());
            let mailboxes: Vec<String> = mailboxes.iter().map(|&one| one.to_owned()).collect();
            recipients(&summary, &mailboxes).join(" ")
        };
        let letter = "To: Ann <Ann+news@b.test>, list@far.test\nCc: bob@b.test\n\n";
        let all = ["ann@b.test", "bob@b.test", "blind@b.test"];
        assert_eq!(to(letter, &all), "Ann+news@b.test bob@b.test blind@b.test");
        assert_eq!(
            to("To: a@b.test, a@b.test, a+x@b.test\n\n", &["a@b.test", "c@b.test"]),
            "a@b.test a+x@b.test c@b.test"
        );
        assert_eq!(to(letter, &all[1..2]), "bob@b.test");
        assert_eq!(to("Delivered-To: sales@b.test\nTo: x@far.test\n\n", &all[..1]), "sales@b.test");
        assert_eq!(to("", &all[..2]), "ann@b.test bob@b.test");
        assert_eq!(to(letter, &[]), "");
    }

    proptest! {
        #[test]
        fn any_octets_are_a_message(octets in proptest::collection::vec(any::<u8>(), 0..300), text in "(Content-Type: multipart/x; boundary=b|\r?\n|--b|--b--|\n\n|a){0,20}") {
            json(&octets);
            json(text.as_bytes());
            prop_assert_eq!(room::on_the_wire(&octets).len(), size_on_the_wire(&octets));
            let sent = String::from_utf8_lossy(&octets);
            let counted = sent.chars().map(crate::printable::json_octets).sum::<usize>();
            prop_assert_eq!(crate::printable::json(&sent, false).len(), counted + 2);
            contains(&octets, &text);
        }
    }
}
