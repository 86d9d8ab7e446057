//! UIDs for files that no snapshot of the folder has yet, and the numbers of a folder that nobody has selected.

use std::sync::Arc;

use super::{UidBook, flags_in, no_uids_left};
use crate::{
    maildir::{
        Error, Maildir, MessageEntry, Subdir, name,
        uid_file::{MessageKey, UidRecord},
    },
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
    /// Gives UIDs to new files in their order, durably: those of COPY and APPEND. The next snapshot with these files finds them.
    /// Returns none if the folder cannot keep them.
    ///
    /// # Errors
    /// The disk failed. The files get UIDs with the next snapshot.
    pub fn number(&mut self, maildir: &Maildir, entries: &[MessageEntry]) -> Result<Vec<u32>, Error> {
        let modseq = self.modseq + 1;
        let (mut uids, mut records, mut uid_next) = (Vec::new(), Vec::new(), self.uid_next);
        for entry in entries {
            let identity = name::identity(&entry.name);
            // A book that was just read has the UIDs of no snapshot, but the records of the file.
            let recorded = || Some(self.claim(&self.snapshot, entry)?.uid);
            if let Some(uid) = self.uid_of(identity, entry.version.inode).or_else(recorded) {
                uids.push(uid);
                continue;
            }
            let uid = uid_next;
            uid_next = uid.checked_add(1).ok_or_else(|| no_uids_left(maildir))?;
            uids.push(uid);
            records.push(UidRecord {
                uid,
                modseq,
                key: MessageKey::of(identity, None),
                flags: flags_in(entry.subdir, name::flags(&entry.name)).bits(),
                version: entry.version,
                octets: entry.octets,
            });
        }
        (self.uid_next, self.modseq) = (uid_next, modseq);
        if self.file.is_none() {
            uids.clear();
        }
        self.ahead.extend(records.iter().map(|record| (record.key, *record)));
        self.unsaved.extend(records);
        self.save(maildir)?;
        // A book that is dropped after this leaves no gap: nothing is reserved beyond the UIDs in use.
        let is_reserved = self.reserve(maildir, (uid_next, modseq), (0, 0))?;
        if !is_reserved {
            self.sync(maildir)?;
        }
        Ok(uids)
    }

    /// The letters of flags and of keywords, which get letters if they have none. `None`: there are no letters left.
    ///
    /// # Errors
    /// The disk failed.
    pub fn letters(
        &mut self,
        maildir: &Maildir,
        (flags, keywords): (Flags, &[String]),
    ) -> Result<Option<Vec<u8>>, Error> {
        if !keywords.is_empty() && !self.keywords.add(maildir, keywords)? {
            return Ok(None);
        }
        let numbers = keywords.iter().filter_map(|keyword| self.keywords.number_of(keyword));
        let flags = numbers.fold(flags, |flags, number| flags.with(Flags::of_keyword(number)));
        Ok(Some(flags.letters().collect()))
    }

    /// For each letter of a keyword in another folder the letter here, if all of them have room here.
    ///
    /// # Errors
    /// The disk failed.
    pub fn translation(
        &mut self,
        maildir: &Maildir,
        keywords: &[Arc<str>],
        used: Flags,
    ) -> Result<Option<Vec<(u8, u8)>>, Error> {
        let name = |number: usize| keywords.get(number).filter(|name| !name.is_empty());
        let used: Vec<(usize, String)> =
            used.keywords().filter_map(|number| Some((number, name(number)?.to_string()))).collect();
        let names: Vec<String> = used.iter().map(|(_, name)| name.clone()).collect();
        if !names.is_empty() && !self.keywords.add(maildir, &names)? {
            return Ok(None);
        }
        let letter = |number: usize| Flags::of_keyword(number).letters().next();
        let pair = |(number, name): &(usize, String)| {
            Some((letter(*number)?, letter(self.keywords.number_of(name)?)?))
        };
        Ok(Some(used.iter().filter_map(pair).collect()))
    }

    /// The numbers that a folder will have whose files have these names, without a change of anything. The octets are those that
    /// the caller has counted.
    pub fn status<'a>(&self, names: impl Iterator<Item = (Subdir, &'a [u8])>, size: u64) -> FolderStatus {
        let mut status = FolderStatus { size, uid_validity: self.uid_validity, ..FolderStatus::default() };
        let (mut known, mut new, mut is_changed) = (0_usize, 0_u32, false);
        let first_recent = self.recent.first();
        for (subdir, name) in names {
            let flags = flags_in(subdir, name::flags(name));
            status.messages += 1;
            status.unseen += u32::from(!flags.intersects(Flags::SEEN));
            status.deleted += u32::from(flags.intersects(Flags::DELETED));
            match self.unclaimed.get(&MessageKey::of(name::identity(name), None)) {
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
        is_changed |= new > 0 || known != self.unclaimed.len();
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
        let records = self.unclaimed.values();
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
