//! A query and a message: a query that is written and read again is the same, and every file of an object has its content.

use restante::{
    message_object::{self, ObjectLimits, MessageObject, Summary, mailhog},
    printable,
    search::{Candidate, Query, SearchText},
};

use super::owned;
use crate::Target;

/// This target.
pub const TARGET: Target = Target { name: "search", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    owned([
        &b"from:\"a b\" -subject:x !is:read larger:1.5k ,-y\nFrom: A B <a@b.test>\nSubject: =?utf-8?q?=0A?=\n\nhttp://x.test/(a)."[..],
        b"before:\"2026-11-20 10:00\" after:1795132800 has:attachment\nContent-Type: multipart/related; boundary=b\n\n--b\n\
          Content-Type: text/html\n\n<a href=x:y>\n--b\nContent-ID: <a>\nContent-Type: image/png\n\nx\n--b--\n",
        b"\"is:x tag:\nDelivered-To: x\nReturn-Path: <>\n\nbegin 644 a\n#0V%T\n`\nend\n",
    ])
}

fn run(data: &[u8]) {
    let end = data.iter().position(|octet| *octet == b'\n').unwrap_or(data.len());
    let (text, message) = (String::from_utf8_lossy(&data[..end]), data.get(end + 1..).unwrap_or_default());
    let query = Query::parse(&text, 3600).unwrap_or_default();
    let written = query.to_string();
    assert_eq!(Query::parse(&written, 0).as_ref(), Ok(&query), "{text:?} is written as {written:?}");
    let tight = message_object::ObjectLimits { links: 2, link_length: 20, fields: 3, people: 2, value: 10, ..ObjectLimits::default() };
    for limits in [ObjectLimits::default(), tight] {
        let object = MessageObject::parse(message, &limits);
        assert_eq!(object.summary, Summary::parse(message, &limits));
        assert!(object.links.len() <= limits.links && object.headers.len() <= limits.fields);
        assert!(object.summary.subject.len() <= limits.value && object.summary.to.len() <= limits.people);
        for file in object.inline.iter().chain(&object.attachments) {
            let content = message_object::part(message, &file.part_id, &limits).expect("a listed file");
            assert_eq!((content.octets.len() as u64, content.file_name), (file.size, file.file_name.clone()));
        }
        let stored = mailhog::Stored { id: "a1", received: 0, recipients: &[] };
        let item = printable::json(&mailhog::Message::new(message, &stored, &limits), false);
        assert!(item.len() <= 200 * message.len() + 4096, "{} octets become {}", message.len(), item.len());
        mailhog::contains(message, &text);
        let text = SearchText::of(&object);
        let candidate = Candidate { summary: &object.summary, octets: 0, text: &text, is_read: false, received: 0, tags: &[] };
        let mut negated = query.clone();
        if let [term] = &mut negated.terms[..] {
            term.negated = !term.negated;
            assert_ne!(query.matches(&candidate), negated.matches(&candidate), "{written}");
        }
    }
}
