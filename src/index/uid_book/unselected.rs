//! The numbers of a folder that no session has selected, for STATUS.

use super::{FlagLetters, UidBook};
use crate::{
    maildir::{Subdir, name, uid_file::MessageKey},
    proto::imap::{
        flags::Flags,
        request::{FolderState, FolderStatus},
    },
};

/// The numbers with which the book of a folder goes on, while it is in memory. Those that the file has reserved may be higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextNumbers {
    uid_validity: u32,
    uid_next: u32,
    highest_modseq: u64,
}

impl From<&FolderState> for NextNumbers {
    fn from(state: &FolderState) -> Self {
        let FolderState { uid_validity, uid_next, highest_modseq, .. } = *state;
        Self { uid_validity, uid_next, highest_modseq }
    }
}

impl UidBook {
    /// The numbers that a folder will have whose files have these names, without a change of anything. The octets are those that
    /// the caller has counted.
    pub fn status<'a>(&self, names: impl Iterator<Item = (Subdir, &'a [u8])>, size: u64) -> FolderStatus {
        let mut status = FolderStatus { size, uid_validity: self.uid_validity, ..FolderStatus::default() };
        let (mut known, mut new, mut is_changed) = (0_usize, 0_u32, false);
        let (first_recent, letters) = (self.recent.first(), FlagLetters::of(&self.keywords));
        for (subdir, name) in names {
            let flags = letters.flags(subdir, name::flags(name));
            status.messages += 1;
            status.unseen += u32::from(!flags.intersects(Flags::SEEN));
            status.deleted += u32::from(flags.intersects(Flags::DELETED));
            match self.unmatched.get(&MessageKey::of(name::identity(name), None)) {
                Some(record) => {
                    known += 1;
                    status.recent += u32::from(record.uid >= first_recent);
                    is_changed |= record.flags != flags.bits();
                }
                None => {
                    new += 1;
                    status.recent += 1;
                }
            }
        }
        is_changed |= new > 0 || known != self.unmatched.len();
        status.uid_next = self.uid_next.saturating_add(new);
        status.highest_modseq = self.modseq + u64::from(is_changed);
        status
    }

    /// The numbers of [`UidBook::status`] if the next SELECT does not read the file, but goes on from these. Messages may have got
    /// a UID since, whose records the file has.
    pub fn resumed(&self, status: FolderStatus, next: NextNumbers) -> FolderStatus {
        if next.uid_validity != status.uid_validity {
            return status;
        }
        let records = self.unmatched.values();
        let (uid_next, modseq) =
            records.fold((next.uid_next, next.highest_modseq), |(uid_next, modseq), record| {
                (uid_next.max(record.uid.saturating_add(1)), modseq.max(record.modseq))
            });
        FolderStatus {
            uid_next: uid_next.saturating_add(status.uid_next.saturating_sub(self.uid_next)),
            highest_modseq: modseq + status.highest_modseq.saturating_sub(self.modseq),
            ..status
        }
    }
}
