//! The messages of a FETCH that are chosen by their state: those that have changed since a modification sequence (RFC 7162
//! section 3.1.4.1), and those that the client has not seen. One step looks at a bounded number of messages.

use std::{ops::Range, sync::Arc};

use super::{flags::Flags, request::FolderState, sequence_set::NumberSet};

/// A choice that goes on in the next step.
pub(super) struct FetchSelection {
    view: Arc<FolderState>,
    /// The positions that are still to be looked at, the last ones first.
    runs: Vec<Range<usize>>,
    changed_since: Option<u64>,
    /// The messages that have changed, or all of them.
    pub(super) uids: NumberSet,
    /// Those among them without `\Seen`.
    pub(super) unseen: NumberSet,
}

impl FetchSelection {
    pub(super) fn new(
        view: Arc<FolderState>,
        mut runs: Vec<Range<usize>>,
        changed_since: Option<u64>,
    ) -> Self {
        runs.reverse();
        let (uids, unseen) = Default::default();
        Self { view, runs, changed_since, uids, unseen }
    }

    /// Looks at the next messages. Returns whether there are more.
    pub(super) fn advance(&mut self) -> bool {
        let mut left = MESSAGES_PER_STEP;
        while left > 0
            && let Some(run) = self.runs.pop()
        {
            let end = run.end.min(run.start.saturating_add(left));
            for message in &self.view.messages[run.start..end] {
                if self.changed_since.is_none_or(|since| message.modseq > since) {
                    self.uids.push(message.uid);
                    if !message.flags.intersects(Flags::SEEN) {
                        self.unseen.push(message.uid);
                    }
                }
            }
            left -= end - run.start;
            if end < run.end {
                self.runs.push(end..run.end);
            }
        }
        !self.runs.is_empty()
    }
}

/// Messages that one step looks at.
const MESSAGES_PER_STEP: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::imap::numbers::tests::sparse;

    #[test]
    fn y162_a_large_folder_is_looked_through_in_steps() {
        let view = Arc::new(sparse(100_000));
        for (since, changed, unseen) in [(None, 100_000, 50_000), (Some(99_990), 10, 5)] {
            let mut selection = FetchSelection::new(Arc::clone(&view), vec![0..3, 3..100_000], since);
            let mut steps = 1;
            while selection.advance() {
                steps += 1;
            }
            assert_eq!(steps, 100_000_usize.div_ceil(MESSAGES_PER_STEP));
            assert_eq!((selection.uids.count(), selection.unseen.count()), (changed, unseen));
        }
    }
}
