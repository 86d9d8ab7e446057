//! Message numbers and UIDs of a folder.
//!
//! The rule: each function costs in proportion to the ranges of a set, and not to the messages in them. A folder may have a
//! million messages, and `1:*` names them all. Ranges ascend, so each is looked for from the end of the one before: a step of the
//! loop turns 100,000 ranges into runs in some two milliseconds.

use std::ops::Range;

use super::{
    command::Messages,
    request::{FolderState, MessageState},
    sequence_set::NumberSet,
};

/// The positions of the messages that a client names, as runs in their order. `None`: a number is larger than the last one
/// (RFC 9051 section 9, "seq-number"). A UID that is not there names no message.
pub(super) fn named(view: &FolderState, messages: &Messages) -> Option<Vec<Range<usize>>> {
    let all = &view.messages;
    if messages.by_uid {
        let largest = all.last().map_or(0, |last| last.uid);
        let runs = runs(all, &messages.set.resolve(largest)).collect();
        return Some(runs);
    }
    let set = messages.set.resolve(u32::try_from(all.len()).ok()?);
    let last = usize::try_from(set.largest()).ok()?;
    if last == 0 || last > all.len() {
        return None;
    }
    Some(set.ranges().map(|range| *range.start() as usize - 1..*range.end() as usize).collect())
}

/// The positions of the messages with these UIDs, as runs in their order. None is empty.
pub(super) fn runs<'a>(
    messages: &'a [MessageState],
    uids: &'a NumberSet,
) -> impl Iterator<Item = Range<usize>> + 'a {
    let mut end = 0;
    let run = move |range: std::ops::RangeInclusive<u32>| {
        let first_from =
            |from: usize, uid: u32| first_at_or_after(from..messages.len(), |at| messages[at].uid < uid);
        let start = first_from(end, *range.start());
        end = range.end().checked_add(1).map_or(messages.len(), |uid| first_from(start, uid));
        start..end
    };
    uids.ranges().map(run).filter(|run| !run.is_empty())
}

/// The first position for which `is_before` is false, or the end of the positions. The cost grows with the logarithm of its distance
/// from the first one.
fn first_at_or_after(positions: Range<usize>, mut is_before: impl FnMut(usize) -> bool) -> usize {
    let Range { start: mut low, end } = positions;
    let mut step = 1;
    while low + step <= end && is_before(low + step - 1) {
        low += step;
        step *= 2;
    }
    let mut high = end.min(low + step - 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The UIDs of messages: of each run the first to the last one. Between them may lie UIDs that no message has or will get,
/// because UIDs ascend (RFC 9051 section 2.3.1.1).
pub(super) fn uids(view: &FolderState, runs: &[Range<usize>]) -> NumberSet {
    let mut uids = NumberSet::default();
    for run in runs {
        if let [first, .., last] | [first @ last] = &view.messages[run.clone()] {
            uids.push_range(first.uid, last.uid);
        }
    }
    uids
}

/// The number of messages with these UIDs.
pub(super) fn count(view: &FolderState, uids: &NumberSet) -> u64 {
    runs(&view.messages, uids).map(|run| run.len() as u64).sum()
}

/// Adds the numbers of the messages in a run, which comes after those in the set.
pub(super) fn push_numbers(run: &Range<usize>, numbers: &mut NumberSet) {
    if let (Ok(first), Ok(last)) = (u32::try_from(run.start + 1), u32::try_from(run.end)) {
        numbers.push_range(first, last);
    }
}

/// The numbers of the messages with these UIDs.
pub(super) fn numbers(view: &FolderState, uids: &NumberSet) -> NumberSet {
    let mut numbers = NumberSet::default();
    runs(&view.messages, uids).for_each(|run| push_numbers(&run, &mut numbers));
    numbers
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::imap::{flags::Flags, sequence_set::SequenceSet};

    /// A folder of messages with every second UID, of which every second one is unseen.
    pub(in crate::proto::imap) fn sparse(messages: u32) -> FolderState {
        let flags = |number: u32| if number.is_multiple_of(2) { Flags::SEEN } else { Flags::empty() };
        let message = |n: u32| MessageState { uid: 2 * n, flags: flags(n), modseq: u64::from(n) };
        FolderState {
            messages: (1..=messages).map(message).collect(),
            uid_next: 2 * messages + 1,
            highest_modseq: messages.into(),
            ..FolderState::default()
        }
    }

    #[test]
    fn y161_all_messages_of_a_large_folder_are_named_by_one_range() {
        let view = sparse(100_000);
        for (set, by_uid, positions, expected) in [
            ("1:*", false, vec![(0, 100_000)], "2:200000"),
            ("1:*", true, vec![(0, 100_000)], "2:200000"),
            ("3", false, vec![(2, 3)], "6"),
            ("3", true, vec![], ""),
            ("3:5,9,11:12", true, vec![(1, 2), (5, 6)], "4,12"),
            ("7,*,1:2", false, vec![(0, 2), (6, 7), (99_999, 100_000)], "2:4,14,200000"),
        ] {
            let set = SequenceSet::parse(set.as_bytes()).unwrap();
            let runs = named(&view, &Messages { set, by_uid }).unwrap();
            assert_eq!(runs.iter().map(|run| (run.start, run.end)).collect::<Vec<_>>(), positions);
            let uids = uids(&view, &runs);
            assert_eq!(uids.to_string(), expected);
            assert_eq!(count(&view, &uids), runs.iter().map(|run| run.len() as u64).sum::<u64>());
            assert_eq!(numbers(&view, &uids).count(), count(&view, &uids));
        }
    }

    #[test]
    fn y207_a_hundred_thousand_ranges_cost_a_few_looks_each() {
        let view = sparse(200_000);
        let mut uids = NumberSet::default();
        (1..=100_000).for_each(|n| uids.push(4 * n));
        let found = runs(&view.messages, &uids).map(|run| (run.start, run.len()));
        assert!(found.eq((0..100_000).map(|n| (2 * n + 1, 1))));
        let (mut looks, mut at) = (0, 0);
        for range in uids.ranges() {
            at = first_at_or_after(at..view.messages.len(), |at| {
                looks += 1;
                view.messages[at].uid < *range.start()
            });
        }
        assert!(looks <= 3 * 100_000, "{looks}");
    }

    proptest! {
        #[test]
        fn the_first_position_is_that_of_a_search_from_the_beginning(
            from in 0usize..40, length in 0usize..40, first in 0usize..100,
        ) {
            let positions = from..from + length;
            let expected = first.clamp(positions.start, positions.end);
            prop_assert_eq!(first_at_or_after(positions, |at| at < first), expected);
        }
    }
}
