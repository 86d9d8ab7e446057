//! A cursor over the octets of a command, with the tokens that the grammar is made of (RFC 9051 section 9).

use super::{
    super::command_reader::{self, RawCommand},
    expected::{self, Expected},
};
use crate::{
    imap_characters::{is_astring_char, is_atom_char, is_list_char, is_tag_char, is_text_char},
    proto::imap::sequence_set::SequenceSet,
};

/// The result of a parser.
pub(super) type Parsed<T> = Result<T, Expected>;

/// The grammar that a listener has its clients follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// Blanks may be doubled, and may stand at the end. Atoms and quoted strings may have octets beyond ASCII.
    Forgiving,
    /// Blanks stand only where the RFC has them. Atoms and quoted strings may have octets beyond ASCII.
    Exact,
    /// Only the grammar of RFC 3501 section 9: for a listener with `strict = true`.
    Strict,
}

/// The mistake in a tag, after which no reply can repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagMistake {
    /// The line is empty, or begins with a blank.
    Missing,
    /// No tag has this octet.
    Forbidden(u8),
}

/// The octets of a command that are not parsed yet.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    literals: std::slice::Iter<'a, (usize, Vec<u8>)>,
    grammar: Grammar,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(command: &'a RawCommand, grammar: Grammar) -> Self {
        Self { text: &command.text, at: 0, literals: command.literals.iter(), grammar }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Takes an octet, if it is the next one.
    pub(super) fn take(&mut self, octet: u8) -> bool {
        let is_next = self.peek() == Some(octet);
        self.at += usize::from(is_next);
        is_next
    }

    pub(super) fn expect(&mut self, octet: u8, expected: Expected) -> Parsed<()> {
        if self.take(octet) { Ok(()) } else { Err(expected) }
    }

    /// The blank between two words.
    pub(super) fn blank(&mut self) -> Parsed<()> {
        self.expect(b' ', expected::ARGUMENT)?;
        self.superfluous_blanks();
        Ok(())
    }

    /// Blanks where the grammar has none.
    fn superfluous_blanks(&mut self) {
        while self.is_forgiving() && self.take(b' ') {}
    }

    fn is_forgiving(&self) -> bool {
        self.grammar == Grammar::Forgiving
    }

    /// Whether a blank and more follows. The blank is taken.
    pub(super) fn has_more(&mut self) -> bool {
        let mut ahead = self.clone();
        let more = ahead.blank().is_ok() && (!self.is_forgiving() || ahead.peek().is_some());
        if more {
            *self = ahead;
        }
        more
    }

    /// The end of the command.
    pub(super) fn end(&mut self) -> Parsed<()> {
        self.superfluous_blanks();
        if self.at == self.text.len() { Ok(()) } else { Err(expected::END_OF_LINE) }
    }

    /// The longest run of such octets. Empty if the next octet is another.
    pub(super) fn run(&mut self, matches: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|&b| !matches(b)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn nonempty_run(&mut self, matches: impl Fn(u8) -> bool, expected: Expected) -> Parsed<&'a [u8]> {
        let run = self.run(matches);
        if run.is_empty() { Err(expected) } else { Ok(run) }
    }

    /// The longest run of octets of a class, and of octets beyond ASCII: clients send mailbox names, user names and passwords
    /// in UTF-8. In RFC 3501 section 9 only literals have such octets.
    fn text_run(&mut self, is_in_class: fn(u8) -> bool) -> Parsed<&'a [u8]> {
        let run = self.run(|octet| is_in_class(octet) || !octet.is_ascii());
        if self.grammar == Grammar::Strict && !run.is_ascii() { Err(expected::ASCII) } else { Ok(run) }
    }

    fn nonempty_text_run(&mut self, is_in_class: fn(u8) -> bool, expected: Expected) -> Parsed<&'a [u8]> {
        let run = self.text_run(is_in_class)?;
        if run.is_empty() { Err(expected) } else { Ok(run) }
    }

    /// Takes a word of letters, in capitals or not, if the next atom is that word.
    pub(super) fn keyword(&mut self, word: &str) -> bool {
        let mut ahead = self.clone();
        let is_next = ahead.run(is_atom_char).eq_ignore_ascii_case(word.as_bytes());
        if is_next {
            *self = ahead;
        }
        is_next
    }

    /// A word of the grammar in capitals.
    pub(super) fn word(&mut self, expected: Expected) -> Parsed<String> {
        let word = self.nonempty_run(is_atom_char, expected)?;
        String::from_utf8(word.to_ascii_uppercase()).map_err(|_| expected)
    }

    pub(super) fn atom(&mut self, expected: Expected) -> Parsed<&'a [u8]> {
        self.nonempty_text_run(is_atom_char, expected)
    }

    /// The tag of a command. A reply repeats only a whole tag: the client does not know any other.
    pub(super) fn tag(&mut self) -> Result<&'a [u8], TagMistake> {
        let tag = self.run(is_tag_char);
        match self.peek() {
            Some(octet) if octet != b' ' => Err(TagMistake::Forbidden(octet)),
            _ if tag.is_empty() => Err(TagMistake::Missing),
            _ => Ok(tag),
        }
    }

    /// A string: quoted, or a literal. `None` if neither begins here.
    fn string_if_any(&mut self) -> Parsed<Option<Vec<u8>>> {
        match self.peek() {
            Some(b'"') => self.quoted().map(Some),
            Some(b'{') => self.literal().map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn string(&mut self, expected: Expected) -> Parsed<Vec<u8>> {
        self.string_if_any()?.ok_or(expected)
    }

    /// A string, or NIL.
    pub(super) fn nstring(&mut self, expected: Expected) -> Parsed<Option<Vec<u8>>> {
        match self.string_if_any()? {
            Some(text) => Ok(Some(text)),
            None if self.keyword("NIL") => Ok(None),
            None => Err(expected),
        }
    }

    pub(super) fn astring(&mut self, expected: Expected) -> Parsed<Vec<u8>> {
        match self.string_if_any()? {
            Some(text) => Ok(text),
            None => self.nonempty_text_run(is_astring_char, expected).map(<[u8]>::to_vec),
        }
    }

    /// The pattern of LIST and LSUB: an astring, in which `%` and `*` need no quotes.
    pub(super) fn list_pattern(&mut self) -> Parsed<Vec<u8>> {
        match self.string_if_any()? {
            Some(text) => Ok(text),
            None => {
                let pattern = self.nonempty_text_run(is_list_char, expected::PATTERN)?;
                Ok(pattern.to_vec())
            }
        }
    }

    /// A quoted string.
    fn quoted(&mut self) -> Parsed<Vec<u8>> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            text.extend_from_slice(
                self.text_run(|octet| is_text_char(octet) && !matches!(octet, b'"' | b'\\'))?,
            );
            if self.take(b'"') {
                return Ok(text);
            }
            if !self.take(b'\\') {
                return Err(expected::END_OF_QUOTED);
            }
            match self.peek() {
                Some(octet @ (b'"' | b'\\')) => text.push(octet),
                _ => return Err(expected::QUOTED_SPECIAL),
            }
            self.at += 1;
        }
    }

    fn literal(&mut self) -> Parsed<Vec<u8>> {
        let announced = expected::LITERAL_AT_END;
        let length = memchr::memchr(b'}', self.rest()).ok_or(announced)?;
        self.at += length + 1;
        let (_, literal) = self.literals.next().filter(|(at, _)| *at == self.at).ok_or(announced)?;
        // A string has no NUL (RFC 9051 section 4.3).
        if literal.contains(&0) { Err(expected::LITERAL_WITHOUT_NUL) } else { Ok(literal.clone()) }
    }

    /// A number of 64 bits, as of modification sequences.
    pub(super) fn number(&mut self, expected: Expected) -> Parsed<u64> {
        command_reader::number(self.run(|b| b.is_ascii_digit())).ok_or(expected)
    }

    pub(super) fn number32(&mut self, expected: Expected) -> Parsed<u32> {
        self.number(expected).and_then(|number| u32::try_from(number).map_err(|_| expected))
    }

    /// A number that begins with another digit than 0 (`nz-number`, RFC 9051 section 9).
    pub(super) fn nonzero32(&mut self, expected: Expected) -> Parsed<u32> {
        if self.rest().starts_with(b"0") { Err(expected) } else { self.number32(expected) }
    }

    /// A number of messages, or UIDs.
    pub(super) fn sequence_set(&mut self) -> Parsed<SequenceSet> {
        let text = self.run(|b| b.is_ascii_digit() || matches!(b, b':' | b',' | b'*'));
        SequenceSet::parse(text).ok_or(expected::NUMBERS)
    }

    /// The beginning of a list. aioimaplib writes `ID ( "name" "x" )`.
    pub(super) fn open(&mut self, expected: Expected) -> Parsed<()> {
        self.expect(b'(', expected)?;
        self.superfluous_blanks();
        Ok(())
    }

    /// The end of a list, if it is next.
    pub(super) fn close(&mut self) -> bool {
        let mut ahead = self.clone();
        ahead.superfluous_blanks();
        let is_next = ahead.take(b')');
        if is_next {
            *self = ahead;
        }
        is_next
    }

    /// Items in parentheses, with blanks between them.
    pub(super) fn list<T>(
        &mut self,
        expected: Expected,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.open(expected)?;
        let mut items = Vec::new();
        while !self.close() {
            if self.rest().iter().all(|&octet| octet == b' ') {
                return Err(expected::CLOSING_PARENTHESIS);
            }
            if !items.is_empty() {
                self.blank()?;
            }
            if items.len() == MAX_ITEMS {
                return Err(expected::SHORTER_LIST);
            }
            items.push(item(self)?);
        }
        Ok(items)
    }
}

/// The most items of a list: header fields, flags, patterns, items of STATUS.
const MAX_ITEMS: usize = 1000;
