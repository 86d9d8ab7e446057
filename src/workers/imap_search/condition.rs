//! The condition of a search, prepared for many messages.
//!
//! The rule: a condition is true, false, or not known yet. What is not known yet is asked of the header, and then of the text.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    maildir::MessageEntry,
    mime::{
        Header,
        address::{self, Address},
        date::Date,
    },
    proto::imap::{
        flags::Flags,
        request::{MessageState, Search},
        search_key::{Day, SearchKey},
        sequence_set::NumberSet,
    },
};

/// A condition whose sets, flags and texts are resolved.
#[derive(Debug)]
pub(super) enum Condition {
    Constant(bool),
    And(Vec<Condition>),
    Or(Box<[Condition; 2]>),
    Not(Box<Condition>),
    Numbers(NumberSet),
    Uids(NumberSet),
    Flag(Flags),
    /// A field of that name, in lower case, contains the text.
    Header(Vec<u8>, Folded),
    /// The text with that index is found.
    Text(usize),
    Larger(u64),
    Smaller(u64),
    Came(DayTest),
    Sent(DayTest),
    ModSeq(u64),
}

/// A comparison with a day.
#[derive(Debug, Clone, Copy)]
pub(super) enum DayTest {
    Before(Day),
    On(Day),
    Since(Day),
}

/// A text to find in the body, or in the header too.
#[derive(Debug)]
pub(super) struct Needle {
    pub(super) text: Folded,
    pub(super) in_header: bool,
}

/// The parts of messages that a condition asks for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The texts to find.
    pub(super) needles: Vec<Needle>,
    /// The names of header fields in lower case.
    pub(super) names: BTreeSet<Vec<u8>>,
}

/// The header of a message as far as a condition asks for it. Many conditions may ask for one field.
#[derive(Debug)]
pub(super) struct SearchedHeader {
    /// For each name that is there, the values of all its fields, with a line feed between two.
    fields: BTreeMap<Vec<u8>, Folded>,
    /// The day on which it was sent, as the sender wrote it: its time and zone do not count.
    day: Option<Day>,
}

impl SearchedHeader {
    pub(super) fn new(header: Header<'_>, wanted: &Wanted) -> Self {
        let mut fields: BTreeMap<Vec<u8>, Folded> = BTreeMap::new();
        for field in header.fields() {
            let name = field.name.to_ascii_lowercase();
            if !wanted.names.contains(&name) {
                continue;
            }
            let is_of_addresses = ADDRESS_FIELDS.contains(&name.as_slice());
            let text = fields.entry(name).or_default();
            text.add_line(&header.decoded(&field));
            // FROM and its like search the envelope, which has neither comments nor backslashes (RFC 9051 section 6.4.4).
            if is_of_addresses {
                for Address { name, address, .. } in address::parse(&field.value) {
                    let (name, address) = (name.unwrap_or_default(), address.unwrap_or_default());
                    text.add_line(&format!("{name} <{address}>"));
                }
            }
        }
        let date = header.raw("Date").and_then(|value| Date::parse(&value));
        Self { fields, day: date.map(|Date { year, month, day, .. }| Day { year, month, day }) }
    }
}

/// The facts about a message that are known.
pub(super) struct Facts<'a> {
    pub(super) number: u32,
    pub(super) state: MessageState,
    pub(super) entry: &'a MessageEntry,
    /// For each text to find, whether it is found, once that is known.
    pub(super) hits: Vec<Option<bool>>,
}

/// A text for comparisons: in lower case, with single blanks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Folded(String);

impl Folded {
    pub(super) fn new(text: &str) -> Self {
        let mut folded = Self(String::with_capacity(text.len()));
        folded.add(text);
        folded
    }

    fn add(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_whitespace() {
                if !self.0.ends_with(' ') {
                    self.0.push(' ');
                }
            } else {
                // One character after the other, because a final sigma would depend on its neighbours.
                self.0.extend(c.to_lowercase());
            }
        }
    }

    /// Adds a text in which no text is found that begins before it: no folded text has a line feed.
    pub(super) fn add_line(&mut self, text: &str) {
        self.0.push('\n');
        self.add(text);
    }

    pub(super) fn contains(&self, other: &Self) -> bool {
        memchr::memmem::find(self.0.as_bytes(), other.0.as_bytes()).is_some()
    }
}

impl Condition {
    /// Resolves a condition of a search, whose state numbers the messages. `keywords` are the names of the flags. Adds to `wanted`.
    pub(super) fn compile(
        key: &SearchKey,
        search: &Search,
        keywords: &[Arc<str>],
        wanted: &mut Wanted,
    ) -> Self {
        let mut text = |octets: &[u8], in_header: bool| {
            if octets.is_empty() {
                return Self::Constant(true);
            }
            let text = Folded::new(&String::from_utf8_lossy(octets));
            wanted.needles.push(Needle { text, in_header });
            Self::Text(wanted.needles.len() - 1)
        };
        match key {
            SearchKey::Body(octets) => return text(octets, false),
            SearchKey::Text(octets) => return text(octets, true),
            SearchKey::Header(name, octets) => {
                let name = name.to_ascii_lowercase();
                wanted.names.insert(name.clone());
                return Self::Header(name, Folded::new(&String::from_utf8_lossy(octets)));
            }
            _ => {}
        }
        let messages = &search.state.messages;
        let mut inner = |key: &SearchKey| Self::compile(key, search, keywords, wanted);
        match key {
            SearchKey::All => Self::Constant(true),
            SearchKey::Recent => Self::Uids(NumberSet::clone(&search.recent)),
            SearchKey::And(keys) => Self::And(keys.iter().map(inner).collect()),
            SearchKey::Or(one, two) => Self::Or(Box::new([inner(one), inner(two)])),
            SearchKey::Not(key) => Self::Not(Box::new(inner(key))),
            SearchKey::Numbers(set) => {
                Self::Numbers(set.resolve(u32::try_from(messages.len()).unwrap_or(u32::MAX)))
            }
            SearchKey::Uids(set) => Self::Uids(set.resolve(messages.last().map_or(0, |message| message.uid))),
            SearchKey::Flag(name) => {
                let keyword =
                    || keywords.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name));
                match Flags::of_name(name).or_else(|| keyword().map(Flags::of_keyword)) {
                    Some(flag) => Self::Flag(flag),
                    None => Self::Constant(false),
                }
            }
            // These were served above.
            SearchKey::Header(..) | SearchKey::Body(_) | SearchKey::Text(_) => Self::Constant(false),
            SearchKey::Larger(octets) => Self::Larger(*octets),
            SearchKey::Smaller(octets) => Self::Smaller(*octets),
            SearchKey::Before(day) => Self::Came(DayTest::Before(*day)),
            SearchKey::On(day) => Self::Came(DayTest::On(*day)),
            SearchKey::Since(day) => Self::Came(DayTest::Since(*day)),
            SearchKey::SentBefore(day) => Self::Sent(DayTest::Before(*day)),
            SearchKey::SentOn(day) => Self::Sent(DayTest::On(*day)),
            SearchKey::SentSince(day) => Self::Sent(DayTest::Since(*day)),
            SearchKey::ModSeq(modseq) => Self::ModSeq(*modseq),
        }
    }

    /// The number of conditions in this one.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::And(all) => all.iter().map(Self::size).sum::<u64>() + 1,
            Self::Or(both) => both.iter().map(Self::size).sum::<u64>() + 1,
            Self::Not(inner) => inner.size() + 1,
            _ => 1,
        }
    }

    /// Whether a message matches. `None`: more of it has to be known.
    pub(super) fn matches(&self, facts: &Facts<'_>, header: Option<&SearchedHeader>) -> Option<bool> {
        let entry = facts.entry;
        match self {
            Self::Constant(value) => Some(*value),
            Self::And(all) => {
                let mut result = Some(true);
                for condition in all {
                    match condition.matches(facts, header) {
                        Some(true) => {}
                        Some(false) => return Some(false),
                        None => result = None,
                    }
                }
                result
            }
            Self::Or(both) => match both.each_ref().map(|one| one.matches(facts, header)) {
                [Some(true), _] | [_, Some(true)] => Some(true),
                [Some(false), Some(false)] => Some(false),
                _ => None,
            },
            Self::Not(inner) => inner.matches(facts, header).map(|value| !value),
            Self::Numbers(set) => Some(set.contains(facts.number)),
            Self::Uids(set) => Some(set.contains(facts.state.uid)),
            Self::Flag(flag) => Some(facts.state.flags.intersects(*flag)),
            Self::Header(name, text) => header.map(|header| {
                // An empty text is in each field of the name.
                header.fields.get(name).is_some_and(|values| values.contains(text))
            }),
            Self::Text(index) => facts.hits.get(*index).copied().flatten(),
            Self::Larger(octets) => Some(entry.octets > *octets),
            Self::Smaller(octets) => Some(entry.octets < *octets),
            Self::Came(test) => {
                let Date { year, month, day, .. } = Date::from_seconds(entry.version.modified.0);
                Some(test.matches(Day { year, month, day }))
            }
            Self::Sent(test) => header.map(|header| header.day.is_some_and(|day| test.matches(day))),
            Self::ModSeq(modseq) => Some(facts.state.modseq >= *modseq),
        }
    }
}

/// The fields of addresses in an envelope, in lower case.
const ADDRESS_FIELDS: [&[u8]; 6] = [b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"];

impl DayTest {
    fn matches(self, day: Day) -> bool {
        match self {
            Self::Before(other) => day < other,
            Self::On(other) => day == other,
            Self::Since(other) => day >= other,
        }
    }
}
