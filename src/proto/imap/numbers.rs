//! Message numbers and UIDs of a folder.

use super::{
    command::Messages,
    request::{FolderState, MessageState},
    sequence_set::NumberSet,
};

/// The messages that a client names. `None`: a number is larger than the last one (RFC 9051
/// section 9, "seq-number"). A UID that is not there names no message.
pub(super) fn named<'a>(view: &'a FolderState, messages: &Messages) -> Option<Vec<&'a [MessageState]>> {
    let all = &view.messages;
    if messages.by_uid {
        let largest = all.last().map_or(0, |last| last.uid);
        let set = messages.set.resolve(largest);
        let slice = |range: std::ops::RangeInclusive<u32>| {
            let from = all.partition_point(|message| message.uid < *range.start());
            let to = all.partition_point(|message| message.uid <= *range.end());
            &all[from..to]
        };
        return Some(set.ranges().map(slice).collect());
    }
    let set = messages.set.resolve(u32::try_from(all.len()).ok()?);
    let last = usize::try_from(set.largest()).ok()?;
    if last == 0 || last > all.len() {
        return None;
    }
    Some(set.ranges().map(|range| &all[*range.start() as usize - 1..*range.end() as usize]).collect())
}

/// The UIDs of messages.
pub(super) fn uids<'a>(messages: impl IntoIterator<Item = &'a MessageState>) -> NumberSet {
    let mut uids = NumberSet::default();
    messages.into_iter().for_each(|message| uids.push(message.uid));
    uids
}

/// The messages with these UIDs, and their positions.
pub(super) fn with_uids<'a>(
    view: &'a FolderState,
    uids: &'a NumberSet,
) -> impl Iterator<Item = (usize, &'a MessageState)> {
    uids.ranges().flat_map(move |range| {
        let from = view.messages.partition_point(|message| message.uid < *range.start());
        let to = view.messages.partition_point(|message| message.uid <= *range.end());
        (from..to).zip(&view.messages[from..to])
    })
}

/// The number of messages with these UIDs.
pub(super) fn count(view: &FolderState, uids: &NumberSet) -> u64 {
    let below = |uid: u32| view.messages.partition_point(|message| message.uid < uid) as u64;
    uids.ranges().map(|range| below(range.end().saturating_add(1)) - below(*range.start())).sum()
}

/// The numbers of the messages with these UIDs.
pub(super) fn numbers(view: &FolderState, uids: &NumberSet) -> NumberSet {
    let mut numbers = NumberSet::default();
    with_uids(view, uids)
        .filter_map(|(at, _)| u32::try_from(at + 1).ok())
        .for_each(|number| numbers.push(number));
    numbers
}
