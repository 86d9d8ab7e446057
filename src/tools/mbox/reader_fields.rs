//! Fields in which mail readers keep the state of a message in an mbox.
//!
//! The rule: only the first field of a name counts, because the reader wrote it there; one below it may have come with the
//! message.

use crate::{mime::encoded_word, tools::header};

/// The letters of the Maildir flags that such fields of a header state, in any order.
pub(super) fn letters(fields: &[u8]) -> Vec<u8> {
    let (mut seen, mut letters) = ([false; READERS.len()], Vec::new());
    for field in header::fields(fields) {
        let Some(reader) = READERS.iter().position(|(name, _)| field.is_named(name)) else { continue };
        if !std::mem::replace(&mut seen[reader], true) {
            letters.extend(READERS[reader].1(&field.value));
        }
    }
    letters
}

/// The value of a field to letters of a Maildir.
type Parser = fn(&[u8]) -> Vec<u8>;

const READERS: [(&str, Parser); 4] = [
    ("X-Mozilla-Status", |value| bits(value.trim_ascii(), &MOZILLA)),
    ("X-Mozilla-Status2", |value| bits(value.trim_ascii(), &MOZILLA_2)),
    ("X-Evolution", |value| {
        let flags = value.split(|b| *b == b'-').nth(1).unwrap_or_default();
        bits(flags.split(|b| !b.is_ascii_hexdigit()).next().unwrap_or_default(), &EVOLUTION)
    }),
    ("X-Gmail-Labels", gmail),
];

/// Bits of a hexadecimal number, each with its letter.
fn bits(digits: &[u8], letters: &[(u32, u8)]) -> Vec<u8> {
    let number = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'));
    let number = number.and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default();
    letters.iter().filter(|(bit, _)| number & bit != 0).map(|(_, letter)| *letter).collect()
}

/// The labels of Google Takeout: `Inbox,Opened,"a, b"`, perhaps in encoded words. Their names are in the language of the
/// account. A message without the label `Unread` is read, if another label shows that the language is English.
fn gmail(value: &[u8]) -> Vec<u8> {
    let text = encoded_word::decode(value.trim_ascii());
    let labels: Vec<&str> = text.split(',').map(|label| label.trim().trim_matches('"')).collect();
    let has = |names: &[&str]| labels.iter().any(|label| names.contains(label));
    let is_read = has(&["Opened", "Sent"]) || has(&ENGLISH) && !has(&["Unread"]);
    let letters = [
        (is_read, b'S'),
        (has(&["Starred"]), b'F'),
        (has(&["Trash"]), b'T'),
        (has(&["Draft", "Drafts"]), b'D'),
    ];
    letters.into_iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| letter).collect()
}

/// Thunderbird's nsMsgMessageFlags. A message with `Expunged` was deleted or moved; its folder is not yet compacted.
const MOZILLA: [(u32, u8); 4] = [(0x1, b'S'), (0x2, b'R'), (0x4, b'F'), (0x8, b'T')];
const MOZILLA_2: [(u32, u8); 1] = [(0x20_0000, b'T')];
/// The flags of Camel.
const EVOLUTION: [(u32, u8); 5] = [(0x1, b'R'), (0x2, b'T'), (0x4, b'D'), (0x8, b'F'), (0x10, b'S')];
/// Labels of Gmail that have other names in other languages.
const ENGLISH: [&str; 7] = ["Inbox", "Archived", "Sent", "Starred", "Trash", "Drafts", "Opened"];

#[cfg(test)]
mod tests {

    #[test]
    fn u03_the_states_of_the_usual_readers_become_flags() {
        for (fields, letters) in [
            ("X-Mozilla-Status: 0009\nX-Mozilla-Status2: 00000000\n", &b"ST"[..]),
            ("X-Mozilla-Status: 0000\n", b""),
            ("X-Mozilla-Status: 0007\r\n", b"FRS"),
            ("x-mozilla-status: 1001\n", b"S"),
            ("X-Mozilla-Status: 0001\nX-Mozilla-Status2: 00200000\n", b"ST"),
            ("X-Mozilla-Status: 0001\nSubject: x\nX-Mozilla-Status: 0008\n", b"S"),
            ("X-Mozilla-Status: +1\n", b""),
            ("X-Mozilla-Status: read\n", b""),
            ("X-Evolution: 0000002a-0019\n", b"FRS"),
            ("X-Evolution: 0000002a-0002; x\n", b"T"),
            ("X-Gmail-Labels: Inbox,Unread\n", b""),
            ("X-Gmail-Labels: Inbox,Important\n", b"S"),
            ("X-Gmail-Labels: Archived,\n Opened,Starred\n", b"FS"),
            ("X-Gmail-Labels: =?UTF-8?Q?Trash,=C3=89t=C3=A9?=\n", b"ST"),
            ("X-Gmail-Labels: =?UTF-8?Q?Bo=C3=AEte_de_r=C3=A9ception,Non_lus?=\n", b""),
            ("X-Gmail-Labels: Draft\n", b"D"),
            ("Subject: X-Mozilla-Status: 0009\n", b""),
        ] {
            let mut found = super::letters(fields.as_bytes());
            found.sort_unstable();
            assert_eq!(found, letters, "{fields}");
        }
    }
}
