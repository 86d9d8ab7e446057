//! `\Recent` (RFC 3501 section 2.3.2): the messages that a session is the first one to know.
//!
//! The rule: a UID is recent in one session that may change the folder, or in none. The mark is in memory alone, so messages that
//! had a UID before the server started are not recent.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use super::sequence_set::NumberSet;

/// The first UID of a folder that no session knows. All states of the folder share it.
#[derive(Debug, Clone, Default)]
pub struct RecentMark(Arc<AtomicU32>);

/// Two states of a folder may be equal with different marks.
impl PartialEq for RecentMark {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for RecentMark {}

impl RecentMark {
    /// A mark at a UID.
    pub fn new(first: u32) -> Self {
        Self(Arc::new(AtomicU32::new(first)))
    }

    /// The first UID that no session knows.
    pub fn first(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Claims the UIDs from `known` on and below `next` for a session. Returns those that are recent in it. `read_only`: they stay
    /// so for another one (RFC 3501 section 6.3.2).
    pub(super) fn claim(&self, known: u32, next: u32, read_only: bool) -> NumberSet {
        let first = if read_only { self.first() } else { self.0.fetch_max(next, Ordering::Relaxed) };
        NumberSet::of_range(first.max(known), next)
    }
}

/// Adds UIDs that a session has claimed to those that it has. Those of the longest ago are not recent any more, if other sessions
/// have claimed UIDs between them too often.
pub(super) fn add(recent: &mut NumberSet, claimed: &NumberSet) {
    claimed.ranges().for_each(|range| recent.push_range(*range.start(), *range.end()));
    recent.keep_last(MAX_RANGES);
}

/// The most ranges of recent UIDs of a session. Each response with RECENT counts the messages in them.
const MAX_RANGES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn y165_sessions_that_claim_messages_in_turns_for_days_have_a_bounded_set() {
        let mut recent = NumberSet::default();
        for uid in (1..100_000).step_by(2) {
            add(&mut recent, &NumberSet::of_range(uid, uid + 1));
        }
        assert_eq!((recent.ranges().count(), recent.largest()), (MAX_RANGES, 99_999));
    }

    #[test]
    fn y126_a_message_is_recent_in_the_first_session_that_is_told_and_may_change_it() {
        let mark = RecentMark::new(1);
        let claim = |known, next, read_only| mark.clone().claim(known, next, read_only).to_string();
        assert_eq!(claim(0, 4, true), "1:3");
        assert_eq!(claim(0, 4, false), "1:3");
        assert_eq!(claim(0, 4, false), "");
        assert_eq!(claim(4, 6, false), "4:5");
        assert_eq!(claim(4, 6, false), "");
        assert_eq!(claim(4, 6, true), "");
        assert_eq!(mark.first(), 6);
        // A session that learns of messages late does not bring the mark back.
        assert_eq!(claim(0, 5, false), "");
        assert_eq!(claim(0, 7, false), "6");
    }
}
