//! The primitives of responses (RFC 9051 section 9).
//!
//! The rule: each function takes a value and writes it in a form that the grammar has, whatever its octets are.

use std::{io::Write, sync::Arc};

use crate::{
    imap_characters::{is_atom, is_text_char},
    proto::imap::{flags::Flags, sequence_set::NumberSet},
};

/// The condition of a status response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Success.
    Ok,
    /// Failure.
    No,
    /// A mistake of the client.
    Bad,
    /// The greeting of a client that needs no login.
    PreAuth,
    /// The end of the connection.
    Bye,
}

impl Condition {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::No => "NO",
            Self::Bad => "BAD",
            Self::PreAuth => "PREAUTH",
            Self::Bye => "BYE",
        }
    }
}

/// Writes a status response, tagged or not: `a1 OK [READ-WRITE] selected`. `code` writes the response code; one that writes
/// nothing leaves it out.
pub fn status(
    out: &mut Vec<u8>,
    tag: Option<&[u8]>,
    condition: Condition,
    code: impl FnOnce(&mut Items<'_>),
    text: &str,
) {
    out.extend_from_slice(tag.unwrap_or(b"*"));
    out.push(b' ');
    out.extend_from_slice(condition.name().as_bytes());
    out.push(b' ');
    let start = out.len();
    out.push(b'[');
    code(&mut Items::new(out));
    let has_code = out.len() > start + 1;
    if has_code {
        out.extend_from_slice(b"] ");
    } else {
        out.truncate(start);
    }
    push_text(out, text, has_code);
    out.extend_from_slice(b"\r\n");
}

/// The response code of a status response that has none.
pub fn no_code(_: &mut Items<'_>) {}

/// Writes an untagged response: `* ` and its items.
pub fn untagged(out: &mut Vec<u8>, items: impl FnOnce(&mut Items<'_>)) {
    out.extend_from_slice(b"* ");
    items(&mut Items::new(out));
    out.extend_from_slice(b"\r\n");
}

/// Writes a request for more of a command: `+ ` and a text, which may be base64. Clients fail without the blank.
pub fn continuation(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"+ ");
    // A challenge of SASL may be empty (RFC 9051 section 6.2.2).
    out.extend(text.bytes().map(printable));
    out.extend_from_slice(b"\r\n");
}

/// Writes the text of a status response, which has at least one character. Without a code it cannot begin as one.
fn push_text(out: &mut Vec<u8>, text: &str, has_code: bool) {
    let text = text.trim_start();
    if text.is_empty() || (!has_code && text.starts_with('[')) {
        out.push(b'-');
    }
    // Text in UTF-8 is for clients that have chosen a language (RFC 5255 section 3.1).
    let printable = |c: char| if c.is_control() { '?' } else { c };
    out.extend_from_slice(text.chars().map(printable).collect::<String>().as_bytes());
}

fn printable(octet: u8) -> u8 {
    if matches!(octet, b' '..=b'~') { octet } else { b'?' }
}

/// The items of a line or a list. Each function writes one, with the blank before it if one belongs there.
#[derive(Debug)]
pub struct Items<'a> {
    out: &'a mut Vec<u8>,
    separation: Separation,
}

/// The octet before the next item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Separation {
    /// None: it is the first one.
    First,
    /// A blank.
    Blank,
    /// None: the items stand one right after the other.
    Joined,
}

impl<'a> Items<'a> {
    /// The items after octets that need no blank after them.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, separation: Separation::First }
    }

    /// The items after others that end with the last octet of `out`.
    pub(super) fn after_item(out: &'a mut Vec<u8>) -> Self {
        Self { out, separation: Separation::Blank }
    }

    fn begin(&mut self) -> &mut Vec<u8> {
        match self.separation {
            Separation::First => self.separation = Separation::Blank,
            Separation::Blank => self.out.push(b' '),
            Separation::Joined => {}
        }
        self.out
    }

    /// A word of the protocol: `EXISTS`, `\Noselect`.
    pub fn atom(&mut self, word: &'static str) -> &mut Self {
        self.begin().extend_from_slice(word.as_bytes());
        self
    }

    /// Octets that are one item of a form of its own.
    pub(super) fn raw(&mut self, octets: &[u8]) -> &mut Self {
        self.begin().extend_from_slice(octets);
        self
    }

    /// A number.
    pub fn number(&mut self, number: impl Into<u64>) -> &mut Self {
        push_decimal(self.begin(), number.into());
        self
    }

    /// A set of numbers with the word before it. An empty one has no form, so neither is written.
    pub fn numbers(&mut self, word: &'static str, numbers: &NumberSet) -> &mut Self {
        if !numbers.is_empty() {
            self.atom(word).set(numbers);
        }
        self
    }

    /// A set of numbers, which has at least one.
    pub(in crate::proto::imap) fn set(&mut self, numbers: &NumberSet) -> &mut Self {
        let out = self.begin();
        for (at, range) in numbers.ranges().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push_decimal(out, (*range.start()).into());
            if range.start() < range.end() {
                out.push(b':');
                push_decimal(out, (*range.end()).into());
            }
        }
        self
    }

    /// `NIL`
    pub fn nil(&mut self) -> &mut Self {
        self.atom("NIL")
    }

    /// A string: quoted if it can be, else a literal.
    pub fn string(&mut self, octets: &[u8]) -> &mut Self {
        push_string(self.begin(), octets);
        self
    }

    /// A string, or `NIL` if there is none.
    pub fn nstring(&mut self, octets: Option<&[u8]>) -> &mut Self {
        match octets {
            Some(octets) => self.string(octets),
            None => self.nil(),
        }
    }

    /// A string of a mailbox or a keyword: an atom if it can be.
    pub fn astring(&mut self, octets: &[u8]) -> &mut Self {
        let is_nil = octets.eq_ignore_ascii_case(b"NIL");
        if is_nil || !is_atom(octets) { self.string(octets) } else { self.raw(octets) }
    }

    /// The announcement of a literal of that many octets. The octets have to follow.
    pub(super) fn literal_head(&mut self, length: u64) -> &mut Self {
        let out = self.begin();
        out.push(b'{');
        push_decimal(out, length);
        out.extend_from_slice(b"}\r\n");
        self
    }

    /// Items in parentheses.
    pub fn list(&mut self, items: impl FnOnce(&mut Items<'_>)) -> &mut Self {
        let out = self.begin();
        out.push(b'(');
        items(&mut Items::new(out));
        out.push(b')');
        self
    }

    /// Items that stand one right after the other and count as one item. `items` writes at least one.
    pub fn joined(&mut self, items: impl FnOnce(&mut Items<'_>)) -> &mut Self {
        items(&mut Items { out: self.begin(), separation: Separation::Joined });
        self
    }

    /// Flags in parentheses, perhaps with `\Recent`. A keyword that is no atom is left out: other programs may have written the
    /// names.
    pub fn flags(&mut self, flags: Flags, is_recent: bool, keywords: &[Arc<str>]) -> &mut Self {
        self.list(|list| {
            if is_recent {
                list.atom("\\Recent");
            }
            for (flag, name) in Flags::NAMED {
                if flags.intersects(flag) {
                    list.atom(name);
                }
            }
            for name in flags.keywords().filter_map(|number| keywords.get(number)) {
                list.keyword(name);
            }
        })
    }

    /// A keyword, unless it is no atom.
    pub fn keyword(&mut self, name: &str) -> &mut Self {
        if is_atom(name.as_bytes()) {
            self.raw(name.as_bytes());
        }
        self
    }
}

/// Appends a number. A list of flags has two for each message, and a set one or two for each range, so this takes a few nanoseconds.
fn push_decimal(out: &mut Vec<u8>, number: u64) {
    let (mut digits, mut at, mut left) = ([0; 20], 20, number);
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

fn push_string(out: &mut Vec<u8>, octets: &[u8]) {
    if octets.len() <= MAX_QUOTED && octets.iter().all(|octet| is_text_char(*octet)) {
        out.push(b'"');
        for &octet in octets {
            if matches!(octet, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(octet);
        }
        out.push(b'"');
    } else {
        let _ = write!(out, "{{{}}}\r\n", octets.len());
        let start = out.len();
        out.extend_from_slice(octets);
        replace_nul(&mut out[start..]);
    }
}

/// Replaces each NUL, which no literal may have (RFC 9051 section 4.3), by an octet that is no character, as Dovecot does.
pub(super) fn replace_nul(octets: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = memchr::memchr(0, &octets[from..]) {
        from += at;
        octets[from] = 0x80;
    }
}

/// Octets of the longest quoted string. Clients read lines into buffers; longer ones are literals.
const MAX_QUOTED: usize = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(items: impl FnOnce(&mut Items<'_>)) -> String {
        let mut out = Vec::new();
        untagged(&mut out, items);
        String::from_utf8_lossy(&out).into_owned()
    }

    proptest! {
        #[test]
        fn numbers_are_decimal(number: u64) {
            for number in [number, number >> 40, 0, u64::MAX] {
                let mut out = Vec::new();
                push_decimal(&mut out, number);
                prop_assert_eq!(out, number.to_string().into_bytes());
            }
        }
    }

    #[test]
    fn blanks_stand_between_items_only() {
        let line = written(|line| {
            line.atom("LIST").list(|_| {}).string(b"/").astring(b"INBOX").list(|list| {
                list.number(1_u32).nil().list(|inner| {
                    inner.atom("x");
                });
            });
            line.joined(|all| {
                all.list(|_| {}).list(|_| {});
            })
            .number(7_u64);
        });
        assert_eq!(line, "* LIST () \"/\" INBOX (1 NIL (x)) ()() 7\r\n");
    }

    #[test]
    fn a_string_has_the_form_that_its_octets_allow() {
        for (octets, string, astring) in [
            (&b""[..], "\"\"", "\"\""),
            (b"a", "\"a\"", "a"),
            (b"nil", "\"nil\"", "\"nil\""),
            (b"a b", "\"a b\"", "\"a b\""),
            (b"a\"\\", "\"a\\\"\\\\\"", "\"a\\\"\\\\\""),
            (b"R&AOk-", "\"R&AOk-\"", "R&AOk-"),
            (b"a]", "\"a]\"", "\"a]\""),
            (b"a\r\n", "{3}\r\na\r\n", "{3}\r\na\r\n"),
            (b"\xc3\xa9", "{2}\r\n\u{e9}", "{2}\r\n\u{e9}"),
        ] {
            assert_eq!(
                written(|line| {
                    line.string(octets);
                }),
                format!("* {string}\r\n")
            );
            assert_eq!(
                written(|line| {
                    line.astring(octets);
                }),
                format!("* {astring}\r\n")
            );
        }
        let mut out = Vec::new();
        push_string(&mut out, b"\0a");
        assert_eq!(out, b"{2}\r\n\x80a");
        out.clear();
        push_string(&mut out, &[b'a'; MAX_QUOTED + 1]);
        assert!(out.starts_with(b"{1001}\r\na"));
    }

    #[test]
    fn y01_a_status_has_a_text_and_a_continuation_a_blank() {
        let line = |code: fn(&mut Items<'_>), text: &str| {
            let mut out = Vec::new();
            status(&mut out, Some(b"a1"), Condition::Ok, code, text);
            String::from_utf8(out).unwrap()
        };
        let modseq = |code: &mut Items<'_>| {
            code.atom("HIGHESTMODSEQ").number(5_u64);
        };
        assert_eq!(line(modseq, ""), "a1 OK [HIGHESTMODSEQ 5] -\r\n");
        assert_eq!(line(modseq, "done"), "a1 OK [HIGHESTMODSEQ 5] done\r\n");
        assert_eq!(line(no_code, "[done]"), "a1 OK -[done]\r\n");
        assert_eq!(line(no_code, "a\r\n* BYE"), "a1 OK a??* BYE\r\n");
        let mut out = Vec::new();
        continuation(&mut out, "");
        assert_eq!(out, b"+ \r\n");
    }

    #[test]
    fn flags_are_a_list_without_the_keywords_that_are_no_atoms() {
        let keywords: Vec<Arc<str>> = ["Junk", "a b", "", "$Later"].map(Arc::from).to_vec();
        let flags = Flags::of_letters(b"SRabcd");
        assert_eq!(
            written(|line| {
                line.atom("FLAGS").flags(flags, false, &keywords);
            }),
            "* FLAGS (\\Answered \\Seen Junk $Later)\r\n"
        );
        assert_eq!(
            written(|line| {
                line.flags(Flags::empty(), true, &keywords);
            }),
            "* (\\Recent)\r\n"
        );
    }

    #[test]
    fn an_empty_set_leaves_out_its_word() {
        let mut numbers = NumberSet::default();
        assert_eq!(
            written(|line| {
                line.atom("ESEARCH").numbers("ALL", &numbers);
            }),
            "* ESEARCH\r\n"
        );
        [1, 2, 3, 7].into_iter().for_each(|number| numbers.push(number));
        assert_eq!(
            written(|line| {
                line.atom("ESEARCH").numbers("ALL", &numbers);
            }),
            "* ESEARCH ALL 1:3,7\r\n"
        );
    }

    proptest! {
        #[test]
        fn a_string_can_be_read_back(octets in proptest::collection::vec(1u8.., 0..40)) {
            let mut out = Vec::new();
            push_string(&mut out, &octets);
            let read: Vec<u8> = if out[0] == b'"' {
                prop_assert!(out.iter().all(u8::is_ascii) && memchr::memchr2(b'\r', b'\n', &out).is_none());
                let mut inner = out[1..out.len() - 1].iter().copied();
                std::iter::from_fn(|| match inner.next()? { b'\\' => inner.next(), other => Some(other) }).collect()
            } else {
                let head = format!("{{{}}}\r\n", octets.len());
                prop_assert!(out.starts_with(head.as_bytes()));
                out[head.len()..].to_vec()
            };
            prop_assert_eq!(read, octets);
        }
    }
}
