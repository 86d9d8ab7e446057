//! The condition of a search, prepared for many messages.
//!
//! The rule: a condition is true, false, or not known yet. What is not known yet is asked of the header, and then of the text.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    finder::{Control, TextSet},
    folded::Folded,
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
    proto::request::Failure,
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
    /// The text with that index is found in a field of its name.
    Header(usize),
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

/// The parts of messages that a condition asks for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The number of texts to find.
    pub(super) texts: usize,
    /// Those that BODY and TEXT ask for.
    pub(super) in_body: TextSet,
    /// Those of TEXT.
    pub(super) in_header: TextSet,
    /// The number of texts to find in fields.
    fields: usize,
    /// These texts by the name of their field in lower case.
    by_name: BTreeMap<Vec<u8>, TextSet>,
}

/// The header of a message as far as a condition asks for it. Many conditions may ask for one field.
#[derive(Debug)]
pub(super) struct SearchedHeader {
    /// For each text to find in a field, whether it is there.
    hits: Vec<Option<bool>>,
    /// The day on which it was sent, as the sender wrote it: its time and zone do not count.
    day: Option<Day>,
}

impl SearchedHeader {
    pub(super) fn new(header: Header<'_>, wanted: &Wanted, control: &Control<'_>) -> Result<Self, Failure> {
        // For each name, the values of all its fields, with a line feed between two.
        let mut fields: BTreeMap<Vec<u8>, Folded> = BTreeMap::new();
        for field in header.fields() {
            let name = field.name.to_ascii_lowercase();
            if !wanted.by_name.contains_key(&name) {
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
        let mut hits = vec![None; wanted.fields];
        for (name, values) in &fields {
            if let Some(texts) = wanted.by_name.get(name) {
                texts.find(values, &mut hits, control)?;
            }
        }
        let date = header.raw("Date").and_then(|value| Date::parse(&value));
        let day = date.map(|Date { year, month, day, .. }| Day { year, month, day });
        Ok(Self { hits, day })
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
            let number = wanted.texts;
            wanted.texts += 1;
            if in_header {
                wanted.in_header.add(number, text.clone());
            }
            wanted.in_body.add(number, text);
            Self::Text(number)
        };
        match key {
            SearchKey::Body(octets) => return text(octets, false),
            SearchKey::Text(octets) => return text(octets, true),
            SearchKey::Header(name, octets) => {
                let number = wanted.fields;
                wanted.fields += 1;
                let texts = wanted.by_name.entry(name.to_ascii_lowercase()).or_default();
                texts.add(number, Folded::new(&String::from_utf8_lossy(octets)));
                return Self::Header(number);
            }
            _ => {}
        }
        let messages = &search.state.messages;
        let mut inner = |key: &SearchKey| Self::compile(key, search, keywords, wanted);
        match key {
            SearchKey::All => Self::Constant(true),
            SearchKey::Recent => Self::Uids(search.recent.clone()),
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
            Self::Header(index) => {
                header.map(|header| header.hits.get(*index).copied().flatten().unwrap_or(false))
            }
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
