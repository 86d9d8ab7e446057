//! The conditions of SEARCH (RFC 9051 section 6.4.4, RFC 7162 section 3.1.5).

use super::sequence_set::SequenceSet;

/// A condition that a message matches or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchKey {
    /// Every message.
    All,
    /// All of these conditions.
    And(Vec<SearchKey>),
    /// One of two conditions.
    Or(Box<SearchKey>, Box<SearchKey>),
    /// The condition is not true.
    Not(Box<SearchKey>),
    /// The message has one of these numbers.
    Numbers(SequenceSet),
    /// The message has one of these UIDs.
    Uids(SequenceSet),
    /// The message has that flag: `\Seen`, or a keyword.
    Flag(Vec<u8>),
    /// The message has `\Recent` in this session.
    Recent,
    /// The text stands in a field of the header. An empty text: the field is there.
    Header(Vec<u8>, Vec<u8>),
    /// The text stands in the body.
    Body(Vec<u8>),
    /// The text stands in the header or in the body.
    Text(Vec<u8>),
    /// The message has more octets.
    Larger(u64),
    /// The message has fewer octets.
    Smaller(u64),
    /// The message came before that day.
    Before(Day),
    /// The message came on that day.
    On(Day),
    /// The message came on that day or later.
    Since(Day),
    /// The header's date is before that day.
    SentBefore(Day),
    /// The header's date is that day.
    SentOn(Day),
    /// The header's date is that day or later.
    SentSince(Day),
    /// The message has changed since that modification sequence.
    ModSeq(u64),
}

/// A day of a calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    /// The year.
    pub year: u16,
    /// The month, from 1.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
}

impl SearchKey {
    /// The number of conditions about the text, which is compared with each of them.
    pub(super) fn texts(&self) -> usize {
        match self {
            Self::Body(_) | Self::Text(_) => 1,
            Self::And(keys) => keys.iter().map(Self::texts).sum(),
            Self::Or(one, other) => one.texts() + other.texts(),
            Self::Not(key) => key.texts(),
            _ => 0,
        }
    }

    /// The condition that the message has no such flag.
    pub(super) fn without_flag(flag: &[u8]) -> Self {
        Self::Not(Box::new(Self::Flag(flag.to_vec())))
    }
}
