//! Numbers of messages that the user types, and that sentences list.

use std::collections::BTreeSet;

/// Parses `2 5-7` into numbers without repetition.
pub(super) fn numbers(text: &str) -> Option<Vec<u32>> {
    let mut found = BTreeSet::new();
    for word in text.split([' ', ',', '\t']).filter(|word| !word.is_empty()) {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last.checked_sub(first)? as usize > MAX_RANGE {
            return None;
        }
        found.extend(first..=last);
    }
    Some(found.into_iter().collect())
}

/// Numbers for a sentence: the first of them, and how many there are if that is not all.
pub(super) fn listed(numbers: &[u32]) -> String {
    let first: Vec<String> = numbers.iter().take(MAX_LISTED).map(u32::to_string).collect();
    let rest = if numbers.len() > MAX_LISTED { format!(", … ({})", numbers.len()) } else { String::new() };
    first.join(", ") + &rest
}

/// Numbers of messages in one sentence.
const MAX_LISTED: usize = 20;
/// The largest number of messages in one range, such as `1-20`.
const MAX_RANGE: usize = 10_000;
