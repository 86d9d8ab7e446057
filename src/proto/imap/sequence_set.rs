//! Sets of message numbers and UIDs (RFC 9051 section 9, "sequence-set").

use std::ops::RangeInclusive;

/// A set as the client wrote it: `1:3,7,9:*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceSet(Vec<(Bound, Bound)>);

/// An end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// A number from 1.
    Number(u32),
    /// `*`: the largest number in use.
    Largest,
}

impl Bound {
    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"*" => Some(Self::Largest),
            // A number with a leading zero is none (RFC 9051 section 9, "nz-number").
            [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => {
                Some(Self::Number(std::str::from_utf8(text).ok()?.parse().ok()?))
            }
            _ => None,
        }
    }

    fn resolve(self, largest: u32) -> u32 {
        match self {
            Self::Number(number) => number,
            Self::Largest => largest,
        }
    }
}

impl SequenceSet {
    /// The most ranges of one set. Clients name tens of thousands of messages at once; more than that is an attack.
    pub const MAX_RANGES: usize = 50_000;

    /// Parses a set. `None` if it is malformed or has too many ranges.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut ranges = Vec::new();
        for part in text.split(|&b| b == b',') {
            if ranges.len() == Self::MAX_RANGES {
                return None;
            }
            ranges.push(match memchr::memchr(b':', part) {
                Some(at) => (Bound::parse(&part[..at])?, Bound::parse(&part[at + 1..])?),
                None => {
                    let bound = Bound::parse(part)?;
                    (bound, bound)
                }
            });
        }
        Some(Self(ranges))
    }

    /// The numbers of the set where `largest` is the largest number in use: the number of messages, or the UID of the
    /// last one. The ends of a range may stand in either order, so `9:*` has at least the last message.
    pub fn resolve(&self, largest: u32) -> NumberSet {
        let range = |&(from, to): &(Bound, Bound)| {
            let (from, to) = (from.resolve(largest), to.resolve(largest));
            (from.min(to), from.max(to))
        };
        NumberSet::from_ranges(self.0.iter().map(range).collect())
    }

    /// The largest number that stands alone or ends a range of two numbers, or 0. A range with `*` names the messages that are known.
    pub(super) fn largest_named(&self) -> u32 {
        let largest = |range: &(Bound, Bound)| match *range {
            (Bound::Number(from), Bound::Number(to)) => from.max(to),
            _ => 0,
        };
        self.0.iter().map(largest).max().unwrap_or(0)
    }
}

/// Numbers, as ascending ranges that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumberSet(Vec<(u32, u32)>);

impl NumberSet {
    /// The set of the numbers in some ranges, in any order. The number 0 is in no set.
    fn from_ranges(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.retain(|&(_, to)| to > 0);
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (from, to) in ranges {
            let from = from.max(1);
            match merged.last_mut() {
                Some((_, end)) if from <= end.saturating_add(1) => *end = to.max(*end),
                _ => merged.push((from, to)),
            }
        }
        Self(merged)
    }

    /// The numbers from `first` on and below `end`.
    pub fn of_range(first: u32, end: u32) -> Self {
        Self::from_ranges(if first < end { vec![(first, end - 1)] } else { Vec::new() })
    }

    /// Adds a number that is larger than all others.
    pub fn push(&mut self, number: u32) {
        self.push_range(number, number);
    }

    /// Adds a range of numbers that are larger than all others.
    pub(super) fn push_range(&mut self, first: u32, last: u32) {
        match self.0.last_mut() {
            Some((_, end)) if first == end.saturating_add(1) => *end = last,
            _ => self.0.push((first, last)),
        }
    }

    /// Removes the lowest ranges until `most` are left.
    pub(super) fn keep_last(&mut self, most: usize) {
        self.0.drain(..self.0.len().saturating_sub(most));
    }

    /// The number of ranges.
    pub(super) fn ranges_count(&self) -> usize {
        self.0.len()
    }

    /// The range at a place in the order of ranges.
    pub(super) fn range(&self, at: usize) -> Option<RangeInclusive<u32>> {
        self.0.get(at).map(|&(from, to)| from..=to)
    }

    /// Whether the set has a number.
    pub fn contains(&self, number: u32) -> bool {
        let at = self.0.partition_point(|&(_, to)| to < number);
        self.0.get(at).is_some_and(|&(from, _)| from <= number)
    }

    /// The number of numbers in the set.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|&(from, to)| u64::from(to - from) + 1).sum()
    }

    /// Whether the set has no number.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The largest number of the set, or 0.
    pub fn largest(&self) -> u32 {
        self.0.last().map_or(0, |&(_, to)| to)
    }

    /// The ranges that have a number from `first` on, in order. The first one may begin below it.
    pub fn ranges_from(&self, first: u32) -> impl Iterator<Item = RangeInclusive<u32>> {
        let at = self.0.partition_point(|&(_, to)| to < first);
        self.0[at..].iter().map(|&(from, to)| from..=to)
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u32>> {
        self.0.iter().map(|&(from, to)| from..=to)
    }
}

impl std::fmt::Display for NumberSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, &(from, to)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            if from == to { write!(f, "{comma}{from}")? } else { write!(f, "{comma}{from}:{to}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolved(text: &str, largest: u32) -> String {
        SequenceSet::parse(text.as_bytes()).unwrap().resolve(largest).to_string()
    }

    #[test]
    fn the_largest_number_stands_for_a_star_and_ends_may_be_turned() {
        for (text, largest, numbers) in [
            ("1", 9, "1"),
            ("*", 9, "9"),
            ("1:*", 9, "1:9"),
            ("*:1", 9, "1:9"),
            ("*:5", 3, "3:5"),
            ("12:*", 9, "9:12"),
            ("5:3,1", 9, "1,3:5"),
            ("1,2,3,5", 9, "1:3,5"),
            ("2:4,3:6,6:6", 9, "2:6"),
            ("*:*", 9, "9"),
            ("4294967295", 9, "4294967295"),
            ("*", 0, ""),
            ("1:*", 0, "1"),
        ] {
            assert_eq!(resolved(text, largest), numbers, "{text} of {largest}");
        }
    }

    #[test]
    fn the_largest_named_number_is_none_of_a_range_with_a_star() {
        for (text, largest) in [("4", 4), ("9:2,3", 9), ("3,7:*", 3), ("*:7", 0), ("*", 0)] {
            let set = SequenceSet::parse(text.as_bytes()).unwrap();
            assert_eq!(set.largest_named(), largest, "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_sets() {
        for text in
            ["", "0", "01", "1,", ",1", "1:", ":1", "1:2:3", "a", "-1", "1 2", "4294967296", "**", "$"]
        {
            assert_eq!(SequenceSet::parse(text.as_bytes()), None, "{text}");
        }
        let many = vec!["1"; SequenceSet::MAX_RANGES + 1].join(",");
        assert_eq!(SequenceSet::parse(many.as_bytes()), None);
        assert!(SequenceSet::parse(&many.as_bytes()[2..]).is_some());
    }

    proptest! {
        #[test]
        fn a_resolved_set_has_the_numbers_of_its_ranges(
            ranges in proptest::collection::vec((1u32..60, 1u32..60), 1..9), largest in 1u32..60,
        ) {
            let text: Vec<String> = ranges.iter().map(|(a, b)| format!("{a}:{b}")).collect();
            let set = SequenceSet::parse(text.join(",").as_bytes()).unwrap().resolve(largest);
            for number in 0..80 {
                let expected = ranges.iter().any(|(a, b)| (a.min(b)..=a.max(b)).contains(&&number));
                prop_assert_eq!(set.contains(number), expected);
            }
            for first in 0..80 {
                let expected: Vec<_> = set.ranges().filter(|range| *range.end() >= first).collect();
                prop_assert_eq!(set.ranges_from(first).collect::<Vec<_>>(), expected);
            }
            let mut again = NumberSet::default();
            set.ranges().flatten().for_each(|number| again.push(number));
            prop_assert_eq!(set.count(), (1..80).filter(|number| set.contains(*number)).count() as u64);
            prop_assert_eq!(again, set);
        }
    }
}
