//! Words, strings and lists in the responses of a server (RFC 9051 section 9).
//!
//! The rule: the nesting has a bound here, and the octets of a response have one where they are read, so that no server can
//! exhaust its client.

/// A part of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Nil,
    /// A word, a flag, a number, or the name of an item with its section: `BODY[HEADER.FIELDS (SUBJECT)]<0>`.
    Atom(String),
    String(Vec<u8>),
    List(Vec<Value>),
}

impl Value {
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Atom(word) => word.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn atom(&self) -> Option<&str> {
        match self {
            Self::Atom(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }

    /// The octets of a string, of a word that stands for one, or none for NIL.
    pub(super) fn octets(&self) -> Option<&[u8]> {
        match self {
            Self::Nil => Some(b""),
            Self::Atom(word) => Some(word.as_bytes()),
            Self::String(octets) => Some(octets),
            Self::List(_) => None,
        }
    }
}

/// Reads values from a response, whose literals stand after their lengths.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    /// The octets that were not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads a word up to a blank or the end.
    pub(super) fn word(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b' ', self.rest).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.strip_prefix(b" ").unwrap_or(rest);
        word
    }

    /// Reads the values up to the end. `None` if there is anything else.
    pub(super) fn values(&mut self) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        loop {
            self.skip_blanks();
            if self.rest.is_empty() {
                return Some(values);
            }
            values.push(self.value(MAX_DEPTH)?);
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        match self.rest.first()? {
            b'(' => self.list(depth.checked_sub(1)?),
            b'"' => self.quoted(),
            b'{' => self.literal(),
            b'~' if self.rest.get(1) == Some(&b'{') => {
                self.rest = &self.rest[1..];
                self.literal()
            }
            _ => self.atom(),
        }
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        self.rest = &self.rest[1..];
        let mut values = Vec::new();
        loop {
            self.skip_blanks();
            if let Some(rest) = self.rest.strip_prefix(b")") {
                self.rest = rest;
                return Some(Value::List(values));
            }
            values.push(self.value(depth)?);
        }
    }

    fn quoted(&mut self) -> Option<Value> {
        let mut text = Vec::new();
        let mut at = 1;
        loop {
            match self.rest.get(at)? {
                b'"' => break,
                b'\\' => {
                    at += 1;
                    text.push(*self.rest.get(at)?);
                }
                octet => text.push(*octet),
            }
            at += 1;
        }
        self.rest = &self.rest[at + 1..];
        Some(Value::String(text))
    }

    fn literal(&mut self) -> Option<Value> {
        let end = memchr::memchr(b'}', self.rest)?;
        let length: usize = std::str::from_utf8(&self.rest[1..end]).ok()?.parse().ok()?;
        let after = self.rest[end + 1..].strip_prefix(b"\r\n")?;
        let (octets, rest) = after.split_at_checked(length)?;
        self.rest = rest;
        Some(Value::String(octets.to_vec()))
    }

    /// Reads a word. A section in brackets may have blanks and parentheses.
    fn atom(&mut self) -> Option<Value> {
        let (mut end, mut in_section) = (0, false);
        for octet in self.rest {
            match octet {
                b'[' => in_section = true,
                b']' => in_section = false,
                b' ' | b'(' | b')' | b'"' if !in_section => break,
                octet if octet.is_ascii_control() => return None,
                _ => {}
            }
            end += 1;
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            b"" => None,
            word if word.eq_ignore_ascii_case(b"NIL") => Some(Value::Nil),
            word => Some(Value::Atom(String::from_utf8_lossy(word).into_owned())),
        }
    }

    fn skip_blanks(&mut self) {
        while let Some(rest) = self.rest.strip_prefix(b" ") {
            self.rest = rest;
        }
    }
}

/// The length of the literal that follows a line.
pub(super) fn literal_after(line: &[u8]) -> Option<u64> {
    let before = line.strip_suffix(b"}")?;
    let begin = memchr::memrchr(b'{', before)? + 1;
    let digits = &before[begin..];
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// Lists in lists.
const MAX_DEPTH: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(text: &[u8]) -> Option<Vec<Value>> {
        Cursor::new(text).values()
    }

    fn atom(word: &str) -> Value {
        Value::Atom(word.into())
    }

    #[test]
    fn words_strings_and_lists_are_read() {
        let text =
            b"FLAGS (\\Seen $Junk) BODY[HEADER.FIELDS (SUBJECT)] {6}\r\na) \"b\n X \"q\\\"\\\\\" NIL ()";
        let expected = [
            atom("FLAGS"),
            Value::List(vec![atom("\\Seen"), atom("$Junk")]),
            atom("BODY[HEADER.FIELDS (SUBJECT)]"),
            Value::String(b"a) \"b\n".to_vec()),
            atom("X"),
            Value::String(b"q\"\\".to_vec()),
            Value::Nil,
            Value::List(Vec::new()),
        ];
        assert_eq!(values(text).as_deref(), Some(&expected[..]));
        assert_eq!(literal_after(b"* 1 FETCH (BODY[] {25}"), Some(25));
        for line in [&b"* OK {x}"[..], b"* OK {}", b"{5} ", b"5}", b"{99999999999999999999}"] {
            assert_eq!(literal_after(line), None);
        }
    }

    #[test]
    fn y115_lists_in_lists_have_a_bound_and_a_value_that_is_cut_is_none() {
        let deep = |depth: usize| [b"(".repeat(depth), b")".repeat(depth)].concat();
        assert!(values(&deep(MAX_DEPTH)).is_some());
        assert!(values(&deep(MAX_DEPTH + 1)).is_none() && values(&b"(".repeat(1 << 20)).is_none());
        for cut in [&b"(a"[..], b"\"a", b"\"a\\", b"{3}\r\nab", b"{3}abc", b"a\x07", b")"] {
            assert_eq!(values(cut), None, "{}", cut.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn y115_any_octets_are_values_or_none(octets in "[ -~\r\n]{0,60}") {
            values(octets.as_bytes());
            literal_after(octets.as_bytes());
        }
    }
}
