//! The page holds whatever a stranger writes.

use proptest::prelude::*;

use super::*;
use crate::{message_object::ObjectLimits, search::Advice};

fn page(octets: &[u8], search: &str, address: Option<&str>, language: Language) -> String {
    let session = BroughtBy::Session(format!(
        "# tls: {search}\nC: {search}\nS: {search}\n# spool: delivered {search}\n"
    ));
    page_after(session, octets, search, address, language)
}

fn page_after(
    session: BroughtBy,
    octets: &[u8],
    search: &str,
    address: Option<&str>,
    language: Language,
) -> String {
    let object = MessageObject::parse(octets, &ObjectLimits::default());
    let stored = Stored { id: "abc", received: 1_795_168_805_000, ..Stored::default() };
    let page = WebPage {
        language,
        address,
        recipient: address.map(str::to_owned),
        all: Some(Counts { messages: 1, unread: 1 }),
        inboxes: address.map(|address| (address.to_owned(), Counts::default())).into_iter().collect(),
        search,
        mistake: Some(Mistake { word: search.to_owned(), advice: Advice::Date }),
        start: 0,
        listed: Counts { messages: 1, unread: 1 },
        unread: 1,
        unreadable: Vec::new(),
        rows: vec![(&object.summary, stored)],
        open: OpenedMessage::Shown(&object, stored, Delivery { octets: 99, session }),
        has_mailbox: true,
        asks: false,
        send_to: None,
    };
    String::from_utf8(page.document().bytes).unwrap()
}

/// The tags of a page in their order, each with its attributes but without their values.
fn skeleton(html: &str) -> Vec<String> {
    let mut tags = Vec::new();
    for piece in html.split('<').skip(1) {
        let tag = piece.split('>').next().unwrap();
        let outside: Vec<&str> = tag.split('"').step_by(2).collect();
        tags.push(outside.concat());
    }
    tags
}

const EVIL: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)><!--{{:all}}{{title}}`&lt;";

#[test]
fn a_subject_a_name_a_file_name_and_a_header_stay_text() {
    let letter = |text: &str| {
        format!(
            "From: \"{name}\" <a@b.test>\nTo: {text} <c@d.test>\nSubject: {text}\nX-{text}: {text}\nMessage-ID: <{text}>\n\
             Received: from {text} by {text}; Fri, 20 Nov 2026 10:00:05 +0000\nMIME-Version: 1.0\n\
             Content-Type: multipart/mixed; boundary=b\n\n--b\n\n{text}\nhttp://x.test/?{text}\n--b\n\
             Content-Type: text/html\n\n<p>{text}</p>\n--b\n\
             Content-Type: application/{text}; name=\"{name}\"\nContent-Disposition: attachment; filename=\"{name}\"\n\nx\n--b--\n",
            name = text.replace('"', "\\\"")
        )
    };
    let html = page(letter(EVIL).as_bytes(), EVIL, Some(EVIL), Language::English);
    assert!(!html.contains("<script>") && !html.contains("<img") && !html.contains("<!--"), "{html}");
    assert_eq!(html.matches("<script").count(), 1);
    for tag in skeleton(&html) {
        assert!(!tag.contains("onerror") && !tag.contains('\'') && !tag.contains('`'), "{tag}");
    }
}

#[test]
fn the_page_is_whole_in_both_languages() {
    let letter = b"From: Ann <ann@a.test>\nSubject: =?utf-8?q?caf=C3=A9?=\nReturn-Path: <x@y.test>\n\nhello http://a.test/x\n";
    let english = page(letter, "", None, Language::English);
    for part in [
        "<html lang=\"en\">",
        "<title>(1) All mail · restante</title>",
        "café",
        "hello http://a.test/x",
        "href=\"/message/abc\"",
        "<h3>How it came here</h3>",
        "x@y.test",
        "2026-11-20 10:00:05 UTC",
        "href=\"http://a.test/x\" target=\"_blank\" rel=\"noopener noreferrer\"",
    ] {
        assert!(english.contains(part), "{part}: {english}");
    }
    assert!(!english.contains("{{"), "{english}");
    let french = page(letter, "from:ann", Some("bob@b.test"), Language::French);
    for part in [
        "<html lang=\"fr\">",
        "<title>(1) bob@b.test · restante</title>",
        "Son trajet",
        "href=\"/box/bob@b.test/message/abc?query=from:ann\"",
        "1 non lu",
    ] {
        assert!(french.contains(part), "{part}: {french}");
    }
    assert!(!english.contains("class=\"clip\""), "{english}");
    let letter = format!(
        "Subject: scan\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n{}\n--b\n\
         Content-Type: application/pdf; name=a.pdf\nContent-Disposition: attachment\n\nx\n--b--\n",
        "x".repeat(2000)
    );
    let with_file = page(letter.as_bytes(), "", None, Language::English);
    for part in [
        "<span class=\"clip\" title=\"1 attachment\">",
        "<span class=\"hidden\">1 attachment</span>",
        "<span class=\"size\">2.1 KiB</span> <time datetime=\"2026-11-20T10:00:05Z\">2026-11-20 10:00:05 UTC</time>",
    ] {
        assert!(with_file.contains(part), "{part}: {with_file}");
    }
}

proptest! {
    /// Values change no tag and no attribute of the page.
    #[test]
    fn no_octet_of_a_message_breaks_out(
        value in proptest::collection::vec(prop_oneof![
            Just(b'<'), Just(b'>'), Just(b'"'), Just(b'\''), Just(b'&'), Just(b'{'), Just(b'}'), Just(b'='), any::<u8>()
        ], 1..40),
        search in "\\PC{0,20}",
    ) {
        // A sender without a name has no place for one on the page.
        let value: Vec<u8> = [b'q'].into_iter().chain(value).filter(|b| !b"\r\n".contains(b)).collect();
        let encoded = |value: &[u8]| value.iter().map(|b| format!("={b:02X}")).collect::<String>();
        let letter = |value: &[u8]| {
            let mut letter = b"From: =?utf-8?q?".to_vec();
            letter.extend(encoded(value).bytes());
            letter.extend(b"?= <a@b.test>\nSubject: x".as_slice());
            letter.extend(value);
            letter.extend(b"\nX-Test: y".as_slice());
            letter.extend(value);
            letter.extend(b"\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nz".as_slice());
            letter.extend(value);
            letter.extend(b"\n--b\nContent-Type: application/pdf\nContent-Disposition: attachment; filename*=utf-8''f".as_slice());
            letter.extend(value.iter().flat_map(|b| format!("%{b:02X}").into_bytes()));
            letter.extend(b"\n\nx\n--b--\n".as_slice());
            letter
        };
        let plain = page(&letter(b"q"), "q", None, Language::English);
        let odd = page(&letter(&value), &format!("q{search}"), None, Language::English);
        prop_assert_eq!(skeleton(&plain), skeleton(&odd));
    }
}

#[test]
fn v149_a_message_that_came_by_the_web_api_is_said_to() {
    let letter = |protocol: &str| {
        format!(
            "Return-Path: <ann@a.test>\nReceived: from [127.0.0.1] ([127.0.0.1])\n\tby mx.b.test (restante) with {protocol} \
             id c1003-1\n\tfor <bob@b.test>;\n\tFri, 20 Nov 2026 10:00:05 +0000\nSubject: x\n\ny\n"
        )
    };
    let foreign = letter("HTTP").replace("(restante)", "(other)");
    let (api, french) =
        ("it came by the web API (POST /api/v1/send)", "il est arrivé par l’API web (POST /api/v1/send)");
    let other = "another program brought it";
    for (letter, language, expected, encryption) in [
        (letter("HTTP"), Language::English, api, "none, as HTTP says"),
        (letter("HTTPS"), Language::English, api, "TLS, as HTTPS says"),
        (letter("HTTP"), Language::French, french, "aucun, comme le dit HTTP"),
        (letter("ESMTP"), Language::English, other, "none, as ESMTP says"),
        (foreign, Language::English, other, "none, as HTTP says"),
        ("Subject: x\n\ny\n".to_owned(), Language::English, other, "not in the header"),
    ] {
        let html = page_after(BroughtBy::Gone, letter.as_bytes(), "", None, language);
        assert!(html.contains(expected) && html.contains(encryption), "{expected}, {encryption}: {html}");
        assert_eq!(html.contains(other), expected == other, "{html}");
    }
}

#[test]
fn v148_the_list_has_the_size_on_the_wire() {
    let object = MessageObject::parse(b"Subject: x\n\ny\n", &ObjectLimits::default());
    let stored = Stored { id: "abc", octets: Some(2_500_000), ..Stored::default() };
    let page = WebPage {
        language: Language::English,
        address: None,
        recipient: None,
        all: None,
        inboxes: Vec::new(),
        search: "",
        mistake: None,
        start: 0,
        listed: Counts { messages: 1, unread: 1 },
        unread: 1,
        unreadable: Vec::new(),
        rows: vec![(&object.summary, stored)],
        open: OpenedMessage::None,
        has_mailbox: true,
        asks: false,
        send_to: None,
    };
    let html = String::from_utf8(page.document().bytes).unwrap();
    assert!(html.contains("<span class=\"size\">2.3 MiB</span>"), "{html}");
}
