//! UIDs and letters for messages that arrive by COPY, MOVE or APPEND, before a snapshot of the folder has them.

use std::sync::Arc;

use super::{FlagLetters, UidBook, no_uids_left};
use crate::{
    maildir::{
        Error, Maildir, MessageEntry, keyword_file, name,
        uid_file::{MessageKey, UidRecord},
    },
    proto::imap::flags::Flags,
};

impl UidBook {
    /// Gives UIDs to new files in their order, durably: those of COPY, MOVE and APPEND. The next snapshot with these files finds them.
    /// Returns none if the folder cannot keep them.
    ///
    /// # Errors
    /// The disk failed. The files get UIDs with the next snapshot.
    pub fn number(&mut self, maildir: &Maildir, entries: &[MessageEntry]) -> Result<Vec<u32>, Error> {
        let (modseq, letters) = (self.modseq + 1, FlagLetters::of(&self.keywords));
        let (mut uids, mut records, mut uid_next) = (Vec::new(), Vec::new(), self.uid_next);
        for entry in entries {
            let identity = name::identity(&entry.name);
            // A book that was just read has the UIDs of no snapshot, but the records of the file.
            let recorded = || Some(self.recorded(&self.snapshot, entry)?.uid);
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
                flags: letters.flags_of(entry).bits(),
                version: entry.version,
                octets: entry.octets,
            });
        }
        (self.uid_next, self.modseq) = (uid_next, modseq);
        if self.file.is_none() {
            uids.clear();
        }
        self.preassigned.extend(records.iter().map(|record| (record.key, *record)));
        self.unsaved.extend(records);
        self.save(maildir)?;
        // A book that is dropped after this leaves no gap: nothing is reserved beyond the UIDs in use.
        let is_reserved = self.reserve(maildir, (uid_next, modseq), (0, 0))?;
        if !is_reserved {
            self.sync(maildir)?;
        }
        Ok(uids)
    }

    /// The letters of flags and of keywords, which get letters if they have none. A keyword without room is left out: RFC 3501
    /// section 6.4.7 asks that flags be kept, and to refuse the message is the larger harm.
    ///
    /// # Errors
    /// The disk failed.
    pub fn letters(
        &mut self,
        maildir: &Maildir,
        (flags, keywords): (Flags, &[String]),
    ) -> Result<Vec<u8>, Error> {
        self.add_keywords(maildir, keywords)?;
        let numbers = keywords.iter().filter_map(|keyword| self.keywords.number_of(keyword));
        let flags = numbers.fold(flags, |flags, number| flags.with(Flags::of_keyword(number)));
        Ok(FlagLetters::of(&self.keywords).letters(flags).collect())
    }

    /// For each letter of a keyword in another folder the letter here, and for both letters of `$Forwarded` that of this folder.
    /// A keyword without room here has none.
    ///
    /// # Errors
    /// The disk failed.
    pub fn translation(
        &mut self,
        maildir: &Maildir,
        keywords: &[Arc<str>],
        used: Flags,
    ) -> Result<Vec<(u8, u8)>, Error> {
        let name = |number: usize| keywords.get(number).filter(|name| !name.is_empty());
        let used: Vec<(usize, String)> =
            used.keywords().filter_map(|number| Some((number, name(number)?.to_string()))).collect();
        let names: Vec<String> = used.iter().map(|(_, name)| name.clone()).collect();
        self.add_keywords(maildir, &names)?;
        let letter = |number: usize| Flags::of_keyword(number).letters().next();
        let pair = |(number, name): &(usize, String)| {
            Some((letter(*number)?, letter(self.keywords.number_of(name)?)?))
        };
        let mut pairs: Vec<(u8, u8)> = used.iter().filter_map(pair).collect();
        let is_forwarded = |name: &Arc<str>| Flags::of_name(name.as_bytes()) == Some(Flags::FORWARDED);
        let from = [keywords.iter().position(is_forwarded).and_then(letter), Some(b'P')];
        let to = FlagLetters::of(&self.keywords).letters(Flags::FORWARDED).next();
        pairs.extend(from.into_iter().flatten().filter_map(|from| Some((from, to?))));
        Ok(pairs)
    }

    fn add_keywords(&mut self, maildir: &Maildir, keywords: &[String]) -> Result<(), Error> {
        let have_room = keywords.is_empty() || self.keywords.add_some(maildir, keywords)?;
        if !have_room && !self.has_left_out_keyword {
            self.has_left_out_keyword = true;
            log::warn!(
                "{}: no room for another keyword, so COPY, MOVE and APPEND leave it out: a folder has 26 for good, and a new \
                 folder has room again; if this file has fewer lines, let the user of the server read it",
                maildir.path().join(keyword_file::FILE).display()
            );
        }
        Ok(())
    }
}
