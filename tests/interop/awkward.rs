//! Messages of awkward form that follow from a seed: parts in parts, boundaries of all kinds, ends that are missing, texts in
//! several encodings, addresses with remarks, both kinds of line ends. Every header ends in an empty line, and every line in it
//! is a field.

use crate::common::dice::Dice;

/// So many messages, as files.
pub(crate) fn messages(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut maker = Maker { dice: Dice::new(seed), boundaries: 0 };
    let mut message = || {
        let message = maker.message(0);
        if maker.dice.one_in(8) { message.replace('\n', "\r\n").into_bytes() } else { message.into_bytes() }
    };
    (0..count).map(|_| message()).collect()
}

struct Maker {
    dice: Dice,
    boundaries: usize,
}

impl Maker {
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.dice.below(of.len())]
    }

    fn message(&mut self, depth: usize) -> String {
        let mut fields = vec!["MIME-Version: 1.0".to_owned()];
        for name in ["From", "Sender", "Reply-To", "To", "Cc", "Bcc"] {
            if self.dice.one_in(2) {
                let count = 1 + self.dice.below(2);
                let addresses: Vec<&str> = (0..count).map(|_| self.one(&ADDRESSES)).collect();
                fields.push(format!("{name}: {}", addresses.join(", ")));
            }
        }
        for (name, values) in FIELDS_OF_MESSAGES {
            if self.dice.one_in(2) {
                fields.push(format!("{name}: {}", self.one(values)));
            }
        }
        self.entity(depth, fields, false)
    }

    fn entity(&mut self, depth: usize, mut fields: Vec<String>, is_typed: bool) -> String {
        let kinds = if depth < 4 { 7 } else { 2 };
        // A part of a digest without a type is a message, and its first lines would be no fields.
        let kind = usize::from(is_typed).max(self.dice.below(kinds));
        for (name, values) in FIELDS_OF_PARTS {
            if self.dice.one_in(4) {
                fields.push(format!("{name}: {}", self.one(values)));
            }
        }
        let encodings: &[&str] = if matches!(kind, 1 | 2) {
            &["base64", "Quoted-Printable", "8BIT", "7bit (remark)"]
        } else {
            &["7bit", "8BIT"]
        };
        if self.dice.one_in(3) {
            fields.push(format!("Content-Transfer-Encoding: {}", self.one(encodings)));
        }
        let body = match kind {
            0 => self.lines(),
            1 | 2 => {
                let kind = self.one(&["text/plain", "TEXT/Html", "application/pdf", "image/png"]);
                let count = self.dice.below(3);
                let parameters: String = (0..count).map(|_| self.one(&PARAMETERS)).collect();
                fields.push(format!("Content-Type: {kind}{parameters}"));
                self.lines()
            }
            3 => {
                fields.push("Content-Type: message/rfc822".to_owned());
                self.message(depth + 1)
            }
            4 => {
                fields.retain(|field| !field.starts_with("Content-Transfer-Encoding"));
                let (kind, encoding, body) = ENCODED[self.dice.below(ENCODED.len())];
                fields.push(format!("Content-Type: {kind}"));
                fields.push(format!("Content-Transfer-Encoding: {encoding}"));
                body.to_owned()
            }
            _ => self.multipart(depth, &mut fields),
        };
        for at in (1..fields.len()).rev() {
            fields.swap(at, self.dice.below(at + 1));
        }
        let header: String = fields.iter().map(|field| format!("{field}\n")).collect();
        format!("{header}\n{body}")
    }

    fn multipart(&mut self, depth: usize, fields: &mut Vec<String>) -> String {
        self.boundaries += 1;
        // None begins another: Dovecot takes a line that begins with a boundary for one.
        let boundary = format!("{}{:05}", self.one(&["b", "b ", "=_", "b'"]), self.boundaries);
        let kind = self.one(&["mixed", "alternative", "Digest", "x-odd"]);
        let (blank, more) = (self.one(&[" ", "\n\t"]), self.one(&["", "; type=x"]));
        fields.push(format!("Content-Type: Multipart/{kind};{blank}boundary=\"{boundary}\"{more}"));
        let mut body = self.one(&["", "", "preamble\n\n", "\n"]).to_owned();
        for _ in 0..1 + self.dice.below(3) {
            let blank = self.one(&["", "", " ", "\t"]);
            let part = self.entity(depth + 1, Vec::new(), kind == "Digest");
            body += &format!("--{boundary}{blank}\n{part}{}", self.one(&["\n", "\n", ""]));
            if !body.ends_with('\n') {
                body.push('\n');
            }
        }
        match self.dice.below(5) {
            0 => {}
            1 => body += &format!("--{boundary}--"),
            2 => body += &format!("--{boundary}--\nepilogue\n"),
            _ => body += &format!("--{boundary}--\n"),
        }
        body
    }

    fn lines(&mut self) -> String {
        let count = self.dice.below(6);
        (0..count).map(|_| format!("{}\n", self.one(&LINES))).collect()
    }
}

/// Texts that a search has to decode.
const ENCODED: [(&str, &str, &str); 6] = [
    ("text/plain; charset=utf-8", "base64", "Y2Fmw6kgaGlkZGVuIGhlcmUK\n"),
    ("text/plain; charset=iso-8859-1", "quoted-printable", "caf=E9 soft=\nly bro=\nken\n"),
    ("text/html; charset=utf-8", "quoted-printable", "<p>caf=C3=A9 &amp; <b>bold</b></p>\n"),
    ("text/plain; charset=windows-1252", "base64", "gDUgbGF0ZXIK\n"),
    ("text/plain; charset=utf-8; format=flowed", "8bit", "caf\u{e9} \nflowed\n"),
    ("application/octet-stream", "base64", "Y2Fmw6kgaGlkZGVuIGhlcmUK\n"),
];
const LINES: [&str; 10] = [
    "text",
    "",
    "two words ",
    "--",
    "-- ",
    "--no boundary",
    "\tblanks",
    ".",
    "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
    "From here",
];
const PARAMETERS: [&str; 6] =
    ["; name=\"a b.pdf\"", "; x=\"a\\\"b\"", ";\n\tname=x", "; charset=UTF-8", " ; format=flowed", "; X="];
const ADDRESSES: [&str; 20] = [
    "a@b.test",
    "\"A B\" <a@b.test>",
    "A B <a@b.test>",
    "=?utf-8?q?d?= <f@g.test>",
    "a@b.test (remark)",
    "group: a@b.test, \"c\" <d@e.test>;",
    "empty:;",
    "\"q\\\"uo\" <a@b.test>",
    "<a@b.test>",
    "\"a b\"@c.test",
    "<@r.test:a@b.test>",
    "A\n B <a@b.test>",
    "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
    "<a (remark)@ (another) b.test>",
    "a (x) @ b.test",
    "friends: (nobody) ;",
    "a.b.c@sub.b.test",
    "x@[192.0.2.1]",
    "=?iso-8859-1?q?caf=E9?= <cafe@b.test>",
    "\"A B\" (remark) <a@b.test>",
];
const FIELDS_OF_MESSAGES: [(&str, &[&str]); 5] = [
    ("Subject", &["a", "folded\n words", "=?utf-8?q?d?= e", "a \"b\" \\ c", ""]),
    ("Date", &["Thu, 01 Jan 2026 12:00:00 +0000", "Fri, 2 Jan 2026 23:30 -0500", "no date"]),
    ("Message-ID", &["<a@b.test>", " <a@b.test>"]),
    ("In-Reply-To", &["<x@y.test>", "<x@y.test>\n <z@y.test>"]),
    ("X-A", &["1\n 2"]),
];
const FIELDS_OF_PARTS: [(&str, &[&str]); 6] = [
    (
        "Content-Disposition",
        &[
            "attachment",
            "INLINE; filename=x; size=3",
            "attachment; filename=\"a \\\\ b\"",
            "attachment;\n filename=x",
        ],
    ),
    ("Content-Language", &["en", "en, de", "en,\n de"]),
    ("Content-ID", &["<a@b>"]),
    ("Content-Description", &["some words", "=?utf-8?q?d?=", "folded\n words"]),
    ("Content-Location", &["http://a.test/"]),
    ("Content-MD5", &["Q2hlY2s="]),
];
