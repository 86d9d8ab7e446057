//! The condition of a search, prepared for many messages.
//!
//! The rule: a condition is true, false, or not known yet. What is not known yet is asked of the header, and then of the text.

use std::sync::Arc;

use crate::{
    maildir::MessageEntry,
    mime::{Header, date::Date},
    proto::imap::{
        flags::Flags,
        request::{FolderState, MessageState},
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
    /// A field of that name contains the text.
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

/// The facts about a message that are known.
pub(super) struct Facts<'a> {
    pub(super) number: u32,
    pub(super) state: MessageState,
    pub(super) entry: &'a MessageEntry,
    /// For each text to find, whether it is found, once that is known.
    pub(super) hits: Vec<Option<bool>>,
}

/// A text for comparisons: in lower case, with single blanks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folded(String);

impl Folded {
    pub(super) fn new(text: &str) -> Self {
        let mut folded = String::with_capacity(text.len());
        for c in text.chars() {
            if c.is_whitespace() {
                if !folded.ends_with(' ') {
                    folded.push(' ');
                }
            } else {
                // One character after the other, because a final sigma would depend on its neighbours.
                folded.extend(c.to_lowercase());
            }
        }
        Self(folded)
    }

    pub(super) fn contains(&self, other: &Self) -> bool {
        memchr::memmem::find(self.0.as_bytes(), other.0.as_bytes()).is_some()
    }
}

impl Condition {
    /// Resolves a condition. `state` numbers the messages, `keywords` are the names of the flags, and the texts to find in bodies
    /// are added to `needles`.
    pub(super) fn compile(
        key: &SearchKey,
        state: &FolderState,
        keywords: &[Arc<str>],
        needles: &mut Vec<Needle>,
    ) -> Self {
        let mut text = |octets: &[u8], in_header: bool| {
            if octets.is_empty() {
                return Self::Constant(true);
            }
            needles.push(Needle { text: Folded::new(&String::from_utf8_lossy(octets)), in_header });
            Self::Text(needles.len() - 1)
        };
        match key {
            SearchKey::Body(octets) => return text(octets, false),
            SearchKey::Text(octets) => return text(octets, true),
            _ => {}
        }
        let mut inner = |key: &SearchKey| Self::compile(key, state, keywords, needles);
        match key {
            SearchKey::All => Self::Constant(true),
            SearchKey::Recent => Self::Constant(false),
            SearchKey::And(keys) => Self::And(keys.iter().map(inner).collect()),
            SearchKey::Or(one, two) => Self::Or(Box::new([inner(one), inner(two)])),
            SearchKey::Not(key) => Self::Not(Box::new(inner(key))),
            SearchKey::Numbers(set) => {
                Self::Numbers(set.resolve(u32::try_from(state.messages.len()).unwrap_or(u32::MAX)))
            }
            SearchKey::Uids(set) => {
                Self::Uids(set.resolve(state.messages.last().map_or(0, |message| message.uid)))
            }
            SearchKey::Flag(name) => {
                let keyword =
                    || keywords.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name));
                match Flags::of_name(name).or_else(|| keyword().map(Flags::of_keyword)) {
                    Some(flag) => Self::Flag(flag),
                    None => Self::Constant(false),
                }
            }
            SearchKey::Header(name, octets) => {
                Self::Header(name.clone(), Folded::new(&String::from_utf8_lossy(octets)))
            }
            SearchKey::Body(_) | SearchKey::Text(_) => Self::Constant(false),
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
    pub(super) fn matches(&self, facts: &Facts<'_>, header: Option<Header<'_>>) -> Option<bool> {
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
            Self::Header(name, text) => header.map(|header| has_field(header, name, text)),
            Self::Text(index) => facts.hits.get(*index).copied().flatten(),
            Self::Larger(octets) => Some(entry.octets > *octets),
            Self::Smaller(octets) => Some(entry.octets < *octets),
            Self::Came(test) => {
                let Date { year, month, day, .. } = Date::from_seconds(entry.version.modified.0);
                Some(test.matches(Day { year, month, day }))
            }
            Self::Sent(test) => header.map(|header| {
                // The day as the sender wrote it: its time and zone do not count.
                let date = header.raw("Date").and_then(|value| Date::parse(&value));
                date.is_some_and(|Date { year, month, day, .. }| test.matches(Day { year, month, day }))
            }),
            Self::ModSeq(modseq) => Some(facts.state.modseq >= *modseq),
        }
    }
}

/// Whether a field of that name contains a text. An empty text is in each.
fn has_field(header: Header<'_>, name: &[u8], text: &Folded) -> bool {
    let mut named = header.fields().filter(|field| field.name.eq_ignore_ascii_case(name));
    named.any(|field| text.0.is_empty() || Folded::new(&header.decoded(&field)).contains(text))
}

impl DayTest {
    fn matches(self, day: Day) -> bool {
        match self {
            Self::Before(other) => day < other,
            Self::On(other) => day == other,
            Self::Since(other) => day >= other,
        }
    }
}
