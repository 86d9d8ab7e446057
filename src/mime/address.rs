//! Address lists of header fields (RFC 5322 section 3.4).
//!
//! The rule: an address is one that stands in the text, never one put together from pieces of it, but for comments and blanks
//! beside its `@` (RFC 5322 section 3.2.3). An entry that is not as the RFC has it is marked, so that a caller who sends mail
//! refuses it.

use super::{charset, encoded_word};

/// One entry of an address list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// Display name, decoded, or the comment that stands for one; of an empty group, its name.
    pub name: Option<String>,
    /// Address without angle brackets. `None` if the entry has none.
    pub address: Option<String>,
    /// True if the entry has the form of the RFC: nothing had to be left out or guessed.
    pub well_formed: bool,
}

/// Parses an unfolded list. Members of groups count as others.
pub fn parse(list: &[u8]) -> Vec<Address> {
    let address = |item| match item {
        Item::Address(raw) => Some(raw.decoded()),
        Item::GroupStart(_) | Item::GroupEnd => None,
    };
    items(list).into_iter().filter_map(address).collect()
}

/// Parses an unfolded list, and decodes nothing.
pub fn items(list: &[u8]) -> Vec<Item> {
    let mut parser = Parser { rest: list, entry: Entry::default(), found: Vec::new(), in_group: false };
    parser.run();
    parser.found
}

/// An item of an address list, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An address, or an entry that has none.
    Address(RawAddress),
    /// The name of a group, whose members follow.
    GroupStart(Vec<u8>),
    /// The end of the group.
    GroupEnd,
}

/// An entry of an address list as it was sent. Quotation marks are gone from its display name; encoded words are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawAddress {
    /// Display name. Empty: none.
    pub phrase: Vec<u8>,
    /// The comments. Empty: none.
    pub comment: Vec<u8>,
    /// The obsolete route of servers: `@a.test,@b.test`. Empty: none.
    pub route: Vec<u8>,
    /// Address without angle brackets and route.
    pub address: Option<Vec<u8>>,
    /// True if the entry has the form of the RFC.
    pub well_formed: bool,
    /// True if it stands for a group without members, whose name is the phrase.
    pub is_empty_group: bool,
}

impl RawAddress {
    fn decoded(self) -> Address {
        let name = decoded(&self.phrase).or_else(|| decoded(&self.comment));
        let address = self.address.map(|address| charset::guess(&address).into_owned());
        Address { name, address, well_formed: self.well_formed }
    }
}

struct Parser<'a> {
    rest: &'a [u8],
    entry: Entry,
    found: Vec<Item>,
    /// True after the name of a group, until its `;`.
    in_group: bool,
}

/// An address or the name of a group while it is being read.
#[derive(Default)]
struct Entry {
    /// Its words as a display name: without quotation marks, with single blanks.
    phrase: Vec<u8>,
    /// Its words as an address: with quotation marks.
    words: Vec<Word>,
    comment: Vec<u8>,
    /// The text between angle brackets.
    angle: Option<Vec<u8>>,
    /// The route of servers before it.
    route: Vec<u8>,
    /// The name of the group that this entry begins.
    group: Vec<u8>,
    /// True if a blank or a comment separates the last word from the next one.
    gap: bool,
    malformed: bool,
}

/// A run of text without a blank.
#[derive(Default)]
struct Word {
    text: Vec<u8>,
    has_at: bool,
}

impl Parser<'_> {
    fn run(&mut self) {
        while let Some((first, rest)) = self.rest.split_first() {
            match first {
                b',' | b';' => {
                    self.rest = rest;
                    let ends_group = self.in_group && *first == b';';
                    self.in_group &= !ends_group;
                    self.finish();
                    if ends_group {
                        self.found.push(Item::GroupEnd);
                    }
                }
                b':' => {
                    self.rest = rest;
                    self.begin_group();
                }
                b'<' => self.angle(),
                b'>' => {
                    self.rest = rest;
                    self.entry.malformed = true;
                }
                b'(' => {
                    let comment = self.comment();
                    self.entry.gap = true;
                    push_separated(&mut self.entry.comment, &comment);
                }
                b'"' => {
                    let (content, quoted) = self.quoted();
                    self.entry.add(&content, &quoted, false);
                }
                b'[' => {
                    // A domain literal; its colons begin no group.
                    let is_end = |b: &u8| matches!(b, b']' | b'[' | b',' | b';' | b'<');
                    let length = match rest.iter().take(MAX_LITERAL).position(is_end) {
                        Some(end) => end + 1 + usize::from(rest[end] == b']'),
                        None => 1,
                    };
                    let (literal, rest) = self.rest.split_at(length);
                    self.rest = rest;
                    self.entry.add(literal, literal, false);
                }
                b if b.is_ascii_whitespace() => {
                    self.rest = rest;
                    self.entry.gap = true;
                }
                _ => {
                    let is_end = |b: &u8| b.is_ascii_whitespace() || b"()<>[],;:\"".contains(b);
                    // An encoded word may have any of them.
                    let word = encoded_word::length(self.rest);
                    let end = word.or_else(|| self.rest.iter().position(is_end)).unwrap_or(self.rest.len());
                    let (atom, rest) = self.rest.split_at(end.max(1));
                    self.rest = rest;
                    self.entry.add(atom, atom, word.is_none() && atom.contains(&b'@'));
                }
            }
        }
        // `mailto:bob@b.test` is no group: it has no end.
        self.entry.malformed |= self.in_group;
        self.finish();
        if self.in_group {
            if let Some(Item::Address(last)) = self.found.last_mut() {
                last.well_formed = false;
            }
            self.found.push(Item::GroupEnd);
        }
    }

    /// Reads `<…>`. A second one in the same entry is an entry of its own, and both are malformed.
    fn angle(&mut self) {
        if self.entry.angle.is_some() {
            self.entry.malformed = true;
            self.finish();
            self.entry.malformed = true;
        }
        self.rest = &self.rest[1..];
        let mut text = Vec::new();
        while let Some((first, rest)) = self.rest.split_first() {
            match first {
                b'"' => text.extend(self.quoted().1),
                b'>' => {
                    self.rest = rest;
                    break;
                }
                b'<' => break,
                b'(' if self.skip_comment() => text.push(b' '),
                _ => {
                    text.push(*first);
                    self.rest = rest;
                }
            }
            self.entry.malformed |= self.rest.is_empty();
        }
        let text = without_blanks_beside_at(&text);
        if self.rest.first() == Some(&b'<') {
            self.entry.malformed = true;
        }
        let mut address = text.trim_ascii();
        // A route of servers, obsolete since RFC 5321: <@a.test,@b.test:user@c.test>
        if address.first() == Some(&b'@')
            && let Some(colon) = memchr::memchr(b':', address)
        {
            self.entry.route = address[..colon].to_owned();
            address = &address[colon + 1..];
        }
        self.entry.angle = Some(address.to_owned());
        self.entry.gap = true;
    }

    /// Skips a comment between angle brackets. Returns `false` if it has no end, and leaves it then.
    fn skip_comment(&mut self) -> bool {
        let (before, was_malformed) = (self.rest, std::mem::take(&mut self.entry.malformed));
        self.comment();
        let is_whole = !self.entry.malformed;
        if !is_whole {
            self.rest = before;
        }
        self.entry.malformed |= was_malformed;
        is_whole
    }

    /// Reads a comment, which may contain others, and returns its text.
    fn comment(&mut self) -> Vec<u8> {
        let (mut text, mut depth, mut escaped) = (Vec::new(), 0_usize, false);
        while let Some((first, rest)) = self.rest.split_first() {
            self.rest = rest;
            match first {
                _ if escaped => {
                    text.push(*first);
                    escaped = false;
                }
                b'\\' => escaped = true,
                b'(' => {
                    depth += 1;
                    if depth > 1 {
                        text.push(b'(');
                    }
                }
                b')' if depth == 1 => return text,
                b')' => {
                    depth -= 1;
                    text.push(b')');
                }
                _ => text.push(*first),
            }
        }
        self.entry.malformed = true;
        text
    }

    /// Reads a quoted string, and returns its content, and its text with the quotation marks.
    fn quoted(&mut self) -> (Vec<u8>, Vec<u8>) {
        let (mut content, mut text, mut escaped) = (Vec::new(), vec![b'"'], false);
        self.rest = &self.rest[1..];
        while let Some((first, rest)) = self.rest.split_first() {
            self.rest = rest;
            text.push(*first);
            match first {
                _ if escaped => {
                    content.push(*first);
                    escaped = false;
                }
                b'\\' => escaped = true,
                b'"' => return (content, text),
                _ => content.push(*first),
            }
        }
        self.entry.malformed = true;
        (content, text)
    }

    /// The words so far are the name of a group.
    fn begin_group(&mut self) {
        let entry = std::mem::take(&mut self.entry);
        let is_nested = std::mem::replace(&mut self.in_group, true);
        if is_nested {
            self.found.push(Item::GroupEnd);
        }
        self.found.push(Item::GroupStart(entry.phrase.clone()));
        self.entry.malformed = is_nested
            || entry.malformed
            || entry.angle.is_some()
            || entry.words.iter().any(|word| word.has_at);
        self.entry.group = entry.phrase;
    }

    /// Turns the words read so far into an address, at a comma, a semicolon or the end.
    fn finish(&mut self) {
        let Entry { phrase, words, comment, angle, route, group, malformed, .. } =
            std::mem::take(&mut self.entry);
        let mut raw = RawAddress { phrase, comment, route, well_formed: !malformed, ..RawAddress::default() };
        let is_empty_angle = angle.as_ref().is_some_and(Vec::is_empty);
        if let Some(angle) = angle {
            // `ann@a.test <bob@b.test>` has an address for a name.
            let other = |word: &Word| word.has_at && word.text != angle;
            raw.well_formed &= has_form(&angle) && !words.iter().any(other);
            raw.address = Some(angle).filter(|address| !address.is_empty());
        } else {
            let mut with_at = words.iter().filter(|word| word.has_at);
            match (with_at.next(), with_at.next()) {
                (Some(one), None) => {
                    raw.address = Some(one.text.clone());
                    // `Bob bob@b.test`: readable, but in no standard.
                    raw.well_formed &= words.len() == 1 && has_form(&one.text);
                    let others: Vec<_> =
                        words.iter().filter(|word| !word.has_at).map(|word| word.text.as_slice()).collect();
                    raw.phrase = others.join(&b' ');
                }
                // Two addresses without a comma, or none.
                (Some(_), Some(_)) => raw.well_formed = false,
                (None, _) => raw.well_formed &= words.len() == 1,
            }
        }
        if raw.address.is_none() && decoded(&raw.phrase).is_none() && decoded(&raw.comment).is_none() {
            raw.is_empty_group = decoded(&group).is_some();
            if !raw.is_empty_group && !is_empty_angle && !malformed {
                return;
            }
            (raw.phrase, raw.well_formed) = (group, false);
        }
        self.found.push(Item::Address(raw));
    }
}

/// A name, decoded, unless it is empty.
fn decoded(text: &[u8]) -> Option<String> {
    Some(encoded_word::decode(text.trim_ascii())).filter(|name| !name.is_empty())
}

impl Entry {
    fn add(&mut self, content: &[u8], text: &[u8], has_at: bool) {
        self.malformed |= self.angle.is_some(); // `<a@b.test> c`
        let gap = std::mem::take(&mut self.gap);
        if gap && !self.phrase.is_empty() {
            self.phrase.push(b' ');
        }
        self.phrase.extend_from_slice(content);
        match self.words.last_mut() {
            Some(last) if !gap || is_split_at(&last.text, text) => {
                last.text.extend_from_slice(text);
                last.has_at |= has_at;
            }
            _ => self.words.push(Word { text: text.to_owned(), has_at }),
        }
    }
}

/// Whether two words are the sides of one `@`, with a blank or a comment on one side of it.
fn is_split_at(one: &[u8], other: &[u8]) -> bool {
    let ats = memchr::memchr_iter(b'@', one).count() + memchr::memchr_iter(b'@', other).count();
    ats == 1 && (one.ends_with(b"@") || other.starts_with(b"@"))
}

/// Whether an address without comments has the form of RFC 5322, 3.4.1. It may have no domain, as `<root>` from programs of a
/// machine, and letters outside of ASCII (RFC 6532).
fn has_form(address: &[u8]) -> bool {
    let is_atom = |text: &[u8]| {
        let is_odd = |octet: &u8| octet.is_ascii_control() || b" ()<>[]:;@\\,\"".contains(octet);
        !text.is_empty() && !text.iter().any(is_odd)
    };
    let local = quoted_length(address).or_else(|| memchr::memchr(b'@', address)).unwrap_or(address.len());
    let (local, domain) = address.split_at(local);
    let literal = domain.strip_prefix(b"@[").and_then(|literal| literal.strip_suffix(b"]"));
    let has_domain = match (domain, literal) {
        ([], _) => true,
        (_, Some(literal)) => {
            !literal.iter().any(|octet| octet.is_ascii_control() || b" []\\".contains(octet))
        }
        ([b'@', domain @ ..], None) => is_atom(domain),
        _ => false,
    };
    has_domain && (local.starts_with(b"\"") || is_atom(local))
}

/// The octets of a quoted string at the beginning.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    let is_end = |octet: &u8| match octet {
        _ if std::mem::take(&mut is_escaped) => false,
        b'\\' => {
            is_escaped = true;
            false
        }
        other => *other == b'"',
    };
    text.strip_prefix(b"\"")?.iter().position(is_end).map(|end| end + 2)
}

/// An address without the blanks beside its `@`, if it has one.
fn without_blanks_beside_at(address: &[u8]) -> Vec<u8> {
    match memchr::memrchr(b'@', address) {
        Some(at) if memchr::memchr(b'@', &address[..at]).is_none() => {
            [address[..at].trim_ascii(), b"@", address[at + 1..].trim_ascii()].concat()
        }
        _ => address.to_owned(),
    }
}

fn push_separated(text: &mut Vec<u8>, more: &[u8]) {
    if !text.is_empty() {
        text.push(b' ');
    }
    text.extend_from_slice(more);
}

/// Octets of a domain literal.
const MAX_LITERAL: usize = 256;

#[cfg(test)]
mod tests;
