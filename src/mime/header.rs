//! Header fields: one block of them, and the values that other modules read.

use std::borrow::Cow;

use super::{
    address::{self, Address},
    charset::{self, CharsetOfHeader},
    date::Date,
    encoded_word,
};

/// A header field, as far as it is common to all names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// Name, without the blanks before the colon that RFC 5322 section 4.5 tolerates.
    pub name: &'a [u8],
    /// Value after the colon, unfolded (RFC 5322 section 2.2.3) and trimmed.
    pub value: Cow<'a, [u8]>,
}

impl Field<'_> {
    /// Compares the name without regard to case.
    pub fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Iterates over the fields of a header, and skips lines that are no fields.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    raw_fields(header)
        .map(|RawField { name, lines, colon }| Field { name, value: unfolded(&lines[colon + 1..]) })
}

/// A header field as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawField<'a> {
    /// Name, without the blanks before the colon.
    pub name: &'a [u8],
    /// Its lines, with their ends.
    pub lines: &'a [u8],
    /// The position of the colon.
    colon: usize,
}

/// The fields of a header as they were sent, without lines that are no fields.
pub fn raw_fields(header: &[u8]) -> impl Iterator<Item = RawField<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let folded = |end: &usize| !matches!(rest.get(*end), Some(b' ' | b'\t'));
            let end = memchr::memchr_iter(b'\n', rest).map(|end| end + 1).find(folded);
            let (lines, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after;
            if let Some((name, colon)) = name(lines) {
                return Some(RawField { name, lines, colon });
            }
        }
    })
}

/// The name of the field that begins with this line, and the position of its colon.
pub(super) fn name(line: &[u8]) -> Option<(&[u8], usize)> {
    // A longer name would make the search for a colon, repeated for each line, a cost of its own.
    let colon = memchr::memchr(b':', &line[..line.len().min(MAX_NAME)])?;
    let name = line[..colon].trim_ascii_end();
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some((name, colon))
}

fn unfolded(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    if memchr::memchr2(b'\r', b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect())
}

/// A block of header fields. If a field stands there twice, the first one counts.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    bytes: &'a [u8],
    /// The character set of values that are not encoded.
    charset: Option<CharsetOfHeader>,
}

impl<'a> Header<'a> {
    /// The header in these octets, which end before the empty line. Only the lines within the first `most` octets count.
    pub fn new(bytes: &'a [u8], most: usize) -> Self {
        let length = if bytes.len() <= most {
            bytes.len()
        } else {
            memchr::memrchr(b'\n', &bytes[..most]).map_or(0, |feed| feed + 1)
        };
        Self { bytes: &bytes[..length], charset: None }
    }

    /// Values that are not encoded are in that character set, unless they are in UTF-8.
    pub fn with_charset(self, charset: Option<CharsetOfHeader>) -> Self {
        Self { charset, ..self }
    }

    /// Its fields in order. Lines that are no fields are skipped.
    pub fn fields(self) -> impl Iterator<Item = Field<'a>> {
        fields(self.bytes)
    }

    /// Its fields as they were sent.
    pub fn raw_fields(self) -> impl Iterator<Item = RawField<'a>> {
        raw_fields(self.bytes)
    }

    /// The value of a field, as it was sent.
    pub fn raw(self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.fields().find(|field| field.is_named(name)).map(|field| field.value)
    }

    /// The value of a field without structure, decoded.
    pub fn text(self, name: &str) -> Option<String> {
        self.fields().find(|field| field.is_named(name)).map(|field| self.decoded(&field))
    }

    /// The text of one of its fields, decoded as one without structure.
    pub fn decoded(self, field: &Field<'a>) -> String {
        encoded_word::decode(&self.in_utf_8(field.value.clone()))
    }

    /// A value that its sender did not encode, in UTF-8. The character set of the body is the best guess for one that is not in
    /// UTF-8, and for the escape sequences of ISO-2022-JP.
    fn in_utf_8(self, value: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        charset::in_utf_8(value, self.charset)
    }

    /// The addresses of a field. Several fields of that name count as one (RFC 5322 section 4.5.3). `None` if there is
    /// none.
    pub fn addresses(self, name: &str) -> Option<Vec<Address>> {
        let mut found = None;
        for field in self.fields().filter(|field| field.is_named(name)) {
            found.get_or_insert_with(Vec::new).extend(address::parse(&self.in_utf_8(field.value)));
        }
        found
    }

    /// The date of the message: `Date:`, else that of the newest `Received:` field that has one.
    pub fn date(self) -> Option<Date> {
        let sent = self.raw("Date").and_then(|value| Date::parse(&value));
        sent.or_else(|| {
            let mut received = self.fields().filter(|field| field.is_named("Received"));
            received.find_map(|field| {
                let at = memchr::memrchr(b';', &field.value)?;
                Date::parse(&field.value[at + 1..])
            })
        })
    }

    /// Message-IDs of a field, without angle brackets.
    pub fn message_ids(self, name: &str) -> Vec<String> {
        let Some(value) = self.raw(name) else { return Vec::new() };
        let mut ids = Vec::new();
        let mut rest: &[u8] = &value;
        while let Some(start) = memchr::memchr(b'<', rest) {
            rest = &rest[start + 1..];
            let Some(end) = memchr::memchr2(b'<', b'>', rest) else { break };
            ids.push(&rest[..end]);
            rest = &rest[end..];
        }
        if ids.is_empty() {
            ids = value.split(u8::is_ascii_whitespace).collect();
        }
        let is_id = |id: &&[u8]| !id.is_empty() && id.iter().all(u8::is_ascii_graphic);
        ids.into_iter().filter(is_id).map(|id| String::from_utf8_lossy(id).into_owned()).collect()
    }
}

/// Octets of the longest name of a field: a line has 998 (RFC 5322 section 2.1.1).
const MAX_NAME: usize = 998;

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Header<'_> {
        Header::new(bytes, usize::MAX)
    }

    #[test]
    fn fields_are_unfolded_and_what_is_none_is_passed_over() {
        let found: Vec<(String, String)> =
            fields(b">From x\nA: b\n\tc\r\n d\nnot one\n: nor this\nE:f\nI : j\nG: h")
                .map(|field| {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    (text(field.name), text(&field.value))
                })
                .collect();
        let expected =
            [("A", "b\tc d"), ("E", "f"), ("I", "j"), ("G", "h")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_first_of_two_fields_counts_and_addresses_add_up() {
        let header = whole(b"Subject: one\nsubject: two\nTo: a@b.test\nTO: c@d.test\n");
        assert_eq!(header.text("Subject").as_deref(), Some("one"));
        let addresses: Vec<_> =
            header.addresses("to").unwrap().into_iter().filter_map(|one| one.address).collect();
        assert_eq!(addresses, ["a@b.test", "c@d.test"]);
        assert!(header.addresses("cc").is_none());
    }

    #[test]
    fn the_date_is_that_of_the_newest_server_if_the_sender_gives_none() {
        let seconds = |header: &[u8]| whole(header).date().map(|date| date.seconds());
        let received = "Received: by b.test; nonsense\nReceived: from a; by b.test; Fri, 20 Nov 2026 10:00:05 +0000\n\
                        Received: by c.test; Fri, 20 Nov 2026 09:00:00 +0000\n";
        for date in ["", "Date: 9999-11-99 99:99\n", "Date: Wed, 31 Feb 2026 10:00:00 +0000\n"] {
            assert_eq!(seconds(format!("{date}{received}").as_bytes()), Some(1_795_168_805), "{date}");
        }
        let sent = format!("{received}Date: Fri, 20 Nov 2026 11:00 +0100\n");
        assert_eq!(seconds(sent.as_bytes()), Some(1_795_168_800));
        assert_eq!(seconds(b"Date: soon\n"), None);
    }

    #[test]
    fn only_whole_lines_within_the_bound_count() {
        let header = b"To: a@b.test,\n c@d.test\nSubject: x\n";
        for (most, count, subject) in [(0, 0, None), (20, 1, None), (26, 2, None), (99, 2, Some("x"))] {
            let header = Header::new(header, most);
            assert_eq!(header.addresses("To").map_or(0, |all| all.len()), count, "{most}");
            assert_eq!(header.text("Subject").as_deref(), subject, "{most}");
        }
    }

    #[test]
    fn message_ids_are_found_with_and_without_brackets() {
        let ids = |value: &str| whole(format!("References: {value}\n").as_bytes()).message_ids("references");
        assert_eq!(ids("<1@a> <2@b>,<3@c>"), ["1@a", "2@b", "3@c"]);
        assert_eq!(ids("1@a 2@b"), ["1@a", "2@b"]);
        assert_eq!(ids("<<1@a> <2@b"), ["1@a"]);
        assert_eq!(ids("<a\u{202e}b@c> <>"), [""; 0]);
    }
}
