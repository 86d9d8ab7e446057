use proptest::prelude::*;

use super::*;
use crate::message_object::mailpit::{self, ListItem, Stored};

fn object(message: &str) -> MessageObject {
    MessageObject::parse(message.as_bytes(), &ObjectLimits::default())
}

/// A multipart of parts, each a header and a body.
fn multipart(kind: &str, boundary: &str, parts: &[&str]) -> String {
    let parts: String = parts.iter().map(|part| format!("--{boundary}\n{part}\n")).collect();
    format!("Content-Type: multipart/{kind}; boundary={boundary}\n\n{parts}--{boundary}--\n")
}

/// Number, name and type of each file.
fn files(files: &[AttachedPart]) -> Vec<(&str, &str, &str)> {
    files.iter().map(|file| (&*file.part_id, &*file.file_name, &*file.content_type)).collect()
}

const PLAIN: &str = "Content-Type: text/plain\n\nplain http://a.test";
const HTML: &str =
    "Content-Type: text/html\n\n<p>html <a href=http://b.test>b</a><a href=http://a.test>a</a>";

#[test]
fn alternatives_are_text_and_html_and_no_files() {
    let found = object(&multipart("alternative", "b", &[PLAIN, HTML]));
    assert_eq!(found.text, "plain http://a.test\n");
    assert_eq!(found.html, "<p>html <a href=http://b.test>b</a><a href=http://a.test>a</a>");
    assert_eq!(found.links, ["http://a.test", "http://b.test"]);
    assert_eq!((found.inline.len(), found.attachments.len()), (0, 0));
    assert_eq!(found.summary.snippet, "html ba");
    let only = object(HTML);
    assert_eq!(only.text, "html b [1]a [2]\n\n[1] http://b.test\n[2] http://a.test\n");
    assert_eq!(only.links, ["http://b.test", "http://a.test"]);
}

#[test]
fn files_are_inline_or_attached_and_none_is_lost() {
    let picture = "Content-Type: image/png\nContent-ID: <p@x>\nContent-Transfer-Encoding: base64\n\naGVsbG8=";
    let related = multipart("related", "c", &[HTML, picture]);
    let pdf = "Content-Type: application/pdf\nContent-Disposition: attachment; filename=\"../a b.pdf\"\n\nx";
    let forwarded =
        format!("Content-Type: message/rfc822\n\nSubject: inner\n{}", multipart("mixed", "d", &[HTML, pdf]));
    let csv = "Content-Type: text/csv; name=a.csv\n\n1,2";
    let odd = "Content-Type: x y/\u{1b}\n\nodd";
    let inline = "Content-Type: text/plain\nContent-Disposition: inline; filename=n.txt\n\nnote";
    let page = "Content-Type: text/html\nContent-Disposition: attachment; filename=p.html\n\n<a href=http://no.test>";
    let message = multipart("mixed", "b", &[&related, pdf, &forwarded, csv, odd, inline, page]);
    let found = object(&message);
    assert_eq!(
        files(&found.inline),
        [("1.2", "attachment-1.png", "image/png"), ("6", "n.txt", "text/plain")]
    );
    assert_eq!(
        files(&found.attachments),
        [
            ("2", "a b.pdf", "application/pdf"),
            ("3", "attachment-3.eml", "message/rfc822"),
            ("4", "a.csv", "text/csv"),
            ("7", "p.html", "text/html"),
        ]
    );
    assert_eq!((found.summary.inline, found.summary.attachments), (2, 4));
    assert!(found.text.contains("odd") && found.html.starts_with("<p>html"), "{found:?}");
    assert!(!found.html.contains("no.test"), "an attached page is a file: {}", found.html);
    let picture = &found.inline[0];
    assert_eq!((picture.size, &*picture.content_id), (5, "p@x"));
    assert_eq!(picture.checksums.md5, "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(picture.checksums.sha1, "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d");
    assert!(picture.checksums.sha256.starts_with("2cf24dba5fb0a30e"));
}

#[test]
fn a_part_is_found_by_its_number() {
    let uuencoded = "Subject: x\n\nbefore\nbegin 644 cat.txt\n#0V%T\n`\nend\n";
    let found = object(uuencoded);
    assert_eq!(files(&found.attachments), [("u1", "cat.txt", "text/plain")]);
    let content = |message: &str, number: &str| {
        part(message.as_bytes(), number, &ObjectLimits::default())
            .map(|part| String::from_utf8(part.octets).unwrap())
    };
    assert_eq!(content(uuencoded, "u1").as_deref(), Some("Cat"));
    for number in ["u0", "u2", "u", "u-1", "1", "", "0.0", "99999999999999999999", "u99999999999999999999"] {
        assert_eq!(content(uuencoded, number), None, "{number}");
    }
    let nested = multipart("mixed", "b", &[&multipart("alternative", "c", &[PLAIN, HTML]), "\nthree"]);
    assert_eq!(content(&nested, "1.1").as_deref(), Some("plain http://a.test"));
    assert_eq!(content(&nested, "2").as_deref(), Some("three"));
    assert_eq!(content("Subject: x\n\nbody", "0").as_deref(), Some("body"));
}

#[test]
fn the_envelope_is_that_of_the_last_server_and_a_blind_recipient_is_one() {
    let received =
        "Received: from c ([192.0.2.1])\n\tby h (restante) with ESMTP id 1a2b\n\tfor <bob@b.test>;\n\tdate\n";
    let head = format!("Return-Path: <s@far.test>\nDelivered-To: bob@b.test\n{received}");
    let found = object(&format!(
        "{head}Return-Path: <old@x.test>\nFrom: =?utf-8?q?Zo=C3=AB=0A?= <z@b.test>\nTo: ann@b.test\n\n"
    ));
    let expected = Envelope {
        from: Some("s@far.test".into()),
        to: Some("bob@b.test".into()),
        queued: Some("1a2b".into()),
    };
    assert_eq!(found.summary.envelope, expected);
    let bcc: Vec<_> = found.summary.bcc.iter().map(|one| one.address.as_str()).collect();
    assert_eq!(bcc, ["bob@b.test"]);
    assert_eq!(found.summary.from, [NamedAddress { name: "Zoë ".into(), address: "z@b.test".into() }]);
    let named = object(&format!("{head}Cc: Bob <BOB@b.test>\n\n"));
    assert_eq!((named.summary.cc.len(), named.summary.bcc.len()), (1, 0));
    let sent = object(&format!("Return-Path: <s@far.test>\n{received}Delivered-To: forged@b.test\n\n"));
    assert_eq!(sent.summary.envelope, expected, "a sender with a copy in Sent");
    let quoted = received.replace("bob@", "\"a> ;for <x>;b\"@");
    assert_eq!(object(&quoted).summary.envelope.to.as_deref(), Some("\"a> ;for <x>;b\"@b.test"));
    let other = object("X-Original-To: x@b.test\nReturn-Path: <>\n\n").summary.envelope;
    assert_eq!(other, Envelope { from: Some(String::new()), to: Some("x@b.test".into()), queued: None });
    assert_eq!(object("").summary.envelope, Envelope::default());
}

#[test]
fn n73_a_field_of_the_sender_does_not_stand_for_the_recipients_that_stay_unknown() {
    let received = "Received: from c ([192.0.2.1])\n\tby h (restante) with ESMTPA id 1a2b;\n\tdate\n";
    let fields = "Delivered-To: forged@b.test\nX-Original-To: forged@b.test\nTo: a@b.test\nCc: c@b.test\n";
    let several = object(&format!("Return-Path: <s@far.test>\n{received}{fields}\n")).summary;
    assert_eq!((&several.envelope.to, several.envelope.hides_recipients()), (&None, true));
    assert_eq!(several.recipients().collect::<Vec<_>>(), ["a@b.test", "c@b.test"]);
    let received = received.replace("1a2b;", "1a2b\n\tfor <one@b.test>;");
    let one = object(&format!("{received}{fields}\n")).summary;
    assert_eq!(
        (one.recipients().collect::<Vec<_>>(), one.envelope.hides_recipients()),
        (vec!["one@b.test"], false)
    );
}

#[test]
fn headers_keep_their_order_and_both_forms() {
    let found = object("B: =?utf-8?q?caf=C3=A9?=\nnot a field\na: 1\n 2\nB: x\n\n");
    let rows: Vec<_> = found.headers.iter().map(|field| (&*field.name, &*field.value, &*field.raw)).collect();
    assert_eq!(rows, [("B", "café", "=?utf-8?q?caf=C3=A9?="), ("a", "1 2", "1 2"), ("B", "x", "x")]);
    let map = mailpit::headers(&found);
    assert_eq!(serde_json::to_string(&map).unwrap(), r#"{"A":["1 2"],"B":["=?utf-8?q?caf=C3=A9?=","x"]}"#);
}

#[test]
fn the_summary_of_the_begin_of_a_message_is_that_of_the_whole_but_for_its_size() {
    let message = format!("Subject: long\nFrom: a@b.test\n\n{}", "word ".repeat(10_000));
    let mut begin = Summary::parse(&message.as_bytes()[..4096], &ObjectLimits::default());
    begin.size = message.len() as u64;
    assert_eq!(begin, object(&message).summary);
    let tags = ["t".to_owned()];
    let stored =
        Stored { id: "1", is_read: true, received: 5, username: "u", tags: &tags, path: None, octets: None };
    let item = serde_json::to_value(ListItem::new(&begin, &stored)).unwrap();
    assert_eq!(
        (&item["Size"], &item["Read"], &item["Tags"][0]),
        (&message.len().into(), &true.into(), &"t".into())
    );
}

#[test]
fn a_header_of_a_mebibyte_leaves_a_small_summary() {
    let to = "a@b.test, ".repeat(50_000);
    let message =
        format!("Subject: {}\nFrom: {}\nTo: {to}\n\n", "é".repeat(100_000), "x".repeat(100_000) + "@y.test");
    let found = object(&message);
    assert_eq!((found.summary.to.len(), found.summary.subject.len()), (1000, 8192));
    assert!(found.summary.from[0].address.len() <= 8192);
    assert_eq!(found.header("Subject").unwrap().chars().count(), 100_000);
    let many = object(&"X: y\n".repeat(100_000));
    assert_eq!(many.headers.len(), 20_000);
}

#[test]
fn the_search_text_has_people_subject_text_html_and_names_of_files() {
    let pdf = "Content-Type: application/pdf; name=bill.pdf\n\nx";
    let body = multipart("mixed", "b", &[&multipart("alternative", "c", &[PLAIN, HTML]), pdf]);
    let text =
        object(&format!("Subject: hello\nFrom: Zoe <z@b.test>\nReply-To: r@b.test\n{body}")).search_text();
    for word in ["hello", "Zoe z@b.test", "r@b.test", "plain http://a.test", "html b", "bill.pdf"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

/// Lines of which multiparts, fields, encodings and files are made.
const LINES: &[&str] = &[
    "Content-Type: multipart/mixed; boundary=b",
    "Content-Type: multipart/alternative; boundary=c",
    "Content-Type: message/rfc822",
    "Content-Type: text/html",
    "Content-Type: image/png; name=\"../../x\"",
    "Content-Disposition: attachment",
    "Content-Disposition: inline; filename=.a",
    "Content-ID: <x@y>",
    "Content-Transfer-Encoding: base64",
    "Subject: =?utf-8?q?=0A=00?=",
    "From: <a@b.test",
    "",
    "--b",
    "--c",
    "--b--",
    "<a href=http://x.test>(http://y.test).</a>",
    "begin 644 x",
    "#0V%T",
    "`",
    "end",
    "\u{202e}\u{0}\u{1b}",
];

proptest! {
    #[test]
    fn any_octets_are_an_object(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&octets)?;
    }

    #[test]
    fn any_lines_are_an_object(lines in prop::collection::vec(prop::sample::select(LINES), 0..40)) {
        check(lines.join("\n").as_bytes())?;
    }
}

/// Each file is found by its number, under the same name, and the summary is that of the object.
fn check(octets: &[u8]) -> Result<(), TestCaseError> {
    let limits = ObjectLimits::default();
    let object = MessageObject::parse(octets, &limits);
    prop_assert_eq!(&object.summary, &Summary::parse(octets, &limits));
    prop_assert_eq!(
        (object.inline.len(), object.attachments.len()),
        (object.summary.inline, object.summary.attachments)
    );
    prop_assert!(!object.summary.subject.contains(char::is_control));
    for file in object.inline.iter().chain(&object.attachments) {
        let content = part(octets, &file.part_id, &limits).unwrap();
        prop_assert_eq!((content.octets.len() as u64, &content.file_name), (file.size, &file.file_name));
        prop_assert!(
            !file.file_name.is_empty() && !file.file_name.starts_with('.') && !file.file_name.contains('/')
        );
    }
    Ok(())
}
