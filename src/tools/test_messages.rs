//! A fixed set of awkward messages, for testing programs that fetch mail. Each is filed as written here,
//! without header lines of the server.

use super::{Naming, TestMessage};
use crate::maildir::Subdir;

pub(crate) fn nasty() -> Vec<TestMessage> {
    [line_ends(), octets(), headers(), mime(), names()].concat()
}

/// A short text message in plain ASCII, with its number in the subject.
pub(crate) fn ordinary(number: usize) -> TestMessage {
    let text = format!(
        "From: Alice <alice@example.test>\nTo: Bob <bob@example.test>\nSubject: letter {number}\n\
         Date: Thu, 01 Jan 2026 00:00:00 +0000\nMessage-ID: <{number}@seed.example.test>\n\n\
         This is letter {number}.\n"
    );
    delivered(format!("letter-{number}"), text)
}

/// Lines that begin with dots, and unusual line ends.
fn line_ends() -> Vec<TestMessage> {
    vec![
        plain("dot-first", ".\n"),
        plain("dots-first", "..\n...\n"),
        plain("dot-alone-in-the-middle", "before\n.\nafter\n"),
        plain("dot-without-end", "before\n."),
        plain("dots-begin-every-line", ".one\n..two\n...three\n"),
        delivered("dot-begins-the-header", ".Subject: hidden\n\nbody\n"),
        plain("crlf", "one\r\ntwo\r\n"),
        plain("mixed-line-ends", "one\r\ntwo\nthree\r\n"),
        plain("bare-cr", "one\rtwo\rthree\n"),
        plain("bare-cr-at-the-end", "one\r"),
        plain("bare-cr-around-a-dot", "one\r.\rtwo\n"),
        plain("cr-cr-lf", "one\r\r\ntwo\r\r\n"),
        plain("lf-cr", "one\n\rtwo\n\r"),
        plain("smuggled-end", "one\n.\r\nMAIL FROM:<eve@example.test>\r\n"),
        plain("no-final-newline", "the last line has no end"),
        delivered("only-newlines", "\n".repeat(100)),
        delivered("only-crlfs", "\r\n".repeat(100)),
    ]
}

/// Octets that are not text, and messages that are empty or very long.
fn octets() -> Vec<TestMessage> {
    let all: Vec<u8> = (0..=255).collect();
    vec![
        delivered("empty", ""),
        delivered("one-octet", "x"),
        delivered("one-newline", "\n"),
        plain("nul", "one\0two\n\0\n"),
        plain("every-octet", [&all[..], b"\n"].concat()),
        plain("ff-begins-a-line", b"\xff\xfe\n\xff.\n"),
        plain("one-long-line", [b"x".repeat(1 << 20), b"\n".to_vec()].concat()),
        plain("one-long-line-of-dots", [b".".repeat(1 << 20), b"\n".to_vec()].concat()),
        plain("many-short-lines", ".\n".repeat(100_000)),
        plain(
            "cut-at-a-read-of-64-kib",
            [b"x".repeat(65_535 - HEADER.len()), b"\r\n.\r\n".to_vec()].concat(),
        ),
    ]
}

/// Headers that are missing, wrong or very long.
fn headers() -> Vec<TestMessage> {
    let many: String = (0..10_000).map(|n| format!("X-Line-{n}: {n}\n")).collect();
    vec![
        delivered("header-only", "From: alice@example.test\nSubject: no body\n"),
        delivered("header-without-end", "From: alice@example.test\nSubject: no end"),
        delivered("body-only", "\nno header at all\n"),
        delivered("no-date-no-from", "Subject: who and when\n\nbody\n"),
        delivered("no-colon", "this is not a header line\nSubject: after it\n\nbody\n"),
        delivered("ten-thousand-header-lines", format!("{many}\nbody\n")),
        delivered("folded-for-ever", format!("Subject: a\n{}\nbody\n", " b\n".repeat(10_000))),
        delivered("long-header-line", format!("Subject: {}\n\nbody\n", "s".repeat(100_000))),
        delivered(
            "header-of-8-bits",
            b"Subject: caf\xe9 \x80\xff\nFrom: \xff@example.test\n\nbody\n".to_vec(),
        ),
        delivered(
            "utf-8-addresses",
            "From: Zoë <zoë@exämple.test>\nTo: 用户@例子.test\nSubject: größer 日本語 📬\n\nbody\n",
        ),
        delivered(
            "encoded-words",
            "Subject: =?utf-8?B?w6k=?= =?utf-8?Q?=C3=A8?= =?x?B?!!?= =?utf-8?B\n\nbody\n",
        ),
        delivered("two-subjects", "Subject: one\nSubject: two\nFrom: a@b.test\nFrom: c@d.test\n\nbody\n"),
        delivered(
            "mbox-from-line",
            "From alice@example.test Thu Jan  1 00:00:00 2026\nSubject: mbox\n\nbody\n",
        ),
        plain("mbox-from-in-the-body", "From here on it is a body.\n>From there, too.\n"),
        delivered("date-of-another-age", "Date: Wed, 31 Feb 9999 25:61:61 +9999\nSubject: when\n\nbody\n"),
    ]
}

/// MIME that is broken, deeply nested or large.
fn mime() -> Vec<TestMessage> {
    let multipart = |boundary: &str, parts: String| {
        format!(
            "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"{boundary}\"\nSubject: mime\n\n{parts}"
        )
    };
    let deep: String =
        (0..200).map(|n| format!("--b{n}\nContent-Type: multipart/mixed; boundary=b{}\n\n", n + 1)).collect();
    let attachment = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5\n".repeat(10_000);
    let attached = format!(
        "--b\nContent-Type: text/plain; charset=utf-8\n\nSee the file. Voilà.\n--b\n\
         Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\
         Content-Disposition: attachment; filename*=utf-8''na%C3%AFve%20%2F..%2F.txt\n\n{attachment}--b--\n"
    );
    vec![
        delivered("deep-multipart", multipart("b0", deep)),
        delivered("boundary-without-end", multipart("b", "--b\n\npart\n".into())),
        delivered("boundary-that-never-comes", multipart("never", "text\n".into())),
        delivered("boundary-that-is-missing", "Content-Type: multipart/mixed\n\n--x\n\npart\n--x--\n"),
        delivered("boundary-with-dots", multipart(".b", "--.b\n\n.\n--.b--\n.\n".into())),
        delivered("base64-without-end", "Content-Transfer-Encoding: base64\nSubject: cut\n\nSGVsbG8gd29ybG"),
        delivered("base64-that-is-none", "Content-Transfer-Encoding: base64\n\n!!! *** ???\n"),
        delivered("quoted-printable-broken", "Content-Transfer-Encoding: quoted-printable\n\n=ZZ =\n=\n=4\n"),
        delivered("charset-nobody-has", "Content-Type: text/plain; charset=x-nobody\n\n\u{e9}\n"),
        delivered("large-attachment", multipart("b", attached)),
    ]
}

/// File names of other programs.
fn names() -> Vec<TestMessage> {
    let foreign = |label: &str, rest: &str, length, place| TestMessage {
        label: label.into(),
        bytes: format!("{HEADER}The name of this file is {label}.\n").into_bytes(),
        naming: Naming::Foreign { rest: rest.into(), length, place },
    };
    vec![
        foreign("name-of-another-program", "1.mail.example.test", 0, Subdir::New),
        // With `:2,S` appended, the name has the greatest possible length.
        foreign("name-of-251-octets", ".long", 251, Subdir::New),
        foreign("name-of-71-octets", ".long", 71, Subdir::New),
        foreign("name-with-wrong-sizes", "2.host,S=1,W=99999", 0, Subdir::New),
        foreign("name-with-blanks", " a name with blanks", 0, Subdir::New),
        foreign("name-in-utf-8", ".größer", 0, Subdir::New),
        foreign("name-with-flags", "3.host:2,FRS", 0, Subdir::Cur),
        foreign("name-with-unknown-flags", "4.host:2,Sab", 0, Subdir::Cur),
        foreign("name-without-flags-in-cur", "5.host", 0, Subdir::Cur),
        foreign("name-with-flags-in-new", "6.host:2,S", 0, Subdir::New),
    ]
}

/// A message with an ordinary header and that body.
fn plain(label: &str, body: impl AsRef<[u8]>) -> TestMessage {
    delivered(label, [HEADER.as_bytes(), body.as_ref()].concat())
}

fn delivered(label: impl Into<String>, bytes: impl Into<Vec<u8>>) -> TestMessage {
    TestMessage { label: label.into(), bytes: bytes.into(), naming: Naming::Delivered }
}

const HEADER: &str = "From: Alice <alice@example.test>\nTo: Bob <bob@example.test>\nSubject: awkward\n\n";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_label_is_a_word_of_its_own() {
        let letters = nasty();
        let labels: BTreeSet<&str> = letters.iter().map(|letter| letter.label.as_str()).collect();
        assert_eq!(labels.len(), letters.len());
        let word =
            |label: &&str| label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        assert!(labels.iter().all(word));
    }

    #[test]
    fn the_corpus_never_changes() {
        let mut crc = crc32fast::Hasher::new();
        nasty().iter().for_each(|letter| crc.update(&letter.bytes));
        assert_eq!((nasty().len(), crc.finalize()), (62, 1_131_747_484), "a client's test may count on it");
    }
}
