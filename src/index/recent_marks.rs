//! The marks of `\Recent` of folders, which outlive the sessions and the UIDs in memory.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::proto::imap::recent::RecentMark;

/// The marks, by device and inode of the folder, each with the UID validity that it is for.
#[derive(Debug, Default)]
pub struct RecentMarks(Mutex<HashMap<(u64, u64), (u32, RecentMark)>>);

impl RecentMarks {
    /// The mark of a folder. If there is none, one begins at `uid_next`.
    pub fn of(&self, folder: (u64, u64), uid_validity: u32, uid_next: u32) -> RecentMark {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() >= MAX_MARKS && !marks.contains_key(&folder) {
            // Messages are not recent a second time, because each mark begins anew after those that it has.
            marks.clear();
        }
        let known = marks.entry(folder).or_insert_with(|| (uid_validity, RecentMark::new(uid_next)));
        if known.0 != uid_validity {
            *known = (uid_validity, RecentMark::new(uid_next));
        }
        known.1.clone()
    }

    /// The first UID of which no session has been told, if that is known.
    pub fn first(&self, folder: (u64, u64), uid_validity: u32) -> Option<u32> {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.get(&folder).filter(|(validity, _)| *validity == uid_validity).map(|(_, mark)| mark.first())
    }
}

/// Folders whose marks are kept, at some 60 octets each.
const MAX_MARKS: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn y126_a_mark_stays_with_its_folder_and_its_uids() {
        let marks = RecentMarks::default();
        assert_eq!(marks.of((1, 1), 9, 5).first(), 5);
        assert_eq!(marks.of((1, 1), 9, 7).first(), 5);
        assert_eq!(
            (marks.first((1, 1), 9), marks.first((1, 1), 8), marks.first((1, 2), 9)),
            (Some(5), None, None)
        );
        assert_eq!(marks.of((1, 1), 10, 1).first(), 1, "other UIDs");
        (0..MAX_MARKS as u64 + 9).for_each(|inode| drop(marks.of((2, inode), 1, 1)));
        assert!(marks.0.lock().unwrap().len() <= MAX_MARKS);
    }
}
