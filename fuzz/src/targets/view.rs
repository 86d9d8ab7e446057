//! The text of a message for a terminal: no hostile octet of it reaches a terminal or a path.

use restante::{client::display, mua::message_view::{MessageView, Summary}};

use super::owned;
use crate::{Target, bytes::is_harmful};

/// This target.
pub const TARGET: Target = Target { name: "view", run, seeds };

fn seeds() -> Vec<Vec<u8>> {
    owned([
        &b"From: =?utf-8?q?J=C3=B6rg?= <j@far.test>\nTo: a@here.test, \"B, b\" <b@here.test>\nCc: c: d@e, f@g;\n\
           Subject: =?iso-8859-1?b?Y2Fm6Q==?=\nDate: Sat, 3 Jan 2026 08:00:00 +0100\nMessage-ID: <1@far.test>\n\
           References: <0@far.test>\n\ntext\x1b[31m\n"[..],
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html; charset=utf-8\n\n<h1>Hi</h1>\n\
          <a href=\"x\">y</a>\n--b\nContent-Type: application/pdf\nContent-Disposition: attachment;\n \
          filename*0*=utf-8''..%2F; filename*1=x.pdf\nContent-Transfer-Encoding: base64\n\naGFsbG8=\n--b--\n",
        b"Content-Type: multipart/alternative; boundary=\"a b\"\n\n--a b\n\n \n--a b\n\
          Content-Type: message/rfc822\n\nSubject: inner\n\ntext\n--a b--\n",
        b"Content-Type: text/plain; charset=utf-7; format=flowed\nContent-Transfer-Encoding: quoted-printable\n\n=E9=\n",
        b"a/b\\..\\ .zshenv\x07",
        "Subject: \u{202e}txt.exe\u{9b}\n\n\u{2066}text\u{200f}\n".as_bytes(),
    ])
}

fn run(data: &[u8]) {
    let Summary { from, to, subject, date } = Summary::parse(data);
    [from, to, subject, date].iter().for_each(|text| is_line(text, data));
    let view = MessageView::parse(data);
    for (_, value) in &view.fields {
        is_line(value, data);
    }
    is_line(&view.subject, data);
    assert!(!view.text.chars().any(|c| is_harmful(c) && !matches!(c, '\n' | '\t')), "{:?}", view.text);
    assert_eq!(display::printable_text(&view.text), view.text, "it is harmless only the second time");
    // Each octet can become one character of up to three, or a picture of itself.
    assert!(view.text.len() <= 16 * data.len() + 1024, "{} octets of text", view.text.len());
    for person in &view.reply_to {
        assert!(!person.address.chars().any(is_harmful), "{:?}", person.address);
    }
    for part in &view.parts {
        is_file_name(&part.name);
        is_line(&part.kind, data);
        assert!(part.content.len() <= 16 * data.len());
    }
}

fn is_line(text: &str, data: &[u8]) {
    assert!(!text.chars().any(is_harmful), "{text:?}");
    assert!(text.len() <= 16 * data.len() + 1024, "{} octets in a line", text.len());
}

fn is_file_name(name: &str) {
    assert!(!name.is_empty() && name.len() <= 255, "{name:?}");
    assert!(!name.contains(['/', '\\']) && !name.chars().any(is_harmful), "{name:?}");
    let start = name.chars().next().unwrap_or_default();
    assert!(!matches!(start, '.' | '-' | '~') && !start.is_whitespace(), "{name:?}");
}
